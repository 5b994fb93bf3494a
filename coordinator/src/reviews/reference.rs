//! References in edits: a description of an artifact, or its address, stands for what the artifact holds.

use heddle_core::graph::ListPlace;
use heddle_core::limits::INLINE_VALUE_BYTES_MAX;
use heddle_core::node_type::PortType;
use heddle_core::value::{Artifact, Digest, Value};
use serde_json::Value as Json;
use tonic::Status;
use tonic::codegen::http::Uri;

use super::{at_path, invalid};
use crate::artifacts::submitted;
use crate::auth::Tenant;
use crate::limits::REVIEW_REFERENCE_BYTES_MAX;
use crate::rpc::failure;
use crate::shared::Shared;

/// What stands in an artifact's address before its digest.
const PATH: &str = "/api/v1/artifacts/";

/// What was given.
#[derive(Debug)]
pub(super) enum Meant {
    /// A value.
    Json(Json),
    /// A file.
    File(Artifact),
    /// A value that is too large to be looked through.
    Large(Artifact),
}

/// What a value of a port stands for: itself, or what an artifact of this tenant holds.
pub(super) async fn resolve(
    shared: &Shared,
    tenant: &Tenant,
    value: Json,
    port_type: PortType,
    path: &str,
) -> Result<Meant, Status> {
    if value.get("leftOut") == Some(&Json::Bool(true)) && value.get("bytes").is_some_and(Json::is_number) {
        return Err(invalid(
            path,
            "that stands for a value that was too large for an answer; leave data out to approve it",
        ));
    }
    let Some(digest) = named(&value, port_type) else {
        return match port_type.is_media() && !is_address(&value) {
            true => {
                Err(invalid(path, "the port takes a file: what the answer to its upload shows, or its http address"))
            }
            false => Ok(Meant::Json(value)),
        };
    };
    let found = submitted::find(shared, tenant, digest).await?;
    let missing = || format!("there is no artifact {digest}: upload the file first, and give what the answer shows");
    let artifact = found.ok_or_else(|| at_path("artifact_not_found", path, missing()))?;
    if port_type.is_media() {
        return match is_of(port_type, &artifact.media_type) {
            true => Ok(Meant::File(artifact)),
            false => Err(invalid(path, format!("the port takes {port_type}, and the file is {}", artifact.media_type))),
        };
    }
    let takes_files = matches!(port_type, PortType::Json | PortType::Any);
    let is_text = artifact.media_type.starts_with("text/");
    match (artifact.is_json, port_type) {
        (true, _) => value_in(shared, tenant, artifact, port_type, path).await,
        (false, PortType::Text) if is_text => text_in(shared, tenant, &artifact, path).await.map(Meant::Json),
        (false, _) if takes_files => Ok(Meant::File(artifact)),
        (false, _) => {
            let message = format!("the port takes {port_type}, and the artifact is {}", artifact.media_type);
            Err(invalid(path, message))
        }
    }
}

/// The list that was uploaded as JSON, where one is to stand. A large one is gone through, and stays where it is.
pub(super) async fn list(
    shared: &Shared,
    tenant: &Tenant,
    value: Json,
    port_type: PortType,
    path: &str,
) -> Result<Meant, Status> {
    let none =
        || invalid(path, "it stands in the place of a list: send a list, also of one value, or upload it as JSON");
    let place = ListPlace::of(port_type).ok_or_else(none)?;
    let digest = value.get("mediaType").and_then(|_| named(&value, port_type)).ok_or_else(none)?;
    let found = submitted::list(shared, tenant, digest, place).await?;
    let list = found.map_err(|problem| invalid(path, format!("{} {}", problem.message, problem.fix)))?;
    match value_in(shared, tenant, list, PortType::Json, path).await? {
        Meant::Json(list) if !list.is_array() => Err(none()),
        meant => Ok(meant),
    }
}

/// The artifact that a value names: by its description, or where nothing else can be meant by its digest or address alone.
fn named(value: &Json, port_type: PortType) -> Option<Digest> {
    let member = |key: &str| value.get(key).and_then(Json::as_str);
    let by_address = |text: &str| {
        let (_, rest) = text.split_once(PATH)?;
        parsed(rest.split(['?', '#', '/']).next()?)
    };
    let is_plain = port_type.is_media() || port_type == PortType::Text;
    match member("digest").and_then(parsed) {
        Some(digest) if is_plain || member("mediaType").is_some() => Some(digest),
        _ if port_type.is_media() => value.as_str().or_else(|| member("url")).and_then(by_address),
        _ if is_plain => member("url").and_then(by_address),
        _ => None,
    }
}

