//! The filters' part of the chain: texts to a ruling. A filter reports; masking, refusing and holding happen here, and
//! the next filter sees what was masked.

use super::fingerprint::Fingerprint;
use super::{mask::mask, settle, verdict_without_answer};
use crate::bindings::content_filter::{Hit, Text};
use crate::generation::{Binding, Generation};
use crate::hook::{Hook, Level};
use crate::instance::{Exports, Instance};
use crate::ruling::{FilterRuling, FoundHit, HoldCause, Outcome, Reason, Trail, Verdict};
use crate::shadow::{Asked, Said};
use crate::share::Site;
use crate::version::Fault;

/// The code of a reason that is a filter's hit; the rule is in its text.
const HIT_CODE: &str = "content";

impl Generation {
    /// Asks the filters about texts about to be stored. `at_ms` is the message's time, 0 where there is none. Blocks
    /// while the guests compute, at most two hard stops for each.
    pub fn filter<'a>(
        &self,
        site: impl Into<Site<'a>>,
        texts: &[Text<'_>],
        at_ms: u64,
    ) -> FilterRuling {
        self.filter_at(site.into(), texts, at_ms)
    }

    fn filter_at(&self, site: Site<'_>, texts: &[Text<'_>], at_ms: u64) -> FilterRuling {
        let mut ruling = FilterRuling {
            verdict: Verdict::Pass,
            masked: vec![None; texts.len()],
            hits: Vec::new(),
            records: Vec::with_capacity(self.chain(Hook::ContentFilter, site.scope).len()),
            trail: Trail::default(),
        };
        if texts.is_empty() {
            return ruling;
        }
        for place in self.asked(Hook::ContentFilter, site) {
            let binding = &self.bindings()[usize::from(place)];
            let found = {
                let changed: Vec<Text<'_>>;
                let shown = if ruling.masked.iter().all(Option::is_none) {
                    texts
                } else {
                    changed = as_masked(texts, &ruling.masked);
                    &changed
                };
                let notes = (&mut ruling.records, &mut ruling.trail);
                let found = self.consult(place, at_ms, notes, |instance, exports| {
                    ask(instance, exports, (binding, place), shown)
                });
                if let Some(shadow) = self.shadow_of(binding) {
                    let said = match &found {
                        Ok((hits, _)) => said(hits),
                        Err(no_answer) => no_answer.said(),
                    };
                    shadow.offer(&binding.version, said, || Asked::filter(site, shown, at_ms));
                }
                found
            };
            let next = match found {
                Ok((hits, took)) => {
                    let fingerprint = fingerprint(&hits);
                    let (verdict, outcome) = take(&mut ruling, binding, texts, hits);
                    let note = self.note(place, outcome, took, fingerprint);
                    ruling.records.push(note);
                    verdict
                }
                Err(no_answer) => {
                    verdict_without_answer(binding, no_answer).unwrap_or(Verdict::Pass)
                }
            };
            if settle(&mut ruling.verdict, next) {
                return ruling;
            }
        }
        if self.has_shadows(Hook::ContentFilter) {
            let shown = as_masked(texts, &ruling.masked);
            for shadow in self.alone(Hook::ContentFilter, site) {
                shadow.offer("", said(&[]), || Asked::filter(site, &shown, at_ms));
            }
        }
        ruling
    }
}

