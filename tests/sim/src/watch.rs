//! The watchdog, asked at every quiet moment: nothing that is not over is without something that would wake it (H21).

use heddle_core::limits;
use heddle_core::partition::batch::Phase;
use heddle_core::partition::watch::Lost;

use super::event::SeatId;
use super::world::World;

impl World {
    /// After each turn of a partition: its runs in memory.
    pub(super) fn check_watch(&mut self, id: SeatId) {
        let Some(partition) = self.shell.seat(id).and_then(|seat| seat.partition.as_mut()) else { return };
        let mut after = None;
        let mut orphans = Vec::new();
        loop {
            let watched = partition.watch(after, limits::WATCHDOG_PAGE_RUNS);
            after = watched.runs.last().copied();
            orphans.extend(watched.orphans);
            if !watched.has_more {
                break;
            }
        }
        for orphan in orphans {
            self.check.fail("H21", format!("run {}: {}", orphan.run, orphan.lost));
        }
    }

    /// Where parked runs are looked for: those on disk alone, and those that their rows say are at work.
    pub(super) fn check_rows(&mut self, id: SeatId) {
        let Some(partition) = self.shell.seats.get(&id.partition).and_then(|seat| seat.partition.as_ref()) else {
            return;
        };
        let is_here = |run| self.partition_of(run) == id.partition;
        let mut asleep = Vec::new();
        for (run, row) in self.store.runs.iter().filter(|(run, row)| is_here(**run) && !row.is_quarantined) {
            let fold = self.check.runs.get(run).and_then(|account| account.fold.as_ref());
            let is_awaited = fold.is_some_and(|fold| {
                let people = fold.open_reviews().next().is_some() || fold.pause().is_some();
                people || fold.listeners().next().is_some() || fold.open_children().next().is_some()
            });
            let lost = match &row.summary {
                Some(summary) if summary.phase == Phase::Parked && summary.next_due.is_none() && !is_awaited => {
                    Lost::Row
                }
                Some(summary) if summary.phase == Phase::Parked && summary.next_due.is_none() => {
                    asleep.push(*run);
                    continue;
                }
                // What a partition has not read yet it is about to.
                Some(summary) if matches!(summary.phase, Phase::Active | Phase::Closing) && !self.reads(id, *run) => {
                    match partition.has(*run) {
                        true => continue,
                        false => Lost::Owner,
                    }
                }
                _ => continue,
            };
            self.check.fail("H21", format!("run {run}: {lost}"));
        }
        asleep.into_iter().for_each(|run| self.tell_of_set_aside(run));
    }
}
