//! Model agents: they take assignments, act on the world, keep results until they are acknowledged, and die.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{AgentBoot, AttemptKey, BootId, SessionNumber};
use heddle_core::node_type::EffectClass;
use heddle_core::partition::io::{Dispatch, Verdict};
use heddle_core::run::event::{ErrorClass, NodeError, PermitClass};
use heddle_core::run::{JobEnd, Outcome};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Value;
use serde_json::Value as Json;

use super::event::{AgentMessage, CoordinatorMessage, Event, Inventory};
use super::fault::ShellFault;
use super::large;
use super::queue::millis;
use super::sessions::agent_id;
use super::work;
use super::world::World;

/// One agent over all its starts.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) boot: BootId,
    pub(super) is_up: bool,
    pub(super) paused_until: Timestamp,
    pub(super) isolated_until: Timestamp,
    /// Until when something was done to it that may have made it unreachable.
    pub(super) trouble_until: Timestamp,
    pub(super) session: Option<SessionNumber>,
    pub(super) is_welcome: bool,
    pub(super) is_draining: bool,
    held: BTreeMap<AttemptKey, Held>,
    waiting: VecDeque<AttemptKey>,
    running: u32,
    kept: BTreeMap<AttemptKey, (Outcome, Option<JobEnd>)>,
    granted_slots: i64,
    granted_prefetch: i64,
}

#[derive(Debug)]
struct Held {
    dispatch: Box<Dispatch>,
    /// By its ports; those that nothing leads to are left out.
    inputs: Vec<Json>,
    stage: Stage,
    handle: Option<Value>,
    is_stopping: bool,
    step: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    AwaitsIntent,
    Works,
}

impl Agent {
    pub(super) fn holds(&self, boot: BootId, key: &AttemptKey) -> bool {
        self.is_up && self.boot == boot && (self.held.contains_key(key) || self.kept.contains_key(key))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_up && self.is_welcome && self.held.is_empty() && self.kept.is_empty()
    }

    /// Permits that it believes to have granted.
    pub(super) fn granted(&self) -> (i64, i64) {
        (self.granted_slots, self.granted_prefetch)
    }

    fn inventory(&self) -> Inventory {
        Inventory { running: self.held.keys().copied().collect(), finished: self.kept.keys().copied().collect() }
    }

    /// What it could take in beside what it holds and has granted.
    fn free(&self, slots: u32, prefetch: u32) -> (i64, i64) {
        let of = |class| self.held.values().filter(|held| held.dispatch.permit == class).count() as i64;
        let free_slots = i64::from(slots) - of(PermitClass::Slot) - self.granted_slots;
        (free_slots.max(0), (i64::from(prefetch) - of(PermitClass::Prefetch) - self.granted_prefetch).max(0))
    }
}

fn effect_of(dispatch: &Dispatch) -> EffectClass {
    dispatch.graph.node(dispatch.key.instance.node).provided(dispatch.provider).effect
}

impl World {
    pub(super) fn boot_of(&self, agent: usize) -> AgentBoot {
        AgentBoot { agent: agent_id(agent), boot: self.agents[agent].boot }
    }

    pub(super) fn start_agent(&mut self, agent: usize) {
        let boot = BootId(self.random.next());
        let old = &self.agents[agent];
        if old.is_up {
            return;
        }
        let (isolated_until, trouble_until) = (old.isolated_until, old.trouble_until);
        self.agents[agent] = Agent { boot, is_up: true, isolated_until, trouble_until, ..Agent::default() };
        self.after(Span::ZERO, Event::AgentDials { agent, boot });
    }

