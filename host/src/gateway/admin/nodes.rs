//! The nodes, as one of them sees the others: who is there, and how each stands to generations of plugins.
//! Changes nothing.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator};
use crate::bus::{Node, NodeState};

pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(nodes))
}

/// The nodes, with the generation each serves (`generation`) and has loaded (`ready`), and by how many it is behind what is
/// in force (`lag`). `state` is `ready`; `starting`, before it serves; `behind`, while it does not judge because of that;
/// or `gone`, for a day after it has gone. While the bus cannot be asked, this one alone.
#[utoipa::path(get, path = "/nodes", responses((status = 200, description = "a list of `name`, `generation`, `ready`, `lag`, `state`, `last_seen`")))]
async fn nodes(State(admin): State<Admin>, _: Administrator) -> Json<Value> {
    let own = admin.bus.node();
    let mut nodes = admin.bus.nodes().await.unwrap_or_default();
    if !nodes.iter().any(|node| node.name == *own) {
        nodes.push(Node {
            name: own.clone(),
            state: NodeState::default(),
            live: true,
            last_seen_ms: admin.clock.now_ms(),
        });
    }
    let standing = admin.rollout.among().map(|among| among.standing());
    let row = |node: Node| {
        let is_own = node.name == *own;
        let state = match &standing {
            Some(standing) if is_own => standing.state,
            None if is_own => {
                let serving = admin.rollout.generation();
                NodeState {
                    ready: serving,
                    serving,
                }
            }
            _ => node.state,
        };
        // Where stores are not shared, each node has generations of its own.
        let in_force = standing.as_ref().map_or(0, |standing| standing.in_force);
        let lag = in_force.saturating_sub(state.serving);
        let lapsed = standing.as_ref().filter(|_| is_own);
        let lapsed = lapsed.and_then(|standing| standing.lapsed.as_deref());
        let mut row = json!({
            "name": node.name.as_str(),
            "generation": state.serving,
            "ready": state.ready,
            "lag": if node.live { lag } else { 0 },
            "state": match node.live {
                false => "gone",
                true if standing.is_some() && state.serving == 0 => "starting",
                true if lag > 0 || lapsed.is_some() => "behind",
                true => "ready",
            },
            "last_seen": node.last_seen_ms,
        });
        if let Some(why) = lapsed {
            row["note"] = why.into();
        }
        row
    };
    Json(nodes.into_iter().map(row).collect())
}
