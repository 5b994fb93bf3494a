//! How a connection to the coordinator is opened.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{DnsName, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::Uri;

use crate::keyring::Keyring;
use crate::limits::{CONNECT_WAIT, FIRST_BYTES};
use crate::secret::Secret;
use crate::stream::Stream;

/// How every connection of HTTP/2 begins (RFC 9113, 3.4), with empty settings.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The first byte of a record that says why TLS refuses (RFC 8446, 5.1). HTTP/2 begins with the length of its settings.
const TLS_ALERT: u8 = 21;

/// What a connection shows.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// Nothing: everybody on this machine is trusted.
    Nothing,
    /// That it comes from the same process.
    Secret(Secret),
    /// The certificate that the keyring has at that moment.
    Certificate(Arc<Keyring>),
    /// Nothing yet, but it wants to know whom it speaks to.
    Newcomer(Arc<ClientConfig>),
}

/// Opens connections for a gRPC channel.
#[derive(Debug, Clone)]
pub struct Connector {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) proof: Proof,
}

impl Connector {
    async fn open(self) -> io::Result<TokioIo<Stream>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the coordinator did not answer in time");
        timeout(CONNECT_WAIT, self.prove()).await.map_err(late)?.map(TokioIo::new)
    }

    /// Whether the other end answers plaintext with an alert of TLS.
    pub(crate) async fn answers_as_tls(&self) -> bool {
        let asked = async {
            let mut stream = TcpStream::connect((&*self.host, self.port)).await?;
            stream.write_all(HTTP2_PREFACE).await?;
            let mut first = [0];
            stream.read_exact(&mut first).await.map(|_| first[0])
        };
        matches!(timeout(CONNECT_WAIT, asked).await, Ok(Ok(TLS_ALERT)))
    }

    async fn prove(self) -> io::Result<Stream> {
        let config = match &self.proof {
            Proof::Nothing | Proof::Secret(_) => None,
            Proof::Newcomer(config) => Some(Arc::clone(config)),
            Proof::Certificate(keyring) => {
                let kept = keyring.kept();
                Some(kept.ok_or_else(|| io::Error::other("there is no certificate yet"))?.config)
            }
        };
        let mut stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        if let Proof::Secret(secret) = &self.proof {
            stream.write_all(secret.bytes()).await?;
        }
        let Some(config) = config else { return Ok(Stream::Plain(stream)) };
        // Certificates name members, not machines.
        let name = ServerName::DnsName(DnsName::try_from("coordinator").map_err(io::Error::other)?);
        let mut stream = TlsConnector::from(config).connect(name, stream).await?;
        // A client of TLS 1.3 learns with the first answer only whether its certificate is taken. The coordinator speaks
        // first (its settings of HTTP/2), so a refusal is an error of this connection, in words.
        let mut first = vec![0; FIRST_BYTES];
        let count = stream.read(&mut first).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the coordinator closed the connection"));
        }
        first.truncate(count);
        Ok(Stream::tls(stream, first))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The address is the connector's own: what the URI says is for the other end.
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}
