//! How texts are compared: case, width, composition, traditional and simplified forms fold together; blanks,
//! punctuation and invisible characters do not count. Knows no words.

use std::sync::OnceLock;

use unicode_normalization::char::{decompose_canonical, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// The range of characters that may have a simplified form.
const HAN: std::ops::Range<u32> = 0x3400..0xA000;
/// Hangul syllables: composed as they stand.
const SYLLABLES: std::ops::Range<u32> = 0xAC00..0xD7A4;
/// The marks tones are written with, and the two dots of `ü`.
const TONES: [char; 6] = ['\u{300}', '\u{301}', '\u{304}', '\u{306}', '\u{30C}', DOTS];
const DOTS: char = '\u{308}';

/// A character that counts, folded, and where it stands in the text: the marks behind it belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub c: char,
    /// Unicode scalar values of the text; `end` is not in it.
    pub start: u32,
    pub end: u32,
}

/// Makes the table of simplified forms; in a plugin this is part of its baked image.
pub fn warm() {
    simplified_forms();
}

fn simplified_forms() -> &'static [u16] {
    static FORMS: OnceLock<Vec<u16>> = OnceLock::new();
    FORMS.get_or_init(|| {
        let form = |code: u32| {
            let one = char::from_u32(code)?;
            let mut simple = fast2s::convert(one.encode_utf8(&mut [0; 4]))
                .chars()
                .collect::<Vec<_>>();
            let first = simple.pop().filter(|_| simple.is_empty())?;
            u16::try_from(u32::from(first)).ok()
        };
        HAN.map(|code| form(code).unwrap_or(code as u16)).collect()
    })
}

/// What counts of a text, in its order: compatibility forms are resolved and what can be composed is composed.
pub fn forms(text: &str) -> Vec<Form> {
    let mut forms = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    let mut place = 0_u32;
    while let Some(c) = rest.next() {
        let start = place;
        place += 1;
        // Every mark begins with a byte above these.
        let alone = rest
            .as_str()
            .as_bytes()
            .first()
            .is_none_or(|next| next.is_ascii());
        if is_ignorable(c) {
            continue;
        }
        let marks = if alone { 0 } else { marks_after(&rest) };
        place += marks;
        let mut add = |c: char| {
            let form = |c| Form {
                c,
                start,
                end: place,
            };
            forms.extend(fold(c).map(form));
        };
        if marks > 0 {
            let marks = rest.by_ref().take(marks as usize);
            let cluster = std::iter::once(c).chain(marks.filter(|mark| !is_ignorable(*mark)));
            cluster.nfkc().for_each(&mut add);
        } else if is_composed(c) {
            add(c);
        } else {
            std::iter::once(c).nfkc().for_each(&mut add);
        }
    }
    forms
}

/// How many of the next characters go with the one before: marks, with the invisible ones between.
fn marks_after(rest: &std::str::Chars<'_>) -> u32 {
    let mut marks = 0;
    for (count, c) in (1..).zip(rest.clone()) {
        if is_ignorable(c) {
            continue;
        }
        if !is_mark(c) {
            break;
        }
        marks = count;
    }
    marks
}

/// Whether a character may compose with the one before it: accents, voiced marks of kana, vowels and ends of Hangul.
fn is_mark(c: char) -> bool {
    match u32::from(c) {
        0..0x300 => false,
        0x1161..=0x11FF | 0xFF9E | 0xFF9F | 0xFFC2..=0xFFDC => true,
        code if HAN.contains(&code) || SYLLABLES.contains(&code) => false,
        _ => is_combining_mark(c),
    }
}

/// Whether normalising a character on its own leaves it as it is, or `fold` does the same by itself.
fn is_composed(c: char) -> bool {
    let code = u32::from(c);
    c.is_ascii()
        || HAN.contains(&code)
        || SYLLABLES.contains(&code)
        || (0xFF01..=0xFF5E).contains(&code)
        || is_nfkc_quick(std::iter::once(c)) == IsNormalized::Yes
}

