//! One replay at work: the newest commands first, each hook of the version asked what was asked then, in a runtime of its
//! own. One thread, which rests as long as it works; what serves notices nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kith_runtime::{Binding, BindingScope, Generation, Hook, Runtime, Scope, Version};
use serde_json::{Value, json};

use super::Replays;
use super::asked::Asked;
use super::attempt::{Attempt, Case, Occurred, Place};
use super::cases::Stored;
use super::ready::{self, Question, Ready, Recording};
use super::recorded::Recorded;
use super::report::{Came, Job};
use super::said::{self, Said};
use crate::content::ContentLimits;
use crate::entry::{HookOutcome, HookTrace};
use crate::journey::store_refusal;
use crate::plugins::rollout::{Served, ToReplay};
use crate::plugins::values::StoredValues;
use crate::refusal::{Code, Refusal};
use crate::store::StoreError;

/// Commits looked at before others get their turn.
const PAGE: usize = 100;
/// Held messages that are looked at.
const HELD_MOST: usize = 1_000;
/// How often a hook that did not finish in time is asked again: on a busy machine that is not its doing.
const TIMEOUTS: usize = 3;
/// The hooks that are asked again.
const HOOKS: [Hook; 4] = [
    Hook::MessageStrategy,
    Hook::ContentFilter,
    Hook::Command,
    Hook::AdminRule,
];

/// What is asked.
struct Asking {
    plugin: String,
    /// Every hook it has, those that are not asked again among them.
    exported: Vec<Hook>,
    /// What tells today's configuration from others.
    config_print: String,
    generation: Generation,
    /// Those it has, and where it would be asked were it bound as it wishes.
    hooks: Vec<(Hook, BindingScope)>,
    /// The newest entries its strategy wants to see.
    recent: usize,
    commands: Vec<String>,
    recorded: Arc<Recorded>,
    limits: ContentLimits,
}

impl Replays {
    /// To its end, whatever it is.
    pub(super) async fn run(self: Arc<Self>, wanted: ToReplay, job: Arc<Job>) {
        let ended = self.ask_all(wanted, &job).await;
        job.end(ended.map_err(|refusal| refusal.message.into_owned()));
    }

    async fn ask_all(&self, wanted: ToReplay, job: &Arc<Job>) -> Result<(), Refusal> {
        let asking = Arc::new(self.prepare(wanted).await?);
        job.asks(&asking.exported);
        let mut plans = HashMap::new();
        let mut aside = self.aside_of(job.last).await?;
        let mut before = u64::MAX;
        while job.wants_more() {
            let page = self.judged.judged_before(before, PAGE).await;
            let page = page.map_err(|e| store_refusal(&e))?;
            let mut ready = Vec::with_capacity(PAGE);
            for judged in page.entries {
                let at_ms = judged.entry.at;
                self.take_newer(&mut aside, at_ms, &mut ready, (&*asking, &mut plans))
                    .await?;
                let stored = self.of_entry(judged).await.map_err(|e| store_refusal(&e))?;
                ready.extend(self.ready(stored, &asking, &mut plans).await?);
            }
            if page.next.is_none() {
                self.take_newer(&mut aside, 0, &mut ready, (&*asking, &mut plans))
                    .await?;
            }
            ask_page(&asking, ready, job).await?;
            match page.next {
                Some(next) => before = next,
                None => break,
            }
        }
        Ok(())
    }

    /// The version in a runtime of its own: nothing it does counts, and nothing that serves waits for it.
    async fn prepare(&self, wanted: ToReplay) -> Result<Asking, Refusal> {
        let recorded = Arc::new(Recorded::new(StoredValues(self.values.clone())));
        let (settings, values) = (self.rollout.trial_settings(), recorded.clone());
        let (plugin, config_print) = (wanted.plugin.clone(), wanted.config_print.clone());
        let limits = self.rollout.content_limits();
        let prepared = tokio::task::spawn_blocking(move || {
            let runtime = Runtime::with_values(settings, values)?;
            runtime.prepare(&wanted.component, &wanted.config)
        });
        let version: Arc<Version> = prepared
            .await
            .map_err(|_| died())?
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        let hooks = HOOKS.into_iter().filter_map(|hook| {
            let wished = Binding::as_wished(&version, hook)?;
            Some((hook, wished.scope))
        });
        let hooks = hooks.collect();
        let generation = said::generation(&version, &HOOKS);
        Ok(Asking {
            plugin,
            config_print,
            exported: version.inspection().hooks.clone(),
            recent: generation.recent(Scope::Direct) as usize,
            commands: version
                .commands()
                .map(|(name, _)| name.to_owned())
                .collect(),
            hooks,
            generation,
            recorded,
            limits,
        })
    }

