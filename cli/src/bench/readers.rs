//! Readers: how much of the throughput is left while thousands follow runs, most of them slowly, and what memory each takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::cluster::Cluster;
use super::follower::{Follower, Log};
use super::graphs::{self, CHAIN_NODES};
use super::http::Connection;
use super::load::{RUNS, round};
use super::machine::{processor_seconds, resident_bytes};
use super::measured::{Cores, Measured};
use super::quantile;
use super::report::{Report, round as rounded};
use crate::error::{Context, Exit, Failure, Result};
use crate::ui::note;

const IN_FLIGHT: usize = 64;
/// Those who wait for what does not come.
const IDLE: usize = 2_000;
/// Those who take this much a second, and those who take nothing.
const PACED: usize = 500;
const BYTES_PER_SECOND: u64 = 10_000;
const STOPPED: usize = 500;
/// Runs that they follow.
const SPEAKING_RUNS: usize = 8;
/// How long such a run speaks.
pub(super) const SPEAKING_TIME: Duration = Duration::from_secs(60);
/// How long those who read stay before they are cut off.
const STAY: Duration = Duration::from_secs(7);
/// How long the load is measured, without readers and with them.
const QUIET_TIME: Duration = Duration::from_secs(12);
const BUSY_TIME: Duration = Duration::from_secs(25);
/// Open files for them, beside the load's.
const FILES: u64 = 8_192;

/// What a reader has read.
struct Read {
    log: Log,
    /// Of the runs that speak, the number of the one that it followed.
    run: usize,
    returns: u64,
    /// Events and bytes while the load was measured.
    beside: (u64, u64),
}

/// W2's load without readers, with them, and without them again.
pub(super) async fn measure(cluster: &Cluster, report: &mut Report) -> Result<()> {
    raise_files()?;
    let mut first = cluster.connect().await?;
    let workflow: Arc<str> = first.save(&graphs::chain()).await?.into();
    let mut connections = Vec::with_capacity(IN_FLIGHT);
    for _ in 0..IN_FLIGHT {
        connections.push(cluster.connect().await?);
    }
    loaded(cluster, &mut connections, &workflow, QUIET_TIME / 2).await?;
    let before = cluster.counters().await?;
    let quiet = loaded(cluster, &mut connections, &workflow, QUIET_TIME).await?;

    let without = memory(cluster)?;
    let parked = first.save(&graphs::parked()).await?;
    let parked = first.execute(&parked).await?;
    let (stop, stopped) = watch::channel(false);
    let mut idle = JoinSet::new();
    for _ in 0..IDLE {
        let mut follower = cluster.follow(&parked, &Log::default()).await?;
        let mut stopped = stopped.clone();
        idle.spawn(async move {
            let (mut log, far) = (Log::default(), Instant::now() + SPEAKING_TIME * 10);
            tokio::select! {
                read = follower.read(&mut log, far, None) => read.and_then(|_| Err(Failure::failed("an idle stream ended"))),
                _told = stopped.wait_for(|is| *is) => Ok(()),
            }
        });
    }
    let with_idle = memory(cluster)?;

    let speaking = first.save(&graphs::speaking(SPEAKING_TIME)).await?;
    let mut runs = Vec::with_capacity(SPEAKING_RUNS);
    for _ in 0..SPEAKING_RUNS {
        runs.push(first.execute(&speaking).await?);
    }
    let since = Instant::now();
    let until = since + BUSY_TIME + Duration::from_secs(5);
    let mut readers = JoinSet::new();
    for number in 0..PACED + STOPPED {
        let run = number % SPEAKING_RUNS;
        let follower = cluster.follow(&runs[run], &Log::default()).await?;
        let (gateway, key) = cluster.gateway();
        readers.spawn(read_slowly(number, run, runs[run].clone(), follower, (gateway, key), until));
    }
    let busy = loaded(cluster, &mut connections, &workflow, BUSY_TIME).await?;
    let with_all = memory(cluster)?;
    let mut all = Vec::with_capacity(PACED + STOPPED);
    while let Some(joined) = readers.join_next().await {
        all.push(joined.context(Exit::Failed, "a reader broke")??);
    }
    for (number, run) in runs.iter().enumerate() {
        let history = first.history(run).await?;
        if all.iter().any(|read| read.run == number && read.log.history != history) {
            return Err(Failure::failed(format!("a reader of {run} has read another history than it has")));
        }
    }
    stop.send_replace(true);
    while let Some(joined) = idle.join_next().await {
        joined.context(Exit::Failed, "a reader broke")??;
    }
    let again = loaded(cluster, &mut connections, &workflow, QUIET_TIME).await?;
    let rates: Vec<f64> = quiet.rates.iter().chain(&again.rates).copied().collect();
    let (quiet_per_s, busy_per_s) = (quantile(&rates, 0.5), quantile(&busy.rates, 0.5));
    let of = |from: u64, to: u64, readers: usize| (to.saturating_sub(from)) / readers as u64;
    let sum = |of: fn(&Read) -> u64| all.iter().map(of).sum::<u64>();
    let per_s = |count: u64| (count as f64 / (until - since).as_secs_f64()).round() as u64;
    let line = Measured::Readers {
        idle: IDLE,
        paced: PACED,
        stopped: STOPPED,
        quiet_per_s: quiet_per_s.round() as u64,
        busy_per_s: busy_per_s.round() as u64,
        loss_percent: rounded(100.0 * (1.0 - busy_per_s / quiet_per_s)),
        quiet_cores: quiet.cores,
        busy_cores: busy.cores,
        events_per_s: per_s(sum(|read| read.beside.0)),
        bytes_per_s: per_s(sum(|read| read.beside.1)),
        coordinator_bytes_idle: of(without.0, with_idle.0, IDLE),
        gateway_bytes_idle: of(without.1, with_idle.1, IDLE),
        coordinator_bytes_slow: of(with_idle.0, with_all.0, PACED + STOPPED),
        gateway_bytes_slow: of(with_idle.1, with_all.1, PACED + STOPPED),
        events: sum(|read| read.log.history.seq),
        returns: sum(|read| read.returns),
        gaps: sum(|read| read.log.gaps),
        bytes: sum(|read| read.log.bytes),
    };
    report.line(line, cluster.counters().await?.since(before))
}

