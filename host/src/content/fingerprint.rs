//! By what a resend is told from another message under the same client id.
//! Types only: no I/O.

use serde_json::Value;

/// The fingerprint by which a resend is told from another message under the same client id: equal for equal JSON
/// values (1 and 1.0 are equal, the order of fields does not matter), as the client first sent them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// Of a content exactly as a client sent it.
    pub fn of(value: &Value) -> Self {
        let mut hasher = blake3::Hasher::new();
        hash_value(value, &mut hasher);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(u128::from_be_bytes(bytes))
    }
}

fn hash_value(value: &Value, hasher: &mut blake3::Hasher) {
    let mut sized = |tag: u8, bytes: &[u8]| {
        hasher.update(&[tag]);
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    match value {
        Value::Null => sized(b'0', &[]),
        Value::Bool(bool) => sized(b'b', &[u8::from(*bool)]),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), _, _) => sized(b'u', &whole.to_be_bytes()),
            (_, Some(whole), _) => sized(b'i', &whole.to_be_bytes()),
            (_, _, Some(float)) if float.fract() == 0.0 && (0.0..1.8e19).contains(&float) => {
                sized(b'u', &(float as u64).to_be_bytes());
            }
            (_, _, Some(float)) if float.fract() == 0.0 && (-9.2e18..0.0).contains(&float) => {
                sized(b'i', &(float as i64).to_be_bytes());
            }
            (_, _, float) => sized(b'f', &float.unwrap_or_default().to_bits().to_be_bytes()),
        },
        Value::String(text) => sized(b's', text.as_bytes()),
        Value::Array(items) => {
            sized(b'a', &(items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| hash_value(item, hasher));
        }
        Value::Object(fields) => {
            sized(b'o', &(fields.len() as u64).to_be_bytes());
            let mut field = |(name, field): (&String, &Value)| {
                hasher.update(&(name.len() as u64).to_be_bytes());
                hasher.update(name.as_bytes());
                hash_value(field, hasher);
            };
            // Which of its two maps `serde_json` uses is a feature any crate may ask for: sorted, or as they came.
            if fields.keys().is_sorted() {
                fields.iter().for_each(field);
            } else {
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort_unstable_by_key(|(name, _)| name.as_str());
                sorted.into_iter().for_each(&mut field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_json_values_have_equal_fingerprints() {
        let print = |text: &str| Fingerprint::of(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(print(r#"{"a":1,"b":-2}"#), print(r#"{"b":-2.0,"a":1.0}"#));
        assert_ne!(print(r#"{"a":"1"}"#), print(r#"{"a":1}"#));
        assert_ne!(print(r#"["ab"]"#), print(r#"["a","b"]"#));
    }
}
