//! The gateway's numbers, all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use heddle_artifacts::Traffic;
use heddle_telemetry::metrics::{self, Counter, Histogram, Labels, Page};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::limits::CONNECTIONS_MAX;

/// What stands for a route where there is none.
const NO_ROUTE: &str = "none";
const STATUS_MIN: usize = 100;
const STATUSES: usize = 500;

/// Why a client that followed a run does not any more: the word of each, at the place of its [`Closed`].
const REASONS: [&str; 6] = ["end", "client", "time", "stopping", "error", "slow"];

/// Why a client that followed a run does not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The run is over, and all of it was told.
    End,
    /// The client went away.
    Client,
    /// A stream lasts only so long; its client connects again.
    Time,
    /// The gateway stops.
    Stopping,
    /// The coordinator was away for too long, or said no.
    Error,
    /// The client took nothing for too long.
    Slow,
}

impl Closed {
    /// Its word.
    pub(crate) fn name(self) -> &'static str {
        REASONS[self as usize]
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// By the templates of routes, so there are few. Read, a look-up; the counts themselves are additions.
    routes: RwLock<HashMap<String, Arc<OfRoute>>>,
    closed: [Counter; REASONS.len()],
}

#[derive(Debug)]
struct OfRoute {
    /// By status.
    requests: Box<[AtomicU64; STATUSES]>,
    took: Histogram,
}

impl Default for OfRoute {
    fn default() -> Self {
        Self { requests: Box::new([const { AtomicU64::new(0) }; STATUSES]), took: Histogram::new() }
    }
}

impl Numbers {
    /// A request of this route was answered.
    pub(crate) fn answered(&self, route: Option<&str>, status: u16, took: Duration) {
        let numbers = self.of(route.unwrap_or(NO_ROUTE));
        let place = usize::from(status).saturating_sub(STATUS_MIN).min(STATUSES - 1);
        numbers.requests[place].fetch_add(1, Ordering::Relaxed);
        numbers.took.observe(took);
    }

    /// A client does not follow its run any more.
    pub(crate) fn closed(&self, why: Closed) {
        self.closed[why as usize].add(1);
    }

    fn of(&self, route: &str) -> Arc<OfRoute> {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned();
        known.unwrap_or_else(|| {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(routes.entry(route.to_owned()).or_default())
        })
    }

    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let statuses: Vec<String> = (STATUS_MIN..STATUS_MIN + STATUSES).map(|status| status.to_string()).collect();
        let mut counted = Vec::new();
        for (route, numbers) in routes.iter() {
            let counts = numbers.requests.iter().map(|count| count.load(Ordering::Relaxed));
            let some = counts.zip(&statuses).filter(|(count, _)| *count > 0);
            counted.extend(some.map(|(count, status)| ([("route", route.as_str()), ("status", status)], count)));
        }
        let requests = counted.iter().map(|(labels, count)| (&labels[..], *count));
        page.counters("heddle_gateway_requests", "Answers by template of the route and status", requests)?;
        let labels: Vec<_> =
            routes.iter().map(|(route, numbers)| ([("route", route.as_str())], &numbers.took)).collect();
        let took = labels.iter().map(|(labels, took)| (&labels[..], *took));
        page.histograms("heddle_gateway_request_seconds", "From a request's head to its answer's head", took)?;
        let labels = REASONS.map(|reason| [("reason", reason)]);
        let closed = labels.iter().zip(&self.closed).map(|(labels, count)| (&labels[..] as Labels<'_>, count.get()));
        page.counters("heddle_gateway_followers_closed", "Event streams that have ended, by reason", closed)
    }
}

/// Makes the numbers known to who may ask for them.
pub(crate) fn register(app: &Arc<App>, places: &Arc<Semaphore>) {
    if !metrics::is_wanted() {
        return;
    }
    let (app, places) = (Arc::downgrade(app), Arc::clone(places));
    metrics::register(move |page| {
        let Some(app) = app.upgrade() else { return Ok(()) };
        app.numbers.write(page)?;
        write_traffic(page, &app.artifacts.traffic)?;
        let taken = |max: usize, places: &Semaphore| max.saturating_sub(places.available_permits()) as f64;
        // The doorman has taken the place of the next connection already.
        let connections = (taken(CONNECTIONS_MAX, &places) - 1.0).max(0.0);
        page.gauge("heddle_gateway_connections", "Open connections of clients", connections)?;
        let followers = app.followers.count() as f64;
        page.gauge("heddle_gateway_followers", "Clients that follow a run as an event stream", followers)?;
        let feeds = app.feeds.count() as f64;
        page.gauge("heddle_gateway_feeds", "Streams of the coordinator that these clients share", feeds)?;
        let is_ready = f64::from(u8::from(app.watch.is_ready()));
        page.gauge("heddle_gateway_coordinator_ready", "1 while the coordinator takes requests", is_ready)
    });
}

fn write_traffic(page: &mut Page<'_>, traffic: &Traffic) -> fmt::Result {
    let artifacts = traffic.artifacts().map(|(word, count)| ([("operation", word)], count));
    let artifacts = artifacts.iter().map(|(labels, count)| (&labels[..], *count));
    page.counters("heddle_gateway_artifacts", "Artifacts by what the store was asked for", artifacts)?;
    let bytes = traffic.bytes().map(|(word, count)| ([("operation", word)], count));
    let bytes = bytes.iter().map(|(labels, count)| (&labels[..], *count));
    page.counters("heddle_gateway_artifact_bytes", "Bytes of artifacts, to the store and from it", bytes)?;
    page.counter("heddle_gateway_artifact_errors", "What the store did not do", traffic.errors())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_template_and_status() {
        let numbers = Numbers::default();
        numbers.answered(Some("/api/v1/workflows/{id}"), 200, Duration::from_millis(3));
        numbers.answered(Some("/api/v1/workflows/{id}"), 404, Duration::from_millis(3));
        numbers.answered(None, 999, Duration::from_millis(3));
        let count =
            |route: &str, status: usize| numbers.of(route).requests[status - STATUS_MIN].load(Ordering::Relaxed);
        assert_eq!((count("/api/v1/workflows/{id}", 200), count("/api/v1/workflows/{id}", 404)), (1, 1));
        assert_eq!((count(NO_ROUTE, 599), count(NO_ROUTE, 200)), (1, 0));
        assert_eq!((Closed::Stopping.name(), Closed::Slow.name()), ("stopping", "slow"));
    }
}
