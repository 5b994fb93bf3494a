//! What the engine asks an agent when it cannot look at a node's values itself, and the small answer that comes back.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::evaluate::{self, Name, Unanswered};
use crate::{Condition, Known, Seen};

/// The type by which agents say that they answer questions. No graph may name it, and nobody is shown it as a node type.
pub const EVALUATOR_TYPE: &str = "engine:evaluate";
/// Raised with every change of what a question or an answer means.
pub const EVALUATOR_VERSION: u32 = 2;
/// The port at which the items of a filter arrive.
pub const ITEMS_PORT: &str = "items";
/// The output that holds the [`Answer`].
pub const ANSWER_PORT: &str = "answer";
/// The outputs that hold the lists of a divided list.
pub const LIST_PORTS: [&str; 2] = ["kept", "dropped"];

/// What a branching node wants to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// Its id, for messages.
    pub node: String,
    /// What is asked.
    pub asks: Asks,
    /// The values that it looks at.
    pub values: Vec<Asked>,
    /// What conditions see of the run.
    pub run: Json,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Asks {
    /// Which of these conditions hold: all, or the first that does.
    Cases {
        /// The expressions.
        conditions: Vec<String>,
        /// Whether all are looked at.
        all: bool,
    },
    /// For which items the condition holds.
    Filter {
        /// The expression.
        condition: String,
        /// Where the items come from.
        items: Items,
    },
    /// Whether the one value is true.
    Gate,
    /// What comes of a loop after a turn.
    Turn {
        /// The expression that ends it.
        until: Option<String>,
        /// The expression that says what the turn is worth.
        score: Option<String>,
    },
}

/// Where the items of a filter come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Items {
    /// Each value at [`ITEMS_PORT`] is one.
    Each,
    /// The same, of a list too long for the places of those that are kept: it is divided.
    Long,
    /// They are in the one value at [`ITEMS_PORT`], if that is a list; else it is the only one, if that is allowed.
    Within {
        /// Whether it is.
        or_alone: bool,
    },
    /// They are in this list.
    Constant(Json),
}

/// A value that conditions look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// What it is called.
    pub name: Name,
    /// Whether it arrives at the port that [`port_of`] gives for its place.
    pub arrives: bool,
    /// What it is, if it does not arrive.
    pub constant: Json,
}

/// What an agent found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// The places of the conditions that hold; a gate is open if it has place 0.
    Taken(Vec<u16>),
    /// The places of the items that are kept, in order.
    Kept(Vec<u32>),
    /// A list was divided; the lists are at [`LIST_PORTS`].
    Divided,
    /// How a turn went.
    Turn {
        /// Whether the loop ends with it.
        ends: bool,
        /// The bits of what it is worth: JSON has no infinite numbers.
        score: Option<u64>,
    },
}

/// The port at which the value with this place among [`Question::values`] arrives.
pub fn port_of(place: usize) -> String {
    format!("value{place}")
}

/// What arrived at a port.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a, Text> {
    /// Whether the texts are the items of a list; else there is one.
    pub list: bool,
    /// JSON texts.
    pub texts: &'a [Text],
}

impl<Text: AsRef<[u8]>> Arrived<'_, Text> {
    fn json(&self) -> Json {
        match (self.list, self.texts) {
            (false, [one]) => evaluate::parse(one.as_ref()),
            (_, texts) => texts.iter().map(|text| evaluate::parse(text.as_ref())).collect(),
        }
    }
}

/// The answer, and the lists of a divided list as JSON texts.
pub type Answered = (Answer, Option<(String, String)>);