    /// What stands in no log, the newest first.
    async fn aside_of(&self, last: usize) -> Result<VecDeque<(u64, Aside)>, Refusal> {
        let mut aside: Vec<(u64, Aside)> = Vec::new();
        let attempts = self.aside.attempts().into_iter();
        aside.extend(attempts.map(|attempt| (attempt.at_ms(), Aside::Attempt(Box::new(attempt)))));
        let occasions = self.aside.occasions().into_iter();
        aside.extend(occasions.map(|one| (one.at_ms, Aside::Occasion(Box::new(one)))));
        let mut after = None;
        let mut held = 0;
        while held < HELD_MOST {
            let page = self.journey.log.held_page(None, after, PAGE).await;
            let page = page.map_err(|e| store_refusal(&e))?;
            let Some(newest) = page.last() else { break };
            after = Some(newest.id);
            held += page.len();
            for one in page {
                let stored = self.of_held(&one).await.map_err(|e| store_refusal(&e))?;
                aside.push((one.at, Aside::Held(stored)));
            }
        }
        aside.sort_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
        aside.truncate(last);
        Ok(aside.into())
    }

    /// Makes ready what is newer than an entry and stands in no log.
    async fn take_newer(
        &self,
        aside: &mut VecDeque<(u64, Aside)>,
        at_ms: u64,
        ready: &mut Vec<Ready>,
        (asking, plans): (&Asking, &mut Plans),
    ) -> Result<(), Refusal> {
        while aside.front().is_some_and(|(when, _)| *when >= at_ms) {
            let Some((_, one)) = aside.pop_front() else {
                return Ok(());
            };
            match one {
                Aside::Held(stored) => ready.extend(self.ready(stored, asking, plans).await?),
                Aside::Attempt(attempt) => {
                    let case = Box::new(Case {
                        place: Place::Nowhere,
                        attempt: *attempt,
                    });
                    ready.extend(self.ready(Stored::Case(case), asking, plans).await?);
                }
                Aside::Occasion(occurred) => {
                    let served = self.served(plans, occurred.record.generation).await?;
                    let mut occasion = ready::occasion(*occurred, asking.rule(), &served);
                    occasion.config_changed = asking.was_configured_otherwise(&served);
                    ready.push(occasion);
                }
            }
        }
        Ok(())
    }

    async fn served(&self, plans: &mut Plans, generation: u64) -> Result<Arc<[Served]>, Refusal> {
        if let Some(known) = plans.get(&generation) {
            return Ok(known.clone());
        }
        let served: Arc<[Served]> = self.rollout.served(generation).await?.into();
        plans.insert(generation, served.clone());
        Ok(served)
    }

    /// One stored command, with every question to the version about it; nothing where nobody was asked.
    async fn ready(
        &self,
        stored: Stored,
        asking: &Asking,
        plans: &mut Plans,
    ) -> Result<Option<Ready>, Refusal> {
        let case = match stored {
            Stored::NotAsked => return Ok(None),
            Stored::Skipped(why) => return Ok(Some(ready::skipped(why))),
            Stored::Case(case) => case,
        };
        let served = self.served(plans, case.attempt.record.generation).await?;
        let context = async {
            Ok::<_, StoreError>(match self.context(&case, asking.recent).await? {
                Ok(context) => Ok(self.may_see(&case, context).await?),
                Err(why) => Err(why),
            })
        };
        let context = context.await.map_err(|e| store_refusal(&e))?;
        let mut ready = Ready {
            place: ready::place_json(&case),
            reads: Vec::new(),
            questions: Vec::new(),
            config_changed: asking.was_configured_otherwise(&served),
            skipped: None,
        };
        let rules = |hook: &Hook| *hook == Hook::AdminRule;
        for &(hook, scope) in asking.hooks.iter().filter(|(hook, _)| !rules(hook)) {
            let trace = match ready::recorded(
                &case.attempt.record.hooks,
                &served,
                (&asking.plugin, hook),
            ) {
                Recording::Trace(at, trace, version) => Some((at, trace, version)),
                Recording::NotBound if scope.covers(ready::in_scope(case.attempt.kind)) => None,
                Recording::NotBound | Recording::NotReached => continue,
            };
            let shown = match ready::shown(&case.attempt, trace.as_ref().map(|(at, ..)| *at)) {
                Ok(shown) => shown,
                Err(why) => {
                    ready.skipped = Some(why);
                    continue;
                }
            };
            let (recent, approximate) = match (&context, hook) {
                (Ok(context), Hook::MessageStrategy) => (&context.recent[..], context.approximate),
                (Err(why), Hook::MessageStrategy) => {
                    ready.skipped = Some(*why);
                    continue;
                }
                _ => (&[][..], false),
            };
            if let Some(asked) = ready::asked(&case.attempt, hook, shown.as_ref(), recent)
                && (trace.is_some() || asking.answers(&asked))
            {
                ready.questions.push(Question {
                    hook,
                    asked,
                    trace: trace.map(|(_, trace, version)| (trace, version)),
                    approximate,
                });
            }
        }
        let beside = case.attempt.record.beside;
        ready.reads = beside.map(|beside| beside.reads).unwrap_or_default();
        Ok(Some(ready))
    }
}

