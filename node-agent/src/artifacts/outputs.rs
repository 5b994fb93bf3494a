//! Outputs that are too large for a result go to the store before the result is told.

use std::borrow::Cow;

use bytes::Bytes;
use heddle_proto::agent as wire;
use serde::de::IgnoredAny;

use super::failed;
use super::files::Files;
use crate::limits::{OUTPUT_BYTES_MAX, RESULT_BYTES_MAX, RESULT_VALUES_MAX, VALUE_BYTES_MAX};
use crate::runners::{ErrorClass, Failure, Output};

/// The value of one output port as it is told: inline, or in the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    pub(crate) port: Cow<'static, str>,
    /// JSON; empty with an artifact.
    pub(crate) value: Bytes,
    pub(crate) artifact: Option<wire::Artifact>,
}

/// Puts what is large into the store: values above the limit of one, and if all together are above the limit of a result,
/// the larger ones of them.
pub(crate) async fn keep(files: &Files, outputs: Vec<Output>) -> Result<Vec<Given>, Failure> {
    if outputs.len() > RESULT_VALUES_MAX {
        let message = format!(
            "the result has {} values, and at most {RESULT_VALUES_MAX} are kept; split the node",
            outputs.len()
        );
        return Err(Failure::new(ErrorClass::InvalidRequest, "too_many_outputs", message));
    }
    let small: usize = outputs.iter().map(|output| output.value.len()).filter(|bytes| *bytes <= VALUE_BYTES_MAX).sum();
    let inline_max = if small > RESULT_BYTES_MAX { RESULT_BYTES_MAX / RESULT_VALUES_MAX } else { VALUE_BYTES_MAX };
    let mut given = Vec::with_capacity(outputs.len());
    for Output { port, value } in outputs {
        let artifact = match files.find(&value) {
            Some(file) => Some(file),
            None if value.len() > inline_max => Some(store(files, &port, &value).await?),
            None => None,
        };
        let value = if artifact.is_some() { Bytes::new() } else { value };
        given.push(Given { port, value, artifact });
    }
    Ok(given)
}

async fn store(files: &Files, port: &str, value: &Bytes) -> Result<wire::Artifact, Failure> {
    let invalid = |code, message| Failure::new(ErrorClass::InvalidRequest, code, message);
    let length = value.len();
    if length > OUTPUT_BYTES_MAX {
        let message =
            format!("the value of output {port} has {length} bytes, above {OUTPUT_BYTES_MAX}; make it a file");
        return Err(invalid("value_too_large", message));
    }
    // Nobody looks into it on its way.
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(value) {
        return Err(invalid("output_not_json", format!("the output {port} is no JSON: {error}")));
    }
    let put = files.desk().store()?.put(files.tenant(), value.clone()).await;
    let digest = put.map_err(|error| failed(&error))?;
    Ok(wire::Artifact {
        digest: Bytes::copy_from_slice(&digest.0),
        bytes: length as u64,
        media_type: "application/json".to_owned(),
        json: true,
    })
}
