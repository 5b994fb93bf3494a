//! What is no request at all is answered by the HTTP library itself, with a bare status. Here such an answer gets what
//! every other answer has: a name, a code and a sentence.

use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use serde_json::json;

use super::request_id::RequestId;

/// No bare answer is longer, and no other answer is as short.
const BARE_BYTES_MAX: usize = 160;

/// A connection whose bare answers are replaced on their way out.
pub(crate) struct Named<C> {
    connection: C,
    /// What is written in place of a bare answer, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
}

impl<C> Named<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self { connection, instead: None }
    }
}

impl<C: Read + Unpin> Read for Named<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

impl<C: Write + Unpin> Write for Named<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        let this = &mut *self;
        let Some(status) = bare_status(bytes) else { return Pin::new(&mut this.connection).poll_write(cx, bytes) };
        let (answer, written) = this.instead.get_or_insert_with(|| (answer(status), 0));
        while *written < answer.len() {
            match ready!(Pin::new(&mut this.connection).poll_write(cx, &answer[*written..]))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => *written += count,
            }
        }
        this.instead = None;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        match parts {
            [alone] if bare_status(alone).is_some() => self.poll_write(cx, alone),
            _ => Pin::new(&mut self.connection).poll_write_vectored(cx, parts),
        }
    }
}

/// The status of an answer that the HTTP library made by itself; all others carry a request's name.
fn bare_status(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > BARE_BYTES_MAX || !bytes.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?;
    let is_bare = head.contains("\r\nconnection: close\r\ncontent-length: 0\r\n") && head.ends_with("\r\n\r\n");
    is_bare.then(|| head.get("HTTP/1.1 ".len()..)?.split_once("\r\n").map(|(status, _)| status)).flatten()
}

fn answer(status: &str) -> Vec<u8> {
    let (code, message) = match status.get(..3) {
        Some("431" | "414") => ("head_too_large", "the request's address or headers are too long; send less of them"),
        _ => ("malformed_request", "what came is no HTTP/1.1 request that can be read; look at how it is written"),
    };
    let id = RequestId::mint();
    let error = json!({ "code": code, "message": message, "type": "invalid_request_error" });
    let body = json!({ "code": code, "error": error, "message": message, "requestId": id.as_str() }).to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-request-id: {}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        id.as_str(),
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_librarys_own_answers_are_bare() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
                    date: Tue, 24 Nov 2026 04:16:49 GMT\r\n\r\n";
        assert_eq!(bare_status(bare.as_bytes()), Some("431 Request Header Fields Too Large"));
        for other in
            ["", "{}", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 404 Not Found\r\nx-request-id: a\r\n\r\n", &bare[..90]]
        {
            assert_eq!(bare_status(other.as_bytes()), None, "{other}");
        }
        let answer = String::from_utf8(answer("400 Bad Request")).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())) && head.contains("x-request-id: req_"));
    }
}
