//! Maps, loops and lifting: one test for each sentence of graph.md, part 5, and of part 1 where lists are concerned.
//!
//! | sentence | test |
//! |---|---|
//! | An edge from a list output to a non-list input lifts the target: it runs once per item, its outputs become lists | `a_list_given_to_what_takes_one_runs_it_once_per_item` |
//! | A list input collects | `a_list_input_collects_what_lifted_nodes_give` |
//! | Several lifted inputs zip; scalars are broadcast | `lifted_inputs_zip_and_single_values_are_given_to_all` |
//! | Unequal lengths are an error | `lists_of_unequal_lengths_fail_the_run` |
//! | Items of a lifted region flow independently | `items_of_a_lifted_region_do_not_wait_for_each_other` |
//! | Children name their container by `parentId`; edges may enter from outside and are broadcast | `edges_into_a_body_are_given_to_each_item` |
//! | `logic:map`: in `items`; to the body `item`, `index`; from the body `result`; out `results` in item order | `a_map_gives_its_results_in_the_order_of_items` |
//! | `concurrency` (window, default 64); instances are created lazily within the window | `only_so_many_items_are_open_at_a_time` |
//! | `batchSize` | `a_map_over_batches_gives_each_item_a_list` |
//! | An empty list gives `results: []` | `an_empty_list_gives_empty_results` |
//! | `fail` ends the run at the first failed item | `the_first_failed_item_fails_the_run_and_says_which_it_was` |
//! | `skip` leaves the item out of `results`; `collect` puts null at its index; both fill `errors` | `failed_items_are_left_out_or_null_and_listed` |
//! | Lifted nodes use `fail` unless `policy.onItemError` says otherwise | `a_lifted_node_may_leave_failed_items_out` |
//! | `logic:loop`: in `seed`; to the body `value`, `iteration`; from the body `result`, `carry` | `a_loop_carries_its_result_or_what_it_is_told_to` |
//! | `until` over `result, carry, iteration, nodes`; a loop always runs once; `iterations` = turns done | `a_loop_ends_when_its_condition_holds_after_a_turn` |
//! | `maxIterations` (default 10) | `a_loop_without_a_condition_runs_ten_times` |
//! | `select: last, best, all` with `score` | `a_loop_gives_the_last_the_best_or_all` |
//! | Scopes nest | `maps_lie_inside_maps_and_loops` |
//! | Each body instance is checkpointed by itself (E20) | `a_replay_opens_the_same_items` |
//! | 100,000 items cost memory for the window | `closed_items_leave_next_to_nothing_in_memory` |
//! | Conditions: `iteration`, `item` (part 4) | `conditions_in_a_body_see_its_item_and_its_turn` |
//! | `logic:reduce` and `logic:batch` on top | `a_reduce_goes_over_a_list_with_what_came_before`, `a_batch_cuts_a_list` |

use serde_json::{Value, json};

use super::course::{Course, failure, mapped, success};
use crate::graph::fixture::Fixture;
use crate::run::event::{Decision, ErrorClass};
use crate::run::{NodePhase, Outcome, RunStatus};

fn gives(value: &Value) -> Outcome {
    Outcome::Succeeded(vec![("out".into(), crate::value::Value::from_json(value.to_string().into()))])
}

fn doubled(_: &str, inputs: Value) -> Outcome {
    gives(&json!(inputs["extra"].as_i64().unwrap() * 2))
}

/// Fails for odd items.
fn doubled_if_even(id: &str, inputs: Value) -> Outcome {
    match inputs["extra"].as_i64() {
        Some(item) if item % 2 == 0 => doubled(id, inputs),
        _ => failure(ErrorClass::InvalidRequest),
    }
}

fn through(fixture: Fixture, work: impl FnMut(&str, Value) -> Outcome) -> Course {
    let mut course = Course::begin(&fixture.build());
    course.run_through(work);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot(), "a replay gives the same");
    course
}

