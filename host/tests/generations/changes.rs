//! Changes that meet or lose their node: of two at once one is made again, one without its node is brought to its end, and
//! a rollback is everywhere.

use std::sync::Arc;
use std::time::Duration;

use kith::plugins::bindings::BindingChange;
use kith_runtime::Grants;

use super::node::{Cluster, Node};
use super::until;
use crate::swap;

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_at_once_all_are_made_one_after_the_other() {
    let cluster = Cluster::new();
    let (one, two, three) = (
        cluster.first("one").await,
        cluster.node("two").await,
        cluster.node("three").await,
    );
    let before = one.generation();
    let order = BindingChange {
        order: Some(7),
        ..BindingChange::default()
    };
    let bound = three
        .rollout
        .bind("ops", "word-filter", "content-filter", order);
    let (_, _, bound) = tokio::join!(one.add_word("gurke"), two.add_word("tomate"), bound);
    assert_eq!(bound.expect("bound")["binding"]["order"], 7);
    for node in [&one, &two, &three] {
        until("both words act", || {
            node.masks("gurke") && node.masks("tomate")
        })
        .await;
        until("a generation for each", || node.generation() == before + 3).await;
        let words = node.listed().await;
        let words: Vec<_> = words.as_array().expect("a list").iter().collect();
        assert_eq!(words.len(), 2, "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_added_on_two_nodes_at_once_are_all_kept() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.first("one").await, cluster.node("two").await);
    let rounds = 4;
    for n in 0..rounds {
        let words = [format!("a{n}bc"), format!("d{n}ef")];
        tokio::join!(one.add_word(&words[0]), two.add_word(&words[1]));
    }
    for node in [&one, &two] {
        until("every word acts", || {
            (0..rounds).all(|n| node.masks(&format!("a{n}bc")) && node.masks(&format!("d{n}ef")))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_node_is_killed_before_it_is_in_force_is_brought_to_its_end() {
    let cluster = Cluster::new();
    let one = Arc::new(cluster.first("one").await);
    let soon = |rules: &mut kith::plugins::rollout::AmongRules| {
        rules.finish = Duration::from_millis(700);
    };
    let (two, three) = (
        cluster.with("two", soon).await,
        cluster.with("three", soon).await,
    );
    let before = two.generation();
    one.stick();
    let changing = {
        let one = one.clone();
        tokio::spawn(async move { one.add_word("gurke").await })
    };
    let ready = |node: &Node| {
        let standing = node.rollout.among().expect("others").standing();
        standing.state.ready == before + 1
    };
    until("both are ready", || ready(&two) && ready(&three)).await;
    changing.abort();
    drop(changing.await);
    drop(one);
    for node in [&two, &three] {
        until("it acts", || node.masks("gurke")).await;
        assert_eq!(node.generation(), before + 1);
    }
    // And the next change is made to that.
    three.add_word("tomate").await;
    until("both act", || two.masks("gurke") && two.masks("tomate")).await;
    assert_eq!(three.generation(), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_activated_on_one_node_is_rolled_back_on_another() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.first("one").await, cluster.node("two").await);
    let kinds = ["good", "other"];
    let components = tokio::task::spawn_blocking(move || kinds.map(swap::component));
    for component in components.await.expect("built") {
        one.rollout.push(component, None).await.expect("pushed");
    }
    let none = Grants::default();
    for kind in kinds {
        let version = format!("1.0.0-{kind}");
        let activated = one
            .rollout
            .activate("ops", "wayward", &version, false, &none);
        let activated = activated.await.expect("it serves");
        assert_eq!(activated["version"], version);
        assert!(activated["behind"].is_null(), "{activated}");
    }
    two.follows(&one).await;
    let serves = async |node: &Node| {
        let report = node.rollout.report("wayward").await.expect("a report");
        report["serves"]["version"].as_str().map(str::to_owned)
    };
    assert_eq!(serves(&two).await.as_deref(), Some("1.0.0-other"));
    let back = two.rollout.rollback("ops", "wayward").await;
    assert_eq!(back.expect("rolled back")["version"], "1.0.0-good");
    one.follows(&two).await;
    assert_eq!(serves(&one).await.as_deref(), Some("1.0.0-good"));
    let disabled = one.rollout.set_disabled("ops", "wayward", true).await;
    assert_eq!(disabled.expect("disabled")["state"], "disabled");
    two.follows(&one).await;
    let binds = two.rollout.judge().generation();
    assert_eq!(binds, one.generation());
}
