//! Files among the inputs of a submission: a description of an artifact, as answers show it, stands for the artifact.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::graph::{Graph, ListPlace, Problem};
use heddle_core::id::{NodeIx, PortIx};
use heddle_core::limits::INLINE_VALUE_BYTES_MAX;
use heddle_core::value::{Artifact, Digest, Value};
use heddle_proto::control as wire;
use serde::Deserialize;
use serde_json::value::RawValue;
use tonic::Status;

use super::JSON_TYPE;
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

/// Puts artifacts in the place of their descriptions among inputs, and keeps them for another day. One that the tenant does not
/// have is refused, whoever else may have it.
pub(crate) async fn resolve(
    shared: &Shared,
    tenant: &Tenant,
    graph: &Graph,
    given: Vec<(NodeIx, Value)>,
) -> Result<Vec<(NodeIx, Value)>, Status> {
    let mut resolved = Vec::with_capacity(given.len());
    for (ix, value) in given {
        let found = value_of(shared, tenant, &value, graph.list_place(ix, PortIx(0))).await?;
        let value = found.map_err(|problem| {
            let problem = problem.node(&graph.node(ix).id).at(graph.input_path(ix));
            failure::bad_inputs(vec![problem])
        })?;
        resolved.push((ix, value));
    }
    Ok(resolved)
}

/// The same for one value. Where it is to be a list, an upload is the list in it: the inner error says why it is none.
pub(crate) async fn value_of(
    shared: &Shared,
    tenant: &Tenant,
    value: &Value,
    place: Option<ListPlace>,
) -> Result<Result<Value, Problem>, Status> {
    let Some(digest) = digest_of(value.json()) else {
        // The files of a list are kept for another day.
        return Ok(Ok(described(value, &files(shared, tenant, listed(value.json())).await?)));
    };
    let Some(place) = place else { return Ok(Ok(Value::from_artifact(touched(shared, tenant, digest).await?))) };
    let artifact = match list(shared, tenant, digest, place).await? {
        Ok(artifact) => artifact,
        Err(problem) => return Ok(Err(problem)),
    };
    if artifact.bytes > INLINE_VALUE_BYTES_MAX as u64 {
        return Ok(Ok(Value::from_artifact(artifact)));
    }
    // A list that a row holds is in a row, however it was given.
    let whole = shared.artifacts.whole(tenant, &artifact).await.map_err(|error| failure::store(&error))?;
    let small = Value::from_json(whole.trim_ascii().to_vec().into());
    Ok(Ok(described(&small, &files(shared, tenant, listed(small.json())).await?)))
}

/// The list that was uploaded, which is gone through once before it is taken in.
pub(crate) async fn list(
    shared: &Shared,
    tenant: &Tenant,
    digest: Digest,
    place: ListPlace,
) -> Result<Result<Artifact, Problem>, Status> {
    // Whoever had the same bytes before may have uploaded them as something else: as a list they are JSON.
    let stored = touched(shared, tenant, digest).await?;
    let artifact = Artifact { media_type: JSON_TYPE.into(), is_json: true, ..stored };
    let mut named = BTreeSet::new();
    let look = |at: u64, item: &[u8]| {
        if named.len() < LISTED_FILES_MAX {
            named.extend(digest_of(item));
        }
        place.check(at, item)
    };
    match shared.artifacts.go_through(tenant.id(), &artifact, look).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => return Ok(Err(problem)),
        Err(error) => return Err(failure::store(&error)),
    }
    files(shared, tenant, named).await?;
    Ok(Ok(artifact))
}

async fn files(
    shared: &Shared,
    tenant: &Tenant,
    named: BTreeSet<Digest>,
) -> Result<BTreeMap<Digest, Artifact>, Status> {
    let mut files = BTreeMap::new();
    for digest in named {
        files.insert(digest, touched(shared, tenant, digest).await?);
    }
    Ok(files)
}

async fn touched(shared: &Shared, tenant: &Tenant, digest: Digest) -> Result<Artifact, Status> {
    find(shared, tenant, digest).await?.ok_or_else(|| {
        let message = format!("inputs name the artifact {digest}, and there is none: upload the file first");
        failure::plain(422, "artifact_not_found", message)
    })
}

/// An artifact, if the tenant has it. It is kept for another day.
pub(crate) async fn find(shared: &Shared, tenant: &Tenant, digest: Digest) -> Result<Option<Artifact>, Status> {
    let touched = shared.artifacts.rows.touch_artifact(tenant.clone(), digest, shared.clock.now());
    let row = touched.await.map_err(|error| failure::journal(&error))?;
    Ok(row.map(|row| {
        let is_json = &*row.media_type == JSON_TYPE;
        Artifact { digest, bytes: row.bytes, media_type: row.media_type, is_json }
    }))
}

