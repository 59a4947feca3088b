//! The words as an automaton: built once from the configuration, carried as bytes,
//! asked about texts. Every word that occurs is found, also one inside another.

use std::collections::HashMap;

use daachorse::charwise::CharwiseDoubleArrayAhoCorasick;
use kith_plugin::Hit;
use pinyin::ToPinyin;

use crate::fold::{Script, fold, script};

/// One configured word.
pub struct Word<'a> {
    pub word: &'a str,
    pub level: Level,
    pub category: Option<&'a str>,
}

/// What a hit does, the milder first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Mask = 0,
    Hold = 1,
    Reject = 2,
}

impl Level {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "mask" => Some(Self::Mask),
            "hold" => Some(Self::Hold),
            "reject" => Some(Self::Reject),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Hold => "hold",
            Self::Reject => "reject",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Mask, Self::Hold, Self::Reject]
            .into_iter()
            .find(|level| *level as u8 == number)
    }
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    level: Level,
    /// Characters that count.
    length: u16,
    category: u16,
    /// The script whose boundary the word's beginning and end need.
    bounded_start: bool,
    bounded_end: bool,
}

/// The words, ready to be asked.
///
/// Every word that occurs is reported, also one inside another, so that the strictest level is never hidden. A word
/// whose first (last) character belongs to a script with word boundaries must begin (end) at one in the text:
///
/// | word | text | hit |
/// |---|---|---|
/// | `ass` | `an ass.` | yes |
/// | `ass` | `a s s` | yes: what stands between does not count |
/// | `ass` | `class`, `as soon` | no: the word goes on |
/// | `ass` | `你ass好` | yes: another script is a boundary |
/// | `赌博` | `网络赌 博站` | yes: Han has no boundaries |
pub struct Words {
    /// `None` without words.
    automaton: Option<CharwiseDoubleArrayAhoCorasick<u32>>,
    rules: Vec<Rule>,
    categories: Vec<String>,
}

/// What hits of words without a category are called.
const UNNAMED: &str = "words";

impl Words {
    /// Builds the automaton; the error names the row that is no word.
    pub fn build(words: &[Word<'_>], pinyin: bool) -> Result<Self, String> {
        let mut categories = vec![UNNAMED.to_owned()];
        let mut by_form: HashMap<String, Rule> = HashMap::with_capacity(words.len());
        for (row, word) in words.iter().enumerate() {
            let form: String = word.word.chars().filter_map(fold).collect();
            let length = u16::try_from(form.chars().count()).unwrap_or(0);
            if length == 0 {
                return Err(format!(
                    "word {}: no letter or digit in it, or too long",
                    row + 1
                ));
            }
            let category = match word.category {
                None => 0,
                Some(name) => category_of(&mut categories, name)?,
            };
            if pinyin && let Some(spelt) = spelling(&form) {
                let length = u16::try_from(spelt.len()).unwrap_or(u16::MAX);
                let rule = Rule {
                    level: word.level,
                    length,
                    category,
                    bounded_start: true,
                    bounded_end: true,
                };
                keep_strictest(&mut by_form, spelt, rule);
            }
            let bounded = |c: Option<char>| c.is_some_and(|c| script(c) != Script::Unbounded);
            let rule = Rule {
                level: word.level,
                length,
                category,
                bounded_start: bounded(form.chars().next()),
                bounded_end: bounded(form.chars().next_back()),
            };
            keep_strictest(&mut by_form, form, rule);
        }
        let (forms, rules): (Vec<String>, Vec<Rule>) = by_form.into_iter().unzip();
        let automaton = match forms.is_empty() {
            true => None,
            false => {
                let numbered = forms.iter().zip(0_u32..);
                Some(
                    CharwiseDoubleArrayAhoCorasick::with_values(numbered)
                        .map_err(|error| error.to_string())?,
                )
            }
        };
        Ok(Self {
            automaton,
            rules,
            categories,
        })
    }

    /// Every hit in a text, in Unicode scalar values of it.
    pub fn find(&self, text: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        let Some(automaton) = &self.automaton else {
            return hits;
        };
        let mut stepper = automaton.find_overlapping_stepper();
        // Where the characters that count stand in the text; only read when something matches.
        let mut places: Vec<u32> = Vec::with_capacity(text.len().min(256));
        for (place, c) in (0_u32..).zip(text.chars()) {
            let Some(folded) = fold(c) else { continue };
            stepper.consume(folded);
            places.push(place);
            for found in stepper.matches() {
                self.check(text, &places, found.value(), &mut hits);
            }
        }
        hits
    }

    fn check(&self, text: &str, places: &[u32], rule: u32, hits: &mut Vec<Hit>) {
        let Some(rule) = self.rules.get(rule as usize) else {
            return;
        };
        let Some(first) = places.len().checked_sub(usize::from(rule.length)) else {
            return;
        };
        let (start, end) = (places[first], places[places.len() - 1] + 1);
        if (rule.bounded_start && goes_on(text, start, start.checked_sub(1)))
            || (rule.bounded_end && goes_on(text, end - 1, Some(end)))
        {
            return;
        }
        let category = self
            .categories
            .get(usize::from(rule.category))
            .map_or(UNNAMED, String::as_str);
        hits.push(Hit {
            start,
            end,
            level: rule.level.name().to_owned(),
            rule: category.to_owned(),
        });
    }

    /// How many forms are looked for.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// The words as bytes, for `from_bytes`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let automaton = self
            .automaton
            .as_ref()
            .map(CharwiseDoubleArrayAhoCorasick::serialize)
            .unwrap_or_default();
        let mut out = Vec::with_capacity(automaton.len() + self.rules.len() * 6 + 64);
        for part in [self.categories.len(), self.rules.len()] {
            out.extend_from_slice(&(part as u32).to_le_bytes());
        }
        for category in &self.categories {
            out.extend_from_slice(&(category.len() as u32).to_le_bytes());
            out.extend_from_slice(category.as_bytes());
        }
        for rule in &self.rules {
            out.extend_from_slice(&rule.length.to_le_bytes());
            out.extend_from_slice(&rule.category.to_le_bytes());
            out.push(rule.level as u8);
            out.push(u8::from(rule.bounded_start) | u8::from(rule.bounded_end) << 1);
        }
        out.extend_from_slice(&automaton);
        out
    }

