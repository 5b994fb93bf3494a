//! Long lists that maps go through: read in parts, when they are there.

use serde_json::json;

use super::bench::{Bench, RUN, dispatches, finished_with};
use crate::graph::fixture::Fixture;
use crate::limits;
use crate::partition::io::Input;
use crate::run::list::{ListItem, ListPart};
use crate::value::{Artifact, Digest, Value};

fn part(total: u32, items: u32) -> ListPart {
    let item = |item: u32| ListItem::Value(Value::from_json(item.to_string().into()));
    ListPart { total, items: (0..items).map(item).collect() }
}

#[test]
fn a_list_in_the_store_is_asked_for_when_its_row_has_landed() {
    let graph = Fixture::default().work("a", "pure", &json!({})).logic("m", "map", json!({}));
    let graph = graph.work("w", "pure", &json!({})).inside("m").edge("a.out", "m").edge("m", "w.extra").build();
    let mut bench = Bench::with_agent();
    let [attempt] = &bench.start(RUN, &graph)[..] else { panic!("one attempt") };
    let bytes = limits::INLINE_VALUE_BYTES_MAX as u64 + 1;
    let list = Artifact { digest: Digest::of(b"list"), bytes, media_type: "application/json".into(), is_json: true };
    let outputs = bench.on([finished_with(attempt, Value::from_artifact(list))]);
    assert!(outputs.lists.is_empty(), "its row is on its way");
    let outputs = bench.land();
    let [(run, need)] = outputs.lists[..] else { panic!("asked for once: {:?}", outputs.lists) };
    assert_eq!((run, need.part, need.is_chunk), (RUN, 0, false));
    assert!(bench.tick().lists.is_empty(), "it is not asked for again");
    bench.on([Input::ListPart(RUN, need, Ok(part(600, 512)))]);
    let releases = bench.land_all();
    assert!(!dispatches(&releases).is_empty(), "items begin");
}
