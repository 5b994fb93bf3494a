//! A position in JSON text. It knows where strings and scalars end, and leaves grammar to `serde_json`.

/// Reads JSON text from front to back.
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not white space, still unread.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Steps over the byte that [`Cursor::peek`] showed.
    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// The string that starts here, quotes included; nothing if it never ends.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut end = start + 1;
        loop {
            match self.text.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.at = end + 1;
        Some(&self.text[start..self.at])
    }

    /// The number or word that starts here; nothing if no letter of one is here.
    pub(super) fn scalar(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
            self.at += 1;
        }
        (self.at > start).then(|| &self.text[start..self.at])
    }
}
