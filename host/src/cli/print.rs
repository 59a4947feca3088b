//! How the commands print: aligned tables for people, JSON for programs. Whoever reads may have gone, as `head` does when
//! it has enough: a command then ends, and is not in trouble.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use serde_json::Value;

/// Prints a line as `println!` does; where nobody reads any more the program ends quietly.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::cli::print::line_out(format_args!($($arguments)*))
    };
}
pub(crate) use say;

/// One line on stdout, for `say!`.
pub fn line_out(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("kith: nothing can be printed: {error}");
            std::process::exit(1);
        }
        Ok(()) => {}
    }
}

/// Prints rows under their heads, each column as wide as its widest cell; wide characters count as two.
pub fn table(heads: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = heads.iter().map(|head| width(head)).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    line(
        &heads
            .iter()
            .map(|head| (*head).to_owned())
            .collect::<Vec<_>>(),
        &widths,
    );
    rows.iter().for_each(|row| line(row, &widths));
}

fn line(cells: &[String], widths: &[usize]) {
    let mut text = String::new();
    for (cell, wide) in cells.iter().zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', wide - width(cell) + 2));
    }
    say!("{}", text.trim_end());
}

fn width(text: &str) -> usize {
    text.chars()
        .map(|c| {
            if matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{ffdc}') {
                2
            } else {
                1
            }
        })
        .sum()
}

/// A field as text; empty when it is not there.
pub fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            })
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

/// A number of bytes for people.
pub fn bytes(bytes: u64) -> String {
    let (mut amount, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{amount:.1} {unit}")
    }
}

/// Indented JSON on stdout.
pub fn json(value: &Value) {
    say!(
        "{}",
        serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
    );
}
