//! Friends, their requests and the notices owed for them. What causes a notice and the notice itself are one
//! transaction. Decides nothing about who may ask whom.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{SqliteAccounts, signed, unsigned};
use crate::ids::{RequestId, UserId};
use crate::store::StoreError;
use crate::store::people::{
    Answered, Ask, Asked, ChangedProfile, Friend, FriendRequest, Notice, PeopleLimits, RequestState,
};

const REQUEST: &str = "id, asker, asked, text, at, state, refusals";

fn request_of(row: &Row<'_>) -> rusqlite::Result<FriendRequest> {
    Ok(FriendRequest {
        id: RequestId(unsigned(row.get(0)?)),
        asker: UserId(unsigned(row.get(1)?)),
        asked: UserId(unsigned(row.get(2)?)),
        text: row.get(3)?,
        at: unsigned(row.get(4)?),
        state: match row.get::<_, i64>(5)? {
            0 => RequestState::Waiting,
            1 => RequestState::Refused,
            _ => RequestState::Accepted,
        },
        refusals: row.get(6)?,
    })
}

fn by_pair(
    connection: &Connection,
    asker: UserId,
    asked: UserId,
) -> rusqlite::Result<Option<FriendRequest>> {
    let select = format!("SELECT {REQUEST} FROM friend_requests WHERE asker = ?1 AND asked = ?2");
    let mut select = connection.prepare_cached(&select)?;
    select
        .query_row(params![signed(asker.0), signed(asked.0)], request_of)
        .optional()
}

fn by_id(connection: &Connection, id: RequestId) -> rusqlite::Result<Option<FriendRequest>> {
    let select = format!("SELECT {REQUEST} FROM friend_requests WHERE id = ?1");
    let mut select = connection.prepare_cached(&select)?;
    select.query_row([signed(id.0)], request_of).optional()
}

fn count(connection: &Connection, sql: &str, user: UserId) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached(sql)?;
    select.query_row([signed(user.0)], |row| row.get::<_, i64>(0).map(unsigned))
}

fn are_friends(connection: &Connection, user: UserId, other: UserId) -> rusqlite::Result<bool> {
    let mut select =
        connection.prepare_cached("SELECT 1 FROM friends WHERE user = ?1 AND other = ?2")?;
    select.exists(params![signed(user.0), signed(other.0)])
}

fn owe(
    connection: &Connection,
    user: UserId,
    code: &str,
    args: &serde_json::Value,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO notices (user, code, args) VALUES (?1, ?2, ?3)",
        params![signed(user.0), code, args.to_string()],
    )?;
    Ok(())
}

/// Each side's log names the other.
fn owe_both(
    connection: &Connection,
    one: UserId,
    other: UserId,
    code: &str,
) -> rusqlite::Result<()> {
    owe(connection, one, code, &json!({"user": other}))?;
    owe(connection, other, code, &json!({"user": one}))
}

fn owe_request(
    connection: &Connection,
    request: &FriendRequest,
    user: UserId,
) -> rusqlite::Result<()> {
    let other = if user == request.asker {
        request.asked
    } else {
        request.asker
    };
    let mut args = json!({"id": request.id, "user": other});
    if let Some(text) = &request.text {
        args["text"] = text.as_str().into();
    }
    owe(connection, user, "friend_request", &args)
}

fn ask_in(connection: &Connection, ask: &Ask, limits: &PeopleLimits) -> rusqlite::Result<Asked> {
    if are_friends(connection, ask.asker, ask.asked)? {
        return Ok(Asked::AlreadyFriends);
    }
    if !ask.silent
        && let Some(theirs) = by_pair(connection, ask.asked, ask.asker)?
    {
        // Refused or not, it still waits as far as the other one knows: both want it.
        return Ok(match befriend(connection, theirs, ask.at, limits)? {
            Some(accepted) => Asked::Friends(accepted),
            None => Asked::TooManyFriends,
        });
    }
    match by_pair(connection, ask.asker, ask.asked)? {
        Some(mine) if mine.state == RequestState::Waiting || ask.silent => Ok(Asked::Before(mine)),
        Some(mine) => {
            let again = FriendRequest {
                text: ask.text.clone(),
                at: ask.at,
                state: RequestState::Waiting,
                ..mine
            };
            connection.execute(
                "UPDATE friend_requests SET text = ?2, at = ?3, state = ?4 WHERE id = ?1",
                params![
                    signed(again.id.0),
                    again.text,
                    signed(again.at),
                    again.state as i64
                ],
            )?;
            // The asker was never told that it had been refused, so only the other one is told that it waits again.
            owe_request(connection, &again, again.asked)?;
            Ok(Asked::Before(again))
        }
        None => ask_anew(connection, ask, limits),
    }
}