#[test]
fn a_map_gives_its_results_in_the_order_of_items() {
    let fixture = mapped(json!({}), json!([1, 2, 3]));
    let mut course = Course::begin(&fixture.build());
    let open: Vec<_> = course.run.ready().collect();
    assert_eq!(open.len(), 3);
    // The last one is finished first.
    for (place, instance) in open.into_iter().enumerate().rev() {
        assert_eq!(course.inputs(instance), json!({"extra": place + 1}));
        let attempt = course.assign(instance, 1, false);
        course.finish(attempt, gives(&json!(10 * (place + 1)))).unwrap();
    }
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!([10, 20, 30])));
    assert_eq!(course.gave("m.errors"), Some(json!([])));
    assert_eq!(course.gave("m.item"), None, "items are for the body");
    assert_eq!(course.run.tally(course.instance("w").node).completed, 3);
}

#[test]
fn only_so_many_items_are_open_at_a_time() {
    let mut course = Course::begin(&mapped(json!({"concurrency": 2}), json!([0, 1, 2, 3, 4])).build());
    let mut most = 0;
    while let Some(instance) = course.next_ready() {
        most = most.max(course.run.ready().count());
        let attempt = course.assign(instance, 1, false);
        course.finish(attempt, success("x")).unwrap();
    }
    assert_eq!((most, course.run.status()), (2, RunStatus::Completed));
    let many: Vec<u32> = (0..100).collect();
    let course = Course::begin(&mapped(json!({}), json!(many)).build());
    assert_eq!(course.run.ready().count(), 64);
}

#[test]
fn an_empty_list_gives_empty_results() {
    let course = through(mapped(json!({}), json!([])), doubled);
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!([])));
}

#[test]
fn a_map_over_batches_gives_each_item_a_list() {
    let fixture = Fixture::default().list("list", json!([1, 2, 3, 4, 5])).logic("m", "map", json!({"batchSize": 2}));
    let fixture = fixture.work("w", "pure", &json!({})).inside("m").output("end");
    let fixture = fixture.edge("list", "m").edge("m.item", "w.in").edge("w.out", "m").edge("m", "end");
    let course = through(fixture, |_, inputs| gives(&json!(inputs["in"].as_array().unwrap().len())));
    assert_eq!(course.gave("end.value"), Some(json!([2, 2, 1])));
}

#[test]
fn the_first_failed_item_fails_the_run_and_says_which_it_was() {
    let course = through(mapped(json!({"concurrency": 1}), json!([0, 1, 2])), doubled_if_even);
    assert_eq!(course.run.status(), RunStatus::Failed);
    let error = course.run.error().unwrap();
    assert_eq!((&*error.code, error.node), ("because", Some(course.instance("w").node)));
    assert!(error.message.starts_with("item 1 of \"m\": "), "{}", error.message);
    assert_eq!(course.run.phase_of(course.instance("m").node), NodePhase::Failed);
}

#[test]
fn failed_items_are_left_out_or_null_and_listed() {
    for (mode, results) in [("skip", json!([0, 4])), ("collect", json!([0, null, 4, null]))] {
        let course = through(mapped(json!({"onItemError": mode}), json!([0, 1, 2, 3])), doubled_if_even);
        assert_eq!(course.run.status(), RunStatus::Completed);
        assert_eq!(course.gave("end.value"), Some(results));
        let errors = course.gave("m.errors").unwrap();
        let indices: Vec<_> = errors.as_array().unwrap().iter().map(|error| error["index"].as_i64().unwrap()).collect();
        assert_eq!(indices, [1, 3]);
        assert_eq!(errors[0]["nodeId"], "w");
        assert_eq!((&errors[0]["code"], &errors[0]["message"]), (&json!("because"), &json!("it did not go well")));
    }
}

