//! Node types: from a manifest, as agents send it, to the catalogue's entry.

use std::borrow::Cow;

use heddle_proto::control::{self, NodeTypeEntry};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::run::paused;
use super::unreadable;
use crate::dto::node_type::{NodeType, NodeTypeStand, Port};
use crate::http::error::ApiError;

/// The fields of a manifest that the catalogue shows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    version: u32,
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow, default)]
    summary: Cow<'a, str>,
    #[serde(borrow)]
    inputs: Vec<ManifestPort<'a>>,
    #[serde(borrow)]
    outputs: Vec<ManifestPort<'a>>,
    #[serde(borrow, default)]
    config_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    effect: Cow<'a, str>,
    #[serde(default)]
    cancels_jobs: bool,
    #[serde(borrow, default)]
    policy: Option<&'a RawValue>,
    #[serde(borrow, default)]
    examples: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ManifestPort<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    port_type: Cow<'a, str>,
    #[serde(default)]
    list: bool,
    #[serde(default)]
    required: bool,
    #[serde(borrow, default)]
    default: Option<&'a RawValue>,
}

pub(crate) fn node_type(entry: &NodeTypeEntry) -> Result<NodeType<'_>, ApiError> {
    let manifest: Manifest<'_> =
        serde_json::from_slice(&entry.manifest_json).map_err(|_| unreadable("manifest of a node type"))?;
    Ok(NodeType {
        category: manifest.id.split(':').next().unwrap_or_default().to_owned(),
        node_type: manifest.id,
        label: manifest.title,
        description: manifest.summary,
        version: manifest.version,
        inputs: manifest.inputs.into_iter().map(port).collect(),
        outputs: manifest.outputs.into_iter().map(port).collect(),
        config_schema: manifest.config_schema,
        effect: manifest.effect,
        cancels_jobs: manifest.cancels_jobs,
        policy: manifest.policy,
        examples: manifest.examples,
        available: entry.available,
        paused: entry.pause.as_ref().map(paused),
    })
}

pub(crate) fn stand(stand: &control::NodeTypeStand) -> NodeTypeStand<'_> {
    NodeTypeStand { node_type: &stand.node_type, paused: stand.pause.as_ref().map(paused) }
}

fn port(port: ManifestPort<'_>) -> Port<'_> {
    Port {
        label: port.id.clone(),
        id: port.id,
        r#type: port.port_type,
        is_port: true,
        list: port.list,
        required: port.required,
        default: port.default,
    }
}
