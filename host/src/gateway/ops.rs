//! The operations of the protocol: takes a request's fields, calls the journey, queues the answer. What is
//! committed is answered by its settlement instead, at the entry's place in the stream.

use std::sync::Arc;

use serde_json::{Value, json};

use super::frame::{Fields, Request, conversation_id, user_id};
use super::{Gateway, signals};
use crate::conversation::Summary;
use crate::delivery::{error_json, first_answer_json, ok_json};
use crate::entry::Viewer;
use crate::ids::UserId;
use crate::journey::edit::Edit;
use crate::journey::react::Reaction;
use crate::journey::{Draft, Step, Target};
use crate::refusal::{Code, Refusal};
use crate::session::{Codec, Session, to_msgpack};
use crate::store::{Origin, Prefs, Span};

/// Every operation of the protocol. What is not listed here is not served.
pub const OPS: [&str; 16] = [
    "hello",
    "send",
    "received",
    "read",
    "recall",
    "edit",
    "react",
    "typing",
    "history",
    "conversations",
    "sync",
    "prefs",
    "readers",
    "draft",
    "presence",
    "ping",
];

/// How often a read is done again because an event overtook it; then its answer goes out as it is.
const OVERTAKEN_MOST: usize = 8;

/// Does one request of an attended session.
pub async fn handle(gateway: &Arc<Gateway>, session: &Session, request: Request) {
    if matches!(request.op.as_str(), "sync" | "conversations" | "history") {
        return read(gateway, session, request).await;
    }
    if let Some(answer) = answer_to(gateway, session, request).await {
        session.outbox.answer(answer, gateway.registry.coarse_now());
    }
}

/// A read whose answer is no older than any event before it (I7): what a client hears later is newer.
async fn read(gateway: &Arc<Gateway>, session: &Session, request: Request) {
    for _ in 0..OVERTAKEN_MOST {
        let pushes = session.outbox.pushes();
        let Some(answer) = answer_to(gateway, session, request.clone()).await else {
            return;
        };
        let now_ms = gateway.registry.coarse_now();
        let answered = session.outbox.answer_unless_pushed(answer, pushes, now_ms);
        if answered.is_ok() {
            return;
        }
    }
    if let Some(answer) = answer_to(gateway, session, request).await {
        session.outbox.answer(answer, gateway.registry.coarse_now());
    }
}

async fn answer_to(
    gateway: &Arc<Gateway>,
    session: &Session,
    request: Request,
) -> Option<bytes::Bytes> {
    let id = request.id;
    let answer = match dispatch(gateway, session, request).await {
        Ok(answer) => answer?,
        Err(refusal) => error_json(id, &refusal),
    };
    Some(framed(session, answer))
}

/// Answers a request that was not even looked at.
pub fn refuse(gateway: &Gateway, session: &Session, request: u32, refusal: &Refusal) {
    let answer = framed(session, error_json(request, refusal));
    session.outbox.answer(answer, gateway.registry.coarse_now());
}

fn framed(session: &Session, json: Vec<u8>) -> bytes::Bytes {
    match session.codec {
        Codec::Json => json.into(),
        Codec::Msgpack => to_msgpack(&json),
    }
}

fn listed(op: &str) -> Result<(), Refusal> {
    match OPS.contains(&op) {
        true => Ok(()),
        false => Err(Refusal::bad_request("unknown op")),
    }
}

/// `None`: the settlement answers.
async fn dispatch(
    gateway: &Gateway,
    session: &Session,
    request: Request,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Request { id, op, mut fields } = request;
    listed(&op)?;
    let fields = &mut fields;
    let user = session.user;
    let origin = Origin::Session {
        user,
        session: session.id,
        request: id,
        arrived: crate::telemetry::Moment::now(),
    };
    let ok = match op.as_str() {
        "send" => return send(gateway, user, id, fields, origin).await,
        "edit" => {
            let step = edit(gateway, user, fields, origin).await?;
            return Ok(answered(id, step, true));
        }
        "react" => {
            let step = react(gateway, user, fields, origin).await?;
            return Ok(answered(id, step, false));
        }
        "draft" => {
            signals::draft(gateway, user, fields, origin).await?;
            return Ok(None);
        }
        "recall" => {
            let step = gateway
                .journey
                .recall(user, fields.conversation()?, fields.number("seq")?, origin)
                .await?;
            return Ok(answered(id, step, false));
        }
        "received" => {
            let (conversation, seq) = (fields.conversation()?, fields.number("seq")?);
            gateway
                .journey
                .received(user, conversation, seq, origin)
                .await?;
            return Ok(None);
        }
        "read" => {
            let (conversation, seq) = (fields.conversation()?, fields.number("seq")?);
            gateway
                .journey
                .read(user, conversation, seq, origin)
                .await?;
            return Ok(None);
        }
        "prefs" => {
            let conversation = fields.conversation()?;
            gateway
                .journey
                .prefs(user, conversation, prefs(fields)?, origin)
                .await?;
            return Ok(None);
        }
        "history" => history(gateway, user, fields).await?,
        "conversations" => conversations(gateway, user, fields).await?,
        "sync" => sync(gateway, user, fields).await?,
        "typing" => signals::typing(gateway, user, fields).await?,
        "presence" => signals::presence(gateway, session, fields).await?,
        "readers" => signals::readers(gateway, user, fields).await?,
        "ping" => json!({"now": gateway.clock.now_ms()}),
        "hello" => return Err(Refusal::bad_request("hello was said already")),
        _ => return Err(Refusal::new(Code::Internal, "a listed op is not served")),
    };
    Ok(Some(ok_json(id, &ok)))
}

