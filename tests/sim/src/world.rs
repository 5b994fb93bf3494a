//! A simulated world: one coordinator, its database, agents and clients, and what happens to them.

use std::collections::BTreeMap;

use heddle_core::id::{PartitionId, RunId, SessionNumber};
use heddle_core::partition::batch::{Batch, IdempotencyKey, Phase};
use heddle_core::partition::io::{Input, Leaving};
use heddle_core::run::event::{Fact, LossCause};
use heddle_core::run::{NodePhase, Run};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Digest;

use super::agents::{Agent, Link};
use super::check::Checker;
use super::check_history::key_of;
use super::check_resumes::{Looked, Resumed};
use super::children::{CHILD_GRAPHS, Workflows, workflow_of};
use super::clients::Client;
use super::drawing::Child;
use super::event::{Event, SeatId};
use super::fault::ShellFault;
use super::graphs::Scripted;
use super::knobs::Knobs;
use super::nemesis::Trouble;
use super::operator::Operator;
use super::outsiders::Outsiders;
use super::policies;
use super::progress::Progress;
use super::queue::{Queue, millis};
use super::random::Random;
use super::reference;
use super::sessions::agent_id;
use super::shell::{Sent, Shell};
use super::store::{RunRow, Store, replay};
use super::stored::Stored;
use super::{Kills, Report};

/// When every world begins.
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// After this time without trouble an agent is certainly in touch.
const IN_TOUCH: Span = Span::from_seconds(45);

/// The rows that a batch has written over, and the keys that it has added.
struct Undo {
    rows: Vec<(RunId, Option<RunRow>)>,
    keys: Vec<IdempotencyKey>,
}

/// Everything there is.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) last_trouble: Timestamp,
    pub(super) knobs: Knobs,
    pub(super) random: Random,
    queue: Queue,
    serial: u64,
    steps: u64,
    progress: Progress,
    fault: Option<ShellFault>,
    pub(super) store: Store,
    pub(super) check: Checker,
    pub(super) shell: Shell,
    pub(super) graphs: Vec<Scripted>,
    /// Which of them nodes run by the names of workflows.
    pub(super) workflows: Workflows,
    pub(super) agents: Vec<Agent>,
    pub(super) clients: Vec<Client>,
    pub(super) links: BTreeMap<SessionNumber, Link>,
    pub(super) batches: BTreeMap<u64, Sent>,
    pub(super) next_commit_fails: bool,
    pub(super) coordinator_paused_until: Timestamp,
    pub(super) database_stalled_until: Timestamp,
    pub(super) kills: Kills,
    /// What the last batch wrote over.
    undo: Option<Undo>,
    /// Those who send signals and call hooks.
    pub(super) outsiders: Outsiders,
    /// Who pauses types of nodes.
    pub(super) operator: Operator,
    /// What was asked for by runs that go on from others.
    pub(super) resumed: BTreeMap<RunId, Resumed>,
    /// Takes a line for each thing that happens.
    trace: Option<fn(&str)>,
}

