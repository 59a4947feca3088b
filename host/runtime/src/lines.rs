//! Where the lines of guests' logs go besides the host's own log: to one sink, which the host may set. Lines are bounded
//! in length and rate before they get here.

use std::sync::{Arc, OnceLock};

/// Takes lines as they are written. Called on a message's path: be quick, never block.
pub trait LineSink: Send + Sync + 'static {
    /// `level` is `debug`, `info`, `warn` or `error`.
    fn line(&self, plugin: &str, version: &str, level: &'static str, text: &str);
}

/// The place of the sink, set once.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<OnceLock<Arc<dyn LineSink>>>);

impl Lines {
    pub fn set(&self, sink: Arc<dyn LineSink>) {
        // A second one changes nothing.
        drop(self.0.set(sink));
    }

    pub fn write(&self, plugin: &str, version: &str, level: &'static str, text: &str) {
        if let Some(sink) = self.0.get() {
            sink.line(plugin, version, level, text);
        }
    }
}
