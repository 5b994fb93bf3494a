//! Requests to a server of the test's own, through a guard that lets in only what the test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};

use super::http_request::HttpRequest;
use super::*;
use crate::runners::{Blobs, Context, EffectClass, Input, Output, Runner, Work};

/// A secret that must not show anywhere.
const CANARY: &str = "canary-7f3a91c2d4";

/// Lets through the addresses of the test's servers only.
#[derive(Debug)]
pub(super) struct Gate(pub(super) Vec<SocketAddr>);

impl Egress for Gate {
    fn judge(&self, url: &Url, _: bool) -> Result<(), Denied> {
        let open = self.0.iter().any(|address| url.port() == Some(address.port()));
        if open { Ok(()) } else { Err(Denied(format!("{} is closed; open it", url.host_str().unwrap_or_default()))) }
    }

    fn may_reach(&self, peer: SocketAddr, _: bool) -> bool {
        self.0.contains(&peer)
    }

    fn resolver(&self, _: bool) -> Arc<dyn Resolve> {
        Arc::new(Names)
    }
}

/// Knows `public.test` and denies the rest.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let known = name.as_str() == "public.test";
        async move {
            match known {
                true => Ok(Box::new([SocketAddr::from(([127, 0, 0, 1], 0))].into_iter()) as Addrs),
                false => Err(Box::new(Denied("that name leads inside; use another".to_owned())) as _),
            }
        }
        .boxed()
    }
}

#[derive(Default)]
pub(super) struct Keys(pub(super) BTreeMap<String, Credential>);

impl Credentials for Keys {
    fn get(&self, name: &str) -> Result<Option<Credential>, Failure> {
        Ok(self.0.get(name).cloned())
    }
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>);

async fn serve(State(seen): State<Seen>, path: Option<Path<String>>, request: Request) -> Response {
    let path = path.map(|Path(path)| path).unwrap_or_default();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    seen.0.lock().unwrap().push((parts.uri.to_string(), parts.headers.clone(), body));
    let query = parts.uri.query().unwrap_or_default().to_owned();
    match path.as_str() {
        "json" => axum::Json(json!({"n": 1})).into_response(),
        "echo" => format!("{:?}", parts.headers.get("authorization")).into_response(),
        "limited" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "slow down").into_response(),
        "busy" => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after-ms", "1500")], "").into_response(),
        "auth" => (StatusCode::UNAUTHORIZED, axum::Json(json!({"error": {"message": format!("bad key {CANARY}")}})))
            .into_response(),
        "to" => (StatusCode::FOUND, [("location", query)]).into_response(),
        "big" => vec![b'x'; 2 << 20].into_response(),
        "never" => futures::future::pending().await,
        other => match other.parse::<u16>() {
            Ok(status) => (StatusCode::from_u16(status).unwrap(), "said").into_response(),
            Err(_) => "plain".into_response(),
        },
    }
}

async fn server() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let app = Router::new().route("/{*path}", any(serve)).route("/", any(serve)).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, seen)
}

fn net(open: &[SocketAddr]) -> Net {
    let mut keys = Keys::default();
    // The first server's.
    if let Some(address) = open.first() {
        keys.0.insert(
            "key".to_owned(),
            Credential {
                name: "key".to_owned(),
                secret: Secret::new(CANARY.to_owned()),
                header: "authorization".to_owned(),
                prefix: "Bearer ".to_owned(),
                hosts: vec![address.to_string()],
                is_private_allowed: true,
            },
        );
    }
    Net::new(Arc::new(Gate(open.to_vec())), Arc::new(keys)).unwrap()
}

fn work(config: Value, url: &str, body: Option<Value>) -> Work {
    let one = |port: &str, value: &Value| Input {
        port: port.into(),
        list: false,
        values: vec![Bytes::from(value.to_string())],
    };
    let mut inputs = vec![one("url", &json!(url))];
    inputs.extend(body.map(|body| one("body", &body)));
    Work { inputs, idempotency_key: "exec_1:n1:0".into(), ..crate::runners::debug::tests::work(&config) }
}

async fn ask(net: &Net, config: Value, url: &str, body: Option<Value>) -> Result<Value, Failure> {
    let outputs = super::http_request::run(net.clone(), work(config, url, body)).await?;
    Ok(Value::Object(outputs.iter().map(read).collect()))
}

