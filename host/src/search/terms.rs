//! What a text is made of for searching, what a query asks for, and whether and where a text has it: the rule that
//! every engine follows (see `search.rs`). No I/O, no engine.

use super::fold::{Folded, fold, is_simple, is_uncased};

/// A query longer than this, in Unicode scalar values, is refused; so a longer word need not be indexed.
pub const QUERY_CHARS: usize = 256;

/// One thing a query asks for. All of them must occur.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term {
    /// A whole word.
    Word(String),
    /// Characters that must stand side by side, anywhere.
    Run(Vec<char>),
}

/// A stretch of a text, in Unicode scalar values of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Highlight {
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Separator,
    Word,
    Run,
}

/// A maximal stretch of characters of one class: `start..end` of a folded text.
#[derive(Clone, Copy)]
struct Piece {
    class: Class,
    start: usize,
    end: usize,
}

/// Scripts that are written without blanks between words, and pictures: each character is searched by itself.
fn is_by_character(c: char) -> bool {
    matches!(
        c,
        // Thai, Lao, Burmese, Khmer.
        '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{eff}' | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17d3}'
            // Hangul.
            | '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
            // Kana, with the marks that lengthen and repeat.
            | '\u{3031}'..='\u{3035}' | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}'
            | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{1aff0}'..='\u{1b16f}'
            // Han, Bopomofo, Yi, Tangut.
            | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{303b}'
            | '\u{3105}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{a000}'..='\u{a4c6}' | '\u{f900}'..='\u{faff}' | '\u{17000}'..='\u{18d8f}' | '\u{20000}'..='\u{3fffd}'
            // Arrows, signs, emoji.
            | '\u{2190}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}'
    )
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return match c.is_ascii_alphanumeric() {
            true => Class::Word,
            false => Class::Separator,
        };
    }
    if is_by_character(c) {
        Class::Run
    } else if c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c) {
        Class::Word
    } else {
        Class::Separator
    }
}

fn pieces(chars: &[char]) -> impl Iterator<Item = Piece> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < chars.len() {
            let (start, class_here) = (at, class(chars[at]));
            at += 1;
            while at < chars.len() && class(chars[at]) == class_here {
                at += 1;
            }
            if class_here != Class::Separator {
                return Some(Piece {
                    class: class_here,
                    start,
                    end: at,
                });
            }
        }
        None
    })
}

