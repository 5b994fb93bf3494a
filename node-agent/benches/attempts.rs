//! How many attempts one agent runs, and what each costs it in processor time.
//!
//! The agent is a process of its own; this one plays the coordinator, sends no-op work against every permit, and
//! acknowledges each frame of results. Prints one JSON line.
//!
//! ```text
//! cargo bench -p heddle-agent --bench attempts -- --attempts 500000 --slots 16 --threads 1
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::pin::Pin;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use heddle_agent::{Options, start};
use heddle_proto::agent::agent_link_server::{AgentLink, AgentLinkServer};
use heddle_proto::agent::agent_message::Kind;
use heddle_proto::agent::coordinator_message::Kind as Tell;
use heddle_proto::agent::*;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Longest wait for a frame of the agent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Clock ticks of `/proc/<pid>/stat`, per second, on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u32| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let (attempts, slots, threads) = (number("--attempts", 2_000), number("--slots", 16), number("--threads", 1));
    let runtime = runtime(threads)?;
    match arguments.iter().position(|argument| argument == "--agent-of") {
        Some(place) => runtime.block_on(be_the_agent(&arguments[place + 1], slots)),
        None => runtime.block_on(measure(attempts, slots, threads)),
    }
}

fn runtime(threads: u32) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads as usize).enable_all().build()
}

async fn be_the_agent(coordinator: &str, slots: u32) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let options = Options {
        coordinator: coordinator.to_owned(),
        join: None,
        insecure: false,
        secret: None,
        agent_id: None,
        data_dir: folder.path().to_owned(),
        labels: BTreeMap::new(),
        hostname: None,
        slots,
        prefetch_patience: heddle_agent::limits::PREFETCH_PATIENCE,
        debug_nodes: true,
        debug_effects: None,
        network: None,
    };
    start(options).await?.wait().await;
    Ok(())
}

/// Ends the agent's process with the measurement.
struct AgentProcess(Child);

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(attempts: u32, slots: u32, threads: u32) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (sender, mut streams) = mpsc::channel(1);
    let server = tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .add_service(AgentLinkServer::new(Service { streams: sender }))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let (slots_text, threads_text) = (slots.to_string(), threads.to_string());
    let child = Command::new(std::env::current_exe()?)
        .args(["--agent-of", &address, "--slots", &slots_text, "--threads", &threads_text])
        .spawn()?;
    let agent = AgentProcess(child);

    let (mut inbound, outbound) = timeout(SILENCE_MAX, streams.recv()).await?.ok_or("no agent came")?;
    let mut load = Load { permits: BTreeMap::new(), left: 0, ended: 0, frames: 0 };
    // A tenth of the load goes before the measurement.
    load.left = attempts / 10;
    load.run(&mut inbound, &outbound).await?;
    let (began, cpu_before) = (Instant::now(), cpu_seconds(&agent.0)?);
    load = Load { left: attempts, ended: 0, frames: 0, ..load };
    load.run(&mut inbound, &outbound).await?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(&agent.0)? - cpu_before);
    let count = f64::from(attempts);
    println!(
        "{}",
        serde_json::json!({
            "bench": "agent_attempts", "attempts": attempts, "slots": slots, "threads": threads,
            "optimised": !cfg!(debug_assertions), "attempts_per_second": (count / seconds).round(),
            "agent_cpu_us_per_attempt": (cpu / count * 1e8).round() / 100.0,
            "results_per_frame": (count / f64::from(load.frames) * 10.0).round() / 10.0,
        })
    );
    server.abort();
    Ok(())
}

/// User and system time of the process.
fn cpu_seconds(child: &Child) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).ok_or("no times in stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

type Outbound = mpsc::Sender<Result<CoordinatorFrame, Status>>;

struct Load {
    /// Granted and not used, by class.
    permits: BTreeMap<i32, u32>,
    left: u32,
    ended: u32,
    frames: u32,
}

impl Load {
    /// Sends what is left against the permits, and reads until all of it has ended.
    async fn run(&mut self, inbound: &mut Streaming<AgentFrame>, outbound: &Outbound) -> Outcome<()> {
        let target = self.left;
        self.send(Vec::new(), outbound).await?;
        while self.ended < target {
            let frame = timeout(SILENCE_MAX, inbound.message()).await??.ok_or("the agent ended the stream")?;
            let mut answers = Vec::new();
            let mut keys = Vec::new();
            for kind in frame.messages.into_iter().filter_map(|message| message.kind) {
                match kind {
                    Kind::Hello(hello) => {
                        hello.permits.iter().for_each(|permit| self.note(permit));
                        let protocol = hello.protocol_max;
                        answers.push(Tell::Welcome(Welcome { protocol, ..Welcome::default() }));
                    }
                    Kind::Permit(permit) => self.note(&permit),
                    Kind::Finished(finished) => keys.extend(finished.key),
                    _ => {}
                }
            }
            if !keys.is_empty() {
                self.ended += keys.len() as u32;
                self.frames += 1;
                answers.push(Tell::Acknowledge(Acknowledge { keys }));
            }
            self.send(answers, outbound).await?;
        }
        Ok(())
    }

    async fn send(&mut self, mut kinds: Vec<Tell>, outbound: &Outbound) -> Outcome<()> {
        for (&class, permits) in &mut self.permits {
            for _ in 0..(*permits).min(self.left) {
                kinds.push(Tell::Assign(noop(class, self.left)));
                *permits -= 1;
                self.left -= 1;
            }
        }
        if !kinds.is_empty() {
            let messages = kinds.into_iter().map(|kind| CoordinatorMessage { kind: Some(kind) }).collect();
            outbound.send(Ok(CoordinatorFrame { messages })).await?;
        }
        Ok(())
    }

    fn note(&mut self, permit: &Permit) {
        *self.permits.entry(permit.class).or_default() += permit.count;
    }
}

/// About as long as a real one.
fn noop(permit: i32, number: u32) -> Assign {
    let execution = Bytes::from_static(b"0123456789abcdef");
    Assign {
        key: Some(AttemptKey { execution, node: number, scope: 0, generation: 1, number: 1, token: u64::from(number) }),
        execution_id: "exec_01J00000000000000000000000".to_owned(),
        node_id: "node-1".to_owned(),
        node_type: "debug:noop".to_owned(),
        type_version: 1,
        config_json: Bytes::from_static(b"{}"),
        inputs: vec![Input {
            port: "in".to_owned(),
            list: true,
            values_json: vec![Bytes::from_static(b"null")],
            ..Input::default()
        }],
        timeout_ms: 120_000,
        effect: EffectClass::Pure.into(),
        idempotency_key: "exec_01J00000000000000000000000:1:0:1".to_owned(),
        lineage_attempt: 1,
        permit,
        ..Assign::default()
    }
}

struct Service {
    streams: mpsc::Sender<(Streaming<AgentFrame>, Outbound)>,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<CoordinatorFrame, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let (outbound, frames) = mpsc::channel(64);
        let stream = (request.into_inner(), outbound);
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the measurement is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }
}
