//! One agent's stream: the handshake, then message after message into the partitions (E9, E10).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use heddle_core::id::{AgentBoot, AttemptKey, BootId, EventSeq, SessionNumber};
use heddle_core::partition::io::{Input, Leaving, Verdict};
use heddle_core::partition::permits::Offer;
use heddle_core::run::event::PermitClass;
use heddle_core::value::Value;
use heddle_crash_point::crash_point;
use heddle_proto::agent::agent_message::Kind;
use heddle_proto::agent::coordinator_message::Kind as Answer;
use heddle_proto::agent::{self as wire, AgentFrame, CoordinatorMessage, Hello, Partial, Progress};
use heddle_proto::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, STREAM_SILENCE_MS_MAX};
use heddle_trust::Certified;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::convert;
use super::registry::{AgentInfo, Begun};
use crate::authority::since_epoch;
use crate::counters::Refused;
use crate::graphs::is_of_engine;
use crate::limits::{AGENT_TYPES_MAX, CERTIFICATE_LOOK, DUPLICATE_PING};
use crate::read::live::Word;
use crate::shared::Shared;

const SILENCE: Duration = Duration::from_millis(STREAM_SILENCE_MS_MAX);
/// One look at a stream: as many looks in vain make it a silent one.
const LOOK: Duration = Duration::from_millis(STREAM_SILENCE_MS_MAX / LOOKS as u64);
const LOOKS: u32 = 6;
const AGENT_ID_BYTES_MAX: usize = 128;

/// Why a session is not begun.
struct Refusal {
    code: &'static str,
    message: String,
    retry: bool,
}

/// Serves one stream to its end; `certified` is whose connection it is on, if that was proved.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut incoming: Streaming<AgentFrame>,
    outgoing: mpsc::Sender<Vec<CoordinatorMessage>>,
    certified: Option<Arc<Certified>>,
) {
    let first = timeout(SILENCE, incoming.message()).await;
    let Ok(Ok(Some(AgentFrame { messages }))) = first else { return };
    let mut messages = messages.into_iter();
    let Some(Kind::Hello(hello)) = messages.next().and_then(|message| message.kind) else {
        return refuse(
            &shared,
            &outgoing,
            Refusal { code: "hello_expected", message: "the first message of a stream is Hello".into(), retry: false },
        );
    };
    if let Err(refusal) = is_own_id(&shared, &hello, certified.as_deref()) {
        return refuse(&shared, &outgoing, refusal);
    }
    match begin(&shared, &hello, &outgoing).await {
        Err(refusal) => refuse(&shared, &outgoing, refusal),
        Ok((agent, begun)) => {
            tracing::info!(agent = %agent.agent, boot = %agent.boot, "agent connected");
            let session = Session { shared, agent, number: begun.number, certified };
            let leaving = session.run(&hello, begun, incoming).await;
            session.leave(leaving);
        }
    }
}

fn refuse(shared: &Shared, outgoing: &mpsc::Sender<Vec<CoordinatorMessage>>, refusal: Refusal) {
    shared.metrics.refused_agents.add(1);
    let Refusal { code, message, retry } = refusal;
    tracing::warn!(code, message, "agent refused");
    let refused = Answer::Refused(wire::Refused { code: code.into(), message, retry });
    // The agent may have hung up.
    let _gone = outgoing.try_send(vec![CoordinatorMessage { kind: Some(refused) }]);
}

/// An agent speaks under the id in its certificate.
fn is_own_id(shared: &Shared, hello: &Hello, certified: Option<&Certified>) -> Result<(), Refusal> {
    let Some(certified) = certified.filter(|certified| certified.member.id != hello.agent_id) else { return Ok(()) };
    shared.counters.refuse(Refused::WrongAgent, &certified.member.id);
    let message = format!(
        "the certificate is for {}, and the agent calls itself {}; each agent has a data folder of its own",
        certified.member.id, hello.agent_id
    );
    Err(Refusal { code: "wrong_agent", message, retry: false })
}