/// What is not done of the items and turns of a run.
fn open_in_bodies(run: &Run) -> String {
    use NodePhase::{Cached, Completed, Dropped, Failed, Skipped};
    const DONE: [NodePhase; 5] = [Completed, Cached, Skipped, Failed, Dropped];
    let all = run.graph().nodes().flat_map(|(ix, _)| run.open_instances(ix));
    let open = all.filter(|(_, phase)| !DONE.contains(phase));
    let open: Vec<String> =
        open.map(|(it, phase)| format!("n{} of {:?}: {phase:?}", it.node, run.path(it.scope))).collect();
    open.join(", ")
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<ShellFault>, trace: Option<fn(&str)>) -> Self {
        let mut random = Random::from_seed(seed);
        let knobs = Knobs::draw(&mut random).with_cache(seed).with_listeners(seed);
        let knobs = knobs.with_pauses(seed).with_children(seed).with_deadlines(seed).with_type_pauses(seed);
        let count = if knobs.child_percent > 0 { CHILD_GRAPHS } else { 0 };
        let places = knobs.graphs..knobs.graphs + count;
        let child = |graph| Child { workflow: workflow_of(graph), is_deep: graph + 1 == places.end };
        let children: Vec<Child> = places.clone().map(child).collect();
        let graphs = (0..knobs.graphs).map(|_| Scripted::draw_over(&mut random, &knobs, &children));
        let mut graphs: Vec<Scripted> = graphs.collect();
        for (place, child) in places.clone().zip(&children) {
            graphs.push(match child.is_deep {
                true => Scripted::draw_deep(&mut random, &knobs, place),
                false => Scripted::draw_child(&mut random, &knobs, &children[..place - places.start]),
            });
        }
        let graphs = knobs.bound(graphs);
        let mut world = Self::of(random, knobs, graphs, fault, trace);
        places.for_each(|place| world.workflows.save(workflow_of(place), place));
        world
    }

    /// A world that has these graphs.
    pub(super) fn of(
        random: Random,
        knobs: Knobs,
        graphs: Vec<Scripted>,
        fault: Option<ShellFault>,
        trace: Option<fn(&str)>,
    ) -> Self {
        let mut store = Store::default();
        for scripted in &graphs {
            store.graphs.insert(scripted.graph.digest(), scripted.graph.clone());
        }
        let agents = (0..knobs.agents).map(|_| Agent::default()).collect();
        let (outsiders, operator) = (Outsiders::new(knobs.outside), Operator::new(knobs.operator));
        let mut world = Self {
            now: START,
            last_trouble: START.plus(millis(knobs.trouble_ms)),
            knobs,
            random,
            queue: Queue::default(),
            serial: 0,
            steps: 0,
            progress: Progress::default(),
            fault,
            store,
            check: Checker::default(),
            shell: Shell::default(),
            graphs,
            workflows: Workflows::default(),
            agents,
            clients: Vec::new(),
            links: BTreeMap::new(),
            batches: BTreeMap::new(),
            next_commit_fails: false,
            coordinator_paused_until: START,
            database_stalled_until: START,
            kills: Kills::default(),
            undo: None,
            outsiders,
            operator,
            resumed: BTreeMap::new(),
            trace,
        };
        // Epochs begin above zero, as in the real rows.
        (0..world.knobs.partitions).for_each(|partition| world.store.raise(PartitionId(partition)));
        world.after(Span::ZERO, Event::CoordinatorStarts(0));
        for agent in 0..world.knobs.agents {
            world.after(Span::ZERO, Event::AgentStarts { agent });
        }
        world.plan_clients();
        world.plan_troubles();
        world.plan_type_pauses();
        world
    }

    /// Lets everything happen until nothing is left to do, or something is wrong.
    pub(super) fn run(mut self) -> Report {
        for scripted in &self.graphs {
            self.tell_trace(|| scripted.to_string());
        }
        while let Some((at, event)) = self.queue.pop() {
            self.now = at;
            self.check.now = at;
            self.check.calm(self.last_trouble);
            self.steps += 1;
            self.check.note(at.as_millis() as u64);
            self.happen(event);
            if self.check.has_failed() {
                break;
            }
            if self.steps.is_multiple_of(8) {
                self.let_paused_go_on();
                if self.unsettled(false).is_none() {
                    break;
                }
            }
            if !self.progress.goes_on(self.check.done, self.steps, at, self.last_trouble) {
                let what = self.unsettled(true).unwrap_or_default();
                self.check.fail("H20", format!("still not at rest: {what}"));
                break;
            }
        }
        if !self.check.has_failed() {
            self.check_end();
        }
        let steps = self.steps;
        let simulated = self.now.since(START);
        let (runs, kills) = (self.check.runs.len() as u64, self.kills);
        let (hash, coverage, violation) = self.check.into_result();
        Report { hash, steps, simulated, runs, kills, coverage, violation }
    }

    pub(super) fn at(&mut self, at: Timestamp, event: Event) {
        self.queue.put(at, event);
    }

    pub(super) fn after(&mut self, pause: Span, event: Event) {
        self.queue.put(self.now.plus(pause), event);
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn is_planted(&self, fault: ShellFault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn tell_trace(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = self.trace {
            trace(&format!("{:>8} ms  {}", self.now.since(START).as_millis(), what()));
        }
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.unless_paused(event) else { return };
        self.tell_trace(|| format!("{event:?}"));
        match event {
            Event::ClientActs { client, job } => self.client_acts(client, job),
            Event::ClientGivesUp { client, caller } => self.gives_up(client, caller),
            Event::PersonActs { person, run, review } => self.person_acts(person, run, review),
            Event::OutsiderSends { run, name } => self.outsider_sends(run, &name),
            Event::OutsiderActs { run, instance } => self.outsider_acts(run, instance),
            Event::OperatorActs { node_type, pauses } => self.operator_acts(node_type, pauses),
            Event::Request { client, partition, input } => self.request(client, partition, *input),
            Event::Mail { partition, input } => self.mail(partition, *input),
            Event::Answer { client, caller, reply } => self.answered(client, caller, &reply),
            Event::Wake(seat) => self.work(seat),
            Event::Tick(seat, at) => self.tick(seat, at),
            Event::Commit { seat, batch } => self.land(seat, batch),
            Event::CommitOutcome { seat, number, outcome } => self.outcome(seat, Input::Committed(number, outcome)),
            Event::ReadRun { seat, run } => self.read_for(seat, run),
            Event::ReadValues { seat, run, references } => self.read_values(seat, run, &references),
            Event::ReadList { seat, run, need } => self.read_list(seat, run, need),
            Event::LookUpKey { seat, key } => self.look_up(seat, key),
            Event::Outcome { seat, input } => self.outcome(seat, *input),
            Event::Fence(seat) => self.fence(seat),
            Event::Load(seat) => self.load(seat),
            Event::ScanDue(seat) => self.scan_due(seat),
            Event::CoordinatorStarts(start) => self.start_coordinator(start),
            Event::ToCoordinator { session, message } => {
                if self.links.get(&session).is_some_and(|link| link.is_up) {
                    self.heard(session, message);
                }
            }
            Event::ToAgent { session, message } => {
                if let Some(agent) = self.links.get(&session).filter(|link| link.is_up).map(|link| link.agent) {
                    self.told(session, agent, message);
                }
            }
            Event::CoordinatorSeesEnd(session) => {
                // Nothing comes out of a stream after its end, its first message neither.
                self.links.get_mut(&session).into_iter().for_each(|link| link.is_up = false);
                self.after(Span::ZERO, Event::AgentSeesEnd(session));
                self.session_ends(session, Leaving::Broken);
            }
            Event::AgentSeesEnd(session) => self.agent_sees_end(session),
            Event::FallsSilent { session, to_coordinator } => self.falls_silent(session, to_coordinator),
            Event::AgentStarts { agent } => self.start_agent(agent),
            Event::AgentDials { agent, boot } => self.dial(agent, boot),
            Event::AttemptGoesOn { agent, boot, key, step } => self.go_on(agent, boot, &key, step),
            Event::JobCancelled { agent, boot, job } => self.job_cancelled(agent, boot, &job),
            Event::DrainEnds { agent, boot } => self.leave(agent, boot),
            Event::Trouble(trouble) => self.trouble(trouble),
        }
    }

    /// What a stopped process would do, it does when it wakes.
    fn unless_paused(&mut self, event: Event) -> Option<Event> {
        let until = self.paused_until(&event)?;
        if until <= self.now {
            return Some(event);
        }
        if let Event::Commit { batch, .. } = &event {
            self.batches.get_mut(batch).into_iter().for_each(|sent| sent.was_held = true);
        }
        let is_forgotten = matches!(event, Event::ToCoordinator { .. }) && self.is_planted(ShellFault::PausedMailLost);
        if !is_forgotten {
            self.at(until, event);
        }
        None
    }

    /// Until when whoever an event is for is stopped; nothing if there is nobody.
    fn paused_until(&self, event: &Event) -> Option<Timestamp> {
        let agent = match event {
            Event::ToAgent { session, .. } | Event::AgentSeesEnd(session) => self.links.get(session)?.agent,
            Event::AgentDials { agent, .. }
            | Event::AttemptGoesOn { agent, .. }
            | Event::JobCancelled { agent, .. }
            | Event::DrainEnds { agent, .. } => *agent,
            Event::Commit { .. } => return Some(self.database_stalled_until),
            Event::OperatorActs { .. }
            | Event::ReadRun { .. }
            | Event::ReadValues { .. }
            | Event::ReadList { .. }
            | Event::LookUpKey { .. }
            | Event::Fence(_)
            | Event::Load(_)
            | Event::ScanDue(_) => return Some(self.database_stalled_until.max(self.coordinator_paused_until)),
            Event::Request { .. }
            | Event::Mail { .. }
            | Event::Wake(_)
            | Event::Tick(..)
            | Event::CommitOutcome { .. }
            | Event::Outcome { .. }
            | Event::ToCoordinator { .. }
            | Event::CoordinatorSeesEnd(_)
            | Event::Trouble(Trouble::PartitionCrashes(_)) => return Some(self.coordinator_paused_until),
            Event::ClientActs { .. }
            | Event::ClientGivesUp { .. }
            | Event::PersonActs { .. }
            | Event::OutsiderSends { .. }
            | Event::OutsiderActs { .. }
            | Event::Answer { .. }
            | Event::CoordinatorStarts(_)
            | Event::FallsSilent { .. }
            | Event::AgentStarts { .. }
            | Event::Trouble(_) => return Some(self.now),
        };
        Some(self.agents[agent].paused_until)
    }

    pub(super) fn commit_fault_percent(&self) -> u64 {
        if self.now < self.last_trouble { self.knobs.commit_fault_percent } else { 0 }
    }

    /// Now and then the database cannot hold a run's rows.
    pub(super) fn spoil(&mut self, batch: &Batch) {
        let is_over = self.now >= self.last_trouble || batch.runs.is_empty();
        if is_over || !self.random.percent(self.knobs.spoilt_run_percent) {
            return;
        }
        let run = batch.runs[self.random.below(batch.runs.len())].run;
        self.store.spoilt.insert(run);
    }

    pub(super) fn remember_for_undo(&mut self, batch: &Batch) {
        if self.is_planted(ShellFault::LostFlush) {
            let rows = batch.runs.iter().map(|written| (written.run, self.store.runs.get(&written.run).cloned()));
            let created = batch.runs.iter().filter_map(|written| written.created.as_ref());
            let keys = created.filter_map(|created| created.key.as_ref()).map(|row| row.key.clone());
            self.undo = Some(Undo { rows: rows.collect(), keys: keys.collect() });
        }
    }

    pub(super) fn undo_last_commit(&mut self) {
        let Some(Undo { rows, keys }) = self.undo.take() else { return };
        for (run, row) in rows {
            match row {
                Some(row) => drop(self.store.runs.insert(run, row)),
                None => drop(self.store.runs.remove(&run)),
            }
        }
        for key in &keys {
            self.store.keys.remove(key);
        }
    }

    /// Half of a batch: the first event of its first run, without the rows beside it.
    pub(super) fn tear(&mut self, batch: &Batch) {
        if let Some(first) = batch.runs.first().filter(|first| !self.store.runs.contains_key(&first.run)) {
            let mut torn = first.clone();
            torn.events.truncate(1);
            torn.summary = None;
            torn.created.iter_mut().for_each(|created| created.key = None);
            self.store.write_run(&torn);
        }
    }

    /// Work that an agent holds, and whose agent could be asked, is not taken for lost.
    pub(super) fn check_losses(&self, batch: &Batch) {
        for written in &batch.runs {
            for event in &written.events {
                let Fact::Lost { attempt, cause, .. } = &event.fact else { continue };
                let key = key_of(written.run, attempt);
                let Some(boot) = self.check.tokens.get(&attempt.token).map(|token| token.boot.clone()) else {
                    continue;
                };
                let holder = self.agents.iter().enumerate().find(|(ix, _)| agent_id(*ix) == boot.agent);
                let Some((_, agent)) = holder.filter(|(_, agent)| agent.holds(boot.boot, &key)) else { continue };
                let was_in_touch = agent.trouble_until.plus(IN_TOUCH) < event.at;
                let instance = self.check.instances.get(&(written.run, attempt.instance));
                let has_handle = instance.is_some_and(|instance| instance.has_handle);
                let is_wrong = match cause {
                    LossCause::NotHeld => true,
                    // Whoever has the handle polls on (E10).
                    LossCause::StreamGone => was_in_touch && !has_handle,
                    LossCause::NewBoot | LossCause::Goodbye => false,
                };
                self.check
                    .expect(!is_wrong, "E10", || format!("{key:?} is lost ({cause:?}) though its agent holds it"));
            }
        }
    }

    /// What keeps the world from being at rest.
    fn unsettled(&self, thorough: bool) -> Option<String> {
        if self.now <= self.last_trouble || !self.clients.iter().all(Client::is_done) {
            return Some("clients wait".to_owned());
        }
        let is_open = |row: &RunRow| {
            !row.is_quarantined && row.summary.as_ref().is_none_or(|summary| summary.phase != Phase::Closed)
        };
        if let Some((id, row)) = self.store.runs.iter().find(|(_, row)| is_open(row)) {
            return Some(if thorough {
                let summary = row.summary.as_ref();
                let fold = self.check.runs.get(id).and_then(|account| account.fold.as_ref());
                let phases = fold.map(|fold| fold.graph().nodes().map(|(ix, _)| fold.phase_of(ix)).collect::<Vec<_>>());
                let open = fold.map(open_in_bodies).unwrap_or_default();
                format!(
                    "run {id} is {summary:?}, nodes {phases:?}, in bodies {open}, last event {:?}",
                    row.events.last()
                )
            } else {
                String::new()
            });
        }
        if let Some(what) = self.owes_batches() {
            return Some(what);
        }
        let seats = &self.shell.seats;
        if !self.shell.is_up || !seats.values().all(|seat| seat.partition.is_some() && seat.mailbox.is_empty()) {
            return Some("a partition is not at work".to_owned());
        }
        for (ix, agent) in self.agents.iter().enumerate() {
            let id = agent_id(ix);
            let (slots, prefetch) = self.shell.permits.free(&id);
            let free = (i64::from(slots), i64::from(prefetch));
            let all = (i64::from(self.knobs.slots), i64::from(self.knobs.prefetch));
            let busy = self.shell.permits.busy(&id);
            if !agent.is_idle() || agent.granted() != all || free != all || busy != 0 {
                return Some(format!(
                    "agent {ix}: idle {}, has granted {:?}, the coordinator has {free:?} free and {busy} busy",
                    agent.is_idle(),
                    agent.granted()
                ));
            }
        }
        None
    }

    fn check_end(&mut self) {
        self.check_batches();
        self.check.check_values(&self.store);
        self.check.check_jobs();
        self.check_deadlines();
        for run in self.check.acknowledged_runs() {
            let is_there = self.store.runs.contains_key(&run) || self.check.is_quarantined(run);
            self.check.expect(is_there, "H1", || format!("{run} was acknowledged and is not there"));
        }
        for (id, row) in self.store.runs.iter().filter(|(_, row)| !row.is_quarantined) {
            let account = self.check.runs.get(id).and_then(|account| account.fold.as_ref());
            let replayed = self.store.graphs.get(&row.created.graph).map(|graph| replay(*id, graph, &row.events));
            let is_same = match (account, replayed) {
                (Some(fold), Some(Ok(replayed))) => {
                    fold.snapshot() == replayed.snapshot() && row.summary.as_ref() == Some(&fold.summary())
                }
                _ => false,
            };
            self.check.expect(is_same, "H9", || format!("the rows of {id} are not the fold of its events"));
            let scripted = self.scripted(row.created.graph);
            if let (Some(fold), Some(scripted)) = (account, scripted)
                && let Err(what) =
                    reference::compare(&scripted.document, self.store.stored(*id), fold, &|run| self.history_of(run))
                        .and_then(|()| policies::compare(&scripted.nodes, &row.events, fold))
            {
                self.check.fail("H30", format!("{id}: {what}"));
            }
            if let Some(Err(what)) = self.looked(*id, row).map(|looked| looked.check()) {
                self.check.fail("H32", format!("{id}: {what}"));
            }
        }
    }

    /// A run that goes on from another one, with that.
    fn looked(&self, id: RunId, row: &RunRow) -> Option<Looked<'_>> {
        let resumed = self.resumed.get(&id)?;
        let (fold, _) = self.history_of(id)?;
        let parent = self.store.runs.get(&resumed.parent).and_then(|row| self.scripted(row.created.graph))?;
        let (parent_fold, _) = self.history_of(resumed.parent)?;
        let scripted = self.scripted(row.created.graph)?;
        Some(Looked::read(resumed, (fold, &row.events), scripted, (parent_fold, parent)))
    }

    /// A graph, as it was drawn.
    pub(super) fn scripted(&self, graph: Digest) -> Option<&Scripted> {
        self.graphs.iter().find(|scripted| scripted.graph.digest() == graph)
    }

    /// A run as it is kept.
    fn history_of(&self, run: RunId) -> Option<(&Run, Stored<'_>)> {
        let fold = self.check.runs.get(&run).and_then(|account| account.fold.as_ref())?;
        Some((fold, self.store.stored(run)))
    }

    /// What is in memory, where it is as far as the journal, is what the journal says.
    pub(super) fn check_memory(&mut self, seat: SeatId) {
        let Some(partition) = self.shell.seats.get(&seat.partition).and_then(|seat| seat.partition.as_ref()) else {
            return;
        };
        for run in partition.runs() {
            // Of a long history, not every event.
            let is_looked_at = run.seq().0 < 64 || run.seq().0.is_multiple_of(16);
            let account = self.check.runs.get_mut(&run.id()).filter(|account| account.events == run.seq().0);
            let Some(account) = account.filter(|_| is_looked_at) else { continue };
            if std::mem::replace(&mut account.compared, (seat, run.seq())) == (seat, run.seq()) {
                continue;
            }
            if let Some(fold) = &account.fold {
                let is_same = fold.snapshot() == run.snapshot();
                self.check.expect(is_same, "H9", || format!("{} in memory differs from its history", run.id()));
            }
        }
    }
}
