//! The fold: events into state. Total on any history; what does not follow is [`Corrupt`], never a panic.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::corrupt::Corrupt;
use super::reuse::Offers;
use super::scope::ROOT;
use super::{Job, LiveAttempt, NodePhase, Origin, Rank, Run, RunStatus, Slot, State, Stop, Timer, TimerKind, Tries};
use crate::fault::{Fault, is_planted};
use crate::graph::Graph;
use crate::id::{EventSeq, Instance, NodeIx, ProviderIx, RunId};
use crate::limits;
use crate::node_type::EffectClass;
use crate::policy::{OnRunFailure, ReviewWhen};
use crate::run::event::{
    Assignment, Attempt, Decision, ErrorClass, Event, Fact, LossCause, NodeError, PortOutput, RunError, Submitted,
};
use crate::time::Timestamp;

impl Run {
    /// Folds the next event into the state.
    ///
    /// # Errors
    /// [`Corrupt`] if it does not follow; the run must not be used any more then.
    pub fn step(&mut self, event: &Event) -> Result<(), Corrupt> {
        self.dropped.clear();
        self.child_orders.clear();
        self.closed.iter_mut().for_each(Vec::clear);
        self.step_fact(event.seq, event.at, &event.fact)?;
        self.follow(event)
    }

    /// The decisions and assignments of an event whose fact is folded already.
    pub(super) fn follow(&mut self, event: &Event) -> Result<(), Corrupt> {
        for decision in &event.decisions {
            match self.redecided(decision) {
                Some(other) => self.step_decision(&other)?,
                None => self.step_decision(decision)?,
            }
        }
        event.assignments.iter().try_for_each(|assignment| self.step_assignment(event.at, assignment))
    }

    /// The state after `Submitted`: nodes without inputs are due or ready.
    pub(super) fn submitted(
        id: RunId,
        graph: Arc<Graph>,
        at: Timestamp,
        submitted: &Submitted,
    ) -> Result<Run, Corrupt> {
        let unknown = |node| Corrupt::UnknownNode { seq: EventSeq(1), node };
        let mut nodes: Vec<Slot> = graph
            .nodes()
            .map(|(_, node)| match node.within {
                None => Slot::waiting_for(node.waits_for, at),
                Some(_) => Slot { phase: NodePhase::Inside, ..Slot::waiting_for(0, at) },
            })
            .collect();
        let lineage = submitted.lineage.as_deref();
        let named = lineage.iter().flat_map(|lineage| lineage.ends.iter().chain(&lineage.trusted));
        named.chain(&submitted.target).try_for_each(|node| graph.get(*node).map(drop).ok_or_else(|| unknown(*node)))?;
        if let Some(wanted) = submitted.part(&graph) {
            let is_wanted = |place: usize| wanted.binary_search(&NodeIx(place as u32)).is_ok();
            let waits_for = |ix| graph.waits_for_of(ix, &|ix: NodeIx| is_wanted(ix.0 as usize));
            for (place, slot) in nodes.iter_mut().enumerate() {
                match (is_wanted(place), slot.phase) {
                    (false, _) => slot.phase = NodePhase::Excluded,
                    (true, NodePhase::Pending) => slot.unsettled = waits_for(NodeIx(place as u32)),
                    (true, _) => {}
                }
            }
        }
        let all_nodes = nodes.iter().filter(|slot| slot.phase == NodePhase::Pending).count() as u32;
        if let Some((node, _)) = submitted.inputs.iter().find(|(node, _)| graph.get(*node).is_none()) {
            return Err(unknown(*node));
        }
        let state = State {
            seq: EventSeq(1),
            last_at: at,
            origin: Origin::new(submitted, at),
            status: RunStatus::Running,
            error: None,
            ended_at: None,
            deadline: at.plus(submitted.deadline.unwrap_or(limits::RUN_DEADLINE)),
            nodes,
            open_nodes: all_nodes,
            all_nodes,
            attempts: BTreeMap::new(),
            tries: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: BTreeSet::new(),
            due: VecDeque::new(),
            winners: BTreeMap::new(),
            makers: BTreeMap::new(),
            failure: None,
            stop: None,
            frames: BTreeMap::new(),
            expansions: BTreeMap::new(),
            next_scope: 1,
            tallies: BTreeMap::new(),
            offers: lineage.filter(|it| it.offered > 0).map(|it| Box::new(Offers::awaiting(it.offered))),
            reviews: None,
            recalls: BTreeSet::new(),
            listeners: None,
            pause: None,
            children: None,
            owed: BTreeMap::new(),
        };
        let (dropped, child_orders) = (Vec::new(), Vec::new());
        let mut run = Run { id, graph, state, dropped, closed: None, review_changes: None, child_orders };
        run.begin_nodes()?;
        Ok(run)
    }

