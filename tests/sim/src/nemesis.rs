//! What goes wrong on purpose, and when.

use heddle_core::id::PartitionId;

use super::event::Event;
use super::queue::millis;
use super::world::World;

/// One kind of trouble.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    AgentCrashes(usize),
    /// As with SIGSTOP: it wakes later and knows nothing of it.
    AgentPauses(usize),
    AgentDrains(usize),
    LinkBreaks(usize),
    AgentIsolated(usize),
    CoordinatorCrashes,
    PartitionCrashes(PartitionId),
    /// Another owner raises the epoch.
    Usurped(PartitionId),
    NextCommitFails,
}

impl World {
    /// Draws this world's troubles.
    pub(super) fn plan_troubles(&mut self) {
        for _ in 0..self.knobs.faults {
            let agent = self.random.below(self.knobs.agents);
            let partition = PartitionId(self.random.below(usize::from(self.knobs.partitions)) as u16);
            let trouble = match self.random.below(14) {
                0 | 1 => Trouble::AgentCrashes(agent),
                2 => Trouble::AgentPauses(agent),
                3 => Trouble::AgentDrains(agent),
                4 => Trouble::LinkBreaks(agent),
                5 => Trouble::AgentIsolated(agent),
                6 | 7 => Trouble::CoordinatorCrashes,
                8 | 9 => Trouble::PartitionCrashes(partition),
                10 => Trouble::Usurped(partition),
                _ => Trouble::NextCommitFails,
            };
            let at = self.now.plus(millis(self.random.between((0, self.knobs.trouble_ms))));
            self.at(at, Event::Trouble(trouble));
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        self.last_trouble = self.now;
        match trouble {
            Trouble::AgentCrashes(agent) => self.crash_agent(agent),
            Trouble::AgentPauses(agent) => self.pause_agent(agent),
            Trouble::AgentDrains(agent) => self.drain(agent),
            Trouble::LinkBreaks(agent) => {
                self.troubled(agent, 4_000);
                self.agents[agent].session.into_iter().for_each(|id| self.break_link(id));
            }
            Trouble::AgentIsolated(agent) => {
                let length = self.random.between((500, 10_000));
                self.troubled(agent, length + 4_000);
                self.agents[agent].isolated_until = self.now.plus(millis(length));
                self.agents[agent].session.into_iter().for_each(|id| self.break_link(id));
            }
            Trouble::CoordinatorCrashes => self.crash_coordinator(),
            Trouble::PartitionCrashes(partition) => {
                let seat = self.shell.seats.get(&partition).map(|seat| seat.id);
                seat.into_iter().for_each(|id| self.crash_partition(id));
            }
            Trouble::Usurped(partition) => {
                self.store.raise(partition);
            }
            Trouble::NextCommitFails => self.next_commit_fails = true,
        }
    }

    fn pause_agent(&mut self, agent: usize) {
        let length = self.random.between((100, 8_000));
        self.troubled(agent, length + 1_000);
        self.agents[agent].paused_until = self.now.plus(millis(length));
        let silent = millis(3_000);
        if length > silent.as_millis()
            && let Some(id) = self.agents[agent].session
        {
            self.after(silent, Event::CoordinatorSeesEnd(id));
        }
    }

    fn troubled(&mut self, agent: usize, length: u64) {
        let until = self.now.plus(millis(length));
        let here = &mut self.agents[agent];
        here.trouble_until = here.trouble_until.max(until);
    }
}
