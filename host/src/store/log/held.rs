//! How a held message's row looks.
//! No decisions, no I/O.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::content::Fingerprint;
use crate::conversation::Kind;
use crate::entry::{DecisionRecord, Seq};
use crate::ids::{ConversationId, EntryId, HoldId, UserId};
use crate::store::{HeldMessage, Hold, HoldCause, Opening, PluginWrite, ResendKey, StoreError};

#[derive(Serialize, Deserialize)]
struct Row {
    conversation: ConversationId,
    opening: Option<(Kind, Vec<UserId>)>,
    author: UserId,
    key: Option<(String, u128)>,
    content: String,
    sent: Option<String>,
    replaced: bool,
    audience: Option<Vec<UserId>>,
    effects: Vec<(String, String, Option<Vec<u8>>)>,
    reply_to: Option<Seq>,
    edits: Option<Seq>,
    by: String,
    reason: String,
    cause: u8,
    record: DecisionRecord,
    refused: Option<String>,
    refused_at: u64,
}

pub fn encode(held: &HeldMessage) -> Vec<u8> {
    let hold = &held.hold;
    let row = Row {
        conversation: hold.conversation,
        opening: hold
            .opening
            .as_ref()
            .map(|opening| (opening.kind, opening.users.clone())),
        author: hold.author,
        key: hold
            .key
            .as_ref()
            .map(|key| (key.client_id.clone(), key.fingerprint.0)),
        content: hold.content.get().to_owned(),
        sent: hold.sent.as_ref().map(|sent| sent.get().to_owned()),
        replaced: hold.replaced,
        audience: hold.audience.as_ref().map(|users| users.to_vec()),
        effects: hold.effects.iter().map(effect_row).collect(),
        reply_to: hold.reply_to,
        edits: hold.edits,
        by: hold.by.clone(),
        reason: hold.reason.clone(),
        cause: hold.cause as u8,
        record: hold.record.clone(),
        refused: held.refused.clone(),
        refused_at: held.refused_at,
    };
    rmp_serde::to_vec_named(&row).expect("a held message encodes")
}

pub fn decode(id: HoldId, bytes: &[u8]) -> Result<HeldMessage, StoreError> {
    let damaged = || StoreError::Damaged("a held message could not be read".to_owned());
    let row: Row = rmp_serde::from_slice(bytes).map_err(|_| damaged())?;
    let cause = match row.cause {
        0 => HoldCause::Verdict,
        1 => HoldCause::Failed,
        2 => HoldCause::Absent,
        _ => return Err(damaged()),
    };
    let json = |text: String| RawValue::from_string(text).map_err(|_| damaged());
    let hold = Hold {
        conversation: row.conversation,
        opening: row.opening.map(|(kind, users)| Opening { kind, users }),
        author: row.author,
        content: json(row.content)?,
        sent: row.sent.map(json).transpose()?,
        replaced: row.replaced,
        audience: row.audience.map(Into::into),
        effects: row.effects.into_iter().map(effect).collect(),
        key: row.key.map(|(client_id, fingerprint)| ResendKey {
            client_id,
            fingerprint: Fingerprint(fingerprint),
        }),
        reply_to: row.reply_to,
        edits: row.edits,
        again: None,
        by: row.by,
        reason: row.reason,
        cause,
        record: row.record,
    };
    Ok(HeldMessage {
        id,
        at: EntryId(id.0).at_ms(),
        hold,
        refused: row.refused,
        refused_at: row.refused_at,
    })
}

fn effect_row(write: &PluginWrite) -> (String, String, Option<Vec<u8>>) {
    (
        write.namespace.clone(),
        write.key.clone(),
        write.value.clone(),
    )
}

/// What was held is kept when it is released, whatever room there is then.
fn effect((namespace, key, value): (String, String, Option<Vec<u8>>)) -> PluginWrite {
    PluginWrite {
        namespace,
        quota: u64::MAX,
        key,
        value,
    }
}
