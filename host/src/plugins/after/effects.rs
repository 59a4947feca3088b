//! Carrying out what an observer decided: messages first, each once by its client id; then its own values together with its
//! place in the feed, in one write. After a crash in between, the messages are known and the values are not there yet.

use std::collections::HashMap;
use std::time::Duration;

use kith_runtime::{Binding, EventEffect, Hook};

use super::AfterCommit;
use super::accounts::{Speech, is_passing, once, target};
use super::events::Placed;
use super::places::Place;
use crate::entry::Made;
use crate::ids::UserId;
use crate::journey::Target;
use crate::refusal::{Code, Refusal};
use crate::store::feed::FeedPosition;
use crate::store::kv::{Advance, KvChange, KvWrite};

/// Tries of a message whose trouble passes, and the pause before the next.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);
/// Effects of one call.
pub const EFFECTS_MOST: usize = 256;
pub const KEY_BYTES_MOST: usize = 512;
pub const VALUE_BYTES_MOST: usize = 64 << 10;

/// What of a batch is to be done, and where that leaves the consumer.
pub struct Decided<'a> {
    pub events: &'a [Placed],
    pub effects: Vec<EventEffect>,
    pub next: FeedPosition,
}

impl AfterCommit {
    pub(super) async fn carry_out(
        &self,
        (binding, account): (&Binding, UserId),
        decided: Decided<'_>,
        place: &mut Place,
    ) -> Result<(), Refusal> {
        let Decided {
            events,
            effects,
            next,
        } = decided;
        let mut ordinals: HashMap<u32, usize> = HashMap::new();
        let mut writes = Vec::new();
        for EventEffect { event, effect } in effects {
            let ordinal = ordinals.entry(event).or_default();
            let number = *ordinal;
            *ordinal += 1;
            let Some(cause) = events.get(event as usize) else {
                continue;
            };
            let done = match effect.kind.as_str() {
                "send" => {
                    let text = String::from_utf8_lossy(&effect.value);
                    let speech = speech(binding, account, cause, (&effect.key, &text), number);
                    match speech {
                        Ok((to, speech)) => self.say_within(binding, (account, to), speech).await,
                        Err(refusal) => Err(refusal),
                    }
                }
                "kv-put" | "kv-delete" => {
                    let value = (effect.kind == "kv-put").then_some(effect.value);
                    write(binding, effect.key, value).map(|write| writes.push(write))
                }
                other => Err(Refusal::bad_request(format!(
                    "there is no effect {other:.64?}"
                ))),
            };
            match done {
                Err(refusal) if is_passing(&refusal) => return Err(refusal),
                Err(refusal) => {
                    let notice = format!("effect {number} of {}: {refusal}", cause.event.id);
                    self.ledger.refused(&binding.plugin, Hook::Observer, notice);
                }
                Ok(()) => {}
            }
        }
        self.move_on(binding, writes, place, next).await
    }

    async fn say_within(
        &self,
        binding: &Binding,
        (account, to): (UserId, Target),
        speech: impl Fn() -> Speech,
    ) -> Result<(), Refusal> {
        self.check_kind(&binding.grants, "send", (account, to))
            .await?;
        self.say(speech).await
    }

    async fn say(&self, speech: impl Fn() -> Speech) -> Result<(), Refusal> {
        let mut tries = 0;
        loop {
            match self.speak(speech()).await {
                Err(refusal) if is_passing(&refusal) && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE * tries).await;
                }
                said => return said.map(drop),
            }
        }
    }

    /// The place moves on, with the plugin's values where there are any.
    async fn move_on(
        &self,
        binding: &Binding,
        writes: Vec<KvWrite>,
        place: &mut Place,
        next: FeedPosition,
    ) -> Result<(), Refusal> {
        let stored = |error| crate::journey::store_refusal(&error);
        if writes.is_empty() {
            return place.note(self, next).await.map_err(stored);
        }
        let change = KvChange {
            namespace: binding.namespace.to_string(),
            writes,
            quota: binding.grants.kv_bytes(),
            cursor: Some(Advance {
                consumer: place.consumer.clone(),
                from: place.at.clone(),
                to: next.clone(),
            }),
        };
        match self.settle_kv(change).await {
            Ok(_) => {
                place.at = Some(next);
                Ok(())
            }
            Err(refusal) if is_passing(&refusal) => Err(refusal),
            Err(refusal) if refusal.code == Code::Conflict => {
                // What another node has decided of these events stands.
                place.is_elsewhere();
                Ok(())
            }
            Err(refusal) => {
                let notice = format!("values were not kept: {refusal}");
                self.ledger.refused(&binding.plugin, Hook::Observer, notice);
                place.note(self, next).await.map_err(stored)
            }
        }
    }
}

fn speech<'a>(
    binding: &'a Binding,
    author: UserId,
    cause: &'a Placed,
    (to, content): (&str, &str),
    ordinal: usize,
) -> Result<(Target, impl Fn() -> Speech + use<'a>), Refusal> {
    granted(binding, "send")?;
    let to = target(to).ok_or_else(|| {
        Refusal::bad_request("an effect `send` goes to user:ID or conversation:ID")
    })?;
    let content: serde_json::Value = serde_json::from_str(content)
        .map_err(|_| Refusal::bad_request("the content of an effect `send` is not JSON"))?;
    let client_id = once(&binding.plugin, "effect", &cause.event.id, ordinal);
    let speech = move || Speech {
        author,
        to,
        client_id: client_id.clone(),
        content: content.clone(),
        reply_to: None,
        made: Made {
            plugin: binding.plugin.clone(),
            depth: cause.depth.saturating_add(1),
            stream: None,
        },
    };
    Ok((to, speech))
}

pub fn write(binding: &Binding, key: String, value: Option<Vec<u8>>) -> Result<KvWrite, Refusal> {
    granted(binding, "kv")?;
    let bytes = value.as_ref().map_or(0, Vec::len);
    if key.is_empty() || key.len() > KEY_BYTES_MOST || bytes > VALUE_BYTES_MOST {
        return Err(Refusal::bad_request(format!(
            "a key has 1 to {KEY_BYTES_MOST} bytes, its value at most {VALUE_BYTES_MOST}"
        )));
    }
    Ok(KvWrite {
        key,
        value,
        expected: None,
        expires_at: 0,
    })
}

fn granted(binding: &Binding, ability: &str) -> Result<(), Refusal> {
    match binding.grants.allows(ability) {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::Forbidden,
            format!("{ability} is not granted"),
        )),
    }
}
