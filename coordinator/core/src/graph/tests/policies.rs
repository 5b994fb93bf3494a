//! Policies in lint: whose word counts, the output that `onError: continue` adds, and fallbacks.

use super::super::{Graph, read_server_policy, rule};
use super::*;
use crate::id::ProviderIx;
use crate::policy::{OnError, OnItemError, PolicyDraft, RetryDraft};

/// A node with a config and a policy.
fn with_policy(id: &str, node_type: &str, config: Value, policy: Value) -> Value {
    let mut node = node(id, node_type, config);
    node["data"]["policy"] = policy;
    node
}

/// The rule, the path and the message of each problem.
fn refused(nodes: &Value, edges: &Value) -> Vec<(&'static str, String, String)> {
    let problems = compile(nodes, edges).unwrap_err();
    problems.into_iter().map(|it| (it.rule, it.path.unwrap_or_default(), it.message)).collect()
}

#[test]
fn an_edge_from_the_error_output_needs_the_policy() {
    let edges = |handle: &str| json!([edge("a", handle, "b", "")]);
    for handle in ["error", "out-error"] {
        let nodes = json!([node("a", "debug:echo", json!({})), node("b", "debug:echo", json!({}))]);
        let problem = problem(&nodes, &edges(handle));
        assert_eq!((problem.rule, problem.path.as_deref()), (rule::BAD_SOURCE_HANDLE, Some("/edges/0/sourceHandle")));
        assert!(problem.fix.contains("\"onError\": \"continue\""), "{}", problem.fix);
        let policy = json!({"onError": "continue"});
        let nodes = json!([with_policy("a", "debug:echo", json!({}), policy), node("b", "debug:echo", json!({}))]);
        let graph = compile(&nodes, &edges(handle)).unwrap().graph;
        let a = graph.find("a").unwrap();
        assert_eq!(graph.node(a).error_port, Some(graph.out_edges(a)[0].source_port));
        assert_eq!(graph.node(a).policy.on_error, OnError::Continue);
    }
}

#[test]
fn results_are_shared_only_where_an_agent_makes_them_and_no_person_looks_at_them() {
    let of =
        |node_type: &str, policy: Value| refused(&json!([with_policy("a", node_type, json!({}), policy)]), &json!([]));
    let place = "/nodes/0/data/policy/cache".to_owned();
    let [(rule, path, message)] = &of("logic:merge", json!({"cache": "on"}))[..] else { panic!("one problem") };
    assert_eq!((*rule, path), (rule::BAD_POLICY, &place));
    assert!(message.contains("built in"), "{message}");
    let [(rule, path, message)] = &of("debug:echo", json!({"cache": {"ttlSeconds": 5}, "review": "after"}))[..] else {
        panic!("one problem")
    };
    assert_eq!((*rule, path), (rule::BAD_POLICY, &place));
    assert!(message.contains("people decided"), "{message}");
    let nodes = json!([
        with_policy("a", "debug:echo", json!({}), json!({"cache": {"ttlSeconds": 5}})),
        with_policy("b", "logic:merge", json!({}), json!({"cache": "off"}))
    ]);
    let graph = compile(&nodes, &json!([])).unwrap().graph;
    let shared = |id: &str| graph.shared_for(graph.find(id).unwrap()).map(|span| span.as_millis());
    assert_eq!((shared("a"), shared("b"), graph.shares_results()), (Some(5_000), None, true));
}

