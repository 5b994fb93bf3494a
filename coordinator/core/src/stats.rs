//! Figures of the runs that ended in a span of time: counted one by one, in any order, within a bound.
//!
//! Counts are kept in buckets of time. When more runs were counted than may be, the oldest buckets go, so that what is told is
//! always exact for the time that it is told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{RunId, WorkflowId};
use crate::run::RunStatus;
use crate::run::event::ErrorClass;
use crate::time::{Span, Timestamp};

const HOUR: i64 = 60 * 60 * 1_000;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// 1970 began on a Thursday; weeks begin on Mondays.
const FIRST_MONDAY: i64 = 4 * DAY;
/// Up to here buckets are hours.
const HOURS_UNTIL: i64 = 2 * DAY;
/// Up to here they are days, above it weeks.
const DAYS_UNTIL: i64 = 100 * DAY;

/// What is counted of a run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRun {
    /// Which run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// How it ended.
    pub status: RunStatus,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The code of its error, if it is known.
    pub code: Option<Arc<str>>,
    /// The kind of the failure.
    pub class: Option<ErrorClass>,
}

impl EndedRun {
    /// How long it took; nobody waits for a run that was cancelled, so that says nothing of its workflow.
    pub fn duration(&self) -> Option<Span> {
        matches!(self.status, RunStatus::Completed | RunStatus::Failed).then(|| self.ended_at.since(self.created_at))
    }
}

/// There are more runs in the youngest bucket alone than may be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The figures while they are counted.
#[derive(Debug)]
pub struct Tally {
    from: Timestamp,
    to: Timestamp,
    width: Span,
    /// By time, the oldest first; those before `cut` are not counted any more.
    buckets: Vec<Bucket>,
    cut: usize,
    counted: usize,
    counted_max: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    from: i64,
    to: i64,
    counts: Counts,
    durations: Vec<u64>,
    errors: BTreeMap<(Option<Arc<str>>, Option<&'static str>), Group>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    count: u64,
    newest: (Timestamp, RunId),
}

/// Runs by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that did what they were to do.
    pub completed: u64,
    /// Those that did not.
    pub failed: u64,
    /// Those that somebody stopped.
    pub cancelled: u64,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.completed + self.failed + self.cancelled
    }

    /// Which share of those that ended by themselves did what they were to do; nothing if none did.
    pub fn success_rate(self) -> Option<f64> {
        let ended = self.completed + self.failed;
        (ended > 0).then(|| self.completed as f64 / ended as f64)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            completed: self.completed + other.completed,
            failed: self.failed + other.failed,
            cancelled: self.cancelled + other.cancelled,
        }
    }
}

/// How long runs took that ended by themselves. A percentile is the least duration that so many of them do not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durations {
    /// Half of them.
    pub p50: Span,
    /// Of a hundred ninety-five.
    pub p95: Span,
    /// All of them.
    pub max: Span,
}

/// What was counted in one stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketFigures {
    /// From here.
    pub from: Timestamp,
    /// Up to here, and not with it.
    pub to: Timestamp,
    /// Runs that ended in it.
    pub counts: Counts,
}

/// Runs that failed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorFigures {
    /// The code of their error; `None`: it is not known.
    pub code: Option<Arc<str>>,
    /// The kind of the failure, by its name.
    pub class: Option<&'static str>,
    /// How many.
    pub count: u64,
    /// The one that ended last.
    pub example: RunId,
    /// When that was.
    pub last_at: Timestamp,
}

/// The figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// From here all runs are counted; later than was asked for if there are too many.
    pub from: Timestamp,
    /// Up to here, and not with it.
    pub to: Timestamp,
    /// Whether it is all that was asked for.
    pub is_complete: bool,
    /// All runs.
    pub counts: Counts,
    /// Nothing if no run ended by itself.
    pub durations: Option<Durations>,
    /// How long a bucket is, but for the first and the last one.
    pub width: Span,
    /// By time, the oldest first, empty ones too.
    pub buckets: Vec<BucketFigures>,
    /// What most runs failed with first; of equal ones what happened last.
    pub errors: Vec<ErrorFigures>,
}

impl Tally {
    /// Counts runs that ended from `from` up to `to`, and not with it; at most `counted_max` of them.
    pub fn new(from: Timestamp, to: Timestamp, counted_max: usize) -> Self {
        let (start, end) = (from.as_millis(), to.as_millis());
        let (width, origin) = match end.saturating_sub(start) {
            span if span <= HOURS_UNTIL => (HOUR, 0),
            span if span <= DAYS_UNTIL => (DAY, 0),
            _ => (WEEK, FIRST_MONDAY),
        };
        let mut buckets = Vec::new();
        let mut at = start;
        while at < end {
            let next = (at - origin).div_euclid(width).saturating_add(1).saturating_mul(width).saturating_add(origin);
            let next = next.min(end);
            buckets.push(Bucket { from: at, to: next, ..Bucket::default() });
            at = next;
        }
        Self { from, to, width: Span::from_millis(width as u64), buckets, cut: 0, counted: 0, counted_max }
    }

