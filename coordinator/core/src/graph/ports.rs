//! Ports: which one a handle means, and which output fits which input (graph.md, part 1).

use std::collections::BTreeMap;

use super::nearest::distance;
use super::{Graph, InEdge, Node};
use crate::fault::{Fault, is_planted};
use crate::id::{NodeIx, PortIx};
use crate::node_type::{Control, NodeType, Port, PortType, Runner};
use crate::run::event::OutputValue;

/// Stands in an alias for any number: `image{n} → images[]`.
const NUMBER: &str = "{n}";

/// One side of a node type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) ports: &'a [Port],
    aliases: &'a BTreeMap<String, String>,
    /// What React Flow clients write before a port's id.
    pub(super) prefix: &'static str,
    /// How many of the ports, from the first, an edge can mean without naming one.
    pub(super) unnamed: usize,
}

/// The port that a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) port: PortIx,
    /// The place in the port's list that an alias gives; values without one come after those with one.
    pub(super) place: u32,
    pub(super) is_alias: bool,
}

/// The place of a value that no alias orders.
pub(super) const NO_PLACE: u32 = u32::MAX;

/// How an output goes with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// As it is, or wrapped into a list.
    Yes,
    /// The target would run once per item.
    Lifts,
    No,
}

impl<'a> Side<'a> {
    pub(super) fn inputs(node_type: &'a NodeType) -> Self {
        let unnamed = node_type.inputs.len();
        Self { ports: &node_type.inputs, aliases: &node_type.input_aliases, prefix: "in-", unnamed }
    }

    pub(super) fn outputs(node_type: &'a NodeType) -> Self {
        let unnamed = node_type.outputs.len();
        Self { ports: &node_type.outputs, aliases: &node_type.output_aliases, prefix: "out-", unnamed }
    }

    pub(super) fn port(&self, ix: PortIx) -> &'a Port {
        &self.ports[usize::from(ix.0)]
    }

    /// The port of this name, with or without the prefix, or by an alias.
    pub(super) fn find(&self, handle: &str) -> Option<Found> {
        let names = [Some(handle), handle.strip_prefix(self.prefix)];
        let names = || names.iter().flatten();
        names()
            .find_map(|name| self.find_by_id(name))
            .map(|port| Found { port, place: NO_PLACE, is_alias: false })
            .or_else(|| names().find_map(|name| self.find_by_alias(name)))
    }

    fn find_by_id(&self, name: &str) -> Option<PortIx> {
        self.ports.iter().position(|port| &*port.id == name).map(|place| PortIx(place as u16))
    }

    fn find_by_alias(&self, name: &str) -> Option<Found> {
        let found = |target: &str, number: Option<u32>| {
            let (port, place) = split_target(target)?;
            let place = place.or(number).unwrap_or(NO_PLACE);
            Some(Found { port: self.find_by_id(port)?, place, is_alias: true })
        };
        if let Some(target) = self.aliases.get(name) {
            return found(target, None);
        }
        self.aliases.iter().find_map(|(alias, target)| {
            let number = name.strip_prefix(alias.strip_suffix(NUMBER)?)?;
            let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            found(target, Some(number.parse().ok().filter(|_| is_plain)?))
        })
    }

    /// The handle that was probably meant, with the prefix.
    pub(super) fn suggest(&self, handle: &str) -> Option<String> {
        let name = handle.strip_prefix(self.prefix).unwrap_or(handle);
        let distances = self.ports.iter().filter_map(|port| {
            let alike = distance(name, &port.id, (name.len() / 2).max(2));
            let contained = (port.id.contains(name) || name.contains(&*port.id)).then_some(name.len());
            Some((alike.or(contained)?, &port.id))
        });
        distances.min().map(|(_, id)| format!("{}{id}", self.prefix))
    }

    /// All handles, for a message.
    pub(super) fn names(&self) -> String {
        const NAMES_MAX: usize = 8;
        let names: Vec<_> =
            self.ports.iter().take(NAMES_MAX).map(|port| format!("\"{}{}\"", self.prefix, port.id)).collect();
        names.join(", ") + if self.ports.len() > NAMES_MAX { ", …" } else { "" }
    }
}

/// `texts[3]` is place 3 of `texts`; `texts[]` and `texts` leave the place open.
fn split_target(target: &str) -> Option<(&str, Option<u32>)> {
    match target.strip_suffix(']') {
        None => Some((target, None)),
        Some(inner) => match inner.split_once('[')? {
            (port, "") => Some((port, None)),
            (port, place) => Some((port, Some(place.parse().ok()?))),
        },
    }
}

/// Whether an alias leads to a port, and to a place only if that port is a list.
pub(super) fn is_alias_sound(alias: &str, target: &str, ports: &[Port]) -> bool {
    let places = target.ends_with(']');
    split_target(target).is_some_and(|(id, _)| {
        let port = ports.iter().find(|port| &*port.id == id);
        port.is_some_and(|port| port.list || !places) && (alias.ends_with(NUMBER) == target.ends_with("[]"))
    })
}

/// Whether a value of one type can be taken as another.
pub(super) fn is_assignable(from: PortType, to: PortType) -> bool {
    use PortType::{Any, Audio, Boolean, File, Image, Json, Number, Text, Video};
    from == to
        || from == Any
        || to == Any
        || matches!((from, to), (Number | Boolean | Json, Text) | (Image | Video | Audio, File))
}

/// Whether an output fits an input.
pub(super) fn fit(from: &Port, to: &Port, target: Runner) -> Fit {
    if !is_assignable(from.port_type, to.port_type) {
        Fit::No
    } else if from.list && !to.list && !takes_whole_lists(to, target) {
        Fit::Lifts
    } else {
        Fit::Yes
    }
}

