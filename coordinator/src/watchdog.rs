//! The watchdog (H21): runs that are not over, and that nothing would wake. There are none, unless Heddle is at fault; so each
//! is an error in the log, a number, and part of the run's explanation.
//!
//! Partitions look through the runs in memory ([`heddle_core::partition::watch`]), each in small pages. Runs that wait on disk
//! without an instant, and those that their rows say are at work, are looked through here, a page at a time. On the way, runs that wait
//! for a child that was set aside are told so, and children of a run that was set aside are cancelled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use heddle_core::id::{PartitionId, RunId};
use heddle_core::limits::WATCHDOG_PERIOD;
use heddle_core::partition::batch::Phase;
use heddle_core::partition::watch::{Lost, Orphan};
use heddle_core::run::{Run, RunStatus};
use tokio::time::sleep;

use crate::actor::load;
use crate::children::{cancel_left_behind, tell_of_set_aside};
use crate::journal::{Asleep, JournalError};
use crate::limits::{ORPHANS_KEPT_MAX, WATCHDOG_PAGE_PAUSE, WATCHDOG_PAGE_ROWS, WATCHDOG_PAGE_RUNS};
use crate::shared::Shared;

const PERIOD: Duration = Duration::from_millis(WATCHDOG_PERIOD.as_millis());

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    found: Mutex<BTreeMap<RunId, Finding>>,
}

#[derive(Debug)]
struct Finding {
    lost: Lost,
    by: Looker,
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looker {
    /// A partition through its memory.
    Partition(PartitionId),
    /// Whoever reads rows.
    Rows,
}

impl Watchdog {
    /// A look at everything of one kind is over, and this was found: what was found before and is not any more is forgotten.
    pub(crate) fn found(&self, by: Looker, orphans: Vec<Orphan>) {
        let mut found = self.lock();
        let still: BTreeSet<RunId> = orphans.iter().map(|orphan| orphan.run).collect();
        found.retain(|run, finding| finding.by != by || still.contains(run));
        for Orphan { run, lost } in orphans {
            let is_new = found.get(&run).is_none_or(|known| known.lost != lost);
            if is_new && found.len() < ORPHANS_KEPT_MAX {
                let next = "a fault of Heddle: cancel the run and resume it, and report it with this log";
                tracing::error!(%run, %lost, next, "nothing would wake a run");
                found.insert(run, Finding { lost, by });
            }
        }
    }

    /// What is known to be missing of a run.
    pub(crate) fn finding(&self, run: RunId) -> Option<Lost> {
        self.lock().get(&run).map(|finding| finding.lost.clone())
    }

    /// How many runs nothing would wake.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, Finding>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks again and again, as long as the coordinator is there.
pub(crate) async fn run(shared: Weak<Shared>) {
    let through_memory = async {
        loop {
            sleep(PERIOD).await;
            let Some(shared) = shared.upgrade() else { return };
            shared.doors.watch();
        }
    };
    let through_rows = async {
        let (mut look, mut pause) = (Look::default(), PERIOD);
        loop {
            sleep(pause).await;
            let Some(shared) = shared.upgrade() else { return };
            pause = look.go_on(&shared).await;
        }
    };
    tokio::join!(through_memory, through_rows);
}

/// A look through the rows, as far as it has come.
#[derive(Debug, Default)]
struct Look {
    at: Place,
    orphans: Vec<Orphan>,
    /// Runs that seemed lost at the last look: that were in nobody's memory though their rows said so, or that waited for one that
    /// was set aside. They may just have come or gone, and may just hear of it.
    suspects: BTreeSet<RunId>,
    suspects_now: BTreeSet<RunId>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Runs whose parent was set aside, behind this one.
    LeftBehind(Option<RunId>),
    /// Runs that wait without an instant, behind this one.
    Asleep(Option<RunId>),
    /// Runs at work of this partition, behind this one.
    AtWork(PartitionId, Option<RunId>),
}

impl Default for Place {
    fn default() -> Self {
        Place::LeftBehind(None)
    }
}

impl Look {
    /// Looks at the next page of rows; says when to look at the one after it.
    async fn go_on(&mut self, shared: &Arc<Shared>) -> Duration {
        let looked = match self.at {
            Place::LeftBehind(after) => cancel_left_behind(shared, after).await.map(|last| {
                self.at = last.map_or(Place::Asleep(None), |last| Place::LeftBehind(Some(last)));
                false
            }),
            Place::Asleep(after) => self.asleep(shared, after).await,
            Place::AtWork(partition, after) => self.at_work(shared, partition, after).await,
        };
        match looked {
            Ok(true) => {
                shared.watchdog.found(Looker::Rows, std::mem::take(&mut self.orphans));
                self.suspects = std::mem::take(&mut self.suspects_now);
                self.at = Place::default();
                PERIOD
            }
            Ok(false) => WATCHDOG_PAGE_PAUSE,
            Err(error) => {
                tracing::warn!(%error, "the watchdog cannot read the rows of runs; trying again");
                PERIOD
            }
        }
    }

