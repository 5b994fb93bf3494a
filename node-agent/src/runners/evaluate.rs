//! Conditions over values that the coordinator does not hold: the engine asks, and gets a small answer (E17). Not a node type
//! that graphs may name.

use std::panic::resume_unwind;

use futures::future::{BoxFuture, FutureExt};
use heddle_condition::limits::{DELEGATED_COST_MAX, DELEGATED_VALUES_BYTES_MAX};
use heddle_condition::question::{ANSWER_PORT, Arrived, EVALUATOR_TYPE, EVALUATOR_VERSION, LIST_PORTS, Question};

use super::config::config;
use super::native::{output_json, refused};
use super::{Context, ErrorClass, Failure, Manifest, Output, Runner, Work};

/// Answers the engine's questions.
pub(super) struct Evaluator;

impl Runner for Evaluator {
    fn manifest(&self) -> Manifest {
        let summary = "Evaluates conditions over values that are too large for the coordinator.";
        Manifest { version: EVALUATOR_VERSION, ..Manifest::pure(EVALUATOR_TYPE, "Evaluate", summary) }
    }

    fn run(&self, work: Work, _context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        async {
            match tokio::task::spawn_blocking(move || answer(&work)).await {
                Ok(answer) => answer,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => {
                        Err(Failure::new(ErrorClass::Cancelled, "agent_stopping", "the agent is stopping; run again"))
                    }
                },
            }
        }
        .boxed()
    }
}

