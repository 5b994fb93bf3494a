//! What must hold of each event as it becomes durable.

use heddle_core::graph::InEdge;
use heddle_core::id::{AttemptKey, EventSeq, Instance, NodeIx, PortIx, RunId, ScopeIx};
use heddle_core::node_type::EffectClass;
use heddle_core::partition::batch::{Batch, RunBatch};
use heddle_core::policy::OnUnknown;
use heddle_core::run::event::{Assignment, Attempt, ChildOutcome, Decision, Event, Fact, PortOutput};
use heddle_core::run::{NodePhase, Run};

use super::check::{Checker, TokenAccount, digests, fingerprint};
use super::event::SeatId;
use super::progress::done_by;
use super::store::Store;

impl Checker {
    /// A batch has landed.
    pub(super) fn written(&mut self, store: &Store, seat: SeatId, batch: &Batch, quarantined: &[RunId]) {
        self.expect_owner(seat, batch);
        self.landing = seat;
        self.done += done_by(batch);
        self.note(batch.number.0);
        for written in &batch.runs {
            if quarantined.contains(&written.run) {
                self.runs.entry(written.run).or_default().is_quarantined = true;
                self.places.forget(written.run);
                continue;
            }
            self.begun(written);
            let children = self.open_children(written.run);
            for event in &written.events {
                self.happened(store, written.run, event);
                if self.has_failed() {
                    return;
                }
            }
            self.check_children(batch, written, children);
            self.check_waiting(written.run);
        }
    }

    fn begun(&mut self, written: &RunBatch) {
        let run = written.run;
        let is_quarantined = self.is_quarantined(run);
        self.expect(!is_quarantined, "E5", || format!("{run} was set aside and goes on"));
        if let Some(created) = &written.created {
            self.expect(self.was_invoked(run), "H2", || format!("nobody asked for {run}"));
            if let Some(row) = &created.key {
                let first = *self.keys.entry(row.key.clone()).or_insert(run);
                self.expect(first == run, "H3", || format!("{} began {first} and {run}", row.key.key));
            }
        }
    }

    fn happened(&mut self, store: &Store, run: RunId, event: &Event) {
        self.note(event.seq.0 ^ (run.0 as u64));
        let account = self.runs.entry(run).or_default();
        let expected = EventSeq(account.events + 1);
        account.events += 1;
        let is_late = event.at < account.last_at;
        let passed = event.at.since(account.last_at);
        account.last_at = event.at;
        self.expect(event.seq == expected, "H11", || format!("{run}: expected event {expected}, found {}", event.seq));
        self.expect(!is_late, "E7", || format!("{run}: event {} is earlier than the one before", event.seq));
        if self.has_failed() {
            return;
        }
        self.worked_for(run, passed, event);
        self.before(run, event);
        self.fold(store, run, event);
        self.goes_on(run);
        self.signals(run, event);
        self.shared(run, event);
        self.after_end(run, event);
        for assignment in &event.assignments {
            self.given(run, assignment);
        }
    }

    /// What a fact may say, by what was durable before it.
    fn before(&mut self, run: RunId, event: &Event) {
        self.failure(run, &event.fact);
        match &event.fact {
            Fact::Succeeded { attempt, outputs, .. } => {
                self.made_by(run, attempt, outputs);
                self.over(run, attempt);
                // What people look at is committed when they have approved it.
                if !self.is_looked_at(run, attempt) {
                    self.committed(run, attempt.instance);
                }
            }
            Fact::Settled { attempt, outputs } => {
                self.made_by(run, attempt, outputs);
                self.over(run, attempt);
            }
            Fact::Failed { attempt, .. } => {
                self.over(run, attempt);
                self.job_failed(run, attempt.instance);
                self.instances.entry((run, attempt.instance)).or_default().has_handle = false;
            }
            Fact::Lost { attempt, .. } => {
                self.lost(run, attempt);
                self.over(run, attempt);
            }
            Fact::Discarded { attempt } => self.over(run, attempt),
            Fact::Answered { attempt, .. } => {
                self.over(run, attempt);
                // Agents look at a loop once for each turn, each time at other values.
                self.inputs.retain(|(of, instance, _), _| (*of, *instance) != (run, attempt.instance));
            }
            Fact::HandedBack { attempts } | Fact::Stopped { attempts } => {
                attempts.iter().for_each(|attempt| self.over(run, attempt));
            }
            Fact::IntentRecorded { attempt } => {
                self.tokens.get_mut(&attempt.token).into_iter().for_each(|token| token.has_intent = true);
            }
            Fact::HandleRecorded { attempt, handle, cancels } => {
                self.job_known(handle, attempt.instance, *cancels == Some(true));
                self.instances.entry((run, attempt.instance)).or_default().has_handle = true;
            }
            Fact::ProviderCancelled { job, end } => self.job_settled(run, *job, end),
            Fact::TimerFired { instance, .. } => self.committed(run, *instance),
            Fact::Reviewed(it) => self.reviewed(run, it),
            Fact::Signalled(it) => it.to.into_iter().for_each(|to| self.committed(run, to)),
            Fact::Called(it) => self.committed(run, it.instance),
            Fact::Paused { .. } => self.paused(run, true),
            Fact::Unpaused { .. } => self.paused(run, false),
            Fact::ChildEnded(it) => match it.outcome {
                ChildOutcome::Gave(_) => self.committed(run, it.instance),
                ChildOutcome::Failed { .. } => {}
            },
            Fact::Submitted(_) | Fact::Offered { .. } | Fact::Continued | Fact::Ended { .. } => {}
        }
        self.stands_still(run, event);
        for decision in &event.decisions {
            match decision {
                Decision::Completed { instance, .. }
                | Decision::Took { instance, .. }
                | Decision::Reused { instance, .. } => {
                    self.committed(run, *instance);
                }
                Decision::Stopped { instance, .. } => {
                    self.committed(run, *instance);
                    self.runs.entry(run).or_default().is_stopped = true;
                }
                // Whether a node cannot decide, the reference interpreter knows.
                Decision::Failed { .. }
                | Decision::Waiting { .. }
                | Decision::Listening { .. }
                | Decision::Delegated { .. }
                | Decision::Invoked { .. }
                | Decision::Afresh { .. } => {}
                Decision::Asked { instance, asked } => self.asked(run, *instance, asked.review),
                Decision::Opened { instance, opened } => {
                    let scopes = (opened.scope.0..).take(opened.items.len());
                    self.scopes.extend(scopes.map(|scope| ((run, ScopeIx(scope)), *instance)));
                }
                Decision::Gathered { .. } => {}
            }
        }
    }

