//! How characters are compared: case, width, traditional and simplified forms fold together; blanks, punctuation and
//! invisible characters do not count. Knows no words.

use std::sync::OnceLock;

/// The range of characters that may have a simplified form.
const HAN: std::ops::Range<u32> = 0x3400..0xA000;

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

/// The form a character is compared by; `None` when it does not count.
#[inline]
pub fn fold(c: char) -> Option<char> {
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
    if !c.is_alphanumeric() {
        return None;
    }
    c.to_lowercase().next()
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

/// The script of a character as it stands in a text.
pub fn script(c: char) -> Script {
    match u32::from(c) {
        _ if !c.is_alphanumeric() => Script::Unbounded,
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
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
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
