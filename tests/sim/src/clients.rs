//! Model clients: they submit, ask again when they were not answered, and cancel.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::batch::BatchId;
use heddle_core::graph::Graph;
use heddle_core::id::{CallerId, NodeIx, PartitionId, RunId, Slot, Subject, TenantId, WorkflowId};
use heddle_core::partition::batch::{IdempotencyKey, KeyRow};
use heddle_core::partition::io::{Input, Refusal, Reply, Submission};
use heddle_core::run::PauseChange;
use heddle_core::value::Digest;

use super::event::Event;
use super::outsiders;
use super::people;
use super::queue::millis;
use super::world::World;

/// One client.
#[derive(Debug, Default)]
pub(super) struct Client {
    jobs: Vec<Job>,
    /// Which job waits for which answer.
    waiting: BTreeMap<CallerId, usize>,
    acknowledged: Vec<RunId>,
    batches: Vec<BatchId>,
}

#[derive(Debug, Clone)]
struct Job {
    kind: JobKind,
    is_done: bool,
    tries: u32,
}

#[derive(Debug, Clone)]
enum JobKind {
    Submit {
        graph: usize,
        key: Option<usize>,
    },
    Cancel {
        is_foreign: bool,
    },
    /// A run that goes on from one that is over.
    Resume,
    Batch {
        key: Option<usize>,
    },
    CancelBatch,
    /// A run is paused, and goes on some time after that is answered.
    Pause {
        run: Option<RunId>,
    },
    Unpause {
        run: RunId,
    },
    /// Another version of a workflow that others run.
    Save,
}

impl Client {
    pub(super) fn is_done(&self) -> bool {
        self.jobs.iter().all(|job| job.is_done)
    }
}

impl World {
    /// Draws what each client will ask for.
    pub(super) fn plan_clients(&mut self) {
        for client in 0..self.knobs.clients {
            self.clients.push(Client::default());
            for _ in 0..self.knobs.submissions {
                let key = self.random.percent(self.knobs.keyed_percent).then(|| self.random.below(self.knobs.keys));
                // A key mostly stands for one body, as clients do it; now and then it does not.
                let graph = match key {
                    Some(key) if self.random.percent(90) => key % self.knobs.graphs,
                    _ => self.random.below(self.knobs.graphs),
                };
                self.plan_job(client, JobKind::Submit { graph, key });
                if self.random.percent(self.knobs.cancel_percent) {
                    let is_foreign = self.random.percent(10);
                    self.plan_job(client, JobKind::Cancel { is_foreign });
                }
            }
            for _ in 0..self.knobs.submissions {
                if self.random.percent(self.knobs.resume_percent) {
                    self.plan_job(client, JobKind::Resume);
                }
            }
            for _ in 0..if self.knobs.pause_percent > 0 { self.knobs.submissions } else { 0 } {
                if self.random.percent(self.knobs.pause_percent) {
                    self.plan_job(client, JobKind::Pause { run: None });
                }
            }
            if self.knobs.child_percent > 0 && self.random.percent(30) {
                self.plan_job(client, JobKind::Save);
            }
            if self.random.percent(self.knobs.batch_percent) {
                let key = self.random.percent(self.knobs.keyed_percent).then(|| self.random.below(self.knobs.keys));
                self.plan_job(client, JobKind::Batch { key });
                if self.random.percent(self.knobs.cancel_percent) {
                    self.plan_job(client, JobKind::CancelBatch);
                }
            }
        }
    }

    fn plan_job(&mut self, client: usize, kind: JobKind) {
        let jobs = &mut self.clients[client].jobs;
        jobs.push(Job { kind, is_done: false, tries: 0 });
        let job = jobs.len() - 1;
        let spread = self.random.pick(&[0, 100, self.knobs.trouble_ms]);
        let pause = millis(self.random.between((0, spread)));
        self.after(pause, Event::ClientActs { client, job });
    }

