//! `kith chat` as people use it, through pipes: three of them on one server use every command there is and see what
//! the others do. A command in the help that nobody used here is a failure.

mod files;
pub mod keyboard;

use std::collections::BTreeSet;

use kith::config::SearchEngine;
use serde_json::json;

use crate::support::{TestServer, plugins_folder};
use keyboard::Chat;

/// Three people at their keyboards.
struct Scene {
    server: TestServer,
    ann: Chat,
    bob: Chat,
    carol: Chat,
}

impl Scene {
    async fn begin() -> Self {
        let server = TestServer::with(|config| {
            config.server.plugins = plugins_folder().display().to_string();
            config.search.engine = SearchEngine::Embedded;
            files::allow(config);
        })
        .await;
        let ann = Chat::begin(&server, "ann").await;
        let bob = Chat::begin(&server, "bob").await;
        let carol = Chat::begin(&server, "carol").await;
        Self {
            server,
            ann,
            bob,
            carol,
        }
    }
}

#[tokio::test]
async fn every_command_does_what_the_help_says() {
    let mut scene = Scene::begin().await;
    two_talk(&mut scene).await;
    what_was_said_changes(&mut scene).await;
    lists_are_kept(&mut scene).await;
    messages_are_found(&mut scene).await;
    files::are_sent_and_saved(&mut scene.ann, &mut scene.bob).await;
    files::are_refused_with_the_reason(&mut scene.ann, &mut scene.bob).await;
    people_become_friends(&mut scene).await;
    people_are_watched_and_reported(&mut scene).await;
    one_looks_after_oneself(&mut scene).await;
    let group = a_group_is_made(&mut scene).await;
    files::become_pictures(&mut scene.ann, &mut scene.bob).await;
    members_are_ruled(&mut scene).await;
    the_group_is_joined(&mut scene, &group).await;
    the_group_ends(&mut scene).await;
    let help = scene.ann.help().await;
    for who in [&mut scene.ann, &mut scene.bob, &mut scene.carol] {
        who.types(":quit").await;
        who.ends().await;
    }
    let used: BTreeSet<String> = [&scene.ann, &scene.bob, &scene.carol]
        .iter()
        .flat_map(|chat| chat.typed.iter().cloned())
        .collect();
    assert!(help.len() > 40, "the help was not understood: {help:?}");
    let unused: Vec<&String> = help
        .iter()
        .filter(|name| {
            !used
                .iter()
                .any(|line| line == *name || line.starts_with(&format!("{name} ")))
        })
        .collect();
    assert!(unused.is_empty(), "nobody used {unused:?}");
}

#[tokio::test]
async fn whoever_has_no_account_yet_is_written_to_once_there_is_one() {
    let server = TestServer::bare().await;
    let mut eve = Chat::begin_with(&server, "eve", &["fay"]).await;
    eve.sees("* what you write goes to fay once there is one")
        .await;
    let mut fay = Chat::begin(&server, "fay").await;
    eve.types("there you are").await;
    eve.sees("you: there you are ✓").await;
    fay.sees("there you are").await;
}

async fn two_talk(scene: &mut Scene) {
    let Scene { ann, bob, .. } = scene;
    ann.types(":open bob").await;
    ann.sees("nothing was said between you and bob yet").await;
    ann.types("first").await;
    ann.sees("#1 you: first ✓").await;
    bob.sees("ann | ").await;
    bob.types(":open ann").await;
    bob.sees("* ann: 1 of 1 entries").await;
    bob.sees("#1 ann: first").await;
    ann.sees("✓✓ bob has read up to #1").await;
    bob.types(":reply 1 hello there").await;
    ann.sees("#2 bob: (to #1) hello there").await;
    bob.types(":typing").await;
    ann.sees("… bob types").await;
    bob.types(":typing off").await;
    ann.types(":history 1").await;
    ann.sees("* bob: 1 of 2 entries").await;
    ann.types(":who").await;
    ann.sees("* you are ann on http://").await;
    ann.types(":reply 2").await;
    ann.sees("! it is :reply SEQ TEXT").await;
    ann.types(":help react").await;
    ann.sees(":react SEQ EMOJI — put an emoji").await;
    ann.types(":sync").await;
    ann.sees("* nothing is missing").await;
}

async fn what_was_said_changes(scene: &mut Scene) {
    let Scene {
        server, ann, bob, ..
    } = scene;
    ann.types(":react 2 👍").await;
    ann.sees("* 👍 is on #2").await;
    bob.sees("— ann puts 👍 on #2").await;
    ann.types(":unreact 2 👍").await;
    bob.sees("— ann takes back 👍 on #2").await;
    ann.types(":edit the second").await;
    ann.sees("* #1 is changed").await;
    bob.sees("— ann changed #1 to: the second").await;
    bob.types(":edit 1 forged").await;
    bob.sees("(forbidden)").await;
    ann.types(":readers 1").await;
    ann.sees("* #1 is received by 2, read by 2: ").await;
    ann.types(":recall 1").await;
    ann.sees("* #1 is taken back").await;
    bob.sees("— ann took back #1").await;
    let words = json!({"words": [{"word": "maybe", "level": "hold"}]});
    let (status, answer) = server.admin("POST", "/words", Some(words)).await;
    assert_eq!(status, 200, "{answer}");
    ann.types("maybe so").await;
    ann.sees("◷ held until it is released or judged again: maybe so")
        .await;
    ann.types(":held").await;
    ann.sees(" held: maybe so").await;
    bob.types(":edit 2 maybe not").await;
    bob.sees("◷ held until it is released or judged again: maybe not")
        .await;
}