fn ask_anew(connection: &Connection, ask: &Ask, limits: &PeopleLimits) -> rusqlite::Result<Asked> {
    let sent = "SELECT COUNT(*) FROM friend_requests WHERE asker = ?1 AND state = 0";
    if count(connection, sent, ask.asker)? >= limits.waiting_sent {
        return Ok(Asked::TooManySent);
    }
    let received = "SELECT COUNT(*) FROM friend_requests WHERE asked = ?1 AND state = 0";
    if !ask.silent && count(connection, received, ask.asked)? >= limits.waiting_received {
        return Ok(Asked::TooManyReceived);
    }
    let state = if ask.silent {
        RequestState::Refused
    } else {
        RequestState::Waiting
    };
    connection.execute(
        "INSERT INTO friend_requests (asker, asked, text, at, state, refusals) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
        params![
            signed(ask.asker.0),
            signed(ask.asked.0),
            ask.text,
            signed(ask.at),
            state as i64
        ],
    )?;
    let request = FriendRequest {
        id: RequestId(unsigned(connection.last_insert_rowid())),
        asker: ask.asker,
        asked: ask.asked,
        text: ask.text.clone(),
        at: ask.at,
        state,
        refusals: 0,
    };
    owe_request(connection, &request, request.asker)?;
    if !ask.silent {
        owe_request(connection, &request, request.asked)?;
    }
    Ok(Asked::New(request))
}

/// Makes friends of both; `None` when one of them has too many.
fn befriend(
    connection: &Connection,
    request: FriendRequest,
    at: u64,
    limits: &PeopleLimits,
) -> rusqlite::Result<Option<FriendRequest>> {
    for user in [request.asker, request.asked] {
        let friends = "SELECT COUNT(*) FROM friends WHERE user = ?1";
        if count(connection, friends, user)? >= limits.friends {
            return Ok(None);
        }
    }
    for (user, other) in [
        (request.asker, request.asked),
        (request.asked, request.asker),
    ] {
        connection.execute(
            "INSERT INTO friends (user, other, since) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![signed(user.0), signed(other.0), signed(at)],
        )?;
    }
    connection.execute(
        "DELETE FROM friend_requests WHERE asker = ?1 AND asked = ?2",
        params![signed(request.asked.0), signed(request.asker.0)],
    )?;
    let accepted = FriendRequest {
        state: RequestState::Accepted,
        ..request
    };
    connection.execute(
        "UPDATE friend_requests SET state = ?2 WHERE id = ?1",
        params![signed(accepted.id.0), accepted.state as i64],
    )?;
    owe_both(
        connection,
        accepted.asker,
        accepted.asked,
        "friend_accepted",
    )?;
    Ok(Some(accepted))
}

fn answer_in(
    connection: &Connection,
    id: RequestId,
    accept: bool,
    at: u64,
    limits: &PeopleLimits,
) -> rusqlite::Result<Answered> {
    let Some(request) = by_id(connection, id)? else {
        return Ok(Answered::Gone);
    };
    Ok(match (request.state, accept) {
        (RequestState::Accepted, true) | (RequestState::Refused, false) => Answered::Done(request),
        (RequestState::Accepted, false) => Answered::AcceptedBefore,
        (RequestState::Waiting | RequestState::Refused, true) => {
            match befriend(connection, request, at, limits)? {
                Some(accepted) => Answered::Done(accepted),
                None => Answered::TooManyFriends,
            }
        }
        (RequestState::Waiting, false) => {
            let refused = FriendRequest {
                state: RequestState::Refused,
                refusals: request.refusals.saturating_add(1),
                ..request
            };
            connection.execute(
                "UPDATE friend_requests SET state = ?2, refusals = ?3 WHERE id = ?1",
                params![signed(id.0), refused.state as i64, refused.refusals],
            )?;
            Answered::Done(refused)
        }
    })
}

fn end_in(connection: &Connection, user: UserId, other: UserId) -> rusqlite::Result<bool> {
    let pair = params![signed(user.0), signed(other.0)];
    let either = "(user = ?1 AND other = ?2) OR (user = ?2 AND other = ?1)";
    if connection.execute(&format!("DELETE FROM friends WHERE {either}"), pair)? == 0 {
        return Ok(false);
    }
    let either = "(asker = ?1 AND asked = ?2) OR (asker = ?2 AND asked = ?1)";
    connection.execute(&format!("DELETE FROM friend_requests WHERE {either}"), pair)?;
    owe_both(connection, user, other, "friend_removed")?;
    Ok(true)
}