    /// What `to_bytes` wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let (categories, rules) = (number(&mut rest)?, number(&mut rest)?);
        let categories = (0..categories)
            .map(|_| {
                let length = number(&mut rest)?;
                String::from_utf8(take(&mut rest, length)?.to_vec()).ok()
            })
            .collect::<Option<Vec<_>>>()?;
        let rules = (0..rules)
            .map(|_| {
                let row = take(&mut rest, 6)?;
                Some(Rule {
                    length: u16::from_le_bytes([row[0], row[1]]),
                    category: u16::from_le_bytes([row[2], row[3]]),
                    level: Level::from_number(row[4])?,
                    bounded_start: row[5] & 1 != 0,
                    bounded_end: row[5] & 2 != 0,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let automaton = match rest.is_empty() {
            true => None,
            false => Some(CharwiseDoubleArrayAhoCorasick::deserialize(rest).ok()?.0),
        };
        Some(Self {
            automaton,
            rules,
            categories,
        })
    }
}

fn keep_strictest(by_form: &mut HashMap<String, Rule>, form: String, rule: Rule) {
    let kept = by_form.entry(form).or_insert(rule);
    if rule.level > kept.level {
        *kept = rule;
    }
}

fn category_of(categories: &mut Vec<String>, name: &str) -> Result<u16, String> {
    let known = categories.iter().position(|known| known == name);
    let place = known.unwrap_or_else(|| {
        categories.push(name.to_owned());
        categories.len() - 1
    });
    u16::try_from(place).map_err(|_| "more than 65,535 categories".to_owned())
}

/// How a word of two or more Han characters is spelt without tones; `None` for every other word.
fn spelling(form: &str) -> Option<String> {
    let syllables: Option<Vec<_>> = form
        .chars()
        .map(|c| c.to_pinyin().map(|sound| sound.plain()))
        .collect();
    let folded = |c: char| if c == 'ü' { 'v' } else { c };
    syllables
        .filter(|syllables| syllables.len() >= 2)
        .map(|syllables| syllables.concat().chars().map(folded).collect())
}

/// Whether a word that has its edge at `edge` goes on at `beside`: the character there is of the same script.
fn goes_on(text: &str, edge: u32, beside: Option<u32>) -> bool {
    let at = |place: u32| text.chars().nth(place as usize);
    match (at(edge), beside.and_then(at)) {
        (Some(edge), Some(beside)) => {
            script(beside) != Script::Unbounded && script(edge) == script(beside)
        }
        _ => false,
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    take(rest, 4)?
        .try_into()
        .ok()
        .map(|bytes| u32::from_le_bytes(bytes) as usize)
}
