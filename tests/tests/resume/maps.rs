//! Of a long map and what is made of it, only what depends on a change runs again.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::graph::Graph;
use serde_json::{Value, json};

use super::{EFFECTS, completed, effect, id, node, resume, worked};

const PAGES: usize = 200;
const PART: usize = 20;
const CHANGED: usize = 57;

/// Pages, parts of twenty pages, and the whole: each is made of what it comes from, and leaves a line.
fn book(pages: &Value) -> Graph {
    Graph::default()
        .node("pages", "input:json", json!({ "value": pages }))
        .node("each", "logic:map", json!({ "concurrency": 16 }))
        .node("page", "debug:echo", json!({}))
        .inside("each")
        .node("paged", "debug:effect", effect())
        .inside("each")
        .node("cut", "logic:batch", json!({ "size": PART }))
        .node("parts", "logic:map", json!({ "concurrency": 16 }))
        .node("part", "debug:echo", json!({}))
        .inside("parts")
        .node("parted", "debug:effect", effect())
        .inside("parts")
        .node("whole", "debug:effect", effect())
        .node("out", "output:preview", json!({}))
        .edge("pages.json", "each.items")
        .edge("each.item", "page.item")
        .edge("each.item", "paged.item")
        .edge("page.out", "each.result")
        .edge("each.results", "cut.items")
        .edge("cut.batches", "parts.items")
        .edge("parts.item", "part.item")
        .edge("parts.item", "parted.item")
        .edge("part.out", "parts.result")
        .edge("parts.results", "whole.in")
        .edge("parts.results", "out.value")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changed_page_runs_again_with_its_way_to_the_root() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let mut pages: Vec<String> = (0..PAGES).map(|page| format!("page {page}")).collect();
    let parent = completed(client, "a book", &book(&json!(pages))).await;
    let all = [("paged", PAGES), ("parted", PAGES / PART), ("whole", 1)];
    let counted = |counts: &[(&str, usize)]| counts.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
    assert_eq!(worked(&cluster, &id(&parent)), counted(&all));

    pages[CHANGED] = "another page".to_owned();
    let inputs = json!({ "fromNodeId": "pages", "inputs": { "pages": pages } });
    let child = resume(client, &id(&parent), inputs).await;
    assert_eq!(child["status"], "COMPLETED", "{child}");
    assert_eq!(worked(&cluster, &id(&child)), counted(&[("paged", 1), ("parted", 1), ("whole", 1)]));
    let mut places: Vec<_> =
        cluster.witnessed(EFFECTS).into_iter().filter(|effect| effect.execution == id(&child)).collect();
    places.sort();
    let places: Vec<_> = places.iter().map(|effect| (&effect.place.0[..], &effect.place.1[..])).collect();
    assert_eq!(places, [("paged", "57"), ("parted", "2"), ("whole", "")]);
    let results = &child["finalOutput"]["output"]["value"];
    assert_eq!((&results[2][17], &results[2][18]), (&json!("another page"), &json!("page 58")), "{results}");
    assert_eq!(node(&child, "paged")["items"]["cached"], PAGES - 1, "{}", node(&child, "paged"));

    // By its number, though nothing has changed: it runs, and gives the same, so nothing else does.
    let child = resume(client, &id(&parent), json!({ "fromNodeId": "paged", "indices": [[17], [199]] })).await;
    assert_eq!(worked(&cluster, &id(&child)), counted(&[("paged", 2)]), "{child}");
}
