//! Values, ports and validation: one test for each sentence of graph.md, parts 1 and 2, and for those of parts 3 to 6 that
//! `run/tests/{branching,scopes,failing}.rs` leave to others. Names are those of tests anywhere in the tree.
//!
//! | sentence | test |
//! |---|---|
//! | 1: Port types: nine; a port may be a list | `a_port_has_one_of_nine_types_and_may_be_a_list` |
//! | Media values are references: `url`, `mediaType`, `bytes`, `digest` | `files_are_given_by_reference_one_or_several`, `outputs_get_addresses_in_their_places` |
//! | Values above the inline limit become artifacts | `large_values_pass_through_a_run_like_small_ones` |
//! | a value is stored once per digest | `a_digest_is_an_address_within_its_tenant`, `an_agent_that_dies_after_its_upload_leaves_one_object` |
//! | Assignable: same type, `ANY`, to `TEXT`, media to `FILE`; anything else is a problem that names both types and proposes a fix | `each_type_goes_where_the_table_says_and_nowhere_else` |
//! | "did you mean in-image_url?" | `all_problems_are_reported_at_once` |
//! | `NUMBER`, `BOOLEAN`, `JSON` → `TEXT` (compact): in agents, and where it is written in the graph | `what_is_no_text_is_taken_as_compact_text`, `written_values_become_what_the_port_takes` |
//! | X → X list (wrapped) | `a_value_given_to_a_list_input_is_a_list_of_one` |
//! | X list → X lifts | `a_list_given_to_what_takes_one_runs_it_once_per_item` |
//! | The wired edge, `config`, `params`, the bare `data.<key>`, the port's default | `an_input_takes_the_first_of_its_five_sources` |
//! | Several edges into a list input append in edge order | `several_edges_append_in_their_order`, `edges_to_aliased_places_append_in_their_order`, `maps_loops_and_lists_give_what_they_should` |
//! | such an input is closed only when all its edges are, closed ones add nothing | `a_list_input_is_closed_only_when_all_its_edges_are` |
//! | Several edges into a scalar input are an error, except at a merge | `circles_and_crowded_inputs_are_refused`, `a_merge_takes_the_first_branch_in_the_order_of_edges` |
//! | 2: lint, create, update and execute share one validator | `a_graph_is_refused_alike_wherever_it_is_given` |
//! | It reports all problems at once | `all_problems_are_reported_at_once` |
//! | each with a stable rule code, a message, a fix, and the node or edge it is about | `each_problem_has_its_rule_its_place_and_a_fix` |
//! | unknown node type (with the nearest known ones) | `unknown_models_of_foreign_families_are_kept`, `each_problem_has_its_rule_its_place_and_a_fix` |
//! | cycle (with its path) | `circles_and_crowded_inputs_are_refused` |
//! | missing required input | `only_the_part_that_runs_must_be_able_to`, `each_problem_has_its_rule_its_place_and_a_fix` |
//! | bad config (JSON Schema of the node type) | `a_graph_is_refused_alike_wherever_it_is_given` |
//! | limits | `bounds_are_kept`, `the_largest_graph_compiles` |
//! | bad expression (with position) | `a_bad_expression_names_the_key_and_the_position` |
//! | unreachable target | `only_the_part_that_runs_must_be_able_to` |
//! | A graph that exists inside the engine is valid | `any_document_compiles_or_is_refused_with_reasons` |
//! | Deprecated types are rewritten and listed as migrations | `a_type_by_its_old_name_is_rewritten_and_told` |
//! | 3: Node states | `states_have_two_words` |
//! | a run that waits stays `RUNNING` with `waitingOn` | `a_run_that_waits_or_failed_says_why`, `work_that_nobody_can_do_says_so_until_somebody_can` |
//! | 5: Edges between a container and its own children are not cycles | `circles_through_a_body_are_found_and_those_with_its_container_are_none` |
//! | The guide's case: generate, score, again while the score is below the target | `a_loop_ends_with_the_line_that_is_good_enough`, `a_loop_that_never_gets_there_keeps_its_best_line_and_not_its_last` |
//! | a crash redoes no other item | `no_item_that_was_done_is_done_again_whatever_is_killed` |
//! | `iteratorConfigs`: one run per combination, `zip` or `product`, under one `batchId` | `every_combination_runs_once_whatever_is_killed`, `zips_are_one_axis_and_each_product_another` |
//! | batch status, cancel and aggregated results | `a_batch_is_shown_and_cancelled`, `a_cancelled_batch_stays_cancelled_through_a_kill` |
//! | 6: defaults per node type, then per workflow, then server | `the_more_special_word_counts`, `a_workflows_policy_counts_between_its_types_and_the_server`, `each_level_of_policy_counts_where_the_ones_above_are_silent` |
//! | Errors are classified at the agent | `refusals_have_a_class`, `faults_have_the_class_that_a_policy_needs`, `silence_is_unknown_only_where_it_matters` |
//! | `timeoutMs` | `work_that_takes_too_long_is_ended` |
//! | `concurrencyKey` | `a_limit_holds_across_runs_and_through_the_death_of_the_coordinator` |
//! | `priority` | `runs_take_turns_and_higher_priorities_go_first` |
//! | `agent.labels` | `labels_must_fit` |
//! | `cache` is `off`, `on` or `{ttlSeconds}`, of nodes that agents run and no person looks at | `results_are_shared_only_where_an_agent_makes_them_and_no_person_looks_at_them` |

