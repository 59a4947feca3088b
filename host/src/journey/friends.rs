//! Friends: asking, answering, ending. The strategies decide who may ask whom, the filters what may be said with it;
//! both sides find what happened in their `self` logs (see `notices`). Who was refused is not told.

use super::{Journey, decide, store_refusal};
use crate::conversation::Kind;
use crate::ids::{RequestId, UserId};
use crate::plugins::{Command, Judge, Scope, Text, Verdict};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::{Relation, UserKind};
use crate::store::people::{Answered, Ask, Asked, Friend, FriendRequest, RequestState};

/// Unicode scalar values of the text that goes with a request.
const TEXT_CHARS_MOST: usize = 300;

/// A request as its asker gets it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    pub request: FriendRequest,
    /// Made now, not found waiting.
    pub new: bool,
}

/// How the strategies took a request.
enum Taken {
    Openly,
    /// The asked one is not to know of it, and the asker not of that.
    Silently,
}

impl Journey {
    /// Asks a user to be a friend. Asked while the other one asks, both are friends.
    pub async fn ask_friend(
        &self,
        asker: UserId,
        asked: UserId,
        text: Option<String>,
    ) -> Result<Requested, Refusal> {
        if asker == asked {
            return Err(Refusal::bad_request("one cannot be one's own friend"));
        }
        let text = text
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
        if text
            .as_ref()
            .is_some_and(|text| text.chars().count() > TEXT_CHARS_MOST)
        {
            return Err(Refusal::new(Code::TooLarge, "the text is too long"));
        }
        self.person(asked).await?;
        let relation = self.relation(asker, asked).await?;
        let before = self
            .people
            .request_of(asker, asked)
            .await
            .map_err(|e| store_refusal(&e))?;
        let refusals = before.map_or(0, |before| before.refusals);
        let facts = [("refusals", refusals.to_string())];
        let (silent, text) = {
            let judge = self.plugins.pin(); // I4
            let text_asked = text.as_deref().unwrap_or_default();
            let taken =
                self.judge_request(&*judge, (asker, asked), relation, text_asked, &facts)?;
            let text = match text {
                Some(text) => Some(self.filter_request(&*judge, &text)?),
                None => None,
            };
            (matches!(taken, Taken::Silently), text)
        };
        let ask = Ask {
            asker,
            asked,
            text,
            at: self.clock.now_ms(),
            silent,
        };
        let asked = self.owe(self.people.ask(&ask, &self.people_limits)).await?;
        requested(asked)
    }

    /// Accepts or refuses a request made to `user`. Again: the same answer.
    pub async fn answer_friend(
        &self,
        user: UserId,
        id: RequestId,
        accept: bool,
    ) -> Result<FriendRequest, Refusal> {
        let nothing = || Refusal::not_found("no such friend request");
        let request = self
            .people
            .request(id)
            .await
            .map_err(|e| store_refusal(&e))?
            .filter(|request| [request.asker, request.asked].contains(&user))
            .ok_or_else(nothing)?;
        if request.asker == user {
            return Err(Refusal::new(
                Code::Forbidden,
                "only the one who was asked answers",
            ));
        }
        if accept {
            let relation = self.relation(user, request.asker).await?;
            let judge = self.plugins.pin(); // I4
            let facts = [("accepting", request.id.to_string())];
            self.judge_request(&*judge, (user, request.asker), relation, "", &facts)?;
        }
        let now = self.clock.now_ms();
        let answer = self.people.answer(id, accept, now, &self.people_limits);
        match self.owe(answer).await? {
            Answered::Done(request) => Ok(request),
            Answered::AcceptedBefore => Err(Refusal::new(
                Code::Conflict,
                "the request was accepted before",
            )),
            Answered::TooManyFriends => Err(too_many_friends()),
            Answered::Gone => Err(nothing()),
        }
    }

    /// Ends a friendship; where there is none nothing happens.
    pub async fn end_friend(&self, user: UserId, other: UserId) -> Result<(), Refusal> {
        self.owe(self.people.end_friendship(user, other)).await?;
        Ok(())
    }