async fn begin(
    shared: &Arc<Shared>,
    hello: &Hello,
    outgoing: &mpsc::Sender<Vec<CoordinatorMessage>>,
) -> Result<(AgentBoot, Begun), Refusal> {
    if hello.protocol_min > PROTOCOL_VERSION || hello.protocol_max < PROTOCOL_VERSION_MIN {
        return Err(Refusal {
            code: "protocol_mismatch",
            message: format!(
                "the coordinator speaks protocol {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}, this agent {} to {}; \
                 update the older of the two",
                hello.protocol_min, hello.protocol_max
            ),
            retry: false,
        });
    }
    if hello.agent_id.is_empty() || hello.agent_id.len() > AGENT_ID_BYTES_MAX || hello.types.len() > AGENT_TYPES_MAX {
        return Err(Refusal {
            code: "bad_hello",
            message: "an agent has an id of at most 128 bytes and at most 4,096 node types".into(),
            retry: false,
        });
    }
    let agent = AgentBoot { agent: hello.agent_id.as_str().into(), boot: BootId(hello.boot_id) };
    shared.graphs.learn(&hello.types).await.map_err(|message| Refusal {
        code: "bad_manifest",
        message,
        retry: false,
    })?;
    older_is_dead(shared, &agent).await?;
    let info = AgentInfo {
        version: hello.version.clone(),
        hostname: hello.hostname.clone(),
        labels: hello.labels.clone().into_iter().collect(),
        slots: hello.slots,
        types: hello
            .types
            .iter()
            .filter(|node_type| !is_of_engine(&node_type.id))
            .map(|node_type| node_type.id.as_str().into())
            .collect(),
    };
    let partitions = usize::from(shared.journal.partitions().count());
    let begun = shared.sessions.begin(&agent, info, outgoing.clone(), partitions, shared.clock.now());
    // What it grants counts from its welcome on; what it granted before is void.
    shared.permits().leave(&agent.agent, begun.number);
    inventory(shared, &agent, begun.number, hello);
    Ok((agent, begun))
}