fn read(output: &Output) -> (String, Value) {
    (output.port.to_string(), serde_json::from_slice(&output.value).unwrap())
}

async fn fault(net: &Net, config: Value, url: &str) -> (ErrorClass, String) {
    let failure = ask(net, config, url, None).await.unwrap_err();
    assert!(!failure.message.contains(CANARY) && !failure.message.contains("?q="), "{}", failure.message);
    (failure.class, failure.code.into_owned())
}

#[tokio::test]
async fn answers_are_text_and_json() {
    let (address, seen) = server().await;
    let (net, base) = (net(&[address]), format!("http://{address}"));
    let answer = ask(&net, json!({"query": {"a": 1, "b": "x y"}}), &format!("{base}/json"), None).await.unwrap();
    assert_eq!(answer, json!({"status": 200, "json": {"n": 1}, "text": "{\"n\":1}"}));
    assert_eq!(
        ask(&net, json!({}), &format!("{base}/p"), None).await.unwrap(),
        json!({"status": 200, "text": "plain"})
    );
    let post = json!({"method": "POST", "idempotencyHeader": "Idempotency-Key", "headers": {"X-A": "b"}});
    ask(&net, post, &format!("{base}/p"), Some(json!({"k": [1]}))).await.unwrap();
    let form = json!({"method": "PUT", "encoding": "form"});
    ask(&net, form, &format!("{base}/p"), Some(json!({"k": "a b&", "n": 1}))).await.unwrap();
    let accepted = json!({"acceptStatuses": [404]});
    assert_eq!(ask(&net, accepted, &format!("{base}/404"), None).await.unwrap()["status"], 404);
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen[0].0, "/json?a=1&b=x+y");
    assert_eq!((&seen[2].2[..], seen[2].1["idempotency-key"].as_bytes()), (&b"{\"k\":[1]}"[..], &b"exec_1:n1:0"[..]));
    assert_eq!(seen[2].1["x-a"], "b");
    assert_eq!(&seen[3].2[..], b"k=a+b%26&n=1");
}

#[tokio::test]
async fn refusals_have_a_class() {
    use ErrorClass::{Auth, InvalidRequest, RateLimited, Retryable, UnknownOutcome};
    let (address, _) = server().await;
    let (net, base) = (net(&[address]), format!("http://{address}"));
    for (path, class, code) in [
        ("limited", RateLimited, "rate_limited"),
        ("busy", RateLimited, "server_busy"),
        ("auth", Auth, "server_refuses_credential"),
        ("402", Auth, "quota_exhausted"),
        ("404", InvalidRequest, "server_refuses"),
        ("500", Retryable, "server_failed"),
        ("503", Retryable, "server_failed"),
        ("big", InvalidRequest, "response_too_large"),
        ("304", InvalidRequest, "redirected"),
    ] {
        let url = format!("{base}/{path}?q={CANARY}");
        assert_eq!(fault(&net, json!({"credential": "key"}), &url).await, (class, code.to_owned()), "{path}");
    }
    let limited = ask(&net, json!({}), &format!("{base}/limited"), None).await.unwrap_err();
    assert_eq!(limited.retry_after, Some(Duration::from_secs(7)));
    let busy = ask(&net, json!({}), &format!("{base}/busy"), None).await.unwrap_err();
    assert_eq!(busy.retry_after, Some(Duration::from_millis(1_500)));
    let post = json!({"method": "POST"});
    assert_eq!(fault(&net, post, &format!("{base}/500")).await, (UnknownOutcome, "answer_unclear".to_owned()));
    let keyed = json!({"method": "POST", "idempotencyHeader": "k"});
    assert_eq!(fault(&net, keyed, &format!("{base}/500")).await, (Retryable, "server_failed".to_owned()));
}

#[tokio::test]
async fn silence_is_unknown_only_where_it_matters() {
    let (address, _) = server().await;
    let (net, base) = (net(&[address]), format!("http://{address}/never"));
    let short = |method: &str| json!({"method": method, "timeoutMs": 100});
    assert_eq!(fault(&net, short("GET"), &base).await, (ErrorClass::Timeout, "server_silent".to_owned()));
    assert_eq!(fault(&net, short("POST"), &base).await, (ErrorClass::UnknownOutcome, "answer_lost".to_owned()));
    let closed = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let net = super::tests::net(&[closed]);
    let unreachable = (ErrorClass::Retryable, "server_unreachable".to_owned());
    assert_eq!(fault(&net, short("POST"), &format!("http://{closed}/")).await, unreachable);
}

