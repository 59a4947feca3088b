//! Asks the pinned generation: strategy first, then the filters over every text that would be stored. Turns their
//! rulings into what the journey does: keep, hold, drop, or a refusal.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::admit::Place;
use super::{asked, command};
use crate::content::{Content, ContentLimits};
use crate::conversation::Kind;
use crate::entry::{DecisionRecord, HookTrace, Made, Seq};
use crate::ids::{ConversationId, UserId};
use crate::plugins::{self, Command, Effect, Judge, Scope, Site, Text, Verdict};
use crate::refusal::Refusal;
use crate::store::{HoldCause, PluginWrite};

/// What is asked of the plugins.
pub struct Question<'a> {
    /// `send`, `recall`, `edit`, `react` ….
    pub operation: &'a str,
    pub author: UserId,
    pub place: &'a Place,
    /// The content that would be stored, if the operation carries one.
    pub content: Option<&'a Content>,
    pub text: &'a str,
    pub at_ms: u64,
    /// For operations on an entry: who wrote it, and its age in milliseconds.
    pub target: Option<(UserId, u64)>,
    pub reply_to: Option<Seq>,
    /// The content is an edit's.
    pub edit: bool,
}

/// What the journey is to do.
#[derive(Debug)]
pub enum Judged {
    Keep(Keep),
    Hold(Kept),
    Drop,
}

impl Judged {
    /// It is a plugin's.
    pub fn made(&mut self, made: Option<&Made>) {
        let made = made.map(|made| Box::new(made.clone()));
        match self {
            Self::Keep(keep) => keep.record.made = made,
            Self::Hold(kept) => kept.record.made = made,
            Self::Drop => {}
        }
    }

    /// What is kept is not what was sent, for another reason than a plugin's.
    pub fn replaced(&mut self, replaced: bool) {
        match self {
            Self::Keep(keep) => keep.replaced |= replaced,
            Self::Hold(kept) => kept.replaced |= replaced,
            Self::Drop => {}
        }
    }

    /// What the hook of a command did before, and wants written; `typed` is what it was asked about.
    pub fn after(&mut self, aside: command::Aside, typed: &Content) {
        let (record, wanted) = match self {
            Self::Keep(keep) => (&mut keep.record, &mut keep.effects),
            Self::Hold(kept) => (&mut kept.record, &mut kept.effects),
            Self::Drop => return,
        };
        if aside.hooks.iter().any(HookTrace::replaced) {
            asked::note_sent(record, &typed.to_raw());
        }
        asked::note_earlier(record, aside.reads);
        record.hooks.splice(0..0, aside.hooks);
        wanted.splice(0..0, aside.effects);
    }
}

#[derive(Debug)]
pub struct Keep {
    /// Compact JSON; `None` for operations without content.
    pub content: Option<Box<RawValue>>,
    /// A plugin replaced or masked what was sent.
    pub replaced: bool,
    pub audience: Option<Arc<[UserId]>>,
    /// A strategy answered: windows are its to say, the host's own apply where none did.
    pub by_strategy: bool,
    pub record: DecisionRecord,
    pub effects: Vec<PluginWrite>,
}

/// What is kept back, with everything that was decided about it besides.
#[derive(Debug)]
pub struct Kept {
    /// As it would be stored: replaced and masked.
    pub content: Box<RawValue>,
    /// As it was sent, when that differs and it is to be judged again.
    pub sent: Option<Box<RawValue>>,
    pub replaced: bool,
    pub audience: Option<Arc<[UserId]>>,
    pub effects: Vec<PluginWrite>,
    pub why: Why,
    /// As in `Keep`.
    pub by_strategy: bool,
    pub record: DecisionRecord,
}

/// Who holds a message, and why.
#[derive(Debug)]
pub struct Why {
    pub by: String,
    pub reason: String,
    pub cause: HoldCause,
}

impl Why {
    /// A later reason to hold: what waits for an administrator does not go on when a hook recovers.
    fn or_later(held: Option<Self>, later: Self) -> Self {
        match held {
            Some(first) if first.cause == HoldCause::Verdict => first,
            Some(first) if later.cause != HoldCause::Verdict => first,
            _ => later,
        }
    }
}

