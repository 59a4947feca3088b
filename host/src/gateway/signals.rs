//! Operations beside messages: typing, presence, drafts, readers.
//! Takes their fields and bounds; who may see what is the journey's to say.

use serde_json::{Value, json};

use super::Gateway;
use super::frame::{Fields, user_id};
use crate::delivery::typing_json;
use crate::ids::UserId;
use crate::refusal::{Code, Refusal};
use crate::session::{Event, Session};
use crate::store::{Origin, Prefs};

/// Users one may ask about at once.
const USERS_MOST: usize = 200;

/// Told to the other members who are here, kept nowhere.
pub async fn typing(
    gateway: &Gateway,
    user: UserId,
    fields: &mut Fields,
) -> Result<Value, Refusal> {
    let (conversation, on) = (fields.conversation()?, fields.bool("on")?);
    gateway.doorkeeper.admit_signal(user)?;
    let most = gateway.limits.typing_members;
    let members = gateway
        .journey
        .told_of_typing(user, conversation, most)
        .await?;
    if !members.is_empty() {
        let event = Event::from_json(typing_json(conversation, user, on));
        let others = members.iter().copied().filter(|member| *member != user);
        gateway.registry.push_to(others, None, &event);
    }
    Ok(json!({}))
}

/// Who is here; with `watch`, who comes and goes from now on.
pub async fn presence(
    gateway: &Gateway,
    session: &Session,
    fields: &mut Fields,
) -> Result<Value, Refusal> {
    let wrong = || Refusal::bad_request("users must be a list of at most 200 user ids");
    let Some(Value::Array(items)) = fields.take("users") else {
        return Err(wrong());
    };
    let watch = fields.bool_or_none("watch")?;
    if items.len() > USERS_MOST {
        return Err(wrong());
    }
    let mut users = Vec::with_capacity(items.len());
    for item in &items {
        // A text that is no id of ours is a user who does not exist.
        users.extend(user_id(item.as_str().ok_or_else(wrong)?).ok());
    }
    gateway.doorkeeper.admit_signal(session.user)?;
    gateway.presence.look(session, &users, watch).await
}

/// What a user has begun to write, for the user's own devices; the settlement answers.
pub async fn draft(
    gateway: &Gateway,
    user: UserId,
    fields: &mut Fields,
    origin: Origin,
) -> Result<(), Refusal> {
    let (conversation, text) = (fields.conversation()?, fields.text("text")?);
    let most = gateway.limits.text_chars;
    if text.len() > most && text.chars().count() > most {
        let message = format!("text is longer than {most} characters");
        return Err(Refusal::new(Code::TooLarge, message));
    }
    gateway.doorkeeper.admit_signal(user)?;
    let prefs = Prefs {
        draft: Some(text),
        ..Prefs::default()
    };
    gateway
        .journey
        .prefs(user, conversation, prefs, origin)
        .await
}

/// How far the members are with one entry.
pub async fn readers(
    gateway: &Gateway,
    user: UserId,
    fields: &mut Fields,
) -> Result<Value, Refusal> {
    let (conversation, seq) = (fields.conversation()?, fields.number("seq")?);
    let after = match fields.text_or_none("cursor")? {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| Refusal::bad_request("not a cursor of this list"))?,
        ),
        None => None,
    };
    let limit = gateway.limits.pages.cut(fields.limit()?)?;
    gateway.doorkeeper.admit_signal(user)?;
    let readers = gateway
        .journey
        .readers(user, conversation, seq, after, limit)
        .await?;
    let mut ok =
        json!({"received": readers.received, "read": readers.read, "users": readers.users});
    if let Some(last) = readers.users.last().filter(|_| readers.more) {
        ok["cursor"] = last.to_string().into();
    }
    Ok(ok)
}
