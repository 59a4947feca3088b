//! The glue between the traits and the contract. One set of bindings for each interface, so that a component exports
//! what its plugin registers and nothing else.

use crate::Level;

#[cfg(target_arch = "wasm32")]
pub mod abilities {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-abilities; world abilities { import kith:plugin/log@1.0.0; import kith:plugin/clock@1.0.0;
            import kith:plugin/kv-snapshot@1.0.0; include kith:plugin/abilities-after@1.0.0;
            include kith:plugin/services@1.0.0; }",
        generate_all,
        world: "kith:sdk-abilities/abilities",
    });
}

#[cfg(target_arch = "wasm32")]
pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-lifecycle; world lifecycle-part { export kith:plugin/lifecycle@1.0.0; }",
        generate_all,
        world: "kith:sdk-lifecycle/lifecycle-part",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "kith_plugin::exports::lifecycle",
    });
}

#[cfg(target_arch = "wasm32")]
pub mod preparation {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-preparation; world preparation-part { export kith:plugin/preparation@1.0.0; }",
        generate_all,
        world: "kith:sdk-preparation/preparation-part",
        pub_export_macro: true,
        export_macro_name: "export_preparation",
        default_bindings_module: "kith_plugin::exports::preparation",
    });
}

#[cfg(target_arch = "wasm32")]
pub mod content_filter {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-filter; world filter-part { export kith:plugin/content-filter@1.0.0; }",
        generate_all,
        world: "kith:sdk-filter/filter-part",
        pub_export_macro: true,
        export_macro_name: "export_content_filter",
        default_bindings_module: "kith_plugin::exports::content_filter",
    });
}

#[cfg(target_arch = "wasm32")]
pub mod message_strategy {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-strategy; world strategy-part { export kith:plugin/message-strategy@1.0.0; }",
        generate_all,
        world: "kith:sdk-strategy/strategy-part",
        pub_export_macro: true,
        export_macro_name: "export_message_strategy",
        default_bindings_module: "kith_plugin::exports::message_strategy",
    });
}

#[cfg(target_arch = "wasm32")]
pub mod command {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-command; world command-part { export kith:plugin/command@1.0.0; }",
        generate_all,
        world: "kith:sdk-command/command-part",
        pub_export_macro: true,
        export_macro_name: "export_command",
        default_bindings_module: "kith_plugin::exports::command",
    });

    use self::exports::kith::plugin::command as wit;

    pub fn names(named: Vec<crate::Usage>) -> Vec<wit::Usage> {
        let usage = |usage: crate::Usage| wit::Usage {
            name: usage.name,
            summary: usage.summary,
        };
        named.into_iter().map(usage).collect()
    }

    pub fn invocation(typed: wit::Invocation) -> crate::Invocation {
        let fact = |fact: wit::Fact| crate::Fact {
            name: fact.name,
            value: fact.value,
        };
        crate::Invocation {
            name: typed.name,
            arguments: typed.arguments,
            conversation: typed.conversation,
            conversation_kind: typed.conversation_kind,
            sender: typed.sender,
            sender_role: typed.sender_role,
            peer: typed.peer,
            blocked: typed.blocked,
            blocking: typed.blocking,
            friends: typed.friends,
            mentions: typed.mentions,
            reply_to: typed.reply_to,
            at_ms: typed.at_ms,
            facts: typed.facts.into_iter().map(fact).collect(),
        }
    }

    pub fn answer(answer: crate::Answer) -> wit::Answer {
        let effect = |effect: crate::Effect| wit::Effect {
            kind: effect.kind,
            key: effect.key,
            value: effect.value,
        };
        wit::Answer {
            outcome: match answer.outcome {
                crate::Outcome::Done => wit::Outcome::Done,
                crate::Outcome::Reply(content) => wit::Outcome::Reply(content),
                crate::Outcome::Send(content) => wit::Outcome::Send(content),
                crate::Outcome::Pass => wit::Outcome::Pass,
                crate::Outcome::Reject(why) => wit::Outcome::Reject(wit::Reason {
                    code: why.code,
                    text: why.text,
                }),
            },
            effects: answer.effects.into_iter().map(effect).collect(),
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub mod admin_rule;
pub mod schedules;
pub mod upgrade;

#[cfg(target_arch = "wasm32")]
pub mod observer {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-observer; world observer-part { export kith:plugin/observer@1.0.0; }",
        generate_all,
        world: "kith:sdk-observer/observer-part",
        pub_export_macro: true,
        export_macro_name: "export_observer",
        default_bindings_module: "kith_plugin::exports::observer",
    });
}

