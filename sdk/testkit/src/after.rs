//! Asking the hooks after the commit, as a server does: an observer is shown events, a responder a message, and both find
//! the abilities of an `Around`. For plain tests: each call waits by itself, in no runtime of the test's.

use std::sync::Arc;

use kith_runtime::{Binding, Event, Failure, Hook, Observed, Retry};

use crate::host::{Around, Did, Host};
use crate::{Error, Plugin};

/// What a hook answered, and what it did meanwhile.
#[derive(Debug, Clone)]
pub struct Called<T> {
    pub answer: T,
    pub did: Did,
}

/// A text that `ann` has sent to `bob`, as it is shown after its commit: to be changed into the event a test is about.
pub fn said(text: &str) -> Event {
    Event {
        id: "entry-1".to_owned(),
        kind: "entry".to_owned(),
        conversation: "d-ann-bob".to_owned(),
        conversation_kind: "direct".to_owned(),
        seq: 1,
        at_ms: 0,
        sender: "ann".to_owned(),
        entry_kind: "message".to_owned(),
        content_type: "text".to_owned(),
        text: text.to_owned(),
        content: serde_json::json!({"type": "text", "text": text}).to_string(),
        target: 0,
        attempt: 0,
        facts: Vec::new(),
    }
}

impl Plugin {
    /// What its `observer` says to a batch of events, and what it did.
    pub fn observe(&self, events: &[Event], around: &Around) -> Result<Called<Observed>, Error> {
        let (binding, host) = self.bound_after(Hook::Observer, around)?;
        let call = host.call(&self.inspection().name)?;
        let answer = waited(binding.observe(call, events.into()))?;
        Ok(Called {
            answer,
            did: host.did(),
        })
    }

    /// What its `responder` says to a message in a conversation of an account, and what it did; an error of its own asks to
    /// be called again.
    pub fn respond(
        &self,
        message: &Event,
        account: &str,
        around: &Around,
    ) -> Result<Called<Result<(), Retry>>, Error> {
        let (binding, host) = self.bound_after(Hook::Responder, around)?;
        let call = host.call(&self.inspection().name)?;
        let answer = waited(binding.respond(call, Arc::new(message.clone()), account.into()))?;
        Ok(Called {
            answer,
            did: host.did(),
        })
    }

    fn bound_after(&self, hook: Hook, around: &Around) -> Result<(Binding, Arc<Host>), Error> {
        let binding = Binding::as_wished(&self.version, hook);
        let none = || Error(format!("it has no hook {}", hook.as_str()));
        let host = Host::new(around.clone(), &self.kept.0);
        Ok((binding.ok_or_else(none)?, host))
    }
}

fn waited<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Error> {
    let waiting = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let waiting = waiting.map_err(|error| Error(error.to_string()))?;
    let answer = waiting.block_on(call);
    answer.map_err(|failure| Error(format!("the call failed: {failure}")))
}
