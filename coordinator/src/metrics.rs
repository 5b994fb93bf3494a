//! The coordinator's numbers, all of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use heddle_core::id::{Epoch, PartitionId};
use heddle_core::partition::Backlog;
use heddle_core::partition::batch::{Batch, CommitOutcome, Phase, ReviewRow};
use heddle_core::run::RunStatus;
use heddle_core::run::event::{ErrorClass, Fact, LossCause, ReviewKind, ReviewVerdict};
use heddle_core::time::Timestamp;
use heddle_telemetry::metrics::{self, Counter, Gauge, Histogram, Labels, Page};
use tokio::time::sleep;

use crate::limits::MEASURE_PERIOD;
use crate::shared::Shared;

const COMMIT_OUTCOMES: [&str; 3] = ["applied", "refused", "unknown"];
const LOSS_REASONS: [&str; 4] = ["new_boot", "stream_gone", "goodbye", "not_held"];
const CACHE_ANSWERS: [&str; 2] = ["hit", "miss"];
const ENDS: [&str; 3] = ["completed", "failed", "cancelled"];
const KINDS: [ReviewKind; 4] = [ReviewKind::Value, ReviewKind::Before, ReviewKind::After, ReviewKind::Outcome];
/// What closes a review.
const VERDICTS: [ReviewVerdict; 4] =
    [ReviewVerdict::Approve, ReviewVerdict::Reject, ReviewVerdict::Retry, ReviewVerdict::Fail];

/// What is counted here; what others count is read from them.
#[derive(Debug)]
pub(crate) struct Metrics {
    commits: [Counter; COMMIT_OUTCOMES.len()],
    commit: Histogram,
    lost: [Counter; LOSS_REASONS.len()],
    poisoned: Counter,
    started: Counter,
    parks: Counter,
    ended: [Counter; ENDS.len()],
    cache: [Counter; CACHE_ANSWERS.len()],
    /// Runs that were set aside.
    pub(crate) quarantined: Counter,
    /// Agents' streams that were refused.
    pub(crate) refused_agents: Counter,
    loads: Counter,
    open_reviews: [Gauge; KINDS.len()],
    open_alerts: Gauge,
    decided: [Counter; VERDICTS.len()],
    decision: Histogram,
    /// Runs that were removed, rows of their histories, and by how much the first that is due is late, in milliseconds.
    removed_runs: Counter,
    removed_rows: Counter,
    retention_lag: Gauge,
    partitions: Vec<OfPartition>,
}

/// What one partition said of itself when it was last asked.
#[derive(Debug, Default)]
struct OfPartition {
    epoch: Gauge,
    ready: Gauge,
    /// Milliseconds since 1970; 0 if nothing is ready.
    oldest_ready: Gauge,
    assigned: Gauge,
    parked: Gauge,
}

/// What a batch adds once it is durable.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    lost: [u64; LOSS_REASONS.len()],
    poisoned: u64,
    started: u64,
    parks: u64,
    ended: [u64; ENDS.len()],
    decided: [u64; VERDICTS.len()],
    /// How long each review was open that was decided.
    decisions: Vec<Duration>,
}

impl Tally {
    pub(crate) fn of(batch: &Batch) -> Self {
        let mut tally = Self::default();
        for run in &batch.runs {
            tally.started += u64::from(run.created.is_some());
            tally.parks += u64::from(run.summary.as_ref().is_some_and(|summary| summary.phase == Phase::Parked));
            run.events.iter().for_each(|event| tally.count(&event.fact));
            run.reviews.iter().for_each(|row| tally.count_review(row));
        }
        tally
    }

    fn count_review(&mut self, row: &ReviewRow) {
        if let Some(place) = row.verdict.and_then(|verdict| VERDICTS.iter().position(|known| *known == verdict)) {
            self.decided[place] += 1;
        }
        if let (Some(opened_at), Some(closed_at)) = (row.opened_at, row.closed_at) {
            self.decisions.push(Duration::from_millis(closed_at.since(opened_at).as_millis()));
        }
    }

