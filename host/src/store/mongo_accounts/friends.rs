//! Friends and their requests: each change is one conditional write of a pair, tried again when the pair changed
//! meanwhile; bounds are claimed before it (`claims.rs`). Decides nothing about who may ask whom.
//! The rules are in `pairs.rs`.

use mongodb::bson::{Document, doc};

use super::claims::{Claim, Claims};
use super::pairs::{NOTICES_MOST, Pair, Step, Taken, pair_id};
use super::schema::PAIRS;
use super::tries::Tries;
use super::{MongoAccounts, signed, unsigned};
use crate::ids::{RequestId, UserId};
use crate::store::StoreError;
use crate::store::people::{
    Answered, Ask, Asked, Friend, FriendRequest, PeopleLimits, RequestState,
};

/// What a user has a bounded number of.
#[derive(Clone, Copy)]
enum Bound {
    Friends,
    Sent,
    Received,
}

impl Bound {
    fn key(self, user: UserId) -> String {
        let what = match self {
            Self::Friends => "friends",
            Self::Sent => "sent",
            Self::Received => "received",
        };
        format!("{what}:{user}")
    }

    /// The pairs that fill it: those in which the user is the lower one, and those in which the higher.
    fn filters(self, user: UserId) -> [Document; 2] {
        let user = signed(user.0);
        let waiting = RequestState::Waiting as i32;
        match self {
            Self::Friends => [
                doc! {"low": user, "since": {"$exists": true}},
                doc! {"high": user, "since": {"$exists": true}},
            ],
            Self::Sent => [
                doc! {"low": user, "up.state": waiting},
                doc! {"high": user, "down.state": waiting},
            ],
            Self::Received => [
                doc! {"low": user, "down.state": waiting},
                doc! {"high": user, "up.state": waiting},
            ],
        }
    }
}

/// Room asked for.
enum Room {
    Taken(Vec<Claim>),
    /// Of this bound there is none left.
    Full(Bound),
}

impl MongoAccounts {
    /// How much of a bound is filled, and what is on its way.
    async fn filled(
        &self,
        bound: Bound,
        user: UserId,
        now: u64,
    ) -> Result<(u64, Claims), StoreError> {
        let claims = self.claims(bound.key(user), now).await?;
        let held: Vec<&str> = claims.held.iter().map(|held| held.what.as_str()).collect();
        let mut filled = held.len() as u64;
        for mut filter in bound.filters(user) {
            filter.insert("_id", doc! {"$nin": &held});
            let pairs = self.table::<Document>(PAIRS);
            filled += self.read(pairs.count_documents(filter)).await?;
        }
        Ok((filled, claims))
    }

    /// Takes room for a pair in each of some bounds, or in none.
    async fn room(
        &self,
        pair: &str,
        now: u64,
        bounds: &[(Bound, UserId, u64)],
    ) -> Result<Room, StoreError> {
        let mut taken = Vec::new();
        for (bound, user, most) in bounds {
            match self.room_of_one(pair, now, (*bound, *user, *most)).await {
                Ok(Some(claim)) => taken.push(claim),
                Ok(None) => {
                    self.release(taken).await;
                    return Ok(Room::Full(*bound));
                }
                Err(error) => {
                    self.release(taken).await;
                    return Err(error);
                }
            }
        }
        Ok(Room::Taken(taken))
    }

    async fn room_of_one(
        &self,
        pair: &str,
        now: u64,
        (bound, user, most): (Bound, UserId, u64),
    ) -> Result<Option<Claim>, StoreError> {
        let mut tries = Tries::of("a user's requests");
        loop {
            let (filled, claims) = self.filled(bound, user, now).await?;
            if filled >= most {
                return Ok(None);
            }
            let claim = self.claim(claims, pair.to_owned(), 1, now).await?;
            if claim.is_some() {
                return Ok(claim);
            }
            tries.again().await?;
        }
    }

    async fn notice_numbers(&self) -> Result<Taken, StoreError> {
        self.number("notices", NOTICES_MOST).await.map(Taken)
    }

