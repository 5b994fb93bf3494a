use std::collections::BTreeMap;

use super::super::{EditError, Gaps, Layout};
use super::*;

const GAPS: Gaps = Gaps { x: 100.0, y: 50.0 };

fn draft(nodes: Value, edges: &[(&str, &str)]) -> Draft {
    let edges: Vec<Value> = edges.iter().map(|(source, target)| json!({"source": source, "target": target})).collect();
    Draft::parse(nodes.to_string().as_bytes(), json!(edges).to_string().as_bytes()).unwrap()
}

/// Nodes of one size.
fn plain(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({"id": id, "measured": {"width": 200, "height": 100}})).collect()
}

fn places(draft: &Draft, layout: &Layout) -> BTreeMap<String, (f64, f64)> {
    layout.positions.iter().map(|(place, at)| (draft.node_id(*place).to_owned(), (at.x, at.y))).collect()
}

fn laid_out(draft: &Draft, scope: Option<&[&str]>) -> BTreeMap<String, (f64, f64)> {
    let scope: Option<Vec<String>> = scope.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
    places(draft, &draft.lay_out(GAPS, scope.as_deref()).unwrap())
}

#[test]
fn each_node_lies_right_of_all_that_leads_to_it() {
    // The short way from a to d does not pull it left.
    let draft = draft(plain(&["d", "a", "b", "c"]), &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d")]);
    let found = laid_out(&draft, None);
    let expected = [("a", (0.0, 75.0)), ("b", (300.0, 0.0)), ("c", (300.0, 150.0)), ("d", (600.0, 75.0))];
    assert_eq!(found, expected.map(|(id, at)| (id.to_owned(), at)).into());
    let layout = draft.lay_out(GAPS, None).unwrap();
    assert_eq!((layout.bounds.width, layout.bounds.height, layout.moved), (800.0, 250.0, 4));
    let moved = draft.moved(&layout.positions).unwrap();
    assert_eq!(moved.lay_out(GAPS, None).unwrap(), Layout { moved: 0, ..layout }, "a second time changes nothing");
}

#[test]
fn branches_do_not_cross_where_they_need_not() {
    let edges = [("a", "x"), ("b", "y"), ("y", "q"), ("x", "p"), ("a", "b2"), ("b2", "y")];
    let found = laid_out(&draft(plain(&["a", "b", "y", "x", "q", "p", "b2"]), &edges), None);
    assert_eq!(found["x"].1 < found["y"].1, found["p"].1 < found["q"].1, "{found:?}");
}

#[test]
fn a_circle_and_edges_to_nobody_are_borne() {
    let draft = draft(plain(&["a", "b", "c"]), &[("a", "b"), ("b", "c"), ("c", "b"), ("c", "c"), ("c", "gone")]);
    let found = laid_out(&draft, None);
    assert_eq!([found["a"].0, found["b"].0, found["c"].0], [0.0, 300.0, 600.0]);
}

#[test]
fn what_is_not_wired_goes_below() {
    let found = laid_out(&draft(plain(&["note", "a", "b", "other"]), &[("a", "b")]), None);
    assert_eq!((found["note"], found["other"]), ((0.0, 200.0), (300.0, 200.0)));
}

#[test]
fn a_container_holds_its_body_and_goes_before_what_it_leads_to() {
    let mut nodes = plain(&["in", "out"]);
    let inside = |id: &str| json!({"id": id, "parentId": "map", "measured": {"width": 200, "height": 100}});
    let map = json!({"id": "map", "type": "group", "data": {"nodeType": "logic:map"}});
    nodes.as_array_mut().unwrap().extend([inside("one"), inside("two"), map]);
    let edges = [("in", "map"), ("map", "one"), ("one", "two"), ("two", "map"), ("map", "out"), ("in", "two")];
    let draft = draft(nodes, &edges);
    let found = laid_out(&draft, None);
    assert_eq!((found["one"], found["two"]), ((40.0, 80.0), (340.0, 80.0)), "counted from their container");
    // 340 + 200 + 40 wide.
    assert_eq!((found["map"].0, found["out"].0), (300.0, 300.0 + 580.0 + 100.0));
}

#[test]
fn a_scope_moves_its_own_nodes_only_from_where_they_lie() {
    let mut nodes = plain(&["a", "b", "c"]);
    for (place, x) in [500.0, 10.0, 20.0].into_iter().enumerate() {
        nodes[place]["position"] = json!({"x": x, "y": 7});
    }
    let draft = draft(nodes, &[("a", "b"), ("b", "c")]);
    let expected = [("b", (10.0, 7.0)), ("c", (310.0, 7.0))];
    assert_eq!(laid_out(&draft, Some(&["c", "b"])), expected.map(|(id, at)| (id.to_owned(), at)).into());
    assert_eq!(draft.lay_out(GAPS, Some(&["b".into(), "c".into()])).unwrap().moved, 1);
    assert!(laid_out(&draft, Some(&[])).is_empty());
    assert_eq!(draft.lay_out(GAPS, Some(&["z".into()])), Err(EditError::NodeNotFound("z".into())));
}

#[test]
fn nodes_come_with_their_size() {
    let nodes = json!([
        {"id": "a", "measured": {"width": 320, "height": 99.5}, "width": 5, "height": 5},
        {"id": "b", "data": {}},
        {"id": "c", "style": {"width": 200, "height": "100%"}},
        {"id": "g", "type": "group"},
        {"id": "h", "parentId": "g", "position": {"x": 400, "y": 10}, "width": 100, "height": 50},
        {"id": "i", "parentId": "i"},
    ]);
    let found: Value = serde_json::from_slice(&draft(nodes, &[]).nodes_with_dims()).unwrap();
    let dims = |place: usize| found[place]["dims"].clone();
    assert_eq!(dims(0), json!({"width": 320, "height": 99.5, "source": "measured"}));
    assert_eq!(dims(1), json!({"width": 280, "height": 140, "source": "estimated"}));
    assert_eq!(dims(2), json!({"width": 200, "height": 140, "source": "estimated"}));
    assert_eq!(dims(3), json!({"width": 540, "height": 140, "source": "estimated"}), "as large as its body");
    assert_eq!(dims(4), json!({"width": 100, "height": 50, "source": "measured"}));
    assert_eq!(dims(5)["source"], "estimated", "a node that lies in itself lies in none");
}