    /// Runs that ended before are not counted any more.
    pub fn counts_from(&self) -> Timestamp {
        self.buckets.get(self.cut).map_or(self.from, |bucket| Timestamp::from_millis(bucket.from))
    }

    /// Counts a run, once; one that ended at another time counts nothing.
    ///
    /// # Errors
    /// [`TooMany`]: nothing can be told.
    pub fn add(&mut self, run: &EndedRun) -> Result<(), TooMany> {
        let at = run.ended_at.as_millis();
        let place = self.buckets.partition_point(|bucket| bucket.to <= at);
        let Some(bucket) = self.buckets.get_mut(place).filter(|bucket| place >= self.cut && bucket.from <= at) else {
            return Ok(());
        };
        if bucket.count(run) {
            self.counted += 1;
        }
        while self.counted > self.counted_max {
            if self.cut + 1 >= self.buckets.len() {
                return Err(TooMany);
            }
            let bucket = &mut self.buckets[self.cut];
            self.counted -= usize::try_from(bucket.counts.total()).unwrap_or(usize::MAX);
            *bucket = Bucket { from: bucket.from, to: bucket.to, ..Bucket::default() };
            self.cut += 1;
        }
        Ok(())
    }

    /// What was counted.
    pub fn figures(self) -> Figures {
        let (from, is_complete) = (self.counts_from(), self.cut == 0);
        let mut counts = Counts::default();
        let mut durations = Vec::new();
        let mut errors: BTreeMap<_, Group> = BTreeMap::new();
        let mut buckets = Vec::with_capacity(self.buckets.len() - self.cut);
        for bucket in self.buckets.into_iter().skip(self.cut) {
            counts = counts.plus(bucket.counts);
            durations.extend(bucket.durations);
            for (key, group) in bucket.errors {
                errors.entry(key).and_modify(|known| known.join(group)).or_insert(group);
            }
            let (from, to) = (Timestamp::from_millis(bucket.from), Timestamp::from_millis(bucket.to));
            buckets.push(BucketFigures { from, to, counts: bucket.counts });
        }
        let mut errors: Vec<ErrorFigures> = errors
            .into_iter()
            .map(|((code, class), Group { count, newest: (last_at, example) })| ErrorFigures {
                code,
                class,
                count,
                example,
                last_at,
            })
            .collect();
        errors.sort_by_key(|error| std::cmp::Reverse((error.count, error.last_at, error.example)));
        let durations = Durations::of(&mut durations);
        Figures { from, to: self.to, is_complete, counts, durations, width: self.width, buckets, errors }
    }
}

impl Bucket {
    /// Whether it is a run that is over.
    fn count(&mut self, run: &EndedRun) -> bool {
        match run.status {
            RunStatus::Running => return false,
            RunStatus::Completed => self.counts.completed += 1,
            RunStatus::Failed => self.counts.failed += 1,
            RunStatus::Cancelled => self.counts.cancelled += 1,
        }
        self.durations.extend(run.duration().map(Span::as_millis));
        if run.status == RunStatus::Failed {
            let group = Group { count: 1, newest: (run.ended_at, run.run) };
            let key = (run.code.clone(), run.class.map(ErrorClass::name));
            self.errors.entry(key).and_modify(|known| known.join(group)).or_insert(group);
        }
        true
    }
}

impl Group {
    fn join(&mut self, other: Group) {
        self.count += other.count;
        self.newest = self.newest.max(other.newest);
    }
}

impl Durations {
    /// Of these milliseconds, which it brings into another order.
    pub fn of(millis: &mut [u64]) -> Option<Self> {
        let max = *millis.iter().max()?;
        let (p50, p95) = (percentile(millis, 50)?, percentile(millis, 95)?);
        Some(Self { p50, p95, max: Span::from_millis(max) })
    }
}

/// The least of these milliseconds that so many of a hundred do not exceed; brings them into another order.
pub fn percentile(millis: &mut [u64], percent: usize) -> Option<Span> {
    let rank = (millis.len() * percent).div_ceil(100).max(1) - 1;
    if rank >= millis.len() {
        return None;
    }
    let (_, found, _) = millis.select_nth_unstable(rank);
    Some(Span::from_millis(*found))
}

#[cfg(test)]
mod tests;
