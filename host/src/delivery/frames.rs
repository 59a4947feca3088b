//! The JSON of answers and events, written once;
//! other codecs are made from it. No decisions here.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::conversation::Member;
use crate::entry::{Body, Entry, Viewer};
use crate::ids::{ConversationId, EntryId, HoldId, UserId};
use crate::refusal::{Code, Refusal};
use crate::session::Event;
use crate::store::{FirstAnswer, Hold};

/// About what an entry's event takes beside the content.
const ENTRY_BYTES: usize = 256;

/// `{"re":…,"ok":…}`
pub fn ok_json(request: u32, ok: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a, T> {
        re: u32,
        ok: &'a T,
    }
    encode(&Reply { re: request, ok })
}

/// `{"re":…,"err":…}`
pub fn error_json(request: u32, refusal: &Refusal) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        re: u32,
        err: &'a Refusal,
    }
    encode(&Reply {
        re: request,
        err: refusal,
    })
}

/// The ack of a committed entry; a send's says `committed` and, when a plugin replaced it, the content.
pub fn ack_json(request: u32, entry: &Entry, content: Option<&str>) -> Vec<u8> {
    let mut json = Vec::with_capacity(192 + content.map_or(0, str::len));
    write_ack(&mut json, request, entry.conversation, entry.seq, entry.id);
    if matches!(entry.body, Body::Message(_) | Body::Edit { .. }) {
        json.extend_from_slice(br#","state":"committed""#);
    }
    write_content(&mut json, content);
    json.extend_from_slice(b"}}");
    json
}

/// The first answer to a client id, or to a recall (whose ack has no state), again.
pub fn first_answer_json(
    request: u32,
    conversation: ConversationId,
    first: &FirstAnswer,
    has_state: bool,
) -> Vec<u8> {
    match first {
        FirstAnswer::Committed { seq, id, replaced } => {
            let mut json = Vec::with_capacity(192);
            write_ack(&mut json, request, conversation, *seq, *id);
            if has_state {
                json.extend_from_slice(br#","state":"committed""#);
            }
            write_content(&mut json, replaced.as_deref().map(|raw| raw.get()));
            json.extend_from_slice(b"}}");
            json
        }
        FirstAnswer::Held { hold } => held_ack_json(request, conversation, *hold),
        FirstAnswer::Dropped => dropped_json(request, conversation),
        FirstAnswer::Command { reply } => command_json(request, conversation, reply.as_deref()),
        FirstAnswer::Refused { by, reason } => error_json(request, &refused(by, reason)),
    }
}

/// What the sender of a held message that was refused is told.
pub fn refused(by: &str, reason: &str) -> Refusal {
    Refusal {
        by: Some(by.to_owned()),
        reason: Some(reason.to_owned()),
        ..Refusal::new(Code::Rejected, "it was held and then refused")
    }
}

/// The answer to a send that is held.
pub fn held_ack_json(request: u32, conversation: ConversationId, hold: HoldId) -> Vec<u8> {
    ok_json(
        request,
        &json!({"conversation": conversation, "state": "held", "hold": hold}),
    )
}

/// The answer to a send that a plugin chose not to keep.
pub fn dropped_json(request: u32, conversation: ConversationId) -> Vec<u8> {
    ok_json(
        request,
        &json!({"conversation": conversation, "state": "dropped"}),
    )
}

/// The answer to a command.
pub fn command_json(
    request: u32,
    conversation: ConversationId,
    reply: Option<&RawValue>,
) -> Vec<u8> {
    ok_json(request, &command_body(conversation, reply))
}

/// The same without the request: over REST.
pub fn command_body(conversation: ConversationId, reply: Option<&RawValue>) -> impl Serialize {
    #[derive(Serialize)]
    struct Answered<'a> {
        conversation: ConversationId,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reply: Option<&'a RawValue>,
    }
    Answered {
        conversation,
        state: "command",
        reply,
    }
}

/// An event with one object in it.
pub fn event_json(ev: &str, field: &str, value: &Value) -> Vec<u8> {
    encode(&json!({"ev": ev, field: value}))
}

/// The event of a conversation one is no longer a member of.
pub fn gone_json(conversation: ConversationId) -> Vec<u8> {
    encode(&json!({"ev": "gone", "conversation": conversation}))
}

/// The event of an entry, as one kind of viewer gets it.
pub fn entry_event(entry: &Entry, viewer: Viewer) -> Event {
    #[derive(Serialize)]
    struct Entered<'a> {
        ev: &'static str,
        entry: crate::entry::EntryView<'a>,
    }
    let content = match &entry.body {
        Body::Message(message) => message.content.as_deref(),
        Body::Edit { content, .. } => content.as_deref(),
        _ => None,
    };
    let mut json = Vec::with_capacity(ENTRY_BYTES + content.map_or(0, |json| json.get().len()));
    let entered = Entered {
        ev: "entry",
        entry: entry.view(viewer),
    };
    serde_json::to_writer(&mut json, &entered).expect("the host's own values encode");
    Event::from_json(json)
}

/// The event of a member's receipts.
pub fn receipt_json(conversation: ConversationId, user: UserId, member: &Member) -> Vec<u8> {
    encode(&json!({
        "ev": "receipt",
        "conversation": conversation,
        "user": user,
        "received": member.received,
        "read": member.read,
        "at": EntryId(member.receipt_changed).at_ms(),
    }))
}

/// The event of somebody who types.
pub fn typing_json(conversation: ConversationId, user: UserId, on: bool) -> Vec<u8> {
    encode(&json!({"ev": "typing", "conversation": conversation, "user": user, "on": on}))
}

/// The event of a held message's state.
pub fn held_json(hold: &str, held: &Hold, state: &str, reason: Option<&str>) -> Vec<u8> {
    let mut event = json!({
        "ev": "held",
        "hold": hold,
        "conversation": held.conversation,
        "state": state,
    });
    if let Some(key) = &held.key {
        event["client_id"] = key.client_id.as_str().into();
    }
    if let Some(reason) = reason {
        event["reason"] = reason.into();
    }
    encode(&event)
}

fn write_ack(
    json: &mut Vec<u8>,
    request: u32,
    conversation: ConversationId,
    seq: u64,
    id: EntryId,
) {
    use std::io::Write;
    let at = id.at_ms();
    write!(json, r#"{{"re":{request},"ok":{{"conversation":"{conversation}","seq":{seq},"id":"{id}","at":{at}"#)
        .expect("writing to memory does not fail");
}

fn write_content(json: &mut Vec<u8>, content: Option<&str>) {
    if let Some(content) = content {
        json.extend_from_slice(br#","content":"#);
        json.extend_from_slice(content.as_bytes());
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the host's own values encode")
}
