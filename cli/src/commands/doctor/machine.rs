//! What can be seen without a server: the data folder, its disk and database, limits, the terminal.

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use super::Check;
use crate::data_dir::DataDir;
use crate::limits::{DOCTOR_OPEN_FILES_MIN, DOCTOR_SYNC_SLOW, DOCTOR_SYNCS};
use crate::ui::clock;
use crate::ui::style::Style;

pub(super) fn checks(data: &DataDir) -> Vec<Check> {
    vec![folder(data), key_file(data), disk(data.path()), open_files(), terminal()]
}

fn folder(data: &DataDir) -> Check {
    let (name, path) = ("data folder", data.path().display());
    let found = match fs::metadata(data.path()) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::warning(name, format!("{path} does not exist yet"), "`heddle up` makes it");
        }
        Err(error) => return Check::failed(name, format!("{path}: {error}"), "pass --data-dir with a folder of yours"),
    };
    if !found.is_dir() {
        return Check::failed(name, format!("{path} is no folder"), "pass --data-dir with a folder of yours");
    }
    if let Err(error) = tempfile::NamedTempFile::new_in(data.path()) {
        let next = "give the folder to the user that runs heddle: chown";
        return Check::failed(name, format!("{path} cannot be written to: {error}"), next);
    }
    match mode(&found) {
        mode if mode & 0o077 == 0 => Check::ok(name, format!("{path}, mode {mode:04o}")),
        mode => Check::warning(name, format!("{path} is open to others, mode {mode:04o}"), format!("chmod 700 {path}")),
    }
}

fn key_file(data: &DataDir) -> Check {
    let (name, path) = ("key file", data.key_path());
    let shown = path.display();
    match fs::metadata(&path) {
        Ok(found) if mode(&found) & 0o077 == 0 => Check::ok(name, format!("{shown}, mode {:04o}", mode(&found))),
        Ok(found) => {
            let message = format!("{shown} can be read by others, mode {:04o}", mode(&found));
            Check::warning(name, message, format!("chmod 600 {shown}"))
        }
        Err(_) if data.database_path().exists() => {
            let next = "stop the server, and start it with --new-key once: it makes a key again";
            Check::warning(name, format!("there is no {shown}, and keys are in the database"), next)
        }
        Err(_) => Check::skipped(name, format!("there is no {shown}; the first `heddle up` makes it")),
    }
}

fn mode(found: &fs::Metadata) -> u32 {
    found.permissions().mode() & 0o7777
}

/// Every commit waits for the disk once: the time of an `fdatasync` bounds what a run can do in a second.
fn disk(folder: &Path) -> Check {
    let name = "disk";
    if !folder.is_dir() {
        return Check::skipped(name, "there is no data folder to measure on");
    }
    match sync_time(folder) {
        Err(error) => {
            let next = "see that the disk has space and the folder can be written to";
            Check::failed(name, format!("a file cannot be written and synced: {error}"), next)
        }
        Ok(time) if time > DOCTOR_SYNC_SLOW => {
            let next = "use a data folder on a local SSD; network disks and SD cards are slow";
            Check::warning(name, format!("a sync takes {}", short(time)), next)
        }
        Ok(time) => Check::ok(name, format!("a sync (fdatasync of 4 KiB) takes {}", short(time))),
    }
}

fn short(time: Duration) -> String {
    match time {
        short if short < Duration::from_millis(10) => format!("{:.1} ms", short.as_secs_f64() * 1_000.0),
        long => clock::span(long),
    }
}

/// The median of some syncs, each after four kibibytes.
fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(DOCTOR_SYNCS);
    for _ in 0..DOCTOR_SYNCS {
        file.write_all(&[0x5a; 4096])?;
        let since = Instant::now();
        file.sync_data()?;
        times.push(since.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

fn open_files() -> Check {
    let name = "open files";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft >= DOCTOR_OPEN_FILES_MIN => Check::ok(name, format!("at most {soft}")),
        Ok((soft, hard)) => {
            let next = format!("ulimit -n {}", DOCTOR_OPEN_FILES_MIN.min(hard));
            Check::warning(name, format!("at most {soft}; each connection takes one"), next)
        }
        Err(error) => Check::skipped(name, format!("the limit cannot be read: {error}")),
    }
}

fn terminal() -> Check {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let term = std::env::var("TERM").unwrap_or_else(|_| "not set".to_owned());
    let colour = match (Style::stdout().is_coloured(), set("NO_COLOR"), set("CLICOLOR_FORCE")) {
        (true, _, true) => "colours, forced by CLICOLOR_FORCE",
        (true, _, false) => "colours",
        (false, true, _) => "no colours, because of NO_COLOR",
        (false, false, _) => "no colours",
    };
    let place = match std::io::stdout().is_terminal() {
        true => format!("{} columns wide", console::Term::stdout().size().1),
        false => "the output is not a terminal".to_owned(),
    };
    Check::ok("terminal", format!("{place}, TERM {term}, {colour}"))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_folder_is_checked_for_its_modes() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::at(temp.path().join("data"));
        let states = |data: &DataDir| checks(data).iter().map(|check| check.state).take(3).collect::<Vec<_>>();
        assert_eq!(states(&data), [State::Warning, State::Skipped, State::Skipped]);

        data.create().unwrap();
        fs::write(data.key_path(), "sk-1").unwrap();
        fs::set_permissions(data.key_path(), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!((folder(&data).state, key_file(&data).state), (State::Ok, State::Ok));
        assert_ne!(disk(data.path()).state, State::Failed);

        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(data.key_path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!((folder(&data).state, key_file(&data).state), (State::Warning, State::Warning));
        assert!(folder(&data).next.unwrap().starts_with("chmod 700 "));

        fs::remove_file(data.key_path()).unwrap();
        assert_eq!(key_file(&data).state, State::Skipped);
        fs::write(data.database_path(), "").unwrap();
        let lost = key_file(&data);
        assert!(lost.state == State::Warning && lost.next.unwrap().contains("--new-key"));
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(folder(&DataDir::at(file)).state, State::Failed);
    }
}
