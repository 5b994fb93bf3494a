//! Colour, where it helps and is wanted.

use std::ffi::OsStr;
use std::io::IsTerminal;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// No escape codes at all.
    pub const PLAIN: Style = Style { colour: false };

    /// For the standard output.
    pub fn stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// For the standard error.
    pub fn stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        Self::decide(terminal, std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref())
    }

    /// The rule (no-color.org): a terminal that is not dumb, and no `NO_COLOR` unless that is empty.
    fn decide(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty()) || term.is_some_and(|term| term == "dumb");
        Style { colour: terminal && !refused }
    }

    /// Something that matters.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something beside the point.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// An error.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// A status word of a run or node, in the colour of its kind.
    pub fn status(self, word: &str) -> String {
        self.as_status(word, word)
    }

    /// A text in the colour of a status word.
    pub fn as_status(self, word: &str, text: &str) -> String {
        match word {
            "COMPLETED" | "CACHED" => self.paint("32", text),
            "FAILED" => self.paint("31", text),
            "RUNNING" | "WAITING" | "STARTED" | "RETRYING" => self.paint("33", text),
            _ => self.paint("2", text),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_consent() {
        let on = Style { colour: true };
        let word = |text: &'static str| Some(OsStr::new(text));
        assert_eq!(Style::decide(true, None, word("xterm")), on);
        assert_eq!(Style::decide(true, word(""), None), on);
        assert_eq!(Style::decide(true, word("1"), word("xterm")), Style::PLAIN);
        assert_eq!(Style::decide(true, None, word("dumb")), Style::PLAIN);
        assert_eq!(Style::decide(false, None, word("xterm")), Style::PLAIN);
    }

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(Style::PLAIN.status("FAILED"), "FAILED");
        assert_eq!(Style { colour: true }.status("FAILED"), "\x1b[31mFAILED\x1b[0m");
    }
}