/// Characters a reader does not see and a display leaves out (Unicode's Default_Ignorable_Code_Point).
fn is_ignorable(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFF8
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// A folded character as pinyin without tones has it: `ǔ` as `u`, `ü` in every tone as `v`.
pub fn toneless(c: char) -> char {
    if !matches!(u32::from(c), 0xC0..=0x24F | 0x1E00..=0x1EFF) {
        return c;
    }
    let (mut letter, mut dots, mut other) = (None, false, false);
    decompose_canonical(c, |part| match part {
        _ if letter.is_none() => letter = Some(part),
        DOTS => dots = true,
        _ => other |= !TONES.contains(&part),
    });
    match letter {
        Some('u') if dots && !other => 'v',
        Some(letter) if !other => letter,
        _ => c,
    }
}

/// The form a composed character is compared by; `None` when it does not count.
#[inline]
fn fold(c: char) -> Option<char> {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric().then(|| c.to_ascii_lowercase());
    }
    let code = u32::from(c);
    if HAN.contains(&code) {
        let form = simplified_forms()[(code - HAN.start) as usize];
        return char::from_u32(u32::from(form));
    }
    // Full-width forms of ASCII stand at a fixed distance.
    if (0xFF01..=0xFF5E).contains(&code) {
        return char::from_u32(code - 0xFEE0).and_then(fold);
    }
    if !c.is_alphanumeric() || is_ignorable(c) {
        return None;
    }
    match c {
        'ς' => Some('σ'),
        _ => c.to_lowercase().next(),
    }
}

/// Whether a character belongs to a script whose words have boundaries, and which; Han and kana have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Latin letters and digits: one word may have both.
    Latin,
    Greek,
    Cyrillic,
    /// Written without spaces, or nothing a word is made of.
    Unbounded,
    Other,
}

/// The script of a folded character.
pub fn script(c: char) -> Script {
    match u32::from(c) {
        _ if !c.is_alphanumeric() || is_ignorable(c) => Script::Unbounded,
        0..=0x24F | 0x1E00..=0x1EFF | 0xFF10..=0xFF5A => Script::Latin,
        0x370..=0x3FF => Script::Greek,
        0x400..=0x52F => Script::Cyrillic,
        0x2E80..=0x9FFF | 0xAC00..=0xD7FF | 0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x20000.. => {
            Script::Unbounded
        }
        _ => Script::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_width_and_traditional_forms_fold_together() {
        for (one, other) in [
            ('A', 'a'),
            ('Ａ', 'a'),
            ('７', '7'),
            ('國', '国'),
            ('É', 'é'),
            ('Ж', 'ж'),
            ('Σ', 'ς'),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
    }

    fn folded(text: &str) -> Vec<(char, u32, u32)> {
        let forms = forms(text).into_iter();
        forms.map(|form| (form.c, form.start, form.end)).collect()
    }

    #[test]
    fn composed_and_decomposed_texts_are_one_and_keep_their_places() {
        assert_eq!(
            folded("cafe\u{301}!"),
            [('c', 0, 1), ('a', 1, 2), ('f', 2, 3), ('é', 3, 5)]
        );
        assert_eq!(folded("é"), [('é', 0, 1)]);
        // What stands invisibly between a letter and its mark does not part them.
        assert_eq!(
            folded("e\u{34f}\u{200b}\u{301}x"),
            [('é', 0, 4), ('x', 4, 5)]
        );
        assert_eq!(folded("ｶｼﾞﾉ"), [('カ', 0, 1), ('ジ', 1, 3), ('ノ', 3, 4)]);
        assert_eq!(folded("\u{1112}\u{1161}\u{11AB}"), [('한', 0, 3)]);
        assert_eq!(
            folded("ﬁ㎏"),
            [('f', 0, 1), ('i', 0, 1), ('k', 1, 2), ('g', 1, 2)]
        );
    }

    #[test]
    fn invisible_characters_of_every_kind_do_not_count() {
        for c in [
            '\u{3164}',
            '\u{FFA0}',
            '\u{115F}',
            '\u{1160}',
            '\u{34F}',
            '\u{180E}',
            '\u{2063}',
            '\u{FE0F}',
            '\u{E0041}',
            '\u{17B5}',
            '\u{1D173}',
        ] {
            assert_eq!(
                folded(&format!("{c}a{c}{c}b")),
                [('a', 1, 2), ('b', 4, 5)],
                "{c:?}"
            );
        }
    }

    #[test]
    fn tones_go_and_other_marks_stay() {
        for (c, bare) in [
            ('ǔ', 'u'),
            ('ó', 'o'),
            ('ā', 'a'),
            ('ü', 'v'),
            ('ǚ', 'v'),
            ('ự', 'ự'),
            ('ö', 'o'),
            ('ç', 'ç'),
            ('a', 'a'),
            ('博', '博'),
        ] {
            assert_eq!(toneless(c), bare, "{c}");
        }
    }

    #[test]
    fn blanks_punctuation_and_invisible_characters_do_not_count() {
        for c in [
            ' ', '\u{3000}', '\u{200b}', '\u{feff}', '，', '.', '*', '_', '\u{ad}',
        ] {
            assert_eq!(fold(c), None, "{c:?}");
        }
    }
}