impl Question {
    /// Answers it. `arrived` gives what came at a port; `budget` goes down by what it may have cost.
    ///
    /// # Errors
    /// Those of the same node when the engine decides it, and `bad_question` for one that this build does not understand.
    pub fn answer<'a, Text: AsRef<[u8]> + 'a>(
        &self,
        arrived: impl Fn(&str) -> Option<Arrived<'a, Text>>,
        budget: &mut u64,
    ) -> Result<Answered, Unanswered> {
        let conditions: Vec<Condition> = match &self.asks {
            Asks::Cases { conditions, .. } => {
                conditions.iter().map(|text| self.read(text)).collect::<Result<_, _>>()?
            }
            Asks::Filter { condition, .. } => vec![self.read(condition)?],
            Asks::Gate => Vec::new(),
            Asks::Turn { until, score } => {
                until.iter().chain(score).map(|text| self.read(text)).collect::<Result<_, _>>()?
            }
        };
        let mut values = Vec::with_capacity(self.values.len());
        for (place, asked) in self.values.iter().enumerate() {
            let value = match asked.arrives {
                true => arrived(&port_of(place)).ok_or_else(|| bad("a value has not come"))?.json(),
                false => asked.constant.clone(),
            };
            values.push((asked.name.clone(), value));
        }
        match &self.asks {
            Asks::Gate => {
                let (_, value) = values.first().ok_or_else(|| bad("it names no value"))?;
                let is_open = evaluate::is_open(value)?;
                Ok((Answer::Taken(is_open.then_some(0).into_iter().collect()), None))
            }
            Asks::Cases { all, .. } => {
                let seen = evaluate::seen(values, &conditions, &self.run);
                let holding = evaluate::holding(&self.node, &conditions, &seen, *all, budget)?;
                Ok((Answer::Taken(holding), None))
            }
            Asks::Turn { until, .. } => {
                let seen = evaluate::seen(values, &conditions, &self.run);
                let (until, score) = conditions.split_at(usize::from(until.is_some()));
                let (ends, score) = evaluate::turn(&self.node, until.first(), score.first(), &seen, budget)?;
                Ok((Answer::Turn { ends, score: score.map(f64::to_bits) }, None))
            }
            Asks::Filter { items, .. } => {
                let seen = evaluate::seen(values, &conditions, &self.run);
                let condition = conditions.first().ok_or_else(|| bad("it has no condition"))?;
                self.filter(condition, &seen, items, arrived(ITEMS_PORT), budget)
            }
        }
    }

    fn filter<Text: AsRef<[u8]>>(
        &self,
        condition: &Condition,
        seen: &Seen,
        items: &Items,
        arrived: Option<Arrived<'_, Text>>,
        budget: &mut u64,
    ) -> Result<Answered, Unanswered> {
        let mut keeps = |index: usize, item: &[u8]| evaluate::keeps(&self.node, condition, seen, (index, item), budget);
        let divided = |lists| (Answer::Divided, Some(lists));
        let texts = arrived.map_or(&[] as &[Text], |arrived| arrived.texts);
        match (items, texts) {
            (Items::Constant(list), _) => evaluate::divide(list.to_string().as_bytes(), keeps).map(divided),
            (Items::Within { or_alone }, [one]) => {
                let text = one.as_ref();
                if text.first() == Some(&b'[') || !or_alone {
                    return evaluate::divide(text, keeps).map(divided);
                }
                let kept = if keeps(0, text)? { vec![0] } else { Vec::new() };
                Ok((Answer::Kept(kept), None))
            }
            (Items::Within { .. }, _) => Err(bad("the list has not come")),
            (Items::Long, texts) => {
                let texts = texts.iter().map(AsRef::as_ref);
                evaluate::divide_items(texts, keeps).map(divided)
            }
            (Items::Each, texts) => {
                let mut kept = Vec::new();
                for (index, text) in texts.iter().enumerate() {
                    if keeps(index, text.as_ref())? {
                        kept.push(index as u32);
                    }
                }
                Ok((Answer::Kept(kept), None))
            }
        }
    }

    fn read(&self, text: &str) -> Result<Condition, Unanswered> {
        Condition::read(text, self).map_err(|it| bad(&it.message))
    }
}

/// The names were checked when the graph was compiled: here they must only be among those that were asked for.
impl Known for Question {
    fn input(&self, id: &str) -> Option<u16> {
        let is_meant = |asked: &Asked| matches!(&asked.name, Name::Input(known) if known == id);
        self.values.iter().position(is_meant).map(|place| place as u16)
    }

    fn inputs(&self) -> Vec<&str> {
        let names = self.values.iter().map(|asked| &asked.name);
        names.filter_map(|name| if let Name::Input(id) = name { Some(id.as_str()) } else { None }).collect()
    }

    fn is_own(&self, name: &str) -> bool {
        matches!(self.asks, Asks::Filter { .. }) && matches!(name, "item" | "index")
    }

    fn of_scope(&self, name: &str) -> Option<(u32, u16)> {
        let is_meant = |asked: &Asked| matches!(&asked.name, Name::OfScope(known) if known == name);
        self.values.iter().position(is_meant).map(|place| (0, place as u16))
    }

    fn node(&self, id: &str) -> Result<u32, String> {
        let is_meant = |asked: &Asked| matches!(&asked.name, Name::Node(known) | Name::Output(known, _) if known == id);
        let place = self.values.iter().position(is_meant).map(|place| place as u32);
        place.ok_or_else(|| format!("node \"{id}\" was not asked for"))
    }

    fn output(&self, _: u32, port: &str) -> Option<u16> {
        let is_meant = |asked: &Asked| matches!(&asked.name, Name::Output(_, known) if known == port);
        self.values.iter().position(is_meant).map(|place| place as u16)
    }
}

fn bad(what: &str) -> Unanswered {
    Unanswered::new(
        "bad_question",
        format!("the question makes no sense: {what}; bring coordinator and agents to one build"),
    )
}
