//! `debug:*`: node types for tests and benches. Offered only by agents that are told to.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt, ready};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::config::config;
use super::{Context, ErrorClass, Failure, Manifest, Output, Port, PortType, Runner, Work};
use crate::limits::DEBUG_SLEEP_MS_MAX;

/// How much too late Tokio's timer may be.
const COARSE: Duration = Duration::from_millis(2);
/// How often `debug:effect` looks for the file that it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Most items of `debug:list`.
const LIST_ITEMS_MAX: usize = 1_000_000;
/// Most pieces of `debug:stream`.
const PIECES_MAX: u64 = 100_000;
/// Longest of its pieces, in bytes.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of `debug:bytes`: enough to pass every limit on values.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most bytes of `debug:file`.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of one piece of it.
const PIECE_BYTES: usize = 256 * 1024;

/// One of the debug types.
pub(super) struct Debug {
    kind: Kind,
    effects: Option<Arc<Path>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Noop,
    Sleep,
    Echo,
    Abort,
    Panic,
    Fail,
    Effect,
    List,
    Bytes,
    Stream,
    File,
    Measure,
}

impl Debug {
    /// All of them.
    pub(super) fn all(effects: Option<&Path>) -> Vec<Debug> {
        let kinds = [
            Kind::Noop,
            Kind::Sleep,
            Kind::Echo,
            Kind::Abort,
            Kind::Panic,
            Kind::Fail,
            Kind::Effect,
            Kind::List,
            Kind::Bytes,
            Kind::Stream,
            Kind::File,
            Kind::Measure,
        ];
        let effects: Option<Arc<Path>> = effects.map(Arc::from);
        kinds.into_iter().map(|kind| Debug { kind, effects: effects.clone() }).collect()
    }
}

impl Runner for Debug {
    fn manifest(&self) -> Manifest {
        let (name, title, summary) = describe(self.kind);
        Manifest {
            inputs: vec![Port::new("in", PortType::Any).list(), Port::new("item", PortType::Any)],
            outputs: vec![Port::new("out", PortType::Any)],
            config_schema: Some(schema(self.kind)),
            effect_from_config: true,
            prefetch: true,
            ..Manifest::pure(&format!("debug:{name}"), title, summary)
        }
    }

    #[expect(clippy::panic, reason = "it is what debug:panic is for")]
    fn run(&self, work: Work, context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        match self.kind {
            Kind::Noop => ready(Ok(out(NULL))).boxed(),
            Kind::Sleep => idle(work).boxed(),
            Kind::Echo => ready(echo(&work)).boxed(),
            Kind::Abort => std::process::abort(),
            Kind::Panic => panic!("debug:panic was asked to panic"),
            Kind::Fail => ready(fail(&work)).boxed(),
            Kind::Effect => effect(work, self.effects.clone()).boxed(),
            Kind::List => ready(list(&work)).boxed(),
            Kind::Bytes => ready(bytes(&work)).boxed(),
            Kind::Stream => stream(work, context).boxed(),
            Kind::File => file(work, context).boxed(),
            Kind::Measure => measure(work, context).boxed(),
        }
    }
}

fn describe(kind: Kind) -> (&'static str, &'static str, &'static str) {
    match kind {
        Kind::Noop => ("noop", "Nothing", "Does nothing; gives null."),
        Kind::Sleep => ("sleep", "Sleep", "Waits on the agent; gives null."),
        Kind::Echo => ("echo", "Echo", "Gives its value, or what arrives: one edge as it is, several as a list."),
        Kind::Abort => ("abort", "Abort", "Ends the agent's process."),
        Kind::Panic => ("panic", "Panic", "Panics."),
        Kind::Fail => ("fail", "Fail", "Fails its first attempts; then gives null."),
        Kind::Effect => (
            "effect",
            "Effect",
            "Waits, also until a file `until` is there, then adds a line to a file on the agent (and one to `begun` before \
             it waits); gives null.",
        ),
        Kind::List => ("list", "List", "Gives a list of numbers from 0."),
        Kind::Bytes => ("bytes", "Bytes", "Gives a text of a chosen length."),
        Kind::Stream => ("stream", "Stream", "Shows a text piece by piece while it runs; gives all of it."),
        Kind::File => ("file", "File", "Gives a file of a chosen length, written piece by piece."),
        Kind::Measure => ("measure", "Measure", "Reads a file piece by piece; gives how many bytes it has."),
    }
}

