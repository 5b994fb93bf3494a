//! Jobs that take time: they are begun, asked for and cancelled, and what is done is charged.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::limits::{JOB_MS_MAX, JOBS_MAX};
use crate::server::fault;

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It goes on.
    Running,
    /// It is done, and charged.
    Finished,
    /// It was stopped before it was done, and is not charged.
    Cancelled,
}

/// A job in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The key that it was begun with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// How it stands now.
    pub state: JobState,
    /// Whether it costs something.
    pub charged: bool,
    /// How often somebody wanted to cancel it.
    pub cancels: u32,
}

#[derive(Debug)]
struct Kept {
    idempotency_key: Option<String>,
    finishes_at: Instant,
    is_cancelled: bool,
    cancels: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Jobs(Mutex<BTreeMap<u64, Kept>>);

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    ms: u64,
}

impl Kept {
    fn told(&self, number: u64, now: Instant) -> Job {
        let state = match self.is_cancelled {
            true => JobState::Cancelled,
            false if self.finishes_at <= now => JobState::Finished,
            false => JobState::Running,
        };
        Job {
            id: format!("job_{number}"),
            idempotency_key: self.idempotency_key.clone(),
            state,
            charged: state == JobState::Finished,
            cancels: self.cancels,
        }
    }
}

impl Jobs {
    /// Begins, tells or cancels a job; nothing if the request is none of these.
    pub(crate) fn answer(
        &self,
        method: &Method,
        path: &str,
        json: Option<&serde_json::Value>,
        idempotency_key: Option<String>,
    ) -> Option<Response> {
        let id = path.strip_prefix("/v1/jobs")?;
        let response = match (method.as_str(), id.strip_prefix('/'), json) {
            ("POST", None, Some(json)) if id.is_empty() => match Wanted::deserialize(json) {
                Ok(wanted) if wanted.ms <= JOB_MS_MAX => self.begin(wanted.ms, idempotency_key),
                _ => fault(400, "invalid_request_error", &format!("`ms` is a number up to {JOB_MS_MAX}")),
            },
            ("GET", Some(id), _) => self.one(id, |_| {}),
            ("DELETE", Some(id), _) => self.one(id, |kept| {
                kept.cancels += 1;
                kept.is_cancelled |= kept.finishes_at > Instant::now();
            }),
            _ => return None,
        };
        Some(response)
    }

    pub(crate) fn all(&self) -> Vec<Job> {
        let now = Instant::now();
        self.lock().iter().map(|(number, kept)| kept.told(*number, now)).collect()
    }

    /// The same key begins one job, and gives it again when it was cancelled, too.
    fn begin(&self, ms: u64, idempotency_key: Option<String>) -> Response {
        let (now, mut jobs) = (Instant::now(), self.lock());
        let is_same = |kept: &Kept| kept.idempotency_key.is_some() && kept.idempotency_key == idempotency_key;
        if let Some((number, kept)) = jobs.iter().rev().find(|(_, kept)| is_same(kept)) {
            return Json(kept.told(*number, now)).into_response();
        }
        let number = jobs.last_key_value().map_or(0, |(last, _)| *last) + 1;
        let finishes_at = now + Duration::from_millis(ms);
        let kept = Kept { idempotency_key, finishes_at, is_cancelled: false, cancels: 0 };
        let told = kept.told(number, now);
        jobs.insert(number, kept);
        if jobs.len() > JOBS_MAX {
            jobs.pop_first();
        }
        (StatusCode::CREATED, Json(told)).into_response()
    }

    fn one(&self, id: &str, change: impl FnOnce(&mut Kept)) -> Response {
        let number = id.strip_prefix("job_").and_then(|number| number.parse().ok());
        let mut jobs = self.lock();
        match number.and_then(|number| Some((number, jobs.get_mut(&number)?))) {
            Some((number, kept)) => {
                change(kept);
                Json(kept.told(number, Instant::now())).into_response()
            }
            None => fault(404, "job_not_found", "there is no such job"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
