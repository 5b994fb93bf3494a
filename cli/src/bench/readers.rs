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
pub(super) const SPEAKING_TIME: Duration = Duration::from_secs(30);
/// How long those who read stay before they are cut off.
const STAY: Duration = Duration::from_secs(4);
/// How often the load is measured with readers, and without them before each time and at the end.
const TURNS: usize = 4;
/// How long each of these takes.
const QUIET_TIME: Duration = Duration::from_secs(8);
const BUSY_TIME: Duration = Duration::from_secs(16);
/// How much longer than the load the slow readers are there, so that none comes back while it is measured.
const SETTLE_TIME: Duration = Duration::from_secs(4);
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

/// What is measured in a stretch beside readers of runs of its own.
struct Beside {
    load: Load,
    /// Resident bytes of the coordinator and the gateway.
    memory: (u64, u64),
    /// How long the readers read slowly.
    seconds: f64,
    readers: Vec<Read>,
}

/// W2's load without readers and with them, in turns: a machine's own pace changes within a minute.
pub(super) async fn measure(cluster: &Cluster, report: &mut Report) -> Result<()> {
    raise_files()?;
    let mut first = cluster.connect().await?;
    let workflow: Arc<str> = first.save(&graphs::chain()).await?.into();
    let mut connections = Vec::with_capacity(IN_FLIGHT);
    for _ in 0..IN_FLIGHT {
        connections.push(cluster.connect().await?);
    }
    loaded(cluster, &mut connections, &workflow, QUIET_TIME).await?;
    let before = cluster.counters().await?;
    let parked = first.save(&graphs::parked()).await?;
    let parked = first.execute(&parked).await?;
    let speaking = first.save(&graphs::speaking(SPEAKING_TIME)).await?;
    let (mut quiet, mut busy) = (Load::default(), Load::default());
    let (mut idle_bytes, mut slow_bytes) = ((0, 0), (0, 0));
    let (mut all, mut slow_seconds) = (Vec::new(), 0.0);
    for turn in 0..TURNS {
        quiet.add(loaded(cluster, &mut connections, &workflow, QUIET_TIME).await?);
        let without = memory(cluster)?;
        let (stop, mut idle) = idle(cluster, &parked).await?;
        let with_idle = memory(cluster)?;
        let beside = beside(cluster, &mut first, &speaking, (&mut connections, &workflow)).await?;
        if turn == 0 {
            // Later ones find what these have left.
            (idle_bytes, slow_bytes) =
                (more(without, with_idle, IDLE), more(with_idle, beside.memory, PACED + STOPPED));
        }
        stop.send_replace(true);
        while let Some(joined) = idle.join_next().await {
            joined.context(Exit::Failed, "a reader broke")??;
        }
        busy.add(beside.load);
        slow_seconds += beside.seconds;
        all.extend(beside.readers);
    }
    quiet.add(loaded(cluster, &mut connections, &workflow, QUIET_TIME).await?);
    let (quiet_per_s, busy_per_s) = (quiet.per_s(), busy.per_s());
    let sum = |of: fn(&Read) -> u64| all.iter().map(of).sum::<u64>();
    let per_s = |count: u64| (count as f64 / slow_seconds).round() as u64;
    let line = Measured::Readers {
        idle: IDLE,
        paced: PACED,
        stopped: STOPPED,
        quiet_per_s: quiet_per_s.round() as u64,
        busy_per_s: busy_per_s.round() as u64,
        loss_percent: rounded(100.0 * (1.0 - busy_per_s / quiet_per_s)),
        quiet_cores: quiet.cores(),
        busy_cores: busy.cores(),
        events_per_s: per_s(sum(|read| read.beside.0)),
        bytes_per_s: per_s(sum(|read| read.beside.1)),
        coordinator_bytes_idle: idle_bytes.0,
        gateway_bytes_idle: idle_bytes.1,
        coordinator_bytes_slow: slow_bytes.0,
        gateway_bytes_slow: slow_bytes.1,
        events: sum(|read| read.log.history.seq),
        returns: sum(|read| read.returns),
        gaps: sum(|read| read.log.gaps),
        bytes: sum(|read| read.log.bytes),
    };
    report.line(line, cluster.counters().await?.since(before))
}

