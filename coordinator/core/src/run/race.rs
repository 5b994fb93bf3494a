//! `logic:race`: the one node for which it counts what came first (graph.md, part 4). What came first is what came first in the
//! run's history.

use super::control::PORT;
use super::corrupt::Corrupt;
use super::dropped::AtAgent;
use super::{Body, NodePhase, Run};
use crate::fault::{Fault, is_planted};
use crate::graph::{InEdge, Logic, OutEdge};
use crate::id::{Instance, NodeIx, PortIx};
use crate::run::event::{OutputValue, PortOutput};
use crate::value::Value;

/// The output that names the winner.
const WINNER: PortIx = PortIx(1);

impl Run {
    fn is_race(&self, node: NodeIx) -> bool {
        matches!(self.graph.node(node).logic.as_deref(), Some(Logic::Race { .. }))
    }

    /// Notes an edge that brings a race its first value; false if it does not, or leads to no race.
    pub(super) fn wins_race(&mut self, race: Instance, source: NodeIx, edge: &OutEdge) -> bool {
        if edge.target != race.node || !self.is_race(race.node) {
            return false;
        }
        if matches!(self.output_at(race.scope, source, edge.source_port), None | Some(OutputValue::Closed)) {
            return false;
        }
        let same = InEdge { source, source_port: edge.source_port, target_port: edge.target_port };
        let place = self.graph.in_edges(race.node).iter().zip(0..).find(|(known, _)| **known == same);
        let Some((_, place)) = place else { return false };
        self.state.winners.insert(race, place);
        true
    }

    /// Whether a race is over before it begins: what comes into its body from outside is there already.
    pub(super) fn is_won_from_outside(&mut self, race: Instance) -> bool {
        if !self.is_race(race.node) {
            return false;
        }
        let brings = |edge: &InEdge| {
            !matches!(self.output_at(race.scope, edge.source, edge.source_port), None | Some(OutputValue::Closed))
        };
        let place = self.graph.in_edges(race.node).iter().zip(0..).find(|(edge, _)| brings(edge));
        let Some((_, place)) = place else { return false };
        self.state.winners.insert(race, place);
        true
    }

    /// The edge that brought a race its first value.
    pub(super) fn winner(&self, race: Instance) -> Option<&InEdge> {
        let place = self.state.winners.get(&race)?;
        self.graph.in_edges(race.node).get(*place as usize)
    }

    /// What a race gives: the first value, and the id of the node that its edge came from.
    pub(super) fn decide_race(&self, race: Instance, body: &mut Body) -> Vec<PortOutput> {
        let Some(edge) = self.winner(race) else {
            // No edge leads here: what it gives is in the graph.
            let mut outputs = self.pass_on(race, body);
            outputs.push(PortOutput { port: WINNER, value: OutputValue::Closed });
            return outputs;
        };
        let value = self.output_at(race.scope, edge.source, edge.source_port).cloned().unwrap_or(OutputValue::Closed);
        let id = serde_json::Value::from(&*self.graph.node(self.graph.giver(edge)).id).to_string();
        let id = OutputValue::One(body.put(Value::from_json(id.into())));
        vec![PortOutput { port: PORT, value }, PortOutput { port: WINNER, value: id }]
    }

    /// A race is won: what leads to it alone is given up, unless it is to run to its end.
    pub(super) fn drop_losers(&mut self, race: Instance) -> Result<(), Corrupt> {
        if !self.graph.cancels_losers(race.node) || is_planted(Fault::LosersKept) {
            return Ok(());
        }
        let is_inside = self.graph.within(race.node).is_some();
        let frame = self.state.frames.get_mut(&race.scope);
        match frame.filter(|frame| frame.open > 0) {
            // They hold it open until all of them are given up: it closes once, whoever was the last that was open.
            Some(frame) => frame.open += 1,
            // With the race the item or turn was over: then nothing of it is left to be given up.
            None if is_inside => return Ok(()),
            None => {}
        }
        let belongs = |node: NodeIx| self.phase_of(node) != NodePhase::Excluded;
        for node in self.graph.leading_only_to(race.node, &belongs) {
            self.drop_instance(race.beside(node), AtAgent::Stops)?;
        }
        if is_inside { self.leave(race) } else { Ok(()) }
    }
}