/// A built-in node takes a whole list where it takes anything, and an output node always: run once per item, it would
/// give the same list.
pub(super) fn takes_whole_lists(to: &Port, target: Runner) -> bool {
    match target {
        Runner::Control(Control::Output) => true,
        Runner::Control(_) => to.port_type == PortType::Any,
        Runner::Agent | Runner::Unavailable => false,
    }
}

/// The type as messages show it.
pub(super) fn type_name(port: &Port) -> String {
    format!("{}{}", port.port_type, if port.list { " list" } else { "" })
}

impl Graph {
    /// Whether an output gives lists.
    pub(crate) fn gives_list(&self, ix: NodeIx, port: PortIx) -> bool {
        let node_type = self.node(ix).node_type.as_ref();
        node_type.and_then(|node_type| node_type.outputs.get(usize::from(port.0))).is_some_and(|port| port.list)
    }

    /// A value as what its output gives: of an output that gives lists it is one, also where it lies in one value. From there on the
    /// value itself says so, and whoever passes it on changes nothing about it.
    pub(crate) fn declared(&self, ix: NodeIx, port: PortIx, value: &OutputValue) -> OutputValue {
        match value {
            OutputValue::One(reference) if self.gives_list(ix, port) && !is_planted(Fault::ListTakenAsOne) => {
                OutputValue::List(*reference)
            }
            value => value.clone(),
        }
    }

    /// Whether a node gives a text and may be given something else, of which it makes one.
    pub(crate) fn makes_text(&self, ix: NodeIx) -> bool {
        let port_type = |ports: Option<&Vec<Port>>, place: PortIx| {
            ports.and_then(|ports| ports.get(usize::from(place.0))).map(|port| port.port_type)
        };
        let is_text =
            |node: &Node| port_type(node.node_type.as_ref().map(|it| &it.inputs), PortIx(0)) == Some(PortType::Text);
        let brings_text = |edge: &InEdge| {
            let source = self.node(edge.source).node_type.as_ref();
            port_type(source.map(|it| &it.outputs), edge.source_port) == Some(PortType::Text)
        };
        let node = self.node(ix);
        node.runner == Runner::Control(Control::Output) && is_text(node) && !self.in_edges(ix).iter().all(brings_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concat() -> NodeType {
        serde_json::from_str(
            r#"{"id":"utility:prompt_concat","version":1,"title":"T","effect":"pure",
                "inputs":[{"id":"texts","type":"TEXT","list":true},{"id":"in-odd","type":"NUMBER"}],
                "outputs":[{"id":"text","type":"TEXT"}],
                "inputAliases":{"prompt{n}":"texts[]","first":"texts[0]"},"outputAliases":{"prompt":"text"}}"#,
        )
        .unwrap()
    }

    #[test]
    fn handles_go_by_id_prefix_and_alias() {
        let concat = concat();
        let inputs = Side::inputs(&concat);
        let found = |port, place, is_alias| Some(Found { port: PortIx(port), place, is_alias });
        assert_eq!(inputs.find("texts"), found(0, NO_PLACE, false));
        assert_eq!(inputs.find("in-texts"), found(0, NO_PLACE, false));
        assert_eq!(inputs.find("in-odd"), found(1, NO_PLACE, false));
        assert_eq!(inputs.find("in-prompt12"), found(0, 12, true));
        assert_eq!(inputs.find("first"), found(0, 0, true));
        for handle in ["prompt", "prompt+1", "out-texts", "prompt99999999999", ""] {
            assert_eq!(inputs.find(handle), None, "{handle}");
        }
        assert_eq!(Side::outputs(&concat).find("out-prompt"), found(0, NO_PLACE, true));
        assert_eq!(inputs.suggest("in-text").as_deref(), Some("in-texts"));
    }

    #[test]
    fn aliases_must_lead_somewhere() {
        let concat = concat();
        let sound = |alias, target| is_alias_sound(alias, target, &concat.inputs);
        assert!(sound("a", "texts") && sound("a", "texts[7]") && sound("a{n}", "texts[]"));
        assert!(!sound("a", "text") && !sound("a", "in-odd[1]") && !sound("a{n}", "texts") && !sound("a", "texts[x]"));
    }

    #[test]
    fn types_fit_as_the_table_says() {
        use PortType::*;
        assert!(is_assignable(Number, Text) && is_assignable(Video, File) && is_assignable(Any, Image));
        assert!(!is_assignable(Text, Number) && !is_assignable(File, Image) && !is_assignable(Text, Json));
        let port = |port_type, list| Port { id: "p".into(), port_type, list, required: false, default: None };
        assert_eq!(fit(&port(Text, false), &port(Text, true), Runner::Agent), Fit::Yes);
        assert_eq!(fit(&port(Text, true), &port(Text, false), Runner::Agent), Fit::Lifts);
        assert_eq!(fit(&port(Text, true), &port(Any, false), Runner::Agent), Fit::Lifts);
        assert_eq!(fit(&port(Text, true), &port(Any, false), Runner::Control(Control::If)), Fit::Yes);
        assert_eq!(fit(&port(Text, true), &port(Text, false), Runner::Control(Control::Gate)), Fit::Lifts);
        assert_eq!(fit(&port(Text, true), &port(Text, false), Runner::Control(Control::Output)), Fit::Yes);
        assert_eq!(fit(&port(Text, true), &port(Image, true), Runner::Agent), Fit::No);
    }
}