#[test]
fn nothing_more_of_a_failed_item_starts_and_what_is_at_an_agent_is_let_finish() {
    let fixture = mapped(json!({"onItemError": "skip"}), json!([1, 2]))
        .work("beside", "pure", &json!({}))
        .inside("m")
        .work("after", "pure", &json!({}))
        .inside("m")
        .edge("m.item", "beside.extra")
        .edge("beside.out", "after.extra");
    let mut course = Course::begin(&fixture.build());
    let find = |course: &Course, id: &str, place: usize| {
        let node = course.instance(id).node;
        course.run.ready().filter(|instance| instance.node == node).nth(place).unwrap()
    };
    let (w, beside) = (find(&course, "w", 0), find(&course, "beside", 0));
    let running = course.assign(beside, 1, false);
    let fails = course.assign(w, 1, false);
    course.finish(fails, failure(ErrorClass::InvalidRequest)).unwrap();
    assert!(course.run.attempt(beside).is_some(), "it is let finish");
    course.finish(running, success("late")).unwrap();
    let scopes: Vec<_> = course.run.ready().map(|instance| instance.scope).collect();
    assert!(scopes.iter().all(|scope| *scope != w.scope), "nothing follows: {scopes:?}");
    course.run_through(|_, _| success("good"));
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!(["good"])));
    assert_eq!(course.run.tally(course.instance("after").node).dropped, 1);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn edges_into_a_body_are_given_to_each_item() {
    let fixture = mapped(json!({}), json!([1, 2])).work("first", "pure", &json!({})).edge("first.out", "w.in");
    let mut course = Course::begin(&fixture.build());
    let ready: Vec<_> = course.run.ready().map(|instance| instance.node).collect();
    assert_eq!(ready, [course.instance("first").node], "the map waits for what leads into its body");
    let mut seen = Vec::new();
    course.run_through(|id, inputs| {
        if id == "w" {
            seen.push(inputs);
        }
        success(id)
    });
    assert_eq!(seen, [json!({"in": ["first"], "extra": 1}), json!({"in": ["first"], "extra": 2})]);
}

#[test]
fn a_branch_in_a_body_that_is_not_taken_leaves_null() {
    let fixture = Fixture::default().list("list", json!([1, 2, 3])).logic("m", "map", json!({}));
    let fixture = fixture.logic("odd", "if", json!({"condition": "value % 2 == 1 && index < 2"})).inside("m");
    let fixture = fixture.work("w", "pure", &json!({})).inside("m").output("end");
    let fixture =
        fixture.edge("list", "m").edge("m", "odd").edge("odd.true", "w.extra").edge("w.out", "m").edge("m", "end");
    let course = through(fixture, doubled);
    assert_eq!(course.gave("end.value"), Some(json!([2, null, null])));
    assert_eq!(course.gave("m.errors"), Some(json!([])), "it is no failure");
    assert_eq!(course.run.tally(course.instance("w").node).skipped, 2);
}

fn looping(config: Value) -> Fixture {
    Fixture::default()
        .json("seed", json!(1))
        .logic("l", "loop", config)
        .work("w", "pure", &json!({}))
        .inside("l")
        .output("end")
        .edge("seed", "l.seed")
        .edge("l.value", "w.extra")
        .edge("w.out", "l.result")
        .edge("l.result", "end")
}

#[test]
fn a_loop_carries_its_result_or_what_it_is_told_to() {
    let course = through(looping(json!({"maxIterations": 3})), doubled);
    assert_eq!(course.gave("l.all"), Some(json!([2, 4, 8])), "each turn begins with the result of the one before");
    let fixture = looping(json!({"maxIterations": 3})).edge("w.side", "l.carry");
    let course = through(fixture, |_, inputs| {
        let value = |value: &Value| crate::value::Value::from_json(value.to_string().into());
        let given = inputs["extra"].as_i64().unwrap();
        Outcome::Succeeded(vec![("out".into(), value(&json!(given * 2))), ("side".into(), value(&json!(given + 1)))])
    });
    assert_eq!(course.gave("l.all"), Some(json!([2, 4, 6])));
}

#[test]
fn a_loop_ends_when_its_condition_holds_after_a_turn() {
    let course =
        through(looping(json!({"until": "result > 7 && nodes.w.output == result && iteration >= 1"})), doubled);
    assert_eq!((course.gave("end.value"), course.gave("l.iterations")), (Some(json!(8)), Some(json!(3))));
    let course = through(looping(json!({"until": "true"})), doubled);
    assert_eq!(course.gave("l.iterations"), Some(json!(1)), "it always runs once");
    let course = through(looping(json!({"until": "iteration == 1 ? result > 'a' : false"})), doubled);
    let error = course.run.error().unwrap();
    assert_eq!(&*error.code, "condition_failed");
    assert!(error.message.starts_with("turn 1 of \"l\": until: the condition"), "{}", error.message);
}

#[test]
fn a_loop_without_a_condition_runs_ten_times() {
    let course = through(looping(json!({})), doubled);
    assert_eq!((course.gave("l.iterations"), course.gave("end.value")), (Some(json!(10)), Some(json!(1024))));
}

