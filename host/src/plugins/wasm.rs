//! A generation of WASM components behind the plugin seam: turns the host's question into the contract's and the
//! runtime's rulings into the host's.

use std::sync::Arc;

use kith_runtime as runtime;

use super::flags::Flags;
use super::replay::aside::{self, Writer};
use super::replay::asked::Asked;
use super::replay::{Aside, Attempt};
use super::{
    Command, CommandRuling, CommandVerdict, Effect, FilterRuling, Invocation, Judge, Occasion,
    Recent, Rule, RuleAct, RuleAction, RuleRuling, Scope, Site, StrategyRuling, Text, Verdict,
};
use crate::content::{Content, ContentLimits};
use crate::entry::{HookOutcome, HookTrace};
use crate::store::HoldCause;

/// A pinned generation.
pub struct Pinned {
    pub generation: Arc<runtime::Generation>,
    /// What a plugin's own content is checked against.
    pub limits: ContentLimits,
    /// Where there are rules to be told.
    pub flags: Option<Flags>,
    /// Where what replays and authors may want is set aside.
    pub aside: Option<Arc<Aside>>,
    /// Of what is judged.
    pub writer: Writer,
}

impl Judge for Pinned {
    fn generation(&self) -> u64 {
        self.generation.number
    }

    fn is_well(&self, plugin: &str) -> bool {
        self.generation.is_well(plugin)
    }

    fn recent(&self, scope: Scope) -> usize {
        self.generation.recent(to_scope(scope)) as usize
    }

    fn strategy(&self, scope: Scope, command: &Command<'_>) -> StrategyRuling {
        if let Some(flags) = &self.flags {
            flags.asked(command);
        }
        if let Some(aside) = &self.aside {
            self.writer.is(command.conversation, command.sender);
            if command.operation == "recall" {
                aside.files.recalled(command.conversation);
            }
        }
        let facts: Vec<_> = command
            .facts
            .iter()
            .map(|&(name, value)| runtime::Fact { name, value })
            .collect();
        let recent: Vec<_> = command.recent.iter().map(to_recent).collect();
        let asked = runtime::Command {
            operation: command.operation,
            conversation: command.conversation,
            conversation_kind: command.conversation_kind,
            sender: command.sender,
            sender_role: command.sender_role,
            peer: command.peer,
            peer_role: command.peer_role,
            blocked: command.blocked,
            blocking: command.blocking,
            friends: command.friends,
            muted: command.muted,
            unanswered: command.unanswered,
            answered: command.answered,
            content_type: command.content_type,
            text: command.text,
            at_ms: command.at_ms,
            target_sender: command.target_sender,
            target_age_ms: command.target_age_ms,
            recent: &recent,
            facts: &facts,
        };
        let read = |json: &str| read_content(json, &self.limits);
        let mut ruling = self.generation.strategy(to_scope(scope), &asked, &read);
        self.failed(&mut ruling.trail, || Asked::strategy(command));
        StrategyRuling {
            verdict: to_verdict(ruling.verdict),
            content: ruling.content,
            audience: ruling.audience,
            silent: ruling.silent,
            recall_window_ms: ruling.recall_window_ms,
            effects: ruling.effects.into_iter().map(to_effect).collect(),
            hooks: ruling.records.iter().map(to_trace).collect(),
            reads: aside::reads(&mut ruling.trail),
        }
    }

