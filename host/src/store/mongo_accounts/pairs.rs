//! What is between two users, as one document: who blocks whom, since when they are friends, what each has asked the
//! other, and the notices owed because of it. Whatever must happen together happens in one write of it.
//! The rules are plain functions of the document; counting and writing are in `friends.rs`.

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::schema::PAIRS;
use super::{MongoAccounts, signed, unsigned};
use crate::ids::{RequestId, UserId};
use crate::store::StoreError;
use crate::store::accounts::Relation;
use crate::store::people::{Ask, FriendRequest, RequestState};

/// `low` has the smaller id. `up` is what `low` has asked `high`, `down` what `high` has asked `low`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair {
    #[serde(rename = "_id")]
    pub id: String,
    pub low: i64,
    pub high: i64,
    /// Rises with every change; none has been written while it is 0.
    pub version: i64,
    pub low_blocks: bool,
    pub high_blocks: bool,
    /// Milliseconds since 1970 UTC; they are friends while it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<Request>,
    /// Notices nobody has entered yet.
    pub owed: Vec<Owed>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    pub id: i64,
    pub text: Option<String>,
    pub at: i64,
    pub state: i32,
    pub refusals: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Owed {
    /// In the order they came to be owed, over all pairs.
    pub number: i64,
    pub user: i64,
    pub code: String,
    pub args: String,
}

/// What asking comes to, before anything is counted.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    AlreadyFriends,
    /// Both want it: by the request of this one.
    Befriend(UserId),
    /// It waits already, as far as the asker knows.
    Before(FriendRequest),
    /// It was refused, or led to a friendship that is no more: it waits again.
    Again,
    Anew,
}

/// Numbers taken for notices, given out one by one.
pub(super) struct Taken(pub u64);

impl Taken {
    fn next(&mut self) -> i64 {
        let number = signed(self.0);
        self.0 += 1;
        number
    }
}

/// Notices the most that one change of a pair owes.
pub(super) const NOTICES_MOST: u64 = 2;

pub(super) fn state_of(stored: i32) -> RequestState {
    match stored {
        0 => RequestState::Waiting,
        1 => RequestState::Refused,
        _ => RequestState::Accepted,
    }
}

pub(super) fn pair_id(one: UserId, other: UserId) -> String {
    let (low, high) = (one.min(other), one.max(other));
    format!("{low}-{high}")
}

impl Pair {
    pub fn between(one: UserId, other: UserId) -> Self {
        Self {
            id: pair_id(one, other),
            low: signed(one.min(other).0),
            high: signed(one.max(other).0),
            version: 0,
            low_blocks: false,
            high_blocks: false,
            since: None,
            up: None,
            down: None,
            owed: Vec::new(),
        }
    }

    pub fn low_user(&self) -> UserId {
        UserId(unsigned(self.low))
    }

    pub fn high_user(&self) -> UserId {
        UserId(unsigned(self.high))
    }

    pub fn is_low(&self, user: UserId) -> bool {
        self.low == signed(user.0)
    }

    fn other(&self, user: UserId) -> UserId {
        if self.is_low(user) {
            self.high_user()
        } else {
            self.low_user()
        }
    }

    fn asked_by(&mut self, asker: UserId) -> &mut Option<Request> {
        if self.is_low(asker) {
            &mut self.up
        } else {
            &mut self.down
        }
    }

    /// The request of a user to the other one.
    pub fn request_by(&self, asker: UserId) -> Option<FriendRequest> {
        let request = if self.is_low(asker) {
            &self.up
        } else {
            &self.down
        };
        request.as_ref().map(|request| FriendRequest {
            id: RequestId(unsigned(request.id)),
            asker,
            asked: self.other(asker),
            text: request.text.clone(),
            at: unsigned(request.at),
            state: state_of(request.state),
            refusals: u32::try_from(request.refusals).unwrap_or(u32::MAX),
        })
    }

    /// The request of an id.
    pub fn request(&self, id: RequestId) -> Option<FriendRequest> {
        let users = [self.low_user(), self.high_user()];
        let mut requests = users.into_iter().filter_map(|user| self.request_by(user));
        requests.find(|request| request.id == id)
    }

