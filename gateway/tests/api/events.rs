use std::time::Duration;

use heddle_proto::control::Event;
use reqwest::{Method, Response};
use serde_json::json;
use tokio::sync::watch;

use crate::setup::{Api, answer};

const READ_TIME_MAX: Duration = Duration::from_secs(30);
const EVENTS: &str = "/api/v1/workflows/executions/exec_1/events";

async fn api() -> Api {
    let api = Api::start().await;
    let event = |seq, kind: &str, data: &'static str| Event {
        seq,
        r#type: kind.to_owned(),
        data_json: data.into(),
        ..Event::default()
    };
    api.fake.script().events = vec![
        event(1, "run.started", "{}"),
        event(2, "node.completed", "{\"nodeId\":\"a\",\n\"output\":{\"text\":\"x\"}}"),
        event(3, "run.completed", "{}"),
    ];
    api
}

/// Seqs and the text of the whole stream.
async fn read(api: &Api, path: &str, last_event_id: Option<&str>) -> (Vec<u64>, String) {
    let mut request = api.request(Method::GET, path).header("Accept", "text/event-stream");
    if let Some(id) = last_event_id {
        request = request.header("Last-Event-ID", id);
    }
    let stream = answer(request).await;
    assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream"), "{}", stream.text);
    let seqs = stream.text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    (seqs, stream.text)
}

#[tokio::test]
async fn a_stream_tells_all_in_order() {
    let api = api().await;
    let (seqs, text) = read(&api, EVENTS, None).await;
    assert_eq!(seqs, [1, 2, 3]);
    let second = "id: 2\nevent: node.completed\n\
        data: {\"seq\":2,\"at\":\"1970-01-01T00:00:00.000Z\",\"type\":\"node.completed\",\"executionId\":\"exec_1\",\"nodeId\":\"a\",\n\
        data: \"output\":{\"text\":\"x\"}}\n\n";
    assert!(text.contains(second), "{text}");
    assert!(text.starts_with("retry: "), "{text}");
    assert!(text.ends_with("event: stream.end\ndata: {}\n\n"), "{text}");
}

#[tokio::test]
async fn who_asks_for_no_stream_gets_a_list() {
    let api = api().await;
    for accept in [None, Some("*/*"), Some("application/json")] {
        let request = api.request(Method::GET, EVENTS);
        let list = answer(accept.into_iter().fold(request, |request, accept| request.header("Accept", accept))).await;
        assert_eq!((list.status, list.header("content-type")), (200, "application/json"), "{accept:?}: {}", list.text);
    }
    let asked = answer(api.request(Method::GET, &format!("{EVENTS}?follow=false"))).await;
    assert_eq!(asked.header("content-type"), "text/event-stream", "who says whether to follow means a stream");
}

#[tokio::test]
async fn what_a_client_would_rather_have_is_what_it_gets() {
    let api = api().await;
    for (accept, query, expected) in [
        ("text/event-stream;q=0", "", "application/json"),
        ("text/event-stream;q=0", "?follow=false", "application/json"),
        ("text/event-stream;q=0.5, application/json", "", "application/json"),
        ("text/event-stream, application/json;q=0.5", "", "text/event-stream"),
        ("application/json;q=0.5, text/event-stream", "?follow=false", "text/event-stream"),
    ] {
        let request = api.request(Method::GET, &format!("{EVENTS}{query}")).header("Accept", accept);
        let got = answer(request).await;
        assert_eq!((got.status, got.header("content-type")), (200, expected), "{accept} {query}: {}", got.text);
    }
}

#[tokio::test]
async fn who_refuses_both_forms_is_told_which_there_are() {
    let api = api().await;
    for (accept, query) in [
        ("application/json;q=0", ""),
        ("application/*;q=0", ""),
        ("application/json;q=0, application/xml", ""),
        ("*/*;q=0", ""),
        ("*/*;q=0", "?follow=true"),
        ("text/event-stream;q=0, application/json;q=0", "?follow=true"),
    ] {
        let request = api.request(Method::GET, &format!("{EVENTS}{query}")).header("Accept", accept);
        let refused = answer(request).await;
        refused.check_refusal(406, "not_acceptable");
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains("application/json") && message.contains("text/event-stream"), "{accept}: {message}");
    }
    assert!(api.fake.script().reads.is_empty(), "nothing is read for nobody");
    let request = api.request(Method::GET, &format!("{EVENTS}?follow=false")).header("Accept", "application/json;q=0");
    let got = answer(request).await;
    assert_eq!((got.status, got.header("content-type")), (200, "text/event-stream"), "a stream is not refused");
}