#[test]
fn built_in_nodes_without_attempts_have_no_policy_of_attempts() {
    let invoke = json!({"workflowId": crate::id::WorkflowId(1).to_string()});
    let signal = json!({"name": "go"});
    for (node_type, config, field, value, says) in [
        ("blueprint:invoke", &invoke, "timeoutMs", json!(2_000), "logic:race"),
        ("blueprint:invoke", &invoke, "retry", json!({"maxAttempts": 3}), "that workflow"),
        ("blueprint:invoke", &invoke, "cache", json!("on"), "that workflow"),
        ("logic:wait", &json!({"forMs": 5}), "timeoutMs", json!(2_000), "agents run"),
        ("logic:wait", &json!({"forMs": 5}), "retry", json!({"maxAttempts": 3}), "agents run"),
        ("logic:signal", &signal, "timeoutMs", json!(2_000), "config"),
    ] {
        let policy = json!({field: value});
        let problems = compile(&json!([with_policy("a", node_type, config.clone(), policy)]), &json!([])).unwrap_err();
        let [problem] = &problems[..] else { panic!("one problem: {problems:?}") };
        let path = format!("/nodes/0/data/policy/{field}");
        assert_eq!((problem.rule, problem.path.as_deref()), (rule::BAD_POLICY, Some(&*path)));
        assert!(problem.message.contains(&format!("{field} has no meaning for {node_type}")), "{}", problem.message);
        assert!(problem.fix.contains(says), "{}", problem.fix);
        assert!(!problem.message.contains("costs nothing") || node_type != "blueprint:invoke", "{}", problem.message);
    }
    let problems = refused(&json!([with_policy("a", "debug:echo", json!({}), json!({"keepRunsDays": 3}))]), &json!([]));
    let [(_, path, message)] = &problems[..] else { panic!("one problem: {problems:?}") };
    assert!(path == "/nodes/0/data/policy/keepRunsDays" && message.contains("whole runs"), "{path}: {message}");
    // An agent may look at what these decide by.
    let policy = json!({"timeoutMs": 2_000, "retry": {"maxAttempts": 3}});
    let nodes = json!([with_policy("a", "logic:if", json!({"condition": "true"}), policy)]);
    assert!(compile(&nodes, &json!([])).is_ok());
}

#[test]
fn an_edge_without_a_handle_never_means_the_error_output() {
    // A picture is no text; what was wrong would be one.
    let policy = json!({"onError": "continue"});
    let image = with_policy("a", "generate:flux_2_pro", json!({"prompt": "x"}), policy);
    let nodes = json!([image, node("b", "utility:prompt_concat", json!({}))]);
    assert_eq!(problem(&nodes, &json!([edge("a", "", "b", "")])).rule, rule::TYPE_MISMATCH);
    assert!(compile(&nodes, &json!([edge("a", "error", "b", "")])).is_ok());
}

#[test]
fn an_output_called_error_is_the_types_own() {
    let mut types = types();
    let manifest = |id: &str, port_type: &str| json!({"id": id, "version": 1, "title": "T", "effect": "pure", "inputs": [], "outputs": [{"id": "error", "type": port_type}]});
    for (id, port_type) in [("debug:own", "ANY"), ("debug:image", "IMAGE")] {
        types.add_manifest(manifest(id, port_type).to_string().as_bytes()).unwrap();
    }
    let compile = |node: Value, edges: Value| {
        Graph::compile(
            &draft(&json!([node, super::node("b", "debug:echo", json!({}))]), &edges).unwrap(),
            &types,
            STRICT,
        )
    };
    let edges = json!([edge("a", "error", "b", "")]);
    let plain = compile(node("a", "debug:own", json!({})), edges.clone()).unwrap().graph;
    assert_eq!(
        plain.node(plain.find("a").unwrap()).error_port,
        None,
        "without the policy it is an output as any other"
    );
    let policy = json!({"onError": "continue"});
    let caught = compile(with_policy("a", "debug:own", json!({}), policy.clone()), edges.clone()).unwrap().graph;
    let a = caught.node(caught.find("a").unwrap());
    assert_eq!((a.error_port.map(|port| port.0), a.node_type.as_ref().unwrap().outputs.len()), (Some(0), 1));
    let problems = compile(with_policy("a", "debug:image", json!({}), policy), edges).unwrap_err();
    assert_eq!(
        (problems[0].rule, problems[0].path.as_deref()),
        (rule::BAD_POLICY, Some("/nodes/0/data/policy/onError"))
    );
}

