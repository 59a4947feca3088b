//! The strategies' part of the chain: a command to a ruling. Every decision is checked before it counts; none is
//! carried out here.

use serde_json::Value;

use super::effects::{self, check_code, shortened};
use super::fingerprint::Fingerprint;
use super::{record, settle, verdict_without_answer};
use crate::bindings::message_strategy::{self as wit, Command};
use crate::generation::Generation;
use crate::hook::{Hook, Scope};
use crate::ruling::{EffectKind, HoldCause, Outcome, Reason, StrategyRuling, Trail, Verdict};
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
            trail: Trail::default(),
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
                (&mut ruling.records, &mut ruling.trail),
                |instance, exports| {
                    let (store, guest) = instance.strategy(exports)?;
                    let decision = guest.call_decide(store, shown.clone())?;
                    check(decision, read).map_err(Fault::BadOutput)
                },
            );
            let binding = &self.bindings()[usize::from(place)];
            let next = match answer {
                Ok((decision, took)) => {
                    let fingerprint = fingerprint(&decision);
                    let (verdict, outcome) =
                        take(&mut ruling, &mut seen, &binding.plugin, decision);
                    ruling
                        .records
                        .push(record(place, outcome, took, fingerprint));
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

/// Of everything it says; 0 for a pass and nothing besides.
fn fingerprint(checked: &Checked) -> u32 {
    let decision = &checked.decision;
    let plain = matches!(decision.verdict, wit::Verdict::Pass)
        && decision.audience.is_none()
        && !checked.silent
        && decision.recall_window_ms.is_none()
        && decision.effects.is_empty();
    if plain {
        return 0;
    }
    let mut so_far = match &decision.verdict {
        wit::Verdict::Pass => Fingerprint::of("pass"),
        wit::Verdict::Replace(content) => Fingerprint::of("replace").text(content),
        wit::Verdict::Reject(reason) => Fingerprint::of("reject").reason(reason),
        wit::Verdict::Hold(reason) => Fingerprint::of("hold").reason(reason),
        wit::Verdict::Drop(reason) => Fingerprint::of("drop").reason(reason),
    };
    if let Some(users) = &decision.audience {
        so_far = so_far.number(users.len() as u64);
        so_far = users.iter().fold(so_far, |so_far, user| so_far.text(user));
    }
    so_far
        .number(u64::from(checked.silent))
        .number(decision.recall_window_ms.map_or(u64::MAX, |window| window))
        .effects(&decision.effects)
        .end()
}

/// Puts a decision into the ruling.
fn take(
    ruling: &mut StrategyRuling,
    seen: &mut Option<SeenContent>,
    plugin: &str,
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
    let effects = effects::take(plugin, decision.effects, kinds);
    ruling.effects.extend(effects);
    let by = || plugin.to_owned();
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
