//! Odd texts, numbers and values, and what becomes of a good value that somebody got wrong.
//! Knows nothing of what the values are for.

use serde_json::{Map, Value, json};

use crate::properties::seeded::Seeded;

const TEXTS: [&str; 24] = [
    "",
    " ",
    "\0",
    "\u{202e}\u{200b}\u{feff}",
    "👩‍👩‍👧‍👦",
    "e\u{301}\u{301}\u{301}",
    "\u{10ffff}\u{fffe}",
    "İıſK",
    "赌 博",
    "ｆｕｌｌ",
    "'; DROP TABLE users; --",
    "../../etc/passwd",
    "-1",
    "0",
    "00000000000000000001",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "null",
    "%00%ff",
    "\r\n\r\n",
    "/command",
    "{\"a\":1}",
    "ann",
];

pub fn text(random: &mut Seeded) -> String {
    match random.below(30) {
        0 => "x".repeat(20_000),
        1 => "長".repeat(random.below(3000) as usize),
        2 => "x".repeat(random.below(300) as usize),
        3 => {
            let letters = (0..random.below(12)).map(|_| random.below(0x11_0000) as u32);
            letters.filter_map(char::from_u32).collect()
        }
        _ => (*random.pick(&TEXTS)).to_owned(),
    }
}

pub fn number(random: &mut Seeded) -> Value {
    match random.below(16) {
        0 => json!(-1),
        1 => json!(u32::MAX),
        2 => json!(u64::from(u32::MAX) + 1),
        3 => json!(i64::MIN),
        4 => json!(i64::MAX),
        5 => json!(u64::MAX),
        6 => json!((1_u64 << 53) + 1),
        7 => json!(0.5),
        8 => json!(-2.25),
        9 => json!(1.0),
        10 => json!(1_700_000_000_000_u64),
        small => json!(small - 11),
    }
}

/// Anything, a few levels deep; now and then many.
pub fn value(random: &mut Seeded) -> Value {
    if random.one_in(40) {
        let levels = random.below(100);
        return (0..levels).fold(json!("deep"), |inner, level| match level % 2 {
            0 => json!([inner]),
            _ => json!({"in": inner}),
        });
    }
    shallow(random, 3)
}

fn shallow(random: &mut Seeded, levels: u64) -> Value {
    match random.below(if levels == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 | 3 => number(random),
        4 | 5 => text(random).into(),
        6 => (0..random.below(4))
            .map(|_| shallow(random, levels - 1))
            .collect(),
        _ => {
            let items = 0..random.below(4);
            let fields = items.map(|_| (text(random), shallow(random, levels - 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

/// One thing about a value is made wrong, or strange.
pub fn spoil(spoilt: &mut Value, random: &mut Seeded) {
    match spoilt {
        Value::Object(fields) if !random.one_in(8) => {
            let at = random.below(fields.len() as u64 + 1) as usize;
            let Some(name) = fields.keys().nth(at).cloned() else {
                fields.insert(text(random), value(random));
                return;
            };
            match random.below(4) {
                0 => {
                    fields.remove(&name);
                }
                1 => {
                    fields.insert(name, value(random));
                }
                _ => spoil(&mut fields[&name], random),
            }
        }
        Value::Array(items) if !items.is_empty() && !random.one_in(4) => {
            let at = random.below(items.len() as u64) as usize;
            match random.below(4) {
                0 => items.push(items[at].clone()),
                1 => {
                    let many = vec![items[at].clone(); random.below(400) as usize];
                    *items = many;
                }
                _ => spoil(&mut items[at], random),
            }
        }
        Value::String(_) if random.one_in(2) => *spoilt = text(random).into(),
        Value::Number(_) if random.one_in(2) => *spoilt = number(random),
        _ => *spoilt = value(random),
    }
}

/// Some bytes are changed, lost, doubled or put in.
pub fn garble(bytes: &mut Vec<u8>, random: &mut Seeded) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = (at + random.below(9) as usize).min(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => {
                let strange = (0..random.below(9)).map(|_| random.below(256) as u8);
                let strange: Vec<u8> = strange.collect();
                bytes.splice(at..end, strange);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}