fn schema(kind: Kind) -> Value {
    let milliseconds = json!({"type": "integer", "minimum": 0, "maximum": DEBUG_SLEEP_MS_MAX});
    let (mut properties, required) = match kind {
        Kind::Noop | Kind::Abort | Kind::Panic | Kind::Measure => (json!({}), json!([])),
        Kind::Sleep => (json!({"ms": milliseconds}), json!(["ms"])),
        Kind::Echo => (json!({"value": {}}), json!([])),
        Kind::Fail => (
            json!({
                "times": {"type": "integer", "minimum": 0, "default": 1},
                "class": {"enum": [
                    "retryable", "rate_limited", "invalid_request", "auth", "content_policy", "timeout", "cancelled",
                    "internal", "unknown_outcome",
                ], "default": "retryable"},
            }),
            json!([]),
        ),
        Kind::Effect => {
            let path = json!({"type": "string", "minLength": 1});
            (json!({"file": path, "begun": path, "until": path, "ms": milliseconds}), json!(["file"]))
        }
        Kind::List => {
            (json!({"count": {"type": "integer", "minimum": 0, "maximum": LIST_ITEMS_MAX}}), json!(["count"]))
        }
        Kind::Bytes => (json!({"count": {"type": "integer", "minimum": 0, "maximum": BYTES_MAX}}), json!(["count"])),
        Kind::Stream => {
            let count = json!({"type": "integer", "minimum": 0, "maximum": PIECES_MAX});
            let bytes = json!({"type": "integer", "minimum": 0, "maximum": PIECE_BYTES_MAX});
            (json!({"count": count, "ms": milliseconds, "bytes": bytes}), json!(["count"]))
        }
        Kind::File => {
            let seed = json!({"type": "integer", "minimum": 0, "description": "Another one gives another file."});
            let count = json!({"type": "integer", "minimum": 0, "maximum": FILE_BYTES_MAX});
            (json!({"count": count, "seed": seed}), json!(["count"]))
        }
    };
    properties["effect"] = json!({"enum": ["pure", "keyed", "pollable", "blind"], "default": "pure"});
    json!({"type": "object", "properties": properties, "required": required})
}

const NULL: Bytes = Bytes::from_static(b"null");

fn out(value: Bytes) -> Vec<Output> {
    vec![Output { port: "out".into(), value }]
}

async fn idle(work: Work) -> Result<Vec<Output>, Failure> {
    #[derive(Deserialize)]
    struct Config {
        ms: u64,
    }
    let config: Config = config(&work)?;
    pause(&work, config.ms).await?;
    Ok(out(NULL))
}

async fn pause(work: &Work, ms: u64) -> Result<(), Failure> {
    within(work, "ms", ms, DEBUG_SLEEP_MS_MAX)?;
    sleep(Duration::from_millis(ms)).await;
    Ok(())
}

/// Tokio's timer counts in milliseconds and rounds up: work that stands for a few of them would take half as long again.
/// The end of the wait is a thread's, whose timer is finer.
async fn sleep(time: Duration) {
    if time.is_zero() {
        return;
    }
    let until = Instant::now() + time;
    if let Some(most) = time.checked_sub(COARSE) {
        tokio::time::sleep(most).await;
    }
    #[expect(clippy::disallowed_methods, reason = "on a thread that may be held, and for less than two milliseconds")]
    let rest = move || std::thread::sleep(until.saturating_duration_since(Instant::now()));
    // It fails only when the runtime ends.
    let _ = tokio::task::spawn_blocking(rest).await;
}

fn echo(work: &Work) -> Result<Vec<Output>, Failure> {
    #[derive(Deserialize)]
    struct Config {
        value: Option<Box<RawValue>>,
    }
    let config: Config = config(work)?;
    let value = match (config.value, work.input("in"), work.input("item")) {
        (Some(value), _, _) => Bytes::copy_from_slice(value.get().as_bytes()),
        (None, [], []) => NULL,
        (None, [], [value, ..]) | (None, [value], _) => value.clone(),
        (None, values, _) => join(values),
    };
    Ok(out(value))
}

/// A JSON list of values that are JSON already.
fn join(values: &[Bytes]) -> Bytes {
    let mut list = BytesMut::with_capacity(values.iter().map(|value| value.len() + 1).sum::<usize>() + 2);
    list.put_u8(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            list.put_u8(b',');
        }
        list.put_slice(value);
    }
    list.put_u8(b']');
    list.freeze()
}

fn fail(work: &Work) -> Result<Vec<Output>, Failure> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default = "once")]
        times: u32,
        #[serde(default = "retryable")]
        class: ErrorClass,
    }
    let config: Config = config(work)?;
    if work.lineage_attempt > config.times {
        return Ok(out(NULL));
    }
    let message =
        format!("debug:fail was asked to fail {} times; this is attempt {}", config.times, work.lineage_attempt);
    Err(Failure::new(config.class, "debug_fail", message))
}

fn once() -> u32 {
    1
}

fn retryable() -> ErrorClass {
    ErrorClass::Retryable
}

async fn effect(work: Work, folder: Option<Arc<Path>>) -> Result<Vec<Output>, Failure> {
    #[derive(Deserialize)]
    struct Config {
        file: String,
        #[serde(default)]
        begun: Option<String>,
        #[serde(default)]
        until: Option<String>,
        #[serde(default)]
        ms: u64,
    }
    let config: Config = config(&work)?;
    let path = effect_path(folder.as_deref(), &config.file)?;
    if let Some(begun) = &config.begun {
        add_line(&work, &effect_path(folder.as_deref(), begun)?)?;
    }
    pause(&work, config.ms).await?;
    if let Some(until) = &config.until {
        there(&effect_path(folder.as_deref(), until)?).await;
    }
    add_line(&work, &path)?;
    Ok(out(NULL))
}

