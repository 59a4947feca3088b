//! What a reaction may be: one emoji. Written text would be a message that no filter sees, so none of it passes.
//! Pure; knows the shapes that emoji have, not which of them a font can show.

/// Bytes of the longest emoji there are, with room for new ones.
const MOST_BYTES: usize = 64;
const JOINER: char = '\u{200d}';
const KEYCAP: char = '\u{20e3}';
const BLACK_FLAG: char = '\u{1f3f4}';
const TAG_END: char = '\u{e007f}';
/// Letters and digits of the longest name of a region in a flag.
const TAGS_MOST: usize = 6;

/// Whether a text is exactly one emoji: a sign with its variations, a keycap, a flag, or several signs joined.
pub fn is_emoji(text: &str) -> bool {
    if text.is_empty() || text.len() > MOST_BYTES {
        return false;
    }
    let mut rest = Rest(text.chars().peekable());
    let whole = match rest.0.peek() {
        Some('0'..='9' | '#' | '*') => rest.keycap(),
        Some(letter) if is_region_letter(*letter) => {
            rest.take(is_region_letter) && rest.take(is_region_letter)
        }
        _ => rest.joined(),
    };
    whole && rest.0.peek().is_none()
}

struct Rest<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl Rest<'_> {
    fn take(&mut self, wanted: impl FnOnce(char) -> bool) -> bool {
        self.0.next_if(|next| wanted(*next)).is_some()
    }

    fn keycap(&mut self) -> bool {
        self.0.next();
        self.take(is_variation);
        self.take(|next| next == KEYCAP)
    }

    fn joined(&mut self) -> bool {
        loop {
            let flag = self.0.peek() == Some(&BLACK_FLAG);
            if !self.take(is_sign) {
                return false;
            }
            self.take(is_variation);
            self.take(is_skin);
            self.take(is_variation);
            if flag && !self.tags() {
                return false;
            }
            if !self.take(|next| next == JOINER) {
                return true;
            }
        }
    }

    /// The region of a flag; there may be none.
    fn tags(&mut self) -> bool {
        let mut count = 0;
        while self.take(is_tag) {
            count += 1;
        }
        count == 0 || count <= TAGS_MOST && self.take(|next| next == TAG_END)
    }
}

fn is_variation(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

fn is_skin(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_region_letter(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// Small letters and digits of a region's name.
fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}')
}

/// The blocks that emoji stand in, without the enclosed letters that words could be written with.
fn is_sign(c: char) -> bool {
    matches!(c,
        '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | 'Ⓜ' | '〰' | '〽' | '㊗' | '㊙'
        | '\u{2190}'..='\u{21ff}'
        | '\u{2300}'..='\u{23ff}'
        | '\u{25a0}'..='\u{27bf}'
        | '\u{2934}'..='\u{2935}'
        | '\u{2b00}'..='\u{2bff}'
        | '\u{1f000}'..='\u{1f0ff}'
        | '\u{1f170}' | '\u{1f171}' | '\u{1f17e}' | '\u{1f17f}' | '\u{1f18e}'
        | '\u{1f191}'..='\u{1f19a}'
        | '\u{1f200}'..='\u{1f265}'
        | '\u{1f300}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_of_every_shape_pass() {
        for emoji in [
            "👍",
            "❤️",
            "👍🏽",
            "1️⃣",
            "#⃣",
            "🇨🇳",
            "👨‍👩‍👧‍👦",
            "👩🏽‍❤️‍💋‍👨🏿",
            "🏳️‍🌈",
            "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
            "☺",
            "🈵",
            "ℹ️",
            "🫠",
        ] {
            assert!(is_emoji(emoji), "{emoji}");
        }
    }

    #[test]
    fn text_and_more_than_one_emoji_do_not() {
        for text in [
            "",
            " ",
            "a",
            "ok",
            "好",
            "1",
            "12",
            "👍👍",
            "👍 ",
            "👍a",
            "🇨🇳🇨🇳",
            "🇨",
            "\u{200d}",
            "👍\u{200d}",
            "🄰",
            "\u{fe0f}",
            "\n",
            "👍\u{e0061}",
            "🏴\u{e0061}",
        ] {
            assert!(!is_emoji(text), "{text:?}");
        }
        assert!(!is_emoji(&["👍"; 12].join("\u{200d}")), "too long");
    }
}
