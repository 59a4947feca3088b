//! The strategies' part of the chain: a command to a ruling. Every decision is checked before it counts; none is
//! carried out here.

use serde_json::Value;

use super::effects::{self, check_code, shortened};
use super::{record, settle, verdict_without_answer};
use crate::bindings::message_strategy::{self as wit, Command};
use crate::generation::{Binding, Generation};
use crate::hook::{Hook, Scope};
use crate::ruling::{EffectKind, HoldCause, Outcome, Reason, StrategyRuling, Verdict};
use crate::version::Fault;

/// What the next hook is shown of a replaced content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenContent {
    pub content_type: String,
    pub text: String,
}

/// Checks a replaced content and says what the next hook sees of it; an error makes the answer a bad one.
pub type ReadContent<'a> = dyn Fn(&str) -> Result<SeenContent, String> + 'a;

impl Generation {
    /// Asks the strategies about a command. Blocks while the guests compute, at most two hard stops for each.
    pub fn strategy(
        &self,
        scope: Scope,
        command: &Command<'_>,
        read: &ReadContent<'_>,
    ) -> StrategyRuling {
        let chain = self.chain(Hook::MessageStrategy, scope);
        let mut ruling = StrategyRuling {
            verdict: Verdict::Pass,
            content: None,
            audience: None,
            silent: false,
            recall_window_ms: None,
            effects: Vec::new(),
            records: Vec::with_capacity(chain.len()),
        };
        let mut seen: Option<SeenContent> = None;
        for &place in chain {
            let wanted = self.bindings()[usize::from(place)].recent() as usize;
            let recent = &command.recent[command.recent.len().saturating_sub(wanted)..];
            let mut shown = Command {
                recent,
                ..command.clone()
            };
            if let Some(seen) = &seen {
                (shown.content_type, shown.text) = (&seen.content_type, &seen.text);
            }
            let answer = self.consult(
                place,
                command.at_ms,
                &mut ruling.records,
                |instance, exports| {
                    let (store, guest) = instance.strategy(exports)?;
                    let decision = guest.call_decide(store, shown.clone())?;
                    check(decision, read).map_err(Fault::BadOutput)
                },
            );
            let binding = &self.bindings()[usize::from(place)];
            let next = match answer {
                Ok((decision, took)) => {
                    let (verdict, outcome) = take(&mut ruling, &mut seen, binding, decision);
                    ruling.records.push(record(binding, place, outcome, took));
                    verdict
                }
                Err(no_answer) => {
                    verdict_without_answer(binding, no_answer).unwrap_or(Verdict::Pass)
                }
            };
            if settle(&mut ruling.verdict, next) {
                break;
            }
        }
        ruling
    }
}

/// A decision that was checked.
struct Checked {
    decision: wit::Decision,
    silent: bool,
    kinds: Vec<EffectKind>,
    replaced: Option<SeenContent>,
}

fn check(decision: wit::Decision, read: &ReadContent<'_>) -> Result<Checked, String> {
    let silent = match decision.notify.as_str() {
        "" | "push" => false,
        "silent" => true,
        other => return Err(format!("notify is {:?}", shortened(other))),
    };
    let replaced = match &decision.verdict {
        wit::Verdict::Pass => None,
        wit::Verdict::Replace(content) => Some(read(content)?),
        wit::Verdict::Reject(reason) | wit::Verdict::Hold(reason) | wit::Verdict::Drop(reason) => {
            check_code(&reason.code)?;
            None
        }
    };
    let kinds = effects::check(&decision.effects)?;
    Ok(Checked {
        decision,
        silent,
        kinds,
        replaced,
    })
}

/// Puts a decision into the ruling.
fn take(
    ruling: &mut StrategyRuling,
    seen: &mut Option<SeenContent>,
    binding: &Binding,
    checked: Checked,
) -> (Verdict, Outcome) {
    let Checked {
        decision,
        silent,
        kinds,
        replaced,
    } = checked;
    ruling.silent |= silent;
    if decision.audience.is_some() {
        ruling.audience = decision.audience;
    }
    if decision.recall_window_ms.is_some() {
        ruling.recall_window_ms = decision.recall_window_ms;
    }
    let effects = effects::take(binding, decision.effects, kinds);
    ruling.effects.extend(effects);
    let by = || binding.plugin.clone();
    let reason = |reason: wit::Reason| Reason {
        code: reason.code,
        text: reason.text,
    };
    match decision.verdict {
        wit::Verdict::Pass => (Verdict::Pass, Outcome::Passed),
        wit::Verdict::Replace(content) => {
            ruling.content = Some(content);
            *seen = replaced;
            (Verdict::Pass, Outcome::Replaced)
        }
        wit::Verdict::Reject(why) => (
            Verdict::Reject {
                by: by(),
                reason: reason(why),
            },
            Outcome::Rejected,
        ),
        wit::Verdict::Hold(why) => (
            Verdict::Hold {
                by: by(),
                reason: reason(why),
                cause: HoldCause::Verdict,
            },
            Outcome::Held,
        ),
        wit::Verdict::Drop(why) => (
            Verdict::Drop {
                by: by(),
                reason: reason(why),
            },
            Outcome::Dropped,
        ),
    }
}

/// Reads a content that is a JSON object with `type` and, where it has one, `text`; for hosts without rules of
/// their own.
pub fn read_plain_content(content: &str) -> Result<SeenContent, String> {
    let value: Value =
        serde_json::from_str(content).map_err(|_| "the new content is not JSON".to_owned())?;
    let Value::Object(fields) = value else {
        return Err("the new content is not a JSON object".to_owned());
    };
    let field = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(SeenContent {
        content_type: field("type"),
        text: field("text"),
    })
}
