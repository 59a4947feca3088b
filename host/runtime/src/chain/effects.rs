//! What every hook's answer may carry: effects and reasons' codes, checked before they count. Nothing is carried out
//! here.

use crate::bindings::types;
use crate::generation::Binding;
use crate::ruling::{Effect, EffectKind};

const CODE_CHARS_MAX: usize = 64;
const EFFECTS_MAX: usize = 32;
const KEY_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The kinds of some effects, or what is wrong with one.
pub(super) fn check(effects: &[types::Effect]) -> Result<Vec<EffectKind>, String> {
    if effects.len() > EFFECTS_MAX {
        return Err(format!(
            "{} effects; at most {EFFECTS_MAX} are taken",
            effects.len()
        ));
    }
    effects.iter().map(kind_of).collect()
}

fn kind_of(effect: &types::Effect) -> Result<EffectKind, String> {
    let kind = match effect.kind.as_str() {
        "kv-put" => EffectKind::KvPut,
        "kv-delete" => EffectKind::KvDelete,
        other => return Err(format!("there is no effect {:?}", shortened(other))),
    };
    if effect.key.is_empty()
        || effect.key.len() > KEY_BYTES_MAX
        || effect.value.len() > VALUE_BYTES_MAX
    {
        return Err(format!(
            "an effect's key has 1 to {KEY_BYTES_MAX} bytes, its value at most {VALUE_BYTES_MAX}"
        ));
    }
    Ok(kind)
}

/// Checked effects as a binding's.
pub(super) fn take(
    binding: &Binding,
    effects: Vec<types::Effect>,
    kinds: Vec<EffectKind>,
) -> impl Iterator<Item = Effect> {
    let effects = effects.into_iter().zip(kinds);
    effects.map(move |(effect, kind)| Effect {
        namespace: binding.namespace.clone(),
        quota: binding.grants.kv_bytes(),
        kind,
        key: effect.key,
        value: effect.value,
    })
}

/// Effects as text, for a comparison.
pub(super) fn said(effects: &[types::Effect]) -> String {
    let mut said: Vec<String> = effects
        .iter()
        .map(|effect| format!("{} {:?} {:?}", effect.kind, effect.key, effect.value))
        .collect();
    said.sort_unstable();
    said.join(";")
}

pub(super) fn check_code(code: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if code.is_empty() || code.len() > CODE_CHARS_MAX || !code.chars().all(plain) {
        return Err(format!("{:?} is not a reason's code", shortened(code)));
    }
    Ok(())
}

pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(CODE_CHARS_MAX)]
}