/// Readers of a run that waits, until they are told to stop.
async fn idle(cluster: &Cluster, parked: &str) -> Result<(watch::Sender<bool>, JoinSet<Result<()>>)> {
    let (stop, stopped) = watch::channel(false);
    let mut idle = JoinSet::new();
    for _ in 0..IDLE {
        let mut follower = cluster.follow(parked, &Log::default()).await?;
        let mut stopped = stopped.clone();
        idle.spawn(async move {
            let (mut log, far) = (Log::default(), Instant::now() + SPEAKING_TIME * 10);
            tokio::select! {
                read = follower.read(&mut log, far, None) => read.and_then(|()| Err(Failure::failed("an idle stream ended"))),
                _told = stopped.wait_for(|is| *is) => Ok(()),
            }
        });
    }
    Ok((stop, idle))
}

/// The load beside slow readers of runs that speak; what each of them has read in the end is the history of its run.
async fn beside(
    cluster: &Cluster,
    first: &mut Connection,
    speaking: &str,
    (connections, workflow): (&mut Vec<Connection>, &Arc<str>),
) -> Result<Beside> {
    let mut runs = Vec::with_capacity(SPEAKING_RUNS);
    for _ in 0..SPEAKING_RUNS {
        runs.push(first.execute(speaking).await?);
    }
    let since = Instant::now();
    let until = since + BUSY_TIME + SETTLE_TIME;
    let mut readers = JoinSet::new();
    for number in 0..PACED + STOPPED {
        let run = number % SPEAKING_RUNS;
        let follower = cluster.follow(&runs[run], &Log::default()).await?;
        let (gateway, key) = cluster.gateway();
        readers.spawn(read_slowly(number, run, runs[run].clone(), follower, (gateway, key), until));
    }
    let load = loaded(cluster, connections, workflow, BUSY_TIME).await?;
    let memory = memory(cluster)?;
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
    Ok(Beside { load, memory, seconds: (until - since).as_secs_f64(), readers: all })
}

/// How many bytes more each of so many readers takes, of the coordinator and the gateway.
fn more(before: (u64, u64), after: (u64, u64), readers: usize) -> (u64, u64) {
    let of = |from: u64, to: u64| to.saturating_sub(from) / readers as u64;
    (of(before.0, after.0), of(before.1, after.1))
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

/// The load of several stretches.
#[derive(Default)]
struct Load {
    /// Nodes a second in each of its rounds.
    rates: Vec<f64>,
    /// Seconds that coordinator, gateway, agent and this process have had of the cores.
    spent: [f64; 4],
    seconds: f64,
}

impl Load {
    fn per_s(&self) -> f64 {
        quantile(&self.rates, 0.5)
    }

    fn cores(&self) -> Cores {
        let [coordinator, gateway, agent, bench] = self.spent.map(|spent| rounded(spent / self.seconds));
        Cores { coordinator, gateway, agent, bench }
    }

    fn add(&mut self, stretch: Load) {
        self.rates.extend(stretch.rates);
        self.spent.iter_mut().zip(stretch.spent).for_each(|(all, more)| *all += more);
        self.seconds += stretch.seconds;
    }
}

/// The load for so long.
async fn loaded(
    cluster: &Cluster,
    connections: &mut Vec<Connection>,
    workflow: &Arc<str>,
    time: Duration,
) -> Result<Load> {
    let (before, since) = (spent(cluster)?, Instant::now());
    let (until, mut rates) = (since + time, Vec::new());
    while rates.is_empty() || Instant::now() < until {
        let seconds;
        (*connections, seconds) = round(std::mem::take(connections), workflow).await?;
        rates.push((RUNS * CHAIN_NODES) as f64 / seconds);
    }
    let after = spent(cluster)?;
    let spent = std::array::from_fn(|part| after[part] - before[part]);
    let load = Load { rates, spent, seconds: since.elapsed().as_secs_f64() };
    note(&format!("{} rounds, the median {:.0} nodes/s; {}", load.rates.len(), load.per_s(), load.cores()));
    Ok(load)
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
