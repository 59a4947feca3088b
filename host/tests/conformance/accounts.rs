//! What every accounts store promises, whichever engine keeps it. Each function is one promise; it knows the seam alone
//! and never how a row looks.

use std::sync::Arc;

use kith::conversation::Profile;
use kith::ids::UserId;
use kith::store::accounts::{Accounts, Device, Rotation, StoredGeneration, User, UserKind};

use super::tables;

type Opened = tables::Opened<dyn Accounts>;

pub const ANN: UserId = UserId(11);
pub const BOB: UserId = UserId(22);
/// When the tests' tokens are used; they expire later.
pub const NOW: u64 = 1_000;
pub const LATER: u64 = 1_000_000;
/// More devices than any of the promises is about.
pub const DEVICES_MOST: usize = 100;

pub fn user(id: UserId, username: &str, display_name: &str) -> User {
    User {
        profile: Profile {
            id,
            username: username.to_owned(),
            display_name: display_name.to_owned(),
            avatar: None,
        },
        kind: UserKind::Person,
        password: Some("a hash".to_owned()),
        disabled: false,
        created_at: NOW,
    }
}

pub fn device(user: UserId, id: &str, refresh: u8) -> Device {
    Device {
        user,
        id: id.to_owned(),
        kind: "web".to_owned(),
        name: "Browser".to_owned(),
        family: u64::from(refresh) + 1,
        refresh: [refresh; 32],
        refresh_expires_at: LATER,
        created_at: NOW,
        seen_at: NOW,
    }
}

pub async fn with_two((accounts, _kept): &Opened) -> &Arc<dyn Accounts> {
    for new in [user(ANN, "ann", "Ann Arbor"), user(BOB, "bob", "Bob")] {
        assert!(accounts.create_user(&new).await.expect("a write"));
    }
    accounts
}

pub async fn a_user_name_is_given_once(open: Opened) {
    let accounts = with_two(&open).await;
    let taken = user(UserId(33), "ann", "Another");
    assert!(!accounts.create_user(&taken).await.expect("a write"));
    assert!(accounts.user(UserId(33)).await.expect("a read").is_none());
    let found = accounts.user_named("ann").await.expect("a read");
    assert_eq!(found.map(|user| user.profile.id), Some(ANN));
    assert!(
        accounts
            .user_named("nobody")
            .await
            .expect("a read")
            .is_none()
    );
}

pub async fn a_changed_profile_is_read_back(open: Opened) {
    let accounts = with_two(&open).await;
    let before = accounts.user(ANN).await.expect("a read").expect("ann");
    assert_eq!(before.profile.display_name, "Ann Arbor");
    accounts
        .set_profile(ANN, Some("Anna"), Some(Some("picture")))
        .await
        .expect("a write");
    let after = accounts.user(ANN).await.expect("a read").expect("ann");
    assert_eq!(after.profile.display_name, "Anna");
    assert_eq!(after.profile.avatar.as_deref(), Some("picture"));
    accounts
        .set_profile(ANN, None, Some(None))
        .await
        .expect("a write");
    let after = accounts.user(ANN).await.expect("a read").expect("ann");
    assert_eq!(
        (after.profile.display_name.as_str(), &after.profile.avatar),
        ("Anna", &None)
    );
    let missing = accounts.set_profile(UserId(33), Some("x"), None).await;
    assert!(missing.expect("a write").is_none());
}

pub async fn names_are_found_by_their_beginning_and_any_part_of_the_display_name(open: Opened) {
    let accounts = with_two(&open).await;
    let more = [
        (41, "anton", "Zed"),
        (42, "joan", "小明"),
        (43, "wild%card", "100%_x"),
    ];
    for (id, username, display_name) in more {
        let new = user(UserId(id), username, display_name);
        assert!(accounts.create_user(&new).await.expect("a write"));
    }
    let found = async |query: &str, after: Option<&str>, limit| -> Vec<String> {
        let users = accounts
            .find_users(query, after, limit)
            .await
            .expect("a read");
        users
            .iter()
            .map(|user| user.profile.username.clone())
            .collect()
    };
    assert_eq!(found("an", None, 10).await, ["ann", "anton"]);
    assert_eq!(found("ARBOR", None, 10).await, ["ann"]);
    assert_eq!(found("明", None, 10).await, ["joan"]);
    assert_eq!(found("an", None, 1).await, ["ann"]);
    assert_eq!(found("an", Some("ann"), 10).await, ["anton"]);
    assert_eq!(
        found("%", None, 10).await,
        ["wild%card"],
        "a wildcard of the engine is a text here"
    );
    assert_eq!(found("_x", None, 10).await, ["wild%card"]);
    assert_eq!(found("nobody", None, 10).await, [""; 0]);
}

