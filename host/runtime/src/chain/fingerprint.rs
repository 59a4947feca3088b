//! A fingerprint of what a hook decided: two decisions that differ in anything have different ones, so that asking again
//! finds what differs without the decision being kept. Stored, so it never changes with the program.

use crate::bindings::types;

/// FNV-1a, 64 bits: short inputs, no adversary. Fields are told apart by their lengths.
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub fn of(kind: &str) -> Self {
        Self(0xcbf2_9ce4_8422_2325).text(kind)
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        let length = (bytes.len() as u64).to_le_bytes();
        let hash = length.iter().chain(bytes).fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash)
    }

    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    pub fn reason(self, reason: &types::Reason) -> Self {
        self.text(&reason.code).text(&reason.text)
    }

    pub fn effects(self, effects: &[types::Effect]) -> Self {
        effects.iter().fold(self, |so_far, effect| {
            so_far
                .text(&effect.kind)
                .text(&effect.key)
                .bytes(&effect.value)
        })
    }

    /// Never 0: that is the decision to let all pass.
    pub fn end(self) -> u32 {
        let folded = (self.0 >> 32) ^ (self.0 & 0xffff_ffff);
        u32::try_from(folded).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_and_the_numbers_stay_as_they_are() {
        let one = Fingerprint::of("reject").text("ab").text("c").end();
        let other = Fingerprint::of("reject").text("a").text("bc").end();
        assert_ne!(one, other);
        assert_eq!(Fingerprint::of("pass").end(), PASS);
    }

    /// Stored with entries: were it another one, all that is stored would seem to differ.
    const PASS: u32 = 0xcdff_25e6;
}