    pub(super) fn dial(&mut self, agent: usize, boot: BootId) {
        let here = &self.agents[agent];
        if !here.is_up || here.boot != boot || here.session.is_some() {
            return;
        }
        if here.isolated_until > self.now || !self.shell.is_up {
            let pause = millis(self.random.between((50, 500)));
            return self.after(pause, Event::AgentDials { agent, boot });
        }
        let id = SessionNumber(self.next_serial());
        self.links.insert(id, Link { agent, is_up: true, to_agent_at: self.now, to_coordinator_at: self.now });
        let (slots, prefetch) = (self.knobs.slots, self.knobs.prefetch);
        let here = &mut self.agents[agent];
        here.session = Some(id);
        here.is_welcome = false;
        (here.granted_slots, here.granted_prefetch) = (0, 0);
        let (free_slots, free_prefetch) = if here.is_draining { (0, 0) } else { here.free(slots, prefetch) };
        (here.granted_slots, here.granted_prefetch) = (free_slots, free_prefetch);
        let inventory = here.inventory();
        let boot = self.boot_of(agent);
        let (slots, prefetch) = (free_slots as u32, free_prefetch as u32);
        self.say(agent, AgentMessage::Hello { boot, inventory, slots, prefetch });
    }

    /// A message from the coordinator has arrived.
    pub(super) fn told(&mut self, id: SessionNumber, agent: usize, message: CoordinatorMessage) {
        if !self.agents[agent].is_up || self.agents[agent].session != Some(id) {
            return;
        }
        match message {
            CoordinatorMessage::Welcome(verdicts) => {
                self.agents[agent].is_welcome = true;
                verdicts.iter().for_each(|(key, verdict)| self.obey(agent, key, *verdict));
                let all: Vec<AttemptKey> = self.agents[agent].held.keys().copied().collect();
                let kept: Vec<AttemptKey> = self.agents[agent].kept.keys().copied().collect();
                if !self.is_planted(ShellFault::NotSaidAgain) {
                    all.iter().chain(&kept).for_each(|key| self.restate(agent, key));
                }
            }
            CoordinatorMessage::Assign(dispatch) => self.assigned(agent, dispatch),
            CoordinatorMessage::Cancel(key) => self.stop(agent, &key),
            CoordinatorMessage::CancelJob(job) => {
                let (pause, boot) = (millis(self.random.between((0, 500))), self.agents[agent].boot);
                self.after(pause, Event::JobCancelled { agent, boot, job });
            }
            CoordinatorMessage::Acknowledge(key) => {
                self.check.forgotten(&key);
                self.agents[agent].kept.remove(&key);
            }
            CoordinatorMessage::IntentAnswer { key, go } => self.may_act(agent, &key, go),
        }
        self.grant(agent);
    }

    fn obey(&mut self, agent: usize, key: &AttemptKey, verdict: Verdict) {
        match verdict {
            Verdict::Keep => {}
            Verdict::Acknowledged | Verdict::Stop if self.knobs.has_zombies => {}
            Verdict::Acknowledged => drop(self.agents[agent].kept.remove(key)),
            Verdict::Stop => {
                self.agents[agent].kept.remove(key);
                self.release(agent, key);
                self.start_next(agent);
            }
        }
    }

    /// Says again what the coordinator may not have heard.
    fn restate(&mut self, agent: usize, key: &AttemptKey) {
        let here = &self.agents[agent];
        if let Some((outcome, job)) = here.kept.get(key).cloned() {
            self.say(agent, AgentMessage::Finished { key: *key, outcome, job });
        } else if let Some(held) = here.held.get(key) {
            let (stage, handle) = (held.stage, held.handle.clone());
            if stage == Stage::AwaitsIntent {
                self.say(agent, AgentMessage::Intent { key: *key });
            }
            if let Some(handle) = handle {
                self.say(agent, AgentMessage::Handle { key: *key, handle });
            }
        }
    }

    fn assigned(&mut self, agent: usize, dispatch: Box<Dispatch>) {
        let key = dispatch.key;
        let boot = self.boot_of(agent);
        self.check.assigned(&boot, &key);
        let inputs = self.inputs_of(&dispatch);
        let here = &mut self.agents[agent];
        let granted = match dispatch.permit {
            PermitClass::Slot => &mut here.granted_slots,
            PermitClass::Prefetch => &mut here.granted_prefetch,
        };
        let is_permitted = *granted > 0;
        *granted = (*granted - 1).max(0);
        if here.is_draining || !is_permitted {
            return self.say(agent, AgentMessage::HandedBack { key });
        }
        let held = Held { dispatch, inputs, stage: Stage::Waiting, handle: None, is_stopping: false, step: 0 };
        here.held.insert(key, held);
        here.waiting.push_back(key);
        self.start_next(agent);
    }

