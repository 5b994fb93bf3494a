//! Edits at reviews: what people put in the place of what they were asked about. All of it is checked before any of it is
//! written.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::graph::Graph;
use heddle_core::id::{NodeIx, PortIx};
use heddle_core::limits::INLINE_VALUE_BYTES_MAX;
use heddle_core::node_type::{Port, PortType};
use heddle_core::run::event::ReviewKind;
use heddle_core::value::{Artifact, Digest, Value};
use serde_json::Value as Json;
use tonic::Status;

use super::reference::{self, Meant};
use super::{form, invalid};
use crate::artifacts::JSON_TYPE;
use crate::auth::Tenant;
use crate::limits::{REVIEW_EDIT_BYTES_MAX, REVIEW_REFERENCE_BYTES_MAX};
use crate::read::reviews::{Looked, looked_at};
use crate::reviews::rows::StoredReview;
use crate::rpc::failure;
use crate::shared::Shared;

/// An edit by port: of a `logic:review` the value itself; else an object by the ids of ports.
pub(crate) async fn edit(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    (stored, graph, node): (&StoredReview, &Graph, NodeIx),
    json: &[u8],
) -> Result<Vec<(PortIx, Value)>, Status> {
    let kind = stored.created.kind;
    if json.len() > REVIEW_EDIT_BYTES_MAX {
        let message = format!(
            "data has {} bytes; at most {REVIEW_EDIT_BYTES_MAX} are taken: upload what is larger, and give what the answer shows",
            json.len()
        );
        return Err(invalid("/data", message));
    }
    let data: Json = serde_json::from_slice(json).map_err(|error| invalid("/data", format!("data: {error}")))?;
    let given = match kind {
        ReviewKind::Value => vec![(PortIx(0), String::from("/data"), data)],
        _ => by_port(graph, node, kind, data)?,
    };
    let form = graph.review(node).and_then(|review| review.schema.as_ref()).filter(|_| kind == ReviewKind::Value);
    let mut checked = Vec::with_capacity(given.len());
    for (port, path, value) in given {
        let looked = looked_at(graph, node, kind, port).ok_or_else(|| invalid(&path, "there is no such port"))?;
        checked.push((port, check(shared, tenant, value, (&looked, form), &path).await?));
    }
    let mut edited = Vec::with_capacity(checked.len());
    for (port, value) in checked {
        edited.push((port, kept(shared, tenant, value).await?));
    }
    Ok(edited)
}

/// What an object says of ports: of a node that has not begun its wired inputs, of others its outputs.
fn by_port(graph: &Graph, node: NodeIx, kind: ReviewKind, data: Json) -> Result<Vec<(PortIx, String, Json)>, Status> {
    let document = graph.node(node);
    let (ports, what): (&[Port], _) = match (kind, &document.node_type) {
        (_, None) => (&[], "output"),
        (ReviewKind::Before, Some(node_type)) => (&node_type.inputs, "input with a value"),
        (_, Some(node_type)) => (&node_type.outputs, "output"),
    };
    let is_looked_at = |ix: PortIx| match kind {
        ReviewKind::Before => graph.in_edges(node).iter().any(|edge| edge.target_port == ix),
        _ => Some(ix) != document.error_port,
    };
    let ports = || (0..).map(PortIx).zip(ports).filter(|(ix, _)| is_looked_at(*ix));
    let Json::Object(data) = data else {
        let ids: Vec<&str> = ports().map(|(_, port)| &*port.id).collect();
        return Err(invalid("/data", format!("data is an object of the ports to change: {}", ids.join(", "))));
    };
    let known = |(id, value): (String, Json)| {
        let path = format!("/data/{}", id.replace('~', "~0").replace('/', "~1"));
        match ports().find(|(_, port)| *port.id == *id) {
            Some((port, _)) => Ok((port, path, value)),
            None => Err(invalid(&path, format!("the node has no {what} that is called \"{id}\""))),
        }
    };
    data.into_iter().map(known).collect()
}

