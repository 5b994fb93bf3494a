//! When rules find something, and when that is over.

use super::*;
use crate::id::{RunId, WorkflowId};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn run(status: RunStatus, millis: i64) -> EndedRun {
    let (created_at, ended_at) = (at(0), at(millis));
    EndedRun { run: RunId(1), workflow: WorkflowId(1), status, created_at, ended_at, code: None, class: None }
}

fn rate(millionths: u32, runs_min: u32) -> AlertCondition {
    AlertCondition::ErrorRate { window: Span::from_seconds(60), millionths, runs_min }
}

#[test]
fn the_error_rate_is_of_runs_that_ended_by_themselves() {
    let ended =
        [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled, RunStatus::Cancelled].map(|it| run(it, 5));
    let measure = rate(500_000, 1).measure(&ended, None, at(0), at(9));
    assert_eq!(measure, Measure::ErrorRate { runs: 2, failed: 1 });
    assert!(rate(500_000, 2).is_bad(measure), "the threshold itself is too much");
    assert!(!rate(500_001, 2).is_bad(measure));
    assert!(!rate(500_000, 3).is_bad(measure), "so few runs say nothing");
    assert!(!rate(1, 0).is_bad(Measure::ErrorRate { runs: 0, failed: 0 }));
}

#[test]
fn the_slowest_twentieth_counts() {
    let condition = |threshold, runs_min| AlertCondition::DurationP95 {
        window: Span::from_seconds(60),
        threshold: Span::from_millis(threshold),
        runs_min,
    };
    let mut ended: Vec<_> = (1..=20).map(|millis| run(RunStatus::Completed, millis)).collect();
    ended.push(run(RunStatus::Cancelled, 9_000));
    let measure = condition(19, 1).measure(&ended, None, at(0), at(9));
    assert_eq!(measure, Measure::DurationP95 { runs: 20, p95: Some(Span::from_millis(19)) });
    assert!(
        condition(19, 20).is_bad(measure) && !condition(20, 20).is_bad(measure) && !condition(19, 21).is_bad(measure)
    );
    let none = condition(0, 0).measure(&[], None, at(0), at(9));
    assert!(!condition(0, 0).is_bad(none));
}

#[test]
fn a_rule_that_is_young_waits_for_the_first_success() {
    let condition = AlertCondition::NoSuccessFor { span: Span::from_millis(100) };
    let measure = |last: Option<i64>, now| condition.measure(&[], last.map(at), at(1_000), at(now));
    assert!(!condition.is_bad(measure(None, 1_099)) && condition.is_bad(measure(None, 1_100)));
    assert!(!condition.is_bad(measure(Some(500), 1_099)), "a success before the rule says nothing of it");
    assert!(!condition.is_bad(measure(Some(1_200), 1_299)) && condition.is_bad(measure(Some(1_200), 1_300)));
}

#[test]
fn an_incident_closes_when_all_was_well_for_a_while() {
    let rule = AlertRule { condition: rate(500_000, 1), close_after: Span::from_millis(100) };
    let (bad, good) = (Measure::ErrorRate { runs: 2, failed: 2 }, Measure::ErrorRate { runs: 2, failed: 0 });
    let open = |well_since: Option<i64>| Some(OpenIncident { well_since: well_since.map(at) });
    assert_eq!(rule.step(good, None, at(0)), Step::Nothing);
    assert_eq!(rule.step(bad, None, at(0)), Step::Open);
    assert_eq!(rule.step(bad, open(None), at(10)), Step::Nothing);
    assert_eq!(rule.step(good, open(None), at(20)), Step::Well);
    assert_eq!(rule.step(good, open(Some(20)), at(119)), Step::Nothing);
    assert_eq!(rule.step(bad, open(Some(20)), at(119)), Step::Unwell, "to and fro closes nothing");
    assert_eq!(rule.step(good, open(Some(20)), at(120)), Step::Close);
    let at_once = AlertRule { close_after: Span::ZERO, ..rule };
    assert_eq!(at_once.step(good, open(None), at(20)), Step::Close);
}
