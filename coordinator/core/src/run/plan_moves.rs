//! How two plans of the same run differ: which nodes run now that were reused before, and so on. Nodes are the same that have the
//! same id, so the plans may be of different graphs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::{Plan, Planned, Why};
use crate::graph::Graph;

/// What a plan does with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// It runs.
    WillRun,
    /// It runs if what comes into it changes.
    MayRun,
    /// It takes over an earlier result.
    Reused,
    /// It does not run.
    Skipped,
}

/// Instances of a node that a plan has in another part than the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Of which node.
    pub node: Arc<str>,
    /// The numbers of the items and turns around it; none, too, where it stands for several.
    pub index: Vec<u32>,
    /// How many.
    pub instances: u32,
    /// Where they stood; nowhere if the plan did not have them.
    pub from: Option<Part>,
    /// Where they stand; nowhere if the plan does not have them any more.
    pub to: Option<(Part, Why)>,
}

impl Part {
    const ALL: [Part; 4] = [Part::WillRun, Part::MayRun, Part::Reused, Part::Skipped];

    /// Its word in the API.
    pub fn name(self) -> &'static str {
        match self {
            Part::WillRun => "willRun",
            Part::MayRun => "mayRun",
            Part::Reused => "reused",
            Part::Skipped => "skipped",
        }
    }

    fn of(self, plan: &Plan) -> &[Planned] {
        match self {
            Part::WillRun => &plan.will_run,
            Part::MayRun => &plan.may_run,
            Part::Reused => &plan.reused,
            Part::Skipped => &plan.skipped,
        }
    }
}

/// How many instances stand where, and why.
#[derive(Default)]
struct Standing {
    before: BTreeMap<Part, u32>,
    now: BTreeMap<Part, (u32, Option<Why>)>,
}

/// What stands elsewhere than it did, by the ids of nodes. Of many instances that stood or stand alike only the number is known.
pub fn moves(before: (&Graph, &Plan), now: (&Graph, &Plan)) -> Vec<Move> {
    let mut standing: BTreeMap<(Arc<str>, Vec<u32>), Standing> = BTreeMap::new();
    for part in Part::ALL {
        for planned in part.of(before.1) {
            let at = standing.entry(key(before.0, planned)).or_default();
            *at.before.entry(part).or_default() += planned.instances.max(1);
        }
        for planned in part.of(now.1) {
            let (count, why) = standing.entry(key(now.0, planned)).or_default().now.entry(part).or_default();
            *count += planned.instances.max(1);
            *why = Some(planned.why);
        }
    }
    let mut moved = Vec::new();
    let mut rest: BTreeMap<Arc<str>, Standing> = BTreeMap::new();
    for ((node, index), mut standing) in standing {
        standing.pair(&node, &index, &mut moved);
        // Named one by one before, and told as many now, or the other way round.
        let of_node = rest.entry(node).or_default();
        standing.before.into_iter().for_each(|(part, count)| *of_node.before.entry(part).or_default() += count);
        for (part, (count, why)) in standing.now {
            let at = of_node.now.entry(part).or_default();
            *at = (at.0 + count, at.1.or(why));
        }
    }
    for (node, mut standing) in rest {
        standing.pair(&node, &[], &mut moved);
        let one = |instances| Move { node: Arc::clone(&node), index: Vec::new(), instances, from: None, to: None };
        let gone = standing.before.iter().filter(|(_, count)| **count > 0);
        moved.extend(gone.map(|(part, count)| Move { from: Some(*part), ..one(*count) }));
        for (part, (count, why)) in &standing.now {
            let to = why.map(|why| (*part, why)).filter(|_| *count > 0);
            moved.extend(to.map(|to| Move { to: Some(to), ..one(*count) }));
        }
    }
    moved.sort_by(|a, b| (&a.node, &a.index).cmp(&(&b.node, &b.index)));
    moved
}

