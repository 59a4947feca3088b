//! Reports: a user or an entry brought before the administrators.
//! One reports only what one may see; what was said stays in its log, so that a recall still erases it.

use super::{Journey, store_refusal};
use crate::entry::Seq;
use crate::ids::{ConversationId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::Span;
use crate::store::people::{NewReport, Report};

const REASON_CHARS_MOST: usize = 64;
const TEXT_CHARS_MOST: usize = 2000;

/// A report as a client asks for it.
#[derive(Debug, Default)]
pub struct Complaint {
    pub user: Option<UserId>,
    pub conversation: Option<ConversationId>,
    pub seq: Option<Seq>,
    pub reason: String,
    pub text: Option<String>,
}

impl Journey {
    /// Files a report; its id, and whom it is about.
    pub async fn report(
        &self,
        reporter: UserId,
        complaint: Complaint,
    ) -> Result<(u64, Option<UserId>), Refusal> {
        let Complaint {
            user,
            conversation,
            seq,
            reason,
            text,
        } = complaint;
        let reason = reason.trim().to_owned();
        if !(1..=REASON_CHARS_MOST).contains(&reason.chars().count()) {
            return Err(Refusal::bad_request("reason must have 1 to 64 characters"));
        }
        if text
            .as_ref()
            .is_some_and(|text| text.chars().count() > TEXT_CHARS_MOST)
        {
            return Err(Refusal::new(Code::TooLarge, "the text is too long"));
        }
        if let Some(user) = user {
            let known = self.accounts.user(user).await;
            if known.map_err(|e| store_refusal(&e))?.is_none() {
                return Err(Refusal::not_found("no such user"));
            }
        }
        let author = match (conversation, seq) {
            (Some(conversation), Some(seq)) => {
                Some(self.author_seen(reporter, conversation, seq).await?)
            }
            (Some(conversation), None) => {
                self.member(reporter, conversation).await?;
                None
            }
            (None, Some(_)) => return Err(Refusal::bad_request("seq needs a conversation")),
            (None, None) if user.is_none() => {
                return Err(Refusal::bad_request("a user or an entry is needed"));
            }
            (None, None) => None,
        };
        let report = NewReport {
            at: self.clock.now_ms(),
            reporter,
            user: user.or(author),
            conversation,
            seq,
            reason,
            text: text.filter(|text| !text.trim().is_empty()),
        };
        let filed = self.people.file_report(&report).await;
        Ok((filed.map_err(|e| store_refusal(&e))?, report.user))
    }

    /// Reports for administrators, newest first, before one.
    pub async fn reports(&self, before: Option<u64>, limit: usize) -> Result<Vec<Report>, Refusal> {
        self.people
            .reports(before, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// Who wrote an entry that the reader may see.
    async fn author_seen(
        &self,
        reader: UserId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<UserId, Refusal> {
        let span = Span {
            after: Some(seq.saturating_sub(1)),
            before: Some(seq.saturating_add(1)),
            limit: 1,
        };
        let page = self.history(reader, conversation, span).await?;
        page.entries
            .first()
            .filter(|entry| entry.seq == seq && entry.is_for(reader))
            .map(|entry| entry.from)
            .ok_or_else(|| Refusal::not_found("there is no entry at this seq"))
    }
}
