//! Asking one hook of one version what is in an `Asked`, and what it says. The generation asked has one binding for each
//! hook and is used for nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use kith_runtime as runtime;
use kith_runtime::{Binding, BindingScope, Generation, Hook, Isolation, Policy, Scope, Version};
use serde_json::{Value, json};

use super::asked::{Asked, AskedCommand, AskedInvocation, AskedOccasion, AskedTexts};
use crate::content::ContentLimits;
use crate::entry::HookOutcome;
use crate::plugins::wasm;

/// What a hook says.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub outcome: HookOutcome,
    /// As in a record.
    pub decision: u32,
    /// `{reason, hits, failure}`, what there is of it.
    pub why: Value,
    pub failure: Option<runtime::Failure>,
}

/// A generation that asks one version, each time a fresh instance where that costs little.
pub fn generation(version: &Arc<Version>, hooks: &[Hook]) -> Generation {
    let bindings = hooks.iter().filter_map(|hook| {
        let wished = Binding::as_wished(version, *hook)?;
        Some(Binding {
            scope: BindingScope::All,
            on_failed: Policy::Unavailable,
            on_absent: Policy::Unavailable,
            isolation: Isolation::Message,
            levels: BTreeMap::new(),
            ..wished
        })
    });
    Generation::new(1, bindings.collect())
}

impl Said {
    /// It did not finish in time: on a busy machine that may be the machine's doing.
    pub fn timed_out(&self) -> bool {
        self.failure == Some(runtime::Failure::Timeout)
    }
}

/// Asks a hook of tier T0; `None` where the version has none, or not this command. Blocks as long as the guest computes.
pub fn ask(generation: &Generation, asked: &Asked, limits: &ContentLimits) -> Option<Said> {
    match asked {
        Asked::MessageStrategy(asked) => strategy(generation, asked, limits),
        Asked::ContentFilter(asked) => filter(generation, asked),
        Asked::Command(asked) => command(generation, asked, limits),
        Asked::AdminRule(asked) => rule(generation, asked),
        Asked::Observer(_) | Asked::Responder(_) => None,
    }
}

fn said(records: &[runtime::HookRecord], trail: &runtime::Trail, why: Value) -> Option<Said> {
    let trace = wasm::to_trace(records.last()?);
    let failure = trail.failures.last().map(|failed| failed.failure.clone());
    let mut why = why;
    if let Some(failure) = &failure {
        why = json!({"failure": failure.to_string()});
    }
    Some(Said {
        outcome: trace.outcome,
        decision: trace.decision,
        why,
        failure,
    })
}

fn reason(reason: &runtime::Reason) -> Value {
    json!({"reason": reason.code, "text": reason.text})
}

fn strategy(generation: &Generation, asked: &AskedCommand, limits: &ContentLimits) -> Option<Said> {
    let text = asked.text.shown();
    let facts = asked.facts.iter();
    let facts: Vec<_> = facts
        .map(|(name, value)| runtime::Fact { name, value })
        .collect();
    let texts: Vec<String> = asked
        .recent
        .iter()
        .map(|entry| entry.text.shown())
        .collect();
    let recent = asked.recent.iter().zip(&texts);
    let recent: Vec<_> = recent
        .map(|(entry, text)| runtime::RecentEntry {
            seq: entry.seq,
            sender: &entry.sender,
            at_ms: entry.at_ms,
            kind: &entry.kind,
            text,
        })
        .collect();
    let command = runtime::Command {
        operation: &asked.operation,
        conversation: &asked.conversation,
        conversation_kind: &asked.conversation_kind,
        sender: &asked.sender,
        sender_role: &asked.sender_role,
        peer: &asked.peer,
        peer_role: &asked.peer_role,
        blocked: asked.blocked,
        blocking: asked.blocking,
        friends: asked.friends,
        muted: asked.muted,
        unanswered: asked.unanswered,
        answered: asked.answered,
        content_type: &asked.content_type,
        text: &text,
        at_ms: asked.at_ms,
        target_sender: &asked.target_sender,
        target_age_ms: asked.target_age_ms,
        recent: &recent,
        facts: &facts,
    };
    let read = |json: &str| wasm::read_content(json, limits);
    let ruling = generation.strategy(Scope::Direct, &command, &read);
    let why = match &ruling.verdict {
        runtime::Verdict::Reject { reason: why, .. }
        | runtime::Verdict::Hold { reason: why, .. }
        | runtime::Verdict::Drop { reason: why, .. } => reason(why),
        runtime::Verdict::Pass | runtime::Verdict::Unavailable { .. } => json!({}),
    };
    said(&ruling.records, &ruling.trail, why)
}

