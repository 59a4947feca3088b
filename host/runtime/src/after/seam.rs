//! The seam of the abilities: what a call after the commit may ask of the host. The host makes one for each call, which
//! knows the plugin, its grants and what is being answered; the runtime asks only what is granted.

use async_trait::async_trait;

pub use super::bindings::kith::plugin::directory::{Relation as RelationOf, User as DirectoryUser};
pub use super::bindings::kith::plugin::errors::Error as AbilityError;
pub use super::bindings::kith::plugin::history::Entry as HistoryEntry;
pub use super::bindings::kith::plugin::http::{
    Header as HttpHeader, Request as HttpRequest, Response as HttpResponse,
};
pub use super::bindings::kith::plugin::knowledge::Passage;
pub use super::bindings::kith::plugin::kv::Item as KvItem;
pub use super::bindings::kith::plugin::llm::{
    Message as LlmMessage, Prompt as LlmPrompt, Usage as LlmUsage,
};
pub use super::bindings::kith::plugin::send::Sent;
pub use super::bindings::kith::plugin::service_errors::ServiceError;

/// Everything beyond tier T0, for one call. Limits and scopes are its to keep.
#[async_trait]
pub trait Abilities: Send + Sync + 'static {
    async fn random(&self, length: u32) -> Result<Vec<u8>, AbilityError>;

    async fn kv_get(&self, key: &str) -> Result<Option<KvItem>, AbilityError>;
    async fn kv_put(
        &self,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
        ttl_ms: Option<u64>,
    ) -> Result<u64, AbilityError>;
    async fn kv_delete(&self, key: String, expected: Option<u64>) -> Result<(), AbilityError>;
    async fn kv_keys(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, AbilityError>;

    async fn user(&self, id: &str) -> Result<DirectoryUser, AbilityError>;
    async fn user_named(&self, username: &str) -> Result<DirectoryUser, AbilityError>;
    async fn relation(&self, user: &str, other: &str) -> Result<RelationOf, AbilityError>;
    /// Users with their roles.
    async fn members(
        &self,
        conversation: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, String)>, AbilityError>;

    async fn history(
        &self,
        conversation: &str,
        before: u64,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, AbilityError>;

    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, AbilityError>;

    async fn send(&self, to: &str, content: &str, once: &str) -> Result<Sent, AbilityError>;

    async fn reply_open(&self) -> Result<u32, AbilityError>;
    async fn reply_write(&self, reply: u32, delta: String) -> Result<(), AbilityError>;
    async fn reply_finish(&self, reply: u32) -> Result<u64, AbilityError>;
    async fn hand_over(&self, reason: String) -> Result<(), AbilityError>;

    async fn llm_open(&self, prompt: LlmPrompt) -> Result<u32, ServiceError>;
    async fn llm_next(&self, answer: u32) -> Result<Option<String>, ServiceError>;
    async fn llm_finish(&self, answer: u32) -> Result<LlmUsage, ServiceError>;
    async fn knowledge(
        &self,
        base: &str,
        query: &str,
        limit: u32,
    ) -> Result<Vec<Passage>, ServiceError>;

    async fn count(&self, name: &str, count: u64) -> Result<(), AbilityError>;
    async fn gauge(&self, name: &str, value: f64) -> Result<(), AbilityError>;
}
