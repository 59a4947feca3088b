//! Generations of plugins among nodes: several nodes of this process on one bus and one store, each with a runtime and a
//! code cache of its own. What one changes all follow, whatever is said, lost, cut or killed in between.

mod changes;
mod node;

use std::time::{Duration, Instant};

use node::{Cluster, Node};

/// A busy machine compiles slowly.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is waited for.
const GLANCE: Duration = Duration::from_millis(10);

/// Returns once it is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_changed_once_act_on_three_nodes_and_one_of_them_bakes() {
    let cluster = Cluster::new();
    let (one, two, three) = (
        cluster.first("one").await,
        cluster.node("two").await,
        cluster.node("three").await,
    );
    let nodes = [&one, &two, &three];
    let began = nodes.map(Node::baked);
    assert_eq!(began[1..], [0, 0], "what the first baked was fetched");
    let mut quickest = Duration::MAX;
    for round in 0..4 {
        let word = format!("gurke{round}");
        let said = Instant::now();
        nodes[round % 3].add_word(&word).await;
        until("the word acts on all", || {
            nodes.iter().all(|node| node.masks(&word))
        })
        .await;
        quickest = quickest.min(said.elapsed());
        let baked: u64 = nodes.map(Node::baked).iter().sum();
        let before: u64 = began.iter().sum();
        assert_eq!(baked - before, round as u64 + 1, "one bakes");
    }
    assert!(quickest < Duration::from_secs(3), "{quickest:?}");
    let generations = nodes.map(Node::generation);
    assert_eq!(generations, [generations[0]; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_loses_is_found_in_the_store() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.first("one").await, cluster.node("two").await);
    two.deaf(true);
    one.add_word("gurke").await;
    until("read in the store", || two.masks("gurke")).await;
    assert_eq!(
        one.left_behind(),
        Vec::<String>::new(),
        "its state was seen"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_says_is_followed_before_the_next_look() {
    let cluster = Cluster::new();
    let one = cluster.first("one").await;
    let never = Duration::from_secs(3600);
    let two = cluster
        .with("two", |rules| {
            rules.look = never;
            rules.lease = never;
        })
        .await;
    one.add_word("gurke").await;
    until("heard on the bus", || two.masks("gurke")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_serves_what_is_in_force_and_bakes_nothing() {
    let cluster = Cluster::new();
    let one = cluster.first("one").await;
    one.add_word("gurke").await;
    let late = cluster.node("late").await;
    assert_eq!(late.generation(), one.generation());
    assert!(late.masks("gurke"));
    assert_eq!(late.baked(), 0);
    assert_eq!(late.judges_by(), Some(one.generation()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_judges_nothing_until_it_knows_what_is_in_force() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.impatient("one").await, cluster.node("two").await);
    let before = two.generation();
    assert_eq!(two.judges_by(), Some(before));
    two.deaf(true);
    two.cut(true);
    until("its lease is over", || two.judges_by().is_none()).await;
    assert!(two.lapsed().expect("a reason").contains("does not say"));
    one.add_word("gurke").await;
    assert_eq!(one.left_behind(), ["two"]);
    assert_eq!(two.generation(), before);
    assert_eq!(two.judges_by(), None, "never by an older one in silence");
    two.cut(false);
    until("it follows", || two.judges_by() == Some(one.generation())).await;
    assert!(two.masks("gurke"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_load_what_is_in_force_is_left_behind_and_says_why() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.impatient("one").await, cluster.node("two").await);
    let before = two.generation();
    two.without_provisions(true);
    one.add_word("gurke").await;
    assert_eq!(one.left_behind(), ["two"]);
    until("it stops", || two.judges_by().is_none()).await;
    let why = two.lapsed().expect("a reason");
    assert!(why.contains("not ready here"), "{why}");
    assert_eq!(two.generation(), before);
    let seen = one.sees("two").await;
    assert!(seen.live && seen.state.serving == before, "{seen:?}");
    two.without_provisions(false);
    until("it follows", || two.judges_by() == Some(one.generation())).await;
    assert!(two.lapsed().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_on_an_empty_store_begin_with_one_generation() {
    let cluster = Cluster::new();
    let (one, two, three) = tokio::join!(
        cluster.first("one"),
        cluster.first("two"),
        cluster.first("three")
    );
    let nodes = [&one, &two, &three];
    until("the same one", || {
        nodes
            .iter()
            .all(|node| node.judges_by() == Some(one.generation()))
    })
    .await;
    one.add_word("gurke").await;
    until("the word acts on all", || {
        nodes.iter().all(|node| node.masks("gurke"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_goes_on_with_the_numbers_that_are_in_force() {
    let cluster = Cluster::new();
    let (mut one, mut two) = (cluster.first("one").await, cluster.node("two").await);
    for round in 0..2 {
        let word = format!("gurke{round}");
        let before = two.generation();
        drop(one);
        two.add_word(&word).await;
        assert_eq!(two.generation(), before + 1, "a start makes none");
        one = cluster.node("one").await;
        assert_eq!(one.generation(), before + 1);
        assert!(one.masks(&word));
        std::mem::swap(&mut one, &mut two);
    }
}