#[test]
fn a_loop_gives_the_last_the_best_or_all() {
    // 2, 4, 8, 16: nearest to 7 is 8.
    let score = "result > 7 ? 7 - result : result - 7";
    let config = |select: &str| json!({"maxIterations": 4, "select": select, "score": score});
    let result = |select: &str| through(looping(config(select)), doubled).gave("end.value");
    assert_eq!(result("last"), Some(json!(16)));
    assert_eq!(result("best"), Some(json!(8)));
    assert_eq!(result("all"), Some(json!([2, 4, 8, 16])));
    let course = through(looping(json!({"maxIterations": 3, "select": "best", "score": "1"})), doubled);
    assert_eq!(course.gave("end.value"), Some(json!(2)), "the first among equals");
}

#[test]
fn the_best_turn_of_a_loop_may_have_given_nothing() {
    let config = json!({"maxIterations": 3, "select": "best", "score": "0 - iteration"});
    let course = through(looping(config), |_, inputs| match inputs["extra"].as_i64() {
        Some(1) => Outcome::Succeeded(Vec::new()),
        // What was not given is carried as null.
        _ => success("x"),
    });
    assert_eq!(course.gave("l.result"), None);
}

#[test]
fn what_a_loop_carries_is_not_its_result_whichever_edge_comes_first() {
    let fixture = Fixture::default().json("seed", json!(1)).logic("l", "loop", json!({"maxIterations": 2}));
    let fixture = fixture.work("w", "pure", &json!({})).inside("l");
    let fixture =
        fixture.edge("seed", "l.seed").edge("l.value", "w.extra").edge("w.side", "l.carry").edge("w.out", "l.result");
    let course = through(fixture, |_, inputs| {
        let value = |value: i64| crate::value::Value::from_json(value.to_string().into());
        let given = inputs["extra"].as_i64().unwrap_or_default();
        Outcome::Succeeded(vec![("out".into(), value(given * 2)), ("side".into(), value(given + 10))])
    });
    assert_eq!((course.gave("l.all"), course.gave("l.result")), (Some(json!([2, 22])), Some(json!(22))));
}

#[test]
fn a_failed_turn_fails_the_loop() {
    let course = through(looping(json!({})), |_, inputs| match inputs["extra"].as_i64() {
        Some(4) => failure(ErrorClass::InvalidRequest),
        _ => doubled("", inputs),
    });
    assert_eq!(course.run.status(), RunStatus::Failed);
    assert!(course.run.error().unwrap().message.starts_with("turn 2 of \"l\": "));
}

#[test]
fn a_reduce_goes_over_a_list_with_what_came_before() {
    let reduce = |items: Value| {
        let fixture = Fixture::default().list("list", items).json("zero", json!(100)).logic("r", "reduce", json!({}));
        let fixture = fixture.work("w", "pure", &json!({})).inside("r").output("end");
        fixture
            .edge("list", "r.items")
            .edge("zero", "r.initial")
            .edge("r.accumulator", "w.in")
            .edge("r.item", "w.extra")
            .edge("w.out", "r.result")
            .edge("r.result", "end")
    };
    let add =
        |_: &str, inputs: Value| gives(&json!(inputs["in"][0].as_i64().unwrap() + inputs["extra"].as_i64().unwrap()));
    assert_eq!(through(reduce(json!([1, 2, 3])), add).gave("end.value"), Some(json!(106)));
    assert_eq!(through(reduce(json!([])), add).gave("end.value"), Some(json!(100)));
}

#[test]
fn a_batch_cuts_a_list() {
    let fixture = Fixture::default().list("list", json!([1, 2, 3, 4, 5])).logic("b", "batch", json!({"size": 2}));
    let fixture = fixture.output("end").edge("list", "b").edge("b", "end");
    let course = through(fixture, doubled);
    assert_eq!(course.gave("end.value"), Some(json!([[1, 2], [3, 4], [5]])));
}

/// A map over lists, whose one node is a map over the items of each, whose one node is `w`.
fn map_of_maps(lists: Value, outer: Value, inner: Value) -> Fixture {
    Fixture::default()
        .json("list", lists)
        .logic("outer", "map", outer)
        .logic("inner", "map", inner)
        .inside("outer")
        .work("w", "pure", &json!({"retry": {"maxAttempts": 1}}))
        .inside("inner")
        .output("end")
        .edge("list", "outer.items")
        .edge("outer.item", "inner.items")
        .edge("inner.item", "w.extra")
        .edge("w.out", "inner.result")
        .edge("inner.results", "outer.result")
        .edge("outer.results", "end")
}

