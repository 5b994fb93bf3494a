//! Outputs on the nodes of a graph: what a read leaves there, and what a request to execute brings back.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use heddle_proto::control::{CachedNode, CarriedOutput};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{raw, unreadable};
use crate::dto::run::Outputs;
use crate::http::error::ApiError;

/// What a read says of where an output comes from: `data.cached`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached<'a> {
    #[serde(borrow)]
    execution_id: Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    inputs_digest: Cow<'a, str>,
}

/// The outputs that the nodes of a request carry. A node that is no node is left to the validator.
pub(crate) fn carried(nodes: &Bytes) -> Vec<CarriedOutput> {
    #[derive(Deserialize)]
    struct Node<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        #[serde(borrow)]
        output: Option<&'a RawValue>,
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        #[serde(borrow)]
        selected_index: Option<&'a RawValue>,
        #[serde(borrow)]
        cached: Option<&'a RawValue>,
    }

    let each: Vec<&RawValue> = serde_json::from_slice(nodes).unwrap_or_default();
    let carried = each.into_iter().enumerate().filter_map(|(place, node)| {
        let Node { id, data } = serde_json::from_str(node.get()).ok()?;
        let selected = || chosen(data.result?, data.selected_index);
        let key = if data.output.is_some() { "output" } else { "result" };
        let output = data.output.or_else(selected).filter(|output| says_something(output))?;
        let cached: Option<Cached<'_>> = data.cached.and_then(|cached| serde_json::from_str(cached.get()).ok());
        let output = CarriedOutput {
            node_id: id.into_owned(),
            output_json: nodes.slice_ref(output.get().as_bytes()),
            path: format!("/nodes/{place}/data/{key}"),
            ..CarriedOutput::default()
        };
        Some(match cached {
            None => output,
            Some(cached) => CarriedOutput {
                execution_id: cached.execution_id.into_owned(),
                seq: cached.seq,
                inputs_digest: cached.inputs_digest.into_owned(),
                ..output
            },
        })
    });
    carried.collect()
}

/// One of several results: the one that its user has chosen, else the first.
fn chosen<'a>(results: &'a RawValue, index: Option<&RawValue>) -> Option<&'a RawValue> {
    let results: Vec<&RawValue> = serde_json::from_str(results.get()).ok()?;
    let index: usize = index.and_then(|index| serde_json::from_str(index.get()).ok()).unwrap_or(0);
    results.get(index).or_else(|| results.first()).copied()
}

/// `null` and empty objects are what editors leave on a node that has not run.
fn says_something(output: &RawValue) -> bool {
    let text = output.get();
    let is_empty = text.starts_with('{') && text[1..text.len() - 1].trim().is_empty();
    text != "null" && !is_empty
}

/// The nodes of a stored graph with what each gave last, all else byte for byte.
pub(crate) fn decorated(nodes: &[u8], cached: &[CachedNode]) -> Result<Vec<u8>, ApiError> {
    #[derive(Deserialize)]
    struct Node<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }

    let by_id: HashMap<&str, &CachedNode> = cached.iter().map(|node| (node.node_id.as_str(), node)).collect();
    let each: Vec<&RawValue> = serde_json::from_slice(nodes).map_err(|_| unreadable("nodes of a graph"))?;
    let mut text = Vec::with_capacity(nodes.len() + cached.len() * 256);
    let mut done = 0;
    for node in each {
        let Node { id, data } = serde_json::from_str(node.get()).map_err(|_| unreadable("node of a graph"))?;
        let data = data.map(RawValue::get).filter(|data| data.starts_with('{'));
        if let (Some(cached), Some(data)) = (by_id.get(&*id), data) {
            // Both are parts of one text.
            let end = data.as_ptr().addr() - nodes.as_ptr().addr() + data.len() - 1;
            text.extend_from_slice(&nodes[done..end]);
            if !data[1..data.len() - 1].trim().is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(members(cached)?.as_bytes());
            done = end;
        }
    }
    text.extend_from_slice(&nodes[done..]);
    Ok(text)
}

