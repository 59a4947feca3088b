//! Replies being written: every piece is told to the members who are here, as `stream` events; the whole is committed as one
//! message with the stream's name, once. The same message answered again makes the same stream.

use serde_json::json;

use super::abilities::{Call, refused, stored};
use super::accounts::{Speech, once};
use crate::ids::ConversationId;
use crate::journey::Target;
use crate::session::Event;
use kith_runtime::AbilityError;

/// Replies of one call.
const REPLIES_MOST: usize = 8;

/// The replies of one call, by their numbers.
#[derive(Default)]
pub struct Replies(Vec<Reply>);

struct Reply {
    stream: String,
    text: String,
    chars: usize,
    /// Pieces told.
    told: u64,
    open: bool,
}

impl Call {
    fn answering(&self) -> Result<(ConversationId, u64), AbilityError> {
        self.cause.answering.ok_or_else(|| {
            AbilityError::Denied("only a responder replies, to what it was called for".to_owned())
        })
    }

    pub(super) fn open(&self) -> Result<u32, AbilityError> {
        self.answering()?;
        let mut replies = self.replies.lock();
        let number = replies.0.len();
        if number == REPLIES_MOST {
            return Err(AbilityError::Quota(format!(
                "at most {REPLIES_MOST} replies a call"
            )));
        }
        replies.0.push(Reply {
            stream: once(&self.plugin, "reply", &self.cause.name, number),
            text: String::new(),
            chars: 0,
            told: 0,
            open: true,
        });
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    pub(super) async fn say(&self, number: u32, delta: String) -> Result<(), AbilityError> {
        let (conversation, _) = self.answering()?;
        let event = {
            let mut replies = self.replies.lock();
            let reply = replies.open(number)?;
            reply.chars += delta.chars().count();
            if reply.chars > self.shared.journey.limits.text_chars {
                return Err(AbilityError::Quota(
                    "the reply is longer than a message may be".into(),
                ));
            }
            reply.text.push_str(&delta);
            reply.told += 1;
            self.event(conversation, (&reply.stream, reply.told - 1), &delta, false)
        };
        self.tell(conversation, event).await
    }

    pub(super) async fn finish(&self, number: u32) -> Result<u64, AbilityError> {
        let (conversation, seq) = self.answering()?;
        let (stream, text, told) = {
            let mut replies = self.replies.lock();
            let reply = replies.open(number)?;
            reply.open = false;
            (
                reply.stream.clone(),
                std::mem::take(&mut reply.text),
                reply.told,
            )
        };
        let event = self.event(conversation, (&stream, told), "", true);
        self.tell(conversation, event).await?;
        let speech = Speech {
            author: self.account,
            to: Target::Conversation(conversation),
            client_id: stream.clone(),
            content: json!({"type": "text", "text": text}),
            reply_to: Some(seq),
            made: self.made(Some(stream)),
        };
        let said = self.shared.speak(speech).await;
        said.map(|(_, seq)| seq)
            .map_err(|refusal| refused(&refusal))
    }

    /// What was begun and not finished ends for those who watch.
    pub(super) async fn end(&self) {
        let Ok((conversation, _)) = self.answering() else {
            return;
        };
        let left: Vec<(String, u64)> = {
            let mut replies = self.replies.lock();
            let open = replies.0.iter_mut().filter(|reply| reply.open);
            open.map(|reply| {
                reply.open = false;
                (reply.stream.clone(), reply.told)
            })
            .collect()
        };
        for (stream, told) in left {
            let event = self.event(conversation, (&stream, told), "", true);
            if let Err(error) = self.tell(conversation, event).await {
                tracing::debug!(?error, "the end of a reply was not told");
            }
        }
    }

    fn event(
        &self,
        conversation: ConversationId,
        (stream, n): (&str, u64),
        delta: &str,
        done: bool,
    ) -> Event {
        let event = json!({
            "ev": "stream",
            "conversation": conversation,
            "stream": stream,
            "from": self.account,
            "n": n,
            "delta": delta,
            "done": done,
        });
        Event::from_json(event.to_string().into_bytes())
    }

    async fn tell(&self, conversation: ConversationId, event: Event) -> Result<(), AbilityError> {
        let members = self.shared.journey.log.members(conversation).await;
        let members = members.map_err(|e| stored(&e))?;
        if members.len() <= self.shared.watchers_most {
            let members = members.iter().copied();
            self.shared.registry.push_to(members, None, &event);
        }
        Ok(())
    }
}

impl Replies {
    fn open(&mut self, number: u32) -> Result<&mut Reply, AbilityError> {
        let reply = self.0.get_mut(number as usize).filter(|reply| reply.open);
        reply.ok_or_else(|| AbilityError::NotFound(format!("no reply {number} is open")))
    }
}
