use reqwest::Method;

use crate::setup::{Api, answer};

#[tokio::test]
async fn the_form_is_fixed_by_route_and_status() {
    let api = Api::start().await;
    for status in [400, 402, 403, 404, 409, 413, 422, 429, 500, 503] {
        for (method, path, is_documented) in [
            ("get_workflow", "/api/v1/workflows/w", true),
            ("list_runs", "/api/v1/workflows/w/executions", true),
            ("get_run", "/api/v1/workflows/executions/e/poll", true),
            ("get_run", "/api/v1/workflows/executions/e", true),
            ("describe_inputs", "/api/v1/workflows/w/run", true),
            ("list_runs", "/api/v1/workflows/executions", false),
            ("read_events", "/api/v1/workflows/executions/e/events", false),
            ("list_node_types", "/api/v1/nodes", false),
        ] {
            api.refuse(method, status, "some_code");
            let refusal = api.get(path).await;
            refusal.check_refusal(status as u16, "some_code");
            let is_text = is_documented && !matches!(status, 409 | 413 | 422 | 503);
            assert_eq!(refusal.body["error"].is_string(), is_text, "{status} {path}");
            if matches!(status, 429 | 503) {
                assert_eq!(refusal.header("retry-after"), "7");
            }
            assert_eq!(refusal.body["retryAfter"].is_u64(), status == 429);
        }
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_have_our_form() {
    let api = Api::start().await;
    for path in ["/", "/api/v1", "/api/v1/workflows/", "/api/v1/workflows/executions/e/reason", "/api/v2/workflows"] {
        api.get(path).await.check_refusal(404, "unknown_route");
    }
    for (method, path) in [
        (Method::PATCH, "/api/v1/workflows"),
        (Method::GET, "/api/v1/workflows/w/execute"),
        (Method::GET, "/api/v1/workflows/lint"),
        (Method::DELETE, "/api/v1/workflows/executions"),
        (Method::OPTIONS, "/api/v1/workflows"),
    ] {
        let refusal = answer(api.request(method, path)).await;
        refusal.check_refusal(405, "method_not_allowed");
        assert!(!refusal.header("allow").is_empty());
    }
    answer(api.request(Method::POST, "/healthz")).await.check_refusal(405, "method_not_allowed");
}

#[tokio::test]
async fn faults_of_the_address_are_refused() {
    let api = Api::start().await;
    api.get("/api/v1/workflows/%ff%fe").await.check_refusal(400, "invalid_path");
    for (path, code) in [
        ("/api/v1/workflows?isActive=perhaps", "invalid_parameter"),
        ("/api/v1/workflows/w/executions?limit=many", "invalid_parameter"),
        ("/api/v1/workflows/w/executions?limit=", "invalid_parameter"),
        ("/api/v1/workflows/w/executions?status=DONE", "invalid_parameter"),
        ("/api/v1/workflows/w/executions?from=yesterday", "invalid_parameter"),
        ("/api/v1/workflows/executions?tag=x", "not_supported_yet"),
        ("/api/v1/workflows/executions/e/poll?wait=-1", "invalid_parameter"),
        ("/api/v1/workflows/executions/e/poll?wait=NaN", "invalid_parameter"),
        ("/api/v1/workflows/executions/e/poll?wait=", "invalid_parameter"),
        ("/api/v1/workflows/executions/e/poll?minSeq=-1", "invalid_parameter"),
        ("/api/v1/workflows/executions/e/poll?nodesOffset=", "invalid_parameter"),
        ("/api/v1/workflows/w/diff?from=", "invalid_parameter"),
        ("/api/v1/workflows/executions/e/events?limit=", "invalid_parameter"),
        ("/api/v1/workflows/executions/e/events?after=x", "invalid_parameter"),
        ("/api/v1/workflows/executions/e/events?follow=x", "invalid_parameter"),
    ] {
        let refusal = api.get(path).await;
        refusal.check_refusal(if code == "not_supported_yet" { 422 } else { 400 }, code);
    }
}

/// Method, path and name of every parameter in a query that the document says.
async fn query_parameters(api: &Api) -> Vec<(Method, String, String)> {
    let document = api.get("/api/v1/openapi.json").await.body;
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let filled = filled.collect::<Vec<_>>().join("/");
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for parameter in operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "query") {
                all.push((method.clone(), filled.clone(), parameter["name"].as_str().unwrap().to_owned()));
            }
        }
    }
    all
}

#[tokio::test]
async fn a_parameter_that_is_there_twice_is_refused_by_its_name() {
    let api = Api::start().await;
    let all = query_parameters(&api).await;
    assert!(all.len() > 60, "{}", all.len());
    for (method, path, name) in all {
        let refused =
            answer(api.json(method.clone(), &format!("{path}?other=1&{name}=1&other=2&{name}=2"), "{}")).await;
        refused.check_refusal(400, "invalid_parameter");
        let expected = format!("the query parameter {name} is there more than once; give it once");
        assert_eq!(refused.body["message"], expected, "{method} {path}");
    }
    let unknown = api.get("/api/v1/workflows?other=1&other=2").await;
    assert_eq!(unknown.status, 200, "what nobody reads is ignored: {}", unknown.text);
}

#[tokio::test]
async fn a_limit_is_a_number_from_1_on() {
    let api = Api::start().await;
    let limits = query_parameters(&api).await.into_iter().filter(|(_, _, name)| name.to_lowercase().contains("limit"));
    let limits: Vec<_> = limits.collect();
    assert!(limits.iter().any(|(_, path, _)| path.ends_with("/events")), "{limits:?}");
    for (method, path, name) in limits {
        for number in ["0", "-1", "1.5", "many", "4294967296"] {
            let refused = answer(api.request(method.clone(), &format!("{path}?{name}={number}"))).await;
            refused.check_refusal(400, "invalid_parameter");
            let message = refused.body["message"].as_str().unwrap();
            let expected = format!("the query parameter {name} must be a whole number from 1 to ");
            assert!(message.starts_with(&expected), "{path}: {message}");
        }
    }
}

