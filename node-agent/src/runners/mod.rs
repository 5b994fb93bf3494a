//! What does the work: a [`Runner`] for each node type, found in a [`Registry`].

mod config;
mod debug;
mod evaluate;
mod manifest;
mod native;
mod net;
mod registry;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use heddle_proto::agent as wire;
use heddle_telemetry::Attribute;
use serde::Deserialize;

use crate::attempts::{AttemptsHandle, JobHandle};
use crate::limits::{HANDLE_BYTES_MAX, NOTE_BYTES_MAX, NOTES_MAX, PARTIAL_BYTES_MAX};
use crate::outgoing::Outlet;

pub use crate::artifacts::files::{Files, NewFile};
pub use manifest::{EffectClass, EffectRule, Example, Manifest, Port, PortType};
pub use native::image::Blobs;
pub use net::{Credential, Credentials, Denied, Egress, Guarded, Net, Networks, Secret};
pub use registry::{Registry, RegistryError};

/// Runs every attempt of one node type.
///
/// A cancelled or timed-out attempt drops the future, so a runner holds what must end with it. Work that is ready at the
/// first poll costs neither a task nor a timer. For blind and pollable work the call itself comes after the intent is
/// durable: whatever a runner does, it may do at once.
pub trait Runner: Send + Sync + 'static {
    /// What the type says of itself.
    fn manifest(&self) -> Manifest;

    /// Does the work of one attempt. A panic fails the attempt with code `panic`.
    fn run(&self, work: Work, context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>>;

    /// Cancels a job that an attempt of this type has begun: `work` has its handle, and no inputs. A type that can do so says
    /// it in its manifest. It may be asked twice, also for a job that is over. The attempt is dropped already, or was another
    /// agent's.
    fn cancel_job(&self, work: Work) -> BoxFuture<'static, Result<JobEnd, Failure>> {
        drop(work);
        ready(Ok(JobEnd::Unsupported)).boxed()
    }
}

/// What became of a job that was to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// Its provider has stopped it.
    Cancelled,
    /// It had come to its end before.
    Over,
    /// The node type cannot cancel jobs.
    Unsupported,
}

/// What one attempt has to do.
#[derive(Debug, Clone)]
pub struct Work {
    /// The run, as people see it.
    pub execution_id: String,
    /// The node, as its graph names it.
    pub node_id: String,
    /// One JSON object.
    pub config: Bytes,
    /// The wired ports.
    pub inputs: Vec<Input>,
    /// Number of this attempt of its instance, from 1.
    pub attempt: u32,
    /// Ordinal of this attempt over the whole lineage, from 1.
    pub lineage_attempt: u32,
    /// The same on every automatic retry.
    pub idempotency_key: String,
    /// A pollable job to go on with; empty = none.
    pub handle: Bytes,
    /// W3C trace context of the attempt; empty = none.
    pub traceparent: String,
    /// Whether it may ask the sandbox provider alone.
    pub sandbox: bool,
}

impl Work {
    /// Bytes of the config and of all values.
    pub fn bytes(&self) -> usize {
        self.config.len() + self.inputs.iter().flat_map(|input| &input.values).map(Bytes::len).sum::<usize>()
    }

    /// The JSON values that arrived at a port; empty when it is not wired.
    pub fn input(&self, port: &str) -> &[Bytes] {
        self.inputs.iter().find(|input| input.port == port).map_or(&[], |input| &input.values)
    }
}

/// What arrived at one wired port.
#[derive(Debug, Clone)]
pub struct Input {
    /// The port.
    pub port: String,
    /// Whether the values are the items of a list; else there is exactly one.
    pub list: bool,
    /// JSON, one for each value.
    pub values: Vec<Bytes>,
}

/// The value of one output port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The port.
    pub port: Cow<'static, str>,
    /// Its value as JSON, at most [`crate::limits::OUTPUT_BYTES_MAX`] bytes; a file's description is the file.
    pub value: Bytes,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of error it is. The coordinator decides by it whether to try again.
    pub class: ErrorClass,
    /// Stable, `snake_case`.
    pub code: Cow<'static, str>,
    /// One sentence for people that says what to do.
    pub message: String,
    /// With [`ErrorClass::RateLimited`]: when to come back.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a time to come back at.
    pub fn new(class: ErrorClass, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), retry_after: None }
    }
}

