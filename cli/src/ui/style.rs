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
        let variable = |name: &str| std::env::var_os(name);
        let (no_color, force) = (variable("NO_COLOR"), variable("CLICOLOR_FORCE"));
        Self::decide(terminal, no_color.as_deref(), force.as_deref(), variable("TERM").as_deref())
    }

    /// The rule (no-color.org, bixense.com/clicolors): `NO_COLOR` that is not empty refuses, `CLICOLOR_FORCE` that is
    /// neither empty nor `0` forces, else a terminal that is not dumb decides.
    fn decide(terminal: bool, no_color: Option<&OsStr>, force: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty());
        let forced = force.is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = term.is_some_and(|term| term == "dumb");
        Style { colour: !refused && (forced || (terminal && !dumb)) }
    }

    /// Whether anything is coloured at all.
    pub fn is_coloured(self) -> bool {
        self.colour
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

    /// Something new, or well.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something changed, or doubtful.
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
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
        let table = [
            (true, None, None, word("xterm"), on),
            (true, word(""), None, None, on),
            (true, word("1"), None, word("xterm"), Style::PLAIN),
            (true, None, None, word("dumb"), Style::PLAIN),
            (false, None, None, word("xterm"), Style::PLAIN),
            (false, None, word("1"), word("dumb"), on),
            (false, None, word("0"), word("xterm"), Style::PLAIN),
            (false, None, word(""), word("xterm"), Style::PLAIN),
            (true, word("1"), word("1"), word("xterm"), Style::PLAIN),
        ];
        for (terminal, no_color, force, term, expected) in table {
            assert_eq!(Style::decide(terminal, no_color, force, term), expected, "{no_color:?} {force:?} {term:?}");
        }
    }

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(Style::PLAIN.status("FAILED"), "FAILED");
        assert_eq!(Style { colour: true }.status("FAILED"), "\x1b[31mFAILED\x1b[0m");
    }
}
