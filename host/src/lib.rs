//! Kith's host: connections, order and storage. Behaviour is in plugins; see `ARCHITECTURE.md`.

pub mod clock;
pub mod content;
pub mod conversation;
pub mod entry;
pub mod ids;
pub mod refusal;
pub mod store;