/// Puts what references name in their place, and holds the whole against the port and the form.
async fn check(
    shared: &Shared,
    tenant: &Tenant,
    value: Json,
    (looked, form): (&Looked, Option<&Bytes>),
    path: &str,
) -> Result<Meant, Status> {
    let value = match looked.list && !value.is_array() {
        true => match reference::list(shared, tenant, value, looked.port_type, path).await? {
            Meant::Json(list) => list,
            large => return if form.is_none() { Ok(large) } else { Err(too_large_for_form(path)) },
        },
        false => value,
    };
    let meant = match (value, looked.list) {
        (Json::Array(items), true) => {
            let (mut whole, mut bytes) = (Vec::with_capacity(items.len()), 0);
            for (place, item) in items.into_iter().enumerate() {
                let path = format!("{path}/{place}");
                let item = match reference::resolve(shared, tenant, item, looked.port_type, &path).await? {
                    Meant::Json(item) => item,
                    Meant::File(file) => reference::description(&file),
                    Meant::Large(artifact) => return Err(too_large(&artifact, &path)),
                };
                bytes += item.to_string().len() as u64;
                if bytes > REVIEW_REFERENCE_BYTES_MAX {
                    return Err(invalid(&path, format!("the list has more than {REVIEW_REFERENCE_BYTES_MAX} bytes")));
                }
                whole.push(item);
            }
            Meant::Json(Json::Array(whole))
        }
        (value, _) => reference::resolve(shared, tenant, value, looked.port_type, path).await?,
    };
    match (&meant, form) {
        (Meant::Json(value), form) => {
            fits(value, looked.port_type, looked.list, path)?;
            if let Some(schema) = form {
                fits_form(tenant, value.clone(), schema, path).await?;
            }
        }
        // Nobody looks into what is so large: only that it may be a text is known.
        (Meant::Large(artifact), Some(_)) => return Err(too_large(artifact, path)),
        (Meant::File(file), Some(schema)) => fits_form(tenant, reference::description(file), schema, path).await?,
        (Meant::Large(_) | Meant::File(_), None) => {}
    }
    Ok(meant)
}

fn too_large_for_form(path: &str) -> Status {
    invalid(
        path,
        format!("the form looks through lists of at most {REVIEW_REFERENCE_BYTES_MAX} bytes: give a shorter one"),
    )
}

fn too_large(artifact: &Artifact, path: &str) -> Status {
    let bytes = artifact.bytes;
    invalid(
        path,
        format!("the artifact has {bytes} bytes; at most {REVIEW_REFERENCE_BYTES_MAX} are looked through here"),
    )
}

/// The value as events hold it: what is too large for a row goes into the store.
async fn kept(shared: &Shared, tenant: &Tenant, meant: Meant) -> Result<Value, Status> {
    let json = match meant {
        Meant::File(artifact) | Meant::Large(artifact) => return Ok(Value::from_artifact(artifact)),
        Meant::Json(json) => Bytes::from(json.to_string()),
    };
    if json.len() <= INLINE_VALUE_BYTES_MAX {
        return Ok(Value::from_json(json));
    }
    let bytes = json.len() as u64;
    let put = shared.artifacts.store.put(&tenant.id().0, json).await.map_err(|error| failure::store(&error))?;
    let media_type = JSON_TYPE.into();
    Ok(Value::from_artifact(Artifact { digest: Digest(put.0), bytes, media_type, is_json: true }))
}

/// Whether a value is of a port's type.
pub(super) fn fits(value: &Json, port_type: PortType, list: bool, path: &str) -> Result<(), Status> {
    if list {
        let Json::Array(items) = value else {
            return Err(invalid(path, "it stands in the place of a list: send a list, also of one value"));
        };
        let each = |(place, item)| fits(item, port_type, false, &format!("{path}/{place}"));
        return items.iter().enumerate().try_for_each(each);
    }
    let is_file = |value: &Json| {
        let names = |key| value.get(key).is_some_and(Json::is_string);
        value.is_string() || names("url") || names("digest")
    };
    let (is_right, what) = match port_type {
        PortType::Text => (value.is_string(), "a text"),
        PortType::Number => (value.is_number(), "a number"),
        PortType::Boolean => (value.is_boolean(), "true or false"),
        PortType::Image | PortType::Video | PortType::Audio | PortType::File => {
            (is_file(value), "a file: its address or description")
        }
        PortType::Json | PortType::Any => (true, ""),
    };
    if is_right { Ok(()) } else { Err(invalid(path, format!("the port takes {what}"))) }
}

async fn fits_form(tenant: &Tenant, value: Json, schema: &Bytes, path: &str) -> Result<(), Status> {
    let fits = form::fits(tenant.id(), vec![schema.clone()], value).await;
    fits.map_err(|misfit| invalid(&format!("{path}{}", misfit.path), misfit.message))
}
