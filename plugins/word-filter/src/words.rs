//! The words as an automaton: built once from the configuration, carried as bytes,
//! asked about texts. Every word that occurs is found, also one inside another.

use std::collections::HashMap;

use daachorse::charwise::CharwiseDoubleArrayAhoCorasick;
use kith_plugin::Hit;
use pinyin::ToPinyin;

use crate::fold::{Form, Script, forms, script, toneless};
use crate::spans::Spans;

type Automaton = CharwiseDoubleArrayAhoCorasick<u32>;

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
    /// By its number.
    const ALL: [Self; LEVELS] = [Self::Mask, Self::Hold, Self::Reject];

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
        Self::ALL.get(usize::from(number)).copied()
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
    /// A word as it is spelt: tones do not count.
    pinyin: bool,
}

impl Rule {
    /// What its hits are told apart by.
    fn group(&self) -> usize {
        usize::from(self.category) * LEVELS + self.level as usize
    }
}

const LEVELS: usize = 3;

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
    automaton: Option<Automaton>,
    rules: Vec<Rule>,
    categories: Vec<String>,
    has_pinyin: bool,
}

/// What hits of words without a category are called.
const UNNAMED: &str = "words";

impl Words {
    /// Builds the automaton; the error names the row that is no word.
    pub fn build(words: &[Word<'_>], pinyin: bool) -> Result<Self, String> {
        let mut categories = Categories::default();
        let mut by_form: HashMap<String, Rule> = HashMap::with_capacity(words.len());
        for (row, word) in words.iter().enumerate() {
            let form: String = forms(word.word).into_iter().map(|form| form.c).collect();
            let length = u16::try_from(form.chars().count()).unwrap_or(0);
            if length == 0 {
                return Err(format!(
                    "word {}: no letter or digit in it, or too long",
                    row + 1
                ));
            }
            let category = match word.category {
                None => 0,
                Some(name) => categories.place(name)?,
            };
            if pinyin && let Some(spelt) = spelling(&form) {
                let length = u16::try_from(spelt.len()).unwrap_or(u16::MAX);
                let rule = Rule {
                    level: word.level,
                    length,
                    category,
                    bounded_start: true,
                    bounded_end: true,
                    pinyin: true,
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
                pinyin: false,
            };
            keep_strictest(&mut by_form, form, rule);
        }
        let (words, rules): (Vec<String>, Vec<Rule>) = by_form.into_iter().unzip();
        let automaton = match words.is_empty() {
            true => None,
            false => {
                let numbered = words.iter().zip(0_u32..);
                Some(
                    CharwiseDoubleArrayAhoCorasick::with_values(numbered)
                        .map_err(|error| error.to_string())?,
                )
            }
        };
        Ok(Self::ready(automaton, rules, categories.names))
    }

    fn ready(automaton: Option<Automaton>, rules: Vec<Rule>, categories: Vec<String>) -> Self {
        let has_pinyin = rules.iter().any(|rule| rule.pinyin);
        Self {
            automaton,
            rules,
            categories,
            has_pinyin,
        }
    }

    /// Every hit in a text, in Unicode scalar values of it. Hits of one level and category that touch are one.
    pub fn find(&self, text: &str) -> Vec<Hit> {
        let Some(automaton) = &self.automaton else {
            return Vec::new();
        };
        let forms = forms(text);
        let plain = self.read(automaton, &forms);
        let has_tones = || forms.iter().any(|form| toneless(form.c) != form.c);
        let spelt = (self.has_pinyin && has_tones()).then(|| self.read_spelt(automaton, &forms));
        let spelt = spelt.into_iter().flat_map(Spans::into_spans);
        let mut spans: Vec<_> = plain.into_spans().chain(spelt).collect();
        spans.sort_by_key(|span| (span.start, span.end));
        let hit = |span: crate::spans::Span| Hit {
            start: span.start,
            end: span.end,
            level: Level::ALL[span.group % LEVELS].name().to_owned(),
            rule: self.categories[span.group / LEVELS].clone(),
        };
        spans.into_iter().map(hit).collect()
    }

    fn read(&self, automaton: &Automaton, forms: &[Form]) -> Spans {
        let mut spans = Spans::new(self.categories.len() * LEVELS);
        let mut stepper = automaton.find_overlapping_stepper();
        for (last, form) in forms.iter().enumerate() {
            stepper.consume(form.c);
            for found in stepper.matches() {
                self.check(forms, last, found.value(), &mut spans);
            }
        }
        spans
    }

    /// As `read`, without tones and for spelt words alone; what has no tone in it `read` has found.
    fn read_spelt(&self, automaton: &Automaton, forms: &[Form]) -> Spans {
        let mut spans = Spans::new(self.categories.len() * LEVELS);
        let mut stepper = automaton.find_overlapping_stepper();
        let mut last_tone = None;
        for (last, form) in forms.iter().enumerate() {
            let bare = toneless(form.c);
            if bare != form.c {
                last_tone = Some(last);
            }
            stepper.consume(bare);
            for found in stepper.matches() {
                let spelt = self
                    .rules
                    .get(found.value() as usize)
                    .filter(|rule| rule.pinyin);
                let begin = spelt.and_then(|rule| (last + 1).checked_sub(rule.length.into()));
                if begin.is_some_and(|begin| last_tone.is_some_and(|tone| begin <= tone)) {
                    self.check(forms, last, found.value(), &mut spans);
                }
            }
        }
        spans
    }

    fn check(&self, forms: &[Form], last: usize, rule: u32, spans: &mut Spans) {
        let Some(rule) = self.rules.get(rule as usize) else {
            return;
        };
        let Some(first) = (last + 1).checked_sub(usize::from(rule.length)) else {
            return;
        };
        let begins = !rule.bounded_start || first == 0 || !goes_on(forms, first - 1);
        let ends = !rule.bounded_end || !goes_on(forms, last);
        if begins && ends {
            let (start, end) = (forms[first].start, forms[last].end);
            spans.add(rule.group(), rule.level, start, end);
        }
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
            let flags = [rule.bounded_start, rule.bounded_end, rule.pinyin];
            out.push(
                (0..)
                    .zip(flags)
                    .map(|(bit, flag)| u8::from(flag) << bit)
                    .sum(),
            );
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
                    pinyin: row[5] & 4 != 0,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let automaton = match rest.is_empty() {
            true => None,
            false => Some(CharwiseDoubleArrayAhoCorasick::deserialize(rest).ok()?.0),
        };
        Some(Self::ready(automaton, rules, categories))
    }
}

fn keep_strictest(by_form: &mut HashMap<String, Rule>, form: String, rule: Rule) {
    let kept = by_form.entry(form).or_insert(rule);
    let pinyin = kept.pinyin || rule.pinyin;
    if rule.level > kept.level {
        *kept = rule;
    }
    kept.pinyin = pinyin;
}

/// Categories by the order in which they came.
struct Categories {
    names: Vec<String>,
    places: HashMap<String, u16>,
}

impl Default for Categories {
    fn default() -> Self {
        Self {
            names: vec![UNNAMED.to_owned()],
            places: HashMap::from([(UNNAMED.to_owned(), 0)]),
        }
    }
}

impl Categories {
    fn place(&mut self, name: &str) -> Result<u16, String> {
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        let place = u16::try_from(self.names.len())
            .map_err(|_| "more than 65,535 categories".to_owned())?;
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), place);
        Ok(place)
    }
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

/// Whether a word that has a form goes on in the next: it stands right behind and is of the same script.
fn goes_on(forms: &[Form], place: usize) -> bool {
    let (Some(one), Some(next)) = (forms.get(place), forms.get(place + 1)) else {
        return false;
    };
    let script = |form: &Form| script(form.c);
    next.start <= one.end && script(one) != Script::Unbounded && script(one) == script(next)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::MOST;

    fn words(list: &[&str], pinyin: bool) -> Words {
        let word = |word| Word {
            word,
            level: Level::Mask,
            category: None,
        };
        let list: Vec<_> = list.iter().copied().map(word).collect();
        Words::build(&list, pinyin).expect("good words")
    }

    /// What reading a text cost beside its own length: hits looked at and joined.
    fn steps(words: &Words, text: &str) -> usize {
        let automaton = words.automaton.as_ref().expect("words");
        let forms = forms(text);
        assert!(forms.len() <= text.chars().count());
        words.read(automaton, &forms).steps + words.read_spelt(automaton, &forms).steps
    }

    #[test]
    fn the_worst_texts_cost_what_their_length_does() {
        let nested: Vec<String> = (1..=16).map(|length| "的".repeat(length)).collect();
        let nested: Vec<&str> = nested.iter().map(String::as_str).collect();
        for (list, unit, per_unit) in [
            (vec!["a"], "a ", 1),
            (vec!["的"], "的", 1),
            (vec!["a", "b", "c", "赌博"], "a b 赌博", 3),
            (nested, "的", 16),
            (vec!["的", "的x的y的z的"], "的 ", 1),
        ] {
            let words = words(&list, true);
            let counted: Vec<usize> = [1, 2, 4]
                .map(|part| {
                    let text = unit.repeat(2_000 / unit.chars().count() * part);
                    let hits = words.find(&text).len();
                    assert!((1..=MOST).contains(&hits), "{hits} hits");
                    steps(&words, &text)
                })
                .into();
            let most = 2 * per_unit * 8_000 / unit.chars().count();
            assert!(counted[2] <= most, "{unit:?}: {counted:?}, at most {most}");
            // Twice the text, twice the steps.
            for two in counted.windows(2) {
                assert!(two[1] <= 2 * two[0] + 512, "{unit:?}: {counted:?}");
            }
        }
    }

    #[test]
    fn hits_that_touch_are_one_and_blanks_between_part_them() {
        let words = words(&["的", "赌博"], false);
        let places = |text| {
            let hits = words.find(text).into_iter();
            hits.map(|hit| (hit.start, hit.end)).collect::<Vec<_>>()
        };
        assert_eq!(places("的的的"), [(0, 3)]);
        assert_eq!(places("的,的"), [(0, 1), (2, 3)]);
        assert_eq!(places("是赌博的"), [(1, 4)]);
    }
}
