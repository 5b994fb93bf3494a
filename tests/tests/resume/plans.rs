//! Resume of runs that are completed: edits, the one rule, plans, families.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::send;
use cluster_tests::cluster::runs::text;
use reqwest::Method;
use serde_json::{Value, json};

use super::{CHAIN, chain, completed, id, in_state, node, once, post, resume, run_path, worked};

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_goes_on_downstream_and_nothing_before_it_runs() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let parent = completed(client, "edited", &chain()).await;
    assert_eq!(worked(&cluster, &id(&parent)), once(&CHAIN));
    let key = client.get_json("/api/v1/keys").await;
    let author = &key[0]["subject"];

    let edit = |text: &str| json!({ "draft": { "out": text } });
    let child = resume(client, &id(&parent), json!({ "outputs": edit("a better text") })).await;
    assert_eq!(child["status"], "COMPLETED", "{child}");
    assert_eq!(worked(&cluster, &id(&child)), once(&["published"]), "only who takes what was changed");
    assert_eq!(child["finalOutput"]["output"]["value"], "a better text");
    let draft = node(&child, "draft");
    let from = json!({ "source": "edit", "executionId": parent["id"], "editedBy": author });
    assert_eq!(
        (&draft["state"], &draft["cachedFrom"], &draft["output"]["out"]),
        (&json!("CACHED"), &from, &json!("a better text"))
    );
    assert_eq!(node(&child, "b")["cachedFrom"], json!({ "source": "run", "executionId": parent["id"] }));
    // Both versions are kept, and who changed what is in the history.
    let original = client.execution(&id(&parent)).await;
    assert_eq!(original, parent, "a run that is over never changes");
    let history = Value::from(client.events(&id(&child)).await).to_string();
    assert!(history.contains("a better text") && history.contains(author.as_str().unwrap()), "{history}");

    // Changed and run on from the next node: what takes the edit beside that node runs, too, and nothing that does not.
    let body = json!({ "fromNodeId": "publish", "outputs": edit("for publishing") });
    let published = resume(client, &id(&parent), body).await;
    assert_eq!(published["finalOutput"]["output"]["value"], "for publishing");
    assert_eq!(worked(&cluster, &id(&published)), once(&["published"]), "{published}");
    // Up to a node, and nothing beside: what a person does who looks at a draft.
    let body = json!({ "toNodeId": "out", "outputs": edit("for looking at") });
    let looked_at = resume(client, &id(&parent), body).await;
    assert_eq!(looked_at["finalOutput"]["output"]["value"], "for looking at");
    assert!(worked(&cluster, &id(&looked_at)).is_empty(), "{looked_at}");

    // From the child in turn: what it took over is as good as what it made.
    let grandchild = resume(client, &id(&child), json!({ "outputs": edit("the best text") })).await;
    assert_eq!(worked(&cluster, &id(&grandchild)), once(&["published"]));
    assert_eq!(grandchild["finalOutput"]["output"]["value"], "the best text");
    assert_eq!(node(&grandchild, "a")["cachedFrom"]["executionId"], parent["id"], "who has made it");
    assert_eq!([&child["lineageId"], &grandchild["lineageId"]], [&parent["id"]; 2]);

    // Lists say it, too.
    let workflow = text(&parent["workflowId"]);
    for list in [
        format!("/api/v1/workflows/executions?workflowId={workflow}"),
        format!("/api/v1/workflows/{workflow}/executions"),
    ] {
        let listed = client.get_json(&list).await;
        let listed = listed.as_array().or_else(|| listed["executions"].as_array()).unwrap();
        for (run, goes_on) in [(&parent, &Value::Null), (&child, &parent["id"]), (&grandchild, &child["id"])] {
            let shown = listed.iter().find(|shown| shown["id"] == run["id"]).unwrap();
            assert_eq!((&shown["parentExecutionId"], &shown["lineageId"]), (goes_on, &parent["id"]), "{list}: {shown}");
        }
    }

    let family = client.get_json(&run_path(&id(&child), "lineage")).await;
    assert_eq!(family["lineageId"], parent["id"], "{family}");
    let runs: Vec<_> = family["runs"].as_array().into_iter().flatten().collect();
    let shown: Vec<_> = runs.iter().map(|run| (&run["executionId"], &run["parentExecutionId"])).collect();
    let expected = [
        (&parent["id"], &Value::Null),
        (&child["id"], &parent["id"]),
        (&published["id"], &parent["id"]),
        (&looked_at["id"], &parent["id"]),
        (&grandchild["id"], &child["id"]),
    ];
    assert_eq!(shown, expected, "{family}");
    assert_eq!((&runs[2]["fromNodeId"], &runs[1]["subject"]), (&json!("publish"), author));
    assert_eq!(runs[1]["edits"], json!([{ "nodeId": "draft", "port": "out" }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_downstream_runs_only_where_an_input_has_really_changed() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let parent = completed(client, "changed", &chain()).await;
    // `a` gives the same bytes again, so `b` has nothing new to work on.
    let child = resume(client, &id(&parent), json!({ "targetNodeId": "a" })).await;
    assert_eq!(worked(&cluster, &id(&child)), once(&["a"]));
    assert_eq!(in_state(&child, "CACHED"), ["b", "c"], "{child}");
    assert_eq!(node(&child, "draft"), &Value::Null, "the node, what leads to it, and what follows");
    let all = resume(client, &id(&parent), json!({ "fromNodeId": "a", "downstream": "all" })).await;
    assert_eq!(worked(&cluster, &id(&all)), once(&["a", "b", "c"]), "where the effect is the point");
    let to = resume(client, &id(&parent), json!({ "fromNodeId": "a", "toNodeId": "b", "downstream": "all" })).await;
    assert_eq!(worked(&cluster, &id(&to)), once(&["a", "b"]));
    assert_eq!(node(&to, "c"), &Value::Null, "not in the part");

    let inputs = json!({ "fromNodeId": "topic", "inputs": { "topic": "herons" } });
    let other = resume(client, &id(&parent), inputs).await;
    assert_eq!(
        worked(&cluster, &id(&other)),
        once(&["a", "drafted", "published"]),
        "b got null before, and gets null now"
    );
    assert_eq!(other["finalOutput"]["output"]["value"], "herons");

    let again = post(client, &run_path(&id(&parent), "rerun"), &json!({})).await;
    assert_eq!(again.status, 201, "{again}");
    let again = client.ended(&text(&again.json()["executionId"]), super::RUN_TIME_MAX).await;
    assert_eq!(worked(&cluster, &id(&again)), once(&CHAIN), "a rerun reuses nothing");
    assert_eq!((in_state(&again, "CACHED").len(), &again["parentExecutionId"]), (0, &parent["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_will_run_and_is_carried_out_as_it_is() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let parent = completed(client, "planned", &chain()).await;
    let path = run_path(&id(&parent), "resume");
    let wanted = json!({ "outputs": { "draft": { "out": "edited" } } });
    let with = |name: &str, value: Value| {
        let mut body = wanted.clone();
        body[name] = value;
        body
    };
    let planned = post(client, &path, &with("plan", json!(true))).await;
    assert_eq!(planned.status, 200, "{planned}");
    let plan = planned.json();
    let named = |part: &str| {
        let nodes = plan[part].as_array().into_iter().flatten();
        let mut named: Vec<_> = nodes.map(|node| (text(&node["nodeId"]), text(&node["why"]))).collect();
        named.sort();
        named
    };
    let pair = |node: &str, why: &str| (node.to_owned(), why.to_owned());
    let runs = named("willRun");
    assert!(
        runs.contains(&pair("publish", "edited_input")) && runs.contains(&pair("published", "edited_input")),
        "{plan}"
    );
    assert!(
        named("reused").contains(&pair("draft", "edited")) && named("reused").contains(&pair("a", "same")),
        "{plan}"
    );
    let of_parent = plan["reused"].as_array().unwrap().iter().find(|node| node["nodeId"] == "a").unwrap();
    assert_eq!(of_parent["from"], parent["id"]);
    let workflow = text(&parent["workflowId"]);
    assert_eq!(client.runs_of(&workflow).await.len(), 1, "a plan starts nothing");

    let child = resume(client, &id(&parent), with("planToken", plan["planToken"].clone())).await;
    assert_eq!(worked(&cluster, &id(&child)), once(&["published"]));
    // Agreed to one plan, and asked for another.
    let other = json!({ "fromNodeId": "a", "planToken": plan["planToken"] });
    let refused = post(client, &path, &other).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("plan_changed")), "{refused}");
    let changes = &refused.json()["planChanges"];
    assert_eq!(changes["options"], json!(["fromNodeId", "outputs"]), "{refused}");
    assert_eq!(changes["outputs"], json!([{ "nodeId": "draft", "port": "out" }]), "{refused}");
    let moved = json!({ "nodeId": "a", "from": "reused", "to": "willRun", "why": "start" });
    assert!(changes["moved"].as_array().unwrap().contains(&moved), "{refused}");
    assert_eq!(client.runs_of(&workflow).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_somebody_changed_the_workflow_under_says_which_nodes_move() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let parent = completed(client, "moved", &chain()).await;
    let (path, workflow) = (run_path(&id(&parent), "resume"), text(&parent["workflowId"]));
    let mut body = json!({ "outputs": { "draft": { "out": "edited" } }, "graph": "current", "plan": true });
    let planned = post(client, &path, &body).await;
    assert_eq!(planned.status, 200, "{planned}");
    let patch = client.request(Method::PATCH, &format!("/api/v1/workflows/{workflow}/nodes/a"));
    let patched = send(patch.json(&json!({ "config": { "file": "elsewhere" } }))).await.unwrap();
    assert_eq!(patched.status, 200, "{patched}");
    body["plan"] = json!(false);
    body["planToken"] = planned.json()["planToken"].clone();
    let refused = post(client, &path, &body).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("plan_changed")), "{refused}");
    let changes = &refused.json()["planChanges"];
    assert_eq!((&changes["graph"], &changes["parent"], &changes["options"]), (&json!(true), &json!(false), &json!([])));
    let moved = json!({ "nodeId": "a", "from": "reused", "to": "willRun", "why": "config_changed" });
    assert!(changes["moved"].as_array().unwrap().contains(&moved), "{refused}");
    assert_eq!(client.runs_of(&workflow).await.len(), 1, "nothing has begun");
    // Planned again, it is carried out.
    body["plan"] = json!(true);
    body["planToken"] = post(client, &path, &body).await.json()["planToken"].clone();
    body["plan"] = json!(false);
    assert_eq!(post(client, &path, &body).await.status, 201);
}
