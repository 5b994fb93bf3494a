//! One session: dial, Hello, Welcome, then whatever comes, until the stream ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use heddle_error_chain::chain;
use heddle_proto::agent as wire;
use heddle_proto::agent::agent_link_client::AgentLinkClient;
use heddle_proto::limits::{AGENT_MESSAGE_BYTES_MAX, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use heddle_proto::value_window::ValueWindow;
use heddle_trust::{Trouble, Way};
use ractor::ActorRef;
use ractor::rpc::CallResult;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::Status;
use tonic::codec::Streaming;
use tonic::transport::{Channel, Endpoint};
use wire::agent_message::Kind;
use wire::coordinator_message::Kind as Told;

use super::LinkMessage;
use super::redial::SessionEnd;
use crate::artifacts::desk::Desk;
use crate::attempts::{AttemptsMessage, Greeting, SessionNumber};
use crate::limits::{
    ACTOR_CALL_WAIT, CONNECT_WAIT, CONNECTION_WINDOW_BYTES, GOODBYE_WAIT, HEARTBEAT_CHECK, KEEPALIVE_INTERVAL,
    KEEPALIVE_WAIT, STREAM_WINDOW_BYTES, WELCOME_WAIT,
};
use crate::metrics::{NUMBERS, Share};
use crate::outgoing::{Entrance, Outgoing, Pulse, queue};

/// The part of Hello that never changes.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) agent_id: String,
    pub(crate) boot_id: u64,
    pub(crate) hostname: String,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) slots: u32,
    pub(crate) types: Vec<wire::NodeType>,
}

impl Identity {
    fn hello(&self, greeting: Greeting) -> wire::Hello {
        wire::Hello {
            protocol_min: PROTOCOL_VERSION_MIN,
            protocol_max: PROTOCOL_VERSION,
            agent_id: self.agent_id.clone(),
            boot_id: self.boot_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: self.hostname.clone(),
            labels: self.labels.clone(),
            slots: self.slots,
            types: self.types.clone(),
            inventory: Some(greeting.inventory),
            permits: greeting.permits.into_wire(),
        }
    }
}

/// What a session needs of its surroundings.
pub(crate) struct Surroundings {
    pub(crate) endpoint: Endpoint,
    pub(crate) way: Way,
    pub(crate) identity: Arc<Identity>,
    pub(crate) attempts: ActorRef<AttemptsMessage>,
    pub(crate) desk: Arc<Desk>,
}

/// Sets a connection up as the stream needs it.
pub(crate) fn configured(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_WAIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_WAIT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Runs one session to its end.
pub(super) async fn run(surroundings: &Surroundings, link: &ActorRef<LinkMessage>) -> SessionEnd {
    let mut channel = match surroundings.way.connect(&surroundings.endpoint).await {
        Ok(channel) => channel,
        Err(trouble) => return end_of(trouble),
    };
    loop {
        match attend(surroundings, channel, link).await {
            Ok(renewed) => channel = renewed,
            Err(end) => return end,
        }
    }
}

/// One stream, to its end; or until there is a new certificate and a connection that shows it: the next stream takes over
/// at once, and nothing is lost in between.
async fn attend(
    surroundings: &Surroundings,
    channel: Channel,
    link: &ActorRef<LinkMessage>,
) -> Result<Channel, SessionEnd> {
    let not_welcomed = |reason| SessionEnd::Lost { was_welcomed: false, reason };
    // The inventory is taken last: nothing can arrive between here and Hello.
    let greeted = surroundings.attempts.call(AttemptsMessage::Greet, Some(ACTOR_CALL_WAIT)).await;
    let Ok(CallResult::Success((number, greeting))) = greeted else {
        return Err(not_welcomed("the agent did not say in time what it holds".to_owned()));
    };
    let end = match open(surroundings, channel, number, greeting).await {
        Ok(session) => {
            let _connected = Share::of(&NUMBERS.connected, 1);
            let _ = link.cast(LinkMessage::Registered);
            let served = session.serve(surroundings).await;
            served.map_err(|reason| SessionEnd::Lost { was_welcomed: true, reason })
        }
        Err(end) => Err(end),
    };
    // Sent after all that the stream brought, so that the next inventory is complete.
    let _ = surroundings.attempts.cast(AttemptsMessage::Left(number));
    end
}

struct Session {
    number: SessionNumber,
    inbound: Streaming<wire::CoordinatorFrame>,
    pulse: Pulse,
    /// Values that the stream has brought and may name again (E15).
    brought: ValueWindow<Bytes>,
}

/// Hello and its answer.
async fn open(
    surroundings: &Surroundings,
    channel: Channel,
    number: SessionNumber,
    greeting: Greeting,
) -> Result<Session, SessionEnd> {
    let lost = |reason| SessionEnd::Lost { was_welcomed: false, reason };
    let (Entrance { messages, pulse }, frames) = queue(greeting.queue_capacity);
    let hello = Kind::Hello(surroundings.identity.hello(greeting));
    messages.try_send(Outgoing::message(hello)).map_err(|error| lost(error.to_string()))?;

    let mut client = AgentLinkClient::new(channel)
        .max_decoding_message_size(AGENT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(AGENT_MESSAGE_BYTES_MAX);
    let answer = timeout(WELCOME_WAIT, async {
        let mut inbound = client.attach(frames).await?.into_inner();
        let frame = inbound.message().await?;
        Ok::<_, Status>((inbound, frame.unwrap_or_default().messages))
    });
    let (inbound, messages_in) = match answer.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) => return Err(end_of(Trouble::of_status(&status))),
        Err(_) => return Err(lost(format!("no answer to Hello within {} s", WELCOME_WAIT.as_secs()))),
    };

    let mut messages_in = messages_in.into_iter();
    let welcome = match messages_in.next().and_then(|first| first.kind) {
        Some(Told::Welcome(welcome)) => welcome,
        Some(Told::Refused(refused)) => {
            let wire::Refused { code, message, retry } = refused;
            return Err(SessionEnd::Refused { code, message, retry });
        }
        _ => return Err(lost("the answer to Hello was neither Welcome nor Refused".to_owned())),
    };
    if !(PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION).contains(&welcome.protocol) {
        return Err(protocol_mismatch(welcome.protocol));
    }
    if let Err(error) = surroundings.desk.open(welcome.artifacts.clone()).await {
        let (code, message) = (error.code().to_owned(), error.to_string());
        return Err(SessionEnd::Refused { code, message, retry: false });
    }
    tracing::info!(coordinator = %welcome.coordinator_id, "registered");
    let welcomed = AttemptsMessage::Welcomed { session: number, verdicts: welcome.verdicts, messages };
    let _ = surroundings.attempts.cast(welcomed);
    let mut session = Session { number, inbound, pulse, brought: ValueWindow::default() };
    session.receive(surroundings, messages_in.collect()).map_err(lost)?;
    Ok(session)
}

