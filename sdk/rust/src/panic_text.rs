//! A guest's panic has nowhere to go but the host's log;
//! this sends it there.

/// Sends the text of panics to the plugin's log, once for each instance.
pub fn to_log() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            crate::log(crate::Level::Error, &info.to_string())
        }));
    });
}
