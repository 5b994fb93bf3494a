//! How connections come in: who may, and who they are.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::StreamExt as _;
use heddle_trust::{Certified, Secret, Stream, read};
use rustls::{CertificateError, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::counters::Refused;
use crate::limits::{
    ACCEPTED_WAITING_MAX, FAREWELL_TIME_MAX, HANDSHAKE_WAIT, HANDSHAKES_MAX, NEWCOMER_TIME_MAX, REFUSED_READS_MAX,
    REFUSED_WAIT,
};
use crate::rpc::incoming;
use crate::shared::Shared;

/// Who is let in.
#[derive(Clone)]
pub(crate) enum Entrance {
    /// Whoever reaches the port, if it comes from this machine or `insecure` says that it need not.
    Plaintext { insecure: bool },
    /// Whoever begins with the secret: it comes from this process.
    Secret(Secret),
    /// Whoever speaks TLS. Without a certificate it may only ask for one.
    Tls { config: Arc<ServerConfig>, cluster: Arc<str>, newcomers: Arc<Semaphore> },
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// Somebody who is trusted as a gateway and as an agent.
    Trusted,
    /// Somebody without a certificate.
    Newcomer,
    /// A member.
    Member(Arc<Certified>),
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Entered {
    stream: Stream,
    peer: Peer,
    visit: Option<Visit>,
    /// Since it was closed on this side: when the other end must have closed it too.
    farewell_ends: Option<Pin<Box<Sleep>>>,
}

/// A newcomer's time: there are only so many at once, and none stays.
#[derive(Debug)]
struct Visit {
    ends: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// Takes connections until `stopping`, and then those that came about before it. Each proves itself in a task of its own, within bounds, so that nobody holds up
/// others.
pub(crate) fn open(
    listener: TcpListener,
    entrance: Entrance,
    shared: Arc<Shared>,
    stopping: CancellationToken,
) -> ReceiverStream<io::Result<Entered>> {
    let (entered, waiting) = mpsc::channel(ACCEPTED_WAITING_MAX);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut connections = std::pin::pin!(incoming::connections(listener, stopping));
        // Never closed: it lives as long as this task.
        while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
            let Some(accepted) = connections.next().await else { return };
            // What could not be accepted, or has hung up already, has no address.
            let Ok((stream, from)) = accepted.and_then(|stream| stream.peer_addr().map(|from| (stream, from))) else {
                continue;
            };
            let (entrance, shared, entered) = (entrance.clone(), Arc::clone(&shared), entered.clone());
            tokio::spawn(async move {
                let proved = timeout(HANDSHAKE_WAIT, entrance.admit(stream, from)).await;
                drop(permit);
                match proved.unwrap_or(Err(Refused::Silent)) {
                    // The services may have ended.
                    Ok(connection) => drop(entered.send(Ok(connection)).await),
                    Err(refused) => shared.counters.refuse(refused, &from),
                }
            });
        }
    });
    ReceiverStream::new(waiting)
}

impl Entrance {
    async fn admit(self, mut stream: TcpStream, from: SocketAddr) -> Result<Entered, Refused> {
        match self {
            Entrance::Plaintext { insecure } if insecure || from.ip().to_canonical().is_loopback() => {
                Ok(Entered::trusted(stream))
            }
            Entrance::Plaintext { .. } => Err(Refused::Plaintext),
            Entrance::Secret(secret) => {
                let mut shown = [0; Secret::BYTES];
                stream.read_exact(&mut shown).await.map_err(|_| Refused::WrongSecret)?;
                let is_ours = secret.is(&shown);
                is_ours.then_some(()).ok_or(Refused::WrongSecret)?;
                Ok(Entered::trusted(stream))
            }
            Entrance::Tls { config, cluster, newcomers } => {
                let stream = match TlsAcceptor::from(config).accept(stream).into_fallible().await {
                    Ok(stream) => stream,
                    Err((error, stream)) => {
                        let_read(stream).await;
                        return Err(reason(&error));
                    }
                };
                let mut visit = None;
                let peer = match stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
                    None => {
                        let _place = newcomers.try_acquire_owned().map_err(|_| Refused::Crowd)?;
                        visit = Some(Visit { ends: Box::pin(sleep(NEWCOMER_TIME_MAX)), _place });
                        Peer::Newcomer
                    }
                    Some(shown) => {
                        let certified = read(shown).map_err(|_| Refused::BadCertificate)?;
                        let is_ours = certified.member.cluster == *cluster;
                        is_ours.then_some(()).ok_or(Refused::BadCertificate)?;
                        Peer::Member(Arc::new(certified))
                    }
                };
                Ok(Entered { stream: Stream::tls(stream, Vec::new()), peer, visit, farewell_ends: None })
            }
        }
    }
}

