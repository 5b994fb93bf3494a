//! What goes wrong on purpose, and when.

use heddle_core::id::{PartitionId, SessionNumber};
use heddle_core::time::Span;

use super::event::Event;
use super::queue::millis;
use super::world::World;

/// A stream on which nothing has come for this long is over.
const SILENT: Span = Span::from_seconds(3);

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
    /// The process is stopped and goes on later: all its timers are late, and then ring at once.
    CoordinatorPauses,
    /// The database answers nobody for a while. What was under way lands afterwards, or nobody knows.
    DatabaseStalls,
    /// What one side says to the other does not get through, but the other way round it does.
    OneWay {
        agent: usize,
        to_coordinator: bool,
    },
}

impl World {
    /// Draws this world's troubles.
    pub(super) fn plan_troubles(&mut self) {
        for _ in 0..self.knobs.faults {
            let agent = self.random.below(self.knobs.agents);
            let partition = PartitionId(self.random.below(usize::from(self.knobs.partitions)) as u16);
            let trouble = match self.random.below(20) {
                0 | 1 => Trouble::AgentCrashes(agent),
                2 => Trouble::AgentPauses(agent),
                3 => Trouble::AgentDrains(agent),
                4 => Trouble::LinkBreaks(agent),
                5 => Trouble::AgentIsolated(agent),
                6 | 7 => Trouble::CoordinatorCrashes,
                8 | 9 => Trouble::PartitionCrashes(partition),
                10 => Trouble::Usurped(partition),
                11 | 12 => Trouble::CoordinatorPauses,
                13 | 14 => Trouble::DatabaseStalls,
                15 | 16 => Trouble::OneWay { agent, to_coordinator: self.random.percent(50) },
                _ => Trouble::NextCommitFails,
            };
            let at = self.now.plus(millis(self.random.between((0, self.knobs.trouble_ms))));
            self.at(at, Event::Trouble(trouble));
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        self.last_trouble = self.now.max(self.coordinator_paused_until).max(self.database_stalled_until);
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
            Trouble::CoordinatorPauses => self.pause_coordinator(),
            Trouble::DatabaseStalls => {
                let length = self.random.between((100, 10_000));
                self.database_stalled_until = self.database_stalled_until.max(self.now.plus(millis(length)));
                self.last_trouble = self.last_trouble.max(self.database_stalled_until);
            }
            Trouble::OneWay { agent, to_coordinator } => self.cut_one_way(agent, to_coordinator),
        }
    }

    fn pause_agent(&mut self, agent: usize) {
        let length = self.random.between((100, 8_000));
        self.troubled(agent, length + 1_000);
        self.agents[agent].paused_until = self.now.plus(millis(length));
        let silent = SILENT;
        if length > silent.as_millis()
            && let Some(id) = self.agents[agent].session
        {
            self.after(silent, Event::CoordinatorSeesEnd(id));
        }
    }

    /// Agents hear nothing for as long, and dial again if it takes too long.
    fn pause_coordinator(&mut self) {
        if !self.shell.is_up {
            return;
        }
        let length = self.random.between((100, 8_000));
        self.coordinator_paused_until = self.coordinator_paused_until.max(self.now.plus(millis(length)));
        self.last_trouble = self.last_trouble.max(self.coordinator_paused_until);
        (0..self.agents.len()).for_each(|agent| self.troubled(agent, length + 4_000));
        if length > SILENT.as_millis() {
            for id in self.links.iter().filter(|(_, link)| link.is_up).map(|(id, _)| *id).collect::<Vec<_>>() {
                self.after(SILENT, Event::AgentSeesEnd(id));
                self.after(SILENT, Event::CoordinatorSeesEnd(id));
            }
        }
    }

    /// One end hears nothing, and what it would have heard comes late, unless it ends the stream before that. The other end
    /// hears everything, that end too.
    fn cut_one_way(&mut self, agent: usize, to_coordinator: bool) {
        let length = self.random.between((500, 10_000));
        self.troubled(agent, length + 4_000);
        let until = self.now.plus(millis(length));
        self.agents[agent].isolated_until = until;
        let Some(id) = self.agents[agent].session else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let next_at = if to_coordinator { &mut link.to_coordinator_at } else { &mut link.to_agent_at };
        *next_at = until.max(*next_at);
        if length > SILENT.as_millis() {
            self.after(SILENT, Event::FallsSilent { session: id, to_coordinator });
        }
    }

    /// One end of a stream has heard nothing for too long, and closes it.
    pub(super) fn falls_silent(&mut self, id: SessionNumber, to_coordinator: bool) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.is_up) else { return };
        link.is_up = false;
        let pause = millis(self.random.between(self.knobs.link_ms));
        let (deaf, other) = match to_coordinator {
            true => (Event::CoordinatorSeesEnd(id), Event::AgentSeesEnd(id)),
            false => (Event::AgentSeesEnd(id), Event::CoordinatorSeesEnd(id)),
        };
        self.after(Span::ZERO, deaf);
        self.after(pause, other);
    }

    fn troubled(&mut self, agent: usize, length: u64) {
        let until = self.now.plus(millis(length));
        let here = &mut self.agents[agent];
        here.trouble_until = here.trouble_until.max(until);
    }
}
