//! What small changes of a workflow answer.

use heddle_proto::control;

use super::{raw, unreadable};
use crate::dto::edit::{Bounds, Layout, PatchedNode, Position};
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn node<'a>(patched: &'a control::PatchedNode, workflow_id: &'a str) -> Result<PatchedNode<'a>, ApiError> {
    let node = raw(&patched.node_json, "node of a graph")?;
    Ok(PatchedNode { node, workflow_id, updated_at: Time(patched.updated_at_ms), version: patched.version })
}

pub(crate) fn layout<'a>(layout: &'a control::Layout, workflow_id: &'a str) -> Result<Layout<'a>, ApiError> {
    let control::Bounds { x, y, width, height } = layout.bounds.ok_or_else(|| unreadable("bounds of a layout"))?;
    Ok(Layout {
        positions: layout.positions.iter().map(|at| (at.node_id.as_str(), Position { x: at.x, y: at.y })).collect(),
        moved: layout.moved,
        bounds: Bounds { x, y, width, height },
        workflow_id,
        updated_at: Time(layout.updated_at_ms),
        version: layout.version,
    })
}
