//! Histories that nobody wrote: what does not follow is corrupt, and nothing is counted below nothing.

use std::sync::Arc;

use serde_json::json;

use super::course::{Course, ID, failure, success};
use crate::graph::fixture::Fixture;
use crate::id::ScopeIx;
use crate::run::event::{Decision, ErrorClass, Event, OutputValue};
use crate::run::{Corrupt, Run};

/// Maps in each other beside a race, a loop, a reduce, a batch, and lifted nodes.
fn graph() -> Fixture {
    let once = json!({"retry": {"maxAttempts": 1}});
    Fixture::default()
        .json("lists", json!([[1, 2, 3], [], [4]]))
        .logic("outer", "map", json!({"concurrency": 2, "onItemError": "collect"}))
        .logic("inner", "map", json!({"concurrency": 2}))
        .inside("outer")
        .work("w", "pure", &once)
        .inside("inner")
        .work("slow", "pure", &once)
        .inside("inner")
        .logic("race", "race", json!({}))
        .inside("inner")
        .edge("lists", "outer.items")
        .edge("outer.item", "inner.items")
        .edge("inner.item", "w.extra")
        .edge("inner.item", "slow.extra")
        .edge("w.out", "race")
        .edge("slow.out", "race")
        .edge("race.value", "inner.result")
        .edge("inner.results", "outer.result")
        .logic("l", "loop", json!({"maxIterations": 3, "select": "best", "score": "iteration"}))
        .work("turn", "pure", &once)
        .inside("l")
        .edge("l.value", "turn.extra")
        .edge("turn.out", "l.result")
        .list("list", json!([1, 2, 3, 4, 5]))
        .logic("r", "reduce", json!({}))
        .work("sum", "pure", &once)
        .inside("r")
        .edge("list", "r.items")
        .edge("r.accumulator", "sum.in")
        .edge("r.item", "sum.extra")
        .edge("sum.out", "r.result")
        .logic("b", "batch", json!({"size": 2}))
        .edge("list", "b")
        .work("lifted", "pure", &json!({"retry": {"maxAttempts": 1}, "onItemError": "skip"}))
        .edge("list", "lifted.extra")
        .output("end")
        .edge("outer.results", "end")
}

/// Its history; every fifth attempt fails.
fn history() -> Course {
    let mut course = Course::begin(&graph().build());
    let mut attempts = 0;
    course.run_through(|id, _| {
        attempts += 1;
        if attempts % 5 == 0 && !["turn", "sum"].contains(&id) {
            failure(ErrorClass::InvalidRequest)
        } else {
            success(id)
        }
    });
    assert!(course.is_over() && course.run.error().is_none(), "{:?}", course.run.error());
    course
}

/// The same event with one of its decisions broken in so many ways.
fn broken(event: &Event) -> Vec<Event> {
    let with = |place: usize, decisions: &[Decision]| {
        let mut event = event.clone();
        event.decisions.splice(place..=place, decisions.iter().cloned());
        event
    };
    let mut events = Vec::new();
    for (place, decision) in event.decisions.iter().enumerate() {
        events.push(with(place, &[]));
        events.push(with(place, &[decision.clone(), decision.clone()]));
        let instance = decision.instance();
        events.push(with(place, &[Decision::Completed { instance, outputs: Vec::new() }]));
        events.push(with(place, &[Decision::Delegated { instance }]));
        let Decision::Opened { opened, .. } = decision else { continue };
        type Break = fn(&mut crate::run::event::Opened);
        let ways: [Break; 8] = [
            |opened| opened.index += 1,
            |opened| opened.scope = ScopeIx(opened.scope.0 + 1),
            |opened| opened.scope = ScopeIx(u32::MAX),
            |opened| opened.count = 0,
            |opened| opened.count = u32::MAX,
            |opened| opened.items.clear(),
            |opened| opened.items.push(vec![OutputValue::Closed]),
            |opened| opened.items.iter_mut().for_each(Vec::clear),
        ];
        for way in ways {
            let mut opened = opened.clone();
            way(&mut opened);
            events.push(with(place, &[Decision::Opened { instance, opened }]));
        }
    }
    if let [first, .., last] = event.decisions.as_slice() {
        let mut swapped = event.clone();
        let end = swapped.decisions.len() - 1;
        (swapped.decisions[0], swapped.decisions[end]) = (last.clone(), first.clone());
        events.push(swapped);
    }
    events.push(Event { assignments: Vec::new(), ..event.clone() });
    events
}

