//! Connections as they come in, and the end of listening.

use std::io;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::limits::ACCEPT_PAUSE;

/// Where the listener stands.
enum Door {
    Open(TcpListener),
    /// Nobody waits for connections any more; those that came about are let in.
    Closing(std::net::TcpListener),
}

/// The connections of a listener until `closing`. Whoever is connected by then, as far as it knows, is let in: closing the
/// listener would break that connection, and nobody could tell whether what was sent on it was carried out. The stream ends
/// when the listener is closed.
pub(crate) fn connections(
    listener: TcpListener,
    closing: CancellationToken,
) -> impl Stream<Item = io::Result<TcpStream>> + Send {
    futures::stream::unfold(Door::Open(listener), move |door| {
        let closing = closing.clone();
        async move {
            let (accepted, door) = next(door, &closing).await?;
            let stream = match accepted {
                Ok(stream) => stream.set_nodelay(true).map(|()| stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    Err(error)
                }
            };
            Some((stream, door))
        }
    })
}

async fn next(door: Door, closing: &CancellationToken) -> Option<(io::Result<TcpStream>, Door)> {
    let listener = match door {
        Door::Open(listener) => tokio::select! {
            biased;
            () = closing.cancelled() => listener.into_std().ok()?,
            accepted = listener.accept() => return Some((accepted.map(|(stream, _)| stream), Door::Open(listener))),
        },
        Door::Closing(listener) => listener,
    };
    // The kernel itself is asked: what the runtime knows of the listener may be older.
    let (stream, _) = loop {
        match listener.accept() {
            // That one has hung up; others may wait behind it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            accepted => break accepted.ok()?,
        }
    };
    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
    Some((stream, Door::Closing(listener)))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn who_is_connected_when_the_door_closes_is_let_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, closing) = (listener.local_addr().unwrap(), CancellationToken::new());
        let mut connections = std::pin::pin!(connections(listener, closing.clone()));
        let early = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(connections.next().await.unwrap().unwrap().peer_addr().unwrap(), early.local_addr().unwrap());
        // The runtime had no chance to hear of these.
        let late: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        closing.cancel();
        for client in &late {
            let server = connections.next().await.unwrap().unwrap();
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
        }
        assert!(connections.next().await.is_none());
        assert!(std::net::TcpStream::connect(address).is_err(), "it still listens");
    }
}