    /// Folds what happened; decisions and assignments of the same event follow one by one.
    pub(crate) fn step_fact(&mut self, seq: EventSeq, at: Timestamp, fact: &Fact) -> Result<(), Corrupt> {
        let expected = self.state.seq.next();
        if seq != expected {
            return Err(Corrupt::Gap { expected, found: seq });
        }
        if (self.is_waiting() || self.is_paused()) && !is_planted(Fault::WaitingCounts) {
            // Waiting does not count against the deadline.
            self.state.deadline = self.state.deadline.plus(at.since(self.state.last_at));
        }
        self.state.seq = seq;
        self.state.last_at = self.state.last_at.max(at);
        let over = self.state.status != RunStatus::Running;
        match fact {
            Fact::Submitted(_) => return Err(Corrupt::WrongSide { seq }),
            Fact::Settled { .. } if !over => return Err(Corrupt::WrongSide { seq }),
            Fact::Stopped { attempts } => attempts.iter().try_for_each(|attempt| {
                let live = self.remove_given_up(attempt)?;
                self.owe_cancel(attempt.into(), live.job, live.provider);
                Ok(())
            })?,
            Fact::Discarded { attempt } => drop(self.remove_given_up(attempt)?),
            Fact::HandleRecorded { attempt, handle, cancels } if !over || cancels.is_some() => {
                self.live(attempt)?.job = Some(Job { handle: *handle, cancels: *cancels });
            }
            Fact::ProviderCancelled { job, .. } => self.job_ended(*job)?,
            Fact::Settled { attempt, .. } => drop(self.remove(attempt)?),
            _ if over && !is_planted(Fault::TerminalNotAbsorbing) => return Err(Corrupt::WrongSide { seq }),
            Fact::Continued => {}
            Fact::Offered { offers } => self.offered(offers)?,
            Fact::Succeeded { attempt, outputs, .. } => {
                let live = self.remove(attempt)?;
                if self.graph.scope(attempt.instance.node).is_some() {
                    return Err(Corrupt::WrongItems { seq, instance: attempt.instance });
                }
                if outputs.iter().map(|output| output.value.bytes()).sum::<u64>() >= limits::LOCALITY_OUTPUT_BYTES_MIN {
                    self.state.makers.insert(attempt.instance.first(), live.agent.agent);
                }
                let (is_reviewed, review) = {
                    let node = self.graph.node(attempt.instance.node);
                    (node.is_reviewed, node.policy.review)
                };
                if is_reviewed {
                    // A person may have it run again, and its tries are counted on then.
                    let tries = self.tries_of(attempt);
                    *tries = Tries { last: tries.last, ..Tries::default() };
                } else {
                    self.state.tries.remove(&attempt.instance);
                }
                match review {
                    Some(ReviewWhen::After) if is_reviewed && !self.is_abandoned(attempt.instance) => {
                        self.ask_after(attempt, outputs)?;
                    }
                    _ => self.complete(attempt.instance, Some(attempt.token), outputs)?,
                }
            }
            Fact::Answered { attempt, verdict, .. } => self.answered(attempt, *verdict)?,
            Fact::Failed { attempt, error, retry_at, fallback, caught, asks, .. } => {
                self.failed(attempt, error, *asks)?;
                match (retry_at, fallback) {
                    _ if self.is_abandoned(attempt.instance) => self.over_in_vain(attempt.instance)?,
                    (Some(at), _) => {
                        self.enter(attempt.instance, NodePhase::Backoff)?;
                        self.state.timers.insert(Timer { at: *at, instance: attempt.instance, kind: TimerKind::Retry });
                    }
                    (None, Some(provider)) => self.fall_back(attempt, *provider)?,
                    (None, None) if *asks => self.ask_outcome(attempt, error)?,
                    (None, None) => self.give_up(attempt.instance, error, caught)?,
                }
            }
            Fact::Lost { attempt, cause, failure, caught, asks } => {
                self.lost(attempt, *cause)?;
                match failure {
                    Some(error) if *asks && !self.is_abandoned(attempt.instance) => self.ask_outcome(attempt, error)?,
                    Some(error) if !self.is_abandoned(attempt.instance) => {
                        self.give_up(attempt.instance, error, caught)?;
                    }
                    _ => self.queue_again(attempt.instance)?,
                }
            }
            Fact::HandedBack { attempts } => {
                for attempt in attempts {
                    let job = self.remove(attempt)?.job;
                    self.tries_of(attempt).job = job;
                    self.queue_again(attempt.instance)?;
                }
            }
            Fact::IntentRecorded { attempt } => self.live(attempt)?.intent = true,
            Fact::HandleRecorded { .. } => return Err(Corrupt::WrongSide { seq }),
            Fact::TimerFired { instance, outputs } => {
                self.expect(*instance, &[NodePhase::Waiting])?;
                self.take_timer(*instance);
                self.stop_listening(*instance);
                self.complete(*instance, None, outputs)?;
            }
            Fact::Reviewed(it) => self.reviewed(it)?,
            Fact::Signalled(it) => self.signalled(it)?,
            Fact::Called(it) => self.called(it)?,
            Fact::Paused { by, reason } => self.paused(at, by, reason.as_ref())?,
            Fact::Unpaused { .. } => self.unpaused()?,
            Fact::ChildEnded(it) => self.child_ended(it)?,
            Fact::Ended { status: RunStatus::Running, .. } => return Err(Corrupt::WrongSide { seq }),
            Fact::Ended { status, error, .. } => self.end(*status, error.as_ref(), at),
        }
        Ok(())
    }

