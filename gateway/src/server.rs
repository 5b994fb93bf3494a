//! The listening socket, its connections, and how they end.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use heddle_address_guard::{Guard, GuardError, Policy};
use heddle_trust::{Role, Secret, Way, WayError, WayOptions};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::app::App;
use crate::client::Coordinator;
use crate::hosts::{Hosts, PublicUrl};
use crate::http::router::router;
use crate::layer::front;
use crate::layer::head_clock::{Clocked, Progress};
use crate::layer::unreadable::Named;
use crate::limits::{
    ACCEPT_PAUSE, ANSWER_BUFFER_BYTES, CONNECTIONS_MAX, FOLLOWER_FAREWELL_MAX, FOLLOWER_STALL, HEAD_BYTES_MAX,
    IDLE_LINGER, IDLE_MAX, UNSENT_BYTES_MAX, WRITE_STALL_SPARE,
};
use crate::metrics;
use crate::watch;

/// Where and for whom a gateway works.
#[derive(Debug)]
pub struct Options {
    /// The socket that clients connect to.
    pub listen: Listen,
    /// Where the coordinator listens: `http://host:port` for plaintext, `https://host:port` for TLS, or without a scheme for
    /// whichever fits. It need not be there yet, unless the gateway has to get a certificate first.
    pub coordinator: String,
    /// A join token, or `@` and the file that holds it: needed for TLS until there is a certificate in `data_dir`.
    pub join: Option<String>,
    /// Whether plaintext may leave this machine.
    pub insecure: bool,
    /// What a coordinator in the same process expects.
    pub secret: Option<Secret>,
    /// Where key and certificate are kept; plaintext needs no place.
    pub data_dir: Option<PathBuf>,
    /// Addresses inside the operator's network that files may be fetched from all the same.
    pub fetch_allowed: Vec<SocketAddr>,
    /// What clients call it, `https://host`; without one, addresses in answers begin with what each request calls it.
    pub public_url: Option<PublicUrl>,
    /// How long a client of an event stream may take nothing; 60 seconds, unless this says otherwise.
    pub stream_stall: Option<Duration>,
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
    /// There is no way to the coordinator: its address, the token or the certificate.
    #[error(transparent)]
    Way(#[from] WayError),
    /// The coordinator does not want this gateway.
    #[error("the coordinator refused the gateway ({code}): {message}")]
    Refused {
        /// Stable, `snake_case`.
        code: String,
        /// What to do about it.
        message: String,
    },
    /// The coordinator speaks TLS, and the gateway has nothing to show.
    #[error("{missing}")]
    Tls {
        /// What to do about it.
        missing: String,
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
    /// Keeps the certificate young.
    _renewing: AbortOnDropHandle<()>,
    /// Cuts off the connections that are still open.
    cut: DropGuard,
}

/// Starts a gateway.
///
/// # Errors
/// When the socket cannot be listened on, or there is no way to the coordinator. That no coordinator answers is no error:
/// `/readyz` says so, and requests get 503 until one does. A gateway without a certificate waits for one first.
pub async fn start(options: Options) -> Result<Gateway, StartError> {
    let way = Way::find(WayOptions {
        coordinator: options.coordinator.clone(),
        join: options.join,
        insecure: options.insecure,
        secret: options.secret,
        data_dir: options.data_dir,
        role: Role::Gateway,
        id: None,
    })?;
    if way.meets_tls().await {
        return Err(StartError::Tls { missing: watch::without_certificate(&way) });
    }
    way.prepared().await.map_err(|(code, message)| StartError::Refused { code, message })?;
    let coordinator = Coordinator::new(&way);
    let guard = Guard::new(Policy { allowed: options.fetch_allowed }).map_err(StartError::Guard)?;
    let renewing = AbortOnDropHandle::new(tokio::spawn({
        let way = way.clone();
        async move {
            loop {
                way.renewed().await;
            }
        }
    }));
    let (listener, local_addr) = bound(options.listen).await?;
    let hosts = Hosts::new(options.public_url, local_addr);
    let app = Arc::new(App::new(coordinator, guard, hosts, options.stream_stall.unwrap_or(FOLLOWER_STALL)));
    let watch = watch::watch(Arc::clone(&app), way, options.coordinator.clone());
    let (stopping, cut, connections) = (app.stopping.clone(), CancellationToken::new(), TaskTracker::new());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    metrics::register(&app, &places);
    let doorman = Doorman {
        router: router(Arc::clone(&app)),
        app,
        stopping: stopping.clone(),
        cut: cut.clone(),
        connections: connections.clone(),
        places,
    };
    // Ends when the gateway stops; the tracker waits for it.
    connections.spawn(doorman.accept(listener));
    connections.spawn(watch);
    tracing::info!(%local_addr, coordinator = options.coordinator, "the gateway listens");
    Ok(Gateway { local_addr, stopping, connections, _renewing: renewing, cut: cut.drop_guard() })
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
    app: Arc<App>,
    stopping: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    /// One for each connection.
    places: Arc<Semaphore>,
}

impl Doorman {
    async fn accept(self, listener: TcpListener) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                biased;
                () = self.cut.cancelled() => return,
                () = self.stopping.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.let_in(stream, place),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Who is connected already, as far as it knows, is let in. The kernel itself is asked: what the runtime knows of the
        // listener may be older.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok(place) = self.places.clone().try_acquire_owned() {
            match listener.accept() {
                Ok((stream, _)) => {
                    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    if let Ok(stream) = stream {
                        self.let_in(stream, place);
                    }
                }
                // That one has hung up; others may wait behind it.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
    }

    fn let_in(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let (router, app) = (self.router.clone(), Arc::clone(&self.app));
        let served = serve(stream, router, app, self.stopping.clone(), self.cut.clone(), place);
        self.connections.spawn(served);
    }
}

/// Lets the kernel take no more of an answer ahead of a client that does not read: it would take megabytes.
fn bound_unsent(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        tracing::debug!(%error, "what is not sent of a connection is not bounded");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
}

/// Serves one connection to its end.
async fn serve(
    stream: TcpStream,
    router: Router,
    app: Arc<App>,
    stopping: CancellationToken,
    cut: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has no address any more");
        return;
    }
    let (is_last, progress) = (stopping.clone(), Progress::default());
    bound_unsent(&stream);
    let write_stall_max = app.stream_stall + FOLLOWER_FAREWELL_MAX + WRITE_STALL_SPARE;
    let connection = Clocked::new(Named::new(TokioIo::new(stream)), progress.clone(), write_stall_max);
    let service = service_fn(move |request| {
        let (router, app, is_last) = (router.clone(), Arc::clone(&app), is_last.clone());
        let answering = progress.begin();
        async move {
            let mut response = front::answer(router, &app.hosts, &app.numbers, request).await;
            if is_last.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answering.until_sent(response))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(ANSWER_BUFFER_BYTES)
        .serve_connection(connection, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cut.cancelled() => return,
        () = stopping.cancelled() => {
            // The next request may be on its way already: it is answered, and its answer says that it was the last. What has
            // arrived is read before the time is looked at.
            let ended = tokio::select! {
                biased;
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