#[test]
fn maps_lie_inside_maps_and_loops() {
    let fixture = map_of_maps(json!([[1, 2], [], [3]]), json!({}), json!({"onItemError": "skip"}));
    let course = through(fixture, |id, inputs| match inputs["extra"].as_i64() {
        Some(2) => failure(ErrorClass::InvalidRequest),
        _ => doubled(id, inputs),
    });
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!([[2], [], [6]])));

    let fixture = looping(json!({"maxIterations": 2}))
        .list("list", json!([10, 20]))
        .logic("m", "map", json!({}))
        .inside("l")
        .work("v", "pure", &json!({}))
        .inside("m")
        .edge("list", "m.items")
        .edge("w.out", "v.in")
        .edge("m.item", "v.extra")
        .edge("v.out", "m.result")
        .edge("m.results", "l.carry");
    let mut seen = Vec::new();
    let course = through(fixture, |id, inputs| {
        if id == "w" {
            seen.push(inputs["extra"].clone());
        }
        gives(&inputs["extra"])
    });
    assert_eq!(seen, [json!(1), json!([10, 20])]);
    assert_eq!(course.run.status(), RunStatus::Completed);
}

#[test]
fn a_failed_item_of_an_inner_map_fails_the_item_around_it() {
    let fixture = |outer: &str| map_of_maps(json!([[1, 2, 5], [4]]), json!({"onItemError": outer}), json!({}));
    let course = through(fixture("collect"), doubled_if_even);
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!([null, [8]])));
    let course = through(fixture("fail"), doubled_if_even);
    let error = course.run.error().unwrap();
    assert!(error.message.starts_with("item 0 of \"outer\": item 0 of \"inner\": "), "{}", error.message);

    // All three are at agents when the first fails.
    let mut course = Course::begin(&fixture("skip").build());
    let ready: Vec<_> = course.run.ready().collect();
    let attempts: Vec<_> = ready.iter().map(|instance| course.assign(*instance, 1, false)).collect();
    course.finish(attempts[0], failure(ErrorClass::InvalidRequest)).unwrap();
    course.finish(attempts[1], failure(ErrorClass::Retryable)).unwrap();
    course.finish(attempts[3], gives(&json!(8))).unwrap();
    assert_eq!(course.run.status(), RunStatus::Running, "one is out still");
    course.finish(attempts[2], success("late")).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!([[8]])));
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}

#[test]
fn a_list_given_to_what_takes_one_runs_it_once_per_item() {
    let fixture = Fixture::default().list("list", json!([1, 2, 3])).work("w", "pure", &json!({})).output("end");
    let course = through(fixture.edge("list", "w.extra").edge("w.out", "end"), doubled);
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!([2, 4, 6])));
}

#[test]
fn a_list_input_collects_what_lifted_nodes_give() {
    let fixture =
        Fixture::default().list("list", json!([1, 2])).work("a", "pure", &json!({})).work("b", "pure", &json!({}));
    let fixture = fixture
        .work("all", "pure", &json!({}))
        .edge("list", "a.extra")
        .edge("a.out", "b.extra")
        .edge("b.out", "all.in");
    let mut seen = Vec::new();
    let course = through(fixture, |id, inputs| {
        if id == "all" {
            seen.push(inputs);
            return success("done");
        }
        doubled(id, inputs)
    });
    assert_eq!(seen, [json!({"in": [4, 8]})], "b runs once per item, too, and what takes a list takes all");
    assert_eq!(course.run.graph().nodes().filter(|(_, node)| node.is_anonymous).count(), 1, "one region");
}

#[test]
fn items_of_a_lifted_region_do_not_wait_for_each_other() {
    let fixture = Fixture::default().list("list", json!([1, 2])).work("a", "pure", &json!({}));
    let fixture = fixture.work("b", "pure", &json!({"priority": 1})).edge("list", "a.extra").edge("a.out", "b.extra");
    let mut course = Course::begin(&fixture.build());
    let first = course.run.ready().next().unwrap();
    let attempt = course.assign(first, 1, false);
    course.finish(attempt, gives(&json!(7))).unwrap();
    let next = course.run.ready().next().unwrap();
    assert_eq!((next.node, next.scope), (course.instance("b").node, first.scope));
}

