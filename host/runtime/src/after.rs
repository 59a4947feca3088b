//! Tier T1: the hooks after the commit. An engine of its own, calls that may wait for the host, a wall-clock stop outside
//! the guest. A call gets a fresh instance of the configured image, so that nothing of another call is in it.
//!
//! It acts through `Abilities`, which the host implements, and only where the call's grants say so.

mod abilities;
mod bindings;
mod call;
mod denied;
mod engine;
mod grants;
mod seam;

pub use bindings::exports::kith::plugin::observer::Observed;
pub use bindings::kith::plugin::events::{Event, EventEffect, Retry};
pub use bindings::kith::plugin::types::{Effect as AfterEffect, Fact as EventFact};
pub use call::AfterCall;
pub(crate) use call::{AfterPart, Ground};
pub(crate) use denied::link as link_denied;
pub(crate) use engine::AfterEngine;
pub use grants::{ABILITIES, GrantError, Grants};
pub use seam::{
    Abilities, AbilityError, DirectoryUser, HistoryEntry, HttpHeader, HttpRequest, HttpResponse,
    KvItem, LlmMessage, LlmPrompt, LlmUsage, Passage, RelationOf, Sent, ServiceError,
};

/// Types that abilities and hooks share; importing them asks for nothing.
pub(crate) const SHARED_TYPES: [&str; 3] = ["events", "errors", "service-errors"];