    /// A page of runs that wait without an instant: people or other events wake them, and only what they wait for knows that.
    async fn asleep(&mut self, shared: &Arc<Shared>, after: Option<RunId>) -> Result<bool, JournalError> {
        let page = shared.journal.asleep(after, WATCHDOG_PAGE_ROWS).await?;
        let mut read = 0;
        for Asleep { run, is_awaited } in &page {
            if *is_awaited {
                continue;
            }
            let lost = lost_on_disk(shared, *run).await;
            let is_sure = !matches!(lost, Some(Lost::Child { .. })) || self.suspect(*run);
            self.orphans.extend(lost.filter(|_| is_sure).map(|lost| Orphan { run: *run, lost }));
            read += 1;
            if read == WATCHDOG_PAGE_RUNS {
                self.at = Place::Asleep(Some(*run));
                return Ok(false);
            }
        }
        self.at = match page.last().filter(|_| page.len() == WATCHDOG_PAGE_ROWS) {
            Some(last) => Place::Asleep(Some(last.run)),
            None => Place::AtWork(PartitionId(0), None),
        };
        Ok(false)
    }

    /// Notes that a run seems lost; whether it did at the last look, too.
    fn suspect(&mut self, run: RunId) -> bool {
        self.suspects_now.insert(run);
        self.suspects.contains(&run)
    }

    /// A page of runs of a partition that it must have in memory.
    async fn at_work(
        &mut self,
        shared: &Shared,
        partition: PartitionId,
        after: Option<RunId>,
    ) -> Result<bool, JournalError> {
        let page = shared.journal.list_loadable(partition, after, WATCHDOG_PAGE_ROWS).await?;
        let next = page.last().copied().filter(|_| page.len() == WATCHDOG_PAGE_ROWS);
        for run in shared.doors.absent(partition, page).await {
            if !self.suspect(run) {
                continue;
            }
            // It may be over by now.
            let row = shared.journal.read_row(run).await?;
            let phase = row.filter(|row| row.quarantine_reason.is_none()).map(|row| row.summary.phase);
            if matches!(phase, Some(Phase::Active | Phase::Closing)) {
                self.orphans.push(Orphan { run, lost: Lost::Owner });
            }
        }
        let last = shared.journal.partitions().count().saturating_sub(1);
        self.at = match next {
            Some(run) => Place::AtWork(partition, Some(run)),
            None if partition.0 < last => Place::AtWork(PartitionId(partition.0 + 1), None),
            None => return Ok(true),
        };
        Ok(false)
    }
}

/// What is missing of a run whose row names neither an instant nor an open review.
async fn lost_on_disk(shared: &Arc<Shared>, id: RunId) -> Option<Lost> {
    let run = match load::run(shared, id).await {
        Ok(run) => run?,
        Err(error) => {
            tracing::warn!(run = %id, %error, "the watchdog cannot read a run back");
            return error.is_lasting().then_some(Lost::History);
        }
    };
    // What was written since then speaks for itself.
    let row = shared.journal.read_row(id).await.ok().flatten()?;
    let still_asleep = row.summary.phase == Phase::Parked && row.summary.next_due.is_none();
    if !still_asleep {
        return None;
    }
    match lost_asleep(&run) {
        Some(lost) => Some(lost),
        None => tell_of_set_aside(shared, &run).await.map(|child| Lost::Child { run: child }),
    }
}

/// The same by its state.
fn lost_asleep(run: &Run) -> Option<Lost> {
    if run.status() != RunStatus::Running {
        return Some(Lost::Row);
    }
    if let Some(instance) = run.unwakeable().first() {
        return Some(Lost::node(run, *instance));
    }
    // Its row should name that instant, or those people.
    (!run.is_parked() || run.next_due().is_some() || run.open_reviews().next().is_some()).then_some(Lost::Row)
}