fn key(graph: &Graph, planned: &Planned) -> (Arc<str>, Vec<u32>) {
    (Arc::clone(&graph.node(planned.node).id), planned.index.clone())
}

impl Standing {
    /// Takes out what stands where it stood, and then what has moved.
    fn pair(&mut self, node: &Arc<str>, index: &[u32], moved: &mut Vec<Move>) {
        for (part, count) in &mut self.before {
            let Some((now, _)) = self.now.get_mut(part) else { continue };
            let same = (*count).min(*now);
            (*count, *now) = (*count - same, *now - same);
        }
        for (from, count) in &mut self.before {
            for (to, (now, why)) in &mut self.now {
                let instances = (*count).min(*now);
                let Some(why) = why.filter(|_| instances > 0) else { continue };
                (*count, *now) = (*count - instances, *now - instances);
                let (node, index) = (Arc::clone(node), index.to_vec());
                moved.push(Move { node, index, instances, from: Some(*from), to: Some((*to, why)) });
            }
        }
        self.before.retain(|_, count| *count > 0);
        self.now.retain(|_, (count, _)| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::fixture::Fixture;

    fn planned(graph: &Graph, id: &str, index: &[u32], instances: u32, why: Why) -> Planned {
        let node = graph.find(id).unwrap();
        Planned { node, why, source: None, index: index.to_vec(), instances }
    }

    #[test]
    fn what_stands_elsewhere_is_named() {
        let before = Fixture::default().input("a").input("b").input("gone").build();
        let now = Fixture::default().input("new").input("b").input("a").build();
        let of = |id: &str, index: &[u32], instances, why| planned(&before, id, index, instances, why);
        let was = Plan {
            will_run: vec![of("a", &[], 0, Why::Start), of("gone", &[], 0, Why::NeverRan)],
            reused: vec![of("b", &[0], 0, Why::Same), of("b", &[1], 0, Why::Same), of("b", &[2], 0, Why::Same)],
            ..Plan::default()
        };
        let of = |id: &str, index: &[u32], instances, why| planned(&now, id, index, instances, why);
        let is = Plan {
            will_run: vec![
                of("a", &[], 0, Why::ConfigChanged),
                of("b", &[1], 0, Why::InputChanged),
                of("new", &[], 0, Why::NeverRan),
            ],
            may_run: vec![of("b", &[2], 0, Why::InputMayChange)],
            reused: vec![of("b", &[0], 0, Why::Same)],
            ..Plan::default()
        };
        let all = moves((&before, &was), (&now, &is));
        let shown: Vec<_> =
            all.iter().map(|it| (&*it.node, it.index.as_slice(), it.from, it.to.map(|(part, _)| part))).collect();
        let expected: [(&str, &[u32], _, _); 4] = [
            ("b", &[1], Some(Part::Reused), Some(Part::WillRun)),
            ("b", &[2], Some(Part::Reused), Some(Part::MayRun)),
            ("gone", &[], Some(Part::WillRun), None),
            ("new", &[], None, Some(Part::WillRun)),
        ];
        assert_eq!(shown, expected, "another reason alone is no move");
        assert_eq!(moves((&before, &was), (&before, &was)), []);
    }

    #[test]
    fn of_many_only_the_number_is_known() {
        let graph = Fixture::default().input("a").build();
        let of = |index: &[u32], instances, why| planned(&graph, "a", index, instances, why);
        let was = Plan { reused: vec![of(&[], 100, Why::Same)], ..Plan::default() };
        let will_run = vec![of(&[3], 0, Why::InputChanged), of(&[4], 0, Why::InputChanged)];
        let is = Plan { will_run, reused: vec![of(&[], 98, Why::Same)], ..Plan::default() };
        let moved = moves((&graph, &was), (&graph, &is));
        let to = Some((Part::WillRun, Why::InputChanged));
        let expected = Move { node: "a".into(), index: Vec::new(), instances: 2, from: Some(Part::Reused), to };
        assert_eq!(moved, [expected]);
    }
}
