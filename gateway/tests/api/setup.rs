//! A gateway with its coordinator, and a client for both.

use std::net::SocketAddr;

use heddle_gateway::{Gateway, Listen, Options};
use heddle_proto::control::Failure;
use heddle_proto::key::{self, KeyKind};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::fake::Fake;

pub(crate) struct Api {
    pub(crate) gateway: Gateway,
    pub(crate) fake: Fake,
    pub(crate) http: reqwest::Client,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

pub(crate) fn live_key() -> String {
    key::mint(KeyKind::Live, &[7; 32])
}

impl Api {
    pub(crate) async fn start() -> Self {
        let (fake, coordinator) = Fake::start().await;
        Self { gateway: gateway(coordinator).await, fake, http: reqwest::Client::new() }
    }

    /// A gateway whose way to the coordinator can be cut.
    pub(crate) async fn behind(proxy: &Proxy, fake: Fake) -> Self {
        Self { gateway: gateway(proxy.address).await, fake, http: reqwest::Client::new() }
    }

    /// A gateway whose coordinator is not there.
    pub(crate) async fn alone() -> Self {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { gateway: gateway(nobody).await, fake: Fake::default(), http: reqwest::Client::new() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.local_addr())
    }

    /// A request with a good key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(live_key())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        answer(self.json(Method::POST, path, json)).await
    }

    pub(crate) fn json(&self, method: Method, path: &str, json: &str) -> RequestBuilder {
        self.request(method, path).header("Content-Type", "application/json").body(json.to_owned())
    }

    /// The next call of this method is refused.
    pub(crate) fn refuse(&self, method: &'static str, http_status: u32, code: &str) {
        let failure = Failure {
            code: code.to_owned(),
            http_status,
            message: "a sentence".to_owned(),
            retry_after_seconds: if matches!(http_status, 429 | 503) { 7 } else { 0 },
            ..Failure::default()
        };
        self.fake.script().failures.insert(method, failure);
    }

    /// Sends these bytes and reads until the gateway closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.gateway.local_addr()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

async fn gateway(coordinator: SocketAddr) -> Gateway {
    // For the clients of the tests: the HTTP library brings no cryptography of its own.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let listen = Listen::Address("127.0.0.1:0".parse().unwrap());
    let options = Options {
        listen,
        coordinator: format!("http://{coordinator}"),
        join: None,
        insecure: false,
        secret: None,
        data_dir: None,
        fetch_allowed: Vec::new(),
        public_url: None,
        stream_stall: None,
    };
    heddle_gateway::start(options).await.unwrap()
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answer = Answer { status, headers, text, body };
    answer.check_headers();
    answer
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    /// What every answer carries.
    fn check_headers(&self) {
        assert!(!self.header("x-request-id").is_empty());
        assert_eq!(self.header("x-ratelimit-limit"), "2147483647");
        assert_eq!(self.header("x-ratelimit-remaining"), "2147483647");
        assert_eq!(self.header("x-ratelimit-reset").parse::<u64>().unwrap() % 60, 0);
    }

    /// Checks a refusal, whatever its form.
    pub(crate) fn check_refusal(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.body["requestId"], self.header("x-request-id"));
        let sentence = self.body["message"].as_str().unwrap();
        match &self.body["error"] {
            Value::String(error) => assert_eq!(error, sentence),
            error => {
                assert_eq!((&error["code"], &error["message"]), (&self.body["code"], &self.body["message"]));
                assert!(error["type"].is_string());
            }
        }
        assert_eq!(self.header("content-type"), "application/json");
    }

    /// Checks that the object stands at top level and under `data`.
    pub(crate) fn check_envelope(&self) {
        let data = self.body["data"].as_object().unwrap_or_else(|| panic!("no data in {}", self.text));
        for (name, value) in data {
            assert_eq!(&self.body[name], value, "{name}");
        }
    }
}

/// A wire that can be cut.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Each value is a new wire; connections of older ones are gone.
    wire: watch::Sender<u32>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (wire, watched) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = watched.clone();
                cut.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, wire }
    }

    /// Ends all connections. New ones are let through.
    pub(crate) fn cut(&self) {
        self.wire.send_modify(|wire| *wire += 1);
    }
}
