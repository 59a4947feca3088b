//! How a text is read for searching: width, case and composition folded away, and for each folded character where it
//! stands in the text as it was written. The same for texts and queries, and for every engine. No I/O.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, is_nfc_quick};

/// A folded text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    pub chars: Vec<char>,
    /// For each folded character the scalar values of the text it came from: first, and one past the last.
    origin: Vec<(u32, u32)>,
}

impl Folded {
    /// Where folded characters `start..end` stand in the text, in Unicode scalar values.
    pub fn written(&self, start: usize, end: usize) -> (usize, usize) {
        let (first, last) = (self.origin[start], self.origin[end - 1]);
        (first.0 as usize, last.1 as usize)
    }
}

/// Most characters that are composed into one: a longer pile of marks is taken apart.
const COMPOSED_MOST: usize = 32;

/// Folds a text: compatibility composition (NFKC), then case. What shows nothing is left out.
pub fn fold(text: &str) -> Folded {
    let mut folded = Folded {
        chars: Vec::with_capacity(text.len()),
        origin: Vec::with_capacity(text.len()),
    };
    let mut chars = text.chars().peekable();
    let mut at = 0;
    let mut together = String::new();
    while let Some(c) = chars.next() {
        let start = at;
        at += 1;
        if is_plain(c) && chars.peek().is_none_or(|next| begins(*next)) {
            folded.push(c, (start, at));
            continue;
        }
        together.clear();
        together.push(c);
        let mut count = 1;
        while count < COMPOSED_MOST
            && let Some(next) = chars.next_if(|next| !begins(*next))
        {
            together.push(next);
            count += 1;
            at += 1;
        }
        for composed in together.nfkc() {
            folded.push(composed, (start, at));
        }
    }
    folded
}

impl Folded {
    fn push(&mut self, c: char, origin: (u32, u32)) {
        if c.is_ascii() {
            self.chars.push(c.to_ascii_lowercase());
            self.origin.push(origin);
        } else if is_uncased(c) {
            self.chars.push(c);
            self.origin.push(origin);
        } else if c == '\u{130}' {
            // Its lower case would be an i with a mark that nobody types.
            self.chars.push('i');
            self.origin.push(origin);
        } else if !is_invisible(c) {
            // Up and down again, so that letters with two lower cases become one.
            for lower in c.to_uppercase().flat_map(char::to_lowercase) {
                self.chars.push(lower);
                self.origin.push(origin);
            }
        }
    }
}

/// Common characters without case that no normalisation changes. All of them are searched by themselves.
pub fn is_uncased(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// What most texts are made of: folding changes nothing of it but the case of ASCII letters, and each stays one
/// character of its class.
pub fn is_simple(c: char) -> bool {
    is_plain(c)
        || matches!(
            c,
            '，' | '。'
                | '、'
                | '！'
                | '？'
                | '：'
                | '；'
                | '（'
                | '）'
                | '“'
                | '”'
                | '‘'
                | '’'
                | '《'
                | '》'
                | '【'
                | '】'
        )
}

/// Nothing to compose with what went before.
fn is_plain(c: char) -> bool {
    c.is_ascii() || is_uncased(c)
}

/// Whether a character can never be composed with one before it.
fn begins(c: char) -> bool {
    if c < '\u{300}' || is_uncased(c) {
        return true;
    }
    let mut first = None;
    decompose_compatible(c, |part| {
        first.get_or_insert(part);
    });
    let first = first.unwrap_or(c);
    canonical_combining_class(first) == 0
        && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
}

/// Joiners, marks of direction, selectors of a variant: they show nothing by themselves.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        fold(text).chars.iter().collect()
    }

    #[test]
    fn case_and_width_are_folded() {
        for (text, expected) in [
            ("Hello", "hello"),
            ("ＨＥＬＬＯ　１２３", "hello 123"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("Σίσυφος", "σίσυφοσ"),
            ("Straße STRASSE", "strasse strasse"),
            ("İstanbul", "istanbul"),
            ("ｶﾞｷﾞ", "ガギ"),
            ("ﬁne", "fine"),
            ("北京", "北京"),
            ("⽔", "水"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn composed_and_decomposed_letters_are_alike() {
        assert_eq!(folded("cafe\u{301}"), folded("café"));
        assert_eq!(folded("か\u{3099}"), "が");
        assert_eq!(folded("\u{1112}\u{1161}\u{11ab}"), "한");
    }

    #[test]
    fn what_shows_nothing_is_left_out() {
        assert_eq!(folded("in\u{200b}visi\u{ad}ble\u{fe0f}"), "invisible");
    }

    #[test]
    fn a_folded_character_knows_where_it_was_written() {
        let text = "x\u{200b}e\u{301}ﬁ水";
        let folded = fold(text);
        assert_eq!(folded.chars, ['x', 'é', 'f', 'i', '水']);
        assert_eq!(folded.written(0, 1), (0, 1));
        assert_eq!(folded.written(1, 2), (2, 4));
        assert_eq!(
            folded.written(2, 3),
            (4, 5),
            "half of a ligature is all of it"
        );
        assert_eq!(folded.written(4, 5), (5, 6));
    }

    #[test]
    fn a_pile_of_marks_is_folded_in_parts() {
        let text = format!("a{}", "\u{301}".repeat(10_000));
        assert!(folded(&text).chars().count() > 9000);
    }
}
