//! The messages a responder's round answers, and which of them still stand: the feed is read ahead of the round for what was
//! recalled or erased meanwhile. Nobody's place moves by it, and it ends no answer itself.

use std::collections::BTreeSet;
use std::convert::Infallible;

use tokio::sync::watch;

use super::AfterCommit;
use super::follow::{AFTER_TROUBLE, BATCH, GATHER};
use crate::entry::{Body, Entry, Seq};
use crate::ids::ConversationId;
use crate::store::feed::{FeedItem, FeedPosition};

/// Those that still stand; bounded by the page they came with.
#[derive(Debug, Default)]
pub struct Questions(BTreeSet<(ConversationId, Seq)>);

impl Questions {
    pub fn add(&mut self, entry: &Entry) {
        self.0.insert((entry.conversation, entry.seq));
    }

    pub fn is_gone(&self, entry: &Entry) -> bool {
        !self.0.contains(&(entry.conversation, entry.seq))
    }

    /// Takes out what an item takes back; whether that was anything.
    fn take_back(&mut self, item: &FeedItem) -> bool {
        let before = self.0.len();
        match item {
            FeedItem::Entry(entry) => {
                if let Body::Recall { target, .. } = &entry.body {
                    self.0.remove(&(entry.conversation, *target));
                }
            }
            FeedItem::Erased {
                conversation,
                below,
            } => self
                .0
                .retain(|(of, seq)| of != conversation || seq >= below),
            FeedItem::Gone { conversation } => self.0.retain(|(of, _)| of != conversation),
        }
        self.0.len() < before
    }
}

/// Returns once a question does not stand any more.
pub async fn is_gone(questions: &watch::Receiver<Questions>, entry: &Entry) {
    let mut questions = questions.clone();
    let gone = questions.wait_for(|questions| questions.is_gone(entry));
    if gone.await.is_err() {
        // The round is ending, and the answer with it.
        std::future::pending::<()>().await;
    }
}

impl AfterCommit {
    /// Takes out of the questions what is taken back from a place in the feed on. Ends only by being dropped.
    pub(super) async fn take_back(
        &self,
        mut at: FeedPosition,
        questions: &watch::Sender<Questions>,
    ) -> Infallible {
        let mut commits = self.feed.commits();
        loop {
            commits.borrow_and_update();
            let page = match self.feed.feed(&at, BATCH).await {
                // What becomes of a place that is none is for the next round to say.
                Ok(page) if page.reset => return std::future::pending().await,
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "what was taken back is not known yet");
                    tokio::time::sleep(AFTER_TROUBLE).await;
                    continue;
                }
            };
            questions.send_if_modified(|questions| {
                let gone = page.items.iter().map(|item| questions.take_back(item));
                // Each of them is looked at.
                gone.fold(false, |any, gone| any | gone)
            });
            at = page.next;
            if page.more {
                continue;
            }
            if commits.changed().await.is_err() {
                return std::future::pending().await;
            }
            tokio::time::sleep(GATHER).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{EntryId, UserId};

    const HERE: ConversationId = ConversationId(1);
    const ELSEWHERE: ConversationId = ConversationId(2);

    fn recall(conversation: ConversationId, target: Seq) -> FeedItem {
        FeedItem::Entry(Arc::new(Entry {
            body: Body::Recall {
                target,
                by: UserId(7),
            },
            ..entry(conversation, 100)
        }))
    }

    fn entry(conversation: ConversationId, seq: Seq) -> Entry {
        Entry {
            conversation,
            seq,
            id: EntryId(seq),
            at: 0,
            from: UserId(7),
            body: Body::React {
                target: 1,
                emoji: "👍".to_owned(),
                on: true,
            },
            audience: None,
            made: None,
        }
    }

    /// Which of four questions an item leaves, and whether it says that it took some.
    fn left(item: &FeedItem) -> (Vec<(u128, Seq)>, bool) {
        let mut questions = Questions::default();
        for (conversation, seq) in [(HERE, 3), (HERE, 4), (HERE, 5), (ELSEWHERE, 4)] {
            questions.add(&entry(conversation, seq));
        }
        let any = questions.take_back(item);
        assert_eq!(questions.is_gone(&entry(HERE, 4)), any);
        (
            questions.0.iter().map(|(of, seq)| (of.0, *seq)).collect(),
            any,
        )
    }

    #[test]
    fn what_is_recalled_or_erased_stands_no_longer_and_all_else_does() {
        let all = vec![(1, 3), (1, 4), (1, 5), (2, 4)];
        assert_eq!(left(&recall(HERE, 4)), (vec![(1, 3), (1, 5), (2, 4)], true));
        assert_eq!(left(&recall(HERE, 9)), (all.clone(), false));
        let reaction = FeedItem::Entry(Arc::new(entry(HERE, 4)));
        assert_eq!(left(&reaction), (all, false));
        let erased = FeedItem::Erased {
            conversation: HERE,
            below: 5,
        };
        assert_eq!(left(&erased), (vec![(1, 5), (2, 4)], true));
        let gone = FeedItem::Gone { conversation: HERE };
        assert_eq!(left(&gone), (vec![(2, 4)], true));
    }

    #[tokio::test]
    async fn who_waits_for_a_question_to_go_hears_of_that_one_alone() {
        let mut questions = Questions::default();
        questions.add(&entry(HERE, 3));
        questions.add(&entry(HERE, 4));
        let (questions, hears) = watch::channel(questions);
        let third = entry(HERE, 3);
        let mut gone = std::pin::pin!(is_gone(&hears, &third));
        questions.send_if_modified(|questions| questions.take_back(&recall(HERE, 4)));
        assert!(futures_util::poll!(&mut gone).is_pending());
        questions.send_if_modified(|questions| questions.take_back(&recall(HERE, 3)));
        gone.await;
    }
}
