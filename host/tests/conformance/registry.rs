//! What every accounts store promises about versions of plugins and what is configured for them. Each function is one
//! promise; it knows the seam alone.

use std::sync::Arc;

use kith::store::accounts::{Accounts, PluginVersion};

use super::accounts::{LATER, NOW};
use super::tables::Opened;

type Store = Opened<dyn Accounts>;

fn version(name: &str, number: &str, digest: &str) -> PluginVersion {
    PluginVersion {
        name: name.to_owned(),
        version: number.to_owned(),
        digest: digest.to_owned(),
        size: 3,
        pushed_at: NOW,
        quarantined: false,
        signed_by: None,
        signature: None,
        pruned: false,
    }
}

async fn listed(accounts: &Arc<dyn Accounts>) -> Vec<(String, bool)> {
    let versions = accounts.plugins().await.expect("a read").into_iter();
    versions
        .map(|version| (version.digest, version.pruned))
        .collect()
}

pub async fn a_component_is_kept_by_its_digest(open: Store) {
    let (accounts, _kept) = &open;
    let version = version("a-filter", "1.0.0", "sha256:aa");
    accounts
        .put_plugin(&version, b"abc")
        .await
        .expect("a write");
    let another = PluginVersion {
        digest: "sha256:cc".to_owned(),
        ..version.clone()
    };
    assert!(
        accounts.put_plugin(&another, b"def").await.is_err(),
        "a version of a name is one binary for ever"
    );
    assert_eq!(
        accounts.plugins().await.expect("a read"),
        std::slice::from_ref(&version)
    );
    let component = accounts.component("sha256:aa").await.expect("a read");
    assert_eq!(component.as_deref(), Some(&b"abc"[..]));
    assert!(
        accounts
            .component("sha256:bb")
            .await
            .expect("a read")
            .is_none()
    );
    accounts
        .set_quarantined("sha256:aa", true)
        .await
        .expect("a write");
    assert!(accounts.plugins().await.expect("a read")[0].quarantined);
}

pub async fn a_pruned_component_is_gone_and_its_version_stays_known(open: Store) {
    let (accounts, _kept) = &open;
    let version = |name, digest| version(name, "1.0.0", digest);
    let (gone, stays) = (version("a", "sha256:aa"), version("b", "sha256:bb"));
    for version in [&gone, &stays] {
        accounts.put_plugin(version, b"abc").await.expect("a write");
    }
    let quarantined = accounts.set_quarantined(&gone.digest, true).await;
    quarantined.expect("a write");
    let digests = [gone.digest.clone(), "sha256:unknown".to_owned()];
    accounts.prune_plugins(&digests).await.expect("a write");
    let component = accounts.component(&gone.digest).await.expect("a read");
    assert_eq!(component, None);
    let pruned = PluginVersion {
        quarantined: true,
        pruned: true,
        ..gone.clone()
    };
    let known = accounts.plugins().await.expect("a read");
    assert_eq!(known, [pruned, stays]);
    let other = version("a", "sha256:cc");
    assert!(
        accounts.put_plugin(&other, b"def").await.is_err(),
        "the version is that binary's for ever"
    );
    // It comes back as it was, signed by now.
    let again = PluginVersion {
        pushed_at: LATER,
        signed_by: Some("a key".to_owned()),
        signature: Some("a signature".to_owned()),
        ..gone
    };
    accounts.put_plugin(&again, b"abc").await.expect("a write");
    let again = PluginVersion {
        quarantined: true,
        ..again
    };
    assert_eq!(accounts.plugins().await.expect("a read")[0], again);
    let component = accounts.component("sha256:aa").await.expect("a read");
    assert_eq!(component.as_deref(), Some(&b"abc"[..]));
}

pub async fn a_configuration_can_be_taken_back_to_the_one_before(open: Store) {
    let (accounts, _kept) = &open;
    assert!(accounts.plugin_config("p").await.expect("a read").is_none());
    let first = accounts
        .put_plugin_config("p", "{\"a\":1}")
        .await
        .expect("a write");
    let second = accounts
        .put_plugin_config("p", "{\"a\":2}")
        .await
        .expect("a write");
    assert!(second > first);
    let in_force = accounts.plugin_config("p").await.expect("a read");
    assert_eq!(in_force, Some((second, "{\"a\":2}".to_owned())));
    let configured = accounts.configured_plugins().await.expect("a read");
    assert_eq!(configured, ["p"]);
    let reverted = accounts.revert_plugin_config("p").await.expect("a write");
    assert_eq!(
        reverted.map(|(_, config)| config).as_deref(),
        Some("{\"a\":1}")
    );
    assert!(
        accounts
            .revert_plugin_config("p")
            .await
            .expect("a write")
            .is_none()
    );
}