    fn start_next(&mut self, agent: usize) {
        while self.agents[agent].running < self.knobs.slots {
            let Some(key) = self.agents[agent].waiting.pop_front() else { return };
            self.agents[agent].running += 1;
            self.begin(agent, &key);
        }
    }

    fn begin(&mut self, agent: usize, key: &AttemptKey) {
        let Some(held) = self.agents[agent].held.get_mut(key) else { return };
        let effect = effect_of(&held.dispatch);
        if effect.needs_intent() && held.dispatch.handle.is_none() {
            held.stage = Stage::AwaitsIntent;
            return self.say(agent, AgentMessage::Intent { key: *key });
        }
        held.stage = Stage::Works;
        self.work_on(agent, key);
    }

    fn may_act(&mut self, agent: usize, key: &AttemptKey, go: bool) {
        let Some(held) = self.agents[agent].held.get_mut(key) else { return };
        if held.stage != Stage::AwaitsIntent {
            return;
        }
        if !go {
            return self.finish(agent, key, Outcome::Stopped);
        }
        held.stage = Stage::Works;
        self.check.acted(key);
        self.work_on(agent, key);
    }

    fn work_on(&mut self, agent: usize, key: &AttemptKey) {
        let work = self.random.between(self.script(agent, key).map_or((0, 0), |script| script.work_ms));
        let boot = self.agents[agent].boot;
        let Some(held) = self.agents[agent].held.get_mut(key) else { return };
        held.step += 1;
        let step = held.step;
        self.after(millis(work), Event::AttemptGoesOn { agent, boot, key: *key, step });
    }

    fn script(&self, agent: usize, key: &AttemptKey) -> Option<super::graphs::Script> {
        let graph = &self.agents[agent].held.get(key)?.dispatch.graph;
        let scripted = self.graphs.iter().find(|scripted| scripted.graph.digest() == graph.digest())?;
        Some(scripted.script(key.instance.node))
    }

    /// Some of its work is done.
    pub(super) fn go_on(&mut self, agent: usize, boot: BootId, key: &AttemptKey, step: u64) {
        let Some(script) = self.script(agent, key) else { return };
        let here = &mut self.agents[agent];
        let is_alive = here.is_up && here.boot == boot;
        let Some(held) = here.held.get_mut(key).filter(|held| is_alive && held.step == step) else { return };
        if held.is_stopping {
            return self.finish(agent, key, Outcome::Stopped);
        }
        if script.is_poison {
            self.check.killed(&self.boot_of(agent), key);
            return self.crash_agent(agent);
        }
        let is_pollable = effect_of(&held.dispatch) == EffectClass::Pollable;
        if is_pollable && held.handle.is_none() && held.dispatch.handle.is_none() {
            let handle = Value::from_json(Bytes::from(format!("\"job {}\"", key.token)));
            held.handle = Some(handle.clone());
            self.check.job_begun(key.run, handle.digest());
            self.say(agent, AgentMessage::Handle { key: *key, handle });
            return self.work_on(agent, key);
        }
        let outcome = self.outcome_of(agent, key, script.fail_percent);
        self.finish(agent, key, outcome);
    }