fn answered(request: u32, step: Step, has_state: bool) -> Option<Vec<u8>> {
    match step {
        Step::Submitted => None,
        Step::Answered(conversation, first) => {
            Some(first_answer_json(request, conversation, &first, has_state))
        }
    }
}

async fn send(
    gateway: &Gateway,
    user: UserId,
    request: u32,
    fields: &mut Fields,
    origin: Origin,
) -> Result<Option<Vec<u8>>, Refusal> {
    let draft = Draft {
        to: target(fields)?,
        client_id: fields.text("client_id")?,
        content: fields
            .take("content")
            .ok_or_else(|| Refusal::bad_request("content is missing"))?,
        reply_to: fields.number_or_none("reply_to")?,
        made: None,
    };
    gateway.doorkeeper.admit_send(user)?;
    Ok(answered(
        request,
        gateway.journey.send(user, draft, origin).await?,
        true,
    ))
}

async fn edit(
    gateway: &Gateway,
    user: UserId,
    fields: &mut Fields,
    origin: Origin,
) -> Result<Step, Refusal> {
    let edit = Edit {
        conversation: fields.conversation()?,
        target: fields.number("seq")?,
        client_id: fields.text_or_none("client_id")?,
        content: fields
            .take("content")
            .ok_or_else(|| Refusal::bad_request("content is missing"))?,
    };
    gateway.doorkeeper.admit_send(user)?;
    gateway.journey.edit(user, edit, origin).await
}

async fn react(
    gateway: &Gateway,
    user: UserId,
    fields: &mut Fields,
    origin: Origin,
) -> Result<Step, Refusal> {
    let reaction = Reaction {
        conversation: fields.conversation()?,
        target: fields.number("seq")?,
        emoji: fields.text("emoji")?,
        on: fields.bool("on")?,
    };
    gateway.doorkeeper.admit_send(user)?;
    gateway.journey.react(user, reaction, origin).await
}

/// `{"conversation": …}` or `{"user": …}`, exactly one of them.
fn target(fields: &mut Fields) -> Result<Target, Refusal> {
    let wrong = || Refusal::bad_request("to must be {\"conversation\": id} or {\"user\": id}");
    let Some(Value::Object(to)) = fields.take("to") else {
        return Err(wrong());
    };
    let named = |name: &str| to.get(name).filter(|value| !value.is_null());
    match (named("conversation"), named("user")) {
        (Some(Value::String(id)), None) => Ok(Target::Conversation(conversation_id(id)?)),
        (None, Some(Value::String(id))) => Ok(Target::User(user_id(id)?)),
        _ => Err(wrong()),
    }
}

fn prefs(fields: &mut Fields) -> Result<Prefs, Refusal> {
    let prefs = Prefs {
        pinned: fields.bool_or_none("pinned")?,
        muted: fields.bool_or_none("muted")?,
        hidden: fields.bool_or_none("hidden")?,
        draft: None,
    };
    if prefs == Prefs::default() {
        return Err(Refusal::bad_request(
            "one of pinned, muted, hidden is needed",
        ));
    }
    Ok(prefs)
}

async fn history(gateway: &Gateway, user: UserId, fields: &mut Fields) -> Result<Value, Refusal> {
    let conversation = fields.conversation()?;
    let span = Span {
        after: fields.number_or_none("after")?,
        before: fields.number_or_none("before")?,
        limit: gateway.limits.pages.cut(fields.limit()?)?,
    };
    history_json(gateway, user, conversation, span).await
}

/// A stretch of a log as one user gets it; REST answers the same.
pub async fn history_json(
    gateway: &Gateway,
    user: UserId,
    conversation: crate::ids::ConversationId,
    span: Span,
) -> Result<Value, Refusal> {
    let page = gateway.journey.history(user, conversation, span).await?;
    let entries: Vec<_> = page
        .entries
        .iter()
        .map(|entry| entry.view(Viewer::of(entry, user)))
        .collect();
    let entries = serde_json::to_value(entries).map_err(|error| {
        tracing::error!(%error, "entries could not be written");
        Refusal::new(Code::Internal, "a stored entry could not be read")
    })?;
    Ok(json!({"entries": entries, "head": page.head, "floor": page.floor}))
}

async fn conversations(
    gateway: &Gateway,
    user: UserId,
    fields: &mut Fields,
) -> Result<Value, Refusal> {
    let cursor = fields.text_or_none("cursor")?;
    let limit = gateway.limits.pages.cut(fields.limit()?)?;
    conversations_json(gateway, user, cursor.as_deref(), limit).await
}

/// A page of a user's list; REST answers the same.
pub async fn conversations_json(
    gateway: &Gateway,
    user: UserId,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Value, Refusal> {
    let (summaries, cursor) = gateway.journey.conversations(user, cursor, limit).await?;
    let mut ok = json!({"conversations": rendered(gateway, user, &summaries).await?});
    if let Some(cursor) = cursor {
        ok["cursor"] = cursor.into();
    }
    Ok(ok)
}

async fn sync(gateway: &Gateway, user: UserId, fields: &mut Fields) -> Result<Value, Refusal> {
    let since = fields.text("since")?;
    let changes = gateway
        .journey
        .sync(user, &since, gateway.limits.pages.most)
        .await?;
    let mut ok = json!({
        "changed": rendered(gateway, user, &changes.changed).await?,
        "gone": changes.gone,
        "since": changes.since,
        "more": changes.more,
    });
    if changes.reset {
        ok["reset"] = true.into();
    }
    Ok(ok)
}

async fn rendered(
    gateway: &Gateway,
    user: UserId,
    summaries: &[Summary],
) -> Result<Vec<Value>, Refusal> {
    let mut rendered = Vec::with_capacity(summaries.len());
    for summary in summaries {
        rendered.push(gateway.journey.render(user, summary).await?);
    }
    Ok(rendered)
}