/// Lets as many connections be open as there are readers.
fn raise_files() -> Result<()> {
    let (files, most) =
        getrlimit(Resource::RLIMIT_NOFILE).context(Exit::Failed, "cannot tell how many files may be open")?;
    if files < FILES {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, FILES.min(most), most);
        raised.context(Exit::Failed, "cannot open as many files as there are readers")?;
    }
    Ok(())
}

/// Follows a run slowly, or takes nothing of it, until the load is measured; then comes back and reads to the end.
async fn read_slowly(
    number: usize,
    run: usize,
    execution: String,
    follower: Follower,
    (gateway, key): (SocketAddr, String),
    until: Instant,
) -> Result<Read> {
    let is_paced = number < PACED;
    let (mut log, mut follower, mut returns) = (Log::default(), Some(follower), 0);
    while is_paced && Instant::now() < until {
        let mut open = match follower.take() {
            Some(open) => open,
            None => Follower::open(gateway, &key, &execution, &log).await?,
        };
        // Not all are cut off at the same moment.
        let stay = STAY + Duration::from_millis(number as u64 * 37 % 3_000);
        open.read(&mut log, until.min(Instant::now() + stay), Some(BYTES_PER_SECOND)).await?;
        returns += 1;
    }
    sleep_until(until).await;
    drop(follower);
    let beside = (log.events, log.bytes);
    Follower::open(gateway, &key, &execution, &log).await?.finish(&mut log).await?;
    Ok(Read { log, run, returns: returns + 1, beside })
}

/// The load for so long.
struct Loaded {
    /// Nodes a second in each of its rounds.
    rates: Vec<f64>,
    cores: Cores,
}

async fn loaded(
    cluster: &Cluster,
    connections: &mut Vec<Connection>,
    workflow: &Arc<str>,
    time: Duration,
) -> Result<Loaded> {
    let (before, since) = (spent(cluster)?, Instant::now());
    let (until, mut rates) = (since + time, Vec::new());
    while rates.is_empty() || Instant::now() < until {
        let seconds;
        (*connections, seconds) = round(std::mem::take(connections), workflow).await?;
        rates.push((RUNS * CHAIN_NODES) as f64 / seconds);
    }
    let (after, seconds) = (spent(cluster)?, since.elapsed().as_secs_f64());
    let [coordinator, gateway, agent, bench] =
        std::array::from_fn(|part| rounded((after[part] - before[part]) / seconds));
    let cores = Cores { coordinator, gateway, agent, bench };
    note(&format!("{} rounds, the median {:.0} nodes/s; {cores}", rates.len(), quantile(&rates, 0.5)));
    Ok(Loaded { rates, cores })
}

/// Seconds that coordinator, gateway, agent and this process have had of the cores.
fn spent(cluster: &Cluster) -> Result<[f64; 4]> {
    let parts = [cluster.coordinator_pid(), cluster.gateway_pid(), cluster.agent_pid(), Some(std::process::id())];
    let mut seconds = [0.0; 4];
    for (seconds, pid) in seconds.iter_mut().zip(parts) {
        let told = pid.and_then(processor_seconds);
        *seconds = told.ok_or_else(|| Failure::failed("this system does not tell what a process took of the cores"))?;
    }
    Ok(seconds)
}

/// Resident bytes of the coordinator and the gateway.
fn memory(cluster: &Cluster) -> Result<(u64, u64)> {
    let of = |pid: Option<u32>| pid.and_then(resident_bytes);
    let both = of(cluster.coordinator_pid()).zip(of(cluster.gateway_pid()));
    both.ok_or_else(|| Failure::failed("this system does not tell how much memory a process has"))
}
