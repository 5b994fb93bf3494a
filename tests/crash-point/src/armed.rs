//! What a marked place does in a build that tests may crash.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, raise};

use crate::CRASH_POINTS;

/// Names the place, the hit (from 1) and optionally `stop`: `name:nth` or `name:nth:stop`.
pub const VARIABLE: &str = "HEDDLE_CRASH_POINT";

/// Counts one arrival at the place with this index, and crashes or stops the process if it is the chosen one.
///
/// The environment is read at the first call. A value that cannot be understood ends the process with exit code 2: a test
/// that believes it armed something must not pass because it did not.
pub fn hit(index: usize) {
    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
    let Some(chosen) = CHOSEN.get_or_init(chosen_from_environment) else { return };
    if chosen.place.index == index && chosen.hits.fetch_add(1, Ordering::Relaxed) + 1 == chosen.place.nth {
        end_or_stop(&chosen.place);
    }
}

struct Chosen {
    place: Place,
    hits: AtomicU64,
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    index: usize,
    nth: u64,
    signal: Signal,
}

fn chosen_from_environment() -> Option<Chosen> {
    let value = std::env::var_os(VARIABLE)?;
    match parse(&value.to_string_lossy()) {
        Ok(place) => Some(Chosen { place, hits: AtomicU64::new(0) }),
        Err(reason) => {
            eprintln!("{VARIABLE} is {value:?}: {reason}; set it to name:nth or name:nth:stop");
            std::process::exit(2);
        }
    }
}

fn parse(value: &str) -> Result<Place, &'static str> {
    let mut parts = value.split(':');
    let name = parts.next().unwrap_or_default();
    let index = CRASH_POINTS.iter().position(|point| point.name == name).ok_or("no crash point has this name")?;
    let nth = parts.next().and_then(|nth| nth.parse().ok()).ok_or("the hit is not a number")?;
    let signal = match parts.next() {
        None => Signal::SIGKILL,
        Some("stop") => Signal::SIGSTOP,
        Some(_) => return Err("only stop may follow the hit"),
    };
    match (nth, parts.next()) {
        (0, _) => Err("hits are counted from 1"),
        (_, Some(_)) => Err("nothing may follow stop"),
        (nth, None) => Ok(Place { index, nth, signal }),
    }
}

/// Raised on this very thread, so that it meets the signal before its next instruction. A signal to the process would go to
/// any thread, and this one would run on until that one has been scheduled.
fn end_or_stop(place: &Place) {
    eprintln!("crash point {} hit {}: {}", CRASH_POINTS[place.index].name, place.nth, place.signal);
    // To this thread: it stops before it returns. Sent to the process, another one might take the signal, and this one be past
    // the place before all are stopped.
    let sent = raise(place.signal);
    assert!(sent.is_ok(), "a thread may always signal itself");
    if place.signal == Signal::SIGKILL {
        // The signal may take a moment to act: nothing after the mark may run in that moment.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Output, Stdio};
    use std::sync::atomic::AtomicBool;

    use nix::sys::signal::kill;
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::*;

    const STOPS: usize = 30;

    #[test]
    fn a_value_names_place_hit_and_signal() {
        let index = crate::index_of("timers.due");
        assert_eq!(parse("timers.due:3"), Ok(Place { index, nth: 3, signal: Signal::SIGKILL }));
        assert_eq!(parse("timers.due:1:stop"), Ok(Place { index, nth: 1, signal: Signal::SIGSTOP }));
        for bad in ["", "timers.due", "timers.due:", "timers.due:0", "timers.due:1:go", "timers.due:1:stop:", "due:1"] {
            assert!(parse(bad).is_err(), "{bad:?} was understood");
        }
    }

    #[test]
    fn the_chosen_hit_kills_the_process() {
        let output = run_child("agent.before-work:2");
        assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("passed 1") && !said.contains("passed 2"), "{said}");
    }

    #[test]
    fn an_unmarked_or_unreached_place_does_nothing() {
        for value in ["agent.before-work:4", "agent.result-sent:1"] {
            let output = run_child(value);
            assert!(output.status.success());
            assert!(String::from_utf8_lossy(&output.stdout).contains("passed 3"));
        }
    }

    #[test]
    fn a_misspelt_value_is_not_ignored() {
        assert_eq!(run_child("agent.before-wrok:1").status.code(), Some(2));
    }

    #[test]
    fn stop_waits_for_continue_and_nothing_passes_meanwhile() {
        // Often, and with every core busy: a stop that is late is late by a moment.
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 * std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let early: Vec<String> = (0..STOPS).map(|_| said_when_stopped()).filter(|said| !said.is_empty()).collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(early.is_empty(), "{} of {STOPS} times: {early:?}", early.len());
        });
    }

    /// Stops a child at its first hit, and gives what of its passing was said before it went on.
    fn said_when_stopped() -> String {
        let said = tempfile::NamedTempFile::new().unwrap();
        let output = said.reopen().unwrap();
        let mut child = child("agent.before-work:1:stop").stdout(output).stderr(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert_eq!(waitpid(pid, Some(WaitPidFlag::WUNTRACED)), Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)));
        let passed = |text: &str| text.lines().filter(|line| line.contains("passed")).map(str::to_owned).collect();
        let before: String = passed(&std::fs::read_to_string(said.path()).unwrap());
        kill(pid, Signal::SIGCONT).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(std::fs::read_to_string(said.path()).unwrap().contains("passed 3"));
        before
    }

    /// Not a test of its own: the other tests run it in a process that may die.
    #[test]
    #[ignore = "run by the other tests in a process of its own"]
    fn child_passes_a_place_three_times() {
        for time in 1..=3 {
            crate::crash_point!("agent.before-work");
            println!("passed {time}");
        }
    }

    fn run_child(value: &str) -> Output {
        child(value).output().unwrap()
    }

    fn child(value: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "armed::tests::child_passes_a_place_three_times";
        command.args(["--exact", name, "--ignored", "--nocapture"]).env(VARIABLE, value);
        command
    }
}