async fn lists_are_kept(scene: &mut Scene) {
    let Scene { ann, bob, .. } = scene;
    for (line, answer) in [
        (":pin", "* bob is pinned"),
        (":quiet", "* bob is quiet"),
        (":draft 还没 done", "* the draft is kept"),
        (":list", "*  bob  (pinned, quiet, draft)"),
        (":open bob", "* your draft: 还没 done"),
        (":draft", "* there is no draft"),
        (":unpin", "* bob is pinned no more"),
        (":list", "*  bob  (quiet)"),
        (":open carol", "nothing was said between you and carol"),
    ] {
        ann.types(line).await;
        ann.sees(answer).await;
    }
    // What is quiet is counted and not shown; a mention is.
    bob.types("unheard").await;
    bob.sees("you: unheard ✓").await;
    bob.types("heard @ann.").await;
    ann.sees("bob | ").await;
    ann.sees_no("unheard");
    ann.types(":list").await;
    ann.sees("bob  (2 unread, 1 mentions you, quiet)").await;
    for (line, answer) in [
        (":open bob", "bob: unheard"),
        (":loud", "* bob is loud"),
        (":hide", "* bob is hidden"),
        (":list", "* no conversations yet"),
        (":unhide", "* bob is in the list"),
        (":list", "*  bob  "),
    ] {
        ann.types(line).await;
        ann.sees(answer).await;
    }
}

async fn messages_are_found(scene: &mut Scene) {
    let Scene {
        server, ann, bob, ..
    } = scene;
    for count in 1..=12 {
        bob.types(&format!("walrus {count} 在海里")).await;
        bob.sees(&format!("you: walrus {count} 在海里 ✓")).await;
    }
    server.app().indexed().await;
    ann.types(":search walrus in:here from:bob after:2020-01-01")
        .await;
    ann.sees("bob: [walrus] 12 在海里").await;
    ann.sees("* :more shows more").await;
    ann.sees_no("[walrus] 2 在海里");
    ann.types(":more").await;
    ann.sees("bob: [walrus] 1 在海里").await;
    ann.types(":more").await;
    ann.sees("* there is no more").await;
    bob.types(":search 海里 before:2020-01-01").await;
    bob.sees("* nothing was found").await;
}

async fn people_become_friends(scene: &mut Scene) {
    let Scene { ann, bob, .. } = scene;
    ann.types(":friends").await;
    ann.sees("* you have no friends here yet").await;
    ann.types(":ask bob it is me").await;
    ann.sees("* bob is asked").await;
    bob.sees("you and ann are to be friends: it is me").await;
    bob.types(":friends").await;
    bob.sees("  ann asks: it is me  (:accept ann, :refuse ann)")
        .await;
    bob.types(":accept ann").await;
    ann.sees("— you and bob are friends").await;
    ann.types(":unfriend bob").await;
    bob.sees("— you and ann are friends no more").await;
    bob.types(":ask ann").await;
    bob.sees("* ann is asked").await;
    ann.types(":refuse bob").await;
    ann.sees("* bob is not told that you refused").await;
    ann.types(":block bob").await;
    ann.sees("* bob can write to you no more").await;
    bob.types("do you hear me").await;
    bob.sees("✗ not sent: ").await;
    ann.types(":blocks").await;
    ann.sees("  bob").await;
    ann.types(":unblock bob").await;
    ann.sees("* bob can write to you again").await;
}

async fn people_are_watched_and_reported(scene: &mut Scene) {
    let Scene {
        server, ann, bob, ..
    } = scene;
    ann.types(":here bob carol dave").await;
    ann.sees("! there is no user dave").await;
    let mut dave = Chat::begin(server, "dave").await;
    ann.types(":here bob dave").await;
    ann.sees("  bob   is here (desktop)").await;
    ann.sees("  dave  is here (desktop)").await;
    dave.types(":quit").await;
    dave.ends().await;
    ann.sees("* dave is away").await;
    ann.types(":unwatch bob dave").await;
    ann.sees("* you are not told of them any more").await;
    bob.types(":report #2 rude").await;
    bob.sees("* #2 is reported").await;
    bob.types(":report ann spam").await;
    bob.sees("* ann is reported").await;
}