/// What a replay of these says; it goes on after what is corrupt, as nobody should.
fn replay(course: &Course, events: &[Event]) -> Vec<Corrupt> {
    let mut faults = Vec::new();
    let Ok(mut run) = Run::begin(ID, Arc::clone(course.run.graph()), &events[0]) else { return faults };
    for event in &events[1..] {
        let event = Event { seq: run.seq().next(), ..event.clone() };
        faults.extend(run.step(&event).err());
    }
    faults
}

#[test]
fn a_broken_history_of_maps_and_loops_never_counts_below_nothing() {
    let course = history();
    let mut corrupt = 0;
    for place in 0..course.events.len() {
        let mut without = course.events.clone();
        without.remove(place);
        let mut twice = course.events.clone();
        twice.insert(place, course.events[place].clone());
        let mut histories: Vec<Vec<Event>> = vec![without, twice];
        for event in broken(&course.events[place]) {
            let mut events = course.events.clone();
            events[place] = event;
            histories.push(events);
        }
        corrupt += histories.iter().filter(|events| !replay(&course, events).is_empty()).count();
    }
    assert!(corrupt > course.events.len(), "{corrupt} of them are found out");
    assert_eq!(replay(&course, &course.events), [], "the history itself follows");
}

#[test]
fn items_that_do_not_come_next_are_corrupt() {
    let course = history();
    for (place, event) in course.events.iter().enumerate() {
        let opens = |event: &Event| event.decisions.iter().any(|decision| matches!(decision, Decision::Opened { .. }));
        if !opens(event) || place == 0 {
            continue;
        }
        for change in [|count: u32| count + 1, |_| 0] {
            let mut events = course.events[..=place].to_vec();
            for decision in &mut events[place].decisions {
                if let Decision::Opened { opened, .. } = decision {
                    opened.count = change(opened.count);
                }
            }
            let faults = replay(&course, &events);
            let is_new = |event: &Event| {
                event.decisions.iter().any(|decision| match decision {
                    Decision::Opened { opened, .. } => opened.index == 0,
                    _ => false,
                })
            };
            assert!(is_new(event) || matches!(faults[..], [Corrupt::WrongItems { .. }]), "{faults:?}");
        }
    }
}

#[test]
fn a_state_that_counts_fewer_than_are_open_is_corrupt() {
    type Damage = fn(&mut Run);
    let damages: [Damage; 3] = [
        |run| run.state.frames.values_mut().for_each(|frame| frame.open = 0),
        |run| run.state.expansions.values_mut().for_each(|expansion| expansion.open = 0),
        |run| run.state.nodes.iter_mut().for_each(|slot| slot.unsettled = 0),
    ];
    let course = history();
    for damage in damages {
        let found = (1..course.events.len()).any(|place| {
            let mut run = Run::begin(ID, Arc::clone(course.run.graph()), &course.events[0]).unwrap();
            course.events[1..place].iter().for_each(|event| run.step(event).unwrap());
            damage(&mut run);
            let faults = course.events[place..].iter().find_map(|event| run.step(event).err());
            faults.into_iter().any(|fault| matches!(fault, Corrupt::Miscounted { .. }))
        });
        assert!(found);
    }
    let mut run = Run::begin(ID, Arc::clone(course.run.graph()), &course.events[0]).unwrap();
    run.state.open_nodes = 0;
    let faults: Vec<_> = course.events[1..].iter().filter_map(|event| run.step(event).err()).collect();
    assert!(matches!(faults.first(), Some(Corrupt::Miscounted { .. })), "{faults:?}");
}
