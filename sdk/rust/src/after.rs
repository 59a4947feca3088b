//! The hooks after the commit: `observer` sees everything that is committed, `responder` answers messages to an account.
//! Both may use the abilities in `ability`, where an administrator has granted them.

use crate::{Effect, Fact, Plugin};

/// One thing that was committed. See `wit/v1/events.wit` for each field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub conversation: String,
    pub conversation_kind: String,
    pub seq: u64,
    pub at_ms: u64,
    pub sender: String,
    pub entry_kind: String,
    pub content_type: String,
    pub text: String,
    pub content: String,
    pub target: u64,
    pub attempt: u32,
    pub facts: Vec<Fact>,
}

impl Event {
    /// A fact's value.
    pub fn fact(&self, name: &str) -> Option<&str> {
        let found = self.facts.iter().find(|fact| fact.name == name);
        found.map(|fact| fact.value.as_str())
    }
}

impl Effect {
    /// A message of the plugin's own account: to `user:ID` or `conversation:ID`, with a content as JSON.
    pub fn send(to: &str, content: &str) -> Self {
        Self {
            kind: "send".to_owned(),
            key: to.to_owned(),
            value: content.as_bytes().to_vec(),
        }
    }
}

/// Call again, later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    pub after_ms: u64,
    /// For the administrator.
    pub reason: String,
}

impl Retry {
    pub fn after_ms(after_ms: u64, reason: impl Into<String>) -> Self {
        Self {
            after_ms,
            reason: reason.into(),
        }
    }
}

/// How far a batch came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Events, from the first, that are done with.
    pub done: usize,
    /// What each of them leads to, by its place in the batch.
    pub effects: Vec<(usize, Effect)>,
    /// When the rest is to come again.
    pub retry: Option<Retry>,
}

impl Observed {
    /// Each event in turn, up to the first that is to come again.
    pub fn of_each(
        events: &[Event],
        mut ask: impl FnMut(&Event) -> Result<Vec<Effect>, Retry>,
    ) -> Self {
        let mut observed = Self::default();
        for (place, event) in events.iter().enumerate() {
            match ask(event) {
                Ok(effects) => {
                    let effects = effects.into_iter().map(|effect| (place, effect));
                    observed.effects.extend(effects);
                    observed.done += 1;
                }
                Err(retry) => {
                    observed.retry = Some(retry);
                    break;
                }
            }
        }
        observed
    }
}

/// Sees everything that is committed, each event at least once, in order.
///
/// ```
/// use kith_plugin::{Effect, Event, HookDefault, Observer, Plugin, Retry};
///
/// struct Thanks;
///
/// impl Plugin for Thanks {
///     const SUMMARY: &'static str = "Thanks for reports.";
///     const CONFIG_SCHEMA: &'static str = "{}";
///     fn hooks() -> Vec<HookDefault> { vec![HookDefault::new("observer")] }
///     fn configure(_: &[u8]) -> Result<Self, String> { Ok(Self) }
/// }
///
/// impl Observer for Thanks {
///     fn event(&self, event: &Event) -> Result<Vec<Effect>, Retry> {
///         if event.text != "here is the report" {
///             return Ok(Vec::new());
///         }
///         let content = r#"{"type": "text", "text": "thank you"}"#;
///         Ok(vec![Effect::send(&format!("user:{}", event.sender), content)])
///     }
/// }
///
/// kith_plugin::register_plugin!(Thanks: observer);
///
/// let told = |text: &str| Event { sender: "7".into(), text: text.into(), ..Event::default() };
/// let effects = Thanks.event(&told("here is the report")).unwrap();
/// assert_eq!(effects[0].key, "user:7");
/// assert!(Thanks.event(&told("hello")).unwrap().is_empty());
/// ```
pub trait Observer: Plugin {
    /// One event: what it leads to, or that it is to come again.
    fn event(&self, event: &Event) -> Result<Vec<Effect>, Retry> {
        let _ = event;
        Ok(Vec::new())
    }

    /// A batch: each event in turn, up to the first that is to come again. Effects are carried out after the call: what
    /// one event writes, the next one of the batch does not read yet.
    fn observe(&self, events: &[Event]) -> Observed {
        Observed::of_each(events, |event| self.event(event))
    }
}

/// Answers messages in conversations of an account.
///
/// ```
/// use kith_plugin::{Event, HookDefault, Plugin, Responder, Retry, ability};
///
/// struct Clock;
///
/// impl Plugin for Clock {
///     const SUMMARY: &'static str = "Says that it is never too late.";
///     const CONFIG_SCHEMA: &'static str = "{}";
///     fn hooks() -> Vec<HookDefault> { vec![HookDefault::new("responder")] }
///     fn configure(_: &[u8]) -> Result<Self, String> { Ok(Self) }
/// }
///
/// impl Responder for Clock {
///     fn respond(&self, event: &Event, _account: &str) -> Result<(), Retry> {
///         if !event.text.contains("late") {
///             return Ok(());
///         }
///         let answer = ability::reply_open().and_then(|reply| {
///             ability::reply_write(reply, "It is never too late.")?;
///             ability::reply_finish(reply)
///         });
///         answer.map(drop).map_err(|error| Retry::after_ms(500, error.to_string()))
///     }
/// }
///
/// kith_plugin::register_plugin!(Clock: responder);
///
/// let asked = Event { text: "what is this?".into(), ..Event::default() };
/// assert_eq!(Clock.respond(&asked, "7"), Ok(()));
/// ```
pub trait Responder: Plugin {
    /// A message of somebody else; `account` is the id of the account it answers as. Without an answer nothing is said.
    fn respond(&self, event: &Event, account: &str) -> Result<(), Retry> {
        let _ = (event, account);
        Ok(())
    }
}