    /// A run is paused, or goes on: in turns.
    fn paused(&mut self, run: RunId, is_paused: bool) {
        let account = self.runs.entry(run).or_default();
        let was_paused = std::mem::replace(&mut account.is_paused, is_paused);
        self.expect(was_paused != is_paused, "H22", || format!("{run} is paused twice, or goes on twice"));
    }

    /// Nothing of a paused run begins.
    fn stands_still(&self, run: RunId, event: &Event) {
        let is_paused = self.runs.get(&run).is_some_and(|account| account.is_paused);
        let begins = !event.decisions.is_empty() || !event.assignments.is_empty();
        let fires = matches!(event.fact, Fact::TimerFired { .. });
        self.expect(!is_paused || !(begins || fires), "H22", || {
            format!("{run} is paused and goes on at event {}", event.seq)
        });
    }

    fn over(&mut self, run: RunId, attempt: &Attempt) {
        let token = self.tokens.get_mut(&attempt.token).filter(|token| token.run == run && token.attempt == *attempt);
        let was_live = token.is_some_and(|token| std::mem::replace(&mut token.is_live, false));
        self.places.over(run, attempt.token);
        self.expect(was_live, "H6", || format!("{run}: {attempt:?} ends, but was not out"));
    }

    pub(super) fn committed(&mut self, run: RunId, instance: Instance) {
        let account = self.instances.entry((run, instance)).or_default();
        let was_committed = std::mem::replace(&mut account.is_committed, true);
        self.expect(!was_committed, "H4", || format!("{run}: node {} has two outputs", instance.node));
    }

    /// A result must be what the attempt of this very token made.
    fn made_by(&self, run: RunId, attempt: &Attempt, outputs: &[PortOutput]) {
        let made = self.tokens.get(&attempt.token).map(|token| token.made.as_slice()).unwrap_or_default();
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        // What an agent looks at for the engine it gives by reference.
        let decides = fold.is_some_and(|fold| fold.graph().node(attempt.instance.node).logic.is_some());
        let is_its = decides || outputs.iter().flat_map(digests).all(|digest| made.contains(&digest));
        self.expect(is_its, "H6", || format!("{run}: what is committed for {attempt:?} was made by another attempt"));
    }

    /// An attempt that may have acted is not tried again unless somebody wants that.
    fn lost(&mut self, run: RunId, attempt: &Attempt) {
        let has_intent = self.tokens.get(&attempt.token).is_some_and(|token| token.has_intent);
        let Some(fold) = self.runs.get(&run).and_then(|account| account.fold.as_ref()) else { return };
        let node = fold.graph().node(attempt.instance.node).provided(fold.provider_of(attempt.instance));
        let (effect, on_unknown) = (node.effect, node.policy.on_unknown);
        let account = self.instances.entry((run, attempt.instance)).or_default();
        let can_ask = effect == EffectClass::Pollable && account.has_handle;
        account.is_unknown |= has_intent && effect.needs_intent() && !can_ask && on_unknown != OnUnknown::Retry;
    }