fn filter(generation: &Generation, asked: &AskedTexts) -> Option<Said> {
    let shown: Vec<String> = asked.texts.iter().map(|text| text.text.shown()).collect();
    let texts = asked.texts.iter().zip(&shown);
    let texts: Vec<_> = texts
        .map(|(asked, text)| runtime::Text {
            place: &asked.place,
            text,
        })
        .collect();
    let ruling = generation.filter(Scope::Direct, &texts, asked.at_ms);
    let hits = ruling.hits.iter().map(|hit| {
        json!({"text": hit.text, "start": hit.start, "end": hit.end, "level": hit.level, "rule": hit.rule})
    });
    let hits: Vec<Value> = hits.collect();
    let why = match hits.is_empty() {
        true => json!({}),
        false => json!({"hits": hits}),
    };
    said(&ruling.records, &ruling.trail, why)
}

fn command(
    generation: &Generation,
    asked: &AskedInvocation,
    limits: &ContentLimits,
) -> Option<Said> {
    let arguments = asked.arguments.shown();
    let mentions: Vec<&str> = asked.mentions.iter().map(String::as_str).collect();
    let invocation = runtime::Invocation {
        name: &asked.name,
        arguments: &arguments,
        conversation: &asked.conversation,
        conversation_kind: &asked.conversation_kind,
        sender: &asked.sender,
        sender_role: &asked.sender_role,
        peer: &asked.peer,
        blocked: asked.blocked,
        blocking: asked.blocking,
        friends: asked.friends,
        mentions: &mentions,
        reply_to: asked.reply_to,
        at_ms: asked.at_ms,
        facts: &[],
    };
    let read = |json: &str| wasm::read_content(json, limits);
    let ruling = generation.command(Scope::Direct, &invocation, &read);
    let why = match &ruling.outcome {
        runtime::CommandOutcome::Reject { reason: why, .. } => reason(why),
        runtime::CommandOutcome::Done => json!({"answer": "done"}),
        runtime::CommandOutcome::Reply(_) => json!({"answer": "reply"}),
        runtime::CommandOutcome::Send(_) => json!({"answer": "send"}),
        runtime::CommandOutcome::Pass | runtime::CommandOutcome::Unavailable { .. } => json!({}),
    };
    said(&ruling.records, &ruling.trail, why)
}

fn rule(generation: &Generation, asked: &AskedOccasion) -> Option<Said> {
    let text = asked.text.shown();
    let occasion = runtime::Occasion {
        kind: &asked.kind,
        user: &asked.user,
        username: &asked.username,
        actor: &asked.actor,
        address: &asked.address,
        device: &asked.device,
        device_kind: &asked.device_kind,
        conversation: &asked.conversation,
        what: &asked.what,
        text: &text,
        at_ms: asked.at_ms,
        facts: &[],
    };
    let ruling = generation.rule(&occasion, asked.decides);
    let mut why = match &ruling.rule {
        runtime::Rule::Deny { reason: why, .. }
        | runtime::Rule::RequireApproval { reason: why, .. } => reason(why),
        _ => json!({}),
    };
    if !ruling.actions.is_empty() {
        let actions = ruling.actions.iter();
        why["actions"] = actions.map(|action| action.act.as_str()).collect();
    }
    said(&ruling.records, &ruling.trail, why)
}
