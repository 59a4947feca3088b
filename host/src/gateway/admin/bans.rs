//! Routes of bans, of labels, and of what rules tell administrators.
//! An administrator's ban is in force when it is answered.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator, PAGES, made};
use crate::gateway::respond::{Answer, Body};
use crate::journey::store_refusal;
use crate::moderation::address;
use crate::refusal::Refusal;
use crate::store::moderation::{AdminNotice, Ban, BanKind, NewBan};

const REASON_CHARS_MOST: usize = 500;
const DEVICE_CHARS_MOST: usize = 128;
const LABEL_CHARS_MOST: usize = 64;
/// Longest ban that is not for ever: ten years.
const SECONDS_MOST: u64 = 10 * 366 * 24 * 60 * 60;

/// Every route of bans, labels and notices.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(remove))
        .routes(routes!(label, unlabel))
        .routes(routes!(notices))
}

fn ban_json(ban: &Ban) -> Value {
    let made = &ban.made;
    let mut row = json!({
        "id": ban.id.to_string(),
        "kind": made.kind.as_str(),
        "subject": made.subject,
        "reason": made.reason,
        "by": made.by,
        "at": made.at,
    });
    if let Some(until) = made.until {
        row["until"] = until.into();
    }
    row
}

/// Every ban in force, oldest first.
#[utoipa::path(get, path = "/bans",
    responses((status = 200, description = "`bans`: `id`, `kind`, `subject`, `reason`, `by`, `at`, `until`?")))]
async fn list(State(admin): State<Admin>, _: Administrator) -> Json<Value> {
    let bans = admin.rules.bans.list(admin.clock.now_ms());
    Json(json!({"bans": bans.iter().map(ban_json).collect::<Vec<_>>()}))
}

#[derive(Debug, Deserialize, ToSchema)]
struct BanWish {
    /// `user`, `address`, `device`, or `speech`: a user who may come in and not speak.
    kind: String,
    /// A user by id or name, an IP address, a device's id.
    subject: String,
    /// For how long; for ever when left out.
    #[serde(default)]
    seconds: Option<u64>,
    /// At most 500 characters.
    #[serde(default)]
    reason: String,
}

/// Bans somebody, in place of a ban of the same kind; sessions that it keeps out end.
#[utoipa::path(post, path = "/bans", request_body = BanWish,
    responses((status = 201, description = "the ban"), (status = 400), (status = 403), (status = 404), (status = 422)))]
async fn add(
    State(admin): State<Admin>,
    who: Administrator,
    Body(wish): Body<BanWish>,
) -> Result<Response, Answer> {
    let Some(kind) = BanKind::from_name(&wish.kind) else {
        return Err(Refusal::bad_request("kind must be user, address, device or speech").into());
    };
    if wish.reason.chars().count() > REASON_CHARS_MOST {
        return Err(Refusal::bad_request("reason must have at most 500 characters").into());
    }
    if wish
        .seconds
        .is_some_and(|seconds| seconds == 0 || seconds > SECONDS_MOST)
    {
        return Err(Refusal::bad_request(
            "seconds must be 1 or more and at most ten years; leave it out for ever",
        )
        .into());
    }
    let mut user = None;
    let subject = match kind {
        BanKind::User | BanKind::Speech => {
            let found = admin.user(&wish.subject).await?.profile.id;
            user = Some(found);
            found.to_string()
        }
        BanKind::Address => address(&wish.subject)
            .ok_or_else(|| Refusal::bad_request("subject must be an IP address"))?,
        BanKind::Device => {
            let length = wish.subject.chars().count();
            if !(1..=DEVICE_CHARS_MOST).contains(&length) {
                return Err(Refusal::bad_request(
                    "subject must be a device's id, 1 to 128 characters",
                )
                .into());
            }
            wish.subject
        }
    };
    let named = format!("{} {subject}", kind.as_str());
    let rules = &admin.rules;
    rules.ask_action(&who.0, "ban.add", user, &named).await?;
    let at = admin.clock.now_ms();
    let new = NewBan {
        kind,
        subject,
        until: wish.seconds.map(|seconds| at + seconds * 1000),
        reason: wish.reason,
        by: who.0.clone(),
        at,
    };
    let ban = rules.ban(new).await?;
    admin.audit(&who, "ban.add", &named).await?;
    Ok(made(ban_json(&ban)))
}

