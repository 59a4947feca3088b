//! How much a change that waits weighs, and which generation judged it.
//! No I/O.

use super::batch::groups;
use crate::entry::Body;
use crate::store::{Change, PluginWrite};

/// The generation that judged a change (0 for none) and about how many bytes it holds.
pub fn weigh(change: &Change) -> (u64, usize) {
    match change {
        Change::Append(append) => {
            let content = match &append.body {
                Body::Message(message) => message.content.as_ref().map_or(0, |c| c.get().len()),
                Body::Edit { content, .. } => content.as_ref().map_or(0, |c| c.get().len()),
                _ => 0,
            };
            (
                append.record.generation,
                512 + content + effects_bytes(&append.effects),
            )
        }
        Change::Hold(hold) => {
            let sent = hold.sent.as_ref().map_or(0, |json| json.get().len());
            let bytes = hold.content.get().len() + sent + effects_bytes(&hold.effects);
            (hold.record.generation, 512 + bytes)
        }
        Change::Group(change) => (change.record.generation, groups::weigh(change)),
        Change::Command(answer) => {
            let reply = answer.reply.as_ref().map_or(0, |json| json.get().len());
            let bytes = reply + effects_bytes(&answer.effects);
            (answer.generation, 512 + bytes)
        }
        Change::Kv(change) => {
            let bytes = change
                .writes
                .iter()
                .map(|write| 64 + write.key.len() + write.value.as_ref().map_or(0, Vec::len));
            (0, 256 + bytes.sum::<usize>())
        }
        Change::Turn { generation } => (*generation, 256),
        _ => (0, 256),
    }
}

fn effects_bytes(effects: &[PluginWrite]) -> usize {
    effects
        .iter()
        .map(|write| write.key.len() + write.value.as_ref().map_or(0, Vec::len))
        .sum()
}