    /// How one stands to the other.
    pub fn relation(&self, user: UserId) -> Relation {
        let (own, others) = if self.is_low(user) {
            (self.low_blocks, self.high_blocks)
        } else {
            (self.high_blocks, self.low_blocks)
        };
        Relation {
            blocked: others,
            blocking: own,
            friends: self.since.is_some(),
        }
    }

    pub fn consider(&self, ask: &Ask) -> Step {
        if self.since.is_some() {
            return Step::AlreadyFriends;
        }
        if !ask.silent && self.request_by(ask.asked).is_some() {
            // Refused or not, it still waits as far as the other one knows: both want it.
            return Step::Befriend(ask.asked);
        }
        match self.request_by(ask.asker) {
            Some(mine) if mine.state == RequestState::Waiting || ask.silent => Step::Before(mine),
            Some(_) => Step::Again,
            None => Step::Anew,
        }
    }

    /// The request waits again. The asker was never told that it had been refused, so only the other one is told.
    pub fn ask_again(&mut self, ask: &Ask, numbers: &mut Taken) -> Option<FriendRequest> {
        let request = self.asked_by(ask.asker).as_mut()?;
        request.text.clone_from(&ask.text);
        request.at = signed(ask.at);
        request.state = RequestState::Waiting as i32;
        let again = self.request_by(ask.asker)?;
        self.owe_request(&again, ask.asked, numbers);
        Some(again)
    }

    pub fn ask_anew(
        &mut self,
        ask: &Ask,
        id: RequestId,
        numbers: &mut Taken,
    ) -> Option<FriendRequest> {
        let state = if ask.silent {
            RequestState::Refused
        } else {
            RequestState::Waiting
        };
        *self.asked_by(ask.asker) = Some(Request {
            id: signed(id.0),
            text: ask.text.clone(),
            at: signed(ask.at),
            state: state as i32,
            refusals: 0,
        });
        let new = self.request_by(ask.asker)?;
        self.owe_request(&new, ask.asker, numbers);
        if !ask.silent {
            self.owe_request(&new, ask.asked, numbers);
        }
        Some(new)
    }

    /// They are friends by the request of `asker`; the other one's is forgotten.
    pub fn befriend(
        &mut self,
        asker: UserId,
        at: u64,
        numbers: &mut Taken,
    ) -> Option<FriendRequest> {
        let other = self.other(asker);
        self.since.get_or_insert(signed(at));
        *self.asked_by(other) = None;
        self.asked_by(asker).as_mut()?.state = RequestState::Accepted as i32;
        self.owe_both(asker, "friend_accepted", numbers);
        self.request_by(asker)
    }

    /// The request of `asker` is refused.
    pub fn refuse(&mut self, asker: UserId) -> Option<FriendRequest> {
        let request = self.asked_by(asker).as_mut()?;
        request.state = RequestState::Refused as i32;
        request.refusals = request.refusals.saturating_add(1);
        self.request_by(asker)
    }

    /// The friendship and what led to it are gone.
    pub fn part(&mut self, user: UserId, numbers: &mut Taken) {
        (self.since, self.up, self.down) = (None, None, None);
        self.owe_both(user, "friend_removed", numbers);
    }

    /// Each side's log names the other.
    fn owe_both(&mut self, first: UserId, code: &str, numbers: &mut Taken) {
        let other = self.other(first);
        self.owe(first, code, &json!({"user": other}), numbers);
        self.owe(other, code, &json!({"user": first}), numbers);
    }

    fn owe_request(&mut self, request: &FriendRequest, user: UserId, numbers: &mut Taken) {
        let mut args = json!({"id": request.id, "user": self.other(user)});
        if let Some(text) = &request.text {
            args["text"] = text.as_str().into();
        }
        self.owe(user, "friend_request", &args, numbers);
    }

