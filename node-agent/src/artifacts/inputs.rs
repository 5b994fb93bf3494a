//! Inputs that lie in the store are fetched before the work begins.

use bytes::Bytes;
use heddle_proto::agent as wire;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use super::files::{Files, describe, digest_of};
use crate::runners::{ErrorClass, Failure, Input};

/// Where artifacts stand among the inputs, and which values are the items of one list.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// Each with the number of its input.
    artifacts: Vec<(usize, wire::PlacedArtifact)>,
    /// The same; lists inside lists come first.
    joined: Vec<(usize, wire::Joined)>,
}

impl Placed {
    /// Of an assignment's inputs.
    pub(crate) fn of(inputs: &mut [wire::Input]) -> Self {
        let mut placed = Self::default();
        for (number, input) in inputs.iter_mut().enumerate() {
            placed.artifacts.extend(std::mem::take(&mut input.artifacts).into_iter().map(|it| (number, it)));
            placed.joined.extend(std::mem::take(&mut input.joined).into_iter().map(|it| (number, it)));
        }
        placed
    }
}

/// An input while its places are filled: each with the values that have come to stand there.
struct Places(Vec<Vec<Bytes>>);

impl Places {
    fn of(input: &mut Input) -> Self {
        Self(std::mem::take(&mut input.values).into_iter().map(|value| vec![value]).collect())
    }

    fn at(&mut self, place: u32) -> Result<&mut Vec<Bytes>, Failure> {
        self.0.get_mut(place as usize).ok_or_else(|| broken("an artifact has no place among the inputs"))
    }

    /// Makes one list of the values in these places.
    fn join(&mut self, it: wire::Joined) -> Result<(), Failure> {
        let (from, to) = (it.place as usize, it.place as usize + it.count as usize);
        let places = self.0.get_mut(from..to).ok_or_else(|| broken("a list has no place among the inputs"))?;
        let items: Vec<Bytes> = places.iter_mut().flat_map(std::mem::take).collect();
        let bytes: usize = items.iter().map(|item| item.len() + 1).sum();
        let mut list = Vec::with_capacity(bytes + 2);
        list.push(b'[');
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                list.push(b',');
            }
            list.extend_from_slice(item);
        }
        list.push(b']');
        *self.at(it.place)? = vec![list.into()];
        Ok(())
    }

    fn into_values(self) -> Vec<Bytes> {
        self.0.into_iter().flatten().collect()
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
    let bytes: u64 = placed.artifacts.iter().map(wanted).fold(0, u64::saturating_add);
    let room = if bytes > 0 { Some(files.desk().room(bytes).await?) } else { None };
    if placed.artifacts.is_empty() && placed.joined.is_empty() {
        return Ok(room);
    }
    let mut filled: Vec<Places> = inputs.iter_mut().map(Places::of).collect();
    for (number, it) in placed.artifacts {
        let (Some(places), Some(artifact)) = (filled.get_mut(number), it.artifact) else { continue };
        let place = places.at(it.place)?;
        let Some(digest) = digest_of(&artifact) else { return Err(broken("an artifact has no digest")) };
        if !artifact.json {
            let description = describe(&artifact);
            files.note(description.clone(), artifact);
            *place = vec![description];
            continue;
        }
        let value = files.desk().fetch(files.tenant(), digest).await?;
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&value) {
            let message = format!("the artifact {digest} is no JSON: {error}; upload it as another type of file");
            return Err(Failure::new(ErrorClass::InvalidRequest, "input_not_json", message));
        }
        *place = if it.spread { items(&value) } else { vec![value] };
    }
    for (number, it) in placed.joined {
        let Some(places) = filled.get_mut(number) else { continue };
        places.join(it)?;
    }
    inputs.iter_mut().zip(filled).for_each(|(input, places)| input.values = places.into_values());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_inside_lists_are_put_together() {
        let values: Vec<Bytes> = ["7", "1", "2", "null"].map(Bytes::from).to_vec();
        let mut places = Places::of(&mut Input { port: "p".into(), list: true, values });
        *places.at(1).unwrap() = vec!["3".into(), "4".into()];
        places.join(wire::Joined { place: 2, count: 2 }).unwrap();
        places.join(wire::Joined { place: 1, count: 3 }).unwrap();
        assert_eq!(places.into_values(), ["7", "[3,4,[2,null]]"]);
        let mut places = Places(Vec::new());
        assert!(places.join(wire::Joined { place: 0, count: 1 }).is_err());
    }
}
