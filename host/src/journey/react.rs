//! Reacting to a message with an emoji, and taking it back.
//! The same reaction twice is one: the second is answered as the first.

use super::admit::{self, Place};
use super::decide::{self, Judged, Keep, Question};
use super::{Journey, Step, Target, overloaded};
use crate::emoji::is_emoji;
use crate::entry::{Body, Entry, Seq};
use crate::ids::{ConversationId, UserId};
use crate::plugins::Judge;
use crate::refusal::Refusal;
use crate::store::{Append, Change, NotTaken, Origin, Submission};

/// A reaction as a client asks for it.
#[derive(Debug)]
pub struct Reaction {
    pub conversation: ConversationId,
    pub target: Seq,
    pub emoji: String,
    pub on: bool,
}

impl Journey {
    /// Puts a reaction to a message, or takes it back.
    pub async fn react(
        &self,
        author: UserId,
        reaction: Reaction,
        origin: Origin,
    ) -> Result<Step, Refusal> {
        let conversation = reaction.conversation;
        if !is_emoji(&reaction.emoji) {
            return Err(Refusal::bad_request("emoji must be one emoji"));
        }
        let mut place = admit::place(self, author, Target::Conversation(conversation)).await?;
        admit::check(&place, None)?;
        admit::unmuted(&place, &*self.clock)?;
        let entry = self
            .standing_message(&place, author, reaction.target)
            .await?;
        let mut origin = origin;
        loop {
            let judge = self.plugins.pin(); // I4
            self.look_back(&*judge, author, &mut place).await?;
            let keep = self.judge_reaction(&*judge, author, &place, &entry, &reaction.emoji)?;
            let change = Change::Append(Box::new(Append {
                conversation,
                opening: None,
                author,
                key: None,
                body: Body::React {
                    target: reaction.target,
                    emoji: reaction.emoji.clone(),
                    on: reaction.on,
                },
                audience: entry.audience.clone(),
                replaced: false,
                record: keep.record,
                effects: keep.effects,
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

    fn judge_reaction(
        &self,
        judge: &dyn Judge,
        author: UserId,
        place: &Place,
        entry: &Entry,
        emoji: &str,
    ) -> Result<Keep, Refusal> {
        let now = self.clock.now_ms();
        let question = Question {
            operation: "react",
            author,
            place,
            content: None,
            text: emoji,
            at_ms: now,
            target: Some((entry.from, now.saturating_sub(entry.at))),
            reply_to: None,
            edit: false,
        };
        match decide::judge(judge, &question, &self.limits)? {
            Judged::Keep(keep) => Ok(keep),
            Judged::Hold(_) | Judged::Drop => Err(Refusal::unavailable(
                "a reaction can be neither held nor dropped",
            )),
        }
    }
}