/// Judges a command by one generation (I4). Blocks for as long as the guests compute.
pub fn judge(
    judge: &dyn Judge,
    question: &Question<'_>,
    limits: &ContentLimits,
) -> Result<Judged, Refusal> {
    let scope = scope(question.place.kind);
    let sent = question.content.map(Content::to_raw);
    let shown = sent.as_deref().map_or("", RawValue::get);
    let mut ruling = ask_strategy(judge, scope, question, shown);
    let by_strategy = ruling.hooks.iter().any(HookTrace::answered);
    let held = match std::mem::replace(&mut ruling.verdict, Verdict::Pass) {
        Verdict::Pass => None,
        Verdict::Drop { .. } => {
            asked::not_stored(judge, question, strategy_record(judge, question, ruling));
            return Ok(Judged::Drop);
        }
        // The filters are asked all the same: what is released later was masked then.
        Verdict::Hold { by, reason, cause } if question.content.is_some() => {
            Some(Why { by, reason, cause })
        }
        other => {
            asked::not_stored(judge, question, strategy_record(judge, question, ruling));
            return Err(refusal(other));
        }
    };
    let replaced = match ruling.content.take() {
        Some(json) => Some(replacement(&json, question.content, limits)?),
        None => None,
    };
    match replaced.as_ref().or(question.content) {
        Some(content) => {
            let (json, original) = match replaced {
                Some(_) => (content.to_raw(), sent),
                None => (sent.unwrap_or_else(|| content.to_raw()), None),
            };
            filtered(
                judge,
                scope,
                question,
                Proposed {
                    content,
                    json,
                    original,
                    held,
                    by_strategy,
                },
                ruling,
            )
        }
        None => {
            let mut record =
                plugins::record(judge.generation(), std::mem::take(&mut ruling.hooks), &[]);
            asked::note(&mut record, question, std::mem::take(&mut ruling.reads));
            Ok(Judged::Keep(Keep {
                by_strategy,
                ..keep(ruling, None, false, record)
            }))
        }
    }
}

/// Of what ends with the strategies.
fn strategy_record(
    judge: &dyn Judge,
    question: &Question<'_>,
    ruling: plugins::StrategyRuling,
) -> DecisionRecord {
    let mut record = plugins::record(judge.generation(), ruling.hooks, &[]);
    asked::note(&mut record, question, ruling.reads);
    record
}

/// A content that the strategies let through.
struct Proposed<'a> {
    content: &'a Content,
    json: Box<RawValue>,
    /// What was sent, where a strategy replaced it.
    original: Option<Box<RawValue>>,
    /// A strategy holds it.
    held: Option<Why>,
    by_strategy: bool,
}

fn with_masks(content: &Content, masked: Vec<Option<String>>) -> Box<RawValue> {
    content.clone().with_texts(masked).to_raw()
}

/// The filters' part: every text that would be stored passes them.
fn filtered(
    judge: &dyn Judge,
    scope: Scope,
    question: &Question<'_>,
    proposed: Proposed<'_>,
    mut ruling: plugins::StrategyRuling,
) -> Result<Judged, Refusal> {
    let texts = proposed.content.texts(question.edit);
    let asked: Vec<Text<'_>> = texts
        .iter()
        .map(|&(place, text)| Text { place, text })
        .collect();
    let conversation = question.place.conversation.to_string();
    let site = Site {
        scope,
        conversation: &conversation,
    };
    let filtered = judge.filter(site, &asked, question.at_ms);
    let mut record = plugins::record(
        judge.generation(),
        std::mem::take(&mut ruling.hooks),
        &filtered.hooks,
    );
    let mut reads = std::mem::take(&mut ruling.reads);
    reads.extend(filtered.reads);
    asked::note(&mut record, question, reads);
    let held = match filtered.verdict {
        Verdict::Pass => proposed.held,
        Verdict::Drop { .. } => {
            asked::not_stored(judge, question, record);
            return Ok(Judged::Drop);
        }
        Verdict::Hold { by, reason, cause } => {
            Some(Why::or_later(proposed.held, Why { by, reason, cause }))
        }
        other => {
            asked::not_stored(judge, question, record);
            return Err(refusal(other));
        }
    };
    let masked = filtered.masked.iter().any(Option::is_some);
    let was_replaced = proposed.original.is_some();
    if let Some(sent) = proposed
        .original
        .as_ref()
        .or(masked.then_some(&proposed.json))
    {
        asked::note_sent(&mut record, sent);
    }
    let json = match masked {
        true => with_masks(proposed.content, filtered.masked),
        false => proposed.json,
    };
    let replaced = masked || was_replaced;
    let by_strategy = proposed.by_strategy;
    let Some(why) = held else {
        return Ok(Judged::Keep(Keep {
            by_strategy,
            ..keep(ruling, Some(json), replaced, record)
        }));
    };
    let again = replaced && why.cause != HoldCause::Verdict;
    let kept = keep(ruling, None, replaced, record);
    Ok(Judged::Hold(Kept {
        content: json,
        sent: question.content.filter(|_| again).map(Content::to_raw),
        replaced,
        audience: kept.audience,
        effects: kept.effects,
        why,
        by_strategy,
        record: kept.record,
    }))
}

