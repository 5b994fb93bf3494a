//! Reads `data.policy`: field by field, so that each fault names its place.

use serde::de::DeserializeOwned;

use super::json::{Json, Member};
use super::problem::{Problem, join, rule, shown};
use crate::concurrency::KeyTemplate;
use crate::limits::{ATTEMPTS_MAX, CACHE_TTL_SECONDS_MAX, KEEP_RUNS_DAYS_MAX, RUN_DEADLINE_MAX};
use crate::policy::{AgentDraft, CacheDraft, PolicyDraft, RetryDraft, RunPolicy};

/// Longest time that a policy may name: ten years, far from any overflow.
const MILLISECONDS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;

/// Reads a policy at a place of the document. `report` takes problems, which lack the node.
pub(super) fn read(policy: Json<'_>, path: &str, report: &mut dyn FnMut(Problem)) -> PolicyDraft {
    read_fields(policy, path, report, |_| false)
}

/// Reads the policy of a node, which says nothing of whole runs.
pub(super) fn read_of_node(policy: Json<'_>, path: &str, report: &mut dyn FnMut(Problem)) -> PolicyDraft {
    read_fields(policy, path, report, |field| {
        if &*field.member.key != "keepRunsDays" {
            return false;
        }
        let message = "A node's policy cannot have keepRunsDays: it is said of whole runs.";
        (field.report)(bad(message, "Write it in the workflow's policy, beside nodes and edges.", &field.path));
        true
    })
}

/// Reads the policy of a workflow, which says something of its runs as well.
pub(super) fn read_of_workflow(
    policy: Json<'_>,
    path: &str,
    report: &mut dyn FnMut(Problem),
) -> (PolicyDraft, RunPolicy) {
    let mut of_runs = RunPolicy::default();
    let draft = read_fields(policy, path, report, |field| {
        match &*field.member.key {
            "keepRunsDays" => of_runs.keep_runs_days = field.number(1..=KEEP_RUNS_DAYS_MAX),
            _ => return false,
        }
        true
    });
    (draft, of_runs)
}

/// Reads all fields that `takes` does not.
fn read_fields(
    policy: Json<'_>,
    path: &str,
    report: &mut dyn FnMut(Problem),
    mut takes: impl FnMut(&mut Field<'_, '_>) -> bool,
) -> PolicyDraft {
    let mut draft = PolicyDraft::default();
    if !policy.is_object() {
        report(bad("policy is not an object.", "Write policy as an object.", path));
        return draft;
    }
    for member in policy.members() {
        let mut field = Field { path: join(path, &member.key), member: &member, report };
        if takes(&mut field) {
            continue;
        }
        match &*member.key {
            "retry" => draft.retry = field.object(read_retry),
            "timeoutMs" => draft.timeout_ms = field.number(1..=MILLISECONDS_MAX),
            "deadlineMs" => draft.deadline_ms = field.number(1..=RUN_DEADLINE_MAX.as_millis()),
            "onError" => draft.on_error = field.value("\"fail\", \"continue\" or \"fallback\""),
            // Its entries are nodes of a kind: see `fallback`.
            "fallback" => field.expect_list("a list of {\"nodeType\", \"config\"}"),
            "concurrencyKey" => draft.concurrency_key = field.key_template(),
            "onUnknown" => draft.on_unknown = field.value("\"park\", \"retry\" or \"fail\""),
            "onRunFailure" => draft.on_run_failure = field.value("\"finish\" or \"stop\""),
            "onItemError" => draft.on_item_error = field.value("\"fail\", \"skip\" or \"collect\""),
            "priority" => draft.priority = field.number(-100..=100),
            "agent" => draft.agent = field.object(read_agent),
            "review" => draft.review = field.value("\"before\" or \"after\""),
            "cache" => draft.cache = field.cache(),
            _ => field.refuse_unknown(),
        }
    }
    draft
}

fn read_retry(retry: Json<'_>, path: &str, report: &mut dyn FnMut(Problem)) -> RetryDraft {
    let mut draft = RetryDraft::default();
    for member in retry.members() {
        let mut field = Field { path: join(path, &member.key), member: &member, report };
        match &*member.key {
            "maxAttempts" => draft.max_attempts = field.number(1..=ATTEMPTS_MAX),
            "initialMs" => draft.initial_ms = field.number(0..=MILLISECONDS_MAX),
            "factor" => draft.factor = field.number(1.0..=100.0),
            "maxMs" => draft.max_ms = field.number(0..=MILLISECONDS_MAX),
            "jitter" => draft.jitter = field.number(0.0..=1.0),
            _ => field.refuse_unknown(),
        }
    }
    draft
}