/// One of Python weighs some 18 MB.
pub async fn a_large_component_is_read_back_as_it_was(open: Store) {
    let (accounts, _kept) = &open;
    let component: Vec<u8> = (0..18_500_001_u32).map(|n| (n % 251) as u8).collect();
    let large = version("large", "1.0.0", "sha256:aa");
    let put = accounts.put_plugin(&large, &component).await;
    put.expect("a write");
    let small = version("small", "1.0.0", "sha256:bb");
    accounts.put_plugin(&small, b"").await.expect("a write");
    let read = accounts.component("sha256:aa").await.expect("a read");
    assert!(read.is_some_and(|read| read == component));
    let read = accounts.component("sha256:bb").await.expect("a read");
    assert_eq!(read.as_deref(), Some(&b""[..]));
}

pub async fn versions_are_listed_by_name_and_the_oldest_first(open: Store) {
    let (accounts, _kept) = &open;
    let later = PluginVersion {
        pushed_at: LATER,
        ..version("a", "0.1.0", "sha256:a2")
    };
    let all = [
        version("b", "1.0.0", "sha256:b1"),
        later,
        version("a", "2.0.0", "sha256:a1"),
    ];
    for version in &all {
        accounts.put_plugin(version, b"abc").await.expect("a write");
    }
    let expected = ["sha256:a1", "sha256:a2", "sha256:b1"];
    let expected = expected.map(|digest| (digest.to_owned(), false));
    assert_eq!(listed(accounts).await, expected);
    let digests = ["sha256:a1".to_owned(), "sha256:b1".to_owned()];
    accounts.prune_plugins(&digests).await.expect("a write");
    let pruned = listed(accounts).await.into_iter().map(|(_, pruned)| pruned);
    assert_eq!(pruned.collect::<Vec<_>>(), [true, false, true]);
    accounts.prune_plugins(&[]).await.expect("nothing to do");
}

pub async fn of_two_binaries_of_one_version_one_is_kept(open: Store) {
    let (accounts, _kept) = &open;
    let tries = (0..6).map(|n| {
        let accounts = accounts.clone();
        let version = version("a", "1.0.0", &format!("sha256:{n}"));
        tokio::spawn(async move { accounts.put_plugin(&version, b"abc").await.is_ok() })
    });
    let mut kept = 0;
    for tried in tries.collect::<Vec<_>>() {
        kept += usize::from(tried.await.expect("it ends"));
    }
    assert_eq!((kept, listed(accounts).await.len()), (1, 1));
}

pub async fn a_quarantine_is_lifted(open: Store) {
    let (accounts, _kept) = &open;
    let one = version("a", "1.0.0", "sha256:aa");
    accounts.put_plugin(&one, b"abc").await.expect("a write");
    for on in [true, false] {
        let set = accounts.set_quarantined("sha256:aa", on).await;
        set.expect("a write");
        let known = accounts.plugins().await.expect("a read");
        assert_eq!(known[0].quarantined, on);
    }
    let unknown = accounts.set_quarantined("sha256:bb", true).await;
    unknown.expect("nothing to do");
    assert_eq!(listed(accounts).await.len(), 1);
}

pub async fn old_configurations_are_forgotten_and_their_numbers_are_not_given_again(open: Store) {
    let (accounts, _kept) = &open;
    let mut numbers = Vec::new();
    for n in 1..=12 {
        let put = accounts.put_plugin_config("p", &n.to_string()).await;
        numbers.push(put.expect("a write"));
    }
    assert!(numbers.windows(2).all(|two| two[0] < two[1]));
    let other = accounts.put_plugin_config("q", "{}").await;
    other.expect("a write");
    let mut configured = accounts.configured_plugins().await.expect("a read");
    configured.sort();
    assert_eq!(configured, ["p", "q"]);
    // Back as far as it goes.
    let mut back = Vec::new();
    while let Some((_, text)) = accounts.revert_plugin_config("p").await.expect("a write") {
        back.push(text);
    }
    assert_eq!(back, ["11", "10", "9", "8", "7", "6", "5"]);
    let next = accounts.put_plugin_config("p", "new").await;
    let next = next.expect("a write");
    assert!(numbers.iter().all(|number| *number < next));
    let in_force = accounts.plugin_config("p").await.expect("a read");
    assert_eq!(in_force, Some((next, "new".to_owned())));
}

pub async fn configurations_put_at_once_are_all_numbered(open: Store) {
    let (accounts, _kept) = &open;
    let puts = (0..6).map(|n| {
        let accounts = accounts.clone();
        tokio::spawn(async move { accounts.put_plugin_config("p", &n.to_string()).await })
    });
    let mut numbers = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        numbers.push(put.await.expect("it ends").expect("a write"));
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 6);
}

/// A list of a hundred thousand words.
pub async fn a_document_is_replaced_whole(open: Store) {
    let (accounts, _kept) = &open;
    assert_eq!(accounts.document("words").await.expect("a read"), None);
    let long = "敏感词,".repeat(2_000_000);
    for text in ["", "short", &long] {
        accounts.put_document("words", text).await.expect("a write");
        let read = accounts.document("words").await.expect("a read");
        assert!(read.as_deref() == Some(text), "{} bytes", text.len());
    }
    assert_eq!(accounts.document("others").await.expect("a read"), None);
}