#[tokio::test]
async fn the_guard_is_asked_at_every_step() {
    let ((address, _), (other, seen)) = (server().await, server().await);
    let denied = (ErrorClass::InvalidRequest, "address_denied".to_owned());
    let net = net(&[address]);
    assert_eq!(fault(&net, json!({}), &format!("http://{other}/")).await, denied);
    let away = format!("http://{address}/to?http://{other}/p");
    assert_eq!(fault(&net, json!({}), &away).await, denied, "by a redirect");
    let named = format!("http://inside.test:{}/", address.port());
    assert_eq!(fault(&net, json!({}), &named).await, denied, "by a name");
    let public = format!("http://public.test:{}/p", address.port());
    assert_eq!(ask(&net, json!({}), &public, None).await.unwrap()["text"], "plain");
    assert!(seen.0.lock().unwrap().is_empty(), "nothing reached the other server");
    for url in ["file:///etc/passwd", "gopher://x/", "http://a:b@x/", "nonsense", "http://"] {
        assert_eq!(fault(&net, json!({}), url).await, (ErrorClass::InvalidRequest, "url_invalid".to_owned()), "{url}");
    }
    let around = format!("http://{address}/to?/to?/to");
    assert_eq!(fault(&net, json!({}), &around).await.1, "redirects_too_many");
    let post = json!({"method": "POST"});
    assert_eq!(fault(&net, post, &away).await.1, "redirected", "only reading requests are sent on");
}

#[tokio::test]
async fn a_credential_goes_to_its_host_alone_and_shows_nowhere() {
    let ((address, seen), (other, others)) = (server().await, server().await);
    let net = net(&[address, other]);
    let keyed = json!({"credential": "key", "headers": {"x-own": "1"}});
    let echoed = ask(&net, keyed.clone(), &format!("http://{address}/echo"), None).await.unwrap();
    assert_eq!(seen.0.lock().unwrap()[0].1["authorization"], format!("Bearer {CANARY}"));
    assert!(!echoed.to_string().contains(CANARY), "{echoed}");
    let elsewhere = fault(&net, keyed.clone(), &format!("http://{other}/")).await;
    assert_eq!(elsewhere, (ErrorClass::Auth, "credential_not_for_host".to_owned()));
    ask(&net, keyed, &format!("http://{address}/to?http://{other}/p"), None).await.unwrap();
    let others = others.0.lock().unwrap().clone();
    assert!(others[0].1.get("authorization").is_none() && others[0].1.get("x-own").is_none());
    let unknown = fault(&net, json!({"credential": "none"}), &format!("http://{address}/")).await;
    assert_eq!(unknown, (ErrorClass::Auth, "credential_unknown".to_owned()));
    for header in ["Authorization", "cookie", "Host"] {
        let config = json!({"headers": {header: "x"}});
        assert_eq!(fault(&net, config, &format!("http://{address}/")).await.1, "header_not_allowed", "{header}");
    }
    assert!(!format!("{:?}", net.credential(Some("key")).unwrap()).contains(CANARY));
}

#[test]
fn the_effect_follows_the_method() {
    let manifest = HttpRequest(Networks { real: Some(net(&[])), sandbox: None }).manifest();
    assert_eq!(manifest.effect, EffectClass::Blind);
    let rules: Vec<_> =
        manifest.effect_rules.iter().map(|rule| (rule.key.as_str(), rule.or_absent, rule.effect)).collect();
    let expected = [
        ("method", true, EffectClass::Pure),
        ("method", false, EffectClass::Keyed),
        ("idempotencyHeader", false, EffectClass::Keyed),
    ];
    assert_eq!(rules, expected);
}

