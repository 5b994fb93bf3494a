//! The youngest events, as they were committed: most reads are of runs that are at work or just over, and most inputs of
//! attempts are results of a moment ago; neither needs the database. Within a budget of bytes; of a long run its youngest
//! events are kept, and parked runs are not, so that waiting costs no memory (E15).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::{EventSeq, RunId};
use heddle_core::partition::batch::{Batch, Phase, RunCreated, RunSummary};
use heddle_core::run::event::{Assignment, ChildOutcome, Decision, Event, Fact, OutputValue, Piece, PortOutput};
use heddle_core::run::lineage::Offer;
use heddle_core::value::{Value, ValueRef};

use crate::journal::RunRow;
use crate::limits::{RECENT_BYTES_MAX, RECENT_RUN_BYTES_MAX};

/// The youngest events, run by run.
#[derive(Debug, Default)]
pub(crate) struct RecentRuns {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    runs: HashMap<RunId, Recent>,
    order: VecDeque<RunId>,
    bytes: usize,
}

#[derive(Debug)]
struct Recent {
    /// The summary, if the run has been here from its first event on.
    row: Option<RunRow>,
    /// Without a gap, from `first` on.
    first: EventSeq,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

/// What a batch adds to histories, once it has landed.
#[derive(Debug)]
pub(crate) struct Landing(Vec<Written>);

#[derive(Debug)]
struct Written {
    run: RunId,
    created: Option<RunCreated>,
    summary: Option<RunSummary>,
    events: Vec<Arc<Event>>,
}

impl Landing {
    /// What this batch will add.
    pub(crate) fn of(batch: &Batch) -> Self {
        let written = batch.runs.iter().map(|run| Written {
            run: run.run,
            created: run.created.clone().map(|created| RunCreated { key: None, ..created }),
            summary: run.summary.clone(),
            events: run.events.clone(),
        });
        Self(written.collect())
    }
}

impl RecentRuns {
    /// A batch has landed, but for these runs.
    pub(crate) fn landed(&self, landing: Landing, quarantined: &[RunId]) {
        let mut kept = self.lock();
        quarantined.iter().for_each(|run| kept.remove(*run));
        for written in landing.0.into_iter().filter(|written| !quarantined.contains(&written.run)) {
            kept.write(written);
        }
        kept.shrink();
    }

    /// These runs are gone.
    pub(crate) fn forget(&self, runs: &[RunId]) {
        let mut kept = self.lock();
        runs.iter().for_each(|run| kept.remove(*run));
    }

    /// A partition is loaded anew: nobody knows what had landed.
    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    /// A run's summary, if it has been here from its beginning on.
    pub(crate) fn row(&self, run: RunId) -> Option<RunRow> {
        self.lock().runs.get(&run)?.row.clone()
    }

    /// At most so many of a run's events after `after`, if none of those that follow is missing here. Fewer are all there are.
    pub(crate) fn events(&self, run: RunId, after: EventSeq, count_max: usize) -> Option<Vec<Arc<Event>>> {
        let kept = self.lock();
        let recent = kept.runs.get(&run)?;
        let from = after.next().0.checked_sub(recent.first.0)?;
        Some(recent.events.iter().skip(from as usize).take(count_max).cloned().collect())
    }

    /// The values behind references of one run, in their order, if all of them are here.
    pub(crate) fn values(&self, run: RunId, mut references: impl Iterator<Item = ValueRef>) -> Option<Vec<Value>> {
        let kept = self.lock();
        let recent = kept.runs.get(&run)?;
        references.try_fold(Vec::new(), |mut values, reference| {
            let event = recent.events.get(reference.seq.0.checked_sub(recent.first.0)? as usize)?;
            values.push(event.values.get(reference.place as usize)?.clone());
            Some(values)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn next(&self) -> u64 {
        self.first.0 + self.events.len() as u64
    }

    /// Lets the oldest events go, a few at each landing: all of a long run's at once would hold up whoever reads meanwhile.
    fn shrink(&mut self) {
        while self.bytes > RECENT_RUN_BYTES_MAX
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= weight(&oldest);
            self.first = self.first.next();
        }
    }
}

impl Kept {
    fn write(&mut self, written: Written) {
        let Written { run, created, summary, events } = written;
        if summary.as_ref().is_some_and(|summary| summary.phase == Phase::Parked) {
            return self.remove(run);
        }
        let row = match (created, summary.clone()) {
            (Some(created), Some(summary)) => Some(RunRow { run, created, summary, quarantine_reason: None }),
            _ => None,
        };
        let follows = |recent: &Recent| events.first().is_none_or(|event| event.seq.0 == recent.next());
        if self.runs.get(&run).is_some_and(|recent| !follows(recent)) {
            self.remove(run);
        }
        let recent = match self.runs.entry(run) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let Some(first) = events.first().map(|event| event.seq) else { return };
                self.order.push_back(run);
                entry.insert(Recent { row, first, events: VecDeque::new(), bytes: 0 })
            }
        };
        self.bytes -= recent.bytes;
        recent.bytes += events.iter().map(|event| weight(event)).sum::<usize>();
        recent.events.extend(events);
        recent.shrink();
        self.bytes += recent.bytes;
        if let (Some(summary), Some(row)) = (summary, &mut recent.row) {
            row.summary = summary;
        }
    }

