//! The names that an expression uses: variables, functions, nodes.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

/// The functions of the language that may be called; those that hang on a clock, on patterns or on bytes are not here.
const FUNCTIONS: [&str; 10] =
    ["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string", "bool", "type"];
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];
/// Names of types, for `type(value) == string`.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];
/// What items and turns are called, where a node lies in some.
const OF_SCOPES: [&str; 3] = ["item", "index", "iteration"];
/// Loops inside each other.
const LOOPS_MAX: usize = 2;

/// A value that a condition looks at; nodes and ports have the numbers that [`Known`] gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// What an input of the node was given.
    Input(u16),
    /// The first output of an earlier node that has a value.
    Node(u32),
    /// One output of an earlier node.
    Output(u32, u16),
}

/// The names that a condition may use.
pub trait Known {
    /// The input port of this id.
    fn input(&self, id: &str) -> Option<u16>;
    /// The ids of all inputs.
    fn inputs(&self) -> Vec<&str>;
    /// Whether `name` is a variable of its own, such as `item`.
    fn is_own(&self, name: &str) -> bool;
    /// What an item or turn is that the node lies in: the container, and the output that gives it.
    fn of_scope(&self, name: &str) -> Option<(u32, u16)>;
    /// A node that certainly has come to its end before; else a sentence why not, without a full stop.
    fn node(&self, id: &str) -> Result<u32, String>;
    /// An output of that node.
    fn output(&self, node: u32, port: &str) -> Option<u16>;
}

/// What is wrong, and with which word of the text.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) word: String,
}

/// Checks all names, collects the values that are looked at, and says whether `inputs` is among the names.
pub(super) fn check(expression: &IdedExpr, known: &dyn Known) -> Result<(Vec<Need>, bool), Fault> {
    let mut walk = Walk { known, bound: Vec::new(), loops: 0, needs: Vec::new(), sees_inputs: false };
    walk.expression(expression)?;
    walk.needs.sort_unstable();
    walk.needs.dedup();
    Ok((walk.needs, walk.sees_inputs))
}

struct Walk<'a> {
    known: &'a dyn Known,
    /// Variables of the loops around.
    bound: Vec<&'a str>,
    loops: usize,
    needs: Vec<Need>,
    sees_inputs: bool,
}

impl<'a> Walk<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) -> Result<(), Fault> {
        match &expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key)?;
                    self.expression(&entry.value)
                }
                EntryExpr::StructField(_) => Err(fault("", "objects have keys and values")),
            }),
            Expr::Comprehension(it) => {
                self.expression(&it.iter_range)?;
                self.loops += 1;
                if self.loops > LOOPS_MAX {
                    return Err(fault(&it.iter_var, format!("at most {LOOPS_MAX} loops lie inside each other")));
                }
                let bound = self.bound.len();
                self.expression(&it.accu_init)?;
                self.bound.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
                self.bound.extend(it.iter_var2.as_deref());
                [&it.loop_cond, &it.loop_step, &it.result].into_iter().try_for_each(|part| self.expression(part))?;
                self.bound.truncate(bound);
                self.loops -= 1;
                Ok(())
            }
            Expr::Struct(it) => Err(fault(&it.type_name, "objects of a type are not taken")),
            Expr::Unspecified => Err(fault("", "this kind of expression is not taken")),
        }
    }

    fn variable(&mut self, name: &'a str) -> Result<(), Fault> {
        if self.bound.contains(&name) || self.known.is_own(name) || TYPES.contains(&name) || name == "run" {
            return Ok(());
        }
        if let Some(port) = self.known.input(name) {
            self.needs.push(Need::Input(port));
            return Ok(());
        }
        if let Some((container, port)) = self.known.of_scope(name) {
            self.needs.push(Need::Output(container, port));
            return Ok(());
        }
        if name == "inputs" {
            self.sees_inputs = true;
            let ports = self.known.inputs().into_iter().filter_map(|id| self.known.input(id)).map(Need::Input);
            self.needs.extend(ports);
            return Ok(());
        }
        if name == "nodes" {
            return Err(fault(name, "name a node: nodes.<id>.output, or nodes[\"<id>\"].output"));
        }
        let inputs = self.known.inputs().into_iter().map(|id| format!("\"{id}\""));
        let is_there = |name: &&str| self.known.is_own(name) || self.known.of_scope(name).is_some();
        let of_scopes = OF_SCOPES.into_iter().filter(is_there).map(str::to_owned);
        let there: Vec<String> = inputs.chain(of_scopes).collect();
        let message =
            format!("\"{}\" is not known here; there are {}, inputs, nodes and run", short(name), there.join(", "));
        Err(fault(name, message))
    }

    fn select(&mut self, select: &'a SelectExpr) -> Result<(), Fault> {
        if let Some((node, rest)) = self.node_of(&select.operand)? {
            return match (&*select.field, rest) {
                ("output", Part::Node) => {
                    self.needs.push(Need::Node(node));
                    Ok(())
                }
                (port, Part::Outputs) => self.output(node, port),
                ("outputs", Part::Node) => Err(fault(&select.field, "name an output: nodes.<id>.outputs.<port>")),
                _ => Err(fault(&select.field, "a node has output and outputs")),
            };
        }
        if is_ident(&select.operand, "inputs") {
            return self.input(&select.field);
        }
        if is_ident(&select.operand, "nodes") {
            self.known.node(&select.field).map_err(|message| fault(&select.field, message))?;
            return Err(fault(&select.field, "a node has output and outputs: nodes.<id>.output"));
        }
        self.expression(&select.operand)
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<(), Fault> {
        let name = call.func_name.as_str();
        if name == operators::INDEX
            && let [of, index] = call.args.as_slice()
            && let Some(key) = text(index)
        {
            if is_ident(of, "inputs") {
                return self.input(key);
            }
            if let Some((node, Part::Outputs)) = self.node_of(of)? {
                return self.output(node, key);
            }
        }
        let is_macro_part = name == operators::NOT_STRICTLY_FALSE;
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) && !is_macro_part {
            let hint = match name {
                "matches" => "; patterns are not taken, use contains, startsWith or endsWith",
                _ => "",
            };
            return Err(fault(name, format!("there is no function \"{}\"{hint}", short(name))));
        }
        call.target.iter().try_for_each(|target| self.expression(target))?;
        call.args.iter().try_for_each(|argument| self.expression(argument))
    }

    fn input(&mut self, id: &str) -> Result<(), Fault> {
        self.sees_inputs = true;
        match self.known.input(id) {
            Some(port) => {
                self.needs.push(Need::Input(port));
                Ok(())
            }
            None => Err(fault(id, format!("there is no input \"{}\"", short(id)))),
        }
    }

    fn output(&mut self, node: u32, port: &str) -> Result<(), Fault> {
        match self.known.output(node, port) {
            Some(port) => {
                self.needs.push(Need::Output(node, port));
                Ok(())
            }
            None => Err(fault(port, format!("the node has no output \"{}\"", short(port)))),
        }
    }

    /// `nodes.a`, `nodes["a"]`, and either with `.outputs` behind it.
    fn node_of(&self, expression: &IdedExpr) -> Result<Option<(u32, Part)>, Fault> {
        let found = match &expression.expr {
            Expr::Select(select) if select.field == "outputs" && !select.test => {
                named_node(&select.operand).map(|id| (id, Part::Outputs))
            }
            _ => None,
        };
        let Some((id, part)) = found.or_else(|| named_node(expression).map(|id| (id, Part::Node))) else {
            return Ok(None);
        };
        let node = self.known.node(id).map_err(|message| fault(id, message))?;
        Ok(Some((node, part)))
    }
}

