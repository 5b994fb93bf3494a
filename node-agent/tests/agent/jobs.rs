//! Jobs at providers: that of an attempt which is stopped is cancelled by its agent, and any that the coordinator names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use heddle_agent::runners::{
    Context, EffectClass as Effect, ErrorClass as Class, Failure, JobEnd as End, Manifest, Output, Registry, Runner,
    Work,
};
use heddle_agent::start_with;
use heddle_proto::agent::*;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::fake::*;

/// Begins a job, one that is slow when the gate opens, and never ends, or fails at once; tells what is cancelled.
struct Job {
    gate: Arc<Notify>,
    cancelled: mpsc::Sender<Bytes>,
    end: Result<End, Failure>,
}

impl Runner for Job {
    fn manifest(&self) -> Manifest {
        Manifest { effect: Effect::Pollable, cancels_jobs: true, ..Manifest::pure("test:job", "", "") }
    }

    fn run(&self, work: Work, context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        let gate = Arc::clone(&self.gate);
        async move {
            if &work.config[..] == b"{\"slow\":true}" {
                context.progress(0.1, "asks");
                gate.notified().await;
            }
            context.handle(Bytes::from_static(b"\"job-7\""))?;
            if &work.config[..] == b"{\"fails\":true}" {
                return Err(Failure::new(Class::UnknownOutcome, "answer_lost", "the provider hung up"));
            }
            std::future::pending().await
        }
        .boxed()
    }

    fn cancel_job(&self, work: Work) -> BoxFuture<'static, Result<End, Failure>> {
        let (cancelled, end) = (self.cancelled.clone(), self.end.clone());
        async move {
            cancelled.send(work.handle).await.unwrap();
            end
        }
        .boxed()
    }
}

struct Setup {
    gate: Arc<Notify>,
    connection: Connection,
    coordinator: Coordinator,
    cancelled: mpsc::Receiver<Bytes>,
    _agent: heddle_agent::Agent,
    _folder: tempfile::TempDir,
}

async fn set_up(end: Result<End, Failure>) -> Setup {
    let mut coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (sender, cancelled) = mpsc::channel(8);
    let mut registry = Registry::default();
    let gate = Arc::<Notify>::default();
    registry.add(Job { gate: Arc::clone(&gate), cancelled: sender, end }).unwrap();
    let agent = start_with(options(coordinator.address, folder.path(), 1), registry).await.unwrap();
    let connection = coordinator.welcome().await;
    Setup { gate, connection, coordinator, cancelled, _agent: agent, _folder: folder }
}

async fn job_end(connection: &mut Connection) -> (Option<finished::Outcome>, JobEnd) {
    let Kind::Finished(finished) = connection.next().await else { panic!("expected an end") };
    let job = finished.job();
    (finished.outcome, job)
}

#[tokio::test]
async fn an_agent_cancels_the_job_of_an_attempt_that_it_stops() {
    let mut setup = set_up(Ok(End::Cancelled)).await;
    let connection = &mut setup.connection;
    let (key, job) = assign("test:job", "{}");
    connection.assign(job).await;
    assert!(matches!(connection.next().await, Kind::Handle(_)));
    connection.cancel(&key).await;
    let stopped = Some(finished::Outcome::Stopped(Stopped {}));
    assert_eq!(job_end(connection).await, (stopped, JobEnd::Cancelled));
    assert_eq!(setup.cancelled.recv().await.as_deref(), Some(&b"\"job-7\""[..]));
}