/// The filters' part for a content whose hold an administrator lifts: masks and rejections stand, holds do not.
/// What they mask, and the record of it.
pub fn lifted(
    judge: &dyn Judge,
    (kind, conversation): (Kind, ConversationId),
    (content, edit): (&Content, bool),
    at_ms: u64,
) -> Result<(Option<Box<RawValue>>, DecisionRecord), Refusal> {
    let texts = content.texts(edit);
    let asked: Vec<Text<'_>> = texts
        .iter()
        .map(|&(place, text)| Text { place, text })
        .collect();
    let conversation = conversation.to_string();
    let site = Site {
        scope: scope(kind),
        conversation: &conversation,
    };
    let filtered = judge.filter(site, &asked, at_ms);
    match filtered.verdict {
        Verdict::Pass | Verdict::Hold { .. } => {}
        other => return Err(refusal(other)),
    }
    let masked = filtered.masked.iter().any(Option::is_some);
    let json = masked.then(|| content.clone().with_texts(filtered.masked).to_raw());
    let record = plugins::record(judge.generation(), Vec::new(), &filtered.hooks);
    Ok((json, record))
}

fn keep(
    ruling: plugins::StrategyRuling,
    content: Option<Box<RawValue>>,
    replaced: bool,
    mut record: DecisionRecord,
) -> Keep {
    let audience = ruling.audience;
    record.recall_window_ms = ruling.recall_window_ms;
    Keep {
        content,
        replaced,
        audience: audience.map(|users| users.iter().filter_map(|user| user.parse().ok()).collect()),
        by_strategy: false,
        record,
        effects: ruling.effects.into_iter().map(write).collect(),
    }
}

fn ask_strategy(
    judge: &dyn Judge,
    scope: Scope,
    question: &Question<'_>,
    sent: &str,
) -> plugins::StrategyRuling {
    let place = question.place;
    let conversation = place.conversation.to_string();
    let sender = question.author.to_string();
    let peer = place.peer.map(|peer| peer.to_string()).unwrap_or_default();
    let target = question
        .target
        .map(|(author, _)| author.to_string())
        .unwrap_or_default();
    judge.strategy(
        scope,
        &Command {
            operation: question.operation,
            conversation: &conversation,
            conversation_kind: place.kind.as_str(),
            sender: &sender,
            sender_role: place.role(),
            peer: &peer,
            peer_role: "",
            blocked: place.relation.blocked,
            blocking: place.relation.blocking,
            friends: place.relation.friends,
            muted: place.is_muted(question.at_ms),
            unanswered: u32::from(place.unanswered),
            answered: place.answered,
            content_type: question.content.map_or("", Content::kind),
            text: question.text,
            at_ms: question.at_ms,
            target_sender: &target,
            target_age_ms: question.target.map_or(0, |(_, age)| age),
            recent: &place.recent,
            facts: facts(place.kind, question.content),
            content: sent,
        },
    )
}

/// What the host tells beside the fixed fields: that a group's message mentions everyone.
pub fn facts(kind: Kind, content: Option<&Content>) -> &'static [(&'static str, &'static str)] {
    let mentions_all = kind == Kind::Group
        && content.is_some_and(|content| content.mentions().any(|whom| whom == "all"));
    if mentions_all {
        &[("mention-all", "true")]
    } else {
        &[]
    }
}

/// The scope of what happens in a kind of conversation.
pub fn scope(kind: Kind) -> Scope {
    match kind {
        Kind::Direct => Scope::Direct,
        Kind::Group => Scope::Group,
        Kind::Own => Scope::Own,
    }
}

/// A plugin's content is checked like a client's; what is wrong with it is the plugin's failure, not the sender's.
/// It can name no media but those that were sent: naming one gives it to everybody here.
pub fn replacement(
    json: &str,
    sent: Option<&Content>,
    limits: &ContentLimits,
) -> Result<Content, Refusal> {
    let parsed = serde_json::from_str(json)
        .ok()
        .and_then(|value| Content::parse(value, limits).ok());
    let own = |content: &Content| {
        let sent = sent.map_or_else(Vec::new, Content::media_ids);
        content.media_ids().iter().all(|id| sent.contains(id))
    };
    parsed
        .filter(own)
        .ok_or_else(|| Refusal::unavailable("a plugin gave a content that is not valid"))
}

fn refusal(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Reject { by, reason } => Refusal::by_plugin(&by, &reason),
        Verdict::Unavailable { by } | Verdict::Hold { by, .. } => Refusal::unavailable(format!(
            "the plugin {by} could not judge this; nothing was stored"
        )),
        Verdict::Pass | Verdict::Drop { .. } => Refusal::unavailable("nothing was stored"),
    }
}

/// As `refusal`, of what can be neither held nor dropped: refused where a plugin would do so on its verdict.
pub fn refused_at_once(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Reject { by, reason }
        | Verdict::Drop { by, reason }
        | Verdict::Hold {
            by,
            reason,
            cause: HoldCause::Verdict,
        } => Refusal::by_plugin(&by, &reason),
        Verdict::Hold { by, .. } | Verdict::Unavailable { by } => {
            Refusal::unavailable(format!("the plugin {by} could not judge this"))
        }
        Verdict::Pass => Refusal::unavailable("nothing was stored"),
    }
}

/// An effect as the store takes it.
pub fn write(effect: Effect) -> PluginWrite {
    PluginWrite {
        namespace: effect.namespace.to_string(),
        quota: effect.quota,
        key: effect.key,
        value: effect.put.then_some(effect.value),
    }
}
