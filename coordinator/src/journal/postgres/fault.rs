//! What an error of the server or of its connection means.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::journal::JournalError;

/// Why a piece of work was not done, or is not known to be done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// What the server or the driver says.
    Server(sqlx::Error),
    /// No answer came in time.
    Late,
    /// The rows of a transaction do not follow what is there.
    NotNext,
    /// What was read makes no sense, or was not there.
    Found(JournalError),
}

/// What to make of trouble with rows that were to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They do not follow what is there.
    Refused,
    /// Other rows would have been taken: the fault lies in these.
    Data,
    /// They are certainly not written; the same may be tried again.
    Again,
    /// They may or may not be written.
    Unknown,
}

impl Trouble {
    /// For what was asked of the server.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Trouble::NotNext => Verdict::Refused,
            Trouble::Server(sqlx::Error::Database(error)) => {
                let error = error.downcast_ref::<PgDatabaseError>();
                if matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) {
                    return Verdict::Unknown;
                }
                of_state(error.code())
            }
            Trouble::Server(sqlx::Error::Encode(_)) => Verdict::Data,
            Trouble::Server(_) | Trouble::Late | Trouble::Found(_) => Verdict::Unknown,
        }
    }

    /// Whether the server could not be reached, or has gone.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Trouble::Server(sqlx::Error::Database(error)) => {
                let error = error.downcast_ref::<PgDatabaseError>();
                matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
            }
            Trouble::Server(error) => matches!(
                error,
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed
            ),
            Trouble::Late => true,
            Trouble::NotNext | Trouble::Found(_) => false,
        }
    }

    /// Whether the database takes no writes now, although it may answer.
    pub(super) fn is_of_place(&self) -> bool {
        // No space, no memory, too many connections; a standby that takes no writes.
        self.state().is_some_and(|code| code.starts_with("53") || code == "25006")
    }

    /// Whether the server has given the transaction up for another one's sake.
    pub(crate) fn is_deadlock(&self) -> bool {
        self.state().is_some_and(|code| matches!(code, "40001" | "40P01"))
    }

    pub(super) fn state(&self) -> Option<&str> {
        match self {
            Trouble::Server(sqlx::Error::Database(error)) => Some(error.downcast_ref::<PgDatabaseError>().code()),
            _ => None,
        }
    }

    /// For who asked.
    pub(super) fn told(self, doing: &'static str) -> JournalError {
        let source: Box<dyn std::error::Error + Send + Sync> = match self {
            Trouble::Found(error) => return error,
            Trouble::Server(error) => Box::new(error),
            late @ (Trouble::Late | Trouble::NotNext) => late.to_string().into(),
        };
        JournalError::Database { doing, source }
    }
}

/// By SQLSTATE. <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_state(code: &str) -> Verdict {
    match code {
        // A row with this key is there already; a count that was not as it must be (see the statement).
        "23505" | "22012" => Verdict::Refused,
        "40003" => Verdict::Unknown,
        // Data, constraints, limits of the program, what a trigger raises.
        _ if ["22", "23", "54", "P0"].iter().any(|class| code.starts_with(class)) => Verdict::Data,
        _ if code.starts_with("08") => Verdict::Unknown,
        _ => Verdict::Again,
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Server(error) => error.fmt(f),
            Trouble::Late => f.write_str("the server has not answered in time"),
            Trouble::NotNext => f.write_str("the rows do not follow what is there"),
            Trouble::Found(error) => error.fmt(f),
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Trouble::Server(error)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Trouble::Found(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_say_what_became_of_the_rows() {
        for (code, verdict) in [
            ("23505", Verdict::Refused),
            ("22012", Verdict::Refused),
            ("22021", Verdict::Data),
            ("23514", Verdict::Data),
            ("54000", Verdict::Data),
            ("P0001", Verdict::Data),
            ("40001", Verdict::Again),
            ("40P01", Verdict::Again),
            ("53100", Verdict::Again),
            ("25006", Verdict::Again),
            ("40003", Verdict::Unknown),
            ("08006", Verdict::Unknown),
        ] {
            assert_eq!(of_state(code), verdict, "{code}");
        }
        assert_eq!(Trouble::Late.verdict(), Verdict::Unknown);
        assert_eq!(Trouble::Server(sqlx::Error::Protocol("x".into())).verdict(), Verdict::Unknown);
    }
}
