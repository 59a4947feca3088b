//! The contract's types and calls, generated from `wit/v1`. Nothing here is written by hand; what a guest is given is
//! borrowed, what it answers is owned.

wasmtime::component::bindgen!({
    path: "../../wit/v1",
    world: "everything",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub use self::kith::plugin::{clock, config, kv_snapshot, log, types};
pub use exports::kith::plugin::{
    admin_rule, command, content_filter, lifecycle, message_strategy, preparation, schedules,
    upgrade,
};