/// The kinds of errors (graph.md, part 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// It may work the next time.
    Retryable,
    /// The provider asks to slow down.
    RateLimited,
    /// It will fail the same way again.
    InvalidRequest,
    /// The credential is missing or refused.
    Auth,
    /// The provider refuses the content.
    ContentPolicy,
    /// It took too long.
    Timeout,
    /// Somebody stopped it.
    Cancelled,
    /// A defect of the node type or of the agent.
    Internal,
    /// Nobody can tell whether it happened.
    UnknownOutcome,
}

/// An attempt's way to the outside while it runs.
#[derive(Debug)]
pub struct Context {
    key: wire::AttemptKey,
    outlet: Outlet,
    /// Absent in tests of runners alone.
    attempts: Option<AttemptsHandle>,
    partials: AtomicU64,
    files: Files,
    notes: Option<Notes>,
    /// Where the attempt itself learns of its job, if it may begin one.
    job: Option<JobHandle>,
}

/// What a runner tells of its work for the attempt's span.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<Attribute>>>);

impl Notes {
    fn add(&self, name: &'static str, value: &str) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < NOTES_MAX {
            notes.push((name, value[..value.floor_char_boundary(NOTE_BYTES_MAX)].to_owned().into()));
        }
    }

    pub(crate) fn take(&self) -> Vec<Attribute> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Context {
    pub(crate) fn new(
        key: wire::AttemptKey,
        outlet: Outlet,
        attempts: AttemptsHandle,
        files: Files,
        notes: Option<Notes>,
        job: Option<JobHandle>,
    ) -> Self {
        Self { key, outlet, attempts: Some(attempts), partials: AtomicU64::new(0), files, notes, job }
    }

    /// The context of a runner that is tested alone.
    #[cfg(test)]
    pub(crate) fn alone(outlet: Outlet, notes: Notes) -> Self {
        let (key, files) = (wire::AttemptKey::default(), Files::new(Arc::default(), "alone"));
        Self { key, outlet, attempts: None, partials: AtomicU64::new(0), files, notes: Some(notes), job: None }
    }

    /// Files: those that arrived, and new ones.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Tells the attempt's span something, under a name of the OpenTelemetry conventions: a fact, never a payload.
    pub fn note(&self, name: &'static str, value: &str) {
        if let Some(notes) = &self.notes {
            notes.add(name, value);
        }
    }

    /// Shows how far the work is, from 0 to 1. Live only: it is dropped when the wire is busy or away.
    pub fn progress(&self, fraction: f64, message: &str) {
        self.outlet.offer(|| {
            let message = message.to_owned();
            wire::agent_message::Kind::Progress(wire::Progress { key: Some(self.key.clone()), fraction, message })
        });
    }

    /// Shows a piece of output. Live only: it is dropped when the wire is busy or away, or when it is larger than
    /// [`PARTIAL_BYTES_MAX`]. The sequence number shows a gap.
    pub fn partial(&self, port: &str, chunk: Bytes) {
        let sequence = self.partials.fetch_add(1, Ordering::Relaxed);
        if chunk.len() > PARTIAL_BYTES_MAX {
            return;
        }
        self.outlet.offer(|| {
            let port = port.to_owned();
            wire::agent_message::Kind::Partial(wire::Partial { key: Some(self.key.clone()), port, sequence, chunk })
        });
    }

    /// Reports a job that any agent can poll. Told again after every reconnect; a later handle replaces an earlier one.
    ///
    /// # Errors
    /// `handle_too_large` above [`HANDLE_BYTES_MAX`].
    pub fn handle(&self, handle: Bytes) -> Result<(), Failure> {
        if handle.len() > HANDLE_BYTES_MAX {
            let message = format!(
                "the job's handle is {} bytes, above the limit of {HANDLE_BYTES_MAX}: keep only what is needed to poll it",
                handle.len()
            );
            return Err(Failure::new(ErrorClass::Internal, "handle_too_large", message));
        }
        if let Some(job) = &self.job {
            job.send_replace(handle.clone());
        }
        if let Some(attempts) = &self.attempts {
            attempts.job_started(self.key.clone(), handle);
        }
        Ok(())
    }
}