/// Until whoever tests makes this file.
async fn there(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One short write, on purpose without a hop to another thread: what is counted is how often it happens.
fn add_line(work: &Work, path: &Path) -> Result<(), Failure> {
    // Inside a map or loop, the place is told, too: it is what the key ends with, but for a fallback's number.
    let place = work.idempotency_key.rsplit_once('@').map_or("", |(_, place)| place);
    let place = place.split_once(":f").map_or(place, |(place, _)| place);
    let is_place = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let place = if is_place { format!(" @{place}") } else { String::new() };
    let line = format!("{} {} {}{place}\n", work.execution_id, work.node_id, work.attempt);
    let written = OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| {
        let length = file.write(line.as_bytes())?;
        if length == line.len() { Ok(()) } else { Err(std::io::ErrorKind::WriteZero.into()) }
    });
    written.map_err(|error| {
        let message = format!("the line could not be added to {}: {error}; check the folder", path.display());
        Failure::new(ErrorClass::Retryable, "effect_failed", message)
    })
}

fn effect_path(folder: Option<&Path>, file: &str) -> Result<PathBuf, Failure> {
    let refuse = |code, message: String| Err(Failure::new(ErrorClass::InvalidRequest, code, message));
    let Some(folder) = folder else {
        let message = "this agent has no folder for debug:effect; start it with one";
        return refuse("effects_disabled", message.to_owned());
    };
    let relative = Path::new(file);
    let is_inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if file.is_empty() || !is_inside {
        return refuse("config_invalid", format!("file {file:?} leaves the effects folder; name a path inside it"));
    }
    Ok(folder.join(relative))
}

#[derive(Deserialize)]
struct Count {
    count: usize,
}

fn list(work: &Work) -> Result<Vec<Output>, Failure> {
    let Count { count } = config(work)?;
    within(work, "count", count as u64, LIST_ITEMS_MAX as u64)?;
    let numbers: Vec<Bytes> = (0..count).map(|number| Bytes::from(number.to_string())).collect();
    Ok(out(join(&numbers)))
}

fn bytes(work: &Work) -> Result<Vec<Output>, Failure> {
    let Count { count } = config(work)?;
    within(work, "count", count as u64, BYTES_MAX as u64)?;
    let mut text = vec![b'x'; count + 2];
    text[0] = b'"';
    text[count + 1] = b'"';
    Ok(out(Bytes::from(text)))
}

/// Piece number n is `n ` (a number and a space), with dots before the space up to the length that is wanted.
async fn stream(work: Work, context: Context) -> Result<Vec<Output>, Failure> {
    #[derive(Deserialize)]
    struct Config {
        count: u64,
        #[serde(default)]
        ms: u64,
        #[serde(default)]
        bytes: usize,
    }
    let Config { count, ms, bytes } = config(&work)?;
    within(&work, "count", count, PIECES_MAX)?;
    within(&work, "bytes", bytes as u64, PIECE_BYTES_MAX as u64)?;
    let mut text = String::new();
    for number in 0..count {
        pause(&work, ms).await?;
        let piece = format!("{number:.<0$} ", bytes.saturating_sub(1));
        text.push_str(&piece);
        context.partial("out", Bytes::from(piece));
        context.progress((number + 1) as f64 / count as f64, "streaming");
    }
    Ok(out(Bytes::from(json!(text).to_string())))
}

async fn file(work: Work, context: Context) -> Result<Vec<Output>, Failure> {
    #[derive(Deserialize)]
    struct Config {
        count: u64,
        #[serde(default)]
        seed: u64,
    }
    let Config { count, seed } = config(&work)?;
    within(&work, "count", count, FILE_BYTES_MAX)?;
    let mut file = context.files().create()?;
    let mut left = count;
    while left > 0 {
        let length = left.min(PIECE_BYTES as u64) as usize;
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        // Every piece is another one.
        (0..length.div_ceil(8)).for_each(|word| piece.put_u64(seed ^ left.rotate_left(32) ^ word as u64));
        file.write(piece.freeze().slice(..length)).await?;
        left -= length as u64;
    }
    Ok(out(file.finish(None).await?))
}

async fn measure(work: Work, context: Context) -> Result<Vec<Output>, Failure> {
    let missing = || Failure::new(ErrorClass::InvalidRequest, "not_a_file", "no file arrived; wire one to `item`");
    let value = work.input("item").first().or_else(|| work.input("in").first()).ok_or_else(missing)?;
    let mut pieces = context.files().open(value).await?;
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece.map_err(|error| crate::artifacts::failed(&error))?.len();
    }
    Ok(out(Bytes::from(bytes.to_string())))
}

fn within(work: &Work, field: &str, value: u64, max: u64) -> Result<(), Failure> {
    if value <= max {
        return Ok(());
    }
    let message = format!("{field} of node {} is {value}, above the limit of {max}; lower it", work.node_id);
    Err(Failure::new(ErrorClass::InvalidRequest, "config_invalid", message))
}

#[cfg(test)]
#[path = "debug_tests.rs"]
pub(super) mod tests;