/// Lifts a ban.
#[utoipa::path(delete, path = "/bans/{id}", params(("id" = String, Path)), responses((status = 204), (status = 403), (status = 404), (status = 422)))]
async fn remove(
    State(admin): State<Admin>,
    who: Administrator,
    Path(id): Path<String>,
) -> Result<StatusCode, Answer> {
    let none = || Refusal::not_found("there is no such ban");
    let number: u64 = id.parse().map_err(|_| none())?;
    let known = admin.rules.bans.list(admin.clock.now_ms());
    let ban = known.iter().find(|ban| ban.id == number).ok_or_else(none)?;
    let user = match ban.made.kind {
        BanKind::User | BanKind::Speech => ban.made.subject.parse().ok(),
        BanKind::Address | BanKind::Device => None,
    };
    let named = format!("{} {}", ban.made.kind.as_str(), ban.made.subject);
    let rules = &admin.rules;
    rules.ask_action(&who.0, "ban.remove", user, &named).await?;
    rules.lift(number).await?.ok_or_else(none)?;
    admin.audit(&who, "ban.remove", &named).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked_label(label: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if label.is_empty() || label.len() > LABEL_CHARS_MOST || !label.chars().all(plain) {
        return Err(Refusal::bad_request(
            "a label is lower-case letters, digits and `-`, 1 to 64 of them",
        ));
    }
    Ok(())
}

/// Labels a user; again changes nothing.
#[utoipa::path(put, path = "/users/{user}/labels/{label}", params(("user" = String, Path), ("label" = String, Path)),
    responses((status = 204), (status = 400), (status = 404)))]
async fn label(
    State(admin): State<Admin>,
    who: Administrator,
    Path((user, label)): Path<(String, String)>,
) -> Result<StatusCode, Answer> {
    checked_label(&label)?;
    set_label(&admin, &who, (&user, &label), true).await
}

/// Takes a label off a user; one that is not there stays so.
#[utoipa::path(delete, path = "/users/{user}/labels/{label}", params(("user" = String, Path), ("label" = String, Path)),
    responses((status = 204), (status = 404)))]
async fn unlabel(
    State(admin): State<Admin>,
    who: Administrator,
    Path((user, label)): Path<(String, String)>,
) -> Result<StatusCode, Answer> {
    set_label(&admin, &who, (&user, &label), false).await
}

async fn set_label(
    admin: &Admin,
    who: &Administrator,
    (user, label): (&str, &str),
    on: bool,
) -> Result<StatusCode, Answer> {
    let id = admin.user(user).await?.profile.id;
    let set = admin.rules.store.set_label(id, label, on).await;
    set.map_err(|e| store_refusal(&e))?;
    let action = if on { "user.label" } else { "user.unlabel" };
    admin.audit(who, action, &format!("{id} {label}")).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Window {
    /// From the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 when left out.
    limit: Option<i64>,
}

/// What rules tell administrators, newest first.
#[utoipa::path(get, path = "/notices", params(Window),
    responses((status = 200, description = "`notices`: `id`, `at`, `by`, `text`, `user`?; `cursor`"), (status = 400)))]
async fn notices(
    State(admin): State<Admin>,
    _: Administrator,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = PAGES.cut(window.limit)?;
    let before = match window.cursor {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| Refusal::bad_request("not a cursor of this list"))?,
        ),
        None => None,
    };
    let page = admin.rules.store.admin_notices(before, limit + 1).await;
    let mut page = page.map_err(|e| store_refusal(&e))?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut answer = json!({"notices": page.iter().map(notice_json).collect::<Vec<_>>()});
    if let Some(last) = page.last().filter(|_| more) {
        answer["cursor"] = last.id.to_string().into();
    }
    Ok(Json(answer))
}

fn notice_json(notice: &AdminNotice) -> Value {
    let told = &notice.told;
    let mut row = json!({
        "id": notice.id.to_string(),
        "at": told.at,
        "by": told.by,
        "text": told.text,
    });
    if let Some(user) = told.user {
        row["user"] = user.to_string().into();
    }
    row
}