async fn one_looks_after_oneself(scene: &mut Scene) {
    let Scene { server, ann, .. } = scene;
    ann.types(":name 安娜").await;
    ann.sees("* you are shown as 安娜").await;
    ann.types(":me").await;
    ann.sees("  shown as  安娜").await;
    ann.sees("  avatar    none").await;
    server.sign_in("ann", "tablet").await;
    ann.types(":devices").await;
    ann.sees("this one, seen ").await;
    ann.sees("  tablet").await;
    ann.types(":signout tablet").await;
    ann.sees("* tablet is signed out").await;
}

/// The group's id.
async fn a_group_is_made(scene: &mut Scene) -> String {
    let Scene {
        ann, bob, carol, ..
    } = scene;
    ann.types(":group new \"我们 all\" bob carol").await;
    let made = ann.sees("* the group is made").await;
    let id = made
        .split(":join ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let id = id.expect("an id").to_owned();
    ann.sees("— you joined").await;
    ann.sees("— you added carol").await;
    bob.sees("* you are in the group 我们 all").await;
    carol.sees("* you are in the group 我们 all").await;
    bob.types(":open 我们 all").await;
    bob.sees("— ann added you").await;
    ann.types("你好@carol, and @all").await;
    bob.sees("ann: 你好@carol, and @all").await;
    carol.sees("我们 all | ").await;
    ann.types("and nobody").await;
    carol.sees("ann: and nobody").await;
    carol.types(":list").await;
    carol
        .sees("   我们 all  (group, 2 unread, 1 mentions you)")
        .await;
    carol.types(&format!(":open {id}")).await;
    carol.sees("ann: and nobody").await;
    carol.types(":quiet").await;
    carol.sees("* 我们 all is quiet").await;
    id
}

async fn members_are_ruled(scene: &mut Scene) {
    let Scene {
        ann, bob, carol, ..
    } = scene;
    ann.types(":role bob admin").await;
    ann.sees("* bob is an admin").await;
    bob.sees("— you became an admin").await;
    bob.types(":nick 老板").await;
    bob.sees("* you are 老板 in this group").await;
    bob.types(":members").await;
    bob.sees("  ann    安娜  owner").await;
    bob.sees("  you    老板  admin").await;
    bob.sees("  carol").await;
    bob.types(":nick").await;
    bob.sees("* you have no other name").await;
    bob.types(":title 他们").await;
    bob.sees("* the group is called 他们").await;
    ann.sees("— bob called the group 他们").await;
    bob.types(":mute carol 5").await;
    bob.sees("* carol is muted until ").await;
    carol.types("may I").await;
    carol.sees("(muted): may I").await;
    bob.types(":unmute carol").await;
    bob.sees("* carol may write again").await;
    carol.types("I may").await;
    bob.sees("carol: I may").await;
    ann.types(":settings mute on").await;
    ann.sees("  mute     everybody, until it is lifted").await;
    bob.sees("— ann changed who may write").await;
    carol.types(":settings").await;
    carol.sees("  mute     everybody").await;
    ann.types(":settings mute off").await;
    ann.sees("  mute     off").await;
}

async fn the_group_is_joined(scene: &mut Scene, group: &str) {
    let Scene { ann, carol, .. } = scene;
    let join = format!(":join {group}");
    ann.types(":settings join approval").await;
    ann.sees("  join     approval").await;
    ann.types(":remove carol").await;
    ann.sees("* carol is out of the group").await;
    carol.sees("* 他们 is closed to you").await;
    for (answer, said) in [(":deny", "is not let in"), (":admit", "is let in")] {
        carol.types(&format!("{join} let me in")).await;
        carol.sees("* you have asked to be let in").await;
        ann.types(":requests").await;
        ann.sees("carol  let me in").await;
        ann.types(&format!("{answer} carol")).await;
        ann.sees(&format!("* carol {said}")).await;
    }
    carol.sees("* you are in the group 他们").await;
    carol.types(":open 他们").await;
    carol.sees("— ann added you").await;
    carol.types(":leave").await;
    carol.sees("* you have left 他们").await;
    ann.sees("— carol left").await;
    ann.types(":settings join open").await;
    ann.sees("  join     open").await;
    carol.types(&join).await;
    carol.sees("— you joined").await;
    ann.types(":remove carol").await;
    carol.sees("* 他们 is closed to you").await;
    ann.types(":add carol").await;
    ann.sees("* carol is in the group").await;
    carol.sees("* you are in the group 他们").await;
}

async fn the_group_ends(scene: &mut Scene) {
    let Scene {
        ann, bob, carol, ..
    } = scene;
    bob.types(":dissolve").await;
    bob.sees("(forbidden)").await;
    ann.types(":role bob owner").await;
    ann.sees("* bob owns the group; you are an admin of it")
        .await;
    bob.sees("— ann handed the group over to you").await;
    bob.types(":dissolve").await;
    bob.sees("* 他们 is dissolved").await;
    ann.sees("* 他们 is closed to you").await;
    carol.sees("* 他们 is closed to you").await;
}
