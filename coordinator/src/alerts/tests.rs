//! Rules and incidents on both databases.

use std::sync::Arc;

use heddle_core::alert::{AlertCondition, AlertRule, OpenIncident};
use heddle_core::id::{AlertId, IncidentId, WorkflowId};
use heddle_core::limits::IDEMPOTENCY_TTL;
use heddle_core::partition::batch::{IdempotencyKey, KeyRow};
use heddle_core::time::{Span, Timestamp};
use heddle_core::value::Digest;
use tempfile::TempDir;

use super::{
    AlertChange, AlertRow, AlertRows, IncidentFilter, IncidentRow, PutAlert, columns, condition, event, kind_name,
};
use crate::auth::Tenant;
use crate::journal::postgres::{self, PostgresJournal};
use crate::journal::sqlite::{self, SqliteJournal};
use crate::records::{GraphText, Records, SaveWorkflow, Usage};

const WORKFLOW: WorkflowId = WorkflowId(7);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn rate(millionths: u32) -> AlertRule {
    let condition = AlertCondition::ErrorRate { window: Span::from_seconds(60), millionths, runs_min: 3 };
    AlertRule { condition, close_after: Span::from_seconds(5) }
}

fn row(id: u128, tenant: &str) -> AlertRow {
    AlertRow {
        id: AlertId(id),
        tenant: tenant.into(),
        workflow: WORKFLOW,
        rule: rate(200_000),
        revision: 1,
        subject: "grace".into(),
        created_at: at(1_000),
        updated_at: at(1_000),
    }
}

fn incident(id: u128, rule: &AlertRow) -> IncidentRow {
    IncidentRow {
        id: IncidentId(id),
        rule: rule.id,
        tenant: rule.tenant.clone(),
        workflow: rule.workflow,
        kind: 1,
        opened_at: at(2_000),
        well_since: None,
        closed_at: None,
        event: Arc::from(&b"{}"[..]),
    }
}

fn all(tenant: &Tenant) -> IncidentFilter {
    IncidentFilter { tenant: tenant.clone(), workflow: None, is_open: None }
}

trait Database: AlertRows + Records {}
impl<T: AlertRows + Records> Database for T {}

async fn save_workflow(database: &dyn Database, tenant: &Tenant) {
    let digest = heddle_core::value::Digest([1; 32]);
    let graph = GraphText { nodes: "[]".into(), edges: "[]".into(), policy: "".into() };
    database.put_graph(tenant.clone(), digest, graph).await.unwrap();
    let save = SaveWorkflow {
        tenant: tenant.clone(),
        id: WORKFLOW,
        must_exist: false,
        name: Some("w".into()),
        description: None,
        tags: None,
        is_active: None,
        graph: Some(digest),
        base_updated_at: None,
        now: at(1),
        usage: Usage::default(),
        key: None,
        subject: "grace".into(),
    };
    database.save_workflow(save).await.unwrap();
}

#[tokio::test]
async fn rules_and_incidents_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let journal = SqliteJournal::open(sqlite::Options::new(folder.path().join("heddle.db"))).unwrap();
    let database = Arc::new(journal);
    once_with_a_key(database.clone()).await;
    rules_and_incidents(database).await;
}

#[tokio::test]
async fn rules_and_incidents_on_postgres() {
    let Some(server) = heddle_test_postgres::shared() else { return };
    let database = Arc::new(PostgresJournal::open(postgres::Options::new(server.database())).await.unwrap());
    once_with_a_key(database.clone()).await;
    rules_and_incidents(database).await;
}

