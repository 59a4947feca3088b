//! The administration's routes of conversations handed over, each by its name. What handing over does is in
//! `after/replies.rs`.

use kith::ids::{ConversationId, UserId};
use kith::store::moderation::{Moderation, NewAdminNotice, NewHandover};
use kith::store::sqlite_accounts::SqliteAccounts;
use serde_json::{Value, json};

use super::{World, text};

/// Conversations as plugins have handed them over.
async fn handed_over(world: &World, count: u64) {
    let file = world.server.data().join("accounts.sqlite");
    let store = SqliteAccounts::open(&file).expect("opens");
    for number in 1..=count {
        let handover = NewHandover {
            conversation: ConversationId(u128::from(number)),
            account: UserId(7),
            plugin: "helper".to_owned(),
            reason: format!("reason {number}"),
            seq: number,
            at: number,
        };
        let notice = NewAdminNotice {
            at: number,
            by: "helper".to_owned(),
            text: format!("notice {number}"),
            user: None,
        };
        for new in [true, false] {
            let kept = store.hand_over(&handover, &notice).await;
            assert_eq!(kept.expect("kept"), new);
        }
    }
}

async fn reasons(world: &World, route: &str) -> (Vec<String>, Value) {
    let page = world.admin(200, route, None).await;
    let rows = page["handovers"].as_array().expect("a list");
    let reasons = rows.iter().map(|row| text(&row["reason"])).collect();
    (reasons, page)
}

#[tokio::test]
async fn get_admin_v1_handovers() {
    let world = World::bare().await;
    handed_over(&world, 3).await;
    let (told, page) = reasons(&world, "GET /handovers?limit=2").await;
    assert_eq!(told, ["reason 3", "reason 2"]);
    let row = &page["handovers"][0];
    assert_eq!(
        (&row["plugin"], &row["seq"]),
        (&json!("helper"), &json!(3)),
        "{row}"
    );
    let route = format!("GET /handovers?cursor={}", text(&page["cursor"]));
    let (rest, page) = reasons(&world, &route).await;
    assert_eq!(rest, ["reason 1"]);
    assert!(page["cursor"].is_null());
    world.admin(400, "GET /handovers?cursor=x", None).await;
    let notices = world.admin(200, "GET /notices", None).await;
    assert_eq!(notices["notices"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn delete_admin_v1_handovers_id() {
    let world = World::bare().await;
    handed_over(&world, 1).await;
    let (_, page) = reasons(&world, "GET /handovers").await;
    let route = format!("DELETE /handovers/{}", text(&page["handovers"][0]["id"]));
    world.admin(204, &route, None).await;
    assert!(reasons(&world, "GET /handovers").await.0.is_empty());
    world.admin(404, &route, None).await;
    world.admin(404, "DELETE /handovers/x", None).await;
}
