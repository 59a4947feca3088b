//! What a guest is given in tier T1: the contract's imports, each asked of the host's `Abilities` where the call has the
//! grant, and `denied` where it has not. Decides nothing else.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasSelf, Linker};

use super::bindings::HostT1;
use super::bindings::kith::plugin::{
    directory, errors, events, history, http, knowledge, kv, llm, metrics, random, reply, send,
    service_errors, types,
};
use super::grants::Grants;
use super::seam::{Abilities, AbilityError, ServiceError};
use crate::abilities::GuestState;
use crate::bindings::{clock, config, kv_snapshot, log};

/// What the host keeps beside one instance of tier T1.
pub(crate) struct CallState {
    pub guest: GuestState,
    /// The call is stopped then.
    pub until: Instant,
    pub grants: Arc<Grants>,
    /// None while nothing may be asked of it.
    pub host: Option<Arc<dyn Abilities>>,
}

/// A linker with everything tier T1 has.
pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    HostT1::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut CallState| state)
}

impl CallState {
    fn may(&self, ability: &str) -> Result<&dyn Abilities, AbilityError> {
        match &self.host {
            Some(host) if self.grants.allows(ability) => Ok(&**host),
            _ => Err(AbilityError::Denied(format!("{ability} is not granted"))),
        }
    }
}

impl CallState {
    /// As `may`, of a service behind the host.
    fn serves(&self, service: &str) -> Result<&dyn Abilities, ServiceError> {
        match &self.host {
            Some(host) if self.grants.allows(service) => Ok(&**host),
            _ => Err(ServiceError::Denied(format!("{service} is not granted"))),
        }
    }
}

impl types::Host for CallState {}
impl service_errors::Host for CallState {}
impl errors::Host for CallState {}
impl events::Host for CallState {}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, text: String) {
        log::Host::write(&mut self.guest, level, text);
    }
}

impl clock::Host for CallState {
    fn now_ms(&mut self) -> u64 {
        self.guest.now_ms
    }
}

impl config::Host for CallState {
    fn json(&mut self) -> String {
        config::Host::json(&mut self.guest)
    }
}

impl kv_snapshot::Host for CallState {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, kv_snapshot::Error> {
        kv_snapshot::Host::get(&mut self.guest, key)
    }
}

impl random::Host for CallState {
    async fn bytes(&mut self, length: u32) -> Result<Vec<u8>, AbilityError> {
        self.may("random")?.random(length).await
    }
}

impl kv::Host for CallState {
    async fn get(&mut self, key: String) -> Result<Option<kv::Item>, AbilityError> {
        self.may("kv")?.kv_get(&key).await
    }

    async fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
        ttl_ms: Option<u64>,
    ) -> Result<u64, AbilityError> {
        self.may("kv")?.kv_put(key, value, expected, ttl_ms).await
    }

    async fn delete(&mut self, key: String, expected: Option<u64>) -> Result<(), AbilityError> {
        self.may("kv")?.kv_delete(key, expected).await
    }

    async fn keys(
        &mut self,
        prefix: String,
        after: String,
        limit: u32,
    ) -> Result<Vec<String>, AbilityError> {
        self.may("kv")?.kv_keys(&prefix, &after, limit).await
    }
}

impl directory::Host for CallState {
    async fn user_by_id(&mut self, id: String) -> Result<directory::User, AbilityError> {
        self.may("directory")?.user(&id).await
    }

    async fn user_named(&mut self, username: String) -> Result<directory::User, AbilityError> {
        self.may("directory")?.user_named(&username).await
    }

    async fn relation_of(
        &mut self,
        user: String,
        other: String,
    ) -> Result<directory::Relation, AbilityError> {
        self.may("directory")?.relation(&user, &other).await
    }

    async fn members(
        &mut self,
        conversation: String,
        after: String,
        limit: u32,
    ) -> Result<Vec<directory::Member>, AbilityError> {
        let host = self.may("directory")?;
        let members = host.members(&conversation, &after, limit).await?;
        let member = |(user, role)| directory::Member { user, role };
        Ok(members.into_iter().map(member).collect())
    }
}

impl history::Host for CallState {
    async fn before(
        &mut self,
        conversation: String,
        before: u64,
        limit: u32,
    ) -> Result<Vec<history::Entry>, AbilityError> {
        let host = self.may("history")?;
        host.history(&conversation, before, limit).await
    }
}

impl http::Host for CallState {
    async fn fetch(&mut self, request: http::Request) -> Result<http::Response, AbilityError> {
        self.may("http")?.fetch(request).await
    }
}

impl send::Host for CallState {
    async fn message(
        &mut self,
        to: String,
        content: String,
        once: String,
    ) -> Result<send::Sent, AbilityError> {
        self.may("send")?.send(&to, &content, &once).await
    }
}

impl reply::Host for CallState {
    async fn open(&mut self) -> Result<u32, AbilityError> {
        self.may("reply")?.reply_open().await
    }

    async fn write(&mut self, reply: u32, delta: String) -> Result<(), AbilityError> {
        self.may("reply")?.reply_write(reply, delta).await
    }

    async fn finish(&mut self, reply: u32) -> Result<u64, AbilityError> {
        self.may("reply")?.reply_finish(reply).await
    }

    async fn hand_over(&mut self, reason: String) -> Result<(), AbilityError> {
        self.may("reply")?.hand_over(reason).await
    }
}

impl metrics::Host for CallState {
    async fn add(&mut self, name: String, count: u64) -> Result<(), AbilityError> {
        self.may("metrics")?.count(&name, count).await
    }

    async fn set(&mut self, name: String, value: f64) -> Result<(), AbilityError> {
        self.may("metrics")?.gauge(&name, value).await
    }
}

impl llm::Host for CallState {
    async fn open(&mut self, prompt: llm::Prompt) -> Result<u32, ServiceError> {
        self.serves("llm")?.llm_open(prompt).await
    }

    async fn next(&mut self, answer: u32) -> Result<Option<String>, ServiceError> {
        self.serves("llm")?.llm_next(answer).await
    }

    async fn finish(&mut self, answer: u32) -> Result<llm::Usage, ServiceError> {
        self.serves("llm")?.llm_finish(answer).await
    }
}

impl knowledge::Host for CallState {
    async fn search(
        &mut self,
        base: String,
        query: String,
        limit: u32,
    ) -> Result<Vec<knowledge::Passage>, ServiceError> {
        let host = self.serves("knowledge")?;
        host.knowledge(&base, &query, limit).await
    }
}