#[test]
fn pauses_are_read_in_every_form() {
    let headers = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        fault::retry_after(&headers)
    };
    assert_eq!(headers("retry-after", "2"), Some(Duration::from_secs(2)));
    assert_eq!(headers("retry-after", "0.5"), Some(Duration::from_millis(500)));
    assert_eq!(headers("retry-after-ms", "20"), Some(Duration::from_millis(20)));
    assert_eq!(headers("retry-after", "99999999"), Some(crate::limits::RETRY_AFTER_MAX));
    assert_eq!(headers("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    // A date counts from the one that the server says, whatever our own clock shows.
    let mut dated = HeaderMap::new();
    dated.insert("date", "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
    dated.insert("retry-after", "Wed, 21 Oct 2015 07:28:07 GMT".parse().unwrap());
    assert_eq!(fault::retry_after(&dated), Some(Duration::from_secs(7)));
    for nonsense in ["-1", "soon", "NaN", ""] {
        assert_eq!(headers("retry-after", nonsense), None, "{nonsense}");
    }
}

#[tokio::test]
async fn the_sandbox_stands_for_every_server() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, heddle_sandbox::router()).await });
    let net = Net::to_sandbox(address).unwrap();
    let config = json!({"credential": "any", "query": {"q": "1"}});
    let answer = ask(&net, config, "https://api.example.com/v2/x", None).await.unwrap();
    assert_eq!(
        answer["json"],
        json!({"sandbox": true, "method": "GET", "address": "api.example.com/v2/x", "body": null})
    );
    let gate = super::sandbox::SandboxOnly(address);
    for url in ["https://example.com/", "http://127.0.0.1:1/", "http://localhost/"] {
        assert!(gate.judge(&Url::parse(url).unwrap(), true).is_err(), "{url}");
    }
    assert!(!gate.may_reach(SocketAddr::from(([1, 1, 1, 1], 443)), true));
}

#[test]
fn a_test_key_never_reaches_a_real_server() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let (real, sandbox) = (|| Some(net(&[])), || Some(Net::to_sandbox(address).unwrap()));
    let way = |networks: &Networks, sandbox: bool| {
        let found = networks.of(&Work { sandbox, ..work(json!({}), "", None) });
        found.map(|net| net.sandbox.is_some()).map_err(|failure| failure.code.into_owned())
    };
    let both = Networks { real: real(), sandbox: sandbox() };
    assert_eq!((way(&both, false), way(&both, true)), (Ok(false), Ok(true)));
    let alone = Networks { real: real(), sandbox: None };
    assert_eq!((way(&alone, false), way(&alone, true)), (Ok(false), Err("sandbox_unavailable".to_owned())));
    let dry = Networks { real: None, sandbox: sandbox() };
    assert_eq!((way(&dry, false), way(&dry, true)), (Ok(true), Ok(true)));
}

/// Keeps nothing: a value says what was brought.
struct Counter;

impl Blobs for Counter {
    fn get<'a>(&'a self, _: &'a Context, _: &'a Bytes, _: usize) -> BoxFuture<'a, Result<Bytes, Failure>> {
        unreachable!("a download reads no file")
    }

    fn put<'a>(&'a self, _: &'a Context, bytes: Bytes, media_type: &'a str) -> BoxFuture<'a, Result<Bytes, Failure>> {
        let value = json!({"bytes": bytes.len(), "mediaType": media_type});
        async move { Ok(Bytes::from(value.to_string())) }.boxed()
    }
}

#[tokio::test]
async fn downloads_are_bounded_and_of_the_expected_type() {
    let (address, _) = server().await;
    let net = net(&[address]);
    let download = async |config: Value, path: &str| {
        let work = work(config, &format!("http://{address}/{path}"), None);
        let context = Context::alone(crate::outgoing::Outlet::default(), crate::runners::Notes::default());
        let outputs = super::http_download::run(net.clone(), Arc::new(Counter), work, context).await;
        outputs.map(|outputs| read(&outputs[0]).1).map_err(|failure| failure.code.into_owned())
    };
    assert_eq!(download(json!({}), "json").await, Ok(json!({"bytes": 7, "mediaType": "application/json"})));
    assert_eq!(download(json!({}), "big").await.unwrap()["bytes"], 2 << 20);
    assert_eq!(download(json!({"maxBytes": 1_000}), "big").await, Err("response_too_large".to_owned()));
    assert_eq!(download(json!({"expect": ["image/*"]}), "json").await, Err("media_type_unexpected".to_owned()));
    assert!(download(json!({"expect": ["image/*", "application/json"]}), "json").await.is_ok());
    let keyed = json!({"credential": "key"});
    assert_eq!(download(keyed.clone(), "echo").await, Err("secret_in_answer".to_owned()));
    assert!(download(keyed, "json").await.is_ok());
    assert_eq!(download(json!({}), "404").await, Err("server_refuses".to_owned()));
}