/// Lets the other end read why it is refused: a connection that is closed with bytes unread may take the reason with it.
async fn let_read(mut stream: TcpStream) {
    let rest = async {
        // It may be gone already.
        let _gone = stream.shutdown().await;
        let mut unread = [0; 1_024];
        for _ in 0..REFUSED_READS_MAX {
            if !matches!(stream.read(&mut unread).await, Ok(1..)) {
                return;
            }
        }
    };
    let _late = timeout(REFUSED_WAIT, rest).await;
}

/// Why TLS has refused.
fn reason(error: &io::Error) -> Refused {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Refused::CertificateExpired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Refused::OtherAuthority,
            _ => Refused::BadCertificate,
        },
        Some(rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. }) => Refused::Plaintext,
        Some(rustls::Error::AlertReceived(_)) => Refused::Distrusted,
        Some(_) => Refused::BadHandshake,
        None => Refused::Silent,
    }
}

impl Entered {
    fn trusted(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream), peer: Peer::Trusted, visit: None, farewell_ends: None }
    }
}

impl Connected for Entered {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Entered {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.visit.as_mut().is_some_and(|visit| visit.ends.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Entered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    /// Closes it for writing, and waits until the other end, which now knows, has closed it as well. Whoever still sends to a
    /// connection that is gone has its writes fail, before it has read the farewell that says which of its calls were taken.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ends = match &mut this.farewell_ends {
            Some(ends) => ends,
            none => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                none.insert(Box::pin(sleep(FAREWELL_TIME_MAX)))
            }
        };
        let mut unread = [0; 1_024];
        loop {
            if ends.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut into = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut into)) {
                Ok(()) if !into.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a connection that begins with these bytes.
    async fn admitted(entrance: Entrance, from: &str, begin: &[u8]) -> Result<Peer, Refused> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(begin).await.unwrap();
        client.shutdown().await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        entrance.admit(stream, from.parse().unwrap()).await.map(|entered| entered.peer)
    }

    #[tokio::test]
    async fn plaintext_comes_from_this_machine_unless_it_is_insecure() {
        for (from, insecure, expected) in [
            ("127.0.0.1:1", false, true),
            ("[::1]:1", false, true),
            ("[::ffff:127.0.0.1]:1", false, true),
            ("192.0.2.1:1", false, false),
            ("[2001:db8::1]:1", false, false),
            ("192.0.2.1:1", true, true),
        ] {
            let admitted = admitted(Entrance::Plaintext { insecure }, from, b"").await;
            assert_eq!(matches!(admitted, Ok(Peer::Trusted)), expected, "{from}");
            assert!(expected || admitted.is_err_and(|refused| refused == Refused::Plaintext));
        }
    }

    #[tokio::test]
    async fn who_still_writes_when_it_is_closed_can_read_the_farewell() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut entered = Entered::trusted(listener.accept().await.unwrap().0);
        let closing = tokio::spawn(async move {
            entered.write_all(b"farewell").await.unwrap();
            entered.shutdown().await.unwrap();
        });
        let mut said = Vec::new();
        // Its end has come by then.
        client.read_to_end(&mut said).await.unwrap();
        for _ in 0..100 {
            client.write_all(b"a call that came too late").await.unwrap();
        }
        assert_eq!(said, b"farewell");
        assert!(!closing.is_finished(), "it did not wait for the other end");
        drop(client);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn who_never_closes_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut entered = Entered::trusted(listener.accept().await.unwrap().0);
        timeout(10 * FAREWELL_TIME_MAX, entered.shutdown()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_who_knows_the_secret_comes_in() {
        let secret = Secret::draw().unwrap();
        let entrance = || Entrance::Secret(secret.clone());
        assert!(matches!(admitted(entrance(), "127.0.0.1:1", secret.bytes()).await, Ok(Peer::Trusted)));
        let other = Secret::draw().unwrap();
        let http = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more than the secret has";
        for begin in [&b""[..], other.bytes(), &secret.bytes()[..31], http] {
            let admitted = admitted(entrance(), "127.0.0.1:1", begin).await;
            assert!(matches!(admitted, Err(Refused::WrongSecret)), "{begin:?}");
        }
    }
}
