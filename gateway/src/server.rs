//! The listening socket, its connections, and how they end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use futures::FutureExt;
use heddle_address_guard::{Guard, GuardError, Policy};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::client::Coordinator;
use crate::http::router::router;
use crate::layer::front;
use crate::layer::unreadable::Named;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_READ_MAX, IDLE_LINGER};

/// Where and for whom a gateway works.
#[derive(Debug)]
pub struct Options {
    /// The socket that clients connect to.
    pub listen: Listen,
    /// The coordinator's address, `http://host:port`. It need not be there yet.
    pub coordinator: String,
    /// Addresses inside the operator's network that files may be fetched from all the same.
    pub fetch_allowed: Vec<SocketAddr>,
}

/// A socket to listen on.
#[derive(Debug)]
pub enum Listen {
    /// To be bound. Port 0 takes any free port.
    Address(SocketAddr),
    /// Bound already.
    Bound(std::net::TcpListener),
}

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The socket cannot be listened on.
    #[error("cannot listen on {address}: choose another address, or end what uses it")]
    Listen {
        /// What was asked for.
        address: String,
        #[source]
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The coordinator's address is no URL.
    #[error("{address:?} is not the address of a coordinator: expected http://host:port")]
    Coordinator {
        /// What was given.
        address: String,
        #[source]
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// Files cannot be fetched.
    #[error("requests to other servers cannot be made on this machine")]
    Guard(#[source] GuardError),
}

/// A gateway that serves. Dropped, it stops at once.
#[derive(Debug)]
pub struct Gateway {
    local_addr: SocketAddr,
    stopping: CancellationToken,
    connections: TaskTracker,
    /// Cuts off the connections that are still open.
    cut: DropGuard,
}

/// Starts a gateway.
///
/// # Errors
/// When the socket cannot be listened on, or the coordinator's address is no URL. That no coordinator answers there is
/// no error: `/readyz` says so, and requests get 503 until one does.
pub async fn start(options: Options) -> Result<Gateway, StartError> {
    let coordinator = Coordinator::new(&options.coordinator)
        .map_err(|source| StartError::Coordinator { address: options.coordinator.clone(), source })?;
    let guard = Guard::new(Policy { allowed: options.fetch_allowed }).map_err(StartError::Guard)?;
    let (listener, local_addr) = bound(options.listen).await?;
    let app = Arc::new(App::new(coordinator, guard));
    let (stopping, cut, connections) = (app.stopping.clone(), CancellationToken::new(), TaskTracker::new());
    let doorman =
        Doorman { router: router(app), stopping: stopping.clone(), cut: cut.clone(), connections: connections.clone() };
    // Ends when the gateway stops; the tracker waits for it.
    connections.spawn(doorman.accept(listener));
    tracing::info!(%local_addr, coordinator = options.coordinator, "the gateway listens");
    Ok(Gateway { local_addr, stopping, connections, cut: cut.drop_guard() })
}

impl Gateway {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes no more connections, answers what was asked, and cuts off what is still open after `grace`.
    ///
    /// Long polls answer at once with how their run stands; event streams end, and can be taken up elsewhere.
    pub async fn shutdown(self, grace: Duration) {
        self.stopping.cancel();
        self.connections.close();
        if timeout(grace, self.connections.wait()).await.is_err() {
            tracing::warn!(open = self.connections.len(), "cutting off connections that did not end in time");
        }
        drop(self.cut);
        self.connections.wait().await;
    }
}

async fn bound(listen: Listen) -> Result<(TcpListener, SocketAddr), StartError> {
    let (address, listener) = match listen {
        Listen::Address(address) => (address.to_string(), TcpListener::bind(address).await),
        Listen::Bound(listener) => {
            let address = listener.local_addr().map_or_else(|_| "the given socket".to_owned(), |at| at.to_string());
            (address, listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)))
        }
    };
    listener
        .and_then(|listener| listener.local_addr().map(|local_addr| (listener, local_addr)))
        .map_err(|source| StartError::Listen { address, source })
}

/// Lets connections in.
struct Doorman {
    router: Router,
    stopping: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Doorman {
    async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.cut.cancelled() => return,
                // Who is connected already, as far as it knows, is let in.
                () = self.stopping.cancelled() => match listener.accept().now_or_never() {
                    Some(accepted) => accepted,
                    None => return,
                },
            };
            match accepted {
                Ok((stream, _)) => {
                    let served = serve(stream, self.router.clone(), self.stopping.clone(), self.cut.clone(), place);
                    self.connections.spawn(served);
                }
                Err(_) if self.stopping.is_cancelled() => return,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve(
    stream: TcpStream,
    router: Router,
    stopping: CancellationToken,
    cut: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has no address any more");
        return;
    }
    let is_last = stopping.clone();
    let service = service_fn(move |request| {
        let (router, is_last) = (router.clone(), is_last.clone());
        async move {
            let mut response = front::answer(router, request).await;
            if is_last.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(Named::new(TokioIo::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cut.cancelled() => return,
        () = stopping.cancelled() => {
            // The next request may be on its way already: it is answered, and its answer says that it was the last.
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = cut.cancelled() => return,
                () = sleep(IDLE_LINGER) => None,
            };
            match ended {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => ended,
                        () = cut.cancelled() => return,
                    }
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
