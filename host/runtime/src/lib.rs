//! Kith's plugin runtime: everything between a component file and a ruling. It knows the contract in `wit/v1` and
//! nothing else of instant messaging; it decides nothing and acts on nothing.
//!
//! A file is inspected, prepared under a configuration (configured, tested, baked, compiled, warmed) and bound in a
//! generation; a pinned generation is asked about an operation (`strategy`), about texts (`filter`), about what users type
//! for plugins (`command`), about who comes in and what administrators do (`rule`), and its bindings about what was
//! committed (`observe`, `respond`). A version is in memory only while it is called.

mod abilities;
mod after;
mod bake;
mod bindings;
mod breaker;
mod budget;
mod card;
mod chain;
mod code_cache;
mod configuration;
mod engine;
mod error;
mod exported;
mod generation;
mod hook;
mod inspect;
mod instance;
mod keeper;
mod lines;
mod loader;
mod measure;
mod pool;
mod residence;
mod ruling;
mod runtime;
mod settings;
mod shadow;
mod share;
mod signature;
mod tally;
mod upgrade;
mod values;
mod version;
mod when;

pub use after::{
    ABILITIES, Abilities, AbilityError, AfterCall, AfterEffect, DirectoryUser, Event, EventEffect,
    EventFact, GrantError, Grants, HistoryEntry, HttpHeader, HttpRequest, HttpResponse, KvItem,
    LlmMessage, LlmPrompt, LlmUsage, Observed, Passage, RelationOf, Retry, Sent, ServiceError,
};
pub use bindings::admin_rule::Occasion;
pub use bindings::command::Invocation;
pub use bindings::content_filter::Text;
pub use bindings::message_strategy::{Command, Fact, RecentEntry};
pub use bindings::upgrade::{Need, Write as UpgradeWrite};
pub use breaker::{BreakerState, HealthChange, HealthEvent};
pub use chain::strategy::{ReadContent, SeenContent, read_plain_content};
pub use error::{Failure, LoadError};
pub use generation::{Binding, Generation, GenerationCell};
pub use hook::{BindingScope, Hook, Isolation, Level, Policy, Scope};
pub use inspect::{BindingDefault, Inspection, exported_hooks};
pub use lines::LineSink;
pub use measure::{DURATIONS_US, Measured};
pub use ruling::{
    CommandOutcome, CommandRuling, Effect, EffectKind, FilterRuling, FoundHit, HoldCause,
    HookFailure, HookRecord, Outcome, Read, Reason, Rule, RuleAct, RuleAction, RuleRuling,
    StrategyRuling, Trail, Verdict,
};
pub use runtime::{Runtime, Usage};
pub use settings::{MAX_COMPONENT_BYTES, Settings};
pub use shadow::{Example, HookCounts, Reader, Shadow, Shadowing};
pub use share::{Lot, Share, Site};
pub use signature::{SignatureError, check_key, is_signature, public_key, sign, verify_signature};
pub use tally::{Counted, Tally};
pub use upgrade::UpgradeItem;
pub use values::{Values, ValuesSnapshot};
pub use version::{Stats, Version};
pub use when::When;