    fn outcome_of(&mut self, agent: usize, key: &AttemptKey, fail_percent: u64) -> Outcome {
        let failed = |class, code: &str| {
            let error = NodeError { class, code: code.into(), message: "the model agent failed".into() };
            Outcome::Failed { error, retry_after: None }
        };
        if self.random.percent(fail_percent) {
            use ErrorClass::{Internal, InvalidRequest, RateLimited, Retryable, UnknownOutcome};
            let class =
                self.random.pick(&[Retryable, Retryable, Internal, RateLimited, InvalidRequest, UnknownOutcome]);
            return failed(class, "model_failure");
        }
        let Some(held) = self.agents[agent].held.get(key) else { return Outcome::Stopped };
        if let Some(question) = &held.dispatch.question {
            let answered = match large::answer(question, &held.dispatch, &held.inputs) {
                Ok(answered) => answered,
                Err(error) => return Outcome::Failed { error, retry_after: None },
            };
            let value = |(port, json): (&'static str, Json)| (port.into(), Value::from_json(json.to_string().into()));
            return Outcome::Succeeded(answered.into_iter().map(value).collect());
        }
        let node = held.dispatch.graph.node(key.instance.node).provided(held.dispatch.provider);
        let config: Json = serde_json::from_slice(node.config).unwrap_or_default();
        let Some(made) = work::make(node.type_id, &config, &held.inputs) else {
            return failed(ErrorClass::InvalidRequest, work::REFUSED);
        };
        let by = key.token.to_string();
        let mut outputs: Vec<(Arc<str>, Value)> = Vec::with_capacity(made.len());
        for (port, mut value) in made {
            sign(&mut value, &by);
            let value = large::value_of(&value, config["large"] == true, &mut self.store.artifacts);
            self.check.produced(key, value.digest());
            outputs.push((port.into(), value));
        }
        Outcome::Succeeded(outputs)
    }

    fn finish(&mut self, agent: usize, key: &AttemptKey, outcome: Outcome) {
        if let Outcome::Failed { error, .. } = &outcome {
            self.check.reported(key.token, error.class);
        }
        let job = self.end_of_job(agent, key, &outcome);
        self.release(agent, key);
        self.agents[agent].kept.insert(*key, (outcome.clone(), job.clone()));
        self.say(agent, AgentMessage::Finished { key: *key, outcome, job });
        self.start_next(agent);
        self.grant(agent);
    }

    /// What becomes of an attempt's job with its end: it is done, or its agent cancels it, or it goes on.
    fn end_of_job(&mut self, agent: usize, key: &AttemptKey, outcome: &Outcome) -> Option<JobEnd> {
        let held = self.agents[agent].held.get(key)?;
        let told = held.handle.as_ref().map(Value::digest);
        let handle = told.or_else(|| held.dispatch.handle.map(|handle| handle.digest))?;
        let is_done = matches!(outcome, Outcome::Succeeded(_));
        if !is_done && self.random.percent(40) {
            return None;
        }
        let went_on = self.check.job_over(handle);
        (!is_done).then_some(if went_on { JobEnd::Cancelled } else { JobEnd::Over })
    }

    /// Somebody else's job is cancelled, if the provider lets it be.
    pub(super) fn job_cancelled(&mut self, agent: usize, boot: BootId, job: &Dispatch) {
        let here = &self.agents[agent];
        let Some(handle) = job.handle.filter(|_| here.is_up && here.boot == boot) else { return };
        let end = if self.random.percent(20) {
            let class = ErrorClass::Retryable;
            Err(NodeError { class, code: "model_failure".into(), message: "the provider is busy".into() })
        } else {
            Ok(if self.check.job_over(handle.digest) { JobEnd::Cancelled } else { JobEnd::Over })
        };
        self.say(agent, AgentMessage::JobCancelled { key: job.key, end });
    }

    fn release(&mut self, agent: usize, key: &AttemptKey) {
        let here = &mut self.agents[agent];
        if let Some(held) = here.held.remove(key) {
            here.waiting.retain(|waiting| waiting != key);
            here.running -= u32::from(held.stage != Stage::Waiting);
        }
    }

    fn stop(&mut self, agent: usize, key: &AttemptKey) {
        let pause = millis(self.random.between((0, 100)));
        let boot = self.agents[agent].boot;
        let Some(held) = self.agents[agent].held.get_mut(key) else { return };
        held.is_stopping = true;
        if held.stage == Stage::Works {
            let step = held.step;
            return self.after(pause, Event::AttemptGoesOn { agent, boot, key: *key, step });
        }
        self.finish(agent, key, Outcome::Stopped);
    }

    fn grant(&mut self, agent: usize) {
        let (slots, prefetch) = (self.knobs.slots, self.knobs.prefetch);
        let here = &mut self.agents[agent];
        if !here.is_welcome || here.is_draining {
            return;
        }
        let (free_slots, free_prefetch) = here.free(slots, prefetch);
        here.granted_slots += free_slots;
        here.granted_prefetch += free_prefetch;
        for (class, count) in [(PermitClass::Slot, free_slots), (PermitClass::Prefetch, free_prefetch)] {
            if count > 0 {
                self.say(agent, AgentMessage::Permit { class, count: count as u32 });
            }
        }
    }

    /// Sends a message, if there is a stream that may carry it.
    fn say(&mut self, agent: usize, message: AgentMessage) {
        let here = &self.agents[agent];
        let Some(id) = here.session else { return };
        if here.is_welcome || matches!(message, AgentMessage::Hello { .. }) {
            let at = self.link_delay(id, true);
            self.at(at, Event::ToCoordinator { session: id, message });
        }
    }

    /// It leaves on purpose: hands back what has not begun, and goes when the rest is done or its patience is over.
    pub(super) fn drain(&mut self, agent: usize) {
        let here = &mut self.agents[agent];
        if !here.is_up || !here.is_welcome || here.is_draining {
            return;
        }
        here.is_draining = true;
        let boot = here.boot;
        for key in std::mem::take(&mut here.waiting) {
            self.agents[agent].held.remove(&key);
            self.say(agent, AgentMessage::HandedBack { key });
        }
        let patience = millis(self.random.between((0, 3_000)));
        self.after(patience, Event::DrainEnds { agent, boot });
    }

    pub(super) fn leave(&mut self, agent: usize, boot: BootId) {
        if self.agents[agent].is_up && self.agents[agent].boot == boot {
            self.say(agent, AgentMessage::Goodbye);
            self.agents[agent].is_up = false;
            if let Some(id) = self.agents[agent].session {
                self.after(millis(3_000), Event::CoordinatorSeesEnd(id));
            }
            self.restart_later(agent);
        }
    }

    /// The process dies without a word.
    pub(super) fn crash_agent(&mut self, agent: usize) {
        if !self.agents[agent].is_up {
            return;
        }
        self.agents[agent].is_up = false;
        self.kills.agents += 1;
        if let Some(id) = self.agents[agent].session {
            self.break_link(id);
        }
        self.restart_later(agent);
    }

    fn restart_later(&mut self, agent: usize) {
        let pause = millis(self.random.between((20, 10_000)));
        let until = self.now.plus(pause);
        self.agents[agent].trouble_until = self.agents[agent].trouble_until.max(until);
        self.after(pause, Event::AgentStarts { agent });
    }

    pub(super) fn agent_sees_end(&mut self, id: SessionNumber) {
        let Some(agent) = self.links.get(&id).map(|link| link.agent) else { return };
        let here = &mut self.agents[agent];
        if here.session == Some(id) {
            (here.session, here.is_welcome) = (None, false);
            let boot = here.boot;
            self.after(millis(50), Event::AgentDials { agent, boot });
        }
    }
}

/// Says who has made a value.
fn sign(value: &mut Json, by: &str) {
    match value {
        Json::Object(fields) => drop(fields.insert("by".to_owned(), by.into())),
        Json::Array(items) => items.iter_mut().for_each(|item| sign(item, by)),
        _ => {}
    }
}

/// One transport connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) agent: usize,
    pub(super) is_up: bool,
    pub(super) to_agent_at: Timestamp,
    pub(super) to_coordinator_at: Timestamp,
}

impl World {
    /// When a message that is sent now arrives: never before the one before it.
    pub(super) fn link_delay(&mut self, id: SessionNumber, to_coordinator: bool) -> Timestamp {
        let at = self.now.plus(millis(self.random.between(self.knobs.link_ms)));
        let Some(link) = self.links.get_mut(&id) else { return at };
        let last = if to_coordinator { &mut link.to_coordinator_at } else { &mut link.to_agent_at };
        *last = at.max(*last);
        *last
    }

    /// The coordinator closes a stream.
    pub(super) fn cut(&mut self, id: SessionNumber) {
        if let Some(link) = self.links.get_mut(&id) {
            link.is_up = false;
            let pause = millis(self.random.between((0, 50)));
            self.after(pause, Event::AgentSeesEnd(id));
        }
    }

    /// A stream breaks: each end notices at once, or when it has heard nothing for too long.
    pub(super) fn break_link(&mut self, id: SessionNumber) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.is_up = false;
        for event in [Event::CoordinatorSeesEnd(id), Event::AgentSeesEnd(id)] {
            let pause = if self.random.percent(60) { self.random.between((0, 50)) } else { 3_000 };
            self.after(millis(pause), event);
        }
    }
}
