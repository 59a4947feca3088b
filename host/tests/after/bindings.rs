//! Bindings of hooks after the commit: what an administrator can say of them is taken and kept, and what is possible is
//! said where something else is asked for.

use serde_json::json;

use super::{GRANTS, Stage};
use crate::registry::plugin;

#[tokio::test]
async fn an_observer_and_a_responder_are_bound_as_asked_where_that_is_possible() {
    let mut stage = Stage::new(GRANTS).await;
    for hook in ["observer", "responder"] {
        let bind = async |arguments: &[&str]| {
            let bound = [&["bind", "observant", "--hook", hook, "--json"], arguments].concat();
            plugin(&stage.server, &bound).await
        };
        for isolation in ["message", "reuse", "message"] {
            let done = bind(&["--isolation", isolation]).await.json();
            assert_eq!(done["binding"]["isolation"], isolation);
        }
        let both = ["--on-failed", "pass", "--on-absent", "pass"];
        let done = bind(&[&both[..], &["--budget-us", "500"]].concat()).await;
        let binding = done.json()["binding"].take();
        for (field, value) in [
            ("on_failed", json!("pass")),
            ("on_absent", json!("pass")),
            ("budget_us", json!(500)),
            ("isolation", json!("message")),
        ] {
            assert_eq!(binding[field], value, "{binding}");
        }
        for flag in ["--on-failed", "--on-absent"] {
            for policy in ["reject", "unavailable", "hold", "fallback"] {
                let refused = bind(&[flag, policy]).await.refused();
                let asked = format!("{} {policy} ", &flag[2..].replace('-', "_"));
                assert!(refused.contains(&asked), "{refused}");
                assert!(refused.trim_end().ends_with("possible: pass"), "{refused}");
            }
        }
        let refused = bind(&["--fallback", "0.1.0-other"]).await.refused();
        assert!(refused.contains("has no fallback"), "{refused}");
    }
    // None of it is in the way of what they do.
    assert_eq!(stage.ask("members").await, "ok 2");
}
