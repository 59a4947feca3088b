//! During a call on the message's path every ability beyond its tier answers `denied`: a component may export hooks of
//! both tiers and is one binary. Nothing else is offered here.

use wasmtime::component::{HasSelf, Linker};

use crate::abilities::GuestState;

wasmtime::component::bindgen!({
    path: "../../wit/v1",
    inline: "package kith:host; world later { include kith:plugin/abilities-after@1.0.0; include kith:plugin/services@1.0.0; }",
    world: "kith:host/later",
});

use self::kith::plugin::{
    directory, errors, history, http, knowledge, kv, llm, metrics, random, reply, send,
    service_errors, types,
};

/// Links every ability of tier T1 to its refusal.
pub fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    random::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    kv::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    directory::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    history::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    http::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    send::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    reply::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    metrics::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    llm::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    knowledge::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    service_errors::add_to_linker::<_, HasSelf<_>>(linker, own)?;
    errors::add_to_linker::<_, HasSelf<_>>(linker, own)
}

fn own(state: &mut GuestState) -> &mut GuestState {
    state
}

fn denied<T>() -> Result<T, errors::Error> {
    Err(errors::Error::Denied(
        "not during a call on the message's path".to_owned(),
    ))
}

fn unserved<T>() -> Result<T, service_errors::ServiceError> {
    Err(service_errors::ServiceError::Denied(
        "not during a call on the message's path".to_owned(),
    ))
}

impl service_errors::Host for GuestState {}
impl errors::Host for GuestState {}
impl types::Host for GuestState {}

impl random::Host for GuestState {
    fn bytes(&mut self, _: u32) -> Result<Vec<u8>, errors::Error> {
        denied()
    }
}

impl kv::Host for GuestState {
    fn get(&mut self, _: String) -> Result<Option<kv::Item>, errors::Error> {
        denied()
    }

    fn put(
        &mut self,
        _: String,
        _: Vec<u8>,
        _: Option<u64>,
        _: Option<u64>,
    ) -> Result<u64, errors::Error> {
        denied()
    }

    fn delete(&mut self, _: String, _: Option<u64>) -> Result<(), errors::Error> {
        denied()
    }

    fn keys(&mut self, _: String, _: String, _: u32) -> Result<Vec<String>, errors::Error> {
        denied()
    }
}

impl directory::Host for GuestState {
    fn user_by_id(&mut self, _: String) -> Result<directory::User, errors::Error> {
        denied()
    }

    fn user_named(&mut self, _: String) -> Result<directory::User, errors::Error> {
        denied()
    }

    fn relation_of(&mut self, _: String, _: String) -> Result<directory::Relation, errors::Error> {
        denied()
    }

    fn members(
        &mut self,
        _: String,
        _: String,
        _: u32,
    ) -> Result<Vec<directory::Member>, errors::Error> {
        denied()
    }
}

impl history::Host for GuestState {
    fn before(&mut self, _: String, _: u64, _: u32) -> Result<Vec<history::Entry>, errors::Error> {
        denied()
    }
}

impl http::Host for GuestState {
    fn fetch(&mut self, _: http::Request) -> Result<http::Response, errors::Error> {
        denied()
    }
}

impl send::Host for GuestState {
    fn message(&mut self, _: String, _: String, _: String) -> Result<send::Sent, errors::Error> {
        denied()
    }
}

impl reply::Host for GuestState {
    fn open(&mut self) -> Result<u32, errors::Error> {
        denied()
    }

    fn write(&mut self, _: u32, _: String) -> Result<(), errors::Error> {
        denied()
    }

    fn finish(&mut self, _: u32) -> Result<u64, errors::Error> {
        denied()
    }

    fn hand_over(&mut self, _: String) -> Result<(), errors::Error> {
        denied()
    }
}

impl metrics::Host for GuestState {
    fn add(&mut self, _: String, _: u64) -> Result<(), errors::Error> {
        denied()
    }

    fn set(&mut self, _: String, _: f64) -> Result<(), errors::Error> {
        denied()
    }
}

impl llm::Host for GuestState {
    fn open(&mut self, _: llm::Prompt) -> Result<u32, service_errors::ServiceError> {
        unserved()
    }

    fn next(&mut self, _: u32) -> Result<Option<String>, service_errors::ServiceError> {
        unserved()
    }

    fn finish(&mut self, _: u32) -> Result<llm::Usage, service_errors::ServiceError> {
        unserved()
    }
}

impl knowledge::Host for GuestState {
    fn search(
        &mut self,
        _: String,
        _: String,
        _: u32,
    ) -> Result<Vec<knowledge::Passage>, service_errors::ServiceError> {
        unserved()
    }
}
