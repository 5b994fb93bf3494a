//! What nodes without a body give that are no work (graph.md, parts 3 and 4).

use serde_json::Value as Json;

use super::document::Edge;
use super::expression::Expression;
use super::interpreter::{Frame, Interpreter, appended, first};
use super::{Expected, Given, Outputs};

impl Interpreter<'_> {
    pub(super) fn branch(&self, node: usize, frame: &Frame<'_>, brought: &[(&str, Given)]) -> Expected {
        let here = &self.document.nodes[node];
        let config = &here.config;
        let at = self.at(node, frame);
        let came = |port: &str| first(brought, port);
        let to = |given: Option<Given>, ports: &[&str]| {
            let given = given.into_iter();
            Expected::Done(
                given.flat_map(|given| ports.iter().map(move |port| ((*port).to_owned(), given.clone()))).collect(),
            )
        };
        let failed = || self.failed(node, vec!["condition_failed".to_owned()]);
        let names = |more: &[(&'static str, Json)]| {
            let ports = ["value", "input", "items", "branches"];
            let seen = ports.iter().map(|port| (*port, came(port).map_or(Json::Null, Given::into_json)));
            more.iter().cloned().chain(seen.collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let holds = |condition: &Json, more: &[(&'static str, Json)]| {
            let names = names(more);
            let condition = Expression::read(condition.as_str().unwrap_or_default());
            condition.holds(&|path: &[String]| self.look(&names, frame, path))
        };
        match here.kind.as_str() {
            "input:json" => {
                let value = self.outside.inputs.get(&here.id).unwrap_or_else(|| &config["value"]);
                to(Some(Given::One(value.clone())), &["json"])
            }
            "input:list" => {
                let items = self.outside.inputs.get(&here.id).unwrap_or_else(|| &config["items"]);
                to(Some(Given::of(true, items.clone())), &["items"])
            }
            "logic:wait" | "output:preview" => to(came("value"), &["value"]),
            "logic:signal" | "logic:wait_webhook" => match self.outside.heard.get(&at) {
                Some(heard) => Expected::Done(
                    heard.iter().map(|(port, value)| (port.clone(), Given::One(value.clone()))).collect(),
                ),
                None => Expected::Never,
            },
            "logic:review" => match self.outside.reviewed.get(&at) {
                Some(true) => {
                    let edit = self.outside.changed.get(&at).and_then(|edits| edits.get("approved"));
                    // What people make of a list is one.
                    let is_list = matches!(came("value"), Some(Given::List(_)));
                    let edit = edit.map(|edit| Given::of(is_list, edit.clone()));
                    to(edit.or_else(|| came("value")), &["approved"])
                }
                Some(false) => to(came("value"), &["rejected"]),
                None => Expected::Never,
            },
            "logic:if" => match holds(&config["condition"], &[]) {
                Ok(true) => to(came("value"), &["true"]),
                Ok(false) => to(came("value"), &["false"]),
                Err(_) => failed(),
            },
            "logic:switch" | "logic:router" => {
                let (port, cases) = match here.kind == "logic:switch" {
                    true => ("value", &config["cases"]),
                    false => ("input", &config["rules"]),
                };
                let Some(cases) = cases.as_array().filter(|cases| !cases.is_empty()) else {
                    return to(came(port), &["output"]);
                };
                let mut taken = Vec::new();
                for case in cases {
                    match holds(&case["when"], &[]) {
                        Ok(true) => taken.push(case["id"].as_str().unwrap_or_default()),
                        Ok(false) => {}
                        Err(_) => return failed(),
                    }
                    if !taken.is_empty() && config["mode"] != "all" {
                        break;
                    }
                }
                to(came(port), if taken.is_empty() { &["default"] } else { &taken })
            }
            "logic:gate" => {
                let open = came("open").map_or_else(|| config["open"].clone(), Given::into_json);
                to(came("value"), if open == true { &["value"] } else { &[] })
            }
            // Either will do, but only one, and only with the value that came.
            "logic:split_test" => {
                let taken = self.outside.split.get(&at).map_or("a", |port| &**port);
                to(came("value"), &[taken])
            }
            "logic:merge" => {
                let list = Given::List(appended(brought, "branches"));
                let value = if config["mode"] == "all" { Some(list.clone()) } else { came("branches") };
                let value = value.map(|value| ("value".to_owned(), value));
                Expected::Done(value.into_iter().chain([("values".to_owned(), list)]).collect())
            }
            "logic:race" => self.race(node, frame),
            "logic:filter" => {
                let (mut kept, mut dropped) = (Vec::new(), Vec::new());
                for (index, item) in self.through(node, brought).into_iter().enumerate() {
                    let names = [("item", item.clone().into_json()), ("index", index.into())];
                    match holds(&config["condition"], &names) {
                        Ok(true) => kept.push(item),
                        Ok(false) => dropped.push(item),
                        Err(_) => return failed(),
                    }
                }
                let outputs = [("kept".to_owned(), Given::List(kept)), ("dropped".to_owned(), Given::List(dropped))];
                Expected::Done(outputs.into())
            }
            "logic:batch" => {
                let size = config["size"].as_u64().unwrap_or(1) as usize;
                let batches =
                    self.through(node, brought).chunks(size).map(|items| Given::List(items.to_vec())).collect();
                Expected::Done(Outputs::from([("batches".to_owned(), Given::List(batches))]))
            }
            "logic:stop" if self.outside.stopped.contains(&at) => Expected::Done(Outputs::new()),
            "logic:stop" => Expected::Never,
            other => panic!("the reference does not know {other}"),
        }
    }

    /// Whoever came first, the history knows; that it is one of the branches, we do. In a body it is what comes from outside, as
    /// soon as the body opens: of that the first edge.
    fn race(&self, node: usize, frame: &Frame<'_>) -> Expected {
        let at = self.at(node, frame);
        let mut entering = self.document.edges_into(node).filter(|edge| self.enters(edge, frame));
        let outside = entering.find(|edge| matches!(self.brought(edge, frame), Ok(Some(_))));
        let outside = outside.map(|edge| &self.document.nodes[edge.source].id);
        let Some(winner) = outside.or_else(|| self.outside.winner.get(&at)) else { return Expected::Never };
        let of_winner = |edge: &&Edge| self.document.nodes[edge.source].id == *winner;
        let edges: Vec<_> = self.document.edges_into(node).filter(of_winner).collect();
        let values = edges.iter().filter_map(|edge| self.brought(edge, frame).ok().flatten());
        let Some(value) = self.outside.chosen(&at, values.collect()) else { return Expected::Skipped };
        let winner = Given::One(Json::String(winner.clone()));
        Expected::Done(Outputs::from([("value".to_owned(), value), ("winner".to_owned(), winner)]))
    }
}