#[tokio::test]
async fn an_address_that_was_made_for_a_file_is_refused_by_what_it_lacks() {
    let api = Api::start().await;
    for (query, expected) in [
        ("", "the query parameter tenant is missing"),
        ("?tenant=t&type=a/b&name=n&expires=1&signature=s", "the query parameter bytes is missing"),
        (
            "?tenant=t&bytes=-1&type=a/b&name=n&expires=1&signature=s",
            "the query parameter bytes must be a whole number from 0 to 18446744073709551615",
        ),
    ] {
        let refused = answer(api.request(Method::PUT, &format!("/api/v1/media/uploads/x{query}"))).await;
        refused.check_refusal(400, "invalid_parameter");
        assert_eq!(refused.body["message"], expected, "{query}");
    }
}

#[tokio::test]
async fn request_ids_are_taken_over_when_well_formed() {
    let api = Api::start().await;
    for (path, id, is_taken) in [
        ("/api/v1/workflows", "mine-1.2", true),
        ("/nowhere", "mine-2", true),
        ("/healthz", "has space", false),
        ("/nowhere", "", false),
    ] {
        let given = answer(api.request(Method::GET, path).header("X-Request-Id", id)).await;
        let got = given.header("x-request-id");
        if is_taken {
            assert_eq!(got, id);
        } else {
            assert!(got.starts_with("req_") && got.len() == 30, "{got}");
        }
    }
}

#[tokio::test]
async fn a_trace_context_comes_back() {
    let api = Api::start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let echoed = answer(api.json(Method::POST, "/api/v1/workflows/w/run", "{}").header("traceparent", trace)).await;
    assert_eq!(echoed.header("traceparent"), trace);
    assert_eq!(api.fake.script().submits.pop().unwrap().traceparent, trace);
    let broken = answer(api.json(Method::POST, "/api/v1/workflows/w/run", "{}").header("traceparent", "00-xyz")).await;
    // Ignored: the new run has a trace of its own, and the answer names it.
    let own = broken.header("traceparent").to_owned();
    assert!(own.len() == 55 && own.starts_with("00-") && !own.contains("xyz"), "{own}");
    assert_eq!(api.fake.script().submits.pop().unwrap().traceparent, "");
}

#[tokio::test]
async fn too_many_header_bytes_are_refused() {
    let api = Api::start().await;
    let refusal = answer(api.request(Method::GET, "/api/v1/workflows").header("X-Long", "x".repeat(33 * 1024))).await;
    refusal.check_refusal(431, "headers_too_large");
}

#[tokio::test]
async fn a_missing_coordinator_is_a_state() {
    let api = Api::alone().await;
    // Both are held for a while, in case it comes back.
    let refusals = tokio::join!(api.get("/api/v1/workflows"), api.get("/api/v1/nodes"));
    for refusal in <[_; 2]>::from(refusals) {
        refusal.check_refusal(503, "coordinator_unavailable");
        assert_eq!(refusal.header("retry-after"), "1");
        assert!(refusal.body["error"].is_object());
    }
}

#[tokio::test]
async fn what_is_safe_is_tried_until_it_works() {
    let api = Api::start().await;
    api.get("/api/v1/workflows").await;
    let broken_once = |method: &'static str| {
        api.fake.script().breaks.insert(method, 1);
    };
    broken_once("get_run");
    api.fake.script().run.status = 2;
    assert_eq!(api.get("/api/v1/workflows/executions/e/poll").await.status, 200);
    broken_once("submit");
    api.post("/api/v1/workflows/w/run", "{}").await.check_refusal(503, "coordinator_unavailable");
    broken_once("submit");
    let keyed = api.json(Method::POST, "/api/v1/workflows/w/run", "{}").header("Idempotency-Key", "k");
    assert_eq!(answer(keyed).await.status, 202);
    api.fake.script().breaks.insert("get_run", 3);
    assert_eq!(api.get("/api/v1/workflows/executions/e/poll").await.status, 200);
    api.fake.script().breaks.insert("get_run", u32::MAX);
    api.get("/api/v1/workflows/executions/e/poll").await.check_refusal(503, "coordinator_unavailable");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_our_fault() {
    let api = Api::start().await;
    // The status of this run is none that this build knows.
    api.fake.script().run.status = 99;
    api.get("/api/v1/workflows/executions/e/poll").await.check_refusal(500, "internal");
}

#[tokio::test]
async fn head_has_no_body() {
    let api = Api::start().await;
    for (path, status) in [("/api/v1/workflows", 200), ("/nowhere", 404)] {
        let head = answer(api.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.text.as_str()), (status, ""));
    }
}

#[tokio::test]
async fn what_is_no_request_is_told_so_under_a_name() {
    let api = Api::start().await;
    let many = (0..200).map(|number| format!("h{number}: x\r\n")).collect::<String>();
    for (request, status, code) in [
        ("GARBAGE\r\n\r\n".to_owned(), "400 Bad Request", "malformed_request"),
        ("GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n".to_owned(), "400 Bad Request", "malformed_request"),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "431 Request Header Fields Too Large", "head_too_large"),
    ] {
        let answer = api.raw(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], code);
        assert!(head.contains(&format!("x-request-id: {}", body["requestId"].as_str().unwrap())), "{answer}");
    }
}
