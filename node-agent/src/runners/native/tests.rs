//! What the tests of the native types share, and what holds for all of them.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::call::{Call, Running};
use super::{ALL, Answer};
use crate::runners::{ErrorClass, Input, Manifest, Work};

/// Config and inputs of one call.
pub(super) struct Given(Work);

impl Given {
    pub(super) fn config(config: Value) -> Self {
        Self(crate::runners::debug::tests::work(&config))
    }

    /// One value at a port.
    pub(super) fn one(self, port: &str, value: Value) -> Self {
        self.with(port, false, vec![value])
    }

    /// The items of a list at a port.
    pub(super) fn list(self, port: &str, values: Value) -> Self {
        let Value::Array(values) = values else { panic!("{values} is no list") };
        self.with(port, true, values)
    }

    fn with(mut self, port: &str, list: bool, values: Vec<Value>) -> Self {
        let values = values.iter().map(|value| Bytes::from(value.to_string())).collect();
        self.0.inputs.push(Input { port: port.to_owned(), list, values });
        self
    }
}

/// The outputs of a call, as one object.
pub(super) fn all(function: fn(&Call) -> Answer, given: Given) -> Value {
    let outputs = Call::new(given.0, Running::default()).answer(function).unwrap();
    let outputs = outputs.iter().map(|output| {
        let value = serde_json::from_slice(&output.value).unwrap();
        (output.port.to_string(), value)
    });
    Value::Object(outputs.collect::<Map<_, _>>())
}

/// The one output of a call.
pub(super) fn one(function: fn(&Call) -> Answer, given: Given) -> Value {
    let Value::Object(outputs) = all(function, given) else { panic!("no object") };
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    outputs.into_iter().next().unwrap().1
}

/// The code of the fault of a call, which is the caller's.
pub(super) fn code(function: fn(&Call) -> Answer, given: Given) -> String {
    let failure = Call::new(given.0, Running::default()).answer(function).unwrap_err();
    assert_eq!(failure.class, ErrorClass::InvalidRequest, "{failure:?}");
    assert!(failure.message.contains(';'), "{:?} does not say what to do", failure.message);
    failure.code.into_owned()
}

#[test]
fn every_example_is_what_the_function_makes() {
    for native in ALL {
        let manifest = (native.manifest)();
        assert!(!manifest.examples.is_empty(), "{} has no example", manifest.id);
        for example in &manifest.examples {
            // A coordinator refuses an agent whose schemas cost more.
            assert!(heddle_schema_cost::parts(manifest.config_schema.as_ref().unwrap()).is_ok(), "{}", manifest.id);
            let schema = jsonschema::validator_for(manifest.config_schema.as_ref().unwrap()).unwrap();
            assert!(schema.is_valid(&example.config), "{}: {}", manifest.id, example.title);
            let given = wired(&manifest, &example.config, &example.inputs);
            assert_eq!(all(native.function, given), example.outputs, "{}: {}", manifest.id, example.title);
        }
    }
}

fn wired(manifest: &Manifest, config: &Value, inputs: &Value) -> Given {
    inputs.as_object().unwrap().iter().fold(Given::config(config.clone()), |given, (name, value)| {
        let port = manifest.inputs.iter().find(|port| port.id == *name).unwrap();
        if port.list { given.list(name, value.clone()) } else { given.one(name, value.clone()) }
    })
}

#[test]
fn every_type_names_its_ports_and_outputs_alike() {
    for native in ALL {
        let manifest = (native.manifest)();
        assert!(manifest.id.starts_with("utility:"), "{}", manifest.id);
        assert!(manifest.summary.ends_with('.') && !manifest.title.ends_with('.'), "{}", manifest.id);
        for example in &manifest.examples {
            let outputs = example.outputs.as_object().unwrap();
            assert!(outputs.keys().all(|name| manifest.outputs.iter().any(|port| port.id == *name)), "{}", manifest.id);
        }
    }
}

#[test]
fn too_much_input_is_refused_before_it_is_read() {
    let most = "x".repeat(crate::limits::NATIVE_INPUT_BYTES_MAX);
    let given = Given::config(json!({})).one("text", json!(most));
    assert_eq!(code(|_| panic!("it was called"), given), "input_too_large");
}

#[tokio::test]
async fn a_dropped_call_stops_its_thread() {
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::sync::{Mutex, OnceLock};
    static ENDS: OnceLock<Mutex<SyncSender<bool>>> = OnceLock::new();
    let (sender, ends) = sync_channel(2);
    ENDS.set(Mutex::new(sender)).unwrap();
    fn tell(fact: bool) {
        ENDS.get().unwrap().lock().unwrap().send(fact).unwrap();
    }
    fn endless(call: &Call) -> Answer {
        tell(false);
        loop {
            if let Err(failure) = call.go_on() {
                tell(true);
                return Err(failure);
            }
            std::hint::spin_loop();
        }
    }
    let work = crate::runners::debug::tests::work(&json!({}));
    let call = tokio::spawn(super::on_a_thread(work, endless));
    let ends = tokio::task::spawn_blocking(move || {
        assert!(!ends.recv_timeout(std::time::Duration::from_secs(10)).unwrap(), "it has begun");
        ends
    });
    let ends = ends.await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let ended = tokio::task::spawn_blocking(move || ends.recv_timeout(std::time::Duration::from_secs(10)));
    assert!(ended.await.unwrap().unwrap(), "it was told to stop");
}

#[test]
fn what_is_no_text_is_taken_as_compact_text() {
    for (given, taken) in [
        (json!("as it is"), "as it is"),
        (json!(1.5), "1.5"),
        (json!(-7), "-7"),
        (json!(true), "true"),
        (json!({"b": [1, {"c": "d e"}]}), r#"{"b":[1,{"c":"d e"}]}"#),
    ] {
        let call = Call::new(Given::config(json!({})).one("text", given).0, Running::default());
        assert_eq!(call.text("text").unwrap(), taken);
    }
}