/// Whatever becomes of the rule: whoever asks again is told what was made.
async fn once_with_a_key(database: Arc<dyn Database>) {
    let key = |body| {
        let key = IdempotencyKey { tenant: "keyed".into(), route: "POST alerts".into(), key: "one".into() };
        Some(KeyRow { key, body: Digest([body; 32]) })
    };
    let put = async |row: &AlertRow, body| database.put_alert(row.clone(), key(body), 1).await.unwrap();
    let [first, second] = [row(5, "keyed"), row(6, "keyed")];
    let twins = futures::future::join_all([&first, &second].map(|row| put(row, 1))).await;
    let made = if twins[0] == PutAlert::Done { &first } else { &second };
    let again = PutAlert::Replayed(Box::new(made.clone()));
    assert!(twins.contains(&PutAlert::Done) && twins.contains(&again), "{twins:?}");
    let tenant = Tenant::of_test("keyed");
    assert_eq!(database.alerts(tenant.clone(), WORKFLOW).await.unwrap().len(), 1);
    assert_eq!(put(&second, 2).await, PutAlert::KeyMismatch);
    database.delete_alert(tenant.clone(), WORKFLOW, made.id, at(2_000)).await.unwrap();
    assert_eq!(put(&second, 1).await, again);
    assert_eq!(database.alerts(tenant, WORKFLOW).await.unwrap(), []);
    // A key is good for a day.
    let later = AlertRow { created_at: at(1_000).plus(IDEMPOTENCY_TTL), ..row(7, "keyed") };
    assert_eq!(put(&later, 2).await, PutAlert::Done);
    assert!(database.delete_alert(Tenant::of_test("keyed"), WORKFLOW, later.id, at(2_000)).await.unwrap());
}

async fn rules_and_incidents(database: Arc<dyn Database>) {
    let (tenant, other) = (Tenant::of_test("default"), Tenant::of_test("acme"));
    save_workflow(&*database, &tenant).await;
    let (first, second) = (row(1, "default"), row(2, "default"));
    for (row, expected) in
        [(&first, PutAlert::Done), (&second, PutAlert::Done), (&row(3, "default"), PutAlert::TooMany)]
    {
        assert_eq!(database.put_alert(row.clone(), None, 2).await.unwrap(), expected);
    }
    database.put_alert(row(4, "acme"), None, 2).await.unwrap();
    let rows = database.alerts(tenant.clone(), WORKFLOW).await.unwrap();
    assert_eq!(rows.iter().map(|found| &found.row).collect::<Vec<_>>(), [&first, &second]);
    let page = database.all_alerts(Some(first.id), 2).await.unwrap();
    let page: Vec<_> = page.iter().map(|found| (found.row.id.0, found.is_orphan)).collect();
    assert_eq!(page, [(2, false), (4, true)], "the other tenant has no such workflow");

    // One incident at a time, whoever looks at the same moment.
    let open = |id| {
        let (database, incident) = (Arc::clone(&database), incident(id, &first));
        async move { database.open_incident(incident, 1).await.unwrap() }
    };
    let opened = futures::future::join_all((10..20).map(open)).await;
    assert_eq!(opened.iter().filter(|opened| **opened).count(), 1, "{opened:?}");
    let id = database.incidents(all(&tenant), None, 10).await.unwrap()[0].id;
    assert_eq!(database.count_open_incidents().await.unwrap(), 1);
    assert!(database.incidents(all(&other), None, 10).await.unwrap().is_empty());
    let found = database.alerts(tenant.clone(), WORKFLOW).await.unwrap();
    assert_eq!(found[0].open, Some((id, OpenIncident { well_since: None })));

    // The time begins once, and closes only what has been well since then.
    assert!(database.note_well(id, Some(at(3_000))).await.unwrap());
    assert!(!database.note_well(id, Some(at(4_000))).await.unwrap());
    assert!(!database.close_incident(id, Some(at(4_000)), at(9_000)).await.unwrap());
    assert!(database.note_well(id, None).await.unwrap());
    assert!(!database.close_incident(id, Some(at(3_000)), at(9_000)).await.unwrap());
    assert!(database.note_well(id, Some(at(5_000))).await.unwrap());
    assert!(database.close_incident(id, Some(at(5_000)), at(9_000)).await.unwrap());
    assert!(!database.close_incident(id, Some(at(5_000)), at(9_001)).await.unwrap());
    assert!(!database.note_well(id, None).await.unwrap(), "it is closed");
    assert!(open(30).await, "what is bad again opens another one");

    // What was measured for a rule that has changed since opens nothing.
    let change =
        AlertChange { workflow: WORKFLOW, id: second.id, rule: rate(1), subject: "ada".into(), now: at(6_000) };
    let changed = database.change_alert(tenant.clone(), change.clone()).await.unwrap().unwrap().row;
    assert_eq!((changed.rule, changed.revision, &*changed.subject.0), (rate(1), 2, "ada"));
    assert!(!database.open_incident(incident(40, &second), 1).await.unwrap());
    assert!(database.open_incident(incident(41, &second), 2).await.unwrap());
    assert_eq!(database.change_alert(other.clone(), change.clone()).await.unwrap(), None);
    let condition = AlertCondition::NoSuccessFor { span: Span::from_seconds(9) };
    let other_kind = AlertChange { rule: AlertRule { condition, ..rate(1) }, ..change };
    assert_eq!(database.change_alert(tenant.clone(), other_kind).await.unwrap(), None, "a rule stays of its kind");

    // The youngest first, page by page.
    let listed = |filter: IncidentFilter, before, limit| {
        let rows = database.incidents(filter, before, limit);
        async move { rows.await.unwrap().iter().map(|row| row.id.0).collect::<Vec<_>>() }
    };
    assert_eq!(listed(all(&tenant), None, 2).await, [41, 30]);
    assert_eq!(listed(all(&tenant), Some(IncidentId(30)), 2).await, [id.0]);
    let is_open = |is_open| IncidentFilter { is_open: Some(is_open), ..all(&tenant) };
    assert_eq!(listed(is_open(false), None, 9).await, [id.0]);
    assert_eq!(listed(is_open(true), None, 9).await, [41, 30]);
    let elsewhere = IncidentFilter { workflow: Some(WorkflowId(8)), ..all(&tenant) };
    assert!(listed(elsewhere, None, 9).await.is_empty());

    // What a rule found is over when the rule goes.
    assert!(!database.delete_alert(other.clone(), WORKFLOW, second.id, at(7_000)).await.unwrap());
    assert!(database.delete_alert(tenant.clone(), WORKFLOW, second.id, at(7_000)).await.unwrap());
    assert!(!database.delete_alert(tenant.clone(), WORKFLOW, second.id, at(7_001)).await.unwrap());
    let rows = database.incidents(all(&tenant), None, 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.closed_at).collect::<Vec<_>>(), [Some(at(7_000)), None, Some(at(9_000))]);
    database.forget_alerts(tenant.clone(), WORKFLOW, at(8_000)).await.unwrap();
    assert_eq!(database.count_open_incidents().await.unwrap(), 0);
    assert!(database.alerts(tenant.clone(), WORKFLOW).await.unwrap().is_empty());
    assert_eq!(database.alerts(other, WORKFLOW).await.unwrap().len(), 1);

    assert_eq!(database.expire_incidents(at(8_001), at(9_999), 1).await.unwrap(), 1);
    assert_eq!(database.expire_incidents(at(8_001), at(9_999), 9).await.unwrap(), 1);
    assert_eq!(listed(all(&tenant), None, 9).await, [id.0], "that closed at 9,000");
}

