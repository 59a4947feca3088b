//! Changes of what was said: recall. Siblings of `send`,
//! with the same steps: admit, decide, commit.

use super::admit::{self, Place};
use super::decide::{self, Judged, Question};
use super::{Journey, Step, Target, overloaded, store_refusal};
use crate::conversation::{Kind, Role};
use crate::entry::{Body, DecisionRecord, Entry, Message, Seq};
use crate::ids::{ConversationId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::{Append, Change, NotTaken, Origin, Submission};

/// How long a sender may recall when no strategy is bound to say so.
const RECALL_WINDOW_DEFAULT_MS: u64 = 120_000;

impl Journey {
    /// Takes a message back: its content is erased, a recall entry says so. Again: the first recall's answer.
    pub async fn recall(
        &self,
        author: UserId,
        conversation: ConversationId,
        target: Seq,
        origin: Origin,
    ) -> Result<Step, Refusal> {
        let mut place = admit::place(self, author, Target::Conversation(conversation)).await?;
        admit::check(&place, None)?;
        let (entry, sent) = self.target(&place, author, target).await?;
        let message = entry
            .message()
            .ok_or_else(|| Refusal::not_found("there is no message at this seq"))?;
        may_recall(&place, author, &entry)?;
        let mut origin = origin;
        loop {
            let judge = self.plugins.pin(); // I4
            self.look_back(&*judge, author, &mut place).await?;
            let judged = match message.recalled {
                // The log answers it with the first recall's, behind whatever it has told before.
                true => None,
                false => {
                    Some(self.judge_recall(&*judge, &place, author, (&*entry, message), &sent)?)
                }
            };
            let (record, effects) = judged
                .map(|keep| (keep.record, keep.effects))
                .unwrap_or_default();
            let change = Change::Append(Box::new(Append {
                conversation,
                opening: None,
                author,
                key: None,
                body: Body::Recall { target, by: author },
                audience: entry.audience.clone(),
                replaced: false,
                record,
                effects,
                moves_read: false,
                releases: None,
            }));
            match self.log.submit(Submission { change, origin }) {
                Ok(()) => return Ok(Step::Submitted),
                Err(NotTaken::Stale(back)) => origin = back.origin,
                Err(NotTaken::Full(_)) => return Err(overloaded()),
            }
            Box::pin(self.wait_for_newer(judge.generation())).await?;
        }
    }

    fn judge_recall(
        &self,
        judge: &dyn crate::plugins::Judge,
        place: &Place,
        author: UserId,
        (entry, message): (&Entry, &Message),
        sent: &DecisionRecord,
    ) -> Result<decide::Keep, Refusal> {
        let now = self.clock.now_ms();
        let age = now.saturating_sub(entry.at);
        let kind = message
            .content
            .as_deref()
            .and_then(|json| crate::content::Content::from_stored(json.get()));
        let question = Question {
            operation: "recall",
            author,
            place,
            content: None,
            text: kind.as_ref().map_or("", |content| content.text()),
            at_ms: now,
            target: Some((entry.from, age)),
            reply_to: None,
            edit: false,
        };
        match decide::judge(judge, &question, &self.limits)? {
            Judged::Keep(keep) => {
                let window = recall_window_ms(sent, keep.by_strategy);
                if !rules_here(place) && window.is_some_and(|window| age > window) {
                    return Err(Refusal::new(
                        Code::TooLate,
                        "the time to recall this is over",
                    ));
                }
                Ok(keep)
            }
            Judged::Hold(_) | Judged::Drop => Err(Refusal::unavailable(
                "a recall can be neither held nor dropped",
            )),
        }
    }

    /// The entry an operation is about, if its author may see it.
    pub(crate) async fn target(
        &self,
        place: &Place,
        author: UserId,
        seq: Seq,
    ) -> Result<(std::sync::Arc<Entry>, DecisionRecord), Refusal> {
        let nothing = || Refusal::not_found("there is no entry at this seq");
        if seq < place.floor || seq > place.head {
            return Err(nothing());
        }
        let found = self
            .log
            .entry(place.conversation, seq)
            .await
            .map_err(|e| store_refusal(&e))?;
        found
            .filter(|(entry, _)| entry.is_for(author))
            .ok_or_else(nothing)
    }
}

/// For how long a sender may recall: as the strategy said when it was sent, else the default; `None` is as long as the
/// strategy that has just answered lets it.
fn recall_window_ms(sent: &DecisionRecord, by_strategy: bool) -> Option<u64> {
    let default = (!by_strategy).then_some(RECALL_WINDOW_DEFAULT_MS);
    sent.recall_window_ms.or(default)
}

/// Whose message one may recall at all; the window is the strategy's.
fn may_recall(place: &Place, author: UserId, entry: &Entry) -> Result<(), Refusal> {
    if entry.from == author || rules_here(place) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Forbidden,
        "only its sender may recall a message",
    ))
}

/// A group's owner and admins recall whatever and whenever.
fn rules_here(place: &Place) -> bool {
    let role = place.member.as_ref().map(|member| member.role);
    place.kind == Kind::Group && role >= Some(Role::Admin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_a_strategy_gave_a_message_is_its_own() {
        let sent = |recall_window_ms| DecisionRecord {
            recall_window_ms,
            ..DecisionRecord::default()
        };
        for by_strategy in [true, false] {
            assert_eq!(recall_window_ms(&sent(Some(7)), by_strategy), Some(7));
        }
        assert_eq!(recall_window_ms(&sent(None), true), None);
        let default = Some(RECALL_WINDOW_DEFAULT_MS);
        assert_eq!(recall_window_ms(&sent(None), false), default);
    }
}