impl SqliteAccounts {
    /// Work of one transaction.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }

    fn forget_relation(&self, user: UserId, other: UserId) {
        self.relations
            .forget(|pair| *pair == (user, other) || *pair == (other, user));
    }

    pub(super) async fn load_friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Friend>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT other, since FROM friends WHERE user = ?1 AND other > ?2 ORDER BY other LIMIT ?3",
            )?;
            let after = signed(after.map_or(0, |after| after.0));
            let rows = select.query_map(params![signed(user.0), after, many(limit)], |row| {
                Ok(Friend {
                    user: UserId(unsigned(row.get(0)?)),
                    since: unsigned(row.get(1)?),
                })
            })?;
            rows.collect()
        })
        .await
    }

    pub(super) async fn delete_friend(
        &self,
        user: UserId,
        other: UserId,
    ) -> Result<bool, StoreError> {
        let ended = self
            .whole(move |connection| end_in(connection, user, other))
            .await?;
        self.forget_relation(user, other);
        Ok(ended)
    }

    pub(super) async fn insert_request(
        &self,
        ask: &Ask,
        limits: &PeopleLimits,
    ) -> Result<Asked, StoreError> {
        let (asker, asked) = (ask.asker, ask.asked);
        let (ask, limits) = (ask.clone(), *limits);
        let done = self
            .whole(move |connection| ask_in(connection, &ask, &limits))
            .await?;
        self.forget_relation(asker, asked);
        Ok(done)
    }

    pub(super) async fn update_request(
        &self,
        id: RequestId,
        accept: bool,
        at: u64,
        limits: &PeopleLimits,
    ) -> Result<Answered, StoreError> {
        let limits = *limits;
        let done = self
            .whole(move |connection| answer_in(connection, id, accept, at, &limits))
            .await?;
        if let Answered::Done(request) = &done {
            self.forget_relation(request.asker, request.asked);
        }
        Ok(done)
    }

    pub(super) async fn load_request(
        &self,
        id: RequestId,
    ) -> Result<Option<FriendRequest>, StoreError> {
        self.with(move |connection| by_id(connection, id)).await
    }

    pub(super) async fn load_request_of(
        &self,
        asker: UserId,
        asked: UserId,
    ) -> Result<Option<FriendRequest>, StoreError> {
        self.with(move |connection| by_pair(connection, asker, asked))
            .await
    }

    pub(super) async fn load_requests(
        &self,
        user: UserId,
        before: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<FriendRequest>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {REQUEST} FROM friend_requests
                 WHERE ((asker = ?1 AND state < 2) OR (asked = ?1 AND state = 0)) AND id < ?2
                 ORDER BY id DESC LIMIT ?3"
            ))?;
            let before = before.map_or(i64::MAX, |before| signed(before.0));
            let rows =
                select.query_map(params![signed(user.0), before, many(limit)], request_of)?;
            rows.collect()
        })
        .await
    }

    pub(super) async fn load_notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.with(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT number, user, code, args FROM notices ORDER BY number LIMIT ?1",
            )?;
            let rows = select.query_map([many(limit)], |row| {
                Ok(Notice {
                    number: unsigned(row.get(0)?),
                    user: UserId(unsigned(row.get(1)?)),
                    code: row.get(2)?,
                    args: row.get(3)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    pub(super) async fn delete_notices(&self, upto: u64) -> Result<(), StoreError> {
        self.with(move |connection| {
            connection.execute("DELETE FROM notices WHERE number <= ?1", [signed(upto)])
        })
        .await
        .map(|_| ())
    }

    pub(super) async fn load_changed_profiles(
        &self,
        limit: usize,
    ) -> Result<Vec<ChangedProfile>, StoreError> {
        self.with(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT user, change FROM changed_profiles LIMIT ?1")?;
            let rows = select.query_map([many(limit)], |row| {
                Ok(ChangedProfile {
                    user: UserId(unsigned(row.get(0)?)),
                    change: unsigned(row.get(1)?),
                })
            })?;
            rows.collect()
        })
        .await
    }

    pub(super) async fn delete_changed_profile(
        &self,
        told: ChangedProfile,
    ) -> Result<(), StoreError> {
        self.with(move |connection| {
            connection.execute(
                "DELETE FROM changed_profiles WHERE user = ?1 AND change = ?2",
                params![signed(told.user.0), signed(told.change)],
            )
        })
        .await
        .map(|_| ())
    }
}

/// A limit as SQLite takes it.
pub(super) fn many(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