    /// A page of a user's friends.
    pub async fn friends(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Friend>, Refusal> {
        self.people
            .friends(user, after, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// A page of the requests that wait as far as a user knows.
    pub async fn friend_requests(
        &self,
        user: UserId,
        before: Option<RequestId>,
        limit: usize,
    ) -> Result<Vec<FriendRequest>, Refusal> {
        self.people
            .requests(user, before, limit)
            .await
            .map_err(|e| store_refusal(&e))
    }

    /// The request that waits between two users, as far as `user` knows.
    pub async fn waiting_between(
        &self,
        user: UserId,
        other: UserId,
    ) -> Result<Option<FriendRequest>, Refusal> {
        let of = |asker, asked| async move {
            self.people
                .request_of(asker, asked)
                .await
                .map_err(|e| store_refusal(&e))
        };
        let received = of(other, user).await?;
        if let Some(request) = received.filter(|r| r.state == RequestState::Waiting) {
            return Ok(Some(request));
        }
        let sent = of(user, other).await?;
        Ok(sent.filter(|request| request.state != RequestState::Accepted))
    }

    async fn person(&self, user: UserId) -> Result<(), Refusal> {
        let found = self
            .accounts
            .user(user)
            .await
            .map_err(|e| store_refusal(&e))?;
        match found {
            Some(user) if user.kind == UserKind::Person => Ok(()),
            Some(_) => Err(Refusal::new(
                Code::Forbidden,
                "a service account has no friends",
            )),
            None => Err(Refusal::not_found("no such user")),
        }
    }

    async fn relation(&self, user: UserId, other: UserId) -> Result<Relation, Refusal> {
        self.accounts
            .relation(user, other)
            .await
            .map_err(|e| store_refusal(&e))
    }

    fn judge_request(
        &self,
        judge: &dyn Judge,
        (sender, peer): (UserId, UserId),
        relation: Relation,
        text: &str,
        facts: &[(&str, String)],
    ) -> Result<Taken, Refusal> {
        let facts: Vec<_> = facts
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let ruling = judge.strategy(
            Scope::Direct,
            &Command {
                operation: "friend-request",
                conversation_kind: Kind::Direct.as_str(),
                sender: &sender.to_string(),
                peer: &peer.to_string(),
                blocked: relation.blocked,
                blocking: relation.blocking,
                friends: relation.friends,
                text,
                at_ms: self.clock.now_ms(),
                facts: &facts,
                ..Command::default()
            },
        );
        match ruling.verdict {
            Verdict::Pass => Ok(Taken::Openly),
            Verdict::Drop { .. } => Ok(Taken::Silently),
            other => Err(decide::refused_at_once(other)),
        }
    }

    /// The text as it may be shown; a request is refused rather than held.
    fn filter_request(&self, judge: &dyn Judge, text: &str) -> Result<String, Refusal> {
        let texts = [Text {
            place: "friend-request",
            text,
        }];
        let ruling = judge.filter(Scope::Outside.into(), &texts, self.clock.now_ms());
        match ruling.verdict {
            Verdict::Pass => {
                let masked = ruling.masked.into_iter().next().flatten();
                Ok(masked.unwrap_or_else(|| text.to_owned()))
            }
            other => Err(decide::refused_at_once(other)),
        }
    }
}

fn requested(asked: Asked) -> Result<Requested, Refusal> {
    let waiting = |message| {
        let wait = std::time::Duration::from_secs(3600);
        Err(Refusal::rate_limited(wait, message))
    };
    match asked {
        Asked::New(request) | Asked::Friends(request) => Ok(Requested { request, new: true }),
        Asked::Before(request) => Ok(Requested {
            request,
            new: false,
        }),
        Asked::AlreadyFriends => Err(Refusal::new(Code::Conflict, "you are friends already")),
        Asked::TooManySent => waiting("too many of your requests are waiting for an answer"),
        Asked::TooManyReceived => waiting("too many requests wait for this user"),
        Asked::TooManyFriends => Err(too_many_friends()),
    }
}

fn too_many_friends() -> Refusal {
    Refusal::new(Code::Conflict, "one of the two has too many friends")
}