/// Another process with this agent's id is connected: it is asked whether it lives (E10).
async fn older_is_dead(shared: &Arc<Shared>, agent: &AgentBoot) -> Result<(), Refusal> {
    let Some(mut answered) = shared.sessions.older(agent) else { return Ok(()) };
    let nonce = shared.seed() | 1;
    shared.sessions.ping(&agent.agent, nonce);
    let alive = timeout(DUPLICATE_PING, answered.wait_for(|answer| *answer == nonce)).await;
    match alive {
        Ok(Ok(_)) => Err(Refusal {
            code: "duplicate_agent",
            message: format!("another process runs as {}; give this one a data folder of its own", agent.agent),
            retry: true,
        }),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// Tells every partition that the agent is there, each with what the agent holds of it.
fn inventory(shared: &Arc<Shared>, agent: &AgentBoot, session: SessionNumber, hello: &Hello) {
    let held = hello.inventory.clone().unwrap_or_default();
    let mut parts: BTreeMap<_, (Vec<AttemptKey>, Vec<AttemptKey>)> =
        shared.journal.partitions().ids().map(|id| (id, Default::default())).collect();
    let of = |keys: &[wire::AttemptKey]| -> Vec<AttemptKey> {
        keys.iter().filter_map(|key| convert::key_from_wire(Some(key))).collect()
    };
    for key in of(&held.running) {
        parts.entry(shared.partition_of(key.run)).or_default().0.push(key);
    }
    for key in of(&held.finished) {
        parts.entry(shared.partition_of(key.run)).or_default().1.push(key);
    }
    for (partition, (running, finished)) in parts {
        shared.doors.report(partition, [Input::AgentHello { agent: agent.clone(), session, running, finished }]);
    }
}

/// How often a stream was looked at in vain since it brought something.
///
/// A look that took longer than it should says that this process was held up, and what the agent said meanwhile may not be
/// read yet. So looks are counted, and not the time: our own silence is not taken for the agent's.
#[derive(Debug, Default)]
struct Silence(u32);

impl Silence {
    /// Nothing was heard once more. True if it has been too long.
    fn is_too_long(&mut self) -> bool {
        self.0 += 1;
        self.0 >= LOOKS
    }
}

struct Session {
    shared: Arc<Shared>,
    agent: AgentBoot,
    number: SessionNumber,
    certified: Option<Arc<Certified>>,
}

impl Session {
    async fn run(&self, hello: &Hello, begun: Begun, mut incoming: Streaming<AgentFrame>) -> Leaving {
        let Begun { mut ended, answered, verdicts, .. } = begun;
        let verdicts = tokio::select! {
            verdicts = verdicts => verdicts,
            _ = ended.wait_for(|ended| *ended) => return Leaving::SentAway,
        };
        let Ok(verdicts) = verdicts else { return Leaving::SentAway };
        let set_aside = self.of_set_aside(&verdicts).await;
        let verdicts: Vec<_> = verdicts
            .into_iter()
            .map(|(key, verdict)| (key, if set_aside.contains(&key) { Verdict::Keep } else { verdict }))
            .collect();
        let held = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Keep).count();
        let welcome = Answer::Welcome(wire::Welcome {
            protocol: PROTOCOL_VERSION.min(hello.protocol_max),
            coordinator_id: self.shared.owner.coordinator.to_string(),
            coordinator_boot_id: self.shared.owner.boot.0,
            verdicts: verdicts.into_iter().map(convert::verdict_to_wire).collect(),
            artifacts: Some(wire::ArtifactStore {
                address: self.shared.artifacts.store.address().to_string(),
                id: self.shared.artifacts.id.clone(),
            }),
        });
        if !self.shared.sessions.welcome(&self.agent, self.number, CoordinatorMessage { kind: Some(welcome) }) {
            return Leaving::SentAway;
        }
        self.join(hello, held as u32);
        for key in set_aside {
            let (partition, cancel) = (self.shared.partition_of(key.run), convert::cancel(key));
            self.shared.sessions.send_in(self.number, partition, &self.agent, vec![cancel]);
        }
        if self.shared.is_draining(&self.agent.agent) {
            // Also what it was given before this stream.
            self.shared.sessions.ask_back(&self.agent.agent);
        }
        let mut expired = std::pin::pin!(self.expired());
        let mut silence = Silence::default();
        loop {
            let looked = tokio::select! {
                looked = timeout(LOOK, incoming.message()) => looked,
                _ = ended.wait_for(|ended| *ended) => return Leaving::SentAway,
                () = &mut expired => return Leaving::SentAway,
            };
            let frame = match looked {
                Ok(Ok(Some(frame))) => frame,
                Err(_) if !silence.is_too_long() => continue,
                Ok(Ok(None) | Err(_)) | Err(_) => return Leaving::Broken,
            };
            silence = Silence::default();
            if self.read(frame, &answered) == Some(Leaving::Goodbye) {
                return Leaving::Goodbye;
            }
        }
    }

    /// Attempts of runs that were set aside. A verdict would leave their jobs at providers alone, as others': but nobody else knows
    /// of them. So they are kept, and cancelled as if their runs were there: the agent cancels the jobs.
    async fn of_set_aside(&self, verdicts: &[(AttemptKey, Verdict)]) -> BTreeSet<AttemptKey> {
        let mut set_aside = BTreeSet::new();
        for (key, _) in verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Stop) {
            let row = self.shared.journal.read_row(key.run).await;
            if row.is_ok_and(|row| row.is_some_and(|row| row.quarantine_reason.is_some())) {
                set_aside.insert(*key);
            }
        }
        set_aside
    }

    /// Waits until the certificate has ended that the stream began with. An agent renews its own long before.
    async fn expired(&self) {
        let Some(certified) = &self.certified else { return std::future::pending().await };
        let ends = Duration::from_secs(certified.not_after.max(0).unsigned_abs());
        while let left = ends.saturating_sub(since_epoch())
            && !left.is_zero()
        {
            sleep(left.min(CERTIFICATE_LOOK)).await;
        }
        self.shared.counters.refuse(Refused::CertificateExpired, &self.agent.agent);
    }

    fn join(&self, hello: &Hello, held: u32) {
        let granted = |class: wire::PermitClass| {
            hello.permits.iter().filter(|permit| permit.class() == class).map(|permit| permit.count).sum()
        };
        let types = hello.types.iter().map(|node_type| (node_type.id.as_str().into(), node_type.version));
        let mut types: Vec<(Arc<str>, u32)> = types.collect();
        types.sort();
        let offer = Offer {
            session: self.number,
            boot: self.agent.boot,
            types,
            labels: hello.labels.clone().into_iter().collect(),
            held,
            slots: granted(wire::PermitClass::Slot),
            prefetch: granted(wire::PermitClass::Prefetch),
        };
        let dealt = {
            let mut permits = self.shared.permits();
            permits.join(self.agent.agent.clone(), offer);
            if self.shared.is_draining(&self.agent.agent) {
                permits.close(&self.agent);
            }
            permits.deal()
        };
        self.shared.deliver(dealt);
    }

    /// Takes one frame apart: permits first, so that partitions find them when they see the results.
    fn read(&self, frame: AgentFrame, answered: &watch::Sender<u64>) -> Option<Leaving> {
        let mut reports: Vec<(AttemptKey, Input)> = Vec::with_capacity(frame.messages.len());
        let mut granted: Vec<(PermitClass, u32)> = Vec::new();
        let (mut left, mut end) = (0, None);
        let mut has_returned = false;
        let mut ended: Vec<AttemptKey> = Vec::new();
        for message in frame.messages {
            match message.kind {
                Some(Kind::Finished(finished)) => {
                    crash_point!("session.result-received");
                    left += 1;
                    ended.extend(convert::key_from_wire(finished.key.as_ref()));
                    reports.extend(self.finished(finished));
                }
                Some(Kind::Permit(permit)) => match permit.class() {
                    wire::PermitClass::Slot => granted.push((PermitClass::Slot, permit.count)),
                    wire::PermitClass::Prefetch => granted.push((PermitClass::Prefetch, permit.count)),
                    wire::PermitClass::Unspecified => {}
                },
                Some(Kind::HandedBack(back)) => {
                    let keys = back.keys.iter().filter_map(|key| convert::key_from_wire(Some(key)));
                    has_returned = true;
                    for key in keys {
                        left += 1;
                        ended.push(key);
                        reports.push((key, Input::HandedBack { from: self.agent.clone(), key }));
                    }
                }
                Some(Kind::Intent(intent)) => reports.extend(
                    convert::key_from_wire(intent.key.as_ref())
                        .map(|key| (key, Input::Intent { from: self.agent.clone(), key })),
                ),
                Some(Kind::Handle(handle)) => {
                    let key = convert::key_from_wire(handle.key.as_ref());
                    reports.extend(key.map(|key| {
                        let handle = Value::from_json(handle.handle.clone());
                        (key, Input::Handle { from: self.agent.clone(), key, handle })
                    }));
                }
                Some(Kind::JobCancelled(cancelled)) => {
                    crash_point!("jobs.answer-received");
                    let key = convert::key_from_wire(cancelled.key.as_ref());
                    let end = convert::job_end_from_wire(cancelled);
                    reports.extend(
                        key.zip(end)
                            .map(|(key, end)| (key, Input::JobCancelled { from: self.agent.clone(), key, end })),
                    );
                }
                Some(Kind::Heartbeat(heartbeat)) => {
                    if heartbeat.nonce != 0 {
                        answered.send_replace(heartbeat.nonce);
                    }
                }
                Some(Kind::Goodbye(_)) => end = Some(Leaving::Goodbye),
                Some(Kind::Progress(progress)) => {
                    let Progress { key, fraction, message } = progress;
                    self.shows(key.as_ref(), Word::Progress { fraction, message });
                }
                Some(Kind::Partial(partial)) => {
                    let Partial { key, port, sequence, chunk } = partial;
                    self.shows(key.as_ref(), Word::Piece { port, sequence, text: chunk });
                }
                // A second Hello or an unasked inventory says nothing new.
                Some(Kind::Inventory(_) | Kind::Hello(_)) | None => {}
            }
        }
        if !ended.is_empty() {
            self.shared.sessions.ended(&self.agent, ended.iter().map(|key| key.token));
            ended.into_iter().for_each(|key| self.shared.live.ended(key));
        }
        if has_returned {
            self.return_places();
        }
        self.pass_on(left, granted, reports);
        end
    }

    /// An attempt says something on its way. It is shown if this agent holds the attempt, and forgotten.
    fn shows(&self, key: Option<&wire::AttemptKey>, word: Word) {
        let key = convert::key_from_wire(key).filter(|key| self.shared.sessions.holds(&self.agent, key.token));
        let Some(key) = key else { return };
        let at = self.shared.hub.active(key.run).map_or(EventSeq(0), |hint| hint.seq);
        self.shared.live.tell(&self.agent, key, at, word);
    }

    /// An attempt is over. Its job, and what became of that, is known before it ends: what is not known then is owed nothing.
    fn finished(&self, finished: wire::Finished) -> impl Iterator<Item = (AttemptKey, Input)> {
        let key = convert::key_from_wire(finished.key.as_ref());
        let from = || self.agent.clone();
        let handle = Some(finished.handle.clone()).filter(|handle| !handle.is_empty()).map(Value::from_json);
        let begun = key.zip(handle).map(|(key, handle)| (key, Input::Handle { from: from(), key, handle }));
        let end = convert::job_end(finished.job());
        let job = key.zip(end).map(|(key, end)| (key, Input::JobCancelled { from: from(), key, end: Ok(end) }));
        let ended = key.zip(convert::outcome_from_wire(finished));
        let ended = ended.map(|(key, (outcome, timing))| (key, Input::Finished { from: from(), key, outcome, timing }));
        begun.into_iter().chain(job).chain(ended)
    }

    /// What the agent could not begin in time, other places of its queue would keep from idle agents, too.
    fn return_places(&self) {
        let count = self.shared.permits().withdraw_prefetch(&self.agent, self.number);
        if count > 0 {
            let class = wire::PermitClass::Prefetch;
            self.shared.sessions.return_permits(&self.agent, self.number, class, count);
        }
    }

    fn pass_on(&self, left: u32, granted: Vec<(PermitClass, u32)>, reports: Vec<(AttemptKey, Input)>) {
        let dealt = if left > 0 || !granted.is_empty() {
            let mut permits = self.shared.permits();
            permits.finished(&self.agent, self.number, left);
            granted.into_iter().for_each(|(class, count)| permits.grant(&self.agent, self.number, class, count));
            permits.deal()
        } else {
            Vec::new()
        };
        let mut parts: BTreeMap<_, Vec<Input>> = BTreeMap::new();
        for (key, report) in reports {
            parts.entry(self.shared.partition_of(key.run)).or_default().push(report);
        }
        for (partition, grant) in dealt {
            parts.entry(partition).or_default().push(Input::Granted(vec![grant]));
        }
        for (partition, inputs) in parts {
            self.shared.doors.report(partition, inputs);
        }
    }

    fn leave(&self, leaving: Leaving) {
        if !self.shared.sessions.end(&self.agent.agent, self.number) {
            return;
        }
        tracing::info!(agent = %self.agent.agent, boot = %self.agent.boot, ?leaving, "agent disconnected");
        self.shared.live.left(&self.agent);
        let dealt = {
            let mut permits = self.shared.permits();
            permits.leave(&self.agent.agent, self.number);
            permits.deal()
        };
        self.shared.deliver(dealt);
        for partition in self.shared.journal.partitions().ids() {
            let gone = Input::AgentGone { agent: self.agent.clone(), session: self.number, leaving };
            self.shared.doors.report(partition, [gone]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_in_looks() {
        let mut silence = Silence::default();
        assert!((1..LOOKS).all(|_| !silence.is_too_long()));
        assert!(silence.is_too_long());
        assert_eq!(LOOK * LOOKS, SILENCE, "who is never held up waits as long as the agent may be silent");
    }
}