/// Asks one instance, and checks what it finds.
pub(crate) fn ask(
    instance: &mut Instance,
    exports: &Exports,
    (binding, place): (&Binding, u16),
    shown: &[Text<'_>],
) -> Result<Vec<FoundHit>, Fault> {
    let (store, guest) = instance.filter(exports)?;
    let hits = guest.call_scan(store, shown)?;
    check(binding, place, shown, hits).map_err(Fault::BadOutput)
}

/// What hits mean, for a comparison: where they are and how bad; which rule found them is not told to anybody.
pub(crate) fn said(hits: &[FoundHit]) -> Said {
    let worst = hits.iter().map(|hit| hit.level).max();
    let outcome = worst.map_or(Outcome::Passed, outcome_of);
    let mut found: Vec<_> = hits
        .iter()
        .map(|hit| (hit.text, hit.start, hit.end, hit.level))
        .collect();
    found.sort_unstable();
    found.dedup();
    Said::new(outcome).with("hits", format!("{found:?}"))
}

const fn outcome_of(level: Level) -> Outcome {
    match level {
        Level::Mask => Outcome::Replaced,
        Level::Hold => Outcome::Held,
        Level::Reject => Outcome::Rejected,
    }
}

fn as_masked<'a>(texts: &[Text<'a>], masked: &'a [Option<String>]) -> Vec<Text<'a>> {
    let both = texts.iter().zip(masked);
    both.map(|(text, masked)| Text {
        place: text.place,
        text: masked.as_deref().unwrap_or(text.text),
    })
    .collect()
}

/// One list of hits for each text, each in range and of a known level; or what is wrong.
fn check(
    binding: &Binding,
    place: u16,
    texts: &[Text<'_>],
    answer: Vec<Vec<Hit>>,
) -> Result<Vec<FoundHit>, String> {
    if answer.len() != texts.len() {
        return Err(format!(
            "{} lists of hits for {} texts",
            answer.len(),
            texts.len()
        ));
    }
    let mut found = Vec::new();
    for (index, (text, hits)) in (0u32..).zip(texts.iter().zip(answer)) {
        if hits.is_empty() {
            continue;
        }
        let length = u32::try_from(text.text.chars().count()).unwrap_or(u32::MAX);
        for Hit {
            start,
            end,
            level,
            rule,
        } in hits
        {
            if start >= end || end > length {
                return Err(format!(
                    "a hit from {start} to {end} in a text of {length} characters"
                ));
            }
            let known = binding
                .levels
                .get(&level)
                .copied()
                .or_else(|| Level::from_name(&level));
            let level = known.ok_or_else(|| format!("a hit of the unknown level {level:.64?}"))?;
            found.push(FoundHit {
                binding: place,
                text: index,
                start,
                end,
                level,
                rule,
            });
        }
    }
    Ok(found)
}

/// Of every hit; 0 where there is none.
fn fingerprint(hits: &[FoundHit]) -> u32 {
    if hits.is_empty() {
        return 0;
    }
    let all = hits.iter().fold(Fingerprint::of("hits"), |so_far, hit| {
        so_far
            .number(u64::from(hit.text))
            .number(u64::from(hit.start))
            .number(u64::from(hit.end))
            .number(hit.level as u64)
            .text(&hit.rule)
    });
    all.end()
}

/// Puts one filter's hits into the ruling.
fn take(
    ruling: &mut FilterRuling,
    binding: &Binding,
    texts: &[Text<'_>],
    hits: Vec<FoundHit>,
) -> (Verdict, Outcome) {
    let Some(worst) = hits.iter().max_by_key(|hit| hit.level) else {
        return (Verdict::Pass, Outcome::Passed);
    };
    let by = binding.plugin.clone();
    let reason = Reason {
        code: HIT_CODE.to_owned(),
        text: worst.rule.clone(),
    };
    let outcome = outcome_of(worst.level);
    let verdict = match worst.level {
        Level::Mask => Verdict::Pass,
        Level::Hold => Verdict::Hold {
            by,
            reason,
            cause: HoldCause::Verdict,
        },
        Level::Reject => Verdict::Reject { by, reason },
    };
    let mut places = Vec::new();
    for (index, text) in (0u32..).zip(texts) {
        places.clear();
        let masks = hits
            .iter()
            .filter(|hit| hit.text == index && hit.level == Level::Mask);
        places.extend(masks.map(|hit| (hit.start, hit.end)));
        if !places.is_empty() {
            let before = &mut ruling.masked[index as usize];
            let masked = mask(before.as_deref().unwrap_or(text.text), &mut places);
            *before = Some(masked);
        }
    }
    ruling.hits.extend(hits);
    (verdict, outcome)
}
