//! From the text of a document to a [`Workflow`], or to all that is wrong with it.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::order::{cycle, successors};
use super::{Task, Workflow};
use crate::json_shape::{Kind, expect, optional};
use crate::limits::{IMPORT_EDGES_MAX, IMPORT_TASKS_MAX};

/// Versions of the format that say what is read here in the same way.
const VERSIONS: [&str; 2] = ["1.5", "1.6"];
const SPECIFICATION: &str = "/workflow/specification/tasks";
const EXECUTION: &str = "/workflow/execution/tasks";

/// Reads a document. The faults of its shape come before those of what it says.
pub(super) fn workflow(text: &str) -> Result<Workflow, Vec<String>> {
    let document: Value = serde_json::from_str(text).map_err(|error| vec![format!("it is not JSON: {error}")])?;
    // Other versions have other places: all that would be missing here says nothing.
    version(&document).map_err(|fault| vec![fault])?;
    none(shape_faults(&document))?;
    let specified = items(&document, SPECIFICATION);
    let place_of = places(specified)?;
    let seconds = run_times(&document, specified)?;
    let parents = parents(specified, &place_of)?;
    let tasks = specified.iter().zip(seconds).zip(parents).map(|((task, seconds), parents)| Task {
        id: text_of(task, "id").to_owned(),
        name: text_of(task, "name").to_owned(),
        seconds,
        parents: parents.into_iter().collect(),
    });
    let tasks: Vec<Task> = tasks.collect();
    if let Some(cycle) = cycle(&successors(tasks.iter().map(|task| task.parents.as_slice()))) {
        let names: Vec<&str> = cycle.iter().chain(cycle.first()).map(|place| &*tasks[*place].id).collect();
        return Err(vec![format!("tasks in {SPECIFICATION} wait for each other: {}", names.join(" -> "))]);
    }
    let description = document["description"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(Workflow { name: text_of(&document, "name").to_owned(), description, tasks })
}

fn none(faults: Vec<String>) -> Result<(), Vec<String>> {
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn items<'a>(document: &'a Value, place: &str) -> &'a [Value] {
    document.pointer(place).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What is missing, or of another kind than it should be.
fn shape_faults(document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut add = |checked: Result<(), String>| faults.extend(checked.err());
    add(expect(document.get("name"), Kind::Text, "/name"));
    add(optional(document.get("description"), Kind::Text, "/description"));
    for list in [SPECIFICATION, EXECUTION] {
        add(expect(document.pointer(list), Kind::Array, list));
    }
    let specified = items(document, SPECIFICATION);
    match specified.len() {
        0 if document.pointer(SPECIFICATION).is_some_and(Value::is_array) => {
            add(Err(format!("there are no tasks in {SPECIFICATION}")));
        }
        count if count > IMPORT_TASKS_MAX => {
            add(Err(format!("there are {count} tasks in {SPECIFICATION}; a graph has at most {IMPORT_TASKS_MAX}")));
        }
        _ => {}
    }
    for (number, task) in specified.iter().enumerate() {
        let place = format!("{SPECIFICATION}/{number}");
        for key in ["id", "name"] {
            add(filled(task, key, &place));
        }
        for key in ["parents", "children"] {
            let place = format!("{place}/{key}");
            add(expect(task.get(key), Kind::Array, &place));
            for (number, id) in items(task, &format!("/{key}")).iter().enumerate() {
                add(expect(Some(id), Kind::Text, &format!("{place}/{number}")));
            }
        }
    }
    for (number, task) in items(document, EXECUTION).iter().enumerate() {
        let place = format!("{EXECUTION}/{number}");
        add(filled(task, "id", &place));
        add(expect(task.get("runtimeInSeconds"), Kind::Number, &format!("{place}/runtimeInSeconds")));
    }
    faults
}

fn filled(task: &Value, key: &str, place: &str) -> Result<(), String> {
    let place = format!("{place}/{key}");
    expect(task.get(key), Kind::Text, &place)?;
    if text_of(task, key).is_empty() { Err(format!("the text at {place} is empty")) } else { Ok(()) }
}

fn version(document: &Value) -> Result<(), String> {
    expect(Some(document), Kind::Object, "")?;
    expect(document.get("schemaVersion"), Kind::Text, "/schemaVersion")?;
    match text_of(document, "schemaVersion") {
        known if VERSIONS.contains(&known) => Ok(()),
        other => Err(format!("/schemaVersion is {other:?}; expected {}", VERSIONS.join(" or "))),
    }
}

/// Where each task stands.
fn places(specified: &[Value]) -> Result<HashMap<&str, usize>, Vec<String>> {
    let (mut places, mut faults) = (HashMap::with_capacity(specified.len()), Vec::new());
    for (number, task) in specified.iter().enumerate() {
        let id = text_of(task, "id");
        if let Some(first) = places.insert(id, number) {
            faults.push(format!("{SPECIFICATION}/{number}/id is {id:?}, and so is {SPECIFICATION}/{first}/id"));
        }
    }
    none(faults).map(|()| places)
}

/// How long each task ran. What ran besides, such as transfers of files, is no task and passed over.
fn run_times(document: &Value, specified: &[Value]) -> Result<Vec<f64>, Vec<String>> {
    let (mut known, mut faults) = (HashMap::new(), Vec::new());
    for (number, task) in items(document, EXECUTION).iter().enumerate() {
        let seconds = task["runtimeInSeconds"].as_f64().unwrap_or(f64::NAN);
        let id = text_of(task, "id");
        if !seconds.is_finite() || seconds < 0.0 {
            faults.push(format!("{EXECUTION}/{number}/runtimeInSeconds is {seconds}; expected no less than 0"));
        }
        if let Some((first, _)) = known.insert(id, (number, seconds)) {
            faults.push(format!("{EXECUTION}/{number}/id is {id:?}, and so is {EXECUTION}/{first}/id"));
        }
    }
    let mut seconds = Vec::with_capacity(specified.len());
    for (number, task) in specified.iter().enumerate() {
        let id = text_of(task, "id");
        match known.get(id) {
            Some((_, time)) => seconds.push(*time),
            None => faults.push(format!("the task {id:?} at {SPECIFICATION}/{number} has no run time in {EXECUTION}")),
        }
    }
    none(faults).map(|()| seconds)
}

/// What each task waits for: what it calls its parents, and what calls it a child.
fn parents(specified: &[Value], place_of: &HashMap<&str, usize>) -> Result<Vec<BTreeSet<usize>>, Vec<String>> {
    let (mut parents, mut faults) = (vec![BTreeSet::new(); specified.len()], Vec::new());
    for (number, task) in specified.iter().enumerate() {
        for key in ["parents", "children"] {
            for (entry, id) in items(task, &format!("/{key}")).iter().enumerate() {
                let id = id.as_str().unwrap_or_default();
                match place_of.get(id) {
                    Some(other) if key == "parents" => {
                        parents[number].insert(*other);
                    }
                    Some(other) => {
                        parents[*other].insert(number);
                    }
                    None => faults.push(format!("{SPECIFICATION}/{number}/{key}/{entry} is {id:?}, which is no task")),
                }
            }
        }
    }
    let edges: usize = parents.iter().map(BTreeSet::len).sum();
    if edges > IMPORT_EDGES_MAX {
        faults.push(format!(
            "the tasks in {SPECIFICATION} have {edges} parents; a graph has at most {IMPORT_EDGES_MAX} edges"
        ));
    }
    none(faults).map(|()| parents)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "name": "two", "schemaVersion": "1.5",
            "workflow": {
                "specification": {"tasks": [
                    {"id": "a", "name": "first", "parents": [], "children": ["b"]},
                    {"id": "b", "name": "second", "parents": ["a"], "children": []},
                ]},
                "execution": {"tasks": [{"id": "b", "runtimeInSeconds": 2}, {"id": "a", "runtimeInSeconds": 0.5}]},
            },
        })
    }

    /// What is wrong with the document after a change at a place; null takes it away.
    fn faults(changes: &[(&str, Value)]) -> Vec<String> {
        let mut document = document();
        for (place, value) in changes {
            let (parent, key) = place.rsplit_once('/').unwrap();
            match document.pointer_mut(parent).unwrap() {
                Value::Array(items) if *value == Value::Null => drop(items.remove(key.parse().unwrap())),
                Value::Array(items) if key == "-" => items.push(value.clone()),
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
                Value::Object(members) if *value == Value::Null => drop(members.remove(key)),
                inner => inner[key] = value.clone(),
            }
        }
        workflow(&document.to_string()).unwrap_err()
    }

    #[test]
    fn tasks_are_joined_with_their_run_times() {
        let read = workflow(&document().to_string()).unwrap();
        let tasks: Vec<_> =
            read.tasks.iter().map(|task| (&*task.id, &*task.name, task.seconds, &*task.parents)).collect();
        assert_eq!(tasks, [("a", "first", 0.5, &[][..]), ("b", "second", 2.0, &[0][..])]);
    }

    #[test]
    fn one_side_of_an_edge_is_enough() {
        for key in ["/0/children/0", "/1/parents/0"] {
            let mut document = document();
            let (list, entry) = key.rsplit_once('/').unwrap();
            let list = document.pointer_mut(&format!("{SPECIFICATION}{list}")).unwrap().as_array_mut().unwrap();
            list.remove(entry.parse().unwrap());
            assert_eq!(workflow(&document.to_string()).unwrap().tasks[1].parents, [0], "without {key}");
        }
    }

    #[test]
    fn each_fault_is_told_with_its_place() {
        let specified = |rest: &str| format!("{SPECIFICATION}{rest}");
        let executed = |rest: &str| format!("{EXECUTION}{rest}");
        let twin = json!({"id": "a", "name": "x", "parents": [], "children": []});
        let cases = [
            ("/name".to_owned(), Value::Null, "there is nothing at /name; expected a string"),
            ("/schemaVersion".to_owned(), json!("1.4"), "/schemaVersion is \"1.4\"; expected 1.5 or 1.6"),
            (
                "/workflow/execution".to_owned(),
                Value::Null,
                "there is nothing at /workflow/execution/tasks; expected an array",
            ),
            (specified(""), json!([]), "there are no tasks in /workflow/specification/tasks"),
            (specified("/1/id"), json!(7), "expected a string, found a number at /workflow/specification/tasks/1/id"),
            (specified("/1/name"), json!(""), "the text at /workflow/specification/tasks/1/name is empty"),
            (
                specified("/1/parents"),
                Value::Null,
                "there is nothing at /workflow/specification/tasks/1/parents; expected an array",
            ),
            (
                specified("/1/parents/0"),
                json!("c"),
                "/workflow/specification/tasks/1/parents/0 is \"c\", which is no task",
            ),
            (
                specified("/0/children/0"),
                json!("c"),
                "/workflow/specification/tasks/0/children/0 is \"c\", which is no task",
            ),
            (
                specified("/-"),
                twin,
                "/workflow/specification/tasks/2/id is \"a\", and so is /workflow/specification/tasks/0/id",
            ),
            (
                specified("/0/parents/-"),
                json!("b"),
                "tasks in /workflow/specification/tasks wait for each other: a -> b -> a",
            ),
            (
                specified("/0/parents/-"),
                json!("a"),
                "tasks in /workflow/specification/tasks wait for each other: a -> a",
            ),
            (
                executed("/0"),
                Value::Null,
                "the task \"b\" at /workflow/specification/tasks/1 has no run time in /workflow/execution/tasks",
            ),
            (
                executed("/1/id"),
                json!("b"),
                "/workflow/execution/tasks/1/id is \"b\", and so is /workflow/execution/tasks/0/id",
            ),
            (
                executed("/0/runtimeInSeconds"),
                json!(-1.5),
                "/workflow/execution/tasks/0/runtimeInSeconds is -1.5; expected no less than 0",
            ),
            (
                executed("/0/runtimeInSeconds"),
                json!("2"),
                "expected a number, found a string at /workflow/execution/tasks/0/runtimeInSeconds",
            ),
        ];
        for (place, value, expected) in cases {
            assert_eq!(faults(&[(&place, value)])[0], expected);
        }
        assert_eq!(workflow("[]").unwrap_err()[0], "expected an object, found an array");
        assert!(workflow("{\"name\":\n oops}").unwrap_err()[0].contains("at line 2 column 2"));
    }

    #[test]
    fn of_another_version_nothing_else_is_told() {
        let tasks = json!([{"id": "a", "name": "first", "parents": [], "runtimeInSeconds": 2}]);
        let older = json!({"name": "one", "schemaVersion": "1.4", "workflow": {"tasks": tasks}});
        assert_eq!(workflow(&older.to_string()).unwrap_err(), ["/schemaVersion is \"1.4\"; expected 1.5 or 1.6"]);
        let unnamed = faults(&[("/schemaVersion", Value::Null), ("/name", Value::Null)]);
        assert_eq!(unnamed, ["there is nothing at /schemaVersion; expected a string"]);
    }

    #[test]
    fn all_faults_of_a_kind_are_told_at_once() {
        let found = faults(&[
            ("/workflow/execution/tasks/0/runtimeInSeconds", json!(-1)),
            ("/workflow/execution/tasks/1/runtimeInSeconds", json!(-2)),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_workflow_has_a_bounded_number_of_tasks() {
        let tasks: Vec<Value> = (0..=IMPORT_TASKS_MAX)
            .map(|number| json!({"id": number.to_string(), "name": "n", "parents": [], "children": []}))
            .collect();
        let found = faults(&[(SPECIFICATION, json!(tasks))]);
        assert_eq!(found, ["there are 20001 tasks in /workflow/specification/tasks; a graph has at most 20000"]);
    }
}
