//! The calls and types of tier T1, generated from `wit/v1`. What the message's path has too (log, clock, configuration)
//! is shared with its bindings. Nothing here is written by hand.

wasmtime::component::bindgen!({
    path: "../../wit/v1",
    world: "host-t1",
    imports: {
        "kith:plugin/random": async,
        "kith:plugin/kv": async,
        "kith:plugin/directory": async,
        "kith:plugin/history": async,
        "kith:plugin/http": async,
        "kith:plugin/send": async,
        "kith:plugin/reply": async,
        "kith:plugin/metrics": async,
        "kith:plugin/llm": async,
        "kith:plugin/knowledge": async,
    },
    exports: { default: async },
    with: {
        "kith:plugin/log": crate::bindings::log,
        "kith:plugin/clock": crate::bindings::clock,
        "kith:plugin/config": crate::bindings::config,
        "kith:plugin/kv-snapshot": crate::bindings::kv_snapshot,
    },
});
