//! A run that others go on from: its results, and copies of the values behind them.

use std::collections::HashMap;
use std::sync::Arc;

use heddle_core::graph::Graph;
use heddle_core::id::{EventSeq, RunId};
use heddle_core::limits::{INLINE_VALUE_BYTES_MAX, OFFERED_BYTES_MAX};
use heddle_core::run::Run;
use heddle_core::run::checkpoint::{Checkpoints, Gatherer};
use heddle_core::run::event::OutputValue;
use heddle_core::run::offers::Wanted;
use heddle_core::value::{Value, ValueRef};
use tokio::task::yield_now;
use tonic::Status;

use crate::auth::Tenant;
use crate::journal::RunRow;
use crate::limits::READ_VALUES_MAX;
use crate::read::runs::{self, ReadError};
use crate::rpc::failure;
use crate::shared::Shared;

/// A run that was read, with its results.
pub(super) struct Read {
    pub(super) run: Run,
    pub(super) results: Checkpoints,
}

/// Reads a run with its results; a shallow reading takes down nodes outside of maps and loops only.
pub(super) async fn read(shared: &Arc<Shared>, row: &RunRow, is_shallow: bool) -> Result<Read, ReadError> {
    let tenant = Tenant::of_run(&row.created);
    let graph: Arc<Graph> = shared.graphs.get(&tenant, row.created.graph).await.map_err(ReadError::Graph)?;
    let mut gatherer: Option<Gatherer> = None;
    loop {
        let after = gatherer.as_ref().map_or(EventSeq(0), |gatherer| gatherer.run().seq());
        let (page, _) = runs::next_page(shared, row, after, gatherer.as_ref().map(Gatherer::run)).await?;
        if page.is_empty() {
            break;
        }
        for event in &page {
            match &mut gatherer {
                Some(gatherer) => gatherer.step(event).map_err(ReadError::Corrupt)?,
                None => {
                    let begun = Gatherer::begin(row.run, Arc::clone(&graph), event, is_shallow);
                    gatherer = Some(begun.map_err(ReadError::Corrupt)?);
                }
            }
        }
        // To fold a long history takes a while, and others want the thread.
        yield_now().await;
    }
    let Some(gatherer) = gatherer.filter(|gatherer| !runs::is_cut(row, gatherer.run())) else {
        return Err(runs::removed_meanwhile(shared, row).await);
    };
    let (run, results) = gatherer.finish();
    Ok(Read { run, results })
}

/// Values of a run by where they lie.
pub(super) type Values = HashMap<ValueRef, Value>;

/// The values behind outputs, with all that lists among them name.
pub(super) async fn values<'a>(
    shared: &Arc<Shared>,
    run: RunId,
    outputs: impl IntoIterator<Item = &'a OutputValue>,
) -> Result<Values, Status> {
    let mut wanted = Wanted::default();
    outputs.into_iter().for_each(|value| wanted.add(value));
    let (mut values, mut bytes) = (Values::new(), 0);
    while !wanted.lists.is_empty() || !wanted.leaves.is_empty() {
        let (leaves, lists) = (std::mem::take(&mut wanted.leaves), std::mem::take(&mut wanted.lists));
        read_into(shared, run, leaves, &mut values, &mut bytes).await?;
        read_into(shared, run, lists.clone(), &mut values, &mut bytes).await?;
        lists.iter().filter_map(|list| values.get(list)).for_each(|list| wanted.within(list));
    }
    Ok(values)
}

async fn read_into(
    shared: &Arc<Shared>,
    run: RunId,
    mut references: Vec<ValueRef>,
    values: &mut Values,
    bytes: &mut usize,
) -> Result<(), Status> {
    references.sort_unstable();
    references.dedup();
    references.retain(|reference| !values.contains_key(reference));
    // Of what is longer only the description is copied.
    let inline = references.iter().map(|reference| reference.bytes as usize);
    *bytes += inline.filter(|bytes| *bytes <= INLINE_VALUE_BYTES_MAX).sum::<usize>();
    if *bytes > OFFERED_BYTES_MAX {
        return Err(too_much());
    }
    for window in references.chunks(READ_VALUES_MAX) {
        let found = match shared.recent.values(run, window.iter().copied()) {
            Some(found) => found,
            None => {
                let found = shared.journal.read_values(run, window.to_vec()).await;
                found.map_err(|error| failure::journal(&error))?
            }
        };
        values.extend(window.iter().copied().zip(found));
    }
    Ok(())
}

/// More would have to be taken over than one run may.
pub(super) fn too_much() -> Status {
    let message = format!(
        "the new run would take over more than {} results or {} MiB of values; rerun it, or resume it from a node further on",
        heddle_core::limits::OFFERS_MAX,
        OFFERED_BYTES_MAX / (1024 * 1024)
    );
    failure::plain(422, "results_too_large", message)
}