    pub(super) async fn insert_request(
        &self,
        ask: &Ask,
        limits: &PeopleLimits,
    ) -> Result<Asked, StoreError> {
        let mut tries = Tries::of("a friend request");
        loop {
            let pair = self.pair(ask.asker, ask.asked).await?;
            let done = match pair.consider(ask) {
                Step::AlreadyFriends => Some(Asked::AlreadyFriends),
                Step::Before(mine) => Some(Asked::Before(mine)),
                Step::Befriend(asker) => match self.befriend(pair, asker, ask.at, limits).await? {
                    Befriended::Done(accepted) => Some(Asked::Friends(accepted)),
                    Befriended::TooMany => Some(Asked::TooManyFriends),
                    Befriended::Changed => None,
                },
                Step::Again => self.ask_again(pair, ask).await?,
                Step::Anew => self.ask_anew(pair, ask, limits).await?,
            };
            if let Some(done) = done {
                return Ok(done);
            }
            tries.again().await?;
        }
    }

    /// `None` when the pair changed meanwhile.
    async fn ask_again(&self, mut pair: Pair, ask: &Ask) -> Result<Option<Asked>, StoreError> {
        let mut numbers = self.notice_numbers().await?;
        let again = pair.ask_again(ask, &mut numbers);
        let is_put = self.put_pair(pair).await?;
        Ok(again.filter(|_| is_put).map(Asked::Before))
    }

    /// `None` when the pair changed meanwhile.
    async fn ask_anew(
        &self,
        mut pair: Pair,
        ask: &Ask,
        limits: &PeopleLimits,
    ) -> Result<Option<Asked>, StoreError> {
        let both = [
            (Bound::Sent, ask.asker, limits.waiting_sent),
            (Bound::Received, ask.asked, limits.waiting_received),
        ];
        let bounds = if ask.silent { &both[..1] } else { &both[..] };
        let claims = match self.room(&pair.id, ask.at, bounds).await? {
            Room::Taken(claims) => claims,
            Room::Full(Bound::Received) => return Ok(Some(Asked::TooManyReceived)),
            Room::Full(_) => return Ok(Some(Asked::TooManySent)),
        };
        let put = async {
            let id = RequestId(self.number("friend_requests", 1).await?);
            let mut numbers = self.notice_numbers().await?;
            let new = pair.ask_anew(ask, id, &mut numbers);
            let is_put = self.put_pair(pair).await?;
            Ok(new.filter(|_| is_put).map(Asked::New))
        };
        let put = put.await;
        self.release(claims).await;
        put
    }

    /// Makes friends of both by the request of `asker`, unless one of them has too many or the pair changed meanwhile.
    async fn befriend(
        &self,
        mut pair: Pair,
        asker: UserId,
        at: u64,
        limits: &PeopleLimits,
    ) -> Result<Befriended, StoreError> {
        let users = [pair.low_user(), pair.high_user()];
        let bounds = users.map(|user| (Bound::Friends, user, limits.friends));
        let claims = match self.room(&pair.id, at, &bounds).await? {
            Room::Taken(claims) => claims,
            Room::Full(_) => return Ok(Befriended::TooMany),
        };
        let put = async {
            let mut numbers = self.notice_numbers().await?;
            let accepted = pair.befriend(asker, at, &mut numbers);
            let is_put = self.put_pair(pair).await?;
            let done = accepted.filter(|_| is_put);
            Ok(done.map_or(Befriended::Changed, Befriended::Done))
        };
        let put = put.await;
        self.release(claims).await;
        put
    }

    pub(super) async fn update_request(
        &self,
        id: RequestId,
        accept: bool,
        at: u64,
        limits: &PeopleLimits,
    ) -> Result<Answered, StoreError> {
        let mut tries = Tries::of("a friend request");
        loop {
            let Some((mut pair, request)) = self.pair_of_request(id).await? else {
                return Ok(Answered::Gone);
            };
            match (request.state, accept) {
                (RequestState::Accepted, true) | (RequestState::Refused, false) => {
                    return Ok(Answered::Done(request));
                }
                (RequestState::Accepted, false) => return Ok(Answered::AcceptedBefore),
                (RequestState::Waiting | RequestState::Refused, true) => {
                    match self.befriend(pair, request.asker, at, limits).await? {
                        Befriended::Done(accepted) => return Ok(Answered::Done(accepted)),
                        Befriended::TooMany => return Ok(Answered::TooManyFriends),
                        Befriended::Changed => {}
                    }
                }
                (RequestState::Waiting, false) => {
                    let refused = pair.refuse(request.asker);
                    let is_put = self.put_pair(pair).await?;
                    if let Some(refused) = refused.filter(|_| is_put) {
                        return Ok(Answered::Done(refused));
                    }
                }
            }
            tries.again().await?;
        }
    }