#[tokio::test]
async fn work_that_is_beginning_a_job_is_waited_for() {
    let mut setup = set_up(Ok(End::Cancelled)).await;
    let connection = &mut setup.connection;
    let (key, job) = assign("test:job", r#"{"slow":true}"#);
    connection.assign(job).await;
    assert!(matches!(connection.next().await, Kind::Progress(_)));
    connection.cancel(&key).await;
    setup.gate.notify_one();
    assert!(matches!(connection.next().await, Kind::Handle(_)), "the coordinator knows it, too");
    assert_eq!(job_end(connection).await.1, JobEnd::Cancelled);
}

#[tokio::test]
async fn the_end_of_an_attempt_brings_the_handle_that_it_has_told_just_before() {
    let mut setup = set_up(Ok(End::Cancelled)).await;
    // The supervisor hears of the end first: it takes no message before it.
    let (_, job) = assign("test:job", r#"{"fails":true}"#);
    setup.connection.assign(job).await;
    let Kind::Finished(end) = setup.connection.next().await else { panic!("expected an end") };
    assert_eq!(end.handle, &b"\"job-7\""[..]);
    assert_eq!(failure(end.outcome.unwrap()).0, ErrorClass::UnknownOutcome);
}

#[tokio::test]
async fn an_end_that_is_told_to_the_next_session_brings_its_handle_again() {
    let mut setup = set_up(Err(Failure::new(Class::Retryable, "busy", "the provider is busy"))).await;
    let (key, job) = assign("test:job", "{}");
    setup.connection.assign(job).await;
    assert!(matches!(setup.connection.next().await, Kind::Handle(_)));
    setup.connection.cancel(&key).await;
    assert!(matches!(setup.connection.next().await, Kind::Finished(_)));
    drop(setup.connection);
    let mut connection = setup.coordinator.accept().await;
    connection.welcome(Vec::new()).await;
    let Kind::Finished(end) = connection.next().await else { panic!("expected an end") };
    assert_eq!((end.handle, end.job), (Bytes::from_static(b"\"job-7\""), JobEnd::Unspecified.into()));
}

#[tokio::test]
async fn an_attempt_whose_time_is_over_leaves_no_job() {
    let mut setup = set_up(Ok(End::Over)).await;
    let connection = &mut setup.connection;
    let (_, job) = assign("test:job", "{}");
    connection.assign(Assign { timeout_ms: 100, ..job }).await;
    assert!(matches!(connection.next().await, Kind::Handle(_)));
    let (outcome, end) = job_end(connection).await;
    assert_eq!(failure(outcome.unwrap()).0, ErrorClass::Timeout);
    assert_eq!(end, JobEnd::Over);
}

#[tokio::test]
async fn what_could_not_be_cancelled_is_left_to_the_coordinator() {
    let refused = Failure::new(Class::Retryable, "busy", "the provider is busy");
    let mut setup = set_up(Err(refused)).await;
    let connection = &mut setup.connection;
    let (key, job) = assign("test:job", "{}");
    connection.assign(job).await;
    assert!(matches!(connection.next().await, Kind::Handle(_)));
    connection.cancel(&key).await;
    assert_eq!(job_end(connection).await.1, JobEnd::Unspecified);
    let (key, job) = assign("test:job", "{}");
    let job = Assign { handle: Bytes::from_static(b"\"job-8\""), ..job };
    connection.tell([Tell::CancelJob(CancelJob { job: Some(job) })]).await;
    let Kind::JobCancelled(answer) = connection.next().await else { panic!("an order is answered") };
    assert_eq!((answer.key.as_ref(), answer.end()), (Some(&key), JobEnd::Unspecified));
    assert_eq!(answer.failed.map(|failed| failed.code).as_deref(), Some("busy"));
}

#[tokio::test]
async fn a_job_of_anybody_is_cancelled_for_the_coordinator_without_a_slot() {
    let mut setup = set_up(Ok(End::Cancelled)).await;
    let connection = &mut setup.connection;
    connection.assign(assign("test:job", "{}").1).await;
    assert!(matches!(connection.next().await, Kind::Handle(_)), "the only slot is taken");
    let (key, job) = assign("test:job", "{}");
    let job = Assign { handle: Bytes::from_static(b"\"job-8\""), ..job };
    connection.tell([Tell::CancelJob(CancelJob { job: Some(job) })]).await;
    let Kind::JobCancelled(answer) = connection.next().await else { panic!("an order is answered") };
    assert_eq!((answer.key.as_ref(), answer.end()), (Some(&key), JobEnd::Cancelled));
    assert_eq!(setup.cancelled.recv().await.as_deref(), Some(&b"\"job-8\""[..]));
    let (key, job) = assign("test:unknown", "{}");
    connection.tell([Tell::CancelJob(CancelJob { job: Some(job) })]).await;
    let Kind::JobCancelled(answer) = connection.next().await else { panic!("an order is answered") };
    assert_eq!(answer.key.as_ref(), Some(&key));
    assert_eq!(answer.failed.map(|failed| failed.code).as_deref(), Some("node_type_unavailable"));
}

#[tokio::test]
async fn the_job_of_an_attempt_that_was_given_away_is_not_touched() {
    let mut setup = set_up(Ok(End::Cancelled)).await;
    let (key, job) = assign("test:job", "{}");
    setup.connection.assign(job).await;
    assert!(matches!(setup.connection.next().await, Kind::Handle(_)));
    drop(setup.connection);
    let mut connection = setup.coordinator.accept().await;
    connection.welcome(vec![HeldVerdict { key: Some(key), verdict: Verdict::Stop.into() }]).await;
    assert_eq!(connection.inventory().await, (Vec::new(), Vec::new()));
    // Its slot is free again: the next one runs, and the job of the first was left alone.
    connection.assign(assign("test:job", "{}").1).await;
    assert!(matches!(connection.next().await, Kind::Handle(_)));
    assert!(timeout(Duration::ZERO, setup.cancelled.recv()).await.is_err());
}
