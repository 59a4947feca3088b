//! Tells a web server of everything that is committed: one POST an event, in order, signed, repeated with growing pauses
//! until it is taken. The receiver sees each event at least once and knows it by its id.

use hmac::{Hmac, KeyInit, Mac};
use kith_plugin::ability::{self, Request};
use kith_plugin::{Effect, Event, HookDefault, Level, Observer, Plugin, Retry};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

const FIRST_PAUSE_MS: u64 = 500;
const SECRET_CHARS_LEAST: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookOut {
    url: String,
    secret: String,
    /// Entry kinds to tell of; empty is all.
    kinds: Vec<String>,
    attempts_most: u32,
    longest_pause_s: u64,
}

/// The body of a delivery.
#[derive(Serialize)]
struct Delivery<'a> {
    id: &'a str,
    kind: &'a str,
    conversation: &'a str,
    conversation_kind: &'a str,
    seq: u64,
    at: u64,
    from: &'a str,
    entry_kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "is_zero")]
    target: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Plugin for WebhookOut {
    const SUMMARY: &'static str =
        "Posts what is committed to a web server, signed and with retries.";
    const CONFIG_SCHEMA: &'static str = r#"{
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "url": {"type": "string", "default": "", "description": "where to post; empty: nowhere"},
            "secret": {"type": "string", "default": "", "description": "at least 16 characters, shared with the receiver"},
            "kinds": {"type": "array", "items": {"enum": ["message", "recall", "edit", "react", "system"]}, "default": ["message"]},
            "attempts_most": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 30},
            "longest_pause_s": {"type": "integer", "minimum": 1, "maximum": 3600, "default": 300}
        }
    }"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("observer")]
    }

    fn configure(config: &[u8]) -> Result<Self, String> {
        let own: Self = kith_plugin::from_json(config)?;
        if own.url.is_empty() {
            return Ok(own);
        }
        if !own.url.starts_with("https://") && !own.url.starts_with("http://") {
            return Err("url must begin with https:// or http://".to_owned());
        }
        if own.secret.chars().count() < SECRET_CHARS_LEAST {
            return Err(format!(
                "secret must have at least {SECRET_CHARS_LEAST} characters"
            ));
        }
        Ok(own)
    }
}

impl Observer for WebhookOut {
    fn event(&self, event: &Event) -> Result<Vec<Effect>, Retry> {
        let wanted = self.kinds.is_empty() || self.kinds.contains(&event.entry_kind);
        if self.url.is_empty() || !wanted {
            return Ok(Vec::new());
        }
        let why = match self.deliver(event) {
            Ok(()) => {
                count("delivered");
                return Ok(Vec::new());
            }
            Err(why) => why,
        };
        count("failed");
        if event.attempt + 1 < self.attempts_most {
            return Err(Retry::after_ms(self.pause_ms(event.attempt), why));
        }
        count("given_up");
        kith_plugin::log(Level::Error, &format!("{} was given up: {why}", event.id));
        Ok(Vec::new())
    }
}

impl WebhookOut {
    fn deliver(&self, event: &Event) -> Result<(), String> {
        let body = body(event).map_err(|error| error.to_string())?;
        let request = Request {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("kith-event".to_owned(), event.id.clone()),
                ("kith-attempt".to_owned(), event.attempt.to_string()),
                (
                    "kith-signature".to_owned(),
                    signature(&self.secret, &event.id, &body)?,
                ),
            ],
            body,
            timeout_ms: 0,
        };
        match ability::fetch(&request) {
            Ok(response) if (200..300).contains(&response.status) => Ok(()),
            Ok(response) => Err(format!("the receiver answered {}", response.status)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn pause_ms(&self, attempt: u32) -> u64 {
        let doubled = FIRST_PAUSE_MS.saturating_mul(1 << attempt.min(20));
        doubled.min(self.longest_pause_s * 1000)
    }
}

fn body(event: &Event) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Delivery {
        id: &event.id,
        kind: &event.kind,
        conversation: &event.conversation,
        conversation_kind: &event.conversation_kind,
        seq: event.seq,
        at: event.at_ms,
        from: &event.sender,
        entry_kind: &event.entry_kind,
        content: serde_json::from_str(&event.content).ok(),
        target: event.target,
    })
}

/// `sha256=` and the HMAC of the event's id, a full stop and the body, hexadecimal.
fn signature(secret: &str, id: &str, body: &[u8]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map_err(|error| format!("the secret cannot be used: {error}"))?;
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("sha256={hex}"))
}

/// Without the grant nothing is counted, and nothing is missing.
fn count(name: &str) {
    let _ = ability::count(name, 1);
}

kith_plugin::register_plugin!(WebhookOut: observer);

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(config: &str) -> Result<WebhookOut, String> {
        WebhookOut::configure(config.as_bytes())
    }

    const GOOD: &str = r#"{"url":"https://hooks.example/kith","secret":"0123456789abcdef","kinds":["message"],
        "attempts_most":3,"longest_pause_s":1}"#;

    #[test]
    fn a_weak_secret_or_an_odd_url_is_refused() {
        assert!(configured(GOOD).is_ok());
        assert!(configured(&GOOD.replace("0123456789abcdef", "short")).is_err());
        assert!(configured(&GOOD.replace("https://", "ftp://")).is_err());
    }

    #[test]
    fn the_signature_is_the_hmac_that_anybody_computes() {
        // Computed with `openssl dgst -sha256 -hmac`.
        let signed = signature("0123456789abcdef", "entry-1", b"{}").expect("signed");
        assert_eq!(signed, SIGNED);
    }

    const SIGNED: &str = "sha256=fd98c977a701973388a604fe5aa179131d4ef6da474ebce1dd29870360fc018f";

    #[test]
    fn pauses_grow_to_their_bound() {
        let webhook = configured(GOOD).expect("a configuration");
        assert_eq!(
            [0, 1, 2, 60].map(|attempt| webhook.pause_ms(attempt)),
            [500, 1000, 1000, 1000]
        );
    }

    #[test]
    fn what_cannot_be_delivered_comes_again_and_is_given_up_in_the_end() {
        let webhook = configured(GOOD).expect("a configuration");
        let event = |attempt| Event {
            id: "entry-1".into(),
            kind: "entry".into(),
            entry_kind: "message".into(),
            attempt,
            ..Event::default()
        };
        // Outside a component there is no host to ask.
        assert!(webhook.event(&event(0)).is_err());
        assert_eq!(webhook.event(&event(2)), Ok(Vec::new()));
        let reaction = Event {
            entry_kind: "react".into(),
            ..event(0)
        };
        assert_eq!(webhook.event(&reaction), Ok(Vec::new()));
    }
}
