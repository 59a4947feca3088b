//! What every store of people promises: friends, their requests, the notices and words owed because of them. Each
//! function is one promise; it knows the seam alone.

use std::sync::Arc;

use kith::ids::{RequestId, UserId};
use kith::store::accounts::Accounts;
use kith::store::people::{
    Answered, Ask, Asked, FriendRequest, Notice, People, PeopleLimits, RequestState,
};
use serde_json::{Value, json};

use super::accounts::{ANN, BOB};
use super::tables::Opened;

/// The same tables through both seams.
pub type Store = Opened<dyn People>;

const CID: UserId = UserId(33);
const LIMITS: PeopleLimits = PeopleLimits {
    friends: 100,
    waiting_sent: 100,
    waiting_received: 100,
};

fn asking(asker: UserId, asked: UserId) -> Ask {
    Ask {
        asker,
        asked,
        text: None,
        at: 100,
        silent: false,
    }
}

async fn ask(people: &Arc<dyn People>, ask: &Ask) -> Asked {
    people.ask(ask, &LIMITS).await.expect("a write")
}

async fn asked(people: &Arc<dyn People>, asker: UserId, asked: UserId) -> FriendRequest {
    match ask(people, &asking(asker, asked)).await {
        Asked::New(request) => request,
        other => panic!("{other:?}"),
    }
}

async fn answer(people: &Arc<dyn People>, id: RequestId, accept: bool) -> Answered {
    let answered = people.answer(id, accept, 200, &LIMITS).await;
    answered.expect("a write")
}

async fn befriend(people: &Arc<dyn People>, one: UserId, other: UserId) -> RequestId {
    let id = asked(people, one, other).await.id;
    assert!(matches!(answer(people, id, true).await, Answered::Done(_)));
    id
}

async fn friends(people: &Arc<dyn People>, user: UserId) -> Vec<(u64, u64)> {
    let friends = people.friends(user, None, 100).await.expect("a read");
    friends
        .iter()
        .map(|friend| (friend.user.0, friend.since))
        .collect()
}

async fn waiting(people: &Arc<dyn People>, user: UserId) -> Vec<(u64, u64)> {
    let requests = people.requests(user, None, 100).await.expect("a read");
    requests
        .iter()
        .map(|request| (request.asker.0, request.asked.0))
        .collect()
}

/// What is owed, paid.
async fn paid(people: &Arc<dyn People>) -> Vec<(u64, String, Value)> {
    let notices = people.notices(100).await.expect("a read");
    if let Some(last) = notices.last() {
        people.forget_notices(last.number).await.expect("a write");
    }
    let told = |notice: Notice| {
        let args = serde_json::from_str(&notice.args).expect("an object");
        (notice.user.0, notice.code, args)
    };
    notices.into_iter().map(told).collect()
}

pub async fn a_request_waits_for_both_until_it_is_answered((people, _kept): Store) {
    let by = Ask {
        text: Some("hello".to_owned()),
        ..asking(ANN, BOB)
    };
    let Asked::New(request) = ask(&people, &by).await else {
        panic!("it is new");
    };
    assert_eq!((request.asker, request.asked), (ANN, BOB));
    assert_eq!((request.at, request.refusals), (100, 0));
    assert_eq!(request.text.as_deref(), Some("hello"));
    assert_eq!(
        ask(&people, &asking(ANN, BOB)).await,
        Asked::Before(request.clone())
    );
    assert_eq!(
        people.request(request.id).await.expect("a read"),
        Some(request.clone())
    );
    let of = people.request_of(ANN, BOB).await.expect("a read");
    assert_eq!(of, Some(request.clone()));
    assert_eq!(people.request_of(BOB, ANN).await.expect("a read"), None);
    for user in [ANN, BOB] {
        assert_eq!(waiting(&people, user).await, [(11, 22)]);
    }
    let accepted = FriendRequest {
        state: RequestState::Accepted,
        ..request.clone()
    };
    for _ in 0..2 {
        let answered = answer(&people, request.id, true).await;
        assert_eq!(answered, Answered::Done(accepted.clone()));
    }
    let refused = answer(&people, request.id, false).await;
    assert_eq!(refused, Answered::AcceptedBefore);
    assert_eq!(friends(&people, ANN).await, [(22, 200)]);
    assert_eq!(friends(&people, BOB).await, [(11, 200)]);
    for user in [ANN, BOB] {
        assert_eq!(waiting(&people, user).await, []);
    }
    assert_eq!(ask(&people, &asking(BOB, ANN)).await, Asked::AlreadyFriends);
    assert_eq!(answer(&people, RequestId(999), true).await, Answered::Gone);
}