/// The files of a list that was given as one value, by their places. Their addresses are signed for the run's tenant, so
/// they open nothing that is another's, whoever wrote the list.
pub(crate) fn placed(json: &[u8]) -> Vec<wire::PlacedArtifact> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Described {
        bytes: u64,
        digest: String,
        media_type: String,
    }
    if json.first() != Some(&b'[') {
        return Vec::new();
    }
    let items: Vec<&RawValue> = serde_json::from_slice(json).unwrap_or_default();
    let files = items.into_iter().zip(0..).filter_map(|(item, place)| {
        let text = item.get();
        // Most lists are of something else, and are not read a second time.
        let file: Described = text.starts_with(r#"{"bytes":"#).then(|| serde_json::from_str(text).ok()).flatten()?;
        file.digest.parse::<heddle_artifacts::Digest>().ok()?;
        let Described { bytes, digest, media_type } = file;
        Some(wire::PlacedArtifact { place, digest, bytes, media_type })
    });
    files.take(LISTED_FILES_MAX).collect()
}

fn digest_of(json: &[u8]) -> Option<Digest> {
    if json.first() != Some(&b'{') {
        return None;
    }
    let description: Description = serde_json::from_slice(json).ok()?;
    let digest: heddle_artifacts::Digest = description.digest.parse().ok()?;
    Some(Digest(digest.0))
}

/// A list whose files are described as they are everywhere: by what the store knows, and not by an address, which holds the
/// name of the server that took them and ends after a day. Readers get addresses of their own.
fn described(value: &Value, files: &BTreeMap<Digest, Artifact>) -> Value {
    if files.is_empty() {
        return value.clone();
    }
    let items: Vec<&RawValue> = serde_json::from_slice(value.json()).unwrap_or_default();
    let mut list = Vec::with_capacity(value.json().len());
    for item in items {
        list.push(if list.is_empty() { b'[' } else { b',' });
        match digest_of(item.get().as_bytes()).and_then(|digest| files.get(&digest)) {
            Some(artifact) => list.extend_from_slice(Value::from_artifact(artifact.clone()).json()),
            None => list.extend_from_slice(item.get().as_bytes()),
        }
    }
    list.push(b']');
    Value::from_json(list.into())
}

/// The files of a list, each once, as many as are looked up.
fn listed(json: &[u8]) -> BTreeSet<Digest> {
    if json.first() != Some(&b'[') {
        return BTreeSet::new();
    }
    let items: Vec<&RawValue> = serde_json::from_slice(json).unwrap_or_default();
    items.iter().filter_map(|item| digest_of(item.get().as_bytes())).take(LISTED_FILES_MAX).collect()
}

/// The files that a value describes anywhere within, each once, as many as are looked up.
pub(crate) fn within(json: &[u8]) -> BTreeSet<Digest> {
    const FIELD: &[u8] = br#""digest""#;
    let mut found = BTreeSet::new();
    // Most values describe none, and are not read a second time.
    if json.windows(FIELD.len()).any(|text| text == FIELD)
        && let Ok(value) = serde_json::from_slice(json)
    {
        gather(&value, &mut found);
    }
    found
}

/// How deep values are is bounded by whoever has read them.
fn gather(value: &serde_json::Value, found: &mut BTreeSet<Digest>) {
    match value {
        serde_json::Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
            let digest = text("mediaType")
                .and_then(|_| text("digest"))
                .and_then(|it| it.parse::<heddle_artifacts::Digest>().ok());
            found.extend(digest.filter(|_| found.len() < LISTED_FILES_MAX).map(|digest| Digest(digest.0)));
            fields.values().for_each(|value| gather(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| gather(value, found)),
        _ => {}
    }
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
        let deep = format!(r#"{{"file": {file}, "list": [1, [{file}], {{"digest": "{digest}"}}]}}"#);
        assert_eq!(within(deep.as_bytes()), [digest].into());
        assert!(within(br#"{"digest": 1, "mediaType": "a/b"}"#).is_empty() && within(br#"{"digest""#).is_empty());
    }

    #[test]
    fn a_list_keeps_no_address_of_the_server_that_took_its_files() {
        let artifact = Artifact { digest: Digest::of(b"x"), bytes: 1, media_type: "image/png".into(), is_json: false };
        let digest = artifact.digest;
        let file =
            format!(r#"{{"url":"http://evil.example/x","digest":"{digest}","mediaType":"image/png","bytes":9}}"#);
        let given = Value::from_json(format!("[{file}, 1.50, {file}]").into());
        let files = BTreeMap::from([(digest, artifact)]);
        let plain = format!(r#"{{"bytes":1,"digest":"{digest}","mediaType":"image/png"}}"#);
        assert_eq!(described(&given, &files).json(), &format!("[{plain},1.50,{plain}]"));
        assert_eq!(described(&given, &BTreeMap::new()), given);
        let found = placed(described(&given, &files).json());
        let places: Vec<_> = found.iter().map(|file| (file.place, file.bytes, file.digest.clone())).collect();
        assert_eq!(places, [(0, 1, digest.to_string()), (2, 1, digest.to_string())]);
        assert!(placed(given.json()).is_empty() && placed(plain.as_bytes()).is_empty());
    }
}
