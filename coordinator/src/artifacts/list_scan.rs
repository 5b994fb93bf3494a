//! Finds the items of a JSON list without having all of it in memory: where each begins and ends, and nothing of what it is.

use std::ops::Range;

/// The text is no list, or none that ends as a list does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoList;

/// Goes through a text piece by piece.
#[derive(Debug)]
pub(super) struct Scanner {
    /// Bytes gone through, from the beginning of the whole text.
    position: u64,
    stands: Stands,
    /// Brackets open inside the list.
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    /// Where the item began that is gone through.
    begun: Option<u64>,
    /// A comma came before.
    is_owed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Stands {
    Before,
    Inside,
    After,
}

impl Scanner {
    /// Of a whole text.
    pub(super) fn whole() -> Self {
        Self {
            position: 0,
            stands: Stands::Before,
            depth: 0,
            is_in_text: false,
            is_escaped: false,
            begun: None,
            is_owed: false,
        }
    }

    /// Of some items of a list, from this place on.
    pub(super) fn inside(position: u64) -> Self {
        Self { position, stands: Stands::Inside, ..Self::whole() }
    }

    /// Goes through the next piece and tells of the items that end in it.
    pub(super) fn scan(&mut self, piece: &[u8], mut found: impl FnMut(Range<u64>)) -> Result<(), NoList> {
        for byte in piece {
            self.step(*byte, &mut found)?;
            self.position += 1;
        }
        Ok(())
    }

    /// The text is over, or the stretch of it that was asked for.
    pub(super) fn finish(self, mut found: impl FnMut(Range<u64>)) -> Result<(), NoList> {
        match (self.stands, self.begun) {
            (Stands::After, _) => Ok(()),
            (Stands::Inside, Some(from)) if self.depth == 0 && !self.is_in_text => {
                found(from..self.position);
                Ok(())
            }
            _ => Err(NoList),
        }
    }

    fn step(&mut self, byte: u8, found: &mut impl FnMut(Range<u64>)) -> Result<(), NoList> {
        if self.is_in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_text = false,
                _ => {}
            }
            return Ok(());
        }
        if byte.is_ascii_whitespace() {
            return Ok(());
        }
        match self.stands {
            Stands::Before if byte == b'[' => self.stands = Stands::Inside,
            Stands::Before | Stands::After => return Err(NoList),
            Stands::Inside if self.depth == 0 && matches!(byte, b',' | b']') => match self.begun.take() {
                Some(from) => {
                    found(from..self.position);
                    self.end(byte);
                }
                None if byte == b']' && !self.is_owed => self.end(byte),
                None => return Err(NoList),
            },
            Stands::Inside => {
                self.begun.get_or_insert(self.position);
                match byte {
                    b'"' => self.is_in_text = true,
                    b'[' | b'{' => self.depth += 1,
                    b']' | b'}' => self.depth = self.depth.checked_sub(1).ok_or(NoList)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, byte: u8) {
        match byte {
            b',' => self.is_owed = true,
            _ => self.stands = Stands::After,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn items(text: &str, piece: usize) -> Result<Vec<String>, NoList> {
        let mut items = Vec::new();
        let mut found =
            |range: Range<u64>| items.push(text[range.start as usize..range.end as usize].trim_end().to_owned());
        let mut scanner = Scanner::whole();
        for piece in text.as_bytes().chunks(piece) {
            scanner.scan(piece, &mut found)?;
        }
        scanner.finish(&mut found)?;
        Ok(items)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(|it| json!(it)),
            r#"[a-c\\"\[\]{},: äß]{0,6}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(r#"[a\\",\]]{0,3}"#, inner, 0..3)
                    .prop_map(|it| it.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn items_are_those_that_a_parser_finds(
            list in prop::collection::vec(value(), 0..8), piece in 1..9usize, is_wide in any::<bool>(),
        ) {
            let text = if is_wide { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
            let found = items(&text, piece).unwrap();
            let read: Vec<Value> = found.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            prop_assert_eq!(read, list);
        }
    }

    #[test]
    fn what_is_no_list_is_told() {
        for text in ["{}", "", "[1", "[1,]", "[,1]", "[1]]", "[}]", "[\"a]", "1", "[1] 2"] {
            assert_eq!(items(text, 3), Err(NoList), "{text}");
        }
        assert_eq!(items(" [ ] ", 1), Ok(Vec::new()));
    }
}