impl Session {
    /// Passes messages on until the stream ends, and says why it did; or until there is a connection to go on with.
    async fn serve(mut self, surroundings: &Surroundings) -> Result<Channel, String> {
        let mut renewed = std::pin::pin!(renewed(surroundings));
        let mut ticks = interval(HEARTBEAT_CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => self.tick(surroundings),
                frame = self.inbound.message() => match frame {
                    Ok(Some(frame)) => self.receive(surroundings, frame.messages)?,
                    Ok(None) => return Err("the coordinator ended the stream".to_owned()),
                    Err(status) => return Err(chain(&status)),
                },
                _ = &mut self.pulse.ended => return Err(self.part(surroundings).await),
                channel = &mut renewed => return Ok(channel),
            }
        }
    }

    /// The agent has sent its last: the coordinator ends the stream, or takes too long.
    async fn part(mut self, surroundings: &Surroundings) -> String {
        let rest = async {
            while let Ok(Some(frame)) = self.inbound.message().await
                && self.receive(surroundings, frame.messages).is_ok()
            {}
        };
        let _ = timeout(GOODBYE_WAIT, rest).await;
        "the agent ended the stream".to_owned()
    }

    fn tick(&self, surroundings: &Surroundings) {
        if !self.pulse.has_sent.swap(false, Ordering::Relaxed) {
            self.answer(0);
        }
        let _ = surroundings.attempts.cast(AttemptsMessage::Tick);
    }

    /// Passes messages on, whole.
    ///
    /// # Errors
    /// When one names a value that the stream has not brought: the ends do not agree, and a new stream must begin.
    fn receive(
        &mut self,
        surroundings: &Surroundings,
        mut messages: Vec<wire::CoordinatorMessage>,
    ) -> Result<(), String> {
        for message in &mut messages {
            let inputs = match &mut message.kind {
                Some(Told::Ping(ping)) => {
                    self.answer(ping.nonce);
                    continue;
                }
                Some(Told::Assign(assign)) => &mut assign.inputs,
                Some(Told::InputsPart(part)) => &mut part.inputs,
                _ => continue,
            };
            for input in inputs {
                self.fill_in(input)?;
            }
        }
        if !messages.is_empty() {
            let _ = surroundings.attempts.cast(AttemptsMessage::Told { session: self.number, messages });
        }
        Ok(())
    }

    /// Puts values in their places that the stream has brought before, and keeps those that it may name again.
    fn fill_in(&mut self, input: &mut wire::Input) -> Result<(), String> {
        for wire::SharedValue { place, digest } in &input.shared {
            let value = input.values_json.get_mut(*place as usize).ok_or("a value is named that has no place")?;
            match self.brought.get(digest) {
                Some(brought) => *value = brought.clone(),
                None if value.is_empty() => return Err("a value is named that the stream has not brought".to_owned()),
                // A copy: else it would keep the whole frame in memory.
                None => self.brought.note(digest, value.len(), Bytes::copy_from_slice(value)),
            }
        }
        Ok(())
    }

    /// A full queue is no silence: whoever reads it hears the agent.
    fn answer(&self, nonce: u64) {
        let _ = self.pulse.urgent.try_send(Kind::Heartbeat(wire::Heartbeat { nonce }));
    }
}

/// A connection that shows a new certificate, once there is one.
async fn renewed(surroundings: &Surroundings) -> Channel {
    loop {
        surroundings.way.renewed().await;
        match surroundings.way.connect(&surroundings.endpoint).await {
            Ok(channel) => return channel,
            // The stream goes on with the certificate that it has, and whatever follows it shows the new one.
            Err(trouble) => tracing::warn!(?trouble, "no connection with the new certificate"),
        }
    }
}

fn end_of(trouble: Trouble) -> SessionEnd {
    match trouble {
        Trouble::Final { code, message } => SessionEnd::Refused { code, message, retry: false },
        Trouble::Later { message } => SessionEnd::Lost { was_welcomed: false, reason: message },
    }
}

fn protocol_mismatch(protocol: u32) -> SessionEnd {
    let message = format!(
        "the coordinator speaks protocol {protocol}, this agent {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}; bring both \
         to versions that agree"
    );
    SessionEnd::Refused { code: "protocol_mismatch".to_owned(), message, retry: false }
}
