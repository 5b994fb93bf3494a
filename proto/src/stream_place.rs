//! Where a reader is in a run's stream: how clients name it, and how it travels.

use std::fmt;
use std::str::FromStr;

/// A place in the stream of a run, which goes on behind it. Text: numbers with dots between them, as `57` or `57.812.4`;
/// what they mean is nobody's business but the coordinator's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamPlace {
    /// The last event of the history that was read.
    pub seq: u64,
    /// The last word of nodes at work that was read; 0 = the reader has not said.
    pub word: u64,
    /// Attempts that were over before this word are not heard; 0 = all are.
    pub muted: u64,
    /// In the stream of a single node: the last piece of its output.
    pub piece: Option<PiecePlace>,
}

/// A piece of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PiecePlace {
    /// Of the node's instance.
    pub generation: u32,
    /// Which attempt.
    pub attempt: u32,
    /// Which of its pieces.
    pub sequence: u64,
}

impl fmt::Display for StreamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seq)?;
        if self.word > 0 || self.muted > 0 || self.piece.is_some() {
            write!(f, ".{}", self.word)?;
        }
        if self.muted > 0 || self.piece.is_some() {
            write!(f, ".{}", self.muted)?;
        }
        match self.piece {
            Some(piece) => write!(f, ".{}.{}.{}", piece.generation, piece.attempt, piece.sequence),
            None => Ok(()),
        }
    }
}

/// The text is no place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlace;

impl FromStr for StreamPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u64>().map_err(|_| NoPlace),
            false => Err(NoPlace),
        };
        let numbers = text.splitn(7, '.').map(number).collect::<Result<Vec<u64>, NoPlace>>()?;
        let small = |number: u64| u32::try_from(number).map_err(|_| NoPlace);
        Ok(match numbers[..] {
            [seq] => Self { seq, ..Self::default() },
            [seq, word] => Self { seq, word, ..Self::default() },
            [seq, word, muted] => Self { seq, word, muted, piece: None },
            [seq, word, muted, generation, attempt, sequence] => {
                let piece = PiecePlace { generation: small(generation)?, attempt: small(attempt)?, sequence };
                Self { seq, word, muted, piece: Some(piece) }
            }
            _ => return Err(NoPlace),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let piece = Some(PiecePlace { generation: 1, attempt: 2, sequence: 17 });
        for place in [
            StreamPlace { seq: 57, ..StreamPlace::default() },
            StreamPlace { seq: 57, word: u64::MAX, ..StreamPlace::default() },
            StreamPlace { seq: 0, word: 3, muted: 2, piece: None },
            StreamPlace { seq: 9, word: 0, muted: 2, piece: None },
            StreamPlace { seq: 9, word: 4, muted: 0, piece },
        ] {
            assert_eq!(place.to_string().parse(), Ok(place), "{place}");
        }
        assert_eq!(StreamPlace { seq: 57, ..StreamPlace::default() }.to_string(), "57");
    }

    #[test]
    fn nothing_else_is_a_place() {
        for text in [
            "",
            "a",
            "-1",
            "+1",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4",
            "1.2.3.4.5",
            "1.2.3.4.5.6.7",
            "1 ",
            "1.2.3.4294967296.1.1",
        ] {
            assert_eq!(text.parse::<StreamPlace>(), Err(NoPlace), "{text:?}");
        }
    }
}
