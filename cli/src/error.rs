//! What a command ends with when it does not succeed: an exit code, a sentence, and what to do next.

use std::fmt;
use std::process::ExitCode;

use heddle_error_chain::chain;

/// Exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The run failed, or anything that has no code of its own.
    Failed = 1,
    /// The command line, a file or the set-up is wrong, or the server does not take what they say.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// The key is missing, wrong, or lacks a scope.
    Auth = 4,
    /// Somebody else was first.
    Conflict = 5,
    /// The run waits for somebody's review.
    Review = 6,
    /// It took longer than allowed.
    Timeout = 7,
    /// Too many requests.
    RateLimited = 8,
    /// Interrupted by the user; the run itself goes on.
    Interrupted = 130,
}

/// All exit codes and what they mean; the documentation has this table.
pub const EXIT_CODES: [(u8, &str); 10] = [
    (0, "done; for `run` and `executions watch`: the run completed"),
    (
        Exit::Failed as u8,
        "the run failed or was cancelled, a check of `doctor` failed, or anything without a code of its own",
    ),
    (Exit::Usage as u8, "the command line, a file or the set-up is wrong, or the server does not take what they say"),
    (Exit::NotFound as u8, "there is no such run, workflow, node type or key, or it was removed"),
    (Exit::Auth as u8, "the key is missing, wrong, expired, or lacks a scope"),
    (Exit::Conflict as u8, "somebody else was first, or what is asked for no longer fits the state"),
    (Exit::Review as u8, "the run waits for a review (`executions watch --exit-on-review`)"),
    (Exit::Timeout as u8, "it took longer than allowed; a run goes on"),
    (Exit::RateLimited as u8, "too many requests"),
    (Exit::Interrupted as u8, "interrupted with Ctrl-C; a run goes on"),
];

impl Exit {
    /// The exit code for an HTTP status that is not a success.
    pub fn of_status(status: u16) -> Self {
        match status {
            // What the server does not take is the caller's: the command line, or the file that it names.
            400 | 413 | 415 | 422 => Exit::Usage,
            401 | 403 => Exit::Auth,
            404 | 410 => Exit::NotFound,
            408 | 504 => Exit::Timeout,
            409 | 412 => Exit::Conflict,
            429 => Exit::RateLimited,
            _ => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not succeed, as the user reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    /// What is wrong, in one sentence; further lines hold details.
    pub message: String,
    /// What to do now.
    pub next: Option<String>,
    /// The request's id, when a server said no.
    pub request_id: Option<String>,
}

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with nothing but its exit code and a sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into(), next: None, request_id: None }
    }

    /// The user's command line, file or set-up is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(Exit::Usage, message)
    }

    /// Anything without an exit code of its own.
    pub fn failed(message: impl Into<String>) -> Self {
        Failure::new(Exit::Failed, message)
    }

    /// Says what to do now.
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, "\n  request id: {id}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  next: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Adds what was being done to an error of another library.
pub trait Context<T> {
    /// Turns the error into a failure of this exit code: "what: cause: its cause".
    fn context(self, exit: Exit, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: std::error::Error> Context<T> for std::result::Result<T, E> {
    fn context(self, exit: Exit, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(exit, format!("{what}: {}", chain(&error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_exit_code() {
        let table = [
            (400, Exit::Usage),
            (401, Exit::Auth),
            (403, Exit::Auth),
            (404, Exit::NotFound),
            (410, Exit::NotFound),
            (408, Exit::Timeout),
            (409, Exit::Conflict),
            (412, Exit::Conflict),
            (413, Exit::Usage),
            (422, Exit::Usage),
            (429, Exit::RateLimited),
            (500, Exit::Failed),
            (503, Exit::Failed),
            (504, Exit::Timeout),
        ];
        for (status, exit) in table {
            assert_eq!(Exit::of_status(status), exit, "{status}");
        }
    }

    #[test]
    fn the_codes_are_the_documented_ones() {
        let codes = [
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Auth, 4),
            (Exit::Conflict, 5),
            (Exit::Review, 6),
            (Exit::Timeout, 7),
            (Exit::RateLimited, 8),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit as u8, code);
            assert!(EXIT_CODES.iter().any(|(known, _)| *known == code), "{code} is in no table");
        }
        assert_eq!(EXIT_CODES.len(), codes.len() + 1, "0 is the other one");
    }

    #[test]
    fn a_failure_names_the_request_and_the_next_step() {
        let mut failure = Failure::new(Exit::NotFound, "no execution exec_1").with_next("heddle executions list");
        failure.request_id = Some("req_7".into());
        assert_eq!(failure.to_string(), "no execution exec_1\n  request id: req_7\n  next: heddle executions list");
    }
}
