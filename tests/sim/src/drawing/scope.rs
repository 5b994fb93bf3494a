//! Maps, loops and reductions with their bodies, and lists cut into lists.

use serde_json::json;

use super::lists::{PERHAPS, are_items};
use super::{DEPTH_MAX, Drawing, Level, NODES_MAX, REPEATS_MAX, Shape, Source};

impl Drawing<'_> {
    pub(super) fn scope(&mut self, level: Level, sources: &mut Vec<Source>) {
        match self.random.below(if self.is_full(level) { 3 } else { 10 }) {
            0 => self.batch(level, sources),
            1 | 2 => self.work(level, sources),
            3..7 => self.map(level, sources),
            7 | 8 => self.looping(level, sources),
            _ => self.reduce(level, sources),
        }
    }

    /// Whether no body is begun any more.
    pub(super) fn is_full(&self, level: Level) -> bool {
        level.depth >= DEPTH_MAX
            || self.nodes.len() >= NODES_MAX
            || self.repeats * self.knobs.longest_list > REPEATS_MAX
    }

    fn batch(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(lists) = self.one_list(sources) else { return self.work(level, sources) };
        let config = json!({"size": self.random.between((1, 4))});
        let node = self.node(level, "logic:batch", config, json!({}));
        lists.iter().for_each(|list| self.edge(list, node, "items"));
        self.more(node, sources, "items", &[Shape::Item]);
        sources.push(Source::of(node, "batches", Shape::List));
    }

    pub(super) fn map(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(lists) = self.one_list(sources) else { return self.work(level, sources) };
        let mut config = json!({"onItemError": self.random.pick(&["fail", "skip", "collect"])});
        if self.random.percent(60) {
            config["concurrency"] = json!(self.random.between((1, 8)));
        }
        let is_batched = self.random.percent(20);
        if is_batched {
            config["batchSize"] = json!(self.random.between((1, 4)));
        }
        let node = self.node(level, "logic:map", config, json!({}));
        lists.iter().for_each(|list| self.edge(list, node, "items"));
        let item = match (are_items(&lists), is_batched) {
            (true, true) => Shape::Items,
            (false, true) => Shape::List,
            (true, false) => Shape::Item,
            (false, false) => Shape::Any,
        };
        let longest = self.knobs.longest_list * lists.len() as u64;
        let own = [Source::of(node, "item", item), Source::of(node, "index", Shape::Any)];
        if let Some(result) = self.body(level, node, sources, &own, longest) {
            self.edge(&result, node, "result");
        }
        sources.extend(["results", "errors"].map(|port| Source::of(node, port, Shape::List)));
    }

    pub(super) fn looping(&mut self, level: Level, sources: &mut Vec<Source>) {
        let carries_lists = self.carries_lists();
        let seed = self.begin_with(sources, carries_lists, &[Shape::Item]);
        let Some(seed) = seed else { return self.work(level, sources) };
        let turns = self.random.between((1, 4));
        let mut config = json!({"maxIterations": turns});
        let select = self.random.pick(&["last", "best", "all"]);
        config["select"] = json!(select);
        if self.random.percent(60) {
            let rest = self.rest();
            config["until"] = json!(match self.random.percent(70) {
                true => rest.or_null("result"),
                false => format!("iteration >= {}", self.random.below(4)),
            });
        }
        if select == "best" || self.random.percent(20) {
            config["score"] = json!(self.random.pick(&["iteration % 2", "0 - iteration", "iteration % 3 + 1"]));
        }
        let node = self.node(level, "logic:loop", config, json!({}));
        if self.random.percent(85) {
            self.edge(&seed, node, "seed");
        }
        let value = if carries_lists { Shape::Mixed } else { Shape::Any };
        let own = [Source::of(node, "value", value), Source::of(node, "iteration", Shape::Any)];
        let Some(mut result) = self.body(level, node, sources, &own, turns) else { return };
        // What is carried is mostly what the turn gives; if not, it may be anything, before or after it in the document.
        let mut carry = self.pick_in_body(node).filter(|_| self.random.percent(30));
        if carries_lists
            && self.random.percent(50)
            && let Some(other) = self.pick_in_body(node)
        {
            carry = Some(std::mem::replace(&mut result, other));
        }
        let has_number = result.shape == Shape::Item;
        let config = &mut self.nodes[node]["data"]["config"];
        if !has_number && config["until"].as_str().is_some_and(|until| until.contains("result")) {
            config["until"] = json!("iteration >= 2");
        }
        let is_first = self.random.percent(50);
        carry.iter().filter(|_| is_first).for_each(|carry| self.edge(carry, node, "carry"));
        self.edge(&result, node, "result");
        carry.iter().filter(|_| !is_first).for_each(|carry| self.edge(carry, node, "carry"));
        // It may go on by what leads to nothing of that.
        if let Some(seen) = self.pick_in_body(node).filter(|_| self.random.percent(20)) {
            let until = format!("nodes.{}.output {} null", super::id(seen.node), self.random.pick(&["==", "!="]));
            self.nodes[node]["data"]["config"]["until"] = json!(until);
        }
        let shape = match has_number {
            _ if select == "all" => Shape::List,
            true => Shape::Item,
            false if PERHAPS.contains(&result.shape) => Shape::Mixed,
            false => Shape::Any,
        };
        sources.push(Source::of(node, "result", shape));
        sources.push(Source::of(node, "iterations", Shape::Any));
        sources.push(Source::of(node, "all", Shape::List));
    }

    pub(super) fn reduce(&mut self, level: Level, sources: &mut Vec<Source>) {
        let Some(lists) = self.one_list(sources) else { return self.work(level, sources) };
        let carries_lists = self.carries_lists();
        let initial = self.begin_with(sources, carries_lists, &[Shape::Item, Shape::Any, Shape::Json]);
        let node = self.node(level, "logic:reduce", json!({}), json!({}));
        lists.iter().for_each(|list| self.edge(list, node, "items"));
        initial.into_iter().for_each(|initial| self.edge(&initial, node, "initial"));
        let item = if are_items(&lists) { Shape::Item } else { Shape::Any };
        let own = [
            Source::of(node, "accumulator", if carries_lists { Shape::Mixed } else { Shape::Any }),
            Source::of(node, "item", item),
            Source::of(node, "index", Shape::Any),
        ];
        let result = self.body(level, node, sources, &own, self.knobs.longest_list * lists.len() as u64);
        result.iter().for_each(|result| self.edge(result, node, "result"));
        let gives_list = result.is_some_and(|result| PERHAPS.contains(&result.shape));
        sources.push(Source::of(node, "result", if gives_list || carries_lists { Shape::Mixed } else { Shape::Any }));
    }

    /// An output of some node that lies in the body of this one.
    fn pick_in_body(&mut self, container: usize) -> Option<Source> {
        let is_inside = |node: &usize| self.nodes[*node]["parentId"] == super::id(container);
        let is_plain = |node: &usize| {
            matches!(self.nodes[*node]["data"]["nodeType"].as_str(), Some("debug:work" | "debug:prefetched"))
        };
        // What may lose a race has run or not, as it comes.
        let nodes: Vec<usize> = (container + 1..self.nodes.len())
            .filter(|node| is_inside(node) && is_plain(node) && !self.leads_to_race(*node))
            .collect();
        let node = *nodes.get(self.random.below(nodes.len()))?;
        Some(Source::of(node, self.random.pick(&["out", "side"]), Shape::Item))
    }

    fn leads_to_race(&self, node: usize) -> bool {
        let after = self.edges.iter().filter(|edge| edge["source"] == super::id(node));
        let mut after =
            after.filter_map(|edge| (node + 1..self.nodes.len()).find(|to| edge["target"] == super::id(*to)));
        after.any(|to| self.nodes[to]["data"]["nodeType"] == "logic:race" || self.leads_to_race(to))
    }

    /// Whether what a container gives its body from turn to turn leads to a node.
    fn is_fed_by_turns(&self, container: usize, node: usize) -> bool {
        let (mut found, mut open) = (vec![false; self.nodes.len()], vec![super::id(container)]);
        while let Some(source) = open.pop() {
            let is_own = |edge: &&serde_json::Value| {
                source != super::id(container)
                    || edge["sourceHandle"] == "value"
                    || edge["sourceHandle"] == "accumulator"
            };
            for edge in self.edges.iter().filter(|edge| edge["source"] == *source).filter(is_own) {
                let target = (0..self.nodes.len()).find(|to| edge["target"] == super::id(*to));
                let new = target.filter(|target| !std::mem::replace(&mut found[*target], true));
                open.extend(new.map(super::id));
            }
        }
        found[node]
    }

    /// Draws the body of a container, and says which output of it is the result.
    fn body(
        &mut self,
        level: Level,
        container: usize,
        sources: &[Source],
        own: &[Source],
        times: u64,
    ) -> Option<Source> {
        let inner = Level { parent: Some(container), depth: level.depth + 1 };
        let first = self.nodes.len();
        // What was there before is brought to each item; what an item is, to its nodes only.
        let mut known = sources.to_vec();
        known.extend_from_slice(own);
        let repeats = self.repeats * times.max(1);
        let outer = std::mem::replace(&mut self.repeats, repeats);
        let carried = own.iter().find(|own| own.shape == Shape::Mixed);
        self.carrying += usize::from(carried.is_some());
        for _ in 0..self.random.between((1, 3)) {
            self.one(inner, &mut known);
        }
        let is_result = |source: &&Source| source.node >= first && source.shape == Shape::Item;
        if !known.iter().any(|source| is_result(&source)) {
            self.work(inner, &mut known);
        }
        if !known.iter().any(|source| is_result(&source)) {
            self.plain(inner, &mut known);
        }
        let next = carried.map(|carried| self.carry_on(inner, carried, &mut known));
        // A race that ends the item or turn, whatever else is open in it.
        let ends_with_race = self.knobs.has_races && self.random.percent(35);
        if ends_with_race {
            match self.random.percent(50) {
                true => self.race_with_container(inner, &mut known),
                false => (0..self.random.between((1, 2))).for_each(|_| self.race_in_body(inner, &mut known)),
            }
        }
        self.repeats = outer;
        self.carrying -= usize::from(carried.is_some());
        let is_race = |source: &&Source| self.nodes[source.node]["data"]["nodeType"] == "logic:race";
        // Lists of what came would double with each turn.
        let grows = |last: &&Source| PERHAPS.contains(&last.shape) && self.is_fed_by_turns(container, last.node);
        let last = known.last().filter(|last| ends_with_race && is_race(last) && !grows(last));
        if let Some(result) = last.cloned().or(next) {
            return Some(result);
        }
        // A node of a body within the body is not its own.
        let own: Vec<Source> = known
            .iter()
            .filter(|source| is_result(source) && self.nodes[source.node]["parentId"] == super::id(container))
            .cloned()
            .collect();
        own.get(self.random.below(own.len())).cloned()
    }
}
