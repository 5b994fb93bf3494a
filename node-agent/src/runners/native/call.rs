//! One call of a native node type: its config and inputs, read and held against the limits.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Answer;
use crate::limits::NATIVE_INPUT_BYTES_MAX;
use crate::runners::config::config;
use crate::runners::{ErrorClass, Failure, Output, Work};

/// What a function is called with.
pub(super) struct Call {
    work: Work,
    running: Running,
}

impl Call {
    pub(super) fn new(work: Work, running: Running) -> Self {
        Self { work, running }
    }

    /// Calls the function, if its inputs are within the limit.
    pub(super) fn answer(&self, function: fn(&Call) -> Answer) -> Answer {
        let bytes = self.work.bytes();
        if bytes > NATIVE_INPUT_BYTES_MAX {
            let message = format!(
                "config and inputs have {bytes} bytes, above the limit of {NATIVE_INPUT_BYTES_MAX}; split the work"
            );
            return Err(refused("input_too_large", message));
        }
        function(self)
    }

    /// The fields of the config that the node type knows.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        config(&self.work)
    }

    /// The JSON texts at a port, as they came.
    pub(super) fn raw(&self, port: &str) -> &[Bytes] {
        self.work.input(port)
    }

    /// The values at a port.
    pub(super) fn values(&self, port: &str) -> Result<Vec<Value>, Failure> {
        self.raw(port).iter().map(|json| read(port, json)).collect()
    }

    /// The one value at a port, if there is any.
    pub(super) fn value(&self, port: &str) -> Result<Option<Value>, Failure> {
        self.raw(port).first().map(|json| read(port, json)).transpose()
    }

    /// The value that the port must have.
    pub(super) fn needed(&self, port: &str) -> Result<Value, Failure> {
        let missing = || refused("input_missing", format!("input {port} has no value; wire it, or set {port}"));
        self.value(port)?.ok_or_else(missing)
    }

    /// The text that the port must have.
    pub(super) fn text(&self, port: &str) -> Result<String, Failure> {
        self.needed(port).map(as_text)
    }

    /// Fails once nobody waits for the answer any more. Asked inside of every long loop.
    pub(super) fn go_on(&self) -> Result<(), Failure> {
        match self.running.is_stopped() {
            false => Ok(()),
            true => Err(Failure::new(ErrorClass::Cancelled, "cancelled", "the attempt was stopped")),
        }
    }
}

fn read(port: &str, json: &Bytes) -> Result<Value, Failure> {
    serde_json::from_slice(json).map_err(|error| {
        let message = format!("the value at input {port} is not JSON: {error}; report this as a defect");
        Failure::new(ErrorClass::Internal, "input_invalid", message)
    })
}

/// Numbers, booleans and JSON become compact text.
pub(in crate::runners) fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The caller's fault.
pub(in crate::runners) fn refused(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(ErrorClass::InvalidRequest, code, message)
}

/// One output.
pub(in crate::runners) fn output(port: &'static str, value: impl Into<Value>) -> Output {
    output_json(port, value.into().to_string())
}

/// One output that is JSON already.
pub(in crate::runners) fn output_json(port: &'static str, json: impl Into<Bytes>) -> Output {
    Output { port: Cow::Borrowed(port), value: json.into() }
}

/// Whether somebody still waits for the answer.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<AtomicBool>);

impl Running {
    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn stop_on_drop(&self) -> Stop {
        Stop(self.clone())
    }
}

/// Stops what it belongs to when it is dropped.
pub(super) struct Stop(Running);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
