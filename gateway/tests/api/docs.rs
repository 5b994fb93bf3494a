use reqwest::Method;
use serde_json::Value;

use crate::setup::{Answer, Api, answer};

/// What anybody gets, without a key.
async fn read(api: &Api, path: &str) -> Answer {
    answer(api.http.request(Method::GET, api.url(path))).await
}

#[tokio::test]
async fn every_route_is_in_the_document_with_what_it_takes_and_answers() {
    let api = Api::start().await;
    let document = read(&api, "/api/v1/openapi.json").await;
    assert_eq!((document.status, document.header("content-type")), (200, "application/json"));
    let document = document.body;
    assert_eq!(document["openapi"], "3.1.0");
    for route in heddle_gateway::routes() {
        let operation = &document["paths"][route.path][route.method.to_ascii_lowercase()];
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{route:?}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{route:?}");
        let is_open = operation.get("security").is_none();
        assert_eq!(is_open, !answers.contains_key("401"), "{route:?}: who needs a key may be refused");
        assert!(is_open || route.path.starts_with("/api/v1/"), "{route:?}");
    }
    let mut ids: Vec<&Value> = document["paths"].as_object().unwrap().values().flat_map(operation_ids).collect();
    let count = ids.len();
    ids.sort_by_key(|id| id.to_string());
    ids.dedup();
    assert_eq!(ids.len(), count, "each operation has a name of its own");
    let named = |id: &str| {
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|methods| methods.as_object().unwrap());
        operations.map(|(_, operation)| operation).find(|operation| operation["operationId"] == id)
    };
    let mut links = 0;
    for operation in ids.iter().filter_map(|id| named(id.as_str()?)) {
        let answers = operation["responses"].as_object().unwrap().values();
        for link in answers.flat_map(|answer| answer["links"].as_object().into_iter().flat_map(|links| links.values()))
        {
            let next = named(link["operationId"].as_str().unwrap()).unwrap_or_else(|| panic!("{link} leads nowhere"));
            let taken = next["parameters"].as_array().unwrap();
            for name in link["parameters"].as_object().unwrap().keys() {
                assert!(taken.iter().any(|parameter| parameter["name"] == **name), "{link}: nobody takes {name}");
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"].get(reference).is_some(), "{reference} is named and missing");
    }
}

fn operation_ids(methods: &Value) -> impl Iterator<Item = &Value> {
    methods.as_object().into_iter().flat_map(|methods| methods.values()).map(|operation| &operation["operationId"])
}

#[tokio::test]
async fn pages_need_neither_key_nor_network() {
    let api = Api::start().await;
    for path in ["/docs", "/docs/errors", "/llms.txt"] {
        let page = read(&api, path).await;
        assert_eq!(page.status, 200, "{path}");
        for needs in ["<script", "src=", "http://", "@import"] {
            assert!(!page.text.contains(needs), "{path} has {needs}");
        }
    }
    let routes = read(&api, "/docs").await.text;
    let models = read(&api, "/llms.txt").await.text;
    for route in heddle_gateway::routes() {
        assert!(routes.contains(route.path) && models.contains(route.path), "{route:?}");
    }
    let errors = read(&api, "/docs/errors").await.text;
    let codes = heddle_gateway::REFUSALS.iter().chain(heddle_gateway::FAILURES);
    codes.for_each(|code| assert!(errors.contains(code.code), "{code:?}"));
}
