//! Events.

use heddle_proto::control;

use super::unreadable;
use crate::dto::event::EventHead;
use crate::dto::time::Time;
use crate::http::error::ApiError;

/// Writes an event as one object: the head's fields, then the fact's own, as they came.
pub(crate) fn write(out: &mut Vec<u8>, event: &control::Event, execution_id: &str) -> Result<(), ApiError> {
    let head = EventHead {
        seq: (event.seq > 0).then_some(event.seq),
        at: Time(event.at_ms),
        r#type: &event.r#type,
        execution_id,
    };
    serde_json::to_writer(&mut *out, &head).map_err(|_| unreadable("event"))?;
    let data = event.data_json.trim_ascii();
    let fields = match data {
        b"" => return Ok(()),
        [b'{', fields @ .., b'}'] => fields.trim_ascii(),
        _ => return Err(unreadable("data of an event")),
    };
    if !fields.is_empty() {
        out.pop();
        out.push(b',');
        out.extend_from_slice(fields);
        out.push(b'}');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    fn text(data: &'static [u8]) -> Result<String, ApiError> {
        let event = control::Event {
            seq: 3,
            at_ms: 0,
            r#type: "node.completed".to_owned(),
            data_json: Bytes::from_static(data),
            place: String::new(),
        };
        let mut out = Vec::new();
        write(&mut out, &event, "exec_1")?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_event_is_one_object() {
        let head = r#"{"seq":3,"at":"1970-01-01T00:00:00.000Z","type":"node.completed","executionId":"exec_1""#;
        assert_eq!(text(b"").unwrap(), format!("{head}}}"));
        assert_eq!(text(b" { } ").unwrap(), format!("{head}}}"));
        assert_eq!(text(br#"{"nodeId":"a"}"#).unwrap(), format!(r#"{head},"nodeId":"a"}}"#));
        assert!(text(b"[1]").is_err());
    }
}