    /// Folds what a control node decided.
    pub(crate) fn step_decision(&mut self, decision: &Decision) -> Result<(), Corrupt> {
        let instance = decision.instance();
        self.expect_going_on()?;
        let is_container = self.graph.scope(instance.node).is_some();
        let phases: &[_] = if is_container { &[NodePhase::Due, NodePhase::Open] } else { &[NodePhase::Due] };
        self.expect(instance, phases)?;
        self.take_due(instance);
        let was_calling = self.stop_calling(instance);
        if let Some(expansion) = self.state.expansions.get_mut(&instance) {
            expansion.is_due = false;
        }
        match decision {
            Decision::Completed { outputs, .. } => {
                if self.has_open_items(instance) {
                    return Err(Corrupt::WrongItems { seq: self.state.seq, instance });
                }
                self.end_scope(instance);
                self.complete(instance, None, outputs)?;
                self.drop_losers(instance)?;
            }
            Decision::Waiting { until, .. } => {
                self.enter(instance, NodePhase::Waiting)?;
                if !is_planted(Fault::TimerNotSet) {
                    self.state.timers.insert(Timer { at: *until, instance, kind: TimerKind::Wait });
                }
            }
            Decision::Failed { error, .. } if self.has_open_items(instance) => {
                self.fail_container(instance, error, instance)?;
            }
            Decision::Failed { error, caught, .. } => {
                self.give_up(instance, error, caught)?;
                self.call_waiting();
            }
            // Of containers only a loop whose turn is over looks at values.
            Decision::Delegated { .. } if is_container && !self.is_between_turns(instance) => {
                return Err(Corrupt::WrongItems { seq: self.state.seq, instance });
            }
            Decision::Delegated { .. } => self.queue(instance)?,
            Decision::Reused { offer, outputs, .. } => self.reused(instance, *offer, outputs)?,
            Decision::Afresh { .. } if self.graph.node(instance.node).runner.takes_over() => self.afresh(instance)?,
            Decision::Afresh { .. } => return Err(Corrupt::WrongSide { seq: self.state.seq }),
            Decision::Asked { asked, .. } => self.asked(instance, asked)?,
            Decision::Listening { until, outputs, .. } => self.listening(instance, *until, outputs)?,
            Decision::Took { signal, outputs, .. } => self.took(instance, *signal, outputs)?,
            Decision::Invoked { invoked, .. } => self.invoked(instance, invoked, was_calling)?,
            Decision::Stopped { status, message, .. } => {
                self.complete(instance, None, &[])?;
                let stop = Stop { node: instance.node, status: *status, message: message.clone() };
                self.state.stop.get_or_insert_with(|| Box::new(stop));
            }
            Decision::Opened { opened, .. } => {
                let seq = self.state.seq;
                self.graph.scope(instance.node).ok_or(Corrupt::WrongItems { seq, instance })?;
                self.open_items(instance, opened)?;
            }
            Decision::Gathered { chunk, results, errors, .. } => self.gathered(instance, *chunk, results, *errors)?,
        }
        Ok(())
    }