#[test]
fn the_more_special_word_counts() {
    let mut types = types();
    let retry = |attempts: u32| Some(RetryDraft { max_attempts: Some(attempts), ..RetryDraft::default() });
    let server = PolicyDraft { retry: retry(7), timeout_ms: Some(1_000), ..PolicyDraft::default() };
    types.set_policy(server).unwrap();
    let nodes = json!([
        node("plain", "debug:echo", json!({})),
        node("flux", "generate:flux_2_pro", json!({"prompt": "x"})),
        with_policy(
            "own",
            "generate:flux_2_pro",
            json!({"prompt": "x"}),
            json!({"retry": {"maxAttempts": 5}, "onItemError": "collect"})
        ),
    ]);
    let graph = Graph::compile(&draft(&nodes, &json!([])).unwrap(), &types, STRICT).unwrap().graph;
    let policy = |id: &str| &graph.node(graph.find(id).unwrap()).policy;
    let said = |id: &str| (policy(id).retry.attempts_max, policy(id).timeout.unwrap().as_millis());
    assert_eq!(said("plain"), (7, 1_000));
    assert_eq!(said("flux"), (2, 600_000), "its type knows better");
    assert_eq!(said("own"), (5, 600_000), "and the node itself best");
    assert_eq!((policy("own").on_item_error, policy("plain").on_item_error), (Some(OnItemError::Collect), None));
    let priority = PolicyDraft { priority: Some(1), ..PolicyDraft::default() };
    assert_eq!(types.set_policy(priority).unwrap_err().0, "priority");
}

