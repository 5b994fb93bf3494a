//! Nodes that run another workflow: their ports are those that edges and config name.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{compile, edge, node, rules};
use crate::graph::problem::rule;
use crate::graph::{Compiled, Problem};
use crate::id::WorkflowId;
use crate::value::Value;

const WORKFLOW: WorkflowId = WorkflowId(7);

/// `in → c → out` with this config, of this type.
fn invoking(node_type: &str, config: Json) -> Result<Compiled, Vec<Problem>> {
    let nodes = json!([
        node("in", "input:text", json!({"text": "tea"})),
        node("c", node_type, config),
        node("out", "output:preview", json!({"name": "result"}))
    ]);
    let edges = json!([edge("in", "text", "c", "topic"), edge("c", "summary", "out", "value")]);
    compile(&nodes, &edges)
}

#[test]
fn a_node_has_the_ports_that_edges_and_config_name() {
    for node_type in ["blueprint:invoke", "logic:subworkflow", "subworkflow"] {
        let config =
            json!({"workflowId": WORKFLOW.to_string(), "version": 3, "inputs": {"tone": "dry", "topic": "over"}});
        let Compiled { graph, warnings, .. } = invoking(node_type, config).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let c = graph.find("c").unwrap();
        let invoke = graph.invoke(c).unwrap();
        assert_eq!((invoke.workflow, invoke.version), (WORKFLOW, Some(3)));
        let (inputs, outputs) = graph.child_ports(c);
        assert_eq!((inputs, outputs), (vec!["tone".into(), "topic".into()], vec![Arc::<str>::from("summary")]));
        let constants: Vec<_> =
            graph.node(c).constants.iter().map(|(port, value)| (port.0, value.json().clone())).collect();
        assert_eq!(constants, [(0, "\"dry\"".into())], "what an edge brings goes before");
        assert_eq!(graph.invokes().count(), 1);
    }
}

#[test]
fn a_config_that_names_no_workflow_is_refused() {
    for config in [
        json!({}),
        json!({"workflowId": "mine"}),
        json!({"workflowId": WORKFLOW.to_string(), "version": 0}),
        json!({"workflowId": WORKFLOW.to_string(), "inputs": [1]}),
    ] {
        let problems = invoking("blueprint:invoke", config.clone()).unwrap_err();
        assert!(rules(&problems).contains(&rule::BAD_CONFIG), "{config}: {problems:?}");
    }
    for version in [json!("latest"), json!(null)] {
        let config = json!({"workflowId": WORKFLOW.to_string(), "version": version});
        let graph = invoking("blueprint:invoke", config).unwrap().graph;
        assert_eq!(graph.invoke(graph.find("c").unwrap()).unwrap().version, None);
    }
}

#[test]
fn results_and_inputs_go_by_id_label_and_name() {
    let graph = invoking("blueprint:invoke", json!({"workflowId": WORKFLOW.to_string()})).unwrap().graph;
    let out = graph.find("out");
    assert_eq!((graph.find_result("out"), graph.find_result("result"), graph.find_result("c")), (out, out, None));
    assert_eq!(&*graph.result_name(out.unwrap()), "result");
    let given = |name: &str, json: &'static str| {
        graph.bind_values(&[(name.into(), Value::from_json(json.into()))]).map(|bound| bound.len())
    };
    assert_eq!((given("in", "\"a\""), given("text", "\"a\"")), (Ok(1), Ok(1)));
    assert_eq!(rules(&given("other", "\"a\"").unwrap_err()), [rule::UNKNOWN_INPUT]);
}
