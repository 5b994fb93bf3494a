//! Whether the database can be read: its format, and its pages.

use std::path::{Path, PathBuf};

use heddle_coordinator::journal::sqlite::Look;
use heddle_coordinator::journal::{JournalError, postgres, sqlite};
use heddle_error_chain::chain;

use super::Check;
use crate::data_dir::DataDir;
use crate::limits::{DOCTOR_DATABASE_WAIT_MAX, DOCTOR_PAGES_TIME_MAX};
use crate::ui::clock;

const NAME: &str = "database";

/// Looks at the database that a coordinator would be told of, or at the folder's own.
pub(super) async fn check(chosen: Option<&str>, data: &DataDir) -> Check {
    let file = match chosen {
        None => data.database_path(),
        Some(text) => match text.strip_prefix("sqlite:") {
            Some(file) => PathBuf::from(file),
            None => return server(text).await,
        },
    };
    let looked = tokio::task::spawn_blocking(move || of_file(&file)).await;
    looked.unwrap_or_else(|error| Check::skipped(NAME, format!("it was not looked at: {error}")))
}

async fn server(address: &str) -> Check {
    match postgres::formats(address, DOCTOR_DATABASE_WAIT_MAX).await {
        Ok(formats) => format(formats).unwrap_or_else(|| Check::ok(NAME, format!("it answers, {}", shown(formats)))),
        Err(error) => {
            let next = "see that PostgreSQL runs and lets this machine in, and that --database is right";
            Check::failed(NAME, format!("the server does not answer: {}", reason(&error)), next)
        }
    }
}

fn of_file(file: &Path) -> Check {
    if !file.exists() {
        return Check::skipped(NAME, format!("there is no {}", file.display()));
    }
    let next = "bring back a copy of the data folder from before, or use another --data-dir";
    let unreadable = |error: JournalError| Check::failed(NAME, format!("{}: {}", file.display(), chain(&error)), next);
    let formats = match sqlite::formats(file) {
        Ok(formats) => formats,
        Err(error) => return unreadable(error),
    };
    if let Some(check) = format(formats) {
        return check;
    }
    match sqlite::look(file, DOCTOR_PAGES_TIME_MAX) {
        Err(error) => unreadable(error),
        Ok(Look::Sound) => Check::ok(NAME, format!("{}; its pages are sound", shown(formats))),
        Ok(Look::Unfinished) => {
            let time = clock::span(DOCTOR_PAGES_TIME_MAX);
            Check::ok(NAME, format!("{}; its pages are sound as far as they were looked at in {time}", shown(formats)))
        }
        Ok(Look::Damaged(faults)) => {
            let first = faults.first().map_or("", |fault| fault.lines().next().unwrap_or_default());
            let next = "stop the server, keep a copy of the folder as it is, and bring back a backup";
            Check::failed(NAME, format!("{} is damaged: {first}", file.display()), next)
        }
    }
}

/// What is wrong with a format, if anything is.
fn format((found, known): (i64, i64)) -> Option<Check> {
    (found > known).then(|| {
        let message = format!("its format {found} is newer than {known}, which this build reads");
        Check::failed(NAME, message, "use the newer heddle that wrote it")
    })
}

fn shown((found, known): (i64, i64)) -> String {
    match found < known {
        true => format!("format {found}, which the next start brings to {known}"),
        false => format!("format {found}, which this build reads"),
    }
}

/// The database's own words: what the journal says of them is for the coordinator's log.
fn reason(error: &JournalError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), chain)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[tokio::test]
    async fn what_is_no_database_or_does_not_answer_is_found() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::at(temp.path());
        assert_eq!(check(None, &data).await.state, State::Skipped);
        std::fs::write(data.database_path(), "no database at all, but a text of some length").unwrap();
        assert_eq!(check(None, &data).await.state, State::Failed);
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let found = check(Some(&format!("postgres://heddle:hidden@{nobody}/heddle")), &data).await;
        assert_eq!(found.state, State::Failed);
        assert!(!found.message.contains("hidden"), "{}", found.message);
    }
}