    fn count(&mut self, fact: &Fact) {
        match fact {
            Fact::Lost { cause, failure, .. } => {
                let place = match cause {
                    LossCause::NewBoot => 0,
                    LossCause::StreamGone => 1,
                    LossCause::Goodbye => 2,
                    LossCause::NotHeld => 3,
                };
                self.lost[place] += 1;
                self.poisoned += u64::from(failure.as_ref().is_some_and(|error| error.class == ErrorClass::Poison));
            }
            Fact::Ended { status, .. } => match status {
                RunStatus::Completed => self.ended[0] += 1,
                RunStatus::Failed => self.ended[1] += 1,
                RunStatus::Cancelled => self.ended[2] += 1,
                RunStatus::Running => {}
            },
            _ => {}
        }
    }
}

impl Metrics {
    pub(crate) fn new(partitions: u16) -> Self {
        Self {
            commits: Default::default(),
            commit: Histogram::new(),
            lost: Default::default(),
            poisoned: Counter::new(),
            started: Counter::new(),
            parks: Counter::new(),
            ended: Default::default(),
            cache: Default::default(),
            quarantined: Counter::new(),
            refused_agents: Counter::new(),
            loads: Counter::new(),
            open_reviews: Default::default(),
            open_alerts: Gauge::default(),
            decided: Default::default(),
            decision: Histogram::of_people(),
            removed_runs: Counter::new(),
            removed_rows: Counter::new(),
            retention_lag: Gauge::default(),
            partitions: (0..partitions).map(|_| OfPartition::default()).collect(),
        }
    }

    /// A batch has an outcome.
    pub(crate) fn committed(&self, outcome: &CommitOutcome, took: Duration) {
        let place = match outcome {
            CommitOutcome::Applied { quarantined } => {
                self.quarantined.add(quarantined.len() as u64);
                0
            }
            CommitOutcome::Refused => 1,
            CommitOutcome::Unknown => 2,
        };
        self.commits[place].add(1);
        self.commit.observe(took);
    }

    /// A batch is durable.
    pub(crate) fn landed(&self, tally: &Tally) {
        let add = |counters: &[Counter], counts: &[u64]| {
            counters
                .iter()
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .for_each(|(counter, count)| counter.add(*count));
        };
        add(&self.lost, &tally.lost);
        add(&self.ended, &tally.ended);
        add(&self.decided, &tally.decided);
        tally.decisions.iter().for_each(|took| self.decision.observe(*took));
        for (counter, count) in
            [(&self.poisoned, tally.poisoned), (&self.started, tally.started), (&self.parks, tally.parks)]
        {
            if count > 0 {
                counter.add(count);
            }
        }
    }

    /// A partition was loaded under this epoch.
    pub(crate) fn loaded(&self, id: PartitionId, epoch: Epoch) {
        self.loads.add(1);
        self.of(id).inspect(|partition| partition.epoch.set(epoch.0 as i64));
    }