    fn filter(&self, site: Site<'_>, texts: &[Text<'_>], at_ms: u64) -> FilterRuling {
        let asked: Vec<_> = texts
            .iter()
            .map(|text| runtime::Text {
                place: text.place,
                text: text.text,
            })
            .collect();
        let mut ruling = self.generation.filter(to_site(site), &asked, at_ms);
        self.failed(&mut ruling.trail, || {
            Asked::filter(texts, at_ms, self.writer.told())
        });
        let verdict = to_verdict(ruling.verdict);
        if let Some(flags) = &self.flags {
            flags.judged(&verdict);
        }
        let mut hits = ruling.hits.iter();
        let first = hits.find(|hit| hit.level == runtime::Level::Mask);
        let masked_by = first.map(|hit| {
            let binding = &self.generation.bindings()[usize::from(hit.binding)];
            binding.plugin.clone()
        });
        FilterRuling {
            verdict,
            masked: ruling.masked,
            masked_by,
            hooks: ruling.records.iter().map(to_trace).collect(),
            reads: aside::reads(&mut ruling.trail),
        }
    }

    fn binds(&self, site: Site<'_>, name: &str) -> bool {
        let binding = self.generation.command_binding(to_site(site), name);
        binding.is_some()
    }

    fn command(&self, scope: Scope, invocation: &Invocation<'_>) -> CommandRuling {
        let asked = runtime::Invocation {
            name: invocation.name,
            arguments: invocation.arguments,
            conversation: invocation.conversation,
            conversation_kind: invocation.conversation_kind,
            sender: invocation.sender,
            sender_role: invocation.sender_role,
            peer: invocation.peer,
            blocked: invocation.blocked,
            blocking: invocation.blocking,
            friends: invocation.friends,
            mentions: invocation.mentions,
            reply_to: invocation.reply_to,
            at_ms: invocation.at_ms,
            facts: &[],
        };
        let read = |json: &str| read_content(json, &self.limits);
        let mut ruling = self.generation.command(to_scope(scope), &asked, &read);
        self.failed(&mut ruling.trail, || Asked::command(invocation));
        CommandRuling {
            verdict: to_command_verdict(ruling.outcome),
            effects: ruling.effects.into_iter().map(to_effect).collect(),
            hooks: ruling.records.iter().map(to_trace).collect(),
            reads: aside::reads(&mut ruling.trail),
        }
    }

    fn has_rules(&self) -> bool {
        self.generation.has_rules()
    }

    fn rule(&self, occasion: &Occasion, decides: bool) -> RuleRuling {
        let ruling = self.generation.rule(&to_occasion(occasion), decides);
        self.ruled(occasion, decides, ruling)
    }

    fn rule_schedules(&self) -> Vec<(String, Vec<(String, runtime::When)>)> {
        let rules = self.generation.bindings().iter();
        let rules = rules.filter(|binding| binding.hook == runtime::Hook::AdminRule);
        let timed = rules.filter_map(|binding| {
            let version = binding.loaded.as_ref().ok()?;
            Some((binding.plugin.clone(), version.schedules().to_vec()))
        });
        timed.filter(|(_, times)| !times.is_empty()).collect()
    }

    fn rule_of(&self, plugin: &str, occasion: &Occasion) -> RuleRuling {
        let ruling = self.generation.rule_of(plugin, &to_occasion(occasion));
        self.ruled(occasion, false, ruling)
    }

    fn not_stored(&self, attempt: Attempt) {
        if let Some(aside) = &self.aside {
            aside.keep(attempt);
        }
    }

    fn keeps_attempts(&self) -> bool {
        let aside = self.aside.as_ref();
        aside.is_some_and(|aside| aside.keeps_attempts())
    }
}

impl Pinned {
    /// What made calls fail is set aside.
    fn failed(&self, trail: &mut runtime::Trail, asked: impl Fn() -> Asked) {
        if trail.failures.is_empty() {
            return;
        }
        if let Some(aside) = &self.aside {
            let failures = std::mem::take(&mut trail.failures);
            aside.failed(&self.generation, failures, asked);
        }
    }

    /// What rules said, set aside for replays.
    fn ruled(
        &self,
        occasion: &Occasion,
        decides: bool,
        mut ruling: runtime::RuleRuling,
    ) -> RuleRuling {
        let asked = || Asked::rule(occasion, decides);
        self.failed(&mut ruling.trail, asked);
        if let Some(aside) = &self.aside
            && !ruling.records.is_empty()
        {
            let hooks = ruling.records.iter().map(to_trace).collect();
            let reads = aside::reads(&mut ruling.trail);
            let record = aside::record(self.generation.number, hooks, reads);
            aside.occurred(asked(), occasion.at_ms, record);
        }
        to_rule_ruling(ruling)
    }
}

/// A plugin's content is checked like a client's; what is wrong with it is the plugin's failure.
pub fn read_content(json: &str, limits: &ContentLimits) -> Result<runtime::SeenContent, String> {
    let value = serde_json::from_str(json).map_err(|_| "the content is not JSON".to_owned())?;
    let content = Content::parse(value, limits).map_err(|refusal| refusal.message.into_owned())?;
    Ok(runtime::SeenContent {
        content_type: content.kind().to_owned(),
        text: content.text().to_owned(),
    })
}

fn to_occasion(occasion: &Occasion) -> runtime::Occasion<'_> {
    runtime::Occasion {
        kind: occasion.kind,
        user: &occasion.user,
        username: &occasion.username,
        actor: &occasion.actor,
        address: &occasion.address,
        device: &occasion.device,
        device_kind: &occasion.device_kind,
        conversation: &occasion.conversation,
        what: &occasion.what,
        text: &occasion.text,
        at_ms: occasion.at_ms,
        facts: &[],
    }
}

fn to_rule_ruling(ruling: runtime::RuleRuling) -> RuleRuling {
    RuleRuling {
        rule: to_rule(ruling.rule),
        actions: ruling.actions.into_iter().map(to_action).collect(),
    }
}