#[tokio::test]
async fn a_list_of_events_comes_in_pages_of_the_length_that_is_asked_for() {
    let api = api().await;
    for (query, seqs, last_seq, has_more) in [
        ("?limit=2", vec![1, 2], 2, true),
        ("?limit=2&after=2", vec![3], 3, false),
        ("?limit=3", vec![1, 2, 3], 3, false),
        ("?limit=1001", vec![1, 2, 3], 3, false),
    ] {
        let page = api.get(&format!("{EVENTS}{query}")).await;
        let got: Vec<_> = page.body["events"].as_array().unwrap().iter().map(|event| &event["seq"]).collect();
        assert_eq!(got, seqs, "{query}: {}", page.text);
        assert_eq!((&page.body["lastSeq"], &page.body["hasMore"]), (&json!(last_seq), &json!(has_more)), "{query}");
    }
    let (seqs, _) = read(&api, &format!("{EVENTS}?limit=1"), None).await;
    assert_eq!(seqs, [1, 2, 3], "a stream tells all");
}

#[tokio::test]
async fn a_stream_is_taken_up_anywhere() {
    let api = api().await;
    assert_eq!(read(&api, &format!("{EVENTS}?after=1"), None).await.0, [2, 3]);
    assert_eq!(read(&api, EVENTS, Some("2")).await.0, [3]);
    // What a browser sends when it connects again to an address that named a place.
    assert_eq!(read(&api, &format!("{EVENTS}?after=1"), Some("2")).await.0, [3]);
    assert_eq!(read(&api, EVENTS, Some("")).await.0, [1, 2, 3]);
    let asked: Vec<_> = api.fake.script().reads.iter().map(|read| (read.after_seq, read.follow)).collect();
    assert_eq!(asked, [(1, true), (2, true), (2, true), (0, true)]);
    read(&api, &format!("{EVENTS}?follow=false"), None).await;
    assert!(!api.fake.script().reads.last().unwrap().follow);
    let refused = api.request(Method::GET, EVENTS).header("Last-Event-ID", "three");
    answer(refused).await.check_refusal(400, "invalid_last_event_id");
}

#[tokio::test]
async fn live_words_have_no_place_in_the_history() {
    let api = api().await;
    let word = |data: &'static str| Event { r#type: "node.delta".into(), data_json: data.into(), ..Event::default() };
    api.fake.script().events.insert(2, word("{\"nodeId\":\"a\",\"text\":\"x\"}"));
    let (seqs, text) = read(&api, EVENTS, None).await;
    assert_eq!(seqs, [1, 2, 3]);
    let live = "\n\nevent: node.delta\ndata: {\"at\":\"1970-01-01T00:00:00.000Z\",\"type\":\"node.delta\",\
        \"executionId\":\"exec_1\",\"nodeId\":\"a\",\"text\":\"x\"}\n\n";
    assert!(text.contains(live), "{text}");
}

#[tokio::test]
async fn whoever_asks_for_all_ids_goes_on_behind_any_word() {
    let api = api().await;
    let word = |place: &str| Event {
        r#type: "node.delta".into(),
        data_json: "{}".into(),
        place: place.into(),
        ..Event::default()
    };
    {
        let mut script = api.fake.script();
        script.events.insert(2, word("2.7"));
        script.events.insert(3, word("2.8"));
        script.events[4].place = "3.8".into();
    }
    let (_, text) = read(&api, &format!("{EVENTS}?ids=all"), None).await;
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["1", "2", "2.7", "2.8", "3.8"]);
    read(&api, &format!("{EVENTS}?ids=all"), Some("2.7")).await;
    read(&api, &format!("{EVENTS}?after=2.8"), None).await;
    let asked: Vec<_> = api.fake.script().reads.iter().map(|read| (read.after_seq, read.after_place.clone())).collect();
    assert_eq!(asked, [(0, "0".into()), (2, "2.7".into()), (2, "2.8".to_owned())]);
    api.get(&format!("{EVENTS}?ids=some&follow=true")).await.check_refusal(400, "invalid_parameter");
}

