//! `/metrics`: the numbers of the parts of this process, for Prometheus, on a port of its own.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use clap::Args;
use heddle_telemetry::metrics::{CONTENT_TYPE, collect, page};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::contradiction::{is_same_place, refuse};
use crate::error::{Context, Exit, Result};
use crate::limits::{METRICS_ACCEPT_PAUSE, METRICS_CONNECTION_TIME_MAX, METRICS_CONNECTIONS_MAX};
use crate::service::bind_for;
use crate::ui::note;

/// Where numbers are given out.
#[derive(Debug, Clone, Copy, Args)]
pub struct Metrics {
    /// Where Prometheus reads this part's numbers at /metrics, without a key [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

impl Metrics {
    /// Refuses the address that something else of this part listens on.
    pub fn check(self, setting: &str, listen: SocketAddr) -> Result<()> {
        let is_same = self.metrics.is_some_and(|metrics| is_same_place(metrics, listen));
        let what = format!("--metrics and {setting} both want port {}", listen.port());
        refuse(is_same, what, "choose another port for one of them")
    }

    /// Gives the numbers of parts that start after this out, if anybody wants them, until the process ends.
    pub fn serve(self) -> Result<()> {
        let Some(address) = self.metrics else { return Ok(()) };
        let listener = bind_for("--metrics", address)?;
        if !address.ip().is_loopback() {
            note(
                "whoever reaches the address of --metrics reads the numbers without a key: keep it in a private network",
            );
        }
        collect();
        let listening = listener.local_addr().context(Exit::Usage, "cannot listen for scrapes")?;
        tracing::info!("numbers for Prometheus are at http://{listening}/metrics");
        tokio::spawn(accept(listener));
        Ok(())
    }
}

async fn accept(listener: TcpListener) {
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "numbers are not given out"),
    };
    let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(async move {
                let _place = place;
                // Whoever does not read its answer in time is cut off.
                let _late = timeout(METRICS_CONNECTION_TIME_MAX, answer(stream)).await;
            })),
            Err(error) => {
                tracing::warn!(%error, "a scrape could not be accepted");
                sleep(METRICS_ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(respond(&request)) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(METRICS_CONNECTION_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a scrape broke");
    }
}

fn respond(request: &Request<Incoming>) -> Response<String> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, text) = match request.uri().path() {
        "/metrics" if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "read it with GET\n".to_owned()),
        "/metrics" => match page() {
            Ok(page) => (StatusCode::OK, CONTENT_TYPE, page),
            Err(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "the numbers could not be written\n".to_owned())
            }
        },
        _ => (StatusCode::NOT_FOUND, "text/plain", "there is only /metrics here\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