#[test]
fn fallbacks_are_read_with_their_own_type() {
    let policy = json!({"onError": "fallback", "timeoutMs": 9_000,
        "fallback": [{"nodeType": "generate:flux_two", "config": {"seed": 1, "width": 3}}, {"nodeType": "generate:flux_2_pro"}]});
    let nodes = json!([
        node("text", "input:text", json!({"text": "x"})),
        with_policy("a", "generate:flux_2_pro", json!({"seed": 5}), policy),
        node("out", "output:preview", json!({})),
    ]);
    let edges = json!([edge("text", "", "a", "prompt"), edge("a", "image", "out", "")]);
    let graph = compile(&nodes, &edges).unwrap().graph;
    let a = graph.node(graph.find("a").unwrap());
    assert_eq!(a.fallback.len(), 2);
    let constant = |ix: u16| {
        let provided = a.provided(ProviderIx(ix));
        provided
            .constants
            .iter()
            .map(|(port, value)| (port.0, String::from_utf8(value.json().to_vec()).unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(constant(1), [(2, "1".to_owned())], "its own config goes first");
    assert_eq!(constant(2), [(2, "5".to_owned())], "then what the node itself says");
    let first = a.provided(ProviderIx(1));
    assert_eq!((first.policy.retry.attempts_max, first.policy.timeout.unwrap().as_millis()), (2, 9_000));
    assert_eq!(&**first.type_id, "generate:flux_2_pro");
    assert_eq!(&first.config[..], br#"{"width":3}"#);
}

#[test]
fn a_key_of_a_fallbacks_config_that_its_type_does_not_know_is_warned_of() {
    let fallback = json!([{"nodeType": "generate:flux_2_pro", "config": {"widht": 3}}]);
    let policy = json!({"onError": "fallback", "fallback": fallback});
    let nodes = json!([with_policy("a", "generate:flux_2_pro", json!({"prompt": "x"}), policy)]);
    let warnings = compile(&nodes, &json!([])).unwrap().warnings;
    let warning = warnings.iter().find(|warning| warning.rule == rule::UNKNOWN_CONFIG_KEY).unwrap();
    assert_eq!(warning.path.as_deref(), Some("/nodes/0/data/policy/fallback/0/config/widht"));
    assert_eq!(warning.fix, "Did you mean \"width\"?");
}

#[test]
fn what_is_wrong_with_a_fallback_is_said_with_its_place() {
    let path = |rest: &str| format!("/nodes/1/data/policy/{rest}");
    let key = "sk-abcdefghij0123456789abcd";
    for (policy, rule, place, part) in [
        (json!({"onError": "fallback"}), rule::BAD_POLICY, "onError", "there is no fallback"),
        (json!({"fallback": [{"nodeType": "debug:echo"}]}), rule::BAD_POLICY, "fallback", "nothing reads fallback"),
        (json!({"onError": "fallback", "fallback": [7]}), rule::BAD_POLICY, "fallback/0", "cannot be 7"),
        (
            json!({"onError": "fallback", "fallback": [{}]}),
            rule::BAD_POLICY,
            "fallback/0/nodeType",
            "names no nodeType",
        ),
        (
            json!({"onError": "fallback", "fallback": [{"nodeType": "debug:ecko"}]}),
            rule::UNKNOWN_NODE_TYPE,
            "fallback/0/nodeType",
            "debug:ecko",
        ),
        (
            json!({"onError": "fallback", "fallback": [{"nodeType": "logic:if"}]}),
            rule::BAD_POLICY,
            "fallback/0/nodeType",
            "is built in",
        ),
        (
            json!({"onError": "fallback", "fallback": [{"nodeType": "debug:echo", "policy": {}}]}),
            rule::BAD_POLICY,
            "fallback/0/policy",
            "has no field \"policy\"",
        ),
        (
            json!({"onError": "fallback", "fallback": [{"nodeType": "debug:echo", "config": []}]}),
            rule::BAD_CONFIG,
            "fallback/0/config",
            "not an object",
        ),
        (
            json!({"onError": "fallback", "fallback": [{"nodeType": "debug:echo"}, {"nodeType": "utility:split"}]}),
            rule::BAD_POLICY,
            "fallback/1/nodeType",
            "lacks the input \"in\"",
        ),
        (
            json!({"onError": "fallback", "fallback": [{"nodeType": "debug:echo", "config": {"effect": "none"}}]}),
            rule::BAD_CONFIG,
            "fallback/0/config/effect",
            "no effect class",
        ),
        (
            json!({"onError": "fallback", "fallback": [{"nodeType": "debug:echo", "config": {"apiKey": key}}]}),
            rule::LITERAL_SECRET,
            "fallback/0/config/apiKey",
            "looks like a secret",
        ),
    ] {
        let nodes = json!([
            node("text", "input:text", json!({"text": "x"})),
            with_policy("a", "debug:echo", json!({}), policy)
        ]);
        let problems = refused(&nodes, &json!([edge("text", "", "a", "in")]));
        let (found, at, message) = &problems[0];
        assert_eq!((*found, at.as_str()), (rule, path(place).as_str()), "{message}");
        assert!(message.contains(part) && !message.contains(key), "{message}");
    }
}

#[test]
fn a_fallback_must_have_the_outputs_that_are_used_and_a_fitting_config() {
    let flux = |config: Value| {
        let policy =
            json!({"onError": "fallback", "fallback": [{"nodeType": "generate:flux_2_pro", "config": config}]});
        let nodes = json!([with_policy("a", "debug:echo", json!({}), policy), node("b", "debug:echo", json!({}))]);
        refused(&nodes, &json!([edge("a", "out", "b", "in")]))
    };
    let problems = flux(json!({"width": "wide"}));
    let places: Vec<_> = problems.iter().map(|(rule, path, _)| (*rule, path.as_str())).collect();
    let fallback = "/nodes/0/data/policy/fallback/0";
    assert_eq!(
        places,
        [
            (rule::BAD_POLICY, &*format!("{fallback}/nodeType")),
            (rule::BAD_CONFIG, &*format!("{fallback}/config/width")),
            (rule::MISSING_REQUIRED_INPUT, fallback),
        ]
    );
    assert!(problems[0].2.contains("lacks the output \"out\""), "{problems:?}");
    let problems = flux(json!({"prompt": "x"}));
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn built_in_nodes_have_no_fallback_and_unknown_ones_keep_a_graph_from_running_only() {
    let policy = json!({"onError": "fallback", "fallback": [{"nodeType": "debug:echo"}]});
    let problems = refused(&json!([with_policy("a", "input:text", json!({"text": "x"}), policy)]), &json!([]));
    assert_eq!((problems[0].0, problems[0].1.as_str()), (rule::BAD_POLICY, "/nodes/0/data/policy/fallback"));
    let policy = json!({"onError": "fallback", "fallback": [{"nodeType": "debug:gone"}, {"nodeType": "debug:echo"}]});
    let nodes = json!([with_policy("a", "debug:echo", json!({}), policy)]);
    let lenient = Compile { strict: false, ..STRICT };
    let compiled = Graph::compile(&draft(&nodes, &json!([])).unwrap(), &types(), lenient).unwrap();
    assert_eq!(rules(&compiled.warnings), [rule::UNKNOWN_NODE_TYPE]);
    let a = compiled.graph.node(compiled.graph.find("a").unwrap());
    assert!(a.is_unavailable() && a.fallback.len() == 2, "each keeps its place");
    let problems = compiled.graph.executable(None).unwrap_err();
    assert_eq!(rules(&problems), [rule::NODE_TYPE_UNAVAILABLE]);
    assert!(problems[0].message.contains("debug:gone"));
}

#[test]
fn the_servers_policy_says_how_attempts_are_tried_and_no_more() {
    let policy = read_server_policy(r#"{"retry": {"maxAttempts": 2}, "timeoutMs": 5, "onUnknown": "fail"}"#).unwrap();
    assert_eq!((policy.timeout_ms, policy.retry.unwrap().max_attempts), (Some(5), Some(2)));
    for (text, part) in [
        ("{", "the policy"),
        ("[]", "not an object"),
        (r#"{"retry": {"tries": 2}}"#, "/retry/tries: "),
        (r#"{"onError": "continue"}"#, "onError is said by a node"),
        (r#"{"fallback": []}"#, "fallback is said by a node"),
        (r#"{"concurrencyKey": "k"}"#, "concurrencyKey is said by a node"),
        (r#"{"agent": {"labels": {}}}"#, "agent is said by a node"),
    ] {
        let fault = read_server_policy(text).unwrap_err();
        assert!(fault.contains(part), "{text}: {fault}");
    }
}

#[test]
fn a_workflows_policy_counts_between_its_types_and_the_server() {
    let mut types = types();
    types.set_policy(read_server_policy(r#"{"retry": {"maxAttempts": 7}, "timeoutMs": 1000}"#).unwrap()).unwrap();
    let nodes =
        json!([node("plain", "debug:echo", json!({})), node("flux", "generate:flux_2_pro", json!({"prompt": "x"}))]);
    let with = |policy: &str| draft(&nodes, &json!([])).unwrap().with_policy(policy.as_bytes()).unwrap();
    let drafted = with(r#"{ "retry": {"maxAttempts": 3}, "priority": 4 }"#);
    assert_eq!(&drafted.stored().policy[..], br#"{"retry":{"maxAttempts":3},"priority":4}"#);
    let graph = Graph::compile(&drafted, &types, STRICT).unwrap().graph;
    let policy = |id: &str| &graph.node(graph.find(id).unwrap()).policy;
    assert_eq!((policy("plain").retry.attempts_max, policy("plain").timeout.unwrap().as_millis()), (3, 1_000));
    assert_eq!(
        (policy("flux").retry.attempts_max, policy("flux").priority),
        (2, 4),
        "the type's own word goes before it"
    );
    // It is part of the document, and a document without one is what it always was.
    let plain = draft(&nodes, &json!([])).unwrap();
    assert_ne!(drafted.stored().digest(), plain.stored().digest());
    assert_eq!(with("null").stored(), plain.stored());
    // All nodes can be caught by one word.
    let graph = Graph::compile(&with(r#"{"onError": "continue"}"#), &types, STRICT).unwrap().graph;
    assert!(graph.nodes().all(|(_, node)| node.error_port.is_some()));
    for (policy, rule, path) in [
        (r#"{"colour": 1}"#, rule::BAD_POLICY, "/policy/colour"),
        (r#"[]"#, rule::BAD_POLICY, "/policy"),
        (r#"{"onError": "fallback"}"#, rule::BAD_POLICY, "/policy"),
        (r#"{"retry": {"maxAttempts": 0}}"#, rule::BAD_POLICY, "/policy/retry/maxAttempts"),
    ] {
        let problems = Graph::compile(&with(policy), &types, STRICT).unwrap_err();
        assert_eq!((problems[0].rule, problems[0].path.as_deref()), (rule, Some(path)), "{policy}");
    }
    let problems = plain.with_policy(b"{").unwrap_err();
    assert_eq!((problems[0].rule, problems[0].path.as_deref()), (rule::BAD_JSON, Some("/policy")));
}