    /// How many reviews are open.
    fn reviews_counted(&self, counts: &[(ReviewKind, u64)]) {
        for (kind, gauge) in KINDS.iter().zip(&self.open_reviews) {
            let count = counts.iter().find(|(counted, _)| counted == kind).map_or(0, |(_, count)| *count);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// What stands, runs and waits in a partition.
    pub(crate) fn measured(&self, id: PartitionId, backlog: Backlog) {
        self.of(id).inspect(|partition| {
            partition.ready.set(backlog.ready as i64);
            partition.oldest_ready.set(backlog.oldest_ready.map_or(0, Timestamp::as_millis));
            partition.assigned.set(backlog.assigned as i64);
            partition.parked.set(backlog.parked as i64);
        });
    }

    /// Somebody has asked for a shared result.
    pub(crate) fn cache_asked(&self, is_hit: bool) {
        self.cache[usize::from(!is_hit)].add(1);
    }

    /// Old runs were removed, and rows of histories.
    pub(crate) fn runs_removed(&self, runs: u64, rows: u64) {
        self.removed_runs.add(runs);
        self.removed_rows.add(rows);
    }

    /// By how much the first run is late whose time is over.
    pub(crate) fn retention_lags(&self, by: Duration) {
        self.retention_lag.set(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    fn of(&self, id: PartitionId) -> Option<&OfPartition> {
        self.partitions.get(usize::from(id.0))
    }

    fn write(&self, page: &mut Page<'_>, now: Timestamp) -> fmt::Result {
        let none: Labels<'_> = &[];
        labelled(page, "commits", "Batches by what became of them", "outcome", &COMMIT_OUTCOMES, &self.commits)?;
        page.histograms("heddle_coordinator_commit_seconds", "From a batch to its outcome", [(none, &self.commit)])?;
        labelled(page, "attempts_lost", "Attempts lost with their agents", "reason", &LOSS_REASONS, &self.lost)?;
        page.counter("heddle_coordinator_poison_nodes", "Nodes that ended their agents", self.poisoned.get())?;
        page.counter("heddle_coordinator_runs_started", "Runs that were accepted", self.started.get())?;
        labelled(page, "runs_ended", "Runs that are over", "status", &ENDS, &self.ended)?;
        labelled(page, "cache_answers", "Questions for shared results", "answer", &CACHE_ANSWERS, &self.cache)?;
        page.counter("heddle_coordinator_run_parks", "Times that a run began to wait on disk", self.parks.get())?;
        page.counter("heddle_coordinator_runs_quarantined", "Runs that were set aside", self.quarantined.get())?;
        page.counter("heddle_coordinator_agents_refused", "Agents that were refused", self.refused_agents.get())?;
        page.counter("heddle_coordinator_partition_loads", "Times that a partition was loaded", self.loads.get())?;
        page.counter(
            "heddle_coordinator_runs_removed",
            "Runs removed because their time was over",
            self.removed_runs.get(),
        )?;
        let rows = self.removed_rows.get();
        page.counter("heddle_coordinator_rows_removed", "Rows of histories removed with them", rows)?;
        let help = "By how much the first run that is to be removed is late";
        page.gauge("heddle_coordinator_retention_lag_seconds", help, self.retention_lag.get() as f64 / 1e3)?;
        let labels = KINDS.map(|kind| [("kind", kind.name())]);
        let open = labels.iter().zip(&self.open_reviews).map(|(labels, gauge)| (&labels[..], gauge.get() as f64));
        page.gauges("heddle_coordinator_reviews_open", "Reviews that wait for people", open)?;
        let words = VERDICTS.map(ReviewVerdict::name);
        labelled(page, "reviews_decided", "Reviews that were decided", "verdict", &words, &self.decided)?;
        let help = "From the opening of a review to its decision";
        page.histograms("heddle_coordinator_review_seconds", help, [(none, &self.decision)])?;
        let open = self.open_alerts.get() as f64;
        page.gauge("heddle_coordinator_alerts_open", "Alerts whose incident is open", open)?;
        let names: Vec<String> = (0..self.partitions.len()).map(|id| id.to_string()).collect();
        let labels: Vec<_> = names.iter().map(|name| [("partition", name.as_str())]).collect();
        let epochs = labels.iter().zip(&self.partitions).map(|(labels, it)| (&labels[..], it.epoch.get() as f64));
        page.gauges("heddle_coordinator_partition_epoch", "The epoch that commits of a partition name", epochs)?;
        let sum = |of: fn(&OfPartition) -> &Gauge| self.partitions.iter().map(|it| of(it).get()).sum::<i64>() as f64;
        let ready = sum(|it| &it.ready);
        page.gauge("heddle_coordinator_nodes_ready", "Nodes that only lack an agent", ready)?;
        let oldest = self.partitions.iter().map(|it| it.oldest_ready.get()).filter(|at| *at > 0).min();
        let oldest = oldest.map_or(0, |at| now.since(Timestamp::from_millis(at)).as_millis());
        let help = "How long the first of them has stood";
        page.gauge("heddle_coordinator_nodes_ready_oldest_seconds", help, oldest as f64 / 1e3)?;
        page.gauge("heddle_coordinator_attempts_assigned", "Attempts that agents have", sum(|it| &it.assigned))?;
        page.gauge("heddle_coordinator_runs_parked", "Parked runs that are in memory still", sum(|it| &it.parked))
    }
}

/// Counters of one name, under one label.
fn labelled(
    page: &mut Page<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    words: &[&str],
    counters: &[Counter],
) -> fmt::Result {
    let labels: Vec<_> = words.iter().map(|word| [(label, *word)]).collect();
    let counts = labels.iter().zip(counters).map(|(labels, counter)| (&labels[..], counter.get()));
    page.counters(&format!("heddle_coordinator_{name}"), help, counts)
}

/// Makes the numbers known to who may ask for them, and asks the partitions for theirs now and then.
pub(crate) fn register(shared: &Arc<Shared>) {
    if !metrics::is_wanted() {
        return;
    }
    let asked = Arc::downgrade(shared);
    metrics::register(move |page| asked.upgrade().map_or(Ok(()), |shared| write(&shared, page)));
    let asked = Arc::downgrade(shared);
    // Ends with the coordinator.
    tokio::spawn(async move {
        while let Some(shared) = asked.upgrade() {
            shared.doors.measure();
            match shared.reviews.open_by_kind().await {
                Ok(counts) => shared.metrics.reviews_counted(&counts),
                Err(error) => tracing::debug!(%error, "open reviews were not counted"),
            }
            match shared.alerts.count_open_incidents().await {
                Ok(count) => shared.metrics.open_alerts.set(i64::try_from(count).unwrap_or(i64::MAX)),
                Err(error) => tracing::debug!(%error, "open alerts were not counted"),
            }
            drop(shared);
            sleep(MEASURE_PERIOD).await;
        }
    });
}

fn write(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    shared.metrics.write(page, shared.clock.now())?;
    let counters = &shared.counters;
    page.counter("heddle_coordinator_event_rows", "Rows of histories", counters.event_rows.get())?;
    page.counter("heddle_coordinator_attempts", "Attempts that were sent to agents", counters.attempts.get())?;
    let zombies = counters.zombie_results.get();
    page.counter("heddle_coordinator_zombie_results", "Results that came too late and were refused", zombies)?;
    let orphans = shared.watchdog.count() as f64;
    page.gauge("heddle_coordinator_orphaned_runs", "Runs that nothing would wake", orphans)?;
    let runs = counters.runs_in_memory() as f64;
    page.gauge("heddle_coordinator_runs_in_memory", "Runs in memory", runs)?;
    let (partitions, loaded) = shared.doors.opened_of();
    page.gauge("heddle_coordinator_partitions", "Partitions", partitions as f64)?;
    page.gauge("heddle_coordinator_partitions_loaded", "Partitions that are loaded", loaded as f64)?;
    write_agents(shared, page)?;
    write_artifacts(shared, page)?;
    let is_ready = f64::from(u8::from(shared.stalled().is_none()));
    page.gauge("heddle_coordinator_database_ready", "1 while the database takes commits", is_ready)?;
    let numbers = shared.journal.numbers();
    let labels: Vec<_> = numbers.retries.iter().map(|(state, count)| ([("state", state.as_str())], *count)).collect();
    let retries = labels.iter().map(|(labels, count)| (&labels[..], *count));
    let help = "Commits that were tried again, by SQLSTATE or SQLite's code";
    page.counters("heddle_coordinator_database_retries", help, retries)?;
    let labels: Vec<_> = numbers.waits.iter().map(|(pool, wait)| ([("pool", *pool)], *wait)).collect();
    let waits = labels.iter().map(|(labels, wait)| (&labels[..], *wait));
    page.histograms("heddle_coordinator_database_wait_seconds", "Waits for a connection to the database", waits)
}

fn write_agents(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let agents = shared.sessions.list();
    let slots: u32 = agents.iter().map(|agent| agent.info.slots).sum();
    let (free_slots, free_places) = {
        let permits = shared.permits();
        let free = agents.iter().map(|connected| permits.free(&connected.agent.agent));
        free.fold((0, 0), |sum, free| (sum.0 + free.0, sum.1 + free.1))
    };
    page.gauge("heddle_coordinator_agents", "Agents that are connected", agents.len() as f64)?;
    page.gauge("heddle_coordinator_agent_slots", "Attempts that they run at once", f64::from(slots))?;
    let permits: [(Labels<'_>, f64); 2] =
        [(&[("class", "slot")], f64::from(free_slots)), (&[("class", "prefetch")], f64::from(free_places))];
    page.gauges("heddle_coordinator_agent_permits", "Permits that they grant and nobody has taken", permits)?;
    let cut = shared.sessions.cut_off.get();
    page.counter("heddle_coordinator_agents_cut_off", "Agents cut off because they did not read", cut)
}

fn write_artifacts(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let traffic = shared.artifacts.store.traffic();
    let (artifacts, bytes) = traffic.removed();
    page.counter("heddle_coordinator_artifacts_collected", "Artifacts removed, as nobody needs them", artifacts)?;
    page.counter("heddle_coordinator_artifact_bytes_collected", "Bytes of these", bytes)?;
    page.counter("heddle_coordinator_artifact_errors", "What the store did not do", traffic.errors())
}
