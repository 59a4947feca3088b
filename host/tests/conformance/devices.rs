//! What every accounts store promises about devices and their refresh tokens, and about when users were last seen. Each
//! function is one promise; it knows the seam alone.

use std::sync::Arc;

use kith::ids::UserId;
use kith::store::accounts::{Accounts, Device, Rotation};

use super::accounts::{ANN, BOB, DEVICES_MOST, LATER, NOW, device, with_two};
use super::tables::Opened;

type Store = Opened<dyn Accounts>;

fn ids(devices: &[Device]) -> Vec<&str> {
    devices.iter().map(|device| device.id.as_str()).collect()
}

async fn sign_in(accounts: &Arc<dyn Accounts>, device: &Device) {
    let ended = accounts.put_device(device, DEVICES_MOST).await;
    assert_eq!(ended.expect("a write"), []);
}

async fn rotate(accounts: &Arc<dyn Accounts>, old: u8, new: u8) -> Rotation {
    let rotated = accounts.rotate_refresh([old; 32], [new; 32], LATER + 5, NOW + 5);
    rotated.await.expect("a write")
}

pub async fn a_device_is_one_of_its_id(open: Store) {
    let accounts = with_two(&open).await;
    sign_in(accounts, &device(ANN, "phone", 1)).await;
    sign_in(accounts, &device(BOB, "phone", 2)).await;
    let again = Device {
        name: "Another".to_owned(),
        ..device(ANN, "phone", 3)
    };
    sign_in(accounts, &again).await;
    let known = accounts.devices(ANN).await.expect("a read");
    assert_eq!(known, std::slice::from_ref(&again));
    let known = accounts.device(ANN, "phone").await.expect("a read");
    assert_eq!(known.as_deref(), Some(&again));
    let known = accounts.device(ANN, "desk").await.expect("a read");
    assert_eq!(known, None);
    let stranger = accounts.devices(UserId(33)).await.expect("a read");
    assert_eq!(stranger, []);
    let old = accounts.device_of_refresh([1; 32]).await.expect("a read");
    assert_eq!(old, None, "what was there before is signed out");
}

pub async fn of_too_many_devices_those_longest_unseen_are_ended(open: Store) {
    let accounts = with_two(&open).await;
    for (id, refresh, seen_at) in [("a", 1, 30), ("b", 2, 10), ("c", 3, 20)] {
        let new = Device {
            seen_at,
            ..device(ANN, id, refresh)
        };
        sign_in(accounts, &new).await;
    }
    let newest = Device {
        seen_at: 1,
        ..device(ANN, "d", 4)
    };
    let ended = accounts.put_device(&newest, 2).await.expect("a write");
    let mut ended = ids(&ended);
    ended.sort_unstable();
    assert_eq!(ended, ["b", "c"]);
    let left = accounts.devices(ANN).await.expect("a read");
    assert_eq!(ids(&left), ["a", "d"], "never the one that has just come");
    let gone = accounts.device_of_refresh([2; 32]).await.expect("a read");
    assert_eq!(gone, None);
}

pub async fn a_device_is_renamed_and_signed_out(open: Store) {
    let accounts = with_two(&open).await;
    for (id, refresh) in [("phone", 1), ("desk", 2)] {
        sign_in(accounts, &device(ANN, id, refresh)).await;
    }
    let named = accounts.name_device(ANN, "phone", "Mine").await;
    named.expect("a write");
    let nobody = accounts.name_device(ANN, "pad", "Nobody's").await;
    nobody.expect("a write");
    let devices = accounts.devices(ANN).await.expect("a read");
    assert_eq!(ids(&devices), ["desk", "phone"]);
    assert_eq!([&*devices[0].name, &*devices[1].name], ["Browser", "Mine"]);
    let ended = accounts.end_device(ANN, "phone").await.expect("a write");
    assert_eq!(ended.as_ref(), Some(&devices[1]));
    let again = accounts.end_device(ANN, "phone").await.expect("a write");
    assert_eq!(again, None);
    let left = accounts.devices(ANN).await.expect("a read");
    assert_eq!(ids(&left), ["desk"]);
    assert_eq!(rotate(accounts, 1, 9).await, Rotation::Unknown);
}

pub async fn a_turned_over_token_has_the_new_time_and_is_known_by_both(open: Store) {
    let accounts = with_two(&open).await;
    sign_in(accounts, &device(ANN, "phone", 1)).await;
    let expected = Device {
        refresh: [2; 32],
        refresh_expires_at: LATER + 5,
        seen_at: NOW + 5,
        ..device(ANN, "phone", 1)
    };
    let rotated = rotate(accounts, 1, 2).await;
    assert_eq!(rotated, Rotation::Rotated(expected.clone()));
    for known in [1, 2] {
        let found = accounts.device_of_refresh([known; 32]).await;
        assert_eq!(found.expect("a read"), Some(expected.clone()));
    }
    assert!(matches!(rotate(accounts, 2, 3).await, Rotation::Rotated(_)));
    // Any token of the chain that was used before ends it.
    assert!(matches!(rotate(accounts, 1, 4).await, Rotation::Reused(_)));
    assert_eq!(rotate(accounts, 1, 4).await, Rotation::Unknown);
    assert_eq!(accounts.devices(ANN).await.expect("a read"), []);
}

pub async fn a_token_of_an_earlier_sign_in_ends_nothing(open: Store) {
    let accounts = with_two(&open).await;
    sign_in(accounts, &device(ANN, "phone", 1)).await;
    assert!(matches!(rotate(accounts, 1, 2).await, Rotation::Rotated(_)));
    // The same device signs in anew: a family of its own.
    sign_in(accounts, &device(ANN, "phone", 7)).await;
    assert_eq!(rotate(accounts, 1, 3).await, Rotation::Unknown);
    assert_eq!(rotate(accounts, 2, 3).await, Rotation::Unknown);
    assert!(matches!(rotate(accounts, 7, 8).await, Rotation::Rotated(_)));
}

pub async fn of_many_who_use_a_token_at_once_one_turns_it_over(open: Store) {
    let accounts = with_two(&open).await;
    sign_in(accounts, &device(ANN, "phone", 1)).await;
    let tries = (0..8).map(|n| {
        let accounts = accounts.clone();
        tokio::spawn(async move { rotate(&accounts, 1, 100 + n).await })
    });
    let mut rotated = 0;
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.expect("it ends") {
            Rotation::Rotated(_) => rotated += 1,
            Rotation::Reused(_) | Rotation::Unknown => {}
        }
    }
    assert_eq!(rotated, 1);
    let left = accounts.devices(ANN).await.expect("a read");
    assert_eq!(left, [], "the others were a second use");
}

pub async fn the_latest_time_a_user_was_seen_stays(open: Store) {
    let accounts = with_two(&open).await;
    let both = [(ANN, 50), (BOB, 60)];
    accounts.put_last_seen(&both).await.expect("a write");
    let later = [(ANN, 40), (BOB, 70), (UserId(33), u64::from(u32::MAX))];
    accounts.put_last_seen(&later).await.expect("a write");
    accounts.put_last_seen(&[]).await.expect("nothing to write");
    let asked = [BOB, UserId(44), ANN];
    let seen = accounts.last_seen(&asked).await.expect("a read");
    assert_eq!(seen, [(BOB, 70), (ANN, 50)], "in the order asked");
}
