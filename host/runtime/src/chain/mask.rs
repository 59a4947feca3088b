//! Masking: each Unicode scalar value of a hit becomes `*`, everything else stays as it is. Which hits are masked is
//! not decided here.

/// The text with these places masked. They are in range, may overlap and come in any order.
pub(crate) fn mask(text: &str, places: &mut [(u32, u32)]) -> String {
    places.sort_unstable();
    let mut masked = String::with_capacity(text.len());
    let mut next = 0;
    let mut hidden_until = 0;
    for (at, c) in (0u32..).zip(text.chars()) {
        while let Some((start, end)) = places.get(next).filter(|(start, _)| *start <= at) {
            hidden_until = hidden_until.max(*end);
            debug_assert!(start < end);
            next += 1;
        }
        masked.push(if at < hidden_until { '*' } else { c });
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scalar_of_a_hit_becomes_a_star_and_the_rest_stays() {
        assert_eq!(mask("你好 bad 世界", &mut [(3, 6)]), "你好 *** 世界");
        assert_eq!(mask("abcdef", &mut [(4, 6), (0, 2), (1, 3)]), "***d**");
        assert_eq!(mask("a😀b", &mut [(1, 2)]), "a*b");
        assert_eq!(mask("abc", &mut [(0, 3), (1, 2)]), "***");
    }
}
