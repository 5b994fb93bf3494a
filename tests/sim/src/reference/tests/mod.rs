//! The sentences of graph.md that speak of outputs, by graphs whose outputs were found by hand.
//!
//! | Sentence | Test |
//! |---|---|
//! | An edge from a list output to a non-list input lifts the target: its outputs become lists | `lifting::a_list_makes_a_node_run_once_per_item` |
//! | a list input collects | `lifting::a_list_input_ends_the_region` |
//! | several lifted inputs zip; scalars are broadcast; unequal lengths are an error | `lifting::lists_go_together_and_values_to_every_item` |
//! | Several edges into a list input append in edge order; closed ones add nothing | `branching::a_list_takes_what_its_edges_bring_in_their_order` |
//! | A port that was not taken is closed; a node with a closed required input is skipped | `branching::what_hangs_on_a_closed_port_is_skipped` |
//! | `merge`: first in edge order, all; `race`: arrival order | `branching::a_merge_goes_by_edges_and_a_race_by_the_history` |
//! | `map`: item, index; `results` in item order | `scopes::a_map_gives_its_results_in_the_order_of_its_items` |
//! | An empty list gives `results: []` | `scopes::an_empty_list_gives_an_empty_list` |
//! | `fail`, `skip`, `collect`; `errors` | `scopes::a_failed_item_ends_is_left_out_or_is_null` |
//! | `batchSize`; `logic:batch` | `scopes::lists_are_cut_into_lists` |
//! | edges from outside are broadcast; scopes nest | `scopes::bodies_see_what_is_around_them` |
//! | `loop`: seed, then what was carried; `iteration` from 0; at least once; `until`, `maxIterations` | `loops::a_loop_carries_its_result_until_a_condition_holds` |
//! | `carry` if wired, else the result; closed is null | `loops::a_carry_of_its_own_goes_before_the_result` |
//! | `select: last, best, all` with `score` | `loops::the_last_the_best_or_all_turns_count` |
//! | `reduce`: accumulator, item; an empty list gives `initial` | `loops::a_reduction_goes_item_by_item` |
//! | `targetNodeId` = up to and with this node, nothing else | `parts::what_is_left_out_of_a_body_leaves_its_container_without_an_answer` |
//! | `continue` closes the outputs and opens `error`; `fallback` tries the next | `policies::an_error_may_be_an_output`, `policies::another_provider_may_answer` |

mod branching;
mod lifting;
mod loops;
mod parts;
mod policies;
mod scopes;

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::super::work;
use super::compare::fits;
use super::document::Document;
use super::interpreter::{Frame, Interpreter};
use super::{Expected, Outside};

/// A document in the making, and what only a history knows.
#[derive(Debug, Default)]
struct Sketch {
    nodes: Vec<Json>,
    edges: Vec<Json>,
    outside: Outside,
    /// The run goes up to this node.
    target: Option<&'static str>,
}

impl Sketch {
    fn with(mut self, id: &str, kind: &str, config: Json) -> Self {
        self.nodes.push(json!({"id": id, "data": {"nodeType": kind, "config": config, "policy": {}}}));
        self
    }

    /// An input that gives this value.
    fn input(self, id: &str, value: Json) -> Self {
        self.with(id, "input:json", json!({"value": value}))
    }

    /// The last node lies in the body of this one.
    fn inside(mut self, container: &str) -> Self {
        self.last()["parentId"] = container.into();
        self
    }

    fn policy(mut self, policy: Json) -> Self {
        self.last()["data"]["policy"] = policy;
        self
    }

    fn last(&mut self) -> &mut Json {
        self.nodes.last_mut().expect("there is a node")
    }

    /// An edge from `node.output` to `node.input`.
    fn edge(mut self, from: &str, to: &str) -> Self {
        let end = |text: &str| text.split_once('.').map(|(node, port)| (node.to_owned(), port.to_owned()));
        let ((source, output), (target, input)) = end(from).zip(end(to)).expect("ends are node.port");
        self.edges.push(
            json!({"source": source, "sourceHandle": format!("out-{output}"), "target": target, "targetHandle": input}),
        );
        self
    }

    fn expected(&self, id: &str, path: &[u32]) -> Expected {
        let document = Document::read(&self.nodes, &self.edges);
        let find = |id: &str| document.nodes.iter().position(|node| node.id == id).expect("there is the node");
        let part = self.target.map(|target| document.part_up_to(find(target)));
        let is_left_out = |node: &usize| part.as_ref().is_some_and(|part| !part.contains(node));
        let left_out: BTreeSet<usize> = (0..document.nodes.len()).filter(is_left_out).collect();
        let interpreter = Interpreter::new(&document, &self.outside, left_out);
        let root = Frame::root();
        interpreter.pass(&root);
        let node = find(id);
        match path.is_empty() {
            true => interpreter.expected(node, &root),
            false => interpreter.found.borrow().get(&(node, path.to_vec())).cloned().unwrap_or(Expected::Never),
        }
    }

    /// What `node.output` gives; nothing if it is closed.
    fn gives(&self, output: &str) -> Option<Json> {
        let (id, port) = output.split_once('.').expect("an output is node.port");
        match self.expected(id, &[]) {
            Expected::Done(mut outputs) => outputs.remove(port).map(super::Given::into_json),
            other => panic!("{id} is {other:?}"),
        }
    }
}

/// What a node of the model agents gives at `out` for one value.
fn one(value: Json) -> Json {
    work::make(work::ONE, &json!({}), &[value]).expect("it refuses nothing").remove(0).1
}