#[test]
fn conditions_are_kept_as_they_are() {
    let (window, threshold) = (Span::from_seconds(60), Span::from_millis(70));
    for (kept, name) in [
        (AlertCondition::ErrorRate { window, millionths: 1_000_000, runs_min: 3 }, "error_rate"),
        (AlertCondition::DurationP95 { window, threshold, runs_min: 4 }, "duration_p95"),
        (AlertCondition::NoSuccessFor { span: window }, "no_success_for"),
    ] {
        assert_eq!(condition(columns(kept)), Some(kept));
        assert_eq!(kind_name(columns(kept).0), name);
    }
    assert_eq!(condition((4, 1, 1, 1)), None);
    assert_eq!(condition((1, -1, 1, 1)), None);
}

#[test]
fn an_event_names_its_incident() {
    let id = IncidentId(5);
    let measure = heddle_core::alert::Measure::ErrorRate { runs: 4, failed: 3 };
    let told = event(&row(1, "default"), id, measure, &["exec_1".into()], at(0));
    assert_eq!(told["id"].as_str().unwrap().trim_start_matches("evt_"), id.to_string().trim_start_matches("inc_"));
    assert_eq!((&told["type"], &told["timestamp"]), (&"workflow.alert".into(), &"1970-01-01T00:00:00.000Z".into()));
    assert_eq!(told["data"]["measured"]["errorRate"], 0.75);
    assert_eq!(told["data"]["condition"]["threshold"], 0.2);
    assert_eq!(told["data"]["exampleExecutionIds"][0], "exec_1");
}