#[test]
fn lifted_inputs_zip_and_single_values_are_given_to_all() {
    let fixture = Fixture::default().list("x", json!([1, 2])).list("y", json!(["a", "b"])).json("one", json!("same"));
    let fixture = fixture.logic("pair", "gate", json!({})).output("end");
    // A gate takes any value whole; its `open` takes one.
    let fixture = fixture.list("open", json!([true, false])).edge("x", "pair.value").edge("open", "pair.open");
    let course = through(fixture.edge("pair", "end"), doubled);
    assert_eq!(course.gave("end.value"), Some(json!([[1, 2], null])), "the whole list for each that is open");

    let fixture = Fixture::default().list("x", json!([1, 2])).list("y", json!([3, 4])).json("one", json!("same"));
    let fixture = fixture.work("a", "pure", &json!({})).work("zip", "pure", &json!({})).edge("x", "a.extra");
    // One list as it is, and one that another region gives.
    let fixture = fixture.edge("a.out", "zip.extra").edge("y", "zip.other").edge("one", "zip.in");
    let mut seen = Vec::new();
    through(fixture, |id, inputs| {
        if id == "zip" {
            seen.push(inputs.clone());
        }
        gives(&inputs["extra"])
    });
    let given = |extra: i32, other: i32| json!({"in": ["same"], "extra": extra, "other": other});
    assert_eq!(seen, [given(1, 3), given(2, 4)]);
}

#[test]
fn a_lifted_node_may_leave_failed_items_out() {
    for (mode, results) in [("skip", json!([4])), ("collect", json!([null, 4, null]))] {
        let policy = json!({"retry": {"maxAttempts": 1}, "onItemError": mode});
        let fixture = Fixture::default().list("list", json!([1, 2, 3])).work("w", "pure", &policy).output("end");
        let course = through(fixture.edge("list", "w.extra").edge("w.out", "end"), doubled_if_even);
        assert_eq!((course.run.status(), course.gave("end.value")), (RunStatus::Completed, Some(results)));
    }
}

#[test]
fn what_a_lifted_node_leads_back_to_is_a_region_of_its_own() {
    // c takes an item, and a value that hangs on all results of b.
    let fixture =
        Fixture::default().list("list", json!([1, 2])).work("b", "pure", &json!({})).work("all", "pure", &json!({}));
    let fixture = fixture.work("c", "pure", &json!({})).output("end").edge("list", "b.extra").edge("b.out", "all.in");
    let fixture = fixture.edge("list", "c.extra").edge("all.out", "c.in").edge("c.out", "end");
    let course = through(fixture, |id, inputs| if id == "all" { success("sum") } else { doubled(id, inputs) });
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!([2, 4])));
}

#[test]
fn conditions_in_a_body_see_its_item_and_its_turn() {
    let fixture = Fixture::default().list("list", json!([5, 6])).logic("m", "map", json!({}));
    let fixture = fixture.logic("l", "loop", json!({"until": "iteration >= index"})).inside("m");
    let fixture = fixture.logic("it", "if", json!({"condition": "item == 6 && iteration == 1"})).inside("l");
    let fixture = fixture.edge("list", "m").edge("m", "l.seed").edge("l.value", "it").edge("it.true", "l.result");
    let fixture = fixture.edge("l.result", "m.result");
    let course = through(fixture, doubled);
    assert_eq!(course.run.status(), RunStatus::Completed, "{:?}", course.run.error());
    assert_eq!(course.gave("m.results"), Some(json!([null, null])), "{:?}", course.facts());
}

#[test]
fn long_lists_are_kept_as_chunks_and_read_back() {
    let items: Vec<u32> = (0..1_300).collect();
    // The results of one map are the items of the next.
    let fixture = mapped(json!({"onItemError": "skip", "concurrency": 100}), json!(items));
    let fixture = fixture.logic("again", "map", json!({})).work("v", "pure", &json!({})).inside("again").output("last");
    let fixture =
        fixture.edge("m.results", "again").edge("again", "v.extra").edge("v.out", "again").edge("again", "last");
    let course = through(fixture, doubled_if_even);
    let expected: Vec<u32> = items.iter().filter(|item| *item % 2 == 0).map(|item| item * 4).collect();
    assert_eq!(course.gave("last.value"), Some(json!(expected)));
    let errors = course.gave("m.errors").unwrap();
    assert_eq!((errors.as_array().unwrap().len(), &errors[649]["index"]), (650, &json!(1_299)));
    let gathered = course.events.iter().flat_map(|event| &event.decisions);
    assert_eq!(gathered.filter(|it| matches!(it, Decision::Gathered { .. })).count(), 2 + 1);
}

