//! What a conversation said last, for strategies that ask to see it.
//! Where none asks, nothing is read.

use std::sync::Arc;

use super::admit::Place;
use super::{Journey, decide, store_refusal};
use crate::content::Content;
use crate::entry::{Body, Entry, Seq, Viewer};
use crate::ids::UserId;
use crate::plugins::{Judge, Recent};
use crate::refusal::Refusal;
use crate::store::Span;

impl Journey {
    /// Puts as many of the newest entries into a place as the generation wants to see, oldest first: those the author may
    /// see.
    pub(super) async fn look_back(
        &self,
        judge: &dyn Judge,
        author: UserId,
        place: &mut Place,
    ) -> Result<(), Refusal> {
        let wanted = match place.is_member() {
            true => judge.recent(decide::scope(place.kind)),
            false => 0,
        };
        if wanted > 0 {
            // Boxed, so that the future of whoever shows nothing is no larger for it.
            (place.recent, place.looked_at) = Box::pin(self.newest(author, place, wanted)).await?;
        }
        Ok(())
    }

    async fn newest(
        &self,
        author: UserId,
        place: &Place,
        limit: usize,
    ) -> Result<(Vec<Recent>, (Seq, Seq)), Refusal> {
        let newest = Span {
            after: None,
            before: None,
            limit,
        };
        let page = self.log.page(place.conversation, author, newest).await;
        let page = page.map_err(|error| store_refusal(&error))?;
        let seq = |entry: Option<&Arc<Entry>>| entry.map_or(0, |entry| entry.seq);
        let looked_at = (seq(page.entries.first()), seq(page.entries.last()));
        let seen = page
            .entries
            .iter()
            .filter(|entry| Viewer::of(entry, author) != Viewer::LeftOut);
        Ok((seen.map(|entry| shown(entry)).collect(), looked_at))
    }
}

/// An entry as a strategy sees it; of what was recalled no word is left.
pub fn shown(entry: &Entry) -> Recent {
    let (kind, content) = match &entry.body {
        Body::Message(message) => ("recalled", message.content.as_deref()),
        Body::Edit { content, .. } => ("edit", content.as_deref()),
        Body::Recall { .. } => ("recall", None),
        Body::React { .. } => ("react", None),
        Body::System { .. } => ("system", None),
    };
    let content = content.and_then(|json| Content::from_stored(json.get()));
    let kind = match (&entry.body, &content) {
        (Body::Message(_), Some(content)) => content.kind(),
        _ => kind,
    };
    Recent {
        seq: entry.seq,
        sender: entry.from.to_string(),
        at_ms: entry.at,
        kind: kind.to_owned(),
        text: content
            .as_ref()
            .map_or_else(String::new, |content| content.text().to_owned()),
    }
}
