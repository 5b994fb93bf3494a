//! Outputs that a node's config makes lists of: what is one value else.

use std::sync::Arc;

use serde_json::Value;

use super::scope::{looping, map};
use crate::id::PortIx;
use crate::node_type::{Control, NodeType};

/// The type of one node whose config makes a list of one of its outputs. `read` gives what the config says under a key.
pub(crate) fn shaped(
    control: Control,
    node_type: &Arc<NodeType>,
    read: impl Fn(&str) -> Option<Value>,
) -> Option<Arc<NodeType>> {
    let port = list_of(control, node_type, read)?;
    let mut own = NodeType::clone(node_type);
    own.outputs.get_mut(usize::from(port.0))?.list = true;
    Some(Arc::new(own))
}

fn list_of(control: Control, node_type: &NodeType, read: impl Fn(&str) -> Option<Value>) -> Option<PortIx> {
    // All spellings that are read, the one that counts first.
    let says = |keys: &[&str]| keys.iter().find_map(|key| read(key));
    match control {
        Control::Map => says(&["batchSize", "batch_size"]).filter(Value::is_number).map(|_| map::ITEM),
        Control::Loop => says(&["select", "keep"]).filter(|select| select == "all").map(|_| looping::LAST),
        Control::Merge => says(&["mode"]).filter(|mode| mode == "all").map(|_| PortIx(0)),
        Control::Input if node_type.outputs.iter().all(|port| port.port_type.is_media()) => {
            says(&["multiple"]).filter(|multiple| multiple == true).map(|_| PortIx(0))
        }
        _ => None,
    }
}