#[cfg(target_arch = "wasm32")]
pub mod responder {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "package kith:sdk-responder; world responder-part { export kith:plugin/responder@1.0.0; }",
        generate_all,
        world: "kith:sdk-responder/responder-part",
        pub_export_macro: true,
        export_macro_name: "export_responder",
        default_bindings_module: "kith_plugin::exports::responder",
    });
}

/// Prepares a fresh instance: panics go to the log.
#[cfg(target_arch = "wasm32")]
pub fn start() {
    crate::panic_text::to_log();
}

#[cfg(target_arch = "wasm32")]
pub fn log(level: Level, text: &str) {
    use abilities::kith::plugin::log::{Level as Wit, write};
    let level = match level {
        Level::Debug => Wit::Debug,
        Level::Info => Wit::Info,
        Level::Warn => Wit::Warn,
        Level::Error => Wit::Error,
    };
    write(level, text);
}

#[cfg(target_arch = "wasm32")]
pub fn now_ms() -> u64 {
    abilities::kith::plugin::clock::now_ms()
}

#[cfg(target_arch = "wasm32")]
pub fn kv_get(key: &str) -> Result<Option<Vec<u8>>, crate::KvError> {
    use abilities::kith::plugin::kv_snapshot as wit;
    wit::get(key).map_err(|error| match error {
        wit::Error::Denied => crate::KvError::Denied,
        wit::Error::BadKey => crate::KvError::BadKey,
        wit::Error::TooMany => crate::KvError::TooMany,
        wit::Error::Unavailable(why) => crate::KvError::Unavailable(why),
    })
}

#[cfg(not(target_arch = "wasm32"))]
pub fn kv_get(_: &str) -> Result<Option<Vec<u8>>, crate::KvError> {
    Ok(None)
}

#[cfg(not(target_arch = "wasm32"))]
pub fn log(level: Level, text: &str) {
    eprintln!("{level:?}: {text}");
}

#[cfg(not(target_arch = "wasm32"))]
pub fn now_ms() -> u64 {
    0
}

/// Exports `lifecycle` for a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_lifecycle {
    ($plugin:ty) => {
        impl $crate::exports::lifecycle::exports::kith::plugin::lifecycle::Guest for Component {
            fn describe() -> $crate::exports::lifecycle::exports::kith::plugin::lifecycle::Description {
                use $crate::exports::lifecycle::exports::kith::plugin::lifecycle as wit;
                let hooks = <$plugin as $crate::Plugin>::hooks().into_iter().map(|hook| wit::HookDefault {
                    hook: hook.hook.to_owned(),
                    order: hook.order,
                    scope: hook.scope.to_owned(),
                    on_failed: hook.on_failed.to_owned(),
                    on_absent: hook.on_absent.to_owned(),
                    budget_us: hook.budget_us,
                    recent: hook.recent,
                });
                let version = match option_env!("KITH_PLUGIN_VERSION_SUFFIX") {
                    Some(suffix) if !suffix.is_empty() => concat!(env!("CARGO_PKG_VERSION"), "-").to_owned() + suffix,
                    _ => env!("CARGO_PKG_VERSION").to_owned(),
                };
                wit::Description {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version,
                    summary: <$plugin as $crate::Plugin>::SUMMARY.to_owned(),
                    config_schema: <$plugin as $crate::Plugin>::CONFIG_SCHEMA.to_owned(),
                    hooks: hooks.collect(),
                }
            }

            fn configure(config: Vec<u8>) -> Result<(), String> {
                $crate::exports::start();
                let made = <$plugin as $crate::Plugin>::configure(&config)?;
                PLUGIN.set(made).map_err(|_| "configured twice".to_owned())
            }

            fn self_test() -> Result<(), String> {
                $crate::Plugin::self_test(plugin())
            }
        }
        $crate::exports::lifecycle::export_lifecycle!(Component with_types_in $crate::exports::lifecycle);
    };
}