use super::super::rule;
use super::*;
use crate::graph::Graph;
use crate::node_type::PortType;

/// All port types.
const TYPES: [&str; 9] = ["TEXT", "IMAGE", "VIDEO", "AUDIO", "JSON", "NUMBER", "BOOLEAN", "FILE", "ANY"];
/// What goes into another type than its own and `ANY`.
const CROSSINGS: [(&str, &str); 6] = [
    ("NUMBER", "TEXT"),
    ("BOOLEAN", "TEXT"),
    ("JSON", "TEXT"),
    ("IMAGE", "FILE"),
    ("VIDEO", "FILE"),
    ("AUDIO", "FILE"),
];

/// A type with these inputs and outputs.
fn manifest(id: &str, inputs: Value, outputs: Value) -> Vec<u8> {
    let manifest =
        json!({"id": id, "version": 1, "title": "T", "effect": "pure", "inputs": inputs, "outputs": outputs});
    manifest.to_string().into_bytes()
}

#[test]
fn a_port_has_one_of_nine_types_and_may_be_a_list() {
    let mut types = TypeCatalogue::new();
    for (place, name) in TYPES.into_iter().enumerate() {
        let ports = json!([{"id": "one", "type": name}, {"id": "many", "type": name, "list": true}]);
        types.add_manifest(&manifest(&format!("debug:t{place}"), ports.clone(), ports)).unwrap();
        let port_type: PortType = serde_json::from_value(name.into()).unwrap();
        assert_eq!(port_type.to_string(), name);
    }
    for name in ["text", "STRING", "LIST", ""] {
        assert!(types.add_manifest(&manifest("debug:other", json!([{"id": "one", "type": name}]), json!([]))).is_err());
    }
}

#[test]
fn each_type_goes_where_the_table_says_and_nowhere_else() {
    let of = |name: &str, list: bool| json!([{"id": "it", "type": name, "list": list}]);
    for (from, to) in TYPES.into_iter().flat_map(|from| TYPES.map(|to| (from, to))) {
        let fits = from == to || from == "ANY" || to == "ANY" || CROSSINGS.contains(&(from, to));
        for (from_list, to_list) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut types = TypeCatalogue::new();
            types.add_manifest(&manifest("debug:from", json!([]), of(from, from_list))).unwrap();
            types.add_manifest(&manifest("debug:to", of(to, to_list), json!([]))).unwrap();
            let nodes = json!([node("a", "debug:from", json!({})), node("b", "debug:to", json!({}))]);
            let draft = draft(&nodes, &json!([edge("a", "out-it", "b", "in-it")])).unwrap();
            let compiled = Graph::compile(&draft, &types, STRICT);
            if fits {
                assert!(compiled.is_ok(), "{from} → {to}");
                continue;
            }
            let [problem] = &compiled.unwrap_err()[..] else { panic!("{from} → {to}: one problem") };
            let name = |name: &str, list: bool| format!("{name}{}", if list { " list" } else { "" });
            let (given, taken) = (name(from, from_list), name(to, to_list));
            assert_eq!(problem.rule, rule::TYPE_MISMATCH);
            let expected =
                format!("\"out-it\" of node \"a\" gives {given}, but \"in-it\" of node \"b\" takes {taken}.");
            assert_eq!(problem.message, expected);
            assert_eq!(problem.fix, format!("Put a node between them that makes {taken} from {given}."));
        }
    }
}

