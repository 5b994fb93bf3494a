//! Files among the inputs of a submission: a description of an artifact, as answers show it, stands for the artifact.

use std::collections::BTreeSet;

use heddle_core::id::NodeIx;
use heddle_core::value::{Artifact, Digest, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use tonic::Status;

use crate::auth::Tenant;
use crate::limits::LISTED_FILES_MAX;
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
        let value = match digest_of(value.json()) {
            None => {
                // A list stays as it is; its files are kept for another day.
                for digest in listed(value.json()) {
                    touched(shared, tenant, digest).await?;
                }
                value
            }
            Some(digest) => Value::from_artifact(touched(shared, tenant, digest).await?),
        };
        resolved.push((ix, value));
    }
    Ok(resolved)
}

async fn touched(shared: &Shared, tenant: &Tenant, digest: Digest) -> Result<Artifact, Status> {
    let touched = shared.artifacts.rows.touch_artifact(tenant.clone(), digest, shared.clock.now());
    let row = touched.await.map_err(|error| failure::journal(&error))?;
    let missing = || {
        let message = format!("inputs name the artifact {digest}, and there is none: upload the file first");
        failure::plain(422, "artifact_not_found", message)
    };
    let row = row.ok_or_else(missing)?;
    let is_json = &*row.media_type == "application/json";
    Ok(Artifact { digest, bytes: row.bytes, media_type: row.media_type, is_json })
}

fn digest_of(json: &[u8]) -> Option<Digest> {
    if json.first() != Some(&b'{') {
        return None;
    }
    let description: Description = serde_json::from_slice(json).ok()?;
    let digest: heddle_artifacts::Digest = description.digest.parse().ok()?;
    Some(Digest(digest.0))
}

/// The files of a list, each once, as many as are looked up.
fn listed(json: &[u8]) -> BTreeSet<Digest> {
    if json.first() != Some(&b'[') {
        return BTreeSet::new();
    }
    let items: Vec<&RawValue> = serde_json::from_slice(json).unwrap_or_default();
    items.iter().filter_map(|item| digest_of(item.get().as_bytes())).take(LISTED_FILES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descriptions_stand_for_artifacts() {
        let digest = Digest::of(b"x");
        let of = |json: String| digest_of(json.as_bytes());
        assert_eq!(of(format!(r#"{{"digest":"{digest}","mediaType":"image/png","bytes":1,"url":"u"}}"#)), Some(digest));
        for other in [
            format!(r#""{digest}""#),
            format!(r#"{{"digest":"{digest}"}}"#),
            format!(r#"[{{"digest":"{digest}","mediaType":"a/b"}}]"#),
            r#"{"digest":"x","mediaType":"a/b"}"#.to_owned(),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
        let file = format!(r#"{{"digest":"{digest}","mediaType":"image/png"}}"#);
        assert_eq!(listed(format!("[{file}, 1, {file}, [{file}]]").as_bytes()), [digest].into());
        assert!(listed(file.as_bytes()).is_empty() && listed(b"[").is_empty());
    }
}