/// Exports one more interface for a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_part {
    (preparation, $plugin:ty) => {
        impl $crate::exports::preparation::exports::kith::plugin::preparation::Guest for Component {
            fn prepare(config: Vec<u8>) -> Result<Vec<u8>, String> {
                $crate::exports::start();
                <$plugin as $crate::Preparation>::prepare(&config)
            }
        }
        $crate::exports::preparation::export_preparation!(Component with_types_in $crate::exports::preparation);
    };
    (content_filter, $plugin:ty) => {
        impl $crate::exports::content_filter::exports::kith::plugin::content_filter::Guest for Component {
            fn scan(
                texts: Vec<$crate::exports::content_filter::exports::kith::plugin::content_filter::Text>,
            ) -> Vec<Vec<$crate::exports::content_filter::exports::kith::plugin::content_filter::Hit>> {
                use $crate::exports::content_filter::exports::kith::plugin::content_filter as wit;
                let scan = |text: wit::Text| {
                    let text = $crate::Text { place: text.place, text: text.text };
                    let hits = $crate::ContentFilter::scan(plugin(), &text);
                    hits.into_iter()
                        .map(|hit| wit::Hit { start: hit.start, end: hit.end, level: hit.level, rule: hit.rule })
                        .collect()
                };
                texts.into_iter().map(scan).collect()
            }
        }
        $crate::exports::content_filter::export_content_filter!(Component with_types_in $crate::exports::content_filter);
    };
    (command, $plugin:ty) => {
        impl $crate::exports::command::exports::kith::plugin::command::Guest for Component {
            fn names() -> Vec<$crate::exports::command::exports::kith::plugin::command::Usage> {
                $crate::exports::command::names($crate::Commands::names(plugin()))
            }

            fn run(
                invocation: $crate::exports::command::exports::kith::plugin::command::Invocation,
            ) -> $crate::exports::command::exports::kith::plugin::command::Answer {
                let invocation = $crate::exports::command::invocation(invocation);
                $crate::exports::command::answer($crate::Commands::run(plugin(), &invocation))
            }
        }
        $crate::exports::command::export_command!(Component with_types_in $crate::exports::command);
    };
    (admin_rule, $plugin:ty) => {
        impl $crate::exports::admin_rule::exports::kith::plugin::admin_rule::Guest for Component {
            fn judge(
                occasion: $crate::exports::admin_rule::exports::kith::plugin::admin_rule::Occasion,
            ) -> $crate::exports::admin_rule::exports::kith::plugin::admin_rule::Judgement {
                let occasion = $crate::exports::admin_rule::occasion(occasion);
                $crate::exports::admin_rule::judgement($crate::AdminRule::judge(plugin(), &occasion))
            }
        }
        $crate::exports::admin_rule::export_admin_rule!(Component with_types_in $crate::exports::admin_rule);
    };
    (upgrade, $plugin:ty) => {
        $crate::__export_upgrade!($plugin);
    };
    (schedules, $plugin:ty) => {
        $crate::__export_schedules!($plugin);
    };
    (observer, $plugin:ty) => {
        impl $crate::exports::observer::exports::kith::plugin::observer::Guest for Component {
            fn observe(
                events: Vec<$crate::exports::observer::exports::kith::plugin::observer::Event>,
            ) -> $crate::exports::observer::exports::kith::plugin::observer::Observed {
                use $crate::exports::observer::exports::kith::plugin::observer as wit;
                use $crate::exports::observer::kith::plugin::types::Effect;
                let events: Vec<$crate::Event> =
                    events.into_iter().map(|event| $crate::__event!(event)).collect();
                let observed = $crate::Observer::observe(plugin(), &events);
                let effects = observed.effects.into_iter().map(|(event, effect)| wit::EventEffect {
                    event: event as u32,
                    effect: Effect { kind: effect.kind, key: effect.key, value: effect.value },
                });
                wit::Observed {
                    done: observed.done as u32,
                    effects: effects.collect(),
                    retry: observed.retry.map(|retry| wit::Retry {
                        after_ms: retry.after_ms,
                        reason: retry.reason,
                    }),
                }
            }
        }
        $crate::exports::observer::export_observer!(Component with_types_in $crate::exports::observer);
    };
    (responder, $plugin:ty) => {
        impl $crate::exports::responder::exports::kith::plugin::responder::Guest for Component {
            fn respond(
                event: $crate::exports::responder::exports::kith::plugin::responder::Event,
                account: String,
            ) -> Result<(), $crate::exports::responder::exports::kith::plugin::responder::Retry> {
                use $crate::exports::responder::exports::kith::plugin::responder as wit;
                let answered = $crate::Responder::respond(plugin(), &$crate::__event!(event), &account);
                answered.map_err(|retry| wit::Retry { after_ms: retry.after_ms, reason: retry.reason })
            }
        }
        $crate::exports::responder::export_responder!(Component with_types_in $crate::exports::responder);
    };
    (message_strategy, $plugin:ty) => {
        impl $crate::exports::message_strategy::exports::kith::plugin::message_strategy::Guest for Component {
            fn decide(
                command: $crate::exports::message_strategy::exports::kith::plugin::message_strategy::Command,
            ) -> $crate::exports::message_strategy::exports::kith::plugin::message_strategy::Decision {
                let decision = $crate::MessageStrategy::decide(plugin(), &$crate::exports::command(command));
                $crate::exports::decision(decision)
            }
        }
        $crate::exports::message_strategy::export_message_strategy!(Component with_types_in $crate::exports::message_strategy);
    };
}

