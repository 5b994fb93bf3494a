use super::super::rule;
use super::*;
use crate::limits::{GRAPH_EDGES_MAX, GRAPH_ID_BYTES_MAX, GRAPH_NODES_MAX};

fn stored(nodes: &str, edges: &str) -> (String, String) {
    let draft = Draft::parse(nodes.as_bytes(), edges.as_bytes()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&draft.stored().nodes), text(&draft.stored().edges))
}

fn refused(nodes: &str, edges: &str) -> Vec<(&'static str, String)> {
    let problems = Draft::parse(nodes.as_bytes(), edges.as_bytes()).unwrap_err();
    problems.into_iter().map(|problem| (problem.rule, problem.path.unwrap())).collect()
}

#[test]
fn a_react_flow_document_is_kept_byte_for_byte_but_for_run_time_fields() {
    let sent = r##"[
      {"id":"n1","type":"basedNode","position":{"x":-0.0,"y":1.50},"measured":{"width":320,"height":1e2},
       "selected":true,"dragging":false,"style":{"width":"100%","color":"\u0023fff"},"zIndex":1000,"dims":{"width":1},
       "data":{"label":"L\u00e9 \"x\"","nodeType":"debug:echo","mine":{"output":1,"result":[]},"output":{"url":"u"},
               "result":[1],"selectedOutput":null,"selectedIndex":0,"isExecuting":false,"\u0064ims":{},
               "cached":{"executionId":"e"},"config":{"big":12345678901234567890.10,"in":1}}},
      {"id":"n2","type":"stickyNote","data":{"output":1}},
      {"id":"n3","type":"group","data":null}
    ]"##;
    let kept = concat!(
        r##"[{"id":"n1","type":"basedNode","position":{"x":-0.0,"y":1.50},"measured":{"width":320,"height":1e2},"##,
        r##""selected":true,"dragging":false,"style":{"width":"100%","color":"\u0023fff"},"zIndex":1000,"##,
        r##""data":{"label":"L\u00e9 \"x\"","nodeType":"debug:echo","mine":{"output":1,"result":[]},"##,
        r##""config":{"big":12345678901234567890.10,"in":1}}},"##,
        r##"{"id":"n2","type":"stickyNote","data":{}},{"id":"n3","type":"group","data":null}]"##,
    );
    let edges = r#"[ { "source" : "n1" , "target" : "n1b" , "animated" : true, "id" : "e", "output": 1 } ]"#;
    let (nodes, edges) = stored(sent, edges);
    assert_eq!(nodes, kept);
    assert_eq!(edges, r#"[{"source":"n1","target":"n1b","animated":true,"id":"e","output":1}]"#);
    assert_eq!(stored(&nodes, &edges), (nodes, edges));
}

#[test]
fn numbers_of_a_config_keep_their_text() {
    let nodes = r#"[{"id":"n","data":{"nodeType":"debug:echo","config":{"big":12345678901234567890.10,"in":1.0}}}]"#;
    let draft = Draft::parse(nodes.as_bytes(), b"[]").unwrap();
    let graph = super::super::Graph::compile(&draft, &types(), STRICT).unwrap().graph;
    let node = graph.node(crate::id::NodeIx(0));
    assert_eq!(node.config, r#"{"big":12345678901234567890.10}"#);
    assert_eq!(node.constants[0].1.json(), "1.0");
}

#[test]
fn the_digest_follows_the_stored_text() {
    let digest = |nodes: &str, edges: &str| Draft::parse(nodes.as_bytes(), edges.as_bytes()).unwrap().stored().digest();
    let one = digest(r#"[{"id":"a"}]"#, "[]");
    assert_eq!(one, crate::value::Digest::of(b"[{\"id\":\"a\"}]\n[]"));
    assert_eq!(one, digest(r#" [ {"id":"a","dims":{}} ] "#, "[]\n"));
    assert_ne!(one, digest(r#"[{"id":"b"}]"#, "[]"));
}

#[test]
fn malformed_documents_are_refused_with_every_place() {
    let found = refused(
        r#"[1, {"id":""}, {"data":{}}, {"id":5}, {"id":"a","data":[]}, {"id":"ok"}]"#,
        r#"[{"source":"a"}, {"id":7,"source":"a","target":"b"}, "x", {"source":"a","target":"b","sourceHandle":1}]"#,
    );
    let expected = [
        (rule::BAD_JSON, "/nodes/0"),
        (rule::MISSING_ID, "/nodes/1"),
        (rule::MISSING_ID, "/nodes/2"),
        (rule::BAD_JSON, "/nodes/3/id"),
        (rule::BAD_JSON, "/nodes/4/data"),
        (rule::DANGLING_EDGE, "/edges/0"),
        (rule::BAD_JSON, "/edges/1/id"),
        (rule::BAD_JSON, "/edges/2"),
        (rule::BAD_JSON, "/edges/3/sourceHandle"),
    ];
    assert_eq!(found, expected.map(|(rule, path)| (rule, path.to_owned())));
    assert_eq!(refused("{}", "nonsense"), [(rule::BAD_JSON, "/nodes".into()), (rule::BAD_JSON, "/edges".into())]);
    let twice = r#"[{"id":"a","data":{"config":{"k":1,"k":2}}}]"#;
    assert_eq!(refused(twice, "[]"), [(rule::BAD_JSON, "/nodes/0/data/config".into())]);
}

#[test]
fn bounds_are_kept() {
    let many = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    assert_eq!(refused(&many(GRAPH_NODES_MAX + 1), "[]"), [(rule::LIMITS, "/nodes".into())]);
    assert_eq!(refused("[]", &many(GRAPH_EDGES_MAX + 1)), [(rule::LIMITS, "/edges".into())]);
    let long = format!(r#"[{{"id":"{}"}}]"#, "x".repeat(GRAPH_ID_BYTES_MAX + 1));
    assert_eq!(refused(&long, "[]"), [(rule::LIMITS, "/nodes/0/id".into())]);
    let deep = format!(r#"[{{"id":"a","data":{}{}}}]"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(refused(&deep, "[]"), [(rule::LIMITS, "/nodes".into())]);
}