    pub(super) async fn delete_friend(
        &self,
        user: UserId,
        other: UserId,
    ) -> Result<bool, StoreError> {
        let mut tries = Tries::of("a friendship");
        loop {
            let mut pair = self.pair(user, other).await?;
            if pair.since.is_none() {
                return Ok(false);
            }
            let mut numbers = self.notice_numbers().await?;
            pair.part(user, &mut numbers);
            if self.put_pair(pair).await? {
                return Ok(true);
            }
            tries.again().await?;
        }
    }

    async fn pair_of_request(
        &self,
        id: RequestId,
    ) -> Result<Option<(Pair, FriendRequest)>, StoreError> {
        for way in ["up.id", "down.id"] {
            let pair = self.one::<Pair>(PAIRS, doc! {way: signed(id.0)}).await?;
            let found = pair.and_then(|pair| pair.request(id).map(|request| (pair, request)));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    pub(super) async fn load_request(
        &self,
        id: RequestId,
    ) -> Result<Option<FriendRequest>, StoreError> {
        let found = self.pair_of_request(id).await?;
        Ok(found.map(|(_, request)| request))
    }

    pub(super) async fn load_request_of(
        &self,
        asker: UserId,
        asked: UserId,
    ) -> Result<Option<FriendRequest>, StoreError> {
        let filter = doc! {"_id": pair_id(asker, asked)};
        let pair = self.one::<Pair>(PAIRS, filter).await?;
        Ok(pair.and_then(|pair| pair.request_by(asker)))
    }

    /// Each of the four ways a request can lie in a pair, newest first; then together.
    pub(super) async fn load_requests(
        &self,
        user: UserId,
        before: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<FriendRequest>, StoreError> {
        let own = signed(user.0);
        let before = before.map_or(i64::MAX, |before| signed(before.0));
        let waiting = doc! {"$eq": RequestState::Waiting as i32};
        // Refused ones still wait as far as their asker knows.
        let sent = doc! {"$lt": RequestState::Accepted as i32};
        let ways = [
            ("low", "up", &sent),
            ("low", "down", &waiting),
            ("high", "down", &sent),
            ("high", "up", &waiting),
        ];
        let mut found = Vec::new();
        for (side, way, state) in ways {
            let (id, state_of) = (format!("{way}.id"), format!("{way}.state"));
            let mut filter = doc! {side: own};
            filter.insert(id.clone(), doc! {"$lt": before});
            filter.insert(state_of, state.clone());
            let newest = doc! {id: -1};
            let pairs: Vec<Pair> = self.list(PAIRS, filter, newest, limit).await?;
            let asker = if way == "up" {
                Pair::low_user
            } else {
                Pair::high_user
            };
            let requests = pairs.iter().filter_map(|pair| pair.request_by(asker(pair)));
            found.extend(requests);
        }
        found.sort_by_key(|request| std::cmp::Reverse(request.id));
        found.truncate(limit);
        Ok(found)
    }

    pub(super) async fn load_friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Friend>, StoreError> {
        let friends = doc! {"since": {"$exists": true}};
        let pairs = self.pairs_of(user, after, limit, friends.clone(), friends);
        let friends = pairs.await?.into_iter().filter_map(|(other, pair)| {
            Some(Friend {
                user: other,
                since: unsigned(pair.since?),
            })
        });
        Ok(friends.collect())
    }
}

/// What came of making friends.
enum Befriended {
    Done(FriendRequest),
    TooMany,
    Changed,
}