/// What a read adds to the `data` of a node.
fn members(node: &CachedNode) -> Result<String, ApiError> {
    let outputs: Result<Vec<_>, ApiError> = node
        .outputs
        .iter()
        .map(|output| Ok((output.port.as_str(), raw(&output.value_json, "cached output of a node")?)))
        .collect();
    let written = |text: serde_json::Result<String>| text.map_err(|_| unreadable("cached output of a node"));
    let output = written(serde_json::to_string(&Outputs(outputs?)))?;
    let cached = written(serde_json::to_string(&Cached {
        execution_id: node.execution_id.as_str().into(),
        seq: node.seq,
        inputs_digest: node.inputs_digest.as_str().into(),
    }))?;
    Ok(format!(r#""output":{output},"result":[{output}],"cached":{cached}"#))
}

#[cfg(test)]
mod tests {
    use heddle_proto::control::PortValue;

    use super::*;

    fn node(id: &str) -> CachedNode {
        CachedNode {
            node_id: id.to_owned(),
            execution_id: "exec_1".to_owned(),
            seq: 7,
            inputs_digest: "ab".to_owned(),
            outputs: vec![PortValue { port: "text".to_owned(), value_json: "\"x\"".into(), ..PortValue::default() }],
        }
    }

    #[test]
    fn a_read_leaves_outputs_on_nodes_and_a_request_brings_them_back() {
        let stored =
            br#"[{"id":"a","data":{"nodeType":"x:y","n":1.50}},{"id":"b"},{"id":"\u0063","z":0,"data":{}},{"id":"d","data":{}}]"#;
        let shown = decorated(stored, &[node("a"), node("b"), node("c")]).unwrap();
        let added = r#""output":{"text":"x"},"result":[{"text":"x"}],"cached":{"executionId":"exec_1","seq":7,"inputsDigest":"ab"}"#;
        let expected = format!(
            r#"[{{"id":"a","data":{{"nodeType":"x:y","n":1.50,{added}}}}},{{"id":"b"}},{{"id":"\u0063","z":0,"data":{{{added}}}}},{{"id":"d","data":{{}}}}]"#
        );
        assert_eq!(String::from_utf8(shown.clone()).unwrap(), expected);
        let carried = carried(&shown.into());
        let ids: Vec<_> = carried.iter().map(|output| output.node_id.as_str()).collect();
        assert_eq!(ids, ["a", "c"]);
        assert_eq!((&*carried[0].output_json, &*carried[0].execution_id), (&br#"{"text":"x"}"#[..], "exec_1"));
        assert_eq!((carried[0].seq, &*carried[0].inputs_digest), (7, "ab"));
        assert_eq!(decorated(stored, &[]).unwrap(), stored);
    }

    #[test]
    fn outputs_of_other_clients_are_taken_as_they_are() {
        let given = |data: &str| {
            let nodes = format!(r#"[{{"id":"a","data":{data}}},7,{{"id":3,"data":{{"output":1}}}}]"#);
            let carried = carried(&nodes.into());
            assert!(carried.len() <= 1, "{carried:?}");
            carried.first().map(|output| (String::from_utf8(output.output_json.to_vec()).unwrap(), output.seq))
        };
        let some = |text: &str| Some((text.to_owned(), 0));
        assert_eq!(given(r#"{"output":"text"}"#), some("\"text\""));
        assert_eq!(given(r#"{"output":false,"cached":{"executionId":"exec_1"}}"#), some("false"));
        assert_eq!(given(r#"{"result":[{"a":1},{"b":2}]}"#), some(r#"{"a":1}"#));
        assert_eq!(given(r#"{"output":null,"result":[{"a":1},{"b":2}],"selectedIndex":1}"#), some(r#"{"b":2}"#));
        assert_eq!(given(r#"{"result":[{"a":1}],"selectedIndex":9}"#), some(r#"{"a":1}"#));
        for nothing in ["{}", r#"{"output":null}"#, r#"{"output":{ }}"#, r#"{"result":[]}"#, r#"{"result":"x"}"#, "[]"]
        {
            assert_eq!(given(nothing), None, "{nothing}");
        }
    }
}
