use super::super::{Graph, rule};
use super::*;
use crate::id::PortIx;
use crate::node_type::{Control, EffectClass, Runner};
use crate::time::Span;

fn constants(compiled: &Compiled, id: &str) -> Vec<(u16, String)> {
    let node = compiled.graph.node(compiled.graph.find(id).unwrap());
    let text = |value: &crate::value::Value| String::from_utf8(value.json().to_vec()).unwrap();
    node.constants.iter().map(|(port, value)| (port.0, text(value))).collect()
}

#[test]
fn the_three_nodes_of_the_guide_compile() {
    let nodes = json!([
        node("topic", "input:text", json!({"prompt": "sea at dusk"})),
        node("draw", "generate:flux_2_pro", json!({"width": 320})),
        node("show", "output:preview", json!({})),
        {"id": "note", "type": "stickyNote", "data": {"nodeType": "utility:sticky_note", "text": "hi"}},
        {"id": "box", "type": "custom_group", "data": {"childNodeIds": ["draw"]}},
    ]);
    let edges =
        json!([edge("topic", "out-prompt", "draw", "in-prompt"), edge("draw", "out-images", "show", "in-image")]);
    let compiled = compile(&nodes, &edges).unwrap();
    let graph = &compiled.graph;
    assert_eq!((graph.len(), compiled.warnings.as_slice()), (3, &[][..]));
    let [topic, draw, show] = ["topic", "draw", "show"].map(|id| graph.find(id).unwrap());
    assert_eq!(graph.node(topic).runner, Runner::Control(Control::Input));
    assert_eq!(graph.node(topic).config, r#"{"text":"sea at dusk"}"#);
    assert_eq!(graph.node(draw).config, r#"{"width":320}"#);
    assert_eq!(constants(&compiled, "draw"), [(2, "7".to_owned())]);
    assert_eq!(graph.node(draw).policy.timeout, Some(Span::from_seconds(600)));
    assert_eq!(graph.in_edges(show)[0].source, draw);
    assert_eq!(graph.out_edges(topic)[0].target, draw);
    assert_eq!(graph.closure(draw), [topic, draw]);
    assert_eq!(graph.digest(), draft(&nodes, &edges).unwrap().stored().digest());
    let migrations: Vec<_> = compiled.migrations.iter().map(|migration| (migration.rule, &*migration.from)).collect();
    let aliases = [("port-alias", "out-prompt"), ("port-alias", "out-images"), ("port-alias", "in-image")];
    assert_eq!(migrations, [&aliases[..], &[("config-alias", "prompt")]].concat());
}

#[test]
fn values_are_taken_by_precedence() {
    let data = json!({"nodeType": "generate:flux_2_pro", "label": "L",
        "prompt": "bare", "width": 3, "selected": true, "seed": 3,
        "params": {"prompt": "params", "width": 2, "seed": 2},
        "config": {"prompt": "config", "seed": null}});
    let compiled = compile(&json!([{"id": "n", "data": data}]), &json!([])).unwrap();
    assert_eq!(constants(&compiled, "n"), [(0, r#""config""#.to_owned()), (2, "2".to_owned())]);
    assert_eq!(compiled.graph.node(crate::id::NodeIx(0)).config, r#"{"width":2}"#);

    let bare = json!({"nodeType": "debug:echo", "ms": 1.50, "in": [1], "effect": "blind", "label": "x"});
    let compiled = compile(&json!([{"id": "n", "data": bare}]), &json!([])).unwrap();
    let node = compiled.graph.node(crate::id::NodeIx(0));
    assert_eq!(constants(&compiled, "n"), [(0, "[1]".to_owned())]);
    assert_eq!((node.effect, &*node.config), (EffectClass::Blind, &br#"{"effect":"blind","ms":1.5}"#[..]));
}

#[test]
fn written_values_become_what_the_port_takes() {
    let nodes = json!([
        node("number", "generate:flux_2_pro", json!({"prompt": 5})),
        node("one", "utility:prompt_concat", json!({"texts": "a"})),
        node("many", "utility:prompt_concat", json!({"texts": ["a", 1, {"b": true}]})),
        node("places", "utility:prompt_concat", json!({"prompt10": "c", "prompt2": "b", "prompt1": "a"})),
    ]);
    let compiled = compile(&nodes, &json!([])).unwrap();
    assert_eq!(constants(&compiled, "number")[0].1, r#""5""#);
    assert_eq!(constants(&compiled, "one")[0].1, r#"["a"]"#);
    assert_eq!(constants(&compiled, "many")[0].1, r#"["a","1","{\"b\":true}"]"#);
    assert_eq!(constants(&compiled, "places")[0].1, r#"["a","b","c"]"#);
    let wrong = problem(&json!([node("n", "generate:flux_2_pro", json!({"prompt": "p", "seed": "x"}))]), &json!([]));
    assert_eq!((wrong.rule, wrong.path.as_deref()), (rule::BAD_CONFIG, Some("/nodes/0/data/config/seed")));
    let long = problem(&json!([node("n", "utility:split", json!({"text": "x".repeat(65 * 1024)}))]), &json!([]));
    assert_eq!(long.rule, rule::VALUE_TOO_LARGE);
}

#[test]
fn edges_to_aliased_places_append_in_their_order() {
    let nodes = json!([
        node("a", "input:text", json!({})),
        node("b", "input:text", json!({})),
        node("c", "input:text", json!({})),
        node("join", "utility:prompt_concat", json!({})),
    ]);
    let edges = json!([
        edge("c", "out-text", "join", "in-texts"),
        edge("b", "out-text", "join", "in-prompt2"),
        edge("a", "out-text", "join", "in-prompt1"),
    ]);
    let graph = compile(&nodes, &edges).unwrap().graph;
    let sources: Vec<_> = graph.in_edges(graph.find("join").unwrap()).iter().map(|edge| edge.source.0).collect();
    assert_eq!(sources, [0, 1, 2]);

    let mixed =
        json!([node("a", "input:text", json!({})), node("join", "utility:prompt_concat", json!({"prompt2": "x"}))]);
    let edges = json!([edge("a", "text", "join", "prompt1")]);
    assert_eq!(problem(&mixed, &edges).rule, rule::NOT_SUPPORTED_YET);
}

#[test]
fn a_missing_handle_means_the_first_port_that_fits() {
    let nodes = json!([
        node("draw", "generate:flux_2_pro", json!({"prompt": "p"})),
        node("again", "generate:flux_2_pro", json!({"prompt": "p"})),
        node("seed", "input:number", json!({"value": 1})),
    ]);
    let edges = json!([edge("draw", "", "again", ""), edge("seed", "", "again", "in-seed")]);
    let graph = compile(&nodes, &edges).unwrap().graph;
    let ports: Vec<_> = graph.in_edges(graph.find("again").unwrap()).iter().map(|edge| edge.target_port).collect();
    assert_eq!(ports, [PortIx(1), PortIx(2)]);
}

#[test]
fn all_problems_are_reported_at_once() {
    let nodes = json!([
        node("a", "input:text", json!({})),
        node("a", "input:text", json!({})),
        node("b", "outputs:preview", json!({})),
        node("draw", "generate:flux_2_pro", json!({"width": "x"})),
        {"id": "p", "data": {"nodeType": "debug:echo", "policy": {"colour": 1, "cache": "always"}}},
        {"id": "untyped", "type": "basedNode", "data": {}},
    ]);
    let edges = json!([
        edge("a", "text", "draw", "in-prmpt"),
        edge("a", "txt", "draw", "in-prompt"),
        edge("a", "text", "draw", "in-image_url"),
        edge("a", "text", "gone", "in"),
        edge("a", "text", "b", "anything"),
        edge("draw", "", "a", "in-x"),
    ]);
    let problems = compile(&nodes, &edges).unwrap_err();
    let found: Vec<_> = problems.iter().map(|problem| (problem.rule, problem.path.as_deref().unwrap())).collect();
    let expected = [
        (rule::DUPLICATE_ID, "/nodes/1/id"),
        (rule::UNKNOWN_NODE_TYPE, "/nodes/2/data/nodeType"),
        (rule::BAD_POLICY, "/nodes/4/data/policy/cache"),
        (rule::BAD_POLICY, "/nodes/4/data/policy/colour"),
        (rule::UNKNOWN_NODE_TYPE, "/nodes/5"),
        (rule::BAD_TARGET_HANDLE, "/edges/0/targetHandle"),
        (rule::BAD_SOURCE_HANDLE, "/edges/1/sourceHandle"),
        (rule::TYPE_MISMATCH, "/edges/2/targetHandle"),
        (rule::DANGLING_EDGE, "/edges/3/target"),
        (rule::BAD_TARGET_HANDLE, "/edges/5/targetHandle"),
        (rule::BAD_CONFIG, "/nodes/3/data/config/width"),
    ];
    assert_eq!(found, expected);
    assert_eq!(problems[1].fix, "Did you mean \"output:preview\"?");
    assert_eq!(problems[5].fix, "Did you mean \"in-prompt\"?");
    assert_eq!(
        problems[7].message,
        "\"out-text\" of node \"a\" gives TEXT, but \"in-image_url\" of node \"draw\" takes IMAGE."
    );
    assert_eq!(problems[7].fix, "Did you mean \"in-prompt\"?");
}

#[test]
fn unknown_models_of_foreign_families_are_kept() {
    let nodes = json!([node("t", "input:text", json!({})), node("v", "video:kling_9", json!({}))]);
    let edges = json!([edge("t", "", "v", "in-whatever")]);
    let compiled = compile(&nodes, &edges).unwrap();
    assert_eq!(rules(&compiled.warnings), [rule::UNSUPPORTED_NODE]);
    assert_eq!(compiled.graph.node(crate::id::NodeIx(1)).runner, Runner::Unavailable);

    let slip = problem(&json!([node("v", "generate:flux_2_pr", json!({}))]), &json!([]));
    assert_eq!((slip.rule, &*slip.fix), (rule::UNKNOWN_NODE_TYPE, "Did you mean \"generate:flux_2_pro\"?"));
    let lenient = Compile { strict: false, ..STRICT };
    let other = json!([node("o", "storage:unheard_of", json!({})), node("m", "input:form", json!({}))]);
    let compiled = Graph::compile(&draft(&other, &json!([])).unwrap(), &types(), lenient).unwrap();
    assert_eq!(rules(&compiled.warnings), [rule::UNKNOWN_NODE_TYPE, rule::NOT_SUPPORTED_YET]);
}

#[test]
fn old_documents_name_their_types_elsewhere() {
    let nodes = json!([
        {"id": "a", "type": "input:text", "data": {"text": "x"}},
        {"id": "b", "type": "model", "data": {"model": {"name": "debug:echo"}}},
        {"id": "c", "type": "model", "data": {"model": {"name": "fal:text-to-image"}}},
        {"id": "d", "data": {"nodeType": "generate:flux_two", "prompt": "p"}},
        {"id": "e", "type": "group", "data": {"label": "a box"}},
        {"id": "f", "type": "group"},
    ]);
    let compiled = compile(&nodes, &json!([])).unwrap_err();
    assert_eq!(rules(&compiled), [rule::UNKNOWN_NODE_TYPE]);
    let nameless = problem(&json!([{"id": "n", "type": "model", "data": {"model": {}}}]), &json!([]));
    assert_eq!(nameless.message, "Node n is missing model.name");
}

#[test]
fn what_the_engine_does_not_do_yet_is_said() {
    for node_type in ["input:form", "trigger:webhook", "trigger:schedule"] {
        assert_eq!(problem(&json!([node("n", node_type, json!({}))]), &json!([])).rule, rule::NOT_SUPPORTED_YET);
    }
    let scope = json!({"id": "m", "type": "group", "data": {"nodeType": "iterator:text"}});
    let child = json!({"id": "c", "parentId": "m", "data": {"nodeType": "debug:echo"}});
    let compiled = compile(&json!([scope, child]), &json!([])).unwrap();
    assert_eq!(rules(&compiled.warnings), [rule::UNSUPPORTED_NODE, rule::NOT_SUPPORTED_YET]);
    assert_eq!(compiled.warnings[1].path.as_deref(), Some("/nodes/1/parentId"));
}

#[test]
fn a_secret_does_not_belong_into_a_graph() {
    let found =
        problem(&json!([node("n", "debug:echo", json!({"headers": {"Authorization": "Bearer abc"}}))]), &json!([]));
    assert_eq!(
        (found.rule, found.path.as_deref()),
        (rule::LITERAL_SECRET, Some("/nodes/0/data/config/headers/Authorization"))
    );
}

#[test]
fn a_key_that_a_type_does_not_know_is_a_warning() {
    let data = json!({"nodeType": "generate:flux_2_pro", "prompt": "p", "widht": 1, "style": {}, "measured": {},
        "config": {"widht": 3, "seed": 1, "WIDTH": 2, "image_url": "https://example.invalid/i"},
        "params": {"a/b": true, "Image-Url": "x"}});
    let nodes = json!([
        {"id": "n", "data": data},
        node("free", "debug:echo", json!({"anything": 1})),
        node("t", "input:text", json!({"promt": "x", "prompt": "y"})),
    ]);
    let found = compile(&nodes, &json!([])).unwrap().warnings;
    let said: Vec<_> = found.iter().map(|found| (found.path.as_deref().unwrap(), &*found.fix)).collect();
    let expected = [
        ("/nodes/0/data/config/WIDTH", "Did you mean \"width\"?"),
        ("/nodes/0/data/config/widht", "Did you mean \"width\"?"),
        ("/nodes/0/data/params/Image-Url", "Did you mean \"image_url\"?"),
        ("/nodes/0/data/params/a~1b", "Take it out; the type knows width, prompt, image_url, seed."),
        ("/nodes/2/data/config/promt", "Did you mean \"prompt\"?"),
    ];
    assert_eq!(said, expected);
    let message =
        "config of node \"n\" has the key \"widht\", which generate:flux_2_pro does not know: nothing reads it.";
    assert_eq!((found[1].rule, &*found[1].message), (rule::UNKNOWN_CONFIG_KEY, message));
    assert_eq!(found[1].node_id.as_deref(), Some("n"));
}

#[test]
fn a_parent_that_is_not_there_or_runs_nothing_is_a_warning() {
    let inside = |id: &str, parent: &str| {
        let mut inside = node(id, "debug:echo", json!({}));
        inside["parentId"] = parent.into();
        inside
    };
    let nodes = json!([
        node("m", "logic:map", json!({})),
        {"id": "g", "type": "group", "data": {}},
        inside("a", "m"),
        inside("b", "g"),
        inside("c", "M"),
        inside("d", "a"),
    ]);
    let edges = json!([{"id": "e", "source": "m", "sourceHandle": "out-item", "target": "a", "targetHandle": "in-in"}]);
    let found = match compile(&nodes, &edges) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => panic!("{problems:?}"),
    };
    let found: Vec<_> = found.iter().filter(|found| found.rule == rule::UNKNOWN_PARENT).collect();
    let said: Vec<_> = found.iter().map(|found| (found.path.as_deref().unwrap(), &*found.message)).collect();
    let expected = [
        ("/nodes/4/parentId", "Node \"c\" says that it lies inside \"M\", which does not exist."),
        ("/nodes/5/parentId", "Node \"d\" says that it lies inside \"a\", which is no map, loop or group."),
    ];
    assert_eq!(said, expected);
}

#[test]
fn the_config_may_change_the_effect() {
    let manifest = json!({"id": "http:request", "version": 1, "title": "T", "effect": "blind", "inputs": [], "outputs": [],
    "effectRules": [
        {"key": "method", "values": ["GET"], "orAbsent": true, "effect": "pure"},
        {"key": "idempotencyHeader", "effect": "keyed"},
    ]});
    let mut types = types();
    types.add_manifest(manifest.to_string().as_bytes()).unwrap();
    let effect = |config: Value| {
        let draft = draft(&json!([node("n", "http:request", config)]), &json!([])).unwrap();
        super::super::Graph::compile(&draft, &types, STRICT).unwrap().graph.node(crate::id::NodeIx(0)).effect
    };
    assert_eq!(effect(json!({})), EffectClass::Pure);
    assert_eq!(effect(json!({"method": null})), EffectClass::Pure);
    assert_eq!(effect(json!({"method": "GET", "idempotencyHeader": "k"})), EffectClass::Pure, "the first that fits");
    assert_eq!(effect(json!({"method": "POST"})), EffectClass::Blind);
    assert_eq!(effect(json!({"method": "POST", "idempotencyHeader": ""})), EffectClass::Blind);
    assert_eq!(effect(json!({"method": "POST", "idempotencyHeader": "k"})), EffectClass::Keyed);
}

#[test]
fn circles_and_crowded_inputs_are_refused() {
    let nodes = json!([node("a", "debug:echo", json!({})), node("b", "debug:echo", json!({}))]);
    let cycle = problem(&nodes, &json!([edge("a", "", "b", ""), edge("b", "", "a", "")]));
    assert_eq!((cycle.rule, &*cycle.message), (rule::CYCLE, "Edges run in a circle: a → b → a."));
    let crowded = problem(&nodes, &json!([edge("a", "out", "b", ""), edge("a", "", "b", "in")]));
    assert_eq!((crowded.rule, crowded.edge_id.as_deref()), (rule::TOO_MANY_EDGES, Some("a.-b.in")));
}

#[test]
fn the_largest_graph_compiles() {
    const NODES: usize = 20_000;
    const EDGES: usize = 100_000;
    let nodes: Vec<_> = (0..NODES).map(|ix| node(&ix.to_string(), "utility:prompt_concat", json!({}))).collect();
    let mut edges: Vec<_> =
        (1..NODES).map(|ix| edge(&(ix - 1).to_string(), "out-text", &ix.to_string(), "in-texts")).collect();
    while edges.len() < EDGES {
        let target = 1 + edges.len() % (NODES - 1);
        let id = format!("e{}", edges.len());
        edges.push(json!({"id": id, "source": (target / 2).to_string(), "target": target.to_string()}));
    }
    let (nodes, edges) = (json!(nodes).to_string(), json!(edges).to_string());
    let types = types();
    let draft = Draft::parse(nodes.as_bytes(), edges.as_bytes()).unwrap();
    let compiled = Graph::compile(&draft, &types, STRICT).unwrap();
    assert_eq!((compiled.graph.len(), compiled.graph.in_edges.len()), (NODES, EDGES));
}

#[test]
fn a_plain_group_is_only_drawn() {
    let group = json!({"id": "g", "type": "group", "data": {"label": "Box"}});
    let child = json!({"id": "c", "parentId": "g", "data": {"nodeType": "debug:echo"}});
    assert_eq!(compile(&json!([child, group]), &json!([])).unwrap().graph.len(), 1);
    let edges = json!([{"source": "g", "target": "c"}]);
    assert_eq!(problem(&json!([child, group]), &edges).rule, rule::DANGLING_EDGE);
}

#[test]
fn a_fault_of_a_config_is_told_once() {
    let by_schema = |node_type: &NodeType, _: &str| {
        let fault = |place: &str, message: &str| vec![fault(place, message)];
        match &*node_type.id {
            "logic:map" => fault("/onItemError", "\"ignore\" is not one of \"fail\", \"skip\" or \"collect\""),
            "logic:if" => fault("", "\"condition\" is a required property"),
            "input:number" => fault("/value", "\"many\" is not of types \"number\", \"null\""),
            "generate:flux_2_pro" => fault("/width", "\"wide\" is not of type \"integer\""),
            _ => Vec::new(),
        }
    };
    let nodes = json!([
        node("map", "logic:map", json!({"onItemError": "ignore"})),
        node("if", "logic:if", json!({})),
        node("number", "input:number", json!({"value": "many"})),
        node("draw", "generate:flux_2_pro", json!({"prompt": "x", "width": "wide"})),
    ]);
    let compile = Compile { strict: true, complete: false, check_config: &by_schema };
    let problems = Graph::compile(&draft(&nodes, &json!([])).unwrap(), &types(), compile).unwrap_err();
    let mut told: Vec<_> = problems.iter().map(|problem| problem.path.as_deref().unwrap()).collect();
    told.sort_unstable();
    let places =
        ["/0/data/config/onItemError", "/1/data/config/condition", "/2/data/config/value", "/3/data/config/width"];
    assert_eq!(told, places.map(|place| format!("/nodes{place}")), "{problems:?}");
    let of_schema: Vec<_> = problems.iter().filter(|problem| problem.fix.contains("schema")).collect();
    assert_eq!(of_schema.len(), 1, "the reader says it better: {problems:?}");
}

#[test]
fn a_fault_of_a_config_is_told_where_the_value_is_written() {
    let width = |data: Value| json!([{"id": "d", "data": data}]);
    let of = |rest: Value| {
        let mut data = json!({"nodeType": "generate:flux_2_pro", "prompt": "x"});
        data.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let found = problem(&width(data), &json!([]));
        (found.path.unwrap(), found.fix)
    };
    for (data, place) in [
        (json!({"config": {"width": "wide"}}), "config/width"),
        (json!({"params": {"width": "wide"}}), "params/width"),
        (json!({"config": {"width": "wide"}, "params": {"width": 7}}), "config/width"),
        (json!({"width": "wide"}), "width"),
    ] {
        assert_eq!(of(data), (format!("/nodes/0/data/{place}"), "Do as the schema says.".to_owned()));
    }
    // What a reader of the config says better is told there, too.
    let nodes = json!([{"id": "map", "data": {"nodeType": "logic:map", "params": {"onItemError": "ignore"}}}]);
    let by_schema = |_: &NodeType, _: &str| vec![fault("/onItemError", "no")];
    let compile = Compile { strict: true, complete: false, check_config: &by_schema };
    let problems = Graph::compile(&draft(&nodes, &json!([])).unwrap(), &types(), compile).unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| (problem.path.as_deref(), problem.message == "no")).collect();
    assert_eq!(told, [(Some("/nodes/0/data/params/onItemError"), false)], "{problems:?}");
}

#[test]
fn before_any_agent_has_come_its_types_are_no_slips_of_the_pen() {
    let of = |types: &TypeCatalogue, node_type: &str| {
        let graph = draft(&json!([node("n", node_type, json!({}))]), &json!([])).unwrap();
        Graph::compile(&graph, types, STRICT).unwrap_err().remove(0)
    };
    let none = TypeCatalogue::new();
    let early = of(&none, "storage:text");
    assert_eq!(early.rule, rule::UNKNOWN_NODE_TYPE);
    assert!(
        early.message.contains("\"storage:text\"") && early.message.contains("none has connected yet"),
        "{early:?}"
    );
    assert!(early.fix.contains("heddle agent") && !early.fix.contains("Did you mean"), "{early:?}");
    for slip in ["input:txt", "inputs:text"] {
        assert!(of(&none, slip).fix.contains("Did you mean \"input:text\""), "{:?}", of(&none, slip));
    }
    let late = of(&types(), "storage:text");
    assert!(!late.message.contains("connected"), "{late:?}");
}
