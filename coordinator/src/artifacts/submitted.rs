//! Files among the inputs of a submission: a description of an artifact, as answers show it, stands for the artifact.

use heddle_core::id::NodeIx;
use heddle_core::value::{Artifact, Digest, Value};
use serde::Deserialize;
use tonic::Status;

use crate::auth::Tenant;
use crate::rpc::failure;
use crate::shared::Shared;

/// What an artifact's description must have; anything else about it is known here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    digest: String,
    #[serde(rename = "mediaType")]
    _media_type: String,
}

/// Puts artifacts in the place of their descriptions, and keeps them for another day. One that the tenant does not have is
/// refused, whoever else may have it.
pub(crate) async fn resolve(
    shared: &Shared,
    tenant: &Tenant,
    given: Vec<(NodeIx, Value)>,
) -> Result<Vec<(NodeIx, Value)>, Status> {
    let mut resolved = Vec::with_capacity(given.len());
    for (ix, value) in given {
        let value = match digest_of(&value) {
            None => value,
            Some(digest) => {
                let touched = shared.artifacts.rows.touch_artifact(tenant.clone(), digest, shared.clock.now());
                let row = touched.await.map_err(|error| failure::journal(&error))?;
                let missing = || {
                    let message =
                        format!("inputs name the artifact {digest}, and there is none: upload the file first");
                    failure::plain(422, "artifact_not_found", message)
                };
                let row = row.ok_or_else(missing)?;
                let is_json = &*row.media_type == "application/json";
                Value::from_artifact(Artifact { digest, bytes: row.bytes, media_type: row.media_type, is_json })
            }
        };
        resolved.push((ix, value));
    }
    Ok(resolved)
}

fn digest_of(value: &Value) -> Option<Digest> {
    if value.json().first() != Some(&b'{') {
        return None;
    }
    let description: Description = serde_json::from_slice(value.json()).ok()?;
    let digest: heddle_artifacts::Digest = description.digest.parse().ok()?;
    Some(Digest(digest.0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_descriptions_stand_for_artifacts() {
        let digest = Digest::of(b"x");
        let of = |json: String| digest_of(&Value::from_json(Bytes::from(json)));
        assert_eq!(of(format!(r#"{{"digest":"{digest}","mediaType":"image/png","bytes":1,"url":"u"}}"#)), Some(digest));
        for other in [
            format!(r#""{digest}""#),
            format!(r#"{{"digest":"{digest}"}}"#),
            format!(r#"[{{"digest":"{digest}","mediaType":"a/b"}}]"#),
            r#"{"digest":"x","mediaType":"a/b"}"#.to_owned(),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }
}