#[test]
fn closed_items_leave_next_to_nothing_in_memory() {
    let size = |count: u32| {
        let items: Vec<u32> = (0..count).map(|item| 2 * item).collect();
        let mut course = Course::begin(&mapped(json!({"concurrency": 8}), json!(items)).build());
        while course.run.ready().count() > 0 && course.run.tally(course.instance("w").node).completed < count - 10 {
            let instance = course.run.ready().next().unwrap();
            let attempt = course.assign(instance, 1, false);
            course.finish(attempt, gives(&json!(1))).unwrap();
        }
        course.run.snapshot().bytes.len()
    };
    // Both end a little before a chunk is full.
    let (short, long) = (size(1_034), size(3_082));
    let items = 3_082 - 1_034;
    assert!(long - short < items / 8, "{} bytes more for {items} items more", long - short);
}

#[test]
fn a_replay_opens_the_same_items() {
    let mut course = Course::begin(&mapped(json!({"concurrency": 2}), json!([2, 4, 6])).build());
    let first = course.run.ready().next().unwrap();
    let attempt = course.assign(first, 1, false);
    course.finish(attempt, gives(&json!(1))).unwrap();
    let replayed = course.replayed();
    assert_eq!(replayed.snapshot(), course.run.snapshot());
    assert_eq!(replayed.ready().collect::<Vec<_>>(), course.run.ready().collect::<Vec<_>>());
    let restored =
        crate::run::Run::restore(course.run.id(), course.run.graph().clone(), &course.run.snapshot()).unwrap();
    assert_eq!(restored.snapshot(), replayed.snapshot());
}

#[test]
fn lists_of_unequal_lengths_fail_the_run() {
    let fixture = Fixture::default().list("x", json!([1, 2])).list("y", json!([1, 2, 3])).work("w", "pure", &json!({}));
    let course = through(fixture.edge("x", "w.extra").edge("y", "w.other"), |_, _| success("never"));
    assert_eq!(course.run.status(), RunStatus::Failed);
    let error = course.run.error().unwrap();
    assert_eq!((&*error.code, error.node), ("unequal_lists", course.run.graph().find("w")));
    assert_eq!(&*error.message, "its lists have 2 and 3 items; lists that go together are equally long");
}

#[test]
fn a_race_in_a_body_stops_only_what_is_beside_it() {
    let fixture = Fixture::default().list("list", json!([1, 2])).logic("m", "map", json!({}));
    let fixture = fixture.work("slow", "pure", &json!({})).inside("m").work("quick", "pure", &json!({})).inside("m");
    let fixture = fixture.logic("race", "race", json!({})).inside("m").output("end").edge("list", "m");
    let fixture =
        fixture.edge("m", "slow.extra").edge("m", "quick.extra").edge("slow.out", "race").edge("quick.out", "race");
    let mut course = Course::begin(&fixture.edge("race.value", "m").edge("m", "end").build());
    let of = |course: &Course, id: &str| {
        let node = course.instance(id).node;
        course.run.ready().filter(|instance| instance.node == node).collect::<Vec<_>>()
    };
    let (slow, quick) = (of(&course, "slow"), of(&course, "quick"));
    let late = course.assign(slow[0], 1, false);
    let first = course.assign(quick[0], 1, false);
    course.finish(first, success("quick")).unwrap();
    assert!(course.run.attempt(slow[0]).is_some_and(|live| live.stopping), "it is told to stop");
    assert_eq!(of(&course, "slow"), slow[1..], "the other item goes on");
    course.finish(late, success("late")).unwrap();
    let other = course.assign(slow[1], 1, false);
    course.finish(other, success("slow")).unwrap();
    assert_eq!(course.run.status(), RunStatus::Completed);
    assert_eq!(course.gave("end.value"), Some(json!(["quick", "slow"])));
    assert_eq!(course.run.tally(course.instance("slow").node).dropped, 1);
    assert_eq!(course.replayed().snapshot(), course.run.snapshot());
}