pub async fn a_refusal_is_not_seen_by_its_asker((people, _kept): Store) {
    let request = asked(&people, ANN, BOB).await;
    let Answered::Done(refused) = answer(&people, request.id, false).await else {
        panic!("it was waiting");
    };
    assert_eq!(
        (refused.state, refused.refusals),
        (RequestState::Refused, 1)
    );
    assert_eq!(
        answer(&people, request.id, false).await,
        Answered::Done(refused.clone())
    );
    assert_eq!(waiting(&people, ANN).await, [(11, 22)]);
    assert_eq!(waiting(&people, BOB).await, []);
    paid(&people).await;
    // Asked again it waits again, under the same id, and only the other one is told.
    let again = Ask {
        at: 300,
        ..asking(ANN, BOB)
    };
    let Asked::Before(again) = ask(&people, &again).await else {
        panic!("as far as the asker knows it waited");
    };
    assert_eq!((again.id, again.at, again.refusals), (request.id, 300, 1));
    assert_eq!(again.state, RequestState::Waiting);
    let told = paid(&people).await;
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [22]);
    answer(&people, request.id, false).await;
    // One who refused may accept after all.
    let Answered::Done(accepted) = answer(&people, request.id, true).await else {
        panic!("it was refused");
    };
    assert_eq!(
        (accepted.state, accepted.refusals),
        (RequestState::Accepted, 2)
    );
}

pub async fn a_silent_request_is_its_askers_alone((people, _kept): Store) {
    let silent = Ask {
        silent: true,
        ..asking(ANN, BOB)
    };
    let Asked::New(request) = ask(&people, &silent).await else {
        panic!("it is new");
    };
    assert_eq!(ask(&people, &silent).await, Asked::Before(request));
    assert_eq!(waiting(&people, ANN).await, [(11, 22)]);
    assert_eq!(waiting(&people, BOB).await, []);
    let told = paid(&people).await;
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [11]);
    // The other one asks by itself: both want it.
    let both = ask(&people, &asking(BOB, ANN)).await;
    assert!(matches!(both, Asked::Friends(_)), "{both:?}");
    assert_eq!(friends(&people, ANN).await.len(), 1);
}

pub async fn two_who_ask_each_other_are_friends((people, _kept): Store) {
    let first = asked(&people, BOB, ANN).await;
    let Asked::Friends(by) = ask(&people, &asking(ANN, BOB)).await else {
        panic!("both want it");
    };
    assert_eq!((by.id, by.state), (first.id, RequestState::Accepted));
    assert_eq!(friends(&people, ANN).await, [(22, 100)]);
    assert_eq!(people.request_of(ANN, BOB).await.expect("a read"), None);
}

pub async fn an_ended_friendship_forgets_what_led_to_it((people, _kept): Store) {
    let id = befriend(&people, ANN, BOB).await;
    paid(&people).await;
    let ended = async |one, other| people.end_friendship(one, other).await.expect("a write");
    assert!(ended(BOB, ANN).await);
    assert!(!ended(ANN, BOB).await);
    assert!(!ended(ANN, CID).await);
    for user in [ANN, BOB] {
        assert_eq!(friends(&people, user).await, []);
    }
    assert_eq!(people.request(id).await.expect("a read"), None);
    let told = paid(&people).await;
    let expected = [
        (22, "friend_removed".to_owned(), json!({"user": ANN})),
        (11, "friend_removed".to_owned(), json!({"user": BOB})),
    ];
    assert_eq!(told, expected);
    let anew = asked(&people, ANN, BOB).await;
    assert!(anew.id > id, "ids are not given again");
}

pub async fn notices_are_owed_in_their_order_until_they_are_paid((people, _kept): Store) {
    let by = Ask {
        text: Some("hello".to_owned()),
        ..asking(ANN, BOB)
    };
    let Asked::New(request) = ask(&people, &by).await else {
        panic!("it is new");
    };
    answer(&people, request.id, true).await;
    asked(&people, CID, ANN).await;
    let owed = people.notices(100).await.expect("a read");
    assert_eq!(owed.len(), 6);
    assert!(owed.windows(2).all(|two| two[0].number < two[1].number));
    assert_eq!(people.notices(2).await.expect("a read"), owed[..2]);
    people
        .forget_notices(owed[1].number)
        .await
        .expect("a write");
    assert_eq!(people.notices(100).await.expect("a read"), owed[2..]);
    let told = paid(&people).await;
    let accepted: Vec<_> = told[..2].iter().map(|told| (told.0, &*told.1)).collect();
    assert_eq!(accepted, [(11, "friend_accepted"), (22, "friend_accepted")]);
    assert_eq!(told[2].2["user"], json!(ANN), "{told:?}");
    assert!(told[2].2.get("text").is_none());
    assert_eq!(people.notices(100).await.expect("a read"), []);
    let args: Value = serde_json::from_str(&owed[1].args).expect("an object");
    assert_eq!(
        args,
        json!({"id": request.id, "user": ANN, "text": "hello"})
    );
}

pub async fn friends_and_requests_page_without_gaps_and_doubles((people, _kept): Store) {
    // Some with smaller ids, some with larger ones.
    let me = UserId(50);
    for other in [10, 20, 30, 60, 70, 80] {
        befriend(&people, UserId(other), me).await;
    }
    for (asker, asked_one) in [(me, 5), (me, 95), (UserId(96), 50), (UserId(6), 50)] {
        asked(&people, asker, UserId(asked_one)).await;
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = people.friends(me, after, 2).await.expect("a read");
        let Some(last) = page.last() else { break };
        after = Some(last.user);
        all.extend(page.iter().map(|friend| friend.user.0));
    }
    assert_eq!(all, [10, 20, 30, 60, 70, 80]);
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = people.requests(me, before, 1).await.expect("a read");
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        all.extend(
            page.iter()
                .map(|request| (request.asker.0, request.asked.0)),
        );
    }
    assert_eq!(all, [(6, 50), (96, 50), (50, 95), (50, 5)], "newest first");
    assert_eq!(people.friends(me, None, 0).await.expect("a read"), []);
}