    /// Folds an attempt that was given to an agent.
    pub(crate) fn step_assignment(&mut self, at: Timestamp, assignment: &Assignment) -> Result<(), Corrupt> {
        let Attempt { instance, number, token } = assignment.attempt;
        self.expect_going_on()?;
        self.expect(instance, &[NodePhase::Ready, NodePhase::Backoff])?;
        self.expect_provider(instance, assignment.provider)?;
        if self.slot(instance)?.phase == NodePhase::Backoff {
            self.take_timer(instance);
        }
        self.state.ready.remove(&self.rank(instance));
        self.enter(instance, NodePhase::Running)?;
        let job = self.state.tries.get_mut(&instance).and_then(|tries| tries.job.take());
        let live = LiveAttempt {
            number,
            token,
            agent: assignment.to.clone(),
            permit: assignment.permit,
            alone: assignment.alone,
            assigned_at: at,
            intent: job.is_some(),
            job,
            stopping: false,
            provider: assignment.provider,
        };
        self.state.attempts.insert(instance, live);
        Ok(())
    }

    fn failed(&mut self, attempt: &Attempt, error: &NodeError, asks: bool) -> Result<(), Corrupt> {
        let live = self.remove(attempt)?;
        let tries = self.tries_of(attempt);
        tries.failed += u32::from(error.class != ErrorClass::RateLimited);
        // It reported its own end: its agent is alive, and it is no suspect any more.
        (tries.deaths, tries.proofs) = (0, 0);
        // Where people decide what came of it, its job is left alone until then.
        tries.job = live.job.filter(|job| asks && job.cancels.is_some());
        // That a type cannot cancel jobs is no news with each of its failures.
        let left = live.job.filter(|job| !asks && job.cancels == Some(true));
        tries.jobs_left += u32::from(left.is_some());
        self.owe_cancel(attempt.into(), left, live.provider);
        Ok(())
    }

    /// Another provider is tried, as if the node had not been tried before.
    fn fall_back(&mut self, attempt: &Attempt, provider: ProviderIx) -> Result<(), Corrupt> {
        self.expect_provider(attempt.instance, provider)?;
        let tries = self.tries_of(attempt);
        tries.failed = 0;
        if !is_planted(Fault::FallbackForgotten) {
            tries.provider = provider;
        }
        self.queue(attempt.instance)
    }

    fn lost(&mut self, attempt: &Attempt, cause: LossCause) -> Result<(), Corrupt> {
        let live = self.remove(attempt)?;
        let tries = self.tries_of(attempt);
        tries.job = live.job.filter(|_| !is_planted(Fault::HandleForgotten));
        match cause {
            LossCause::NewBoot if live.alone => tries.proofs += u32::from(!is_planted(Fault::ProofIgnored)),
            LossCause::NewBoot | LossCause::StreamGone if !live.alone => tries.deaths += 1,
            _ => {}
        }
        Ok(())
    }

    /// The node has failed for good. If its policy wants that caught, it gives what was wrong, and the run goes on.
    pub(super) fn give_up(
        &mut self,
        instance: Instance,
        error: &NodeError,
        caught: &[PortOutput],
    ) -> Result<(), Corrupt> {
        self.end_scope(instance);
        self.owe_kept(instance);
        if Self::ends_run(caught) {
            self.give_up_at(instance, error, instance)?;
        }
        if caught.is_empty() { self.leave(instance) } else { self.give(instance, NodePhase::Failed, None, caught) }
    }

    /// Outside of maps and loops, the first node that fails for good is what the run ends with; inside, its item fails. `origin`
    /// is what failed by itself: the instance, or one in its body.
    pub(super) fn give_up_at(
        &mut self,
        instance: Instance,
        error: &NodeError,
        origin: Instance,
    ) -> Result<(), Corrupt> {
        self.enter(instance, NodePhase::Failed)?;
        if instance.scope != ROOT {
            return self.fail_item(instance, error, origin);
        }
        let attempts = self.state.tries.get(&origin).map_or(0, |tries| tries.last.0);
        let node = self.graph.named(origin.node);
        self.state.failure.get_or_insert_with(|| {
            Box::new(RunError {
                code: error.code.clone(),
                message: error.message.clone(),
                node: Some(node),
                class: Some(error.class),
                attempts,
            })
        });
        Ok(())
    }

    /// Mostly the first: control nodes are evaluated in the order in which they fell due.
    pub(super) fn take_due(&mut self, instance: Instance) {
        match self.state.due.iter().position(|due| *due == instance) {
            Some(0) => drop(self.state.due.pop_front()),
            Some(place) => drop(self.state.due.remove(place)),
            None => {}
        }
    }

