//! The questions to a version about one stored command: what the record says of its hooks, what each was shown, and with
//! what it was asked. Asks nobody.

use kith_runtime::{Hook, Scope};
use serde_json::{Value, json};

use super::asked::{Asked, AskedRecent};
use super::attempt::{Attempt, Case, Occurred, Place};
use super::report::Skipped;
use crate::content::Content;
use crate::conversation::Kind;
use crate::entry::{HookRead, HookTrace};
use crate::journey::{command, decide};
use crate::plugins::rollout::Served;
use crate::plugins::wasm::to_scope;
use crate::plugins::{Command, Invocation, Text};

/// Everything for one command: what there is to ask, and what was said.
pub(super) struct Question {
    pub hook: Hook,
    pub asked: Asked,
    /// What was recorded; `None`: it was not bound.
    pub trace: Option<(HookTrace, String)>,
    pub approximate: bool,
}

/// One command, ready.
pub(super) struct Ready {
    pub place: Value,
    pub reads: Vec<HookRead>,
    pub questions: Vec<Question>,
    /// The plugin was configured otherwise then.
    pub config_changed: bool,
    pub skipped: Option<Skipped>,
}

pub(super) fn in_scope(kind: Kind) -> Scope {
    to_scope(decide::scope(kind))
}

pub(super) fn skipped(why: Skipped) -> Ready {
    Ready {
        place: Value::Null,
        reads: Vec::new(),
        questions: Vec::new(),
        config_changed: false,
        skipped: Some(why),
    }
}

pub(super) fn place_json(case: &Case) -> Value {
    let attempt = &case.attempt;
    let (seq, hold) = match case.place {
        Place::Entry(seq) => (Some(seq), None),
        Place::Held(hold) => (None, Some(hold.to_string())),
        Place::Nowhere => (None, None),
    };
    json!({
        "conversation": attempt.conversation,
        "seq": seq,
        "hold": hold,
        "at": attempt.at_ms(),
        "operation": attempt.operation,
    })
}

/// The question about an occasion to the rule of a plugin, if it has one.
pub(super) fn occasion(
    occurred: Occurred,
    (plugin, has_rule): (&str, bool),
    served: &[Served],
) -> Ready {
    let mut ready = skipped(Skipped::NotKept);
    ready.skipped = None;
    let (_, conversation, user) = occurred.asked.about();
    let kind = match &occurred.asked {
        Asked::AdminRule(asked) => asked.kind.clone(),
        _ => String::new(),
    };
    ready.place = json!({
        "conversation": Some(conversation).filter(|text| !text.is_empty()),
        "seq": null,
        "user": user,
        "at": occurred.at_ms,
        "operation": kind,
    });
    let hook = Hook::AdminRule;
    let trace = match recorded(&occurred.record.hooks, served, (plugin, hook)) {
        Recording::Trace(_, trace, version) => Some((trace, version)),
        Recording::NotBound => None,
        Recording::NotReached => return ready,
    };
    if has_rule {
        let beside = occurred.record.beside;
        ready.reads = beside.map(|beside| beside.reads).unwrap_or_default();
        ready.questions.push(Question {
            hook,
            asked: occurred.asked,
            trace,
            approximate: false,
        });
    }
    ready
}

/// What a record says of a plugin's hook.
pub(super) enum Recording {
    /// Its place among the traces, the trace, the version.
    Trace(usize, HookTrace, String),
    NotBound,
    /// The chain ended before it.
    NotReached,
}

pub(super) fn recorded(
    hooks: &[HookTrace],
    served: &[Served],
    (plugin, hook): (&str, Hook),
) -> Recording {
    let own = |served: &Served| served.plugin == plugin && served.hook == hook.as_str();
    let traced = hooks.iter().enumerate().rev().find_map(|(at, trace)| {
        let served = served.get(usize::from(trace.binding))?;
        own(served).then(|| Recording::Trace(at, *trace, served.version.clone()))
    });
    match traced {
        Some(traced) => traced,
        // A command's hook is asked about its own names alone.
        None if hook != Hook::Command && served.iter().any(own) => Recording::NotReached,
        None => Recording::NotBound,
    }
}

/// The content that the hook at a place among the traces was shown; of one that was not bound, what was sent.
pub(super) fn shown(attempt: &Attempt, at: Option<usize>) -> Result<Option<Content>, Skipped> {
    let hooks = &attempt.record.hooks;
    let first = hooks.iter().position(HookTrace::replaced);
    let last = hooks.iter().rposition(HookTrace::replaced);
    let json = match (at, first.zip(last)) {
        (Some(at), Some((_, last))) if at > last => {
            attempt.kept.as_deref().ok_or(Skipped::Between)?
        }
        (Some(at), Some((first, _))) if at > first => return Err(Skipped::Between),
        _ => match attempt.sent.as_deref() {
            Some(sent) => sent,
            None => return Ok(None),
        },
    };
    Ok(Some(Content::from_stored(json).ok_or(Skipped::NotKept)?))
}

