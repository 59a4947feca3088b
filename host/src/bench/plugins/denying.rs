//! A host that grants nothing:
//! what a call after the commit costs without what it asks for.

use async_trait::async_trait;
use kith_runtime::{
    Abilities, AbilityError, DirectoryUser, HistoryEntry, HttpRequest, HttpResponse, KvItem,
    LlmPrompt, LlmUsage, Passage, RelationOf, Sent, ServiceError,
};

pub struct Denying;

fn no_service<T>() -> Result<T, ServiceError> {
    Err(ServiceError::Denied(
        "no service is reached here".to_owned(),
    ))
}

fn denied<T>() -> Result<T, AbilityError> {
    Err(AbilityError::Denied("not while measuring".to_owned()))
}

#[async_trait]
impl Abilities for Denying {
    async fn random(&self, _: u32) -> Result<Vec<u8>, AbilityError> {
        denied()
    }
    async fn kv_get(&self, _: &str) -> Result<Option<KvItem>, AbilityError> {
        denied()
    }
    async fn kv_put(
        &self,
        _: String,
        _: Vec<u8>,
        _: Option<u64>,
        _: Option<u64>,
    ) -> Result<u64, AbilityError> {
        denied()
    }
    async fn kv_delete(&self, _: String, _: Option<u64>) -> Result<(), AbilityError> {
        denied()
    }
    async fn kv_keys(&self, _: &str, _: &str, _: u32) -> Result<Vec<String>, AbilityError> {
        denied()
    }
    async fn user(&self, _: &str) -> Result<DirectoryUser, AbilityError> {
        denied()
    }
    async fn user_named(&self, _: &str) -> Result<DirectoryUser, AbilityError> {
        denied()
    }
    async fn relation(&self, _: &str, _: &str) -> Result<RelationOf, AbilityError> {
        denied()
    }
    async fn members(
        &self,
        _: &str,
        _: &str,
        _: u32,
    ) -> Result<Vec<(String, String)>, AbilityError> {
        denied()
    }
    async fn history(&self, _: &str, _: u64, _: u32) -> Result<Vec<HistoryEntry>, AbilityError> {
        denied()
    }
    async fn fetch(&self, _: HttpRequest) -> Result<HttpResponse, AbilityError> {
        denied()
    }
    async fn send(&self, _: &str, _: &str, _: &str) -> Result<Sent, AbilityError> {
        denied()
    }
    async fn reply_open(&self) -> Result<u32, AbilityError> {
        denied()
    }
    async fn reply_write(&self, _: u32, _: String) -> Result<(), AbilityError> {
        denied()
    }
    async fn reply_finish(&self, _: u32) -> Result<u64, AbilityError> {
        denied()
    }
    async fn hand_over(&self, _: String) -> Result<(), AbilityError> {
        denied()
    }
    async fn llm_open(&self, _: LlmPrompt) -> Result<u32, ServiceError> {
        no_service()
    }
    async fn llm_next(&self, _: u32) -> Result<Option<String>, ServiceError> {
        no_service()
    }
    async fn llm_finish(&self, _: u32) -> Result<LlmUsage, ServiceError> {
        no_service()
    }
    async fn knowledge(&self, _: &str, _: &str, _: u32) -> Result<Vec<Passage>, ServiceError> {
        no_service()
    }
    async fn count(&self, _: &str, _: u64) -> Result<(), AbilityError> {
        denied()
    }
    async fn gauge(&self, _: &str, _: f64) -> Result<(), AbilityError> {
        denied()
    }
}
