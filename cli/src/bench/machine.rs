//! What the figures depend on: the processor, its cores, the disk.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::quantile;
use crate::error::{Context, Exit, Result};

const SYNC_ROUNDS: usize = 200;
const SYNC_BYTES: usize = 4096;
/// In what Linux tells of processes, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine a bench ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Machine {
    /// The processor's name.
    pub(super) cpu: String,
    /// Cores this process may use.
    pub(super) cores: usize,
    /// Memory in MiB; `None` where the system does not tell.
    pub(super) memory_mib: Option<u64>,
    /// Operating system and architecture.
    pub(super) system: String,
}

impl Machine {
    /// This machine.
    pub(super) fn here() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            cpu: value_after(&info, "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            memory_mib: memory_kib("/proc/meminfo", "MemTotal").map(|kib| kib / 1024),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

/// Resident memory of a process, in bytes; `None` where the system does not tell.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    memory_kib(&format!("/proc/{pid}/status"), "VmRSS").map(|kib| kib * 1024)
}

/// What all threads of a process took of the cores, in microseconds; `None` where the system does not tell.
pub(super) fn processor_us(pid: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    // A thread may end between the two looks.
    let stated = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    let taken_ns = stated.map(|text| text.split(' ').next()?.parse::<u64>().ok());
    let total_ns: u64 = taken_ns.sum::<Option<u64>>()?;
    Some(total_ns as f64 / 1e3)
}

/// The same of a process with those of its threads that have ended, in seconds, to some ten milliseconds.
pub(super) fn processor_seconds(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets, and may have spaces.
    let (_, fields) = text.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    let (user, system) = (ticks.next()??, ticks.next()??);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

/// Median time of `fdatasync` after a write of 4 KiB to a file that grows, in milliseconds.
pub(super) fn fdatasync_ms(folder: &Path) -> Result<f64> {
    let failed = "cannot measure fdatasync";
    let mut file = tempfile::tempfile_in(folder).context(Exit::Failed, failed)?;
    let mut times = Vec::with_capacity(SYNC_ROUNDS);
    for _ in 0..SYNC_ROUNDS {
        file.write_all(&[7; SYNC_BYTES]).context(Exit::Failed, failed)?;
        let since = Instant::now();
        file.sync_data().context(Exit::Failed, failed)?;
        times.push(since.elapsed().as_secs_f64() * 1e3);
    }
    Ok(quantile(&times, 0.5))
}

fn memory_kib(path: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    value_after(&text, field)?.split(' ').next()?.parse().ok()
}

fn value_after(text: &str, field: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "VmPeak:\t  10 kB\nVmRSS:\t    6144 kB\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(value_after(text, "VmRSS").as_deref(), Some("6144 kB"));
        assert_eq!(value_after(text, "model name").as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(value_after(text, "absent"), None);
    }

    #[test]
    fn a_process_takes_memory_and_time() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 0);
        assert!(processor_us(pid).unwrap() > 0.0);
        let (before, since) = (processor_seconds(pid).unwrap(), Instant::now());
        while processor_seconds(pid).unwrap() < before + 0.02 {
            assert!(since.elapsed().as_secs() < 30, "work takes no time");
        }
    }

    #[test]
    fn syncing_is_measured() {
        let temp = tempfile::tempdir().unwrap();
        assert!(fdatasync_ms(temp.path()).unwrap() > 0.0);
    }
}