fn to_site(site: Site<'_>) -> runtime::Site<'_> {
    runtime::Site {
        scope: to_scope(site.scope),
        conversation: site.conversation,
    }
}

/// The host's scope as the runtime's.
pub fn to_scope(scope: Scope) -> runtime::Scope {
    match scope {
        Scope::Direct => runtime::Scope::Direct,
        Scope::Group => runtime::Scope::Group,
        Scope::Own => runtime::Scope::Own,
        Scope::Outside => runtime::Scope::Outside,
    }
}

fn to_recent(entry: &Recent) -> runtime::RecentEntry<'_> {
    runtime::RecentEntry {
        seq: entry.seq,
        sender: &entry.sender,
        at_ms: entry.at_ms,
        kind: &entry.kind,
        text: &entry.text,
    }
}

fn to_command_verdict(outcome: runtime::CommandOutcome) -> CommandVerdict {
    match outcome {
        runtime::CommandOutcome::Done => CommandVerdict::Done,
        runtime::CommandOutcome::Reply(content) => CommandVerdict::Reply(content),
        runtime::CommandOutcome::Send(content) => CommandVerdict::Send(content),
        runtime::CommandOutcome::Pass => CommandVerdict::Pass,
        runtime::CommandOutcome::Reject { by, reason } => CommandVerdict::Reject {
            by,
            reason: reason.code,
        },
        runtime::CommandOutcome::Unavailable { by, .. } => CommandVerdict::Unavailable { by },
    }
}

fn to_rule(rule: runtime::Rule) -> Rule {
    match rule {
        runtime::Rule::Abstain => Rule::Abstain,
        runtime::Rule::Allow => Rule::Allow,
        runtime::Rule::Deny { by, reason } => Rule::Deny {
            by,
            reason: reason.code,
        },
        runtime::Rule::RequireApproval { by, reason } => Rule::RequireApproval {
            by,
            reason: reason.code,
        },
        runtime::Rule::Unavailable { by, .. } => Rule::Unavailable { by },
    }
}

fn to_action(action: runtime::RuleAction) -> RuleAction {
    RuleAction {
        by: action.by,
        act: match action.act {
            runtime::RuleAct::BanUser => RuleAct::BanUser,
            runtime::RuleAct::BanAddress => RuleAct::BanAddress,
            runtime::RuleAct::BanDevice => RuleAct::BanDevice,
            runtime::RuleAct::MuteUser => RuleAct::MuteUser,
            runtime::RuleAct::EndSessions => RuleAct::EndSessions,
            runtime::RuleAct::Label => RuleAct::Label,
            runtime::RuleAct::Unlabel => RuleAct::Unlabel,
            runtime::RuleAct::Notify => RuleAct::Notify,
            runtime::RuleAct::KvPut => RuleAct::KvPut,
            runtime::RuleAct::KvDelete => RuleAct::KvDelete,
        },
        subject: action.subject,
        quota: action.quota,
        for_ms: action.for_ms,
        text: action.text,
    }
}

fn to_verdict(verdict: runtime::Verdict) -> Verdict {
    match verdict {
        runtime::Verdict::Pass => Verdict::Pass,
        runtime::Verdict::Reject { by, reason } => Verdict::Reject {
            by,
            reason: reason.code,
        },
        runtime::Verdict::Drop { by, reason } => Verdict::Drop {
            by,
            reason: reason.code,
        },
        runtime::Verdict::Unavailable { by, .. } => Verdict::Unavailable { by },
        runtime::Verdict::Hold { by, reason, cause } => {
            let cause = match cause {
                runtime::HoldCause::Verdict => HoldCause::Verdict,
                runtime::HoldCause::Failed => HoldCause::Failed,
                runtime::HoldCause::Absent => HoldCause::Absent,
            };
            Verdict::Hold {
                by,
                reason: reason.code,
                cause,
            }
        }
    }
}

fn to_effect(effect: runtime::Effect) -> Effect {
    let put = effect.kind == runtime::EffectKind::KvPut;
    Effect {
        namespace: effect.namespace,
        quota: effect.quota,
        put,
        key: effect.key,
        value: effect.value,
    }
}

pub fn to_trace(record: &runtime::HookRecord) -> HookTrace {
    let outcome = match record.outcome {
        runtime::Outcome::Passed => HookOutcome::Passed,
        runtime::Outcome::Replaced => HookOutcome::Replaced,
        runtime::Outcome::Rejected => HookOutcome::Rejected,
        runtime::Outcome::Held => HookOutcome::Held,
        runtime::Outcome::Dropped => HookOutcome::Dropped,
        runtime::Outcome::Failed => HookOutcome::Failed,
        runtime::Outcome::Absent => HookOutcome::Absent,
    };
    HookTrace {
        binding: record.binding,
        outcome,
        duration_us: record.duration_us,
        decision: record.decision,
    }
}