    pub(super) fn client_acts(&mut self, client: usize, job: usize) {
        self.clients[client].jobs[job].tries += 1;
        if matches!(self.clients[client].jobs[job].kind, JobKind::Save) {
            self.clients[client].jobs[job].is_done = true;
            return self.save_workflow();
        }
        let caller = CallerId(self.next_serial());
        let asked = match self.clients[client].jobs[job].kind.clone() {
            JobKind::Submit { graph, key } => {
                let mut submission = self.submission(graph, key);
                if self.knobs.has_tenants() && key.is_none() && self.random.percent(40) {
                    submission.tenant = TenantId::from("umbrella");
                }
                // The key of a request says what it asks for.
                if key.is_none() && self.random.percent(15) {
                    submission.target = self.target(&submission.graph);
                }
                self.check.invoked(submission.run);
                Some((self.partition_of(submission.run), Input::Submit(caller, Box::new(submission))))
            }
            JobKind::Cancel { is_foreign } => {
                let asked = self.cancellation(client, caller, is_foreign);
                asked.map(|(run, input)| (self.partition_of(run), input))
            }
            JobKind::Resume => self.resumption(client).map(|submission| {
                self.check.invoked(submission.run);
                (self.partition_of(submission.run), Input::Submit(caller, Box::new(submission)))
            }),
            JobKind::Batch { key } => Some(self.ask_for_batch(caller, key)),
            JobKind::CancelBatch => self.cancel_of_batch(client, caller),
            JobKind::Pause { run } => {
                let known = &self.clients[client].acknowledged;
                let run = run.or_else(|| known.get(self.random.below(known.len())).copied());
                let run = run.map(|run| self.in_tree_of(run));
                self.clients[client].jobs[job].kind = JobKind::Pause { run };
                run.map(|run| self.pause(caller, run, PauseChange::Pause { reason: None }))
            }
            JobKind::Unpause { run } => Some(self.pause(caller, run, PauseChange::Unpause)),
            JobKind::Save => None,
        };
        let Some((partition, input)) = asked else { return self.nothing_to_cancel(client, job) };
        self.clients[client].waiting.insert(caller, job);
        let pause = millis(self.random.between(self.knobs.link_ms));
        self.after(pause, Event::Request { client, partition, input: Box::new(input) });
        let patience = millis(self.random.between((1_000, 12_000)));
        self.after(patience, Event::ClientGivesUp { client, caller });
    }

    /// When all is calm somebody looks for what still stands still: a request to pause may come after the one that was to end it.
    pub(super) fn let_paused_go_on(&mut self) {
        if self.knobs.pause_percent == 0 || self.now <= self.last_trouble || !self.clients.iter().all(Client::is_done) {
            return;
        }
        let is_paused = |run: &RunId| {
            let fold = self.check.runs.get(run).and_then(|account| account.fold.as_ref());
            fold.is_some_and(|fold| fold.pause().is_some())
        };
        let at_work = self.store.runs.iter().filter(|(_, row)| !row.is_quarantined).map(|(run, _)| *run);
        let paused: Vec<RunId> = at_work.filter(is_paused).collect();
        paused.into_iter().for_each(|run| self.plan_job(0, JobKind::Unpause { run }));
    }

    fn nothing_to_cancel(&mut self, client: usize, job: usize) {
        if self.clients[client].jobs[job].tries > 20 {
            self.clients[client].jobs[job].is_done = true;
        } else {
            // Nobody goes on from a run that is not over: that takes its time.
            let is_patient = matches!(self.clients[client].jobs[job].kind, JobKind::Resume);
            let pause = millis(self.random.between((50, if is_patient { 2_000 } else { 500 })));
            self.after(pause, Event::ClientActs { client, job });
        }
    }

    pub(super) fn known_runs(&self, client: usize) -> &[RunId] {
        &self.clients[client].acknowledged
    }

    pub(super) fn known_batches(&self, client: usize) -> &[BatchId] {
        &self.clients[client].batches
    }

    /// A node to run up to, mostly one in a body or a lifted one.
    fn target(&mut self, graph: &Graph) -> Option<NodeIx> {
        let named = graph.nodes().filter(|(_, node)| !node.is_anonymous).map(|(ix, _)| ix);
        let (inside, outside): (Vec<NodeIx>, Vec<NodeIx>) = named.partition(|ix| graph.within(*ix).is_some());
        let from = if inside.is_empty() || self.random.percent(20) { outside } else { inside };
        from.get(self.random.below(from.len())).copied()
    }