    fn remove(&mut self, run: RunId) {
        self.bytes -= self.runs.remove(&run).map_or(0, |recent| recent.bytes);
    }

    fn shrink(&mut self) {
        while self.bytes > RECENT_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(oldest);
        }
        // Parked runs leave their places behind.
        if self.order.len() > 2 * self.runs.len() + 1_024 {
            let runs = &self.runs;
            self.order.retain(|run| runs.contains_key(run));
        }
    }
}

/// About how much memory an event takes, with all that hangs on it.
fn weight(event: &Event) -> usize {
    let decisions: usize = event.decisions.iter().map(behind_decision).sum();
    let values: usize = event.values.iter().map(|value| value.json().len() + SHARED).sum();
    SHARED
        + size_of::<Event>()
        + behind_fact(&event.fact)
        + event.decisions.capacity() * size_of::<Decision>()
        + decisions
        + event.assignments.capacity() * size_of::<Assignment>()
        + event.values.capacity() * size_of::<Value>()
        + values
}

/// What it takes to share something, and to have it in a place of its own.
const SHARED: usize = 32;

fn behind_fact(fact: &Fact) -> usize {
    match fact {
        Fact::Succeeded { outputs, .. } | Fact::TimerFired { outputs, .. } | Fact::Settled { outputs, .. } => {
            behind_outputs(outputs)
        }
        Fact::Failed { caught, .. } | Fact::Lost { caught, .. } => behind_outputs(caught),
        Fact::Offered { offers } => {
            let outputs = offers.iter().map(|offer| behind_outputs(&offer.outputs) + 4 * offer.index.capacity());
            offers.capacity() * size_of::<Offer>() + outputs.sum::<usize>()
        }
        Fact::Reviewed(it) => size_of_val(&**it) + behind_outputs(&it.edit),
        Fact::Signalled(it) => size_of_val(&**it) + it.name.len() + behind_outputs(&it.outputs),
        Fact::Called(it) => size_of_val(&**it) + behind_outputs(&it.outputs),
        Fact::ChildEnded(it) => {
            let (ChildOutcome::Gave(outputs) | ChildOutcome::Failed { caught: outputs, .. }) = &it.outcome;
            size_of_val(&**it) + behind_outputs(outputs)
        }
        // Bounded, and few.
        _ => 0,
    }
}

fn behind_decision(decision: &Decision) -> usize {
    match decision {
        Decision::Completed { outputs, .. }
        | Decision::Listening { outputs, .. }
        | Decision::Took { outputs, .. }
        | Decision::Reused { outputs, .. }
        | Decision::Failed { caught: outputs, .. } => behind_outputs(outputs),
        Decision::Opened { opened, .. } => {
            let items = opened.items.iter();
            opened.items.capacity() * size_of::<Vec<OutputValue>>()
                + items.map(|item| item.capacity() * size_of::<OutputValue>() + behind_values(item)).sum::<usize>()
        }
        Decision::Asked { asked, .. } => size_of_val(&**asked) + behind_outputs(&asked.values),
        Decision::Invoked { invoked, .. } => size_of_val(&**invoked) + behind_outputs(&invoked.inputs),
        Decision::Gathered { results, .. } => size_of_val(results.as_slice()),
        Decision::Waiting { .. } | Decision::Afresh { .. } | Decision::Delegated { .. } | Decision::Stopped { .. } => 0,
    }
}