/// An event of the contract, of whichever hook's bindings, as the kit's.
#[doc(hidden)]
#[macro_export]
macro_rules! __event {
    ($event:expr) => {{
        let event = $event;
        $crate::Event {
            id: event.id,
            kind: event.kind,
            conversation: event.conversation,
            conversation_kind: event.conversation_kind,
            seq: event.seq,
            at_ms: event.at_ms,
            sender: event.sender,
            entry_kind: event.entry_kind,
            content_type: event.content_type,
            text: event.text,
            content: event.content,
            target: event.target,
            attempt: event.attempt,
            facts: event
                .facts
                .into_iter()
                .map(|fact| $crate::Fact {
                    name: fact.name,
                    value: fact.value,
                })
                .collect(),
        }
    }};
}

#[cfg(target_arch = "wasm32")]
pub fn command(
    command: message_strategy::exports::kith::plugin::message_strategy::Command,
) -> crate::Command {
    crate::Command {
        operation: command.operation,
        conversation: command.conversation,
        conversation_kind: command.conversation_kind,
        sender: command.sender,
        sender_role: command.sender_role,
        peer: command.peer,
        peer_role: command.peer_role,
        blocked: command.blocked,
        blocking: command.blocking,
        friends: command.friends,
        muted: command.muted,
        unanswered: command.unanswered,
        answered: command.answered,
        content_type: command.content_type,
        text: command.text,
        at_ms: command.at_ms,
        target_sender: command.target_sender,
        target_age_ms: command.target_age_ms,
        recent: command
            .recent
            .into_iter()
            .map(|entry| crate::RecentEntry {
                seq: entry.seq,
                sender: entry.sender,
                at_ms: entry.at_ms,
                kind: entry.kind,
                text: entry.text,
            })
            .collect(),
        facts: command
            .facts
            .into_iter()
            .map(|fact| crate::Fact {
                name: fact.name,
                value: fact.value,
            })
            .collect(),
    }
}

#[cfg(target_arch = "wasm32")]
pub fn decision(
    decision: crate::Decision,
) -> message_strategy::exports::kith::plugin::message_strategy::Decision {
    use message_strategy::exports::kith::plugin::message_strategy as wit;
    let reason = |reason: crate::Reason| wit::Reason {
        code: reason.code,
        text: reason.text,
    };
    wit::Decision {
        verdict: match decision.verdict {
            crate::Verdict::Pass => wit::Verdict::Pass,
            crate::Verdict::Replace(content) => wit::Verdict::Replace(content),
            crate::Verdict::Reject(why) => wit::Verdict::Reject(reason(why)),
            crate::Verdict::Hold(why) => wit::Verdict::Hold(reason(why)),
            crate::Verdict::Drop(why) => wit::Verdict::Drop(reason(why)),
        },
        audience: decision.audience,
        notify: if decision.silent {
            "silent".to_owned()
        } else {
            "push".to_owned()
        },
        recall_window_ms: decision.recall_window_ms,
        effects: decision
            .effects
            .into_iter()
            .map(|effect| wit::Effect {
                kind: effect.kind,
                key: effect.key,
                value: effect.value,
            })
            .collect(),
    }
}
