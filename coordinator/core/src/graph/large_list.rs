//! Lists that are put in by hand and are too large for a request: JSON that was uploaded is the list where one is to be.

use super::json::Json;
use super::problem::{Problem, rule};
use super::{Graph, inputs};
use crate::id::{NodeIx, PortIx};
use crate::node_type::PortType;

/// What an uploaded list has to be where one is put in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListPlace {
    /// What each item is. Nothing is made into it.
    item: PortType,
    /// How many there may be.
    items_max: Option<f64>,
}

impl ListPlace {
    /// Of items of this type, as many as there are; nothing for files.
    pub fn of(item: PortType) -> Option<Self> {
        (!item.is_media()).then_some(Self { item, items_max: None })
    }

    /// What is wrong with an item at this place, counted from 0; its JSON has been read.
    ///
    /// # Errors
    /// It is of another type, or one too many.
    pub fn check(&self, place: u64, item: &[u8]) -> Result<(), Problem> {
        let item = Json(std::str::from_utf8(item).unwrap_or_default().trim());
        let is_right = match self.item {
            PortType::Text => item.0.starts_with('"'),
            PortType::Number => item.is_number(),
            PortType::Boolean => item.is_boolean(),
            _ => true,
        };
        if !is_right {
            let message = format!("Item {place} of the uploaded list is no {}.", self.item);
            return Err(bad(message, format!("Upload a list of values of type {}.", self.item)));
        }
        match self.items_max.filter(|most| place as f64 >= *most) {
            Some(most) => {
                let message = format!("The uploaded list has more than {most} items.");
                Err(bad(message, format!("Give at most {most} items.")))
            }
            None => Ok(()),
        }
    }
}

/// What was uploaded is not the list that is to be put in, for this reason.
pub fn no_list(why: &str) -> Problem {
    let fix =
        "Upload a JSON array; to give a file as the one item of a list, put what its upload answered into brackets.";
    bad(format!("What was uploaded stands in the place of a list, and {why}."), fix.to_owned())
}

fn bad(message: String, fix: String) -> Problem {
    Problem::new(rule::BAD_INPUT, message, fix)
}

/// Whether a value is what the answer to an upload of JSON shows.
pub(super) fn is_upload(value: Json<'_>) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digest = value.get("digest").and_then(Json::as_text);
    let media_type = value.get("mediaType").and_then(Json::as_text);
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(is_digit))
        && media_type.is_some_and(|media_type| is_json(&media_type))
}

/// Whether a media type is that of JSON, whatever its parameters are.
fn is_json(media_type: &str) -> bool {
    media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

impl Graph {
    /// What an upload has to be that stands for the whole list at an output; nothing where the output gives no list, or one of
    /// files: there an upload is a file.
    pub fn list_place(&self, node: NodeIx, port: PortIx) -> Option<ListPlace> {
        let node = self.node(node);
        let declared = node.node_type.as_ref()?.outputs.get(usize::from(port.0)).filter(|port| port.list)?;
        let (item, items_max) = inputs::list_bounds(node).unwrap_or((declared.port_type, None));
        (!item.is_media()).then_some(ListPlace { item, items_max })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::graph::fixture::Fixture;

    #[test]
    fn an_upload_of_json_is_the_list_unless_items_are_files() {
        let upload = json!({ "digest": "a".repeat(64), "mediaType": "application/json", "bytes": 9, "url": "u" });
        let picture = json!({ "digest": "a".repeat(64), "mediaType": "image/png" });
        let list =
            |config| Fixture::default().node("in", json!({ "nodeType": "input:list", "config": config })).build();
        let given = |config, value: &serde_json::Value| {
            let bound = list(config).bind_inputs(json!({ "in": value }).to_string().as_bytes()).unwrap();
            serde_json::from_slice::<serde_json::Value>(bound[0].1.json()).unwrap()
        };
        for item_type in ["any", "text", "number", "json"] {
            assert_eq!(given(json!({ "itemType": item_type }), &upload), upload, "{item_type}");
            assert!(list(json!({ "itemType": item_type })).list_place(NodeIx(0), PortIx(0)).is_some());
        }
        let spelt = json!({ "digest": "a".repeat(64), "mediaType": "Application/JSON; charset=utf-8" });
        assert_eq!(given(json!({}), &spelt), spelt);
        assert_eq!(given(json!({ "itemType": "file" }), &upload), json!([upload]));
        assert_eq!(list(json!({ "itemType": "file" })).list_place(NodeIx(0), PortIx(0)), None);
        assert_eq!(given(json!({}), &picture), json!([picture]));
        assert_eq!(given(json!({}), &json!([upload])), json!([upload]));
        for other in [json!({ "digest": "A".repeat(64), "mediaType": "application/json" }), json!({ "digest": 1 })] {
            assert_eq!(given(json!({}), &other), json!([other]), "it is a value like others");
        }
    }

    #[test]
    fn items_are_what_the_place_takes_and_not_too_many() {
        let place = ListPlace { item: PortType::Number, items_max: Some(2.0) };
        let texts = [(0, "1.5", true), (1, " -2 ", true), (0, "\"1\"", false), (1, "null", false), (2, "3", false)];
        for (at, item, is_right) in texts {
            assert_eq!(place.check(at, item.as_bytes()).is_ok(), is_right, "{item}");
        }
        let any = ListPlace { item: PortType::Any, items_max: None };
        assert!(any.check(1_000_000, b"null").is_ok());
    }
}
