//! Outputs that come from outside: edits of a resume, and what the nodes of a request carried (graph.md, part 8).

use super::json::{self, Json, Member};
use super::nearest::is_slip_of;
use super::problem::{Problem, Problems, join, rule, shown};
use super::{Graph, large_list, values};
use crate::id::{NodeIx, PortIx};
use crate::limits::{RESULT_VALUES_MAX, SUBMIT_INPUTS_BYTES_MAX};
use crate::node_type::Port;
use crate::value::Value;

impl Graph {
    /// Reads the edits of a resume: a JSON object by node id, then by output port. Each value must be what the port gives.
    pub fn bind_outputs(&self, outputs: &[u8]) -> Result<Vec<(NodeIx, PortIx, Value)>, Vec<Problem>> {
        let text = read(outputs).map_err(|problem| vec![problem.at("/outputs")])?;
        let (mut problems, mut bound) = (Problems::default(), Vec::new());
        for member in Json(&text).members() {
            let path = join("/outputs", &member.key);
            let Some(node) = self.find(&member.key) else {
                problems.push(self.unknown_node(&member.key).at(path));
                continue;
            };
            let id = &self.node(node).id;
            if !member.value.is_object() {
                let fix = "Give the new values by output: {\"text\": \"…\"}.";
                let message = format!("outputs of node \"{}\" is {}, not an object.", shown(id), shown(member.value.0));
                problems.push(Problem::new(rule::BAD_INPUT, message, fix).node(id).at(path));
                continue;
            }
            for output in member.value.members() {
                match self.output_value(node, &output.key, output.value, false) {
                    Ok((port, value)) => bound.push((node, port, value)),
                    Err(problem) => problems.push(problem.node(id).at(join(&path, &output.key))),
                }
            }
        }
        problems.into_result(bound)
    }

    /// Reads what a node carried: an object by output port, or the value of its only output. `None` if that is of no output of the node.
    /// One value at an output that gives a list is a list of one: clients keep what they show, which may be a value alone.
    ///
    /// # Errors
    /// A value is not what its output gives; the place is told from the output on.
    pub fn carried_outputs(&self, node: NodeIx, output: &[u8]) -> Result<Option<Vec<(PortIx, Value)>>, Problem> {
        let Ok(text) = json::compact(output) else { return Ok(None) };
        let value = Json(&text);
        let id = &self.node(node).id;
        let ports: Vec<&Port> = self.outer_outputs(node).map(|(_, port)| port).collect();
        let is_by_port = value.is_object()
            && value.members().count() > 0
            && value.members().all(|member| ports.iter().any(|port| *port.id == *member.key));
        if is_by_port {
            let read = |it: Member<'_>| {
                self.output_value(node, &it.key, it.value, true)
                    .map_err(|problem| problem.node(id).at(join("", &it.key)))
            };
            return value.members().map(read).collect::<Result<_, _>>().map(Some);
        }
        match ports.as_slice() {
            [only] if !value.is_null() => {
                let read = self.output_value(node, &only.id, value, true).map_err(|problem| problem.node(id).at(""))?;
                Ok(Some(vec![read]))
            }
            _ => Ok(None),
        }
    }

    /// The outputs of a node that are not for its body.
    pub fn outer_outputs(&self, node: NodeIx) -> impl Iterator<Item = (PortIx, &Port)> {
        let ports = self.node(node).node_type.iter().flat_map(|node_type| &node_type.outputs);
        let numbered = ports.zip(0..).map(|(port, place)| (PortIx(place), port));
        numbered.filter(move |(port, _)| !self.is_inner_output(node, *port))
    }

    /// Where an edit of a resume puts a value, as problems name it.
    pub fn edit_path(&self, node: NodeIx, port: PortIx) -> String {
        let found = self.outer_outputs(node).find(|(ix, _)| *ix == port);
        join(&join("/outputs", &self.node(node).id), found.map_or("", |(_, port)| &port.id))
    }

    fn output_value(
        &self,
        node: NodeIx,
        port: &str,
        value: Json<'_>,
        lists_one: bool,
    ) -> Result<(PortIx, Value), Problem> {
        let found = self.outer_outputs(node).find(|(_, known)| *known.id == *port);
        let (ix, found) = found.ok_or_else(|| {
            let message = format!("Node \"{}\" has no output \"{}\".", shown(&self.node(node).label), shown(port));
            let names: Vec<_> = self.outer_outputs(node).map(|(_, port)| format!("\"{}\"", port.id)).collect();
            Problem::new(rule::BAD_SOURCE_HANDLE, message, format!("It has: {}.", names.join(", ")))
        })?;
        let is_upload = self.list_place(node, ix).is_some() && large_list::is_upload(value);
        let is_one = lists_one && found.list && !value.is_array() && !value.is_null() && !is_upload;
        let list = is_one.then(|| format!("[{}]", value.0));
        let value = list.as_deref().map_or(value, Json);
        let text = values::as_given(value, found).and_then(|text| values::checked(text, found)).map_err(|problem| {
            match problem.rule {
                rule::BAD_CONFIG => Problem { rule: rule::BAD_INPUT, ..problem },
                _ => problem,
            }
        })?;
        Ok((ix, Value::from_json(text.into())))
    }

    /// What is wrong with the name of a node that is not there.
    pub fn unknown_node(&self, id: &str) -> Problem {
        let nearest = self.nodes().find(|(_, node)| !node.is_anonymous && is_slip_of(id, &node.id));
        let fix = match nearest {
            Some((_, node)) => format!("Did you mean \"{}\"?", node.id),
            None => "Name a node of the graph; notes and groups never run.".to_owned(),
        };
        let message = format!("The graph has no node \"{}\" that can run.", shown(id));
        Problem::new(rule::UNKNOWN_TARGET, message, fix)
    }
}