    pub(super) fn submission(&mut self, graph: usize, key: Option<usize>) -> Submission {
        let tenant = TenantId::from("acme");
        let random = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
        let slot = key.map_or_else(|| Slot::of_hash(self.random.next()), |key| Slot::of_hash(key as u64 * 7 + 1));
        let key = key.map(|key| KeyRow {
            key: IdempotencyKey {
                tenant: tenant.clone(),
                route: "POST /execute".into(),
                key: format!("key {key}").into(),
            },
            body: Digest::of(&graph.to_be_bytes()),
        });
        let graph = Arc::clone(&self.graphs[graph].graph);
        let run = RunId::new(self.now, slot, random);
        Submission {
            run,
            tenant,
            subject: Subject::from("a client"),
            workflow: WorkflowId(1),
            graph,
            target: None,
            inputs: Vec::new(),
            key,
            traceparent: None,
            sandbox: false,
            lineage: None,
            batch: None,
            deadline: self.knobs.deadline_of(run),
            invoked_by: None,
        }
    }

    fn pause(&mut self, caller: CallerId, run: RunId, change: PauseChange) -> (PartitionId, Input) {
        let (tenant, by) = (self.store.tenant_of(run), Subject::from("a client"));
        (self.partition_of(run), Input::Pause { caller, run, tenant, by, change })
    }

    fn cancellation(&mut self, client: usize, caller: CallerId, is_foreign: bool) -> Option<(RunId, Input)> {
        let known = &self.clients[client].acknowledged;
        let run = *known.get(self.random.below(known.len()))?;
        let run = self.in_tree_of(run);
        let tenant = if is_foreign { TenantId::from("another") } else { self.store.tenant_of(run) };
        Some((run, Input::Cancel { caller, run, tenant, by: Subject::from("a client"), reason: None }))
    }

    pub(super) fn answer(&mut self, client: usize, caller: CallerId, reply: Reply) {
        let pause = millis(self.random.between(self.knobs.link_ms));
        self.after(pause, Event::Answer { client, caller, reply });
    }

    pub(super) fn answered(&mut self, client: usize, caller: CallerId, reply: &Reply) {
        if client == outsiders::CLIENT {
            return self.outsider_hears(caller, reply);
        }
        // People see in the history what became of what they said.
        if client == people::CLIENT {
            return;
        }
        let Some(job) = self.clients[client].waiting.remove(&caller) else { return };
        match reply {
            Reply::Refused(Refusal::Retry | Refusal::Overloaded) => {
                let pause = millis(self.random.between((20, 800)));
                return self.after(pause, Event::ClientActs { client, job });
            }
            Reply::Submitted { run, .. } => {
                self.clients[client].acknowledged.push(*run);
                let key = match self.clients[client].jobs[job].kind {
                    JobKind::Submit { key, .. } => key,
                    _ => None,
                };
                self.check.acknowledged(*run, key);
            }
            Reply::BatchSubmitted { batch, .. } => {
                self.clients[client].batches.push(*batch);
                let JobKind::Batch { key } = self.clients[client].jobs[job].kind else { return };
                self.check.acknowledged_batch(*batch, key);
            }
            Reply::Paused { .. } => {
                if let JobKind::Pause { run: Some(run) } = self.clients[client].jobs[job].kind {
                    self.plan_job(client, JobKind::Unpause { run });
                }
            }
            Reply::Cancelled { .. }
            | Reply::Answered { .. }
            | Reply::Heard { .. }
            | Reply::BatchCancelled
            | Reply::Refused(_) => {}
        }
        self.clients[client].jobs[job].is_done = true;
    }

    /// Without an answer, only what may be asked twice is asked again.
    pub(super) fn gives_up(&mut self, client: usize, caller: CallerId) {
        let Some(job) = self.clients[client].waiting.remove(&caller) else { return };
        match self.clients[client].jobs[job].kind {
            JobKind::Submit { key: None, .. } | JobKind::Batch { key: None } | JobKind::Resume => {
                self.clients[client].jobs[job].is_done = true
            }
            _ => self.after(millis(100), Event::ClientActs { client, job }),
        }
    }
}