fn read_agent(agent: Json<'_>, path: &str, report: &mut dyn FnMut(Problem)) -> AgentDraft {
    let mut draft = AgentDraft::default();
    for member in agent.members() {
        let mut field = Field { path: join(path, &member.key), member: &member, report };
        match &*member.key {
            "labels" => draft.labels = field.value("an object of texts").unwrap_or_default(),
            _ => field.refuse_unknown(),
        }
    }
    draft
}

struct Field<'a, 'b> {
    path: String,
    member: &'a Member<'a>,
    report: &'b mut dyn FnMut(Problem),
}

impl Field<'_, '_> {
    /// The value, if it is of the right kind; null is as good as absent.
    fn value<T: DeserializeOwned>(&mut self, expected: &str) -> Option<T> {
        if self.member.value.is_null() {
            return None;
        }
        let value = serde_json::from_str(self.member.value.0).ok();
        if value.is_none() {
            self.refuse(expected);
        }
        value
    }

    fn expect_list(&mut self, expected: &str) {
        if !self.member.value.is_null() && !self.member.value.is_array() {
            self.refuse(expected);
        }
    }

    fn key_template(&mut self) -> Option<KeyTemplate> {
        let text: String = self.value("a text, as \"openai:{{tenant}}\"")?;
        KeyTemplate::parse(&text)
            .map_err(|fault| {
                let message = format!("policy: concurrencyKey cannot be \"{}\": {fault}.", shown(&text));
                let fix = "Write a text in which only {{tenant}} and {{workflow}} are replaced.";
                (self.report)(bad(&message, fix, &self.path));
            })
            .ok()
    }

    fn cache(&mut self) -> Option<CacheDraft> {
        if !self.member.value.is_object() {
            return self.value("\"on\", \"off\" or {\"ttlSeconds\": a number}");
        }
        let mut ttl_seconds = None;
        for member in self.member.value.members() {
            let mut field = Field { path: join(&self.path, &member.key), member: &member, report: self.report };
            match &*member.key {
                "ttlSeconds" => ttl_seconds = field.number(1..=CACHE_TTL_SECONDS_MAX),
                _ => field.refuse_unknown(),
            }
        }
        if self.member.value.get("ttlSeconds").is_none_or(|it| it.is_null()) {
            self.refuse("\"on\", \"off\" or {\"ttlSeconds\": a number}");
        }
        ttl_seconds.map(|ttl_seconds| CacheDraft::For { ttl_seconds })
    }

    fn number<T>(&mut self, bounds: std::ops::RangeInclusive<T>) -> Option<T>
    where
        T: DeserializeOwned + PartialOrd + std::fmt::Display,
    {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        let value = self.value(&expected)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        self.refuse(&expected);
        None
    }