fn read(outputs: &[u8]) -> Result<String, Problem> {
    if outputs.len() > SUBMIT_INPUTS_BYTES_MAX {
        let message = format!("outputs has {} bytes; at most {SUBMIT_INPUTS_BYTES_MAX} are taken.", outputs.len());
        return Err(Problem::new(rule::LIMITS, message, "Give references to files instead of their content."));
    }
    let fix = "Send outputs as a JSON object by node id, then by output.";
    let text = json::compact(outputs).map_err(|fault| Problem::new(rule::BAD_JSON, fault.message("outputs"), fix))?;
    match Json(&text).is_object() && Json(&text).members().count() <= RESULT_VALUES_MAX {
        true => Ok(text),
        false => {
            let message = format!("outputs is no object of at most {RESULT_VALUES_MAX} nodes.");
            Err(Problem::new(rule::BAD_JSON, message, fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::graph::fixture::Fixture;

    #[test]
    fn one_value_for_a_list_is_a_list_of_one_where_nodes_carry_it_and_nowhere_else() {
        let fixture = Fixture::default().list("in", json!([1])).logic("m", "map", json!({})).output("end");
        let fixture = fixture.work("w", "pure", &json!({})).inside("m").edge("in", "m.items").edge("m.item", "w.extra");
        let graph = fixture.edge("w.out", "m.result").edge("m.results", "end").build();
        let node = graph.find("m").unwrap();
        let carried = |output: &[u8]| {
            let values = graph.carried_outputs(node, output).ok().flatten()?;
            Some(String::from_utf8(values.first()?.1.json().to_vec()).unwrap())
        };
        assert_eq!(carried(br#"{"results": "one"}"#).as_deref(), Some(r#"["one"]"#));
        assert_eq!(carried(br#"{"results": ["one", 2]}"#).as_deref(), Some(r#"["one",2]"#));
        assert_eq!(carried(br#"{"results": null}"#), None);
        assert_eq!(carried(b"null"), None);
        let problems = graph.bind_outputs(br#"{"m": {"results": "one"}}"#).unwrap_err();
        assert_eq!(problems[0].path.as_deref(), Some("/outputs/m/results"));
    }
}