/// The question to a hook about a command; `None` where it is none of the hook's business.
pub(super) fn asked(
    attempt: &Attempt,
    hook: Hook,
    content: Option<&Content>,
    recent: &[AskedRecent],
) -> Option<Asked> {
    let circumstances = attempt.record.circumstances?;
    let conversation = attempt.conversation.to_string();
    let sender = attempt.author.to_string();
    let peer = attempt
        .peer
        .map(|peer| peer.to_string())
        .unwrap_or_default();
    let text = content.map_or(attempt.text.as_str(), Content::text);
    match hook {
        Hook::MessageStrategy => {
            let target = attempt.target.map(|(author, _)| author.to_string());
            let asked = Asked::strategy(&Command {
                operation: &attempt.operation,
                conversation: &conversation,
                conversation_kind: attempt.kind.as_str(),
                sender: &sender,
                sender_role: circumstances.role.as_str(),
                peer: &peer,
                peer_role: "",
                blocked: circumstances.blocked,
                blocking: circumstances.blocking,
                friends: circumstances.friends,
                muted: circumstances.muted,
                unanswered: u32::from(circumstances.unanswered),
                answered: circumstances.answered,
                content_type: content.map_or("", Content::kind),
                text,
                at_ms: circumstances.at_ms,
                target_sender: target.as_deref().unwrap_or_default(),
                target_age_ms: attempt.target.map_or(0, |(_, age)| age),
                recent: &[],
                facts: decide::facts(attempt.kind, content),
                content: "",
            });
            Some(with_recent(asked, recent))
        }
        Hook::ContentFilter => {
            let texts = content?.texts(attempt.operation == "edit");
            let texts: Vec<_> = texts
                .iter()
                .map(|&(place, text)| Text { place, text })
                .collect();
            (!texts.is_empty())
                .then(|| Asked::filter(&texts, circumstances.at_ms, (conversation, sender)))
        }
        Hook::Command if attempt.operation == "send" => {
            let (name, arguments) = command::invoked(text)?;
            let mentions: Vec<&str> = content?.mentions().collect();
            Some(Asked::command(&Invocation {
                name,
                arguments,
                conversation: &conversation,
                conversation_kind: attempt.kind.as_str(),
                sender: &sender,
                sender_role: circumstances.role.as_str(),
                peer: &peer,
                blocked: circumstances.blocked,
                blocking: circumstances.blocking,
                friends: circumstances.friends,
                mentions: &mentions,
                reply_to: attempt.reply_to,
                at_ms: circumstances.at_ms,
            }))
        }
        _ => None,
    }
}

fn with_recent(mut asked: Asked, recent: &[AskedRecent]) -> Asked {
    if let Asked::MessageStrategy(command) = &mut asked {
        command.recent = recent.to_vec();
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{DecisionRecord, HookOutcome};
    use crate::ids::{ConversationId, UserId};

    fn attempt(outcomes: &[HookOutcome], kept: Option<&str>) -> Attempt {
        let hook = |(binding, outcome): (usize, &HookOutcome)| HookTrace {
            binding: binding as u16,
            outcome: *outcome,
            duration_us: 1,
            decision: 0,
        };
        Attempt {
            operation: "send".to_owned(),
            conversation: ConversationId(1),
            author: UserId(1),
            kind: Kind::Direct,
            peer: None,
            sent: Some(r#"{"type":"text","text":"sent"}"#.to_owned()),
            kept: kept.map(|text| format!(r#"{{"type":"text","text":"{text}"}}"#)),
            text: String::new(),
            target: None,
            reply_to: 0,
            record: DecisionRecord {
                hooks: outcomes.iter().enumerate().map(hook).collect(),
                ..DecisionRecord::default()
            },
        }
    }

    #[test]
    fn a_hook_is_shown_what_stood_before_it() {
        use HookOutcome::{Passed, Replaced};
        let shown = |attempt: &Attempt, at| {
            let shown = super::shown(attempt, at).map(|content| content.expect("a content"));
            shown.map(|content| content.text().to_owned())
        };
        let once = attempt(&[Passed, Replaced, Passed], Some("kept"));
        for (at, text) in [
            (None, "sent"),
            (Some(0), "sent"),
            (Some(1), "sent"),
            (Some(2), "kept"),
        ] {
            assert_eq!(shown(&once, at), Ok(text.to_owned()), "{at:?}");
        }
        let twice = attempt(&[Replaced, Passed, Replaced, Passed], Some("kept"));
        assert_eq!(shown(&twice, Some(0)), Ok("sent".to_owned()));
        assert_eq!(shown(&twice, Some(1)), Err(Skipped::Between));
        assert_eq!(shown(&twice, Some(2)), Err(Skipped::Between));
        assert_eq!(shown(&twice, Some(3)), Ok("kept".to_owned()));
        let refused = attempt(&[Replaced, HookOutcome::Rejected], None);
        assert_eq!(shown(&refused, Some(1)), Err(Skipped::Between));
    }
}
