//! Inputs that lie in the store are fetched before the work begins.

use bytes::Bytes;
use heddle_proto::agent as wire;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use super::files::{Files, describe, digest_of};
use crate::runners::{ErrorClass, Failure, Input};

/// Where artifacts stand among the inputs: for each of them, in the order of places.
#[derive(Debug, Default)]
pub(crate) struct Placed(Vec<(usize, wire::PlacedArtifact)>);

impl Placed {
    /// Of an assignment's inputs.
    pub(crate) fn of(inputs: &mut [wire::Input]) -> Self {
        let placed = inputs.iter_mut().enumerate().flat_map(|(number, input)| {
            let artifacts = std::mem::take(&mut input.artifacts);
            artifacts.into_iter().map(move |artifact| (number, artifact))
        });
        Self(placed.collect())
    }
}

/// Puts values in the place of artifacts: JSON in full, files as their descriptions. The permit stands for what they take
/// up, for as long as the attempt runs.
pub(crate) async fn load(
    files: &Files,
    inputs: &mut [Input],
    placed: Placed,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    let wanted = |(_, it): &(usize, wire::PlacedArtifact)| {
        it.artifact.as_ref().filter(|artifact| artifact.json).map_or(0, |artifact| artifact.bytes)
    };
    let bytes: u64 = placed.0.iter().map(wanted).fold(0, u64::saturating_add);
    let room = if bytes > 0 { Some(files.desk().room(bytes).await?) } else { None };
    // From the back, so that a list's items move no place that is still to be filled.
    for (number, it) in placed.0.into_iter().rev() {
        let (Some(input), Some(artifact)) = (inputs.get_mut(number), it.artifact) else { continue };
        let place = it.place as usize;
        if place >= input.values.len() {
            return Err(broken("an artifact has no place among the inputs"));
        }
        let Some(digest) = digest_of(&artifact) else { return Err(broken("an artifact has no digest")) };
        if !artifact.json {
            let description = describe(&artifact);
            files.note(description.clone(), artifact);
            input.values[place] = description;
            continue;
        }
        let value = files.desk().fetch(files.tenant(), digest).await?;
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&value) {
            let message = format!("the artifact {digest} is no JSON: {error}; upload it as another type of file");
            return Err(Failure::new(ErrorClass::InvalidRequest, "input_not_json", message));
        }
        let values = if it.spread { items(&value) } else { vec![value] };
        input.values.splice(place..=place, values);
    }
    Ok(room)
}

/// The items of a JSON list, each as its own text; a value that is no list is its own only item.
fn items(list: &Bytes) -> Vec<Bytes> {
    match serde_json::from_slice::<Vec<&RawValue>>(list) {
        Ok(items) => items.into_iter().map(|item| list.slice_ref(item.get().as_bytes())).collect(),
        Err(_) => vec![list.clone()],
    }
}

fn broken(what: &str) -> Failure {
    let message = format!("the assignment makes no sense: {what}; report this as a defect");
    Failure::new(ErrorClass::Internal, "assignment_broken", message)
}