fn parsed(text: &str) -> Option<Digest> {
    text.parse::<heddle_artifacts::Digest>().ok().map(|digest| Digest(digest.0))
}

/// Whether a value is an address, by itself or in an object.
fn is_address(value: &Json) -> bool {
    let text = value.as_str().or_else(|| value.get("url").and_then(Json::as_str));
    let uri = text.and_then(|text| text.parse::<Uri>().ok());
    let is_digest_given = value.get("digest").is_some();
    !is_digest_given
        && uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// Whether a file of this media type goes through a port.
fn is_of(port_type: PortType, media_type: &str) -> bool {
    match port_type {
        PortType::Image => media_type.starts_with("image/"),
        PortType::Video => media_type.starts_with("video/"),
        PortType::Audio => media_type.starts_with("audio/"),
        _ => true,
    }
}

/// The value whose JSON text an artifact is.
async fn value_in(
    shared: &Shared,
    tenant: &Tenant,
    artifact: Artifact,
    port_type: PortType,
    path: &str,
) -> Result<Meant, Status> {
    if artifact.bytes > REVIEW_REFERENCE_BYTES_MAX {
        let begin = shared.artifacts.begin(tenant, &artifact).await.map_err(|error| failure::store(&error))?;
        let first = begin.trim_ascii_start().first().copied();
        return match (port_type, first) {
            (PortType::Text, Some(b'"')) | (PortType::Json | PortType::Any, Some(_)) => Ok(Meant::Large(artifact)),
            _ => Err(invalid(path, format!("the port takes {port_type}, and the artifact holds something else"))),
        };
    }
    let whole = shared.artifacts.whole(tenant, &artifact).await.map_err(|error| failure::store(&error))?;
    let read = serde_json::from_slice(&whole);
    read.map(Meant::Json).map_err(|error| invalid(path, format!("the artifact is no JSON: {error}")))
}

/// The text that a file is.
async fn text_in(shared: &Shared, tenant: &Tenant, artifact: &Artifact, path: &str) -> Result<Json, Status> {
    let bytes = artifact.bytes;
    if bytes > REVIEW_REFERENCE_BYTES_MAX {
        let message = format!("the text has {bytes} bytes; at most {REVIEW_REFERENCE_BYTES_MAX} are taken");
        return Err(invalid(path, message));
    }
    let whole = shared.artifacts.whole(tenant, artifact).await.map_err(|error| failure::store(&error))?;
    let text = std::str::from_utf8(&whole).map_err(|_| invalid(path, "the file is no text in UTF-8"))?;
    Ok(Json::from(text))
}

/// How a file is described as a value.
pub(super) fn description(file: &Artifact) -> Json {
    serde_json::from_slice(Value::from_artifact(file.clone()).json()).unwrap_or_default()
}

const _: () =
    assert!(REVIEW_REFERENCE_BYTES_MAX > INLINE_VALUE_BYTES_MAX as u64, "what rows cannot hold is looked through");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_artifact_is_named_by_what_can_mean_nothing_else() {
        let digest = Digest::of(b"x");
        let of = |value: Json, port_type| named(&value, port_type);
        let whole = json!({"digest": digest.to_string(), "mediaType": "application/json", "bytes": 1, "url": "u"});
        let address = format!("http://h{PATH}{digest}?tenant=t&signature=s");
        for port_type in [PortType::Text, PortType::Json, PortType::Any, PortType::Number, PortType::Image] {
            assert_eq!(of(whole.clone(), port_type), Some(digest), "{port_type}");
        }
        for short in [json!({"digest": digest.to_string()}), json!({"url": address})] {
            assert_eq!(of(short.clone(), PortType::Text), Some(digest), "{short}");
            assert_eq!(of(short.clone(), PortType::Image), Some(digest), "{short}");
            assert_eq!(of(short, PortType::Json), None, "it may be a value like others");
        }
        assert_eq!(of(json!(address), PortType::Image), Some(digest));
        assert_eq!(of(json!(address), PortType::Text), None, "an address is a text");
        assert_eq!(of(json!({"digest": "x"}), PortType::Text), None);
    }

    #[test]
    fn a_file_is_an_address_or_an_artifact() {
        for good in [json!("https://h.example/a.png"), json!({"url": "http://127.0.0.1:1/x"})] {
            assert!(is_address(&good), "{good}");
        }
        for bad in
            [json!("text"), json!("file:///etc/passwd"), json!({}), json!(3), json!({"digest": "0", "url": "http://h"})]
        {
            assert!(!is_address(&bad), "{bad}");
        }
        assert!(
            is_of(PortType::Image, "image/png") && is_of(PortType::File, "a/b") && !is_of(PortType::Video, "image/png")
        );
    }
}
