//! An error and what caused it, as one line: for logs, and for messages to people.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::error::Error;

/// The error, and behind colons what caused it. Many errors quote their cause themselves: what is said already is left out.
pub fn chain(error: &dyn Error) -> String {
    after(&error.to_string(), error)
}

/// The same with other words for the error itself.
pub fn after(words: &str, error: &dyn Error) -> String {
    let mut text = words.to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &dyn Error)
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let root = Layer("out of file handles", None);
        let middle = Layer("no connection: out of file handles", Some(Box::new(root)));
        let error = Layer("the database is away", Some(Box::new(middle)));
        assert_eq!(chain(&error), "the database is away: no connection: out of file handles");
        assert_eq!(after("stalled", &error), "stalled: no connection: out of file handles");
    }
}