fn behind_outputs(outputs: &Vec<PortOutput>) -> usize {
    outputs.capacity() * size_of::<PortOutput>() + behind_values(outputs.iter().map(|output| &output.value))
}

fn behind_values<'a>(values: impl IntoIterator<Item = &'a OutputValue>) -> usize {
    let behind = |value: &OutputValue| match value {
        OutputValue::Gather(references) => references.capacity() * size_of::<ValueRef>(),
        OutputValue::Pieces(pieces) => pieces.capacity() * size_of::<Piece>(),
        OutputValue::One(_) | OutputValue::List(_) | OutputValue::Closed => 0,
    };
    values.into_iter().map(behind).sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use heddle_core::id::{BatchNumber, Epoch, PartitionId, Slot};
    use heddle_core::partition::batch::{Beside, RunBatch};
    use heddle_core::time::Timestamp;

    use super::*;

    const EVENT_BYTES: usize = 64 * 1024;

    fn run(number: u128) -> RunId {
        RunId::new(Timestamp::from_millis(1_700_000_000_000), Slot(0), number)
    }

    /// Events `from` to `to` of a run have landed, each with a value.
    fn land(recent: &RecentRuns, run: RunId, from: u64, to: u64) {
        let event = |seq| {
            let values = vec![Value::from_json(Bytes::from(vec![b'1'; EVENT_BYTES]))];
            let (fact, decisions, assignments) = (Fact::Continued, Vec::new(), Vec::new());
            Arc::new(Event { seq: EventSeq(seq), at: Timestamp::from_millis(0), fact, decisions, assignments, values })
        };
        let events = (from..=to).map(event).collect();
        let runs = vec![RunBatch {
            run,
            events,
            created: None,
            summary: None,
            snapshot: None,
            reviews: Vec::new(),
            cached: Vec::new(),
        }];
        let (partition, epoch, number) = (PartitionId(0), Epoch(1), BatchNumber(1));
        let batch = Batch { partition, epoch, number, runs, beside: Beside::default() };
        recent.landed(Landing::of(&batch), &[]);
    }

    fn seqs(recent: &RecentRuns, run: RunId, after: u64, count_max: usize) -> Option<Vec<u64>> {
        let events = recent.events(run, EventSeq(after), count_max)?;
        Some(events.iter().map(|event| event.seq.0).collect())
    }

    #[test]
    fn a_long_run_keeps_its_youngest_events() {
        let recent = RecentRuns::default();
        let last = 4 * (RECENT_RUN_BYTES_MAX / EVENT_BYTES) as u64;
        land(&recent, run(1), 1, 3);
        assert_eq!(seqs(&recent, run(1), 0, 2), Some(vec![1, 2]));
        (4..=last).for_each(|seq| land(&recent, run(1), seq, seq));
        assert_eq!(seqs(&recent, run(1), 0, 2), None, "its beginning is in the journal");
        assert_eq!(seqs(&recent, run(1), last - 2, 9), Some(vec![last - 1, last]));
        assert_eq!(seqs(&recent, run(1), last, 9), Some(Vec::new()));
        let kept = recent.lock();
        assert_eq!(kept.bytes, kept.runs[&run(1)].bytes);
        assert!((RECENT_RUN_BYTES_MAX / 2..=RECENT_RUN_BYTES_MAX).contains(&kept.bytes), "{} bytes", kept.bytes);
    }

    #[test]
    fn a_long_run_takes_no_room_from_others() {
        let recent = RecentRuns::default();
        land(&recent, run(2), 1, 1);
        let last = 2 * (RECENT_BYTES_MAX / EVENT_BYTES) as u64;
        (1..=last).for_each(|seq| land(&recent, run(1), seq, seq));
        assert_eq!(seqs(&recent, run(2), 0, 9), Some(vec![1]));
    }

    #[test]
    fn a_gap_is_not_bridged() {
        let recent = RecentRuns::default();
        land(&recent, run(1), 1, 2);
        land(&recent, run(1), 4, 5);
        assert_eq!(seqs(&recent, run(1), 0, 9), None);
        assert_eq!(seqs(&recent, run(1), 3, 9), Some(vec![4, 5]));
    }
}