fn answer(work: &Work) -> Result<Vec<Output>, Failure> {
    let question: Question = config(work)?;
    let bytes = work.bytes() as u64;
    if bytes > DELEGATED_VALUES_BYTES_MAX {
        let message = format!(
            "its conditions look at values of {bytes} bytes, above the limit of {DELEGATED_VALUES_BYTES_MAX}; let them look at less"
        );
        return Err(refused("values_too_large", message));
    }
    let arrived = |port: &str| {
        let input = work.inputs.iter().find(|input| input.port == port)?;
        Some(Arrived { list: input.list, texts: &input.values })
    };
    let (answer, lists) = question
        .answer(arrived, &mut { DELEGATED_COST_MAX })
        .map_err(|unanswered| refused(unanswered.code, unanswered.message))?;
    let json = serde_json::to_vec(&answer).map_err(|error| {
        Failure::new(ErrorClass::Internal, "answer_unwritable", format!("the answer cannot be written: {error}"))
    })?;
    let mut outputs = vec![output_json(ANSWER_PORT, json)];
    if let Some((kept, dropped)) = lists {
        outputs.extend(LIST_PORTS.into_iter().zip([kept, dropped]).map(|(port, list)| output_json(port, list)));
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use heddle_condition::evaluate::Name;
    use heddle_condition::question::{Answer, Asked, Asks, ITEMS_PORT, Items};
    use serde_json::{Value, json};

    use super::super::Input;
    use super::*;

    fn work(question: &Question, inputs: &[(&str, bool, Vec<Value>)]) -> Work {
        let texts = |values: &[Value]| values.iter().map(|value| Bytes::from(value.to_string())).collect();
        let input = |(port, list, values): &(&str, bool, Vec<Value>)| Input {
            port: (*port).to_owned(),
            list: *list,
            values: texts(values),
        };
        Work {
            execution_id: String::new(),
            node_id: "it".to_owned(),
            config: serde_json::to_vec(question).unwrap().into(),
            inputs: inputs.iter().map(input).collect(),
            attempt: 1,
            lineage_attempt: 1,
            idempotency_key: String::new(),
            handle: Bytes::new(),
            traceparent: String::new(),
            sandbox: false,
        }
    }

    fn question(asks: Asks, names: Vec<Name>) -> Question {
        let values = names.into_iter().map(|name| Asked { name, arrives: true, constant: Value::Null }).collect();
        Question { node: "it".to_owned(), asks, values, run: json!({}) }
    }

    fn read(output: &Output) -> Value {
        serde_json::from_slice(&output.value).unwrap()
    }

    #[test]
    fn a_large_value_is_looked_at_and_a_small_answer_comes_back() {
        let cases = Asks::Cases {
            conditions: vec!["size(value.rows) < 10".to_owned(), "nodes.a.output.on".to_owned()],
            all: false,
        };
        let question = question(cases, vec![Name::Input("value".to_owned()), Name::Node("a".to_owned())]);
        let rows = json!({"rows": vec![json!({"text": "x".repeat(100)}); 20_000]});
        let work = work(&question, &[("value0", false, vec![rows]), ("value1", false, vec![json!({"on": true})])]);
        assert!(work.bytes() > 2_000_000);
        let outputs = answer(&work).unwrap();
        let [output] = &outputs[..] else { panic!("one output: {outputs:?}") };
        let answer: Answer = serde_json::from_value(read(output)).unwrap();
        assert_eq!((&*output.port, answer), (ANSWER_PORT, Answer::Taken(vec![1])));
    }

    #[test]
    fn the_results_of_the_longest_map_are_counted_and_divided() {
        let results: Vec<Value> = (0..100_000).map(|number| json!({"number": number})).collect();
        let cases =
            Asks::Cases { conditions: vec!["size(results) == 100000 && iteration == 2".to_owned()], all: false };
        let mut question =
            question(cases, vec![Name::Input("results".to_owned()), Name::OfScope("iteration".to_owned())]);
        question.values[1] =
            Asked { name: Name::OfScope("iteration".to_owned()), arrives: false, constant: Value::from(2) };
        let outputs = answer(&work(&question, &[("value0", true, results.clone())])).unwrap();
        assert_eq!(read(&outputs[0]), json!({"taken": [0]}));
        question.asks = Asks::Filter { condition: "item.number < 99999".to_owned(), items: Items::Long };
        question.values.clear();
        let outputs = answer(&work(&question, &[(ITEMS_PORT, true, results)])).unwrap();
        assert_eq!(read(&outputs[2]), json!([{"number": 99_999}]));
    }

    #[test]
    fn a_large_list_is_divided_and_its_items_stay_as_they_are_written() {
        let asks = Asks::Filter { condition: "item.n > 1".to_owned(), items: Items::Within { or_alone: true } };
        let mut work = work(&question(asks, Vec::new()), &[(ITEMS_PORT, false, vec![json!(null)])]);
        work.inputs[0].values[0] = Bytes::from_static(b"[{\"n\":1.50}, {\"n\" : 1}]");
        let outputs = answer(&work).unwrap();
        let texts: Vec<_> = outputs.iter().map(|output| (&*output.port, &output.value[..])).collect();
        assert_eq!(
            texts,
            [("answer", &b"\"divided\""[..]), ("kept", b"[{\"n\":1.50}]"), ("dropped", b"[{\"n\" : 1}]")]
        );
    }

    #[test]
    fn what_has_no_answer_fails_with_the_same_codes_as_in_the_coordinator() {
        let ask = |condition: &str, value: Value| {
            let asks = Asks::Cases { conditions: vec![condition.to_owned()], all: false };
            let question = question(asks, vec![Name::Input("value".to_owned())]);
            answer(&work(&question, &[("value0", false, vec![value])])).unwrap_err().code.into_owned()
        };
        let numbers = json!((0..20_000).collect::<Vec<_>>());
        assert_eq!(ask("value.missing > 1", json!({})), "condition_failed");
        assert_eq!(ask("value.exists(a, value.exists(b, a + b == -1))", numbers), "condition_too_costly");
        assert_eq!(ask("other > 1", json!({})), "bad_question");
        let gate = question(Asks::Gate, vec![Name::Input("open".to_owned())]);
        assert_eq!(answer(&work(&gate, &[("value0", false, vec![json!("yes")])])).unwrap_err().code, "bad_input");
    }
}