/// Reads a stream that does not end, up to this text.
async fn read_up_to(stream: &mut Response, last: &str) -> String {
    let mut text = String::new();
    while !text.contains(last) {
        let piece = tokio::time::timeout(READ_TIME_MAX, stream.chunk()).await.expect("nothing came for long");
        text += std::str::from_utf8(&piece.unwrap().expect("the stream ended")).unwrap();
    }
    text
}

#[tokio::test]
async fn all_who_follow_a_run_share_one_stream_of_the_coordinator_wherever_they_begin() {
    let api = api().await;
    let word = |place: &str| Event {
        r#type: "node.delta".into(),
        data_json: "{}".into(),
        place: place.into(),
        ..Event::default()
    };
    let (release, released) = watch::channel(false);
    {
        let mut script = api.fake.script();
        let last = script.events.pop().unwrap();
        script.events.extend([word("2.7"), word("2.9")]);
        script.later = Some((released, vec![Event { place: "3.9".into(), ..last }]));
    }
    let open = async |id: Option<&str>| {
        let request = api.request(Method::GET, &format!("{EVENTS}?ids=all")).header("Accept", "text/event-stream");
        let request = id.into_iter().fold(request, |request, id| request.header("Last-Event-ID", id));
        request.send().await.unwrap()
    };
    let (all, behind) = ("id: 1 id: 2 id: 2.7 id: 2.9", "id: 2.9");
    // The third is within a piece: what comes up to the next place is asked for by itself.
    let mut streams = Vec::new();
    for (id, ids) in [(None, all), (None, all), (Some("2.8"), behind), (Some("2.7"), behind)] {
        let mut stream = open(id).await;
        let text = read_up_to(&mut stream, "id: 2.9\n").await;
        let heard: Vec<_> = text.lines().filter(|line| line.starts_with("id: ")).collect();
        assert_eq!(heard.join(" "), ids, "{id:?}");
        streams.push(stream);
    }
    let asked = |api: &Api| -> Vec<(String, String)> {
        let script = api.fake.script();
        script.reads.iter().map(|read| (read.after_place.clone(), read.until_place.clone())).collect()
    };
    let expected = [("0".to_owned(), String::new()), ("2.8".to_owned(), "2.9".to_owned())];
    release.send(true).unwrap();
    for mut stream in streams {
        let text = read_up_to(&mut stream, "event: run.completed\n").await;
        assert!(text.contains("id: 3.9\n") && !text.contains("id: 2"), "{text}");
    }
    assert_eq!(asked(&api), expected);
    // Who has heard more and read less than they gets one alone.
    let mut alone = open(Some("2.20")).await;
    read_up_to(&mut alone, "event: run.completed\n").await;
    assert_eq!(asked(&api)[2..], [("2.20".to_owned(), String::new())]);
}

#[tokio::test]
async fn a_break_behind_the_gateway_loses_nothing() {
    let api = api().await;
    api.fake.script().breaks_after = Some(1);
    assert_eq!(read(&api, EVENTS, None).await.0, [1, 2, 3]);
    let asked: Vec<_> = api.fake.script().reads.iter().map(|read| read.after_seq).collect();
    assert_eq!(asked, [0, 1]);
}

#[tokio::test]
async fn an_unknown_run_has_no_stream() {
    let api = api().await;
    api.refuse("read_events", 404, "execution_not_found");
    api.get(EVENTS).await.check_refusal(404, "execution_not_found");
}

#[tokio::test]
async fn events_come_as_json_too() {
    let api = api().await;
    let listed =
        answer(api.request(Method::GET, &format!("{EVENTS}?after=1")).header("Accept", "application/json")).await;
    listed.check_envelope();
    let expected = json!([
        {"seq": 2, "at": "1970-01-01T00:00:00.000Z", "type": "node.completed", "executionId": "exec_1", "nodeId": "a",
            "output": {"text": "x"}},
        {"seq": 3, "at": "1970-01-01T00:00:00.000Z", "type": "run.completed", "executionId": "exec_1"},
    ]);
    assert_eq!(listed.body["events"], expected);
    assert_eq!((&listed.body["lastSeq"], &listed.body["hasMore"]), (&json!(3), &json!(false)));
    assert!(!api.fake.script().reads.last().unwrap().follow);
}
