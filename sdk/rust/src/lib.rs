//! Write Kith plugins in Rust.
//!
//! A plugin is a type with a trait for each hook it wants, and one line that registers them. Everything a plugin
//! keeps between calls it makes in `configure`; the memory may vanish between two calls and start again from there.
//!
//! ```
//! use kith_plugin::{ContentFilter, Hit, HookDefault, Plugin, Text};
//!
//! #[derive(serde::Deserialize)]
//! struct Config { word: String }
//!
//! struct OneWord { word: String }
//!
//! impl Plugin for OneWord {
//!     const SUMMARY: &'static str = "Masks one word.";
//!     const CONFIG_SCHEMA: &'static str =
//!         r#"{"type":"object","properties":{"word":{"type":"string","default":"banana"}}}"#;
//!     fn hooks() -> Vec<HookDefault> { vec![HookDefault::new("content-filter")] }
//!     fn configure(config: &[u8]) -> Result<Self, String> {
//!         let Config { word } = kith_plugin::from_json(config)?;
//!         Ok(Self { word })
//!     }
//! }
//!
//! impl ContentFilter for OneWord {
//!     fn scan(&self, text: &Text) -> Vec<Hit> {
//!         Hit::every(&text.text, &self.word, "mask", "the-word")
//!     }
//! }
//!
//! kith_plugin::register_plugin!(OneWord: content_filter);
//!
//! let plugin = OneWord::configure(br#"{"word":"pear"}"#).unwrap();
//! let hits = plugin.scan(&Text::message("a pear, two pears"));
//! assert_eq!(hits.iter().map(|hit| (hit.start, hit.end)).collect::<Vec<_>>(), [(2, 6), (12, 16)]);
//! ```

pub mod ability;
mod after;
mod command;
#[doc(hidden)]
pub mod exports;
mod filter;
#[cfg(target_arch = "wasm32")]
mod panic_text;
mod rule;
pub mod service;
mod strategy;
mod upgrade;

pub use after::{Event, Observed, Observer, Responder, Retry};
pub use command::{Answer, Commands, Invocation, Outcome, Usage};
pub use filter::{ContentFilter, Hit, Text};
pub use rule::{Action, AdminRule, Judgement, Occasion, Ruling};
pub use strategy::{
    Command, Decision, Effect, Fact, MessageStrategy, Reason, RecentEntry, Verdict,
};
pub use upgrade::{Kept, Need, Schedules, Upgrade};

/// What every plugin is. Its name and version are its crate's.
pub trait Plugin: Sized + 'static {
    /// One sentence for the list of plugins.
    const SUMMARY: &'static str;
    /// JSON Schema of the configuration object, defaults included.
    const CONFIG_SCHEMA: &'static str;

    /// The hooks, and how the plugin would like to be bound to each.
    fn hooks() -> Vec<HookDefault>;

    /// Makes the plugin from its configuration: a JSON object, or what `Preparation::prepare` made of it. No clock,
    /// no randomness. The error is shown to the administrator and refuses the configuration.
    fn configure(config: &[u8]) -> Result<Self, String>;

    /// Checked before the version may serve; an error refuses it.
    fn self_test(&self) -> Result<(), String> {
        Ok(())
    }
}

/// For plugins whose configuration takes long to turn into a usable form: run once, in an instance that is thrown
/// away; the bytes reach `Plugin::configure` in the configuration's place.
pub trait Preparation: Plugin {
    fn prepare(config: &[u8]) -> Result<Vec<u8>, String>;
}

/// How a plugin would like to be bound to a hook; an administrator's binding overrides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookDefault {
    pub hook: &'static str,
    /// Lower runs earlier.
    pub order: i32,
    /// `all`, `direct`, `group` or `self`.
    pub scope: &'static str,
    /// `pass`, `reject`, `unavailable`, `hold`, or empty for the hook's own default.
    pub on_failed: &'static str,
    pub on_absent: &'static str,
    /// Microseconds; 0 is the host's.
    pub budget_us: u32,
    /// How many of the conversation's newest entries a strategy wants to see, at most 20.
    pub recent: u32,
}

impl HookDefault {
    /// Everywhere, in the middle of the order, with the hook's own failure policies.
    pub fn new(hook: &'static str) -> Self {
        Self {
            hook,
            order: 100,
            scope: "all",
            on_failed: "",
            on_absent: "",
            budget_us: 0,
            recent: 0,
        }
    }
}

/// Reads a configuration; the error names what is wrong with it.
pub fn from_json<T: serde::de::DeserializeOwned>(config: &[u8]) -> Result<T, String> {
    serde_json::from_slice(config).map_err(|error| error.to_string())
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes a line for whoever looks after the plugin. Outside a component it goes to stderr.
pub fn log(level: Level, text: &str) {
    exports::log(level, text);
}

/// The message's time, milliseconds since 1970 UTC; 0 outside a call on a message.
pub fn now_ms() -> u64 {
    exports::now_ms()
}

/// Why a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvError {
    /// Not while the plugin is described, configured, tested, or asked for its names.
    Denied,
    /// A key has 1 to 512 bytes.
    BadKey,
    /// A call may read 64 times.
    TooMany,
    Unavailable(String),
}

/// What the plugin keeps under a key, as its effects and `ability::kv_put` have written it; all reads of one call see
/// one moment. Outside a component nothing is kept.
pub fn kv_get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
    exports::kv_get(key)
}

/// Makes a component of a type: lifecycle, and the hooks named behind the colon (`content_filter`,
/// `message_strategy`, `command`, `admin_rule`, `observer`, `responder`, `preparation`, `upgrade`, `schedules`). Does nothing where the target is
/// not WebAssembly, so that a plugin's tests run natively.
#[macro_export]
macro_rules! register_plugin {
    ($plugin:ty : $($part:ident),+ $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            static PLUGIN: ::std::sync::OnceLock<$plugin> = ::std::sync::OnceLock::new();

            fn plugin() -> &'static $plugin {
                PLUGIN.get().expect("the host configures before it calls")
            }

            $crate::__export_lifecycle!($plugin);
            $( $crate::__export_part!($part, $plugin); )+
        };
    };
}