pub async fn nobody_has_more_than_the_bounds_allow((people, _kept): Store) {
    let limits = PeopleLimits {
        friends: 1,
        waiting_sent: 2,
        waiting_received: 1,
    };
    let ask = async |asker: u64, asked: u64| {
        let done = people
            .ask(&asking(UserId(asker), UserId(asked)), &limits)
            .await;
        done.expect("a write")
    };
    let Asked::New(first) = ask(1, 2).await else {
        panic!("there is room");
    };
    assert_eq!(ask(3, 2).await, Asked::TooManyReceived);
    assert!(matches!(ask(1, 4).await, Asked::New(_)));
    assert_eq!(ask(1, 5).await, Asked::TooManySent);
    let accept = async |id| people.answer(id, true, 9, &limits).await.expect("a write");
    assert!(matches!(accept(first.id).await, Answered::Done(_)));
    // What was accepted waits no more.
    let Asked::New(second) = ask(3, 2).await else {
        panic!("there is room again");
    };
    assert_eq!(accept(second.id).await, Answered::TooManyFriends);
    assert_eq!(ask(4, 1).await, Asked::TooManyFriends);
    assert_eq!(friends(&people, UserId(2)).await.len(), 1);
}

pub async fn bounds_hold_for_many_who_ask_at_once((people, _kept): Store) {
    let limits = PeopleLimits {
        friends: 100,
        waiting_sent: 100,
        waiting_received: 3,
    };
    let tries = (100..110).map(|asker| {
        let people = people.clone();
        tokio::spawn(async move { people.ask(&asking(UserId(asker), BOB), &limits).await })
    });
    let mut new = 0;
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.expect("it ends").expect("a write") {
            Asked::New(_) => new += 1,
            other => assert_eq!(other, Asked::TooManyReceived),
        }
    }
    assert_eq!((new, waiting(&people, BOB).await.len()), (3, 3));
}

pub async fn of_two_who_ask_at_once_each_is_answered((people, _kept): Store) {
    for round in 0..8 {
        let (one, other) = (UserId(1000 + 2 * round), UserId(1001 + 2 * round));
        let (by_one, by_other) = (asking(one, other), asking(other, one));
        let (first, second) = tokio::join!(ask(&people, &by_one), ask(&people, &by_other));
        let is_friends = |asked: &Asked| matches!(asked, Asked::Friends(_));
        let made = [&first, &second]
            .into_iter()
            .filter(|asked| is_friends(asked));
        assert_eq!(made.count(), 1, "{first:?} {second:?}");
        assert_eq!(friends(&people, one).await.len(), 1);
        assert_eq!(friends(&people, other).await.len(), 1);
    }
}

pub async fn a_changed_profile_is_told_until_it_was((people, accounts, _kept): Both) {
    for (user, name) in [(ANN, "ann"), (BOB, "bob")] {
        let new = super::accounts::user(user, name, name);
        assert!(accounts.create_user(&new).await.expect("a write"));
    }
    let change = async |name: &str| {
        let changed = accounts.set_profile(ANN, Some(name), None).await;
        changed.expect("a write");
        people.changed_profiles(10).await.expect("a read")
    };
    assert_eq!(change("ann").await, [], "nothing is new");
    let first = change("Anna").await;
    assert_eq!(first.iter().map(|one| one.user).collect::<Vec<_>>(), [ANN]);
    let second = change("Annie").await;
    assert!(second[0].change > first[0].change);
    let forgotten = people.forget_changed_profile(first[0]).await;
    forgotten.expect("nothing to do");
    let still = people.changed_profiles(10).await.expect("a read");
    assert_eq!(still, second, "it changed again meanwhile");
    let forgotten = people.forget_changed_profile(second[0]).await;
    forgotten.expect("a write");
    assert_eq!(people.changed_profiles(10).await.expect("a read"), []);
    let third = change("Ann").await;
    assert_eq!(third.len(), 1);
}

/// The same tables as people and as accounts.
pub type Both = (Arc<dyn People>, Arc<dyn Accounts>, super::tables::Kept);

pub async fn friends_are_seen_in_the_relation((people, accounts, _kept): Both) {
    befriend(&people, ANN, BOB).await;
    accounts.set_block(ANN, BOB, true).await.expect("a write");
    let relation = accounts.relation(ANN, BOB).await.expect("a read");
    assert!(relation.friends && relation.blocking && !relation.blocked);
    let ended = people.end_friendship(ANN, BOB).await;
    assert!(ended.expect("a write"));
    let relation = accounts.relation(BOB, ANN).await.expect("a read");
    assert!(!relation.friends && relation.blocked && !relation.blocking);
}