    fn end(&mut self, status: RunStatus, error: Option<&RunError>, at: Timestamp) {
        self.state.status = status;
        self.state.error = error.cloned();
        self.state.ended_at = Some(at);
        self.state.ready.clear();
        self.state.due.clear();
        self.state.recalls.clear();
        self.state.timers.clear();
        self.state.pause = None;
        self.withdraw_all();
        self.hear_no_more();
        self.leave_children();
        self.owe_all_kept();
        // Paid work goes on when the run failed, so that a resume need not pay again (E21).
        let failed = status == RunStatus::Failed && error.is_some_and(|error| error.node.is_some());
        for (instance, live) in &mut self.state.attempts {
            let provided = self.graph.node(instance.node).provided(live.provider);
            let finishes = match provided.policy.on_run_failure {
                Some(choice) => choice == OnRunFailure::Finish,
                None => provided.effect != EffectClass::Pure,
            };
            // What was given up stays so.
            let is_kept = failed || (status == RunStatus::Cancelled && is_planted(Fault::LateResultKept));
            live.stopping |= !(is_kept && finishes);
        }
    }

    /// It waits for an agent again, unless its item has failed meanwhile.
    fn queue_again(&mut self, instance: Instance) -> Result<(), Corrupt> {
        if self.is_abandoned(instance) { self.over_in_vain(instance) } else { self.queue(instance) }
    }

    pub(super) fn queue(&mut self, instance: Instance) -> Result<(), Corrupt> {
        self.enter(instance, NodePhase::Ready)?;
        let rank = self.rank(instance);
        self.state.ready.insert(rank);
        Ok(())
    }

    /// Its place among what is ready.
    pub(crate) fn rank(&self, instance: Instance) -> Rank {
        Rank { urgency: -self.graph.node(instance.node).policy.priority, instance }
    }

    pub(super) fn tries_of(&mut self, attempt: &Attempt) -> &mut Tries {
        let tries = self.state.tries.entry(attempt.instance).or_default();
        tries.last = tries.last.max(attempt.number);
        tries
    }

    pub(super) fn slot(&mut self, instance: Instance) -> Result<&mut Slot, Corrupt> {
        let unknown = Corrupt::UnknownNode { seq: self.state.seq, node: instance.node };
        let node = self.graph.get(instance.node).filter(|_| instance == self.current(instance));
        let Some(node) = node else { return Err(unknown) };
        let slot = match (node.within, instance.scope) {
            (None, ROOT) => self.state.nodes.get_mut(instance.node.0 as usize),
            (Some(container), scope) => {
                let frame = self.state.frames.get_mut(&scope).filter(|frame| frame.container.node == container);
                frame.and_then(|frame| frame.slots.get_mut(node.place as usize))
            }
            (None, _) => None,
        };
        slot.ok_or(unknown)
    }

    /// An instance comes to stand so, with this event.
    pub(super) fn enter(&mut self, instance: Instance, phase: NodePhase) -> Result<&mut Slot, Corrupt> {
        let since = self.state.last_at;
        let slot = self.slot(instance)?;
        (slot.phase, slot.since) = (phase, since);
        Ok(slot)
    }

    pub(super) fn expect(&mut self, instance: Instance, phases: &[NodePhase]) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        if self.state.status != RunStatus::Running {
            return Err(Corrupt::WrongSide { seq });
        }
        let phase = self.slot(instance)?.phase;
        if phases.contains(&phase) { Ok(()) } else { Err(Corrupt::WrongPhase { seq, instance, phase }) }
    }

    fn expect_provider(&self, instance: Instance, provider: ProviderIx) -> Result<(), Corrupt> {
        let is_known = self.graph.get(instance.node).is_some_and(|node| node.has_provider(provider));
        let unknown = Corrupt::UnknownProvider { seq: self.state.seq, node: instance.node, provider };
        if is_known { Ok(()) } else { Err(unknown) }
    }

    fn live(&mut self, attempt: &Attempt) -> Result<&mut LiveAttempt, Corrupt> {
        let unknown = Corrupt::UnknownAttempt { seq: self.state.seq, attempt: *attempt };
        let live = self.state.attempts.get_mut(&attempt.instance).ok_or_else(|| unknown.clone())?;
        if (live.number, live.token) == (attempt.number, attempt.token) { Ok(live) } else { Err(unknown) }
    }

    pub(super) fn remove(&mut self, attempt: &Attempt) -> Result<LiveAttempt, Corrupt> {
        let live = self.live(attempt)?.clone();
        self.state.attempts.remove(&attempt.instance);
        Ok(live)
    }
}
