//! What is wrong with the shape of a workflow's file.

use serde_json::Value;

use crate::json_shape::{Kind, expect, optional};

/// The first fault of a text that is JSON and no workflow; `None` if it is no JSON.
pub(super) fn fault(text: &str) -> Option<String> {
    let document: Value = serde_json::from_str(text).ok()?;
    document_fault(&document).err()
}

fn document_fault(document: &Value) -> Result<(), String> {
    expect(Some(document), Kind::Object, "")?;
    for list in ["nodes", "edges"] {
        expect(document.get(list), Kind::Array, &format!("/{list}"))?;
    }
    optional(document.get("policy"), Kind::Object, "/policy")?;
    for (place, node) in items(document, "nodes") {
        expect(Some(node), Kind::Object, &place)?;
        expect(node.get("id"), Kind::Text, &format!("{place}/id"))?;
        optional(node.get("type"), Kind::Text, &format!("{place}/type"))?;
        let data = node.get("data");
        data.map_or(Ok(()), |data| expect(Some(data), Kind::Object, &format!("{place}/data")))?;
        for key in ["label", "nodeType"] {
            optional(data.and_then(|data| data.get(key)), Kind::Text, &format!("{place}/data/{key}"))?;
        }
    }
    for (place, edge) in items(document, "edges") {
        expect(Some(edge), Kind::Object, &place)?;
        for key in ["source", "target"] {
            expect(edge.get(key), Kind::Text, &format!("{place}/{key}"))?;
        }
    }
    Ok(())
}

fn items<'a>(document: &'a Value, list: &'a str) -> impl Iterator<Item = (String, &'a Value)> {
    let items = document[list].as_array().into_iter().flatten().enumerate();
    items.map(move |(number, item)| (format!("/{list}/{number}"), item))
}
