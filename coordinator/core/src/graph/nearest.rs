//! What somebody may have meant who wrote something else.

/// Two names that differ by so many letters may be one that was mistyped.
const SLIP_DISTANCE_MAX: usize = 2;

/// The number of letters to insert, delete or replace to get from one text to the other, if it is at most `most`.
pub(super) fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    // Most names are ruled out by their lengths alone; a letter has at most four bytes.
    if a.len().abs_diff(b.len()) > most.saturating_mul(4) {
        return None;
    }
    Some(strsim::levenshtein(a, b)).filter(|distance| *distance <= most)
}

/// Whether one may be the other mistyped.
pub(crate) fn is_slip_of(written: &str, known: &str) -> bool {
    distance(written, known, SLIP_DISTANCE_MAX).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_up_to_their_bound() {
        assert_eq!(distance("kitten", "sitting", 3), Some(3));
        assert_eq!(distance("kitten", "sitting", 2), None);
        assert_eq!(distance("", "ab", 2), Some(2));
        assert_eq!(distance("grün", "grun", 1), Some(1), "a letter is one, however many bytes it has");
        assert!(is_slip_of("input:txt", "input:text") && !is_slip_of("input:text", "output:text"));
    }
}
