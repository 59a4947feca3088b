//! Why a component is not taken, and why a call failed. Texts are sentences for an administrator and never hold what a
//! message says.

use crate::hook::Hook;

/// Why a component or its configuration is refused. The serving generation is untouched.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the file is not WebAssembly: it does not begin with the magic bytes")]
    NotWasm,
    #[error(
        "the file is a core WebAssembly module, not a component; a plugin is built with `kith plugin build`"
    )]
    CoreModule,
    #[error("the component has {size} bytes; at most {limit} are taken")]
    TooLarge { size: usize, limit: usize },
    #[error("the component is malformed: {0}")]
    Malformed(String),
    #[error("the component does not export kith:plugin/lifecycle, which every plugin must")]
    NoLifecycle,
    #[error("the component exports no hook; this host knows {}", Hook::ALL.map(Hook::as_str).join(", "))]
    NoHook,
    #[error("the component speaks contract {found} ({name}); this host speaks 1.0.0")]
    OtherContract { name: String, found: String },
    #[error("the component imports {0}, which this host does not offer")]
    UnknownImport(String),
    #[error("the component does not have the shape of the contract: {0}")]
    WrongShape(String),
    #[error("describe failed: {0}")]
    Describe(Failure),
    #[error("describe answers what cannot be used: {0}")]
    BadDescription(String),
    #[error("the configuration does not fit the plugin's schema: {0}")]
    BadConfiguration(String),
    #[error("prepare failed: {0}")]
    Prepare(Failure),
    #[error("configure failed: {0}")]
    Configure(Failure),
    #[error("the plugin refuses its configuration: {0}")]
    ConfigurationRefused(String),
    #[error("the self-test failed: {0}")]
    SelfTest(Failure),
    #[error("the plugin refuses to serve, its self-test says: {0}")]
    SelfTestRefused(String),
    #[error("naming its commands failed: {0}")]
    Names(Failure),
    #[error("the commands it names cannot be used: {0}")]
    BadNames(String),
    #[error("naming its schedules failed: {0}")]
    Schedules(Failure),
    #[error("the schedules it names cannot be used: {0}")]
    BadSchedules(String),
    #[error("the component could not be compiled: {0}")]
    Compile(String),
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error("the engine could not start: {0}")]
    Engine(String),
}

impl LoadError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Why a call gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The guest trapped; its panic text where it logged one.
    #[error("it trapped: {0}")]
    Trap(String),
    /// The hard stop.
    #[error("it did not finish in time")]
    Timeout,
    /// It asked for more memory than the cap.
    #[error("it wanted more memory than it may have")]
    Memory,
    /// An answer the contract does not allow.
    #[error("its answer is not allowed: {0}")]
    BadOutput(String),
    /// The breaker is open: it was not asked.
    #[error("{} failed too often and is not asked for now", .0.as_str())]
    Broken(Hook),
    /// No instance could be made; the host's fault, not the guest's.
    #[error("no instance could be made: {0}")]
    NoInstance(String),
}

impl Failure {
    /// Stopped or trapped: worth one more try on a fresh instance.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self, Self::Trap(_) | Self::Timeout | Self::Memory)
    }
}