pub async fn a_refresh_token_works_once_and_its_reuse_ends_the_device(open: Opened) {
    let accounts = with_two(&open).await;
    accounts
        .put_device(&device(ANN, "phone", 1), DEVICES_MOST)
        .await
        .expect("a write");
    accounts
        .put_device(&device(ANN, "desk", 9), DEVICES_MOST)
        .await
        .expect("a write");
    let rotate = async |old: u8, new: u8| {
        let rotated = accounts
            .rotate_refresh([old; 32], [new; 32], LATER, NOW)
            .await;
        rotated.expect("a write")
    };
    match rotate(1, 2).await {
        Rotation::Rotated(rotated) => assert_eq!(rotated.id, "phone"),
        other => panic!("{other:?}"),
    }
    match rotate(1, 3).await {
        Rotation::Reused(ended) => assert_eq!(ended.id, "phone"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        rotate(2, 4).await,
        Rotation::Unknown,
        "the newest one died with its device"
    );
    assert!(
        accounts
            .device(ANN, "phone")
            .await
            .expect("a read")
            .is_none()
    );
    assert!(
        accounts
            .device(ANN, "desk")
            .await
            .expect("a read")
            .is_some()
    );
    assert_eq!(rotate(77, 78).await, Rotation::Unknown);
}

pub async fn an_expired_refresh_token_is_unknown(open: Opened) {
    let accounts = with_two(&open).await;
    accounts
        .put_device(&device(ANN, "phone", 1), DEVICES_MOST)
        .await
        .expect("a write");
    let late = accounts
        .rotate_refresh([1; 32], [2; 32], 2 * LATER, LATER + 1)
        .await;
    assert_eq!(late.expect("a write"), Rotation::Unknown);
}

pub async fn a_new_password_ends_all_devices_but_one(open: Opened) {
    let accounts = with_two(&open).await;
    for (id, refresh) in [("phone", 1), ("desk", 2), ("pad", 3)] {
        accounts
            .put_device(&device(ANN, id, refresh), DEVICES_MOST)
            .await
            .expect("a write");
    }
    accounts
        .put_device(&device(BOB, "phone", 4), DEVICES_MOST)
        .await
        .expect("a write");
    let ended = accounts
        .set_password(ANN, "another hash", Some("desk"))
        .await;
    let mut ended: Vec<_> = ended
        .expect("a write")
        .into_iter()
        .map(|ended| ended.id)
        .collect();
    ended.sort();
    assert_eq!(ended, ["pad", "phone"]);
    let left = accounts.devices(ANN).await.expect("a read");
    assert_eq!(
        left.iter().map(|left| left.id.as_str()).collect::<Vec<_>>(),
        ["desk"]
    );
    assert_eq!(accounts.devices(BOB).await.expect("a read").len(), 1);
    let ann = accounts.user(ANN).await.expect("a read").expect("ann");
    assert_eq!(ann.password.as_deref(), Some("another hash"));
}

pub async fn disabling_ends_every_device(open: Opened) {
    let accounts = with_two(&open).await;
    accounts
        .put_device(&device(ANN, "phone", 1), DEVICES_MOST)
        .await
        .expect("a write");
    let ended = accounts.set_disabled(ANN, true).await.expect("a write");
    assert_eq!(ended.len(), 1);
    assert!(
        accounts
            .user(ANN)
            .await
            .expect("a read")
            .is_some_and(|ann| ann.disabled)
    );
    assert!(
        accounts
            .device_of_refresh([1; 32])
            .await
            .expect("a read")
            .is_none()
    );
    accounts.set_disabled(ANN, false).await.expect("a write");
    assert!(
        accounts
            .user(ANN)
            .await
            .expect("a read")
            .is_some_and(|ann| !ann.disabled)
    );
    assert!(
        accounts.devices(ANN).await.expect("a read").is_empty(),
        "they do not come back"
    );
}

pub async fn blocks_are_seen_from_both_sides(open: Opened) {
    let accounts = with_two(&open).await;
    let relation = async |one, other| accounts.relation(one, other).await.expect("a read");
    assert_eq!(relation(ANN, BOB).await, relation(BOB, ANN).await);
    for _ in 0..2 {
        accounts.set_block(ANN, BOB, true).await.expect("a write");
    }
    let (of_ann, of_bob) = (relation(ANN, BOB).await, relation(BOB, ANN).await);
    assert!(of_ann.blocking && !of_ann.blocked && of_bob.blocked && !of_bob.blocking);
    accounts
        .set_block(ANN, UserId(33), true)
        .await
        .expect("a write");
    let page = accounts.blocks(ANN, None, 1).await.expect("a read");
    let rest = accounts
        .blocks(ANN, page.first().copied(), 10)
        .await
        .expect("a read");
    let mut all = [page, rest].concat();
    all.sort_unstable();
    assert_eq!(all, [BOB, UserId(33)]);
    accounts.set_block(ANN, BOB, false).await.expect("a write");
    assert!(!relation(BOB, ANN).await.blocked);
}

pub async fn blocked_ones_page_by_their_ids(open: Opened) {
    let accounts = with_two(&open).await;
    // Some with smaller ids than the one who blocks, some with larger ones.
    for other in [70, 2, 12, 9, 30] {
        let set = accounts.set_block(ANN, UserId(other), true).await;
        set.expect("a write");
    }
    let lifted = accounts.set_block(ANN, UserId(30), false).await;
    lifted.expect("a write");
    let page = async |after: Option<u64>, limit| -> Vec<u64> {
        let page = accounts.blocks(ANN, after.map(UserId), limit).await;
        page.expect("a read").iter().map(|other| other.0).collect()
    };
    assert_eq!(page(None, 3).await, [2, 9, 12]);
    assert_eq!(page(Some(9), 3).await, [12, 70]);
    assert_eq!(page(Some(70), 3).await, [0; 0]);
    assert_eq!(accounts.blocks(BOB, None, 9).await.expect("a read"), []);
}

pub async fn the_first_value_of_a_secret_stays(open: Opened) {
    let (accounts, _kept) = &open;
    assert!(accounts.secret("key").await.expect("a read").is_none());
    assert_eq!(
        accounts.put_secret("key", b"one").await.expect("a write"),
        b"one"
    );
    assert_eq!(
        accounts.put_secret("key", b"two").await.expect("a write"),
        b"one"
    );
    assert_eq!(
        accounts.secret("key").await.expect("a read").as_deref(),
        Some(&b"one"[..])
    );
}

pub async fn generation_numbers_are_never_given_twice(open: Opened) {
    let (accounts, _kept) = &open;
    let first = accounts.reserve_generations(10).await.expect("a write");
    let next = accounts.reserve_generations(1).await.expect("a write");
    assert!(first > 0 && next >= first + 10);
    assert!(accounts.reserve_generations(1).await.expect("a write") > next);
}

pub async fn the_newest_generation_is_the_highest(open: Opened) {
    let (accounts, _kept) = &open;
    assert!(
        accounts
            .newest_generation()
            .await
            .expect("a read")
            .is_none()
    );
    let stored = |number| StoredGeneration {
        number,
        bindings: format!("[{number}]"),
        at: NOW,
        cause: "a test".to_owned(),
    };
    for number in [3, 9] {
        accounts
            .put_generation(&stored(number), &[])
            .await
            .expect("a write");
    }
    assert_eq!(
        accounts.newest_generation().await.expect("a read"),
        Some(stored(9))
    );
    assert_eq!(
        accounts.generation(3).await.expect("a read"),
        Some(stored(3))
    );
    assert!(accounts.generation(4).await.expect("a read").is_none());
}

pub async fn administrators_tokens_are_known_by_their_hash(open: Opened) {
    let (accounts, _kept) = &open;
    assert!(!accounts.any_admin_token().await.expect("a read"));
    accounts
        .put_admin_token([7; 32], "ops", NOW)
        .await
        .expect("a write");
    assert!(accounts.any_admin_token().await.expect("a read"));
    assert_eq!(
        accounts
            .admin_token([7; 32])
            .await
            .expect("a read")
            .as_deref(),
        Some("ops")
    );
    assert!(
        accounts
            .admin_token([8; 32])
            .await
            .expect("a read")
            .is_none()
    );
}