fn fault(word: &str, message: impl Into<String>) -> Fault {
    Fault { message: message.into(), word: word.to_owned() }
}

/// Whether something in it lies deeper than this. Fields of fields cost nothing.
pub(super) fn is_deeper(expression: &IdedExpr, most: u16) -> bool {
    let Some(left) = most.checked_sub(1) else { return true };
    match &expression.expr {
        Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => false,
        Expr::Select(select) => is_deeper(&select.operand, most),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).any(|part| is_deeper(part, left)),
        Expr::List(list) => list.elements.iter().any(|part| is_deeper(part, left)),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => is_deeper(&entry.key, left) || is_deeper(&entry.value, left),
            EntryExpr::StructField(field) => is_deeper(&field.value, left),
        }),
        Expr::Comprehension(it) => {
            let parts = [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result];
            parts.into_iter().any(|part| is_deeper(part, left))
        }
    }
}

/// How far a path into `nodes` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Node,
    Outputs,
}

/// The id in `nodes.a` or `nodes["a"]`.
fn named_node(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Select(select) if is_ident(&select.operand, "nodes") => Some(&select.field),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, index] if is_ident(of, "nodes") => text(index),
            _ => None,
        },
        _ => None,
    }
}

fn is_ident(expression: &IdedExpr, name: &str) -> bool {
    matches!(&expression.expr, Expr::Ident(ident) if ident == name)
}

fn text(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Words, and signs that are no space; a text is one.
pub(super) fn signs(text: &str) -> usize {
    words(text).count()
}

/// Line and column, from 1, of the first place where a word stands; the beginning if it stands nowhere.
pub(super) fn position(text: &str, word: &str) -> (usize, usize) {
    let found = words(text).find(|(_, found)| *found == word);
    // `nodes["a"]` names its node in a text.
    let quoted = || words(text).find(|(_, found)| found.trim_matches(['"', '\'']) == word);
    let offset = found.or_else(quoted).map_or(0, |(offset, _)| offset);
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|sign| *sign != '\n').count() + 1;
    (line, column)
}

/// Words, signs and texts in their order, each with its offset.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let begin = at + rest.find(|sign: char| !sign.is_whitespace())?;
        let rest = &text[begin..];
        let first = rest.chars().next()?;
        let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
        let length = if matches!(first, '"' | '\'') {
            text_end(rest, first)
        } else if is_word(first) {
            rest.find(|sign| !is_word(sign)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        at = begin + length;
        Some((begin, &rest[..length]))
    })
}

/// The length of a text, its quotes included; all the rest if it does not end.
fn text_end(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (offset, sign) in rest.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if sign == quote => return offset + sign.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// A text of somebody else's as a message shows it.
pub(super) fn short(text: &str) -> String {
    const CHARACTERS_MAX: usize = 160;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(CHARACTERS_MAX) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}
