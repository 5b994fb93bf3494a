//! What is counted. Kept apart and never inlined, so that callgrind finds it by name; no closure in here, since its name
//! would match too.

use std::sync::Arc;

use heddle_core::draw::Draw;
use heddle_core::graph::Graph;
use heddle_core::id::RunId;
use heddle_core::partition::Partition;
use heddle_core::partition::io::{Input, Outputs};
use heddle_core::partition::permits::Permits;
use heddle_core::run::Run;
use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;

/// One turn of a partition.
#[inline(never)]
pub(crate) fn drive(
    partition: &mut Partition,
    inputs: Vec<Input>,
    now: Timestamp,
    draw: Draw,
    permits: &mut Permits,
) -> Outputs {
    partition.on(inputs, now, draw, permits)
}

/// A whole history, folded into the run it tells of.
#[inline(never)]
pub(crate) fn fold(id: RunId, graph: &Arc<Graph>, history: &[Event]) -> Run {
    let mut run = Run::begin(id, Arc::clone(graph), &history[0]).expect("a history begins with a submission");
    for event in &history[1..] {
        run.step(event).expect("each event follows from those before it");
    }
    run
}