/// What a query asks for, each thing once. Empty when there is nothing in it that can be searched.
pub fn terms(query: &str) -> Vec<Term> {
    let folded = fold(query);
    let mut terms = Vec::new();
    for piece in pieces(&folded.chars) {
        let chars = &folded.chars[piece.start..piece.end];
        let term = match piece.class {
            Class::Run => Term::Run(chars.to_vec()),
            Class::Word | Class::Separator => Term::Word(chars.iter().collect()),
        };
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    terms
}

/// What an engine keeps of a text: words, and of characters that are searched by themselves each one and each pair,
/// with the place of the first character. Places of neighbours differ by one, those across a gap by more.
pub fn tokens(text: &str, mut each: impl FnMut(&str, usize)) {
    if text.is_ascii() || text.chars().all(is_simple) {
        return simple_tokens(&text.to_ascii_lowercase(), each);
    }
    let mut token = String::new();
    let folded = fold(text);
    for piece in pieces(&folded.chars) {
        let chars = &folded.chars[piece.start..piece.end];
        if piece.class == Class::Word {
            if chars.len() <= QUERY_CHARS {
                token.clear();
                token.extend(chars);
                each(&token, piece.start);
            }
            continue;
        }
        for (offset, &c) in chars.iter().enumerate() {
            token.clear();
            token.push(c);
            each(&token, piece.start + offset);
            if let Some(&next) = chars.get(offset + 1) {
                token.push(next);
                each(&token, piece.start + offset);
            }
        }
    }
}

/// As `tokens`, of a text that is folded already because there is little to fold in it.
fn simple_tokens(text: &str, mut each: impl FnMut(&str, usize)) {
    // Where a word began that has not ended, and where the character stands that this one may make a pair with.
    let (mut word, mut before) = (None, None);
    let end_word =
        |word: &mut Option<(usize, usize)>, end: usize, each: &mut dyn FnMut(&str, usize)| {
            if let Some((start, place)) = word.take()
                && end - start <= QUERY_CHARS
            {
                each(&text[start..end], place);
            }
        };
    for (place, (at, c)) in text.char_indices().enumerate() {
        if c.is_ascii_alphanumeric() {
            word.get_or_insert((at, place));
            before = None;
            continue;
        }
        end_word(&mut word, at, &mut each);
        if !is_uncased(c) {
            before = None;
            continue;
        }
        let end = at + c.len_utf8();
        if let Some((start, place)) = before.replace((at, place)) {
            each(&text[start..end], place);
        }
        each(&text[at..end], place);
    }
    end_word(&mut word, text.len(), &mut each);
}

/// The tokens of a run, each once: its pairs, or the one character. A text with the run has all of them.
pub fn run_tokens(run: &[char]) -> Vec<String> {
    if run.len() < 2 {
        return vec![run.iter().collect()];
    }
    let mut pairs: Vec<String> = run.windows(2).map(|pair| pair.iter().collect()).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Where texts have what was asked for: for each text its stretches, in order, none touching another. `None` when a
/// term occurs in none of them: then the texts are not what was asked for.
pub fn find(terms: &[Term], texts: &[&str]) -> Option<Vec<Vec<Highlight>>> {
    let folded: Vec<Folded> = texts.iter().map(|text| fold(text)).collect();
    let mut found = vec![Vec::new(); texts.len()];
    for term in terms {
        let mut occurs = false;
        for (folded, found) in folded.iter().zip(&mut found) {
            occurs |= find_term(term, folded, found);
        }
        if !occurs {
            return None;
        }
    }
    for stretches in &mut found {
        merge(stretches);
    }
    Some(found)
}

fn find_term(term: &Term, folded: &Folded, found: &mut Vec<Highlight>) -> bool {
    let before = found.len();
    let mut add = |start: usize, end: usize| {
        let (start, end) = folded.written(start, end);
        found.push(Highlight { start, end });
    };
    for piece in pieces(&folded.chars) {
        let chars = &folded.chars[piece.start..piece.end];
        match term {
            Term::Word(word)
                if piece.class == Class::Word && word.chars().eq(chars.iter().copied()) =>
            {
                add(piece.start, piece.end);
            }
            Term::Run(run) if piece.class == Class::Run => {
                for (offset, window) in chars.windows(run.len()).enumerate() {
                    if window == run {
                        add(piece.start + offset, piece.start + offset + run.len());
                    }
                }
            }
            _ => {}
        }
    }
    found.len() > before
}

/// Sorts, and makes one of those that meet.
fn merge(stretches: &mut Vec<Highlight>) {
    stretches.sort_unstable();
    stretches.dedup_by(|next, kept| {
        let meet = next.start <= kept.end;
        if meet {
            kept.end = kept.end.max(next.end);
        }
        meet
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Vec<(String, usize)> {
        let mut kept = Vec::new();
        tokens(text, |token, at| kept.push((token.to_owned(), at)));
        kept
    }

    fn stretches(query: &str, text: &str) -> Option<Vec<(usize, usize)>> {
        let found = find(&terms(query), &[text])?;
        Some(found[0].iter().map(|h| (h.start, h.end)).collect())
    }

    #[test]
    fn words_are_whole_and_characters_come_singly_and_in_pairs() {
        let expected = [("ab", 0), ("中", 3), ("中文", 3), ("文", 4), ("x1", 5)];
        let expected: Vec<_> = expected.map(|(token, at)| (token.to_owned(), at)).into();
        assert_eq!(kept("Ab 中文X1"), expected);
    }

    #[test]
    fn a_simple_text_has_the_same_tokens_as_in_any_other() {
        for plain in [
            "Ab, x1  it's 007!",
            "我们Today在北京，见面：3点（八楼）。カナand仮名",
            "“好”、《书》【1】！？；‘a’",
        ] {
            // What must be folded takes the long way.
            let mut expected = kept(&format!("{plain} é"));
            assert_eq!(expected.pop().map(|(word, _)| word), Some("é".to_owned()));
            assert_eq!(kept(plain), expected, "{plain}");
        }
        assert_eq!(kept(&"a".repeat(QUERY_CHARS + 1)), []);
    }

    #[test]
    fn every_simple_character_is_what_it_seems() {
        for c in (0..=0x10ffff)
            .filter_map(char::from_u32)
            .filter(|c| is_simple(*c))
        {
            let folded = fold(&c.to_string()).chars;
            let [folded] = folded[..] else {
                panic!("{c:?} becomes {folded:?}");
            };
            let seen = match c {
                _ if c.is_ascii_alphanumeric() => Class::Word,
                _ if is_uncased(c) => Class::Run,
                _ => Class::Separator,
            };
            assert!(class(folded) == seen, "{c:?}");
        }
    }

    #[test]
    fn no_pair_reaches_over_a_gap() {
        let found = kept("北 京，上。");
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(kept("北 京")[1].1, 2);
    }

    #[test]
    fn a_run_is_covered_by_its_pairs() {
        let pairs = |run: &str| -> Vec<_> {
            let chars: Vec<char> = run.chars().collect();
            run_tokens(&chars)
        };
        assert_eq!(pairs("一"), ["一"]);
        assert_eq!(pairs("一二"), ["一二"]);
        assert_eq!(pairs("一二三"), ["一二", "二三"]);
        assert_eq!(pairs("一一一一"), ["一一"]);
    }

    #[test]
    fn every_substring_of_chinese_is_found_and_nothing_else() {
        let text: Vec<char> = "我们明天在北京市长安街见面".chars().collect();
        let whole: String = text.iter().collect();
        for start in 0..text.len() {
            for end in start + 1..=text.len() {
                let part: String = text[start..end].iter().collect();
                assert_eq!(stretches(&part, &whole), Some(vec![(start, end)]), "{part}");
            }
        }
        for wrong in ["北市", "京北", "天北京", "見面"] {
            assert_eq!(stretches(wrong, &whole), None, "{wrong}");
        }
        assert_eq!(stretches("北京", "北 京"), None, "a blank is between them");
    }

    #[test]
    fn words_match_whole_in_any_case_and_width() {
        assert_eq!(stretches("BADGER", "a ｂａｄｇｅｒ."), Some(vec![(2, 8)]));
        assert_eq!(stretches("badge", "a badger"), None);
        assert_eq!(stretches("go", "iGo go"), Some(vec![(4, 6)]));
    }

    #[test]
    fn every_word_must_occur_in_any_order_and_text() {
        let asked = terms("march 预算");
        assert!(find(&asked, &["三月预算", "the March plan"]).is_some());
        assert!(find(&asked, &["三月预算", "the plan"]).is_none());
        assert_eq!(
            terms("a A ａ b"),
            terms("b a").into_iter().rev().collect::<Vec<_>>()
        );
    }

    #[test]
    fn mixed_text_is_split_where_the_script_changes() {
        assert_eq!(terms("iPhone手机").len(), 2);
        assert_eq!(
            stretches("iphone手机", "新的iPhone手机到了"),
            Some(vec![(2, 10)])
        );
        assert_eq!(stretches("kube", "用kube部署"), Some(vec![(1, 5)]));
    }

    #[test]
    fn overlapping_occurrences_are_one_stretch() {
        assert_eq!(stretches("哈哈", "哈哈哈哈"), Some(vec![(0, 4)]));
        assert_eq!(stretches("哈哈哈", "哈哈 哈哈哈"), Some(vec![(3, 6)]));
    }

    #[test]
    fn emoji_thai_hangul_and_kana_are_found_inside() {
        assert_eq!(stretches("👍", "好的👍🏽"), Some(vec![(2, 3)]));
        assert_eq!(stretches("ข้าว", "กินข้าวแล้ว"), Some(vec![(3, 7)]));
        assert_eq!(stretches("국어", "한국어"), Some(vec![(1, 3)]));
        assert_eq!(stretches("ガイ", "ｶﾞｲﾄﾞ"), Some(vec![(0, 3)]));
    }

    #[test]
    fn punctuation_asks_for_nothing() {
        assert!(terms("?! ——。").is_empty());
    }

    #[test]
    fn words_longer_than_any_query_are_not_kept() {
        assert!(kept(&"a".repeat(QUERY_CHARS + 1)).is_empty());
        assert_eq!(kept(&"a".repeat(QUERY_CHARS)).len(), 1);
    }
}