    fn object<T>(&mut self, read: fn(Json<'_>, &str, &mut dyn FnMut(Problem)) -> T) -> Option<T> {
        if self.member.value.is_object() {
            return Some(read(self.member.value, &self.path, self.report));
        }
        if !self.member.value.is_null() {
            self.refuse("an object");
        }
        None
    }

    fn refuse(&mut self, expected: &str) {
        let message = format!("policy: {} cannot be {}.", self.member.key, shown(self.member.value.0));
        (self.report)(bad(&message, &format!("Write {expected}."), &self.path));
    }

    fn refuse_unknown(&mut self) {
        let message = format!("policy has no field \"{}\".", shown(&self.member.key));
        (self.report)(bad(&message, "Take the field out, or correct its name.", &self.path));
    }
}

fn bad(message: &str, fix: &str, path: &str) -> Problem {
    Problem::new(rule::BAD_POLICY, message, fix).at(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{OnError, OnItemError, OnRunFailure, OnUnknown, ReviewWhen};

    fn problems(policy: &str) -> (PolicyDraft, Vec<(&'static str, String)>) {
        let mut found = Vec::new();
        let draft = read(Json(policy), "/p", &mut |problem| found.push((problem.rule, problem.path.unwrap())));
        (draft, found)
    }

    #[test]
    fn a_whole_policy_is_read() {
        let (draft, found) = problems(
            r#"{"retry":{"maxAttempts":3,"initialMs":0,"factor":2,"maxMs":9,"jitter":0.5},"timeoutMs":5,"onError":"fail","onUnknown":"retry","priority":-7,"onRunFailure":"stop","cache":"off","agent":{"labels":{"gpu":"true"}},"concurrencyKey":"a:{{tenant}}","onItemError":"skip","review":"after"}"#,
        );
        assert_eq!(found, []);
        let retry = draft.retry.unwrap();
        assert_eq!((retry.max_attempts, retry.factor, draft.timeout_ms), (Some(3), Some(2.0), Some(5)));
        assert_eq!((draft.on_unknown, draft.on_run_failure), (Some(OnUnknown::Retry), Some(OnRunFailure::Stop)));
        assert_eq!((draft.priority, draft.agent.unwrap().labels["gpu"].as_str()), (Some(-7), "true"));
        assert_eq!(draft.review, Some(ReviewWhen::After));
        assert_eq!(draft.concurrency_key.unwrap().to_string(), "a:{{tenant}}");
        assert_eq!((draft.on_error, draft.on_item_error), (Some(OnError::Fail), Some(OnItemError::Skip)));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let (_, found) = problems(
            r#"{"retry":{"maxAttempts":0,"pause":1},"timeoutMs":"5","colour":1,"agent":{"labels":{"a":1}},"priority":101,"onUnknown":"no","onError":"ignore","onItemError":1,"fallback":{},"concurrencyKey":"{{input}}","review":"during"}"#,
        );
        let paths: Vec<_> = found.iter().map(|(_, path)| path.as_str()).collect();
        let more = [
            "/p/priority",
            "/p/onUnknown",
            "/p/onError",
            "/p/onItemError",
            "/p/fallback",
            "/p/concurrencyKey",
            "/p/review",
        ];
        let expected = ["/p/retry/maxAttempts", "/p/retry/pause", "/p/timeoutMs", "/p/colour", "/p/agent/labels"];
        assert_eq!(paths, [&expected[..], &more].concat());
        assert!(found.iter().all(|(rule, _)| *rule == rule::BAD_POLICY));
    }

    #[test]
    fn how_long_runs_are_kept_is_said_by_workflows_alone() {
        let kept = |policy: &str| {
            let mut found = Vec::new();
            let (_, of_runs) = read_of_workflow(Json(policy), "/p", &mut |problem| found.push(problem.path.unwrap()));
            (of_runs.keep_runs_days, found)
        };
        let fault = || vec!["/p/keepRunsDays".to_owned()];
        assert_eq!(kept(r#"{"keepRunsDays":90,"timeoutMs":5}"#), (Some(90), Vec::new()));
        assert_eq!(kept(r#"{"keepRunsDays":null}"#), (None, Vec::new()));
        for wrong in ["0", "3651", "1.5", "\"30\""] {
            assert_eq!(kept(&format!("{{\"keepRunsDays\":{wrong}}}")), (None, fault()), "{wrong}");
        }
        let (_, found) = problems(r#"{"keepRunsDays":90}"#);
        assert_eq!(found, [(rule::BAD_POLICY, fault().remove(0))]);
    }

    #[test]
    fn how_long_results_are_shared_is_read() {
        let ttl = |policy: &str| {
            let (draft, found) = problems(policy);
            assert_eq!(found, [], "{policy}");
            draft.cache.map(|cache| cache.ttl().map_or(0, |ttl| ttl.as_millis() / 1_000))
        };
        assert_eq!(ttl(r#"{"cache":null}"#), None);
        assert_eq!(ttl(r#"{"cache":"off"}"#), Some(0));
        assert_eq!(ttl(r#"{"cache":"on"}"#), Some(24 * 60 * 60));
        assert_eq!(ttl(r#"{"cache":{"ttlSeconds":90}}"#), Some(90));
        for (policy, path) in [
            (r#"{"cache":"yes"}"#, "/p/cache"),
            (r#"{"cache":true}"#, "/p/cache"),
            (r#"{"cache":{}}"#, "/p/cache"),
            (r#"{"cache":{"ttlSeconds":0}}"#, "/p/cache/ttlSeconds"),
            (r#"{"cache":{"ttlSeconds":1,"for":2}}"#, "/p/cache/for"),
        ] {
            let (_, found) = problems(policy);
            assert_eq!(found.first(), Some(&(rule::BAD_POLICY, path.to_owned())), "{policy}");
        }
    }
}
