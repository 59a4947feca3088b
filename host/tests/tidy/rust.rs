//! Just enough of Rust's grammar for the rules: which bytes are code, where functions begin and end, which paths are named.
//! It knows none of the rules.

use std::ops::Range;

/// The source with every comment blanked and every text in quotes turned into quotes; line ends stay where they are.
pub fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (end, fill) = token(bytes, at);
        match fill {
            None => code.extend_from_slice(&bytes[at..end]),
            Some(fill) => code.extend(
                bytes[at..end]
                    .iter()
                    .map(|byte| if *byte == b'\n' { b'\n' } else { fill }),
            ),
        }
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Where what begins at `at` ends, and what it is replaced by.
fn token(bytes: &[u8], at: usize) -> (usize, Option<u8>) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|byte| *byte == b'\n');
        return (at + length.unwrap_or(rest.len()), Some(b' '));
    }
    if rest.starts_with(b"/*") {
        return (block_comment_end(bytes, at), Some(b' '));
    }
    let after_word = at > 0 && is_word(bytes[at - 1]);
    match rest[0] {
        b'"' => (quoted_end(bytes, at + 1, b'"'), Some(b'"')),
        b'r' if !after_word || matches!(bytes[at - 1], b'b' | b'c') => match raw_end(bytes, at) {
            Some(end) => (end, Some(b'"')),
            None => (at + 1, None),
        },
        b'\'' => match character_end(bytes, at) {
            Some(end) => (end, Some(b'"')),
            None => (at + 1, None),
        },
        _ => (at + 1, None),
    }
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut end = at;
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            depth += 1;
            end += 2;
        } else if bytes[end..].starts_with(b"*/") {
            depth -= 1;
            end += 2;
            if depth == 0 {
                break;
            }
        } else {
            end += 1;
        }
    }
    end
}

fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of `r"…"`, `r#"…"#` and so on; `None` for a word that begins with r.
fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let start = at + 1 + hashes;
    if bytes.get(start) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'"'];
    closing.resize(hashes + 1, b'#');
    let length = bytes[start + 1..]
        .windows(closing.len())
        .position(|window| window == closing);
    Some(length.map_or(bytes.len(), |length| start + 1 + length + closing.len()))
}

/// The end of a character literal; `None` for a lifetime.
fn character_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        // What is escaped may itself be a quote.
        return Some(quoted_end(bytes, at + 3, b'\''));
    }
    let text = bytes.get(at + 1..)?;
    let width = match *text.first()? {
        byte if byte < 0x80 => 1,
        byte if byte >= 0xf0 => 4,
        byte if byte >= 0xe0 => 3,
        _ => 2,
    };
    (text.get(width) == Some(&b'\'')).then_some(at + 1 + width + 1)
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The line, from 1, of byte `at`.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// A function with a body.
pub struct Function {
    pub name: String,
    /// The line of its `fn`.
    pub line: usize,
    /// Lines of the body that hold code.
    pub length: usize,
}

/// Every function in `code`, inner ones too.
pub fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    words(code, "fn")
        .filter_map(|at| {
            let after = code[at + 2..].trim_start();
            let name: String = after
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if name.is_empty() {
                return None;
            }
            let body = body(bytes, at)?;
            let length = code[body]
                .lines()
                .filter(|line| !line.trim().is_empty())
                .count();
            Some(Function {
                name,
                line: line_of(code, at),
                // Lines with nothing but the braces are not the body's.
                length: length.saturating_sub(2),
            })
        })
        .collect()
}

/// From the opening brace to the closing one of the function declared at `at`; `None` for one without a body.
fn body(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let mut nested = 0_i32;
    let mut start = at;
    loop {
        match bytes.get(start)? {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested -= 1,
            b';' if nested == 0 => return None,
            b'{' if nested == 0 => break,
            _ => {}
        }
        start += 1;
    }
    let mut depth = 0_i32;
    for (offset, byte) in bytes[start..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(start..start + offset + 1);
        }
    }
    None
}

/// Where `word` stands as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            let after = bytes.get(at + word.len());
            !before.is_some_and(|byte| is_word(*byte)) && !after.is_some_and(|byte| is_word(*byte))
        })
}

/// Every path such as `crate::store::Log` with its line; the trees of `use` written out.
pub fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // What is no `use` stays; line ends are kept, so that lines still count right.
    let mut rest = code.as_bytes().to_vec();
    for at in words(code, "use") {
        let after = &code[at + 3..];
        let Some(length) = after
            .find(';')
            .filter(|_| after.starts_with(char::is_whitespace))
        else {
            continue;
        };
        let tree: String = after[..length]
            .split(" as ")
            .enumerate()
            .map(|(part, text)| if part == 0 { text } else { after_alias(text) })
            .flat_map(str::chars)
            .filter(|c| !c.is_whitespace())
            .collect();
        let line = line_of(code, at);
        let mut written = Vec::new();
        write_out(&tree, "", &mut written);
        found.extend(written.into_iter().map(|path| (line, path)));
        for byte in &mut rest[at..at + 3 + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    for (index, line) in String::from_utf8_lossy(&rest).lines().enumerate() {
        let paths = line
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .map(|piece| piece.trim_matches(':'))
            .filter(|piece| piece.contains("::"));
        found.extend(paths.map(|path| (index + 1, path.to_owned())));
    }
    found
}

fn after_alias(text: &str) -> &str {
    text.find([',', '}']).map_or("", |end| &text[end..])
}

/// `a::{b, c::{d}}` becomes `a::b` and `a::c::d`.
fn write_out(tree: &str, before: &str, found: &mut Vec<String>) {
    let mut depth = 0_i32;
    let mut start = 0;
    let mut branches = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&tree[start..]);
    for branch in branches.into_iter().filter(|branch| !branch.is_empty()) {
        match branch.split_once('{') {
            Some((path, inner)) => {
                let inner = inner.strip_suffix('}').unwrap_or(inner);
                write_out(inner, &format!("{before}{path}"), found);
            }
            None => found.push(format!("{before}{branch}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_code() {
        let source = "a /* fn x() {} */ \"{\" 'b' b'{' r#\"}\"# '\\'' 'l: // {\n// y\n c\"{\"";
        let code = code(source);
        assert_eq!(code.lines().count(), source.lines().count());
        assert!(!code.contains(['{', '}', 'y']), "{code}");
        assert!(code.contains("'l:"), "a lifetime is code: {code}");
    }

    #[test]
    fn functions_are_measured_without_comments_and_braces() {
        let source = "fn one() {\n    a();\n\n    // why\n    b(\"}\");\n}\ntrait T { fn two(x: [u8; 2]); }\nfn r() {}";
        let found: Vec<(String, usize, usize)> = functions(&code(source))
            .into_iter()
            .map(|function| (function.name, function.line, function.length))
            .collect();
        assert_eq!(found, [("one".to_owned(), 1, 2), ("r".to_owned(), 8, 0)]);
    }

    #[test]
    fn trees_of_use_are_written_out() {
        let found = paths("use crate::{a::{B, c as d, e}, f};\nlet x = g::h::i();");
        let found: Vec<(usize, &str)> = found
            .iter()
            .map(|(line, path)| (*line, path.as_str()))
            .collect();
        for path in [
            (1, "crate::a::B"),
            (1, "crate::a::c"),
            (1, "crate::a::e"),
            (1, "crate::f"),
            (2, "g::h::i"),
        ] {
            assert!(found.contains(&path), "{path:?} is not in {found:?}");
        }
    }
}