    fn fold(&mut self, store: &Store, id: RunId, event: &Event) {
        let graph = store.runs.get(&id).and_then(|row| store.graphs.get(&row.created.graph)).cloned();
        let Some(account) = self.runs.get_mut(&id) else { return };
        let folded = match (&mut account.fold, graph) {
            (Some(run), _) => run.step(event).map_err(|corrupt| corrupt.to_string()),
            (None, Some(graph)) => match Run::begin(id, graph, event) {
                Ok(run) => {
                    account.fold = Some(run);
                    Ok(())
                }
                Err(corrupt) => Err(corrupt.to_string()),
            },
            (None, None) => Err("its graph is not stored".to_owned()),
        };
        if let Err(corrupt) = folded {
            return self.fail("H9", format!("the history of {id} does not follow: {corrupt}"));
        }
        let Some(run) = &account.fold else { return };
        if let Err(what) = self.coverage.note(&mut account.stand, run, event) {
            self.fail("E2", format!("{id}, event {}: {what}", event.seq));
        }
    }

    /// Status and outputs never change after the end (H10, H15).
    fn after_end(&mut self, id: RunId, event: &Event) {
        let Some(account) = self.runs.get_mut(&id) else { return };
        let Some(fold) = &account.fold else { return };
        let stands = (fold.status(), fingerprint(fold));
        match account.ended {
            None if matches!(event.fact, Fact::Ended { .. }) => {
                let is_whole = event.assignments.is_empty()
                    && (fold.status() != heddle_core::run::RunStatus::Completed
                        || fold.progress().1 == 0
                        || account.is_stopped);
                account.ended = Some(stands);
                account.end_is_owed = Some(self.landing);
                self.expect(is_whole, "H10", || format!("{id} ended before everything was done"));
            }
            None => {}
            Some(ended) => {
                let is_bookkeeping = matches!(
                    event.fact,
                    Fact::Stopped { .. }
                        | Fact::Discarded { .. }
                        | Fact::Settled { .. }
                        | Fact::HandleRecorded { .. }
                        | Fact::ProviderCancelled { .. }
                ) && event.assignments.is_empty()
                    && event.decisions.is_empty();
                self.expect(is_bookkeeping && ended == stands, "H10", || {
                    format!("{id} was over and changes: {:?}", event.fact)
                });
            }
        }
    }

    /// Whether what a node gives is certain, seen from inside a scope.
    fn is_settled(&self, fold: &Run, run: RunId, source: NodeIx, mut scope: ScopeIx) -> bool {
        use NodePhase::{Cached, Completed, Failed, Skipped};
        const SETTLED: [NodePhase; 4] = [Completed, Cached, Skipped, Failed];
        let home = fold.graph().within(source);
        loop {
            let around = self.scopes.get(&(run, scope));
            if home == around.map(|container| container.node) {
                let phase = match scope {
                    ScopeIx(0) => Some(fold.phase_of(source)),
                    scope => fold.open_instances(source).find(|(it, _)| it.scope == scope).map(|(_, phase)| phase),
                };
                return phase.is_some_and(|phase| SETTLED.contains(&phase));
            }
            match around {
                // What an item is, is there when it opens.
                Some(container) if container.node == source => return true,
                Some(container) => scope = container.scope,
                None => return false,
            }
        }
    }

    /// An attempt is given to an agent.
    fn given(&mut self, run: RunId, assignment: &Assignment) {
        let attempt = assignment.attempt;
        let account = self.instances.entry((run, attempt.instance)).or_default();
        let (is_committed, is_unknown) = (account.is_committed, account.is_unknown);
        // Numbers go on over all generations.
        let first = self.instances.entry((run, attempt.instance.first())).or_default();
        let is_next = attempt.number > first.number && !is_committed;
        first.number = attempt.number;
        self.expect(is_next, "H5", || format!("{run}: {attempt:?} does not follow the attempt before it"));
        self.expect(!is_unknown, "H7", || format!("{run}: {attempt:?} may be a second effect that nobody asked for"));
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        let is_early = fold.is_none_or(|fold| {
            let (graph, node) = (fold.graph(), attempt.instance.node);
            // A loop of which an agent looks at a turn has begun long ago.
            let edges = graph.in_edges(node).iter().filter(|edge| graph.within(edge.source) != Some(node));
            // An address is given while its node waits.
            let is_address = |edge: &&InEdge| {
                &*graph.node(edge.source).type_id == "logic:wait_webhook" && edge.source_port == PortIx(2)
            };
            let mut edges = edges.filter(|edge| !is_address(edge));
            edges.any(|edge| !self.is_settled(fold, run, edge.source, attempt.instance.scope))
        });
        let crowd = fold.and_then(|fold| self.places.given(run, fold, &attempt));
        self.expect(crowd.is_none(), "E26", || crowd.unwrap_or_default());
        self.expect(!is_early, "H8", || format!("{run}: {attempt:?} starts before its inputs are there"));
        let token = TokenAccount {
            run,
            attempt,
            boot: assignment.to.clone(),
            is_live: true,
            has_intent: false,
            has_started: false,
            failed_with: None,
            is_told: false,
            made: Vec::new(),
        };
        let is_reused = self.tokens.insert(attempt.token, token).is_some();
        self.expect(!is_reused, "I6", || format!("{run}: the token of {attempt:?} was given before"));
    }
}

/// The name of an attempt towards agents.
pub(super) fn key_of(run: RunId, attempt: &Attempt) -> AttemptKey {
    AttemptKey { run, instance: attempt.instance, number: attempt.number, token: attempt.token }
}
