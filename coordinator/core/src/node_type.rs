//! What a node type says of itself: ports, effect class, defaults. Agents bring manifests of their types (E30); the
//! control types are the core's own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::PortIx;
use crate::policy::PolicyDraft;

/// The kind of value that flows through a port (graph.md, part 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortType {
    /// A text.
    Text,
    /// A reference to a picture.
    Image,
    /// A reference to a film.
    Video,
    /// A reference to a sound.
    Audio,
    /// Any JSON.
    Json,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A reference to any file.
    File,
    /// Whatever comes.
    Any,
}

impl PortType {
    /// Whether its values are references to files.
    pub fn is_media(self) -> bool {
        matches!(self, PortType::Image | PortType::Video | PortType::Audio | PortType::File)
    }
}

impl fmt::Display for PortType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortType::Text => "TEXT",
            PortType::Image => "IMAGE",
            PortType::Video => "VIDEO",
            PortType::Audio => "AUDIO",
            PortType::Json => "JSON",
            PortType::Number => "NUMBER",
            PortType::Boolean => "BOOLEAN",
            PortType::File => "FILE",
            PortType::Any => "ANY",
        })
    }
}

/// One input or output of a node type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Its id, as edges name it.
    pub id: Arc<str>,
    /// What flows through it.
    #[serde(rename = "type")]
    pub port_type: PortType,
    /// Whether it carries a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub list: bool,
    /// For inputs: whether the node cannot run without a value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// For inputs: the value when nothing else gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
}

/// What an attempt may do to the world, and so what may be done when it is lost (E10, E11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectClass {
    /// Nothing: it may run again at will.
    Pure,
    /// Its provider takes an idempotency key.
    Keyed,
    /// Its job can be asked for by a handle.
    Pollable,
    /// Nobody can tell whether it happened.
    Blind,
}

impl EffectClass {
    /// Whether the agent must make its intent durable before the first byte leaves (E11).
    pub fn needs_intent(self) -> bool {
        matches!(self, EffectClass::Pollable | EffectClass::Blind)
    }
}

/// What the config says of the effect: the first rule that fits gives the class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EffectRule {
    /// The config key that is looked at.
    pub key: Arc<str>,
    /// The texts that fit; none = any that is not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Arc<str>>,
    /// Whether the rule fits, too, when the key is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub or_absent: bool,
    /// The class.
    pub effect: EffectClass,
}

impl EffectRule {
    /// Whether the rule fits what the config has at its key.
    pub fn fits(&self, text: Option<&str>) -> bool {
        match text {
            None => self.or_absent,
            Some(text) if self.values.is_empty() => !text.is_empty(),
            Some(text) => self.values.iter().any(|value| **value == *text),
        }
    }
}

/// A node type, as its manifest says. This is also the JSON that `GET /nodes/{type}` serves and that agents send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeType {
    /// `family:name`.
    pub id: Arc<str>,
    /// Raised with every change of its meaning.
    pub version: u32,
    /// A few words for people.
    pub title: String,
    /// One sentence for people.
    #[serde(default)]
    pub summary: String,
    /// What it takes. The first that fits is the one that an edge without a handle means.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// JSON Schema of its config; absent = any object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<serde_json::Value>,
    /// What it may do to the world.
    pub effect: EffectClass,
    /// Whether `config.effect` may name another class (debug types only).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub effect_from_config: bool,
    /// How the config changes the class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effect_rules: Vec<EffectRule>,
    /// Whether it may be sent ahead of a free slot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefetch: bool,
    /// Whether it can cancel a job at its provider.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancels_jobs: bool,
    /// Defaults of `data.policy` for nodes of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyDraft>,
    /// Other ids that foreign and older graphs use for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Arc<str>>,
    /// Other names of inputs, as foreign graphs use them. `prompt → text` renames; `prompt1 → texts[0]` gives a place
    /// in a list; `image{n} → images[]` does so for every number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub input_aliases: BTreeMap<String, String>,
    /// Other names of outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_aliases: BTreeMap<String, String>,
    /// Other names of config keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config_aliases: BTreeMap<String, String>,
    /// What it makes of what, for people: `{title, config, inputs, outputs}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<serde_json::Value>,
}

impl NodeType {
    /// The input of this id, aliases not considered.
    pub fn input(&self, id: &str) -> Option<(PortIx, &Port)> {
        find(&self.inputs, id)
    }

    /// The output of this id, aliases not considered.
    pub fn output(&self, id: &str) -> Option<(PortIx, &Port)> {
        find(&self.outputs, id)
    }
}

fn find<'a>(ports: &'a [Port], id: &str) -> Option<(PortIx, &'a Port)> {
    ports.iter().enumerate().find(|(_, port)| &*port.id == id).map(|(ix, port)| (PortIx(ix as u16), port))
}

/// The types that the core evaluates itself and never dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Control {
    /// `input:*`: a value given with the run, or the one in the graph.
    Input,
    /// `output:*`: what the run is for; passes its input on.
    Output,
    /// `logic:wait`: a durable timer; passes its input on.
    Wait,
    /// `logic:if`: passes its input on to one of two outputs.
    If,
    /// `logic:switch`: to the outputs of cases that hold.
    Switch,
    /// `logic:router`: to the output of the first rule that holds; without rules, to its one output.
    Router,
    /// `logic:merge`: brings branches together.
    Merge,
    /// `logic:race`: gives what the first branch brings.
    Race,
    /// `logic:gate`: passes its input on, or not.
    Gate,
    /// `logic:filter`: divides a list.
    Filter,
    /// `logic:stop`: ends the run.
    Stop,
    /// `logic:split_test`: to one of two outputs, at random.
    SplitTest,
    /// `logic:batch`: cuts a list into lists.
    Batch,
    /// `logic:review`: asks people.
    Review,
    /// `logic:signal`: waits for a word that is sent to the run by name.
    Signal,
    /// `logic:wait_webhook`: waits for a call of the address that it gives.
    Webhook,
    /// `blueprint:invoke`: runs another workflow.
    Invoke,
    /// `logic:map`: runs its body once for each item of a list; also what lifted nodes lie in.
    Map,
    /// `logic:loop`: runs its body again and again.
    Loop,
    /// `logic:reduce`: runs its body over a list, item by item, with what came before.
    Reduce,
}

impl Control {
    /// Whether it has a body of other nodes.
    pub fn is_container(self) -> bool {
        matches!(self, Control::Map | Control::Loop | Control::Reduce)
    }

    /// Whether its first input comes out of it as it went in: a list as a list.
    pub(crate) fn passes_on(self) -> bool {
        use Control::{Gate, If, Merge, Output, Race, Router, SplitTest, Switch, Wait};
        matches!(self, If | Switch | Router | Gate | SplitTest | Merge | Race | Wait | Output)
    }

    /// Whether an attempt of an agent may decide it: where it looks at values that are too large for the engine.
    pub fn may_ask_an_agent(self) -> bool {
        use Control::{Filter, Gate, If, Loop, Router, Switch};
        matches!(self, If | Switch | Router | Gate | Filter | Loop)
    }
}

/// Who runs a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runner {
    /// The core, inside the coordinator.
    Control(Control),
    /// An agent that offers the type.
    Agent,
    /// Nobody yet: the type is unknown here. A run that needs the node is refused before it starts.
    Unavailable,
}

impl Runner {
    /// Whether it is decided before all else if an earlier result of such a node is taken over.
    pub(crate) fn takes_over(self) -> bool {
        match self {
            Runner::Control(control) => matches!(control, Control::Review | Control::Invoke),
            Runner::Agent | Runner::Unavailable => true,
        }
    }
}
