//! Kith's host: connections, order and storage. Behaviour is in plugins; see `ARCHITECTURE.md`.

pub mod app;
pub mod bench;
pub mod chat;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod content;
pub mod conversation;
pub mod delivery;
pub mod emoji;
pub mod entry;
pub mod gateway;
pub mod guest;
pub mod identity;
pub mod ids;
pub mod journey;
pub mod media;
pub mod moderation;
pub mod oci;
pub mod plugins;
pub mod refusal;
pub mod search;
pub mod session;
pub mod store;
pub mod telemetry;