    fn owe(&mut self, user: UserId, code: &str, args: &serde_json::Value, numbers: &mut Taken) {
        self.owed.push(Owed {
            number: numbers.next(),
            user: signed(user.0),
            code: code.to_owned(),
            args: args.to_string(),
        });
    }
}

impl MongoAccounts {
    /// What is between two users; nothing yet where nothing is kept.
    pub(super) async fn pair(&self, one: UserId, other: UserId) -> Result<Pair, StoreError> {
        let found = self.one(PAIRS, doc! {"_id": pair_id(one, other)}).await?;
        Ok(found.unwrap_or_else(|| Pair::between(one, other)))
    }

    /// Writes a pair as it was changed, unless somebody else has changed it since it was read.
    pub(super) async fn put_pair(&self, mut pair: Pair) -> Result<bool, StoreError> {
        let read = pair.version;
        pair.version += 1;
        if read == 0 {
            return self.insert(PAIRS, &pair).await;
        }
        let filter = doc! {"_id": &pair.id, "version": read};
        let pairs = self.table::<Pair>(PAIRS);
        let put = self.write(pairs.replace_one(filter, &pair)).await?;
        Ok(put.matched_count == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(11);
    const BOB: UserId = UserId(22);

    fn ask(asker: UserId, asked: UserId, silent: bool) -> Ask {
        Ask {
            asker,
            asked,
            text: Some("hello".to_owned()),
            at: 5,
            silent,
        }
    }

    fn asked(pair: &mut Pair, by: &Ask, numbers: &mut Taken) -> FriendRequest {
        assert_eq!(pair.consider(by), Step::Anew);
        let new = pair.ask_anew(by, RequestId(7), numbers);
        new.expect("a request")
    }

    #[test]
    fn a_pair_is_the_same_from_both_sides() {
        assert_eq!(Pair::between(ANN, BOB), Pair::between(BOB, ANN));
        let mut pair = Pair::between(BOB, ANN);
        pair.high_blocks = true;
        assert!(pair.relation(BOB).blocking && pair.relation(ANN).blocked);
        assert!(!pair.relation(BOB).blocked && !pair.relation(ANN).blocking);
    }

    #[test]
    fn one_who_is_asked_and_asks_is_a_friend() {
        let (mut pair, mut numbers) = (Pair::between(ANN, BOB), Taken(3));
        let first = asked(&mut pair, &ask(BOB, ANN, false), &mut numbers);
        assert_eq!((first.asker, first.asked), (BOB, ANN));
        assert!(matches!(
            pair.consider(&ask(BOB, ANN, false)),
            Step::Before(_)
        ));
        assert_eq!(pair.consider(&ask(ANN, BOB, false)), Step::Befriend(BOB));
        let accepted = pair.befriend(BOB, 9, &mut numbers).expect("a request");
        assert_eq!(accepted.state, RequestState::Accepted);
        assert_eq!(pair.consider(&ask(ANN, BOB, false)), Step::AlreadyFriends);
        let owed: Vec<_> = pair
            .owed
            .iter()
            .map(|owed| (owed.number, owed.user, owed.code.as_str()))
            .collect();
        assert_eq!(
            owed,
            [
                (3, 22, "friend_request"),
                (4, 11, "friend_request"),
                (5, 22, "friend_accepted"),
                (6, 11, "friend_accepted")
            ]
        );
    }

    #[test]
    fn a_silent_request_is_known_to_its_asker_alone() {
        let (mut pair, mut numbers) = (Pair::between(ANN, BOB), Taken(1));
        let silent = asked(&mut pair, &ask(ANN, BOB, true), &mut numbers);
        assert_eq!(silent.state, RequestState::Refused);
        assert_eq!(pair.owed.len(), 1);
        assert_eq!(pair.owed[0].user, 11);
        // Asked again openly, the other one is told.
        assert_eq!(pair.consider(&ask(ANN, BOB, false)), Step::Again);
        let again = pair.ask_again(&ask(ANN, BOB, false), &mut numbers);
        assert_eq!(again.map(|again| again.id), Some(silent.id));
        assert_eq!(pair.owed.last().map(|owed| owed.user), Some(22));
    }
}
