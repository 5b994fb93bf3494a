//! One process of a cluster.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::binary;

/// A running `heddle`. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `heddle ARGUMENTS`; what it says goes to the end of `log`. `armed` is a crash point and its hit.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[String], log: &Path, armed: Option<&str>) -> Self {
        Self::start_with(arguments, log, armed, &[])
    }

    /// The same, with these variables in its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with(arguments: &[String], log: &Path, armed: Option<&str>, variables: &[(String, String)]) -> Self {
        Self::start_in(None, arguments, log, armed, variables)
    }

    /// The same in a network namespace.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_in(
        namespace: Option<&str>,
        arguments: &[String],
        log: &Path,
        armed: Option<&str>,
        variables: &[(String, String)],
    ) -> Self {
        let mut command = command_in(namespace);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        if let Some(armed) = armed {
            command.env("HEDDLE_CRASH_POINT", armed);
        }
        let file = File::options().create(true).append(true).open(log);
        let file = file.unwrap_or_else(|error| panic!("no log at {}: {error}", log.display()));
        let second = file.try_clone().unwrap_or_else(|error| panic!("no second handle of a log: {error}"));
        command.args(arguments).stdin(Stdio::null()).stdout(file).stderr(second);
        let child = command.spawn().unwrap_or_else(|error| panic!("heddle does not start: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Ends it without a warning (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }

    /// Sends a signal to this process alone.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap_or_default();
        let sent = kill(Pid::from_raw(pid), signal);
        assert!(pid > 1 && sent.is_ok(), "{signal} could not be sent to {pid}: {sent:?}");
    }

    /// Forgets the peak of its memory; gives what it takes now, in bytes.
    ///
    /// # Panics
    /// When it is gone.
    pub fn begin_peak(&self) -> u64 {
        let reset = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
        reset.unwrap_or_else(|error| panic!("the peak of {} cannot be forgotten: {error}", self.child.id()));
        self.memory("VmRSS:")
    }

    /// The most memory that it has taken since then, in bytes.
    ///
    /// # Panics
    /// When it is gone.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("no {name} of {}", self.child.id())) * 1024
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Whether a crash point has ended it.
    pub fn crashed(&mut self) -> bool {
        self.ended().is_some_and(|status| status.signal() == Some(Signal::SIGKILL as i32))
    }

    /// What it has said so far, its earlier starts included.
    pub fn said(&self) -> String {
        std::fs::read(&self.log).map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `heddle`, without what the environment says to it.
pub fn command() -> Command {
    command_in(None)
}

fn command_in(namespace: Option<&str>) -> Command {
    let mut command = match namespace {
        None => Command::new(binary::heddle()),
        Some(namespace) => {
            let mut command = Command::new("ip");
            // It becomes what it is told to run: the process's id stays.
            command.args(["netns", "exec", namespace]).arg(binary::heddle());
            command
        }
    };
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_"));
    for (name, _) in ours.filter(|(name, _)| name != "HEDDLE_LOG") {
        command.env_remove(name);
    }
    if std::env::var_os("HEDDLE_LOG").is_none() {
        command.env("HEDDLE_LOG", "warn");
    }
    command
}
