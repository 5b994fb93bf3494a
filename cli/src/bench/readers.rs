//! Readers: how much of the throughput is left while thousands follow runs, most of them slowly, and what memory each takes.

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
use super::machine::resident_bytes;
use super::measured::Measured;
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

/// W2's load without readers, with them, and without them again.
pub(super) async fn measure(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let (files, most) =
        getrlimit(Resource::RLIMIT_NOFILE).context(Exit::Failed, "cannot tell how many files may be open")?;
    if files < FILES {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, FILES.min(most), most);
        raised.context(Exit::Failed, "cannot open as many files as there are readers")?;
    }
    let mut first = cluster.connect().await?;
    let workflow: Arc<str> = first.save(&graphs::chain()).await?.into();
    let mut connections = Vec::with_capacity(IN_FLIGHT);
    for _ in 0..IN_FLIGHT {
        connections.push(cluster.connect().await?);
    }
    (connections, _) = loaded(connections, &workflow, QUIET_TIME / 2).await?;
    let before = cluster.counters().await?;
    let (connections, quiet) = loaded(connections, &workflow, QUIET_TIME).await?;

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
    let until = Instant::now() + BUSY_TIME + Duration::from_secs(5);
    let mut readers = JoinSet::new();
    for number in 0..PACED + STOPPED {
        let run = runs[number % SPEAKING_RUNS].clone();
        let (gateway, key) = cluster.gateway();
        let follower = cluster.follow(&run, &Log::default()).await?;
        let is_paced = number < PACED;
        readers.spawn(async move {
            let mut log = Log::default();
            let mut follower = Some(follower);
            let mut returns = 0;
            while is_paced && Instant::now() < until {
                let mut open = match follower.take() {
                    Some(open) => open,
                    None => Follower::open(gateway, &key, &run, &log).await?,
                };
                // Not all are cut off at the same moment.
                let stay = STAY + Duration::from_millis(number as u64 * 37 % 3_000);
                open.read(&mut log, until.min(Instant::now() + stay), Some(BYTES_PER_SECOND)).await?;
                returns += 1;
            }
            sleep_until(until).await;
            drop(follower);
            // They come back, and read to the end.
            Follower::open(gateway, &key, &run, &log).await?.finish(&mut log).await?;
            Ok::<_, Failure>((log, returns + 1))
        });
    }
    let (connections, busy) = loaded(connections, &workflow, BUSY_TIME).await?;
    let with_all = memory(cluster)?;
    let (mut gaps, mut returns, mut bytes, mut ends) = (0, 0, 0, Vec::new());
    while let Some(joined) = readers.join_next().await {
        let (log, returned) = joined.context(Exit::Failed, "a reader broke")??;
        (gaps, returns, bytes) = (gaps + log.gaps, returns + returned, bytes + log.bytes);
        ends.push(log.seq);
    }
    if ends.iter().any(|end| *end != ends[0]) {
        return Err(Failure::failed("readers of like runs have read histories of different lengths"));
    }
    stop.send_replace(true);
    while let Some(joined) = idle.join_next().await {
        joined.context(Exit::Failed, "a reader broke")??;
    }
    let (_, again) = loaded(connections, &workflow, QUIET_TIME).await?;
    let quiet: Vec<f64> = quiet.into_iter().chain(again).collect();
    let (quiet, busy) = (quantile(&quiet, 0.5), quantile(&busy, 0.5));
    let of = |from: u64, to: u64, readers: usize| (to.saturating_sub(from)) / readers as u64;
    let line = Measured::Readers {
        idle: IDLE,
        paced: PACED,
        stopped: STOPPED,
        quiet_per_s: quiet.round() as u64,
        busy_per_s: busy.round() as u64,
        loss_percent: rounded(100.0 * (1.0 - busy / quiet)),
        coordinator_bytes_idle: of(without.0, with_idle.0, IDLE),
        gateway_bytes_idle: of(without.1, with_idle.1, IDLE),
        coordinator_bytes_slow: of(with_idle.0, with_all.0, PACED + STOPPED),
        gateway_bytes_slow: of(with_idle.1, with_all.1, PACED + STOPPED),
        events: ends[0],
        returns,
        gaps,
        bytes,
    };
    report.line(line, cluster.counters().await?.since(before))
}

/// The load for so long; nodes a second in each of its rounds.
async fn loaded(
    mut connections: Vec<Connection>,
    workflow: &Arc<str>,
    time: Duration,
) -> Result<(Vec<Connection>, Vec<f64>)> {
    let (until, mut rates) = (Instant::now() + time, Vec::new());
    while rates.is_empty() || Instant::now() < until {
        let seconds;
        (connections, seconds) = round(connections, workflow).await?;
        rates.push((RUNS * CHAIN_NODES) as f64 / seconds);
    }
    note(&format!("{} rounds, the median {:.0} nodes/s", rates.len(), quantile(&rates, 0.5)));
    Ok((connections, rates))
}

/// Resident bytes of the coordinator and the gateway.
fn memory(cluster: &Cluster) -> Result<(u64, u64)> {
    let of = |pid: Option<u32>| pid.and_then(resident_bytes);
    let both = of(cluster.coordinator_pid()).zip(of(cluster.gateway_pid()));
    both.ok_or_else(|| Failure::failed("this system does not tell how much memory a process has"))
}