type Plans = HashMap<u64, Arc<[Served]>>;

/// What stands in no log.
enum Aside {
    Held(Stored),
    Attempt(Box<Attempt>),
    Occasion(Box<Occurred>),
}

impl Asking {
    /// Whose rule is asked, and whether there is one.
    fn rule(&self) -> (&str, bool) {
        let has_rule = self.hooks.iter().any(|(hook, _)| *hook == Hook::AdminRule);
        (&self.plugin, has_rule)
    }

    /// Whether the plugin was bound with a configuration that is not today's.
    fn was_configured_otherwise(&self, served: &[Served]) -> bool {
        let mut own = served.iter().filter(|served| served.plugin == self.plugin);
        let print = own.find_map(|served| served.config_print.as_deref());
        print.is_some_and(|print| print != self.config_print)
    }

    /// Whether it would have been asked, had it been bound.
    fn answers(&self, asked: &Asked) -> bool {
        match asked {
            Asked::Command(typed) => self.commands.contains(&typed.name),
            _ => true,
        }
    }
}

fn died() -> Refusal {
    Refusal::new(Code::Internal, "a replay ended unexpectedly")
}

/// Asks everything of a page and notes what comes of it, then rests as long as that took.
async fn ask_page(asking: &Arc<Asking>, ready: Vec<Ready>, job: &Arc<Job>) -> Result<(), Refusal> {
    let began = Instant::now();
    let (asking, noting) = (asking.clone(), job.clone());
    let asked = tokio::task::spawn_blocking(move || {
        for one in ready {
            if !noting.wants_more() {
                return;
            }
            noting.add(ask_one(&asking, one));
        }
    });
    asked.await.map_err(|_| died())?;
    if job.wants_more() {
        tokio::time::sleep(began.elapsed()).await;
    }
    Ok(())
}

fn ask_one(asking: &Asking, one: Ready) -> Came {
    let mut came = Came {
        skipped: one.skipped,
        config_changed: one.config_changed,
        ..Came::default()
    };
    for question in one.questions {
        let recorded = question.trace.as_ref().map(|(trace, _)| trace);
        asking
            .recorded
            .set(&one.reads, recorded.map(|trace| trace.binding));
        let said = ask(asking, &question.asked, recorded);
        came.replayed = true;
        came.approximate |= question.approximate || asking.recorded.missed();
        if differs(recorded, said.as_ref()) {
            let mut told = one.place.clone();
            told["hook"] = question.hook.as_str().into();
            told["recorded"] = match &question.trace {
                Some((trace, version)) => json!({"outcome": trace.outcome, "version": version}),
                None => Value::Null,
            };
            told["now"] = match said {
                Some(said) => {
                    let mut now = said.why;
                    now["outcome"] = json!(said.outcome);
                    now
                }
                None => Value::Null,
            };
            came.differ.push(told);
        }
    }
    came
}

fn ask(asking: &Asking, asked: &Asked, recorded: Option<&HookTrace>) -> Option<Said> {
    let answered = recorded.is_none_or(HookTrace::answered);
    let mut said = said::ask(&asking.generation, asked, &asking.limits);
    for _ in 1..TIMEOUTS {
        if !answered || !said.as_ref().is_some_and(Said::timed_out) {
            break;
        }
        said = said::ask(&asking.generation, asked, &asking.limits);
    }
    said
}

/// Whether what is said is another decision. One that was not asked let all pass.
fn differs(recorded: Option<&HookTrace>, said: Option<&Said>) -> bool {
    match (recorded, said) {
        (Some(trace), Some(said)) if !trace.answered() => trace.outcome != said.outcome,
        (Some(trace), Some(said)) => {
            (trace.outcome, trace.decision) != (said.outcome, said.decision)
        }
        (None, Some(said)) => (HookOutcome::Passed, 0) != (said.outcome, said.decision),
        (Some(_), None) => true,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_was_not_bound_differs_where_it_does_anything() {
        let said = |outcome, decision| Said {
            outcome,
            decision,
            why: Value::Null,
            failure: None,
        };
        assert!(!differs(None, Some(&said(HookOutcome::Passed, 0))));
        assert!(differs(None, Some(&said(HookOutcome::Passed, 1))));
        assert!(differs(None, Some(&said(HookOutcome::Held, 1))));
        assert!(!differs(None, None));
    }
}