#[test]
fn an_input_takes_the_first_of_its_five_sources() {
    let mut types = types();
    let inputs = json!([{"id": "x", "type": "TEXT", "default": "default"}]);
    types.add_manifest(&manifest("debug:sources", inputs, json!([]))).unwrap();
    let mut data =
        json!({"nodeType": "debug:sources", "x": "bare", "params": {"x": "params"}, "config": {"x": "config"}});
    let taken = |data: &Value, edges: Value| {
        let nodes = json!([node("t", "input:text", json!({"text": "wired"})), {"id": "n", "data": data}]);
        let compiled = Graph::compile(&draft(&nodes, &edges).unwrap(), &types, STRICT).unwrap().graph;
        let ix = compiled.find("n").unwrap();
        let constants = compiled.node(ix).constants.iter();
        let constants: Vec<_> = constants.map(|(_, value)| serde_json::from_slice(value.json()).unwrap()).collect();
        (compiled.in_edges(ix).len(), Value::Array(constants))
    };
    // What is written is no constant then: the edge alone brings the value.
    assert_eq!(taken(&data, json!([edge("t", "out-text", "n", "in-x")])), (1, json!([])));
    assert_eq!(taken(&data, json!([])), (0, json!(["config"])));
    data["config"] = json!({});
    assert_eq!(taken(&data, json!([])), (0, json!(["params"])));
    data["params"] = json!({});
    assert_eq!(taken(&data, json!([])), (0, json!(["bare"])));
    data["x"] = Value::Null;
    assert_eq!(taken(&data, json!([])), (0, json!(["default"])));
}

#[test]
fn each_problem_has_its_rule_its_place_and_a_fix() {
    let text = || node("a", "input:text", json!({"text": "x"}));
    let echo = |id: &str| node(id, "debug:echo", json!({}));
    let about_node = |id: &str| (Some(id.to_owned()), None);
    let about_edge = |id: &str| (None, Some(id.to_owned()));
    let both = |node: &str, edge: &str| (Some(node.to_owned()), Some(edge.to_owned()));
    let cases = [
        (
            json!([node("a", "input:txet", json!({}))]),
            json!([]),
            "unknown-node-type",
            about_node("a"),
            "Did you mean \"input:text\" or \"input:list\"?",
        ),
        (json!([text(), text()]), json!([]), "duplicate-id", about_node("a"), "Give each node an id of its own."),
        (
            json!([text()]),
            json!([edge("a", "", "b", "")]),
            "dangling-edge",
            about_edge("a.-b."),
            "Take the edge out, or correct the id.",
        ),
        (
            json!([text(), echo("b")]),
            json!([edge("a", "out-txt", "b", "")]),
            "bad-source-handle",
            both("a", "a.out-txt-b."),
            "Did you mean \"out-text\"?",
        ),
        (
            json!([text(), echo("b")]),
            json!([edge("a", "", "b", "in-inn")]),
            "bad-target-handle",
            both("b", "a.-b.in-inn"),
            "Did you mean \"in-in\"?",
        ),
        (
            json!([text(), node("d", "generate:flux_2_pro", json!({"prompt": "p"}))]),
            json!([edge("a", "", "d", "in-image_url")]),
            "type-mismatch",
            both("d", "a.-d.in-image_url"),
            "Did you mean \"in-prompt\"?",
        ),
        (
            json!([echo("b"), echo("c")]),
            json!([edge("b", "", "c", ""), edge("c", "", "b", "")]),
            "cycle",
            about_node("b"),
            "",
        ),
        (
            json!([node("d", "generate:flux_2_pro", json!({"prompt": "p", "width": "wide"}))]),
            json!([]),
            "bad-config",
            about_node("d"),
            "",
        ),
        (
            json!([node("i", "logic:if", json!({"condition": "value >"}))]),
            json!([]),
            "bad_expression",
            about_node("i"),
            "",
        ),
        (json!([node("s", "utility:split", json!({}))]), json!([]), "missing-required-input", about_node("s"), ""),
    ];
    for (nodes, edges, rule, about, fix) in cases {
        let lint = Compile { complete: true, ..STRICT };
        let problems = draft(&nodes, &edges).and_then(|draft| Graph::compile(&draft, &types(), lint)).unwrap_err();
        let problem =
            problems.iter().find(|problem| problem.rule == rule).unwrap_or_else(|| panic!("{rule}: {problems:?}"));
        let found = (problem.node_id.as_deref().map(str::to_owned), problem.edge_id.as_deref().map(str::to_owned));
        assert_eq!(found, about, "{problem:?}");
        assert!(!problem.message.is_empty() && !problem.fix.is_empty(), "{problem:?}");
        assert!(fix.is_empty() || problem.fix == fix, "{problem:?}");
    }
}

#[test]
fn a_type_by_its_old_name_is_rewritten_and_told() {
    let compiled = compile(&json!([node("d", "generate:flux_two", json!({"prompt": "p"}))]), &json!([])).unwrap();
    assert_eq!(&*compiled.graph.node(compiled.graph.find("d").unwrap()).type_id, "generate:flux_2_pro");
    let told: Vec<_> = compiled
        .migrations
        .iter()
        .map(|migration| (migration.rule, &*migration.node_id, &*migration.from, &*migration.to))
        .collect();
    assert_eq!(told, [("type-alias", "d", "generate:flux_two", "generate:flux_2_pro")]);
}
