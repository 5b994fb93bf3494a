//! The values of an attempt's inputs: those that are references are read, and then what they name.

use std::collections::HashMap;

use heddle_core::id::RunId;
use heddle_core::partition::io::{Dispatch, Holds};
use heddle_core::run::ListNeed;
use heddle_core::run::event::{ErrorClass, NodeError};
use heddle_core::run::list::ListPart;
use heddle_core::value::{Value, ValueRef};

use super::load;
use crate::limits::{ATTEMPT_ARTIFACTS_MAX, ATTEMPT_INPUTS_BYTES_MAX, ATTEMPT_ITEMS_MAX, READ_VALUES_MAX};
use crate::read::items::{Item, Part, Sum};
use crate::session::inputs::Filled;
use crate::shared::Shared;

/// Why an attempt cannot get its inputs.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// They are more than an attempt may have.
    TooLarge,
    /// A list of references is none.
    Broken,
}

/// The inputs of an attempt whose values are all among the youngest, and none of them is a long list.
pub(super) fn at_hand(shared: &Shared, dispatch: &Dispatch) -> Option<Filled> {
    let bound = || dispatch.inputs.iter().flat_map(|input| &input.values);
    if bound().any(|value| value.holds == Holds::Chunk) {
        return None;
    }
    let apart = dispatch.handle.into_iter().chain(dispatch.config);
    let mut references = bound().map(|value| value.reference).chain(apart).peekable();
    let values = match references.peek() {
        None => Vec::new(),
        Some(_) => shared.recent.values(dispatch.key.run, references)?,
    };
    let mut values = values.into_iter();
    let item = |holds, value| if holds == Holds::List { Item::Spread(value) } else { Item::One(value) };
    let inputs = dispatch
        .inputs
        .iter()
        .map(|input| input.values.iter().zip(values.by_ref()).map(|(bound, value)| item(bound.holds, value)).collect());
    let inputs = inputs.collect();
    let handle = dispatch.handle.and_then(|_| values.next());
    Some(Filled { inputs, handle, config: dispatch.config.and_then(|_| values.next()) })
}

/// The inputs of any attempt, read in several steps: what long lists name is known when they are read.
pub(super) async fn read(shared: &Shared, dispatch: &Dispatch) -> Result<Filled, Unfit> {
    let run = dispatch.key.run;
    let mut tree: Vec<Vec<Part>> = dispatch
        .inputs
        .iter()
        .map(|input| input.values.iter().map(|bound| part_of(bound.reference, bound.holds)).collect())
        .collect();
    loop {
        let mut named = Vec::new();
        tree.iter().flatten().for_each(|part| part.unread(&mut named));
        if named.is_empty() {
            break;
        }
        let lists = values(shared, run, &named).await;
        let lists: HashMap<ValueRef, Value> = named.into_iter().zip(lists).collect();
        for part in tree.iter_mut().flatten() {
            part.expand(&lists).map_err(|_| Unfit::Broken)?;
        }
        measure(&tree)?;
    }
    measure(&tree)?;
    let mut leaves = Vec::new();
    tree.iter().flatten().for_each(|part| part.leaves(&mut leaves));
    leaves.extend(dispatch.handle.into_iter().chain(dispatch.config));
    let mut values = values(shared, run, &leaves).await.into_iter();
    let inputs = tree
        .into_iter()
        .map(|parts| {
            let mut items = Vec::with_capacity(parts.len());
            parts.into_iter().for_each(|part| part.fill(&mut values, &mut items));
            items
        })
        .collect();
    let handle = dispatch.handle.and_then(|_| values.next());
    Ok(Filled { inputs, handle, config: dispatch.config.and_then(|_| values.next()) })
}

/// Values of a run, wherever they are: mostly young ones, else from the journal, a window at a time.
pub(super) async fn values(shared: &Shared, run: RunId, references: &[ValueRef]) -> Vec<Value> {
    let mut values = Vec::with_capacity(references.len());
    for window in references.chunks(READ_VALUES_MAX) {
        values.extend(match shared.recent.values(run, window.iter().copied()) {
            Some(values) => values,
            None => load::until_answered(|| shared.journal.read_values(run, window.to_vec())).await,
        });
    }
    values
}

/// A part of a list that is too long for a row.
pub(super) async fn list_part(shared: &Shared, run: RunId, need: &ListNeed) -> Result<ListPart, NodeError> {
    let lost = || NodeError {
        class: ErrorClass::Internal,
        code: "inputs_broken".into(),
        message: "its list cannot be found again; please report this with the run's id".into(),
    };
    let value = values(shared, run, &[need.reference]).await.pop().ok_or_else(lost)?;
    let row = match shared.recent.row(run) {
        Some(row) => Some(row),
        None => load::until_answered(|| shared.journal.read_row(run)).await,
    };
    let tenant = row.ok_or_else(lost)?.created.tenant;
    shared.artifacts.list_part(&tenant, &value, need.part).await
}

/// Whether both ends can hold them in memory.
pub(super) fn is_too_much(filled: &Filled) -> bool {
    fn bytes(items: &[Item]) -> usize {
        let of = |item: &Item| match item {
            Item::Null => 0,
            Item::One(value) | Item::Spread(value) => value.json().len(),
            Item::List(items) => bytes(items),
        };
        items.iter().map(of).sum()
    }
    filled.inputs.iter().map(|items| bytes(items)).sum::<usize>() > ATTEMPT_INPUTS_BYTES_MAX
}

fn part_of(reference: ValueRef, holds: Holds) -> Part {
    match holds {
        Holds::Value => Part::One(reference),
        Holds::List => Part::Spread(reference),
        Holds::Chunk => Part::Chunk(reference),
    }
}

/// Whether what is known so far may go to one attempt. References say how long values are before they are read.
fn measure(tree: &[Vec<Part>]) -> Result<(), Unfit> {
    let mut sum = Sum::default();
    tree.iter().flatten().for_each(|part| part.add_to(&mut sum));
    let fits = sum.items <= ATTEMPT_ITEMS_MAX
        && sum.artifacts <= ATTEMPT_ARTIFACTS_MAX
        && sum.bytes <= ATTEMPT_INPUTS_BYTES_MAX;
    if fits { Ok(()) } else { Err(Unfit::TooLarge) }
}
