//! What this gateway is called: by its operator, and by those who ask it.
//!
//! A gateway that listens on a loopback address is for this machine. A page in a browser here can make its own name mean
//! 127.0.0.1 and then ask us as its own origin (DNS rebinding); but it cannot change the name that the browser sends. So
//! such a gateway answers to names of this machine only, and to the one that its operator gives it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use thiserror::Error;
use url::Url;

use crate::http::error::ApiError;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The names under which requests are answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    public: Option<PublicUrl>,
    /// Whether only this machine is meant to get here.
    is_local: bool,
}

/// What clients call a gateway: scheme, host and port, which the addresses of its files begin with.
#[derive(Debug, Clone)]
pub struct PublicUrl {
    origin: String,
    host: String,
}

impl PublicUrl {
    /// The address, without a slash at its end.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// The public address is none.
#[derive(Debug, Error)]
#[error("{text:?} is no address of a server: write it like https://heddle.example.org, without a path")]
pub struct PublicUrlError {
    /// What was given.
    text: String,
}

impl Hosts {
    pub(crate) fn new(public: Option<PublicUrl>, local_addr: SocketAddr) -> Self {
        Self { public, is_local: local_addr.ip().to_canonical().is_loopback() }
    }

    /// Refuses a request that came under a name which is none of ours.
    pub(crate) fn judge(&self, head: &Parts) -> Result<(), ApiError> {
        if !self.is_local {
            return Ok(());
        }
        let named = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
        let asked = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        for name in named.into_iter().chain(asked) {
            let name = std::str::from_utf8(name).unwrap_or_default();
            if !self.is_ours(name) {
                let message = "this gateway is for its own machine, and the Host of this request is none of its names: ask \
                               for localhost, or start it with --public-url and the name that clients use";
                return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", message));
            }
        }
        Ok(())
    }

    fn is_ours(&self, authority: &str) -> bool {
        let host = host_of(authority);
        let is_public = self.public.as_ref().is_some_and(|public| public.host.eq_ignore_ascii_case(host));
        is_public
            || host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    }

    /// What addresses that an answer holds begin with: the operator's word, else what the caller has called us (or the proxy
    /// before us). It goes to that caller alone, and is kept nowhere.
    pub(crate) fn origin(&self, head: &Parts) -> Result<String, ApiError> {
        if let Some(public) = &self.public {
            return Ok(public.origin.clone());
        }
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = if text(FORWARDED_PROTO) == Some("https") { "https" } else { "http" };
        let asked = || head.uri.authority().map(|authority| authority.as_str());
        let host = text(header::HOST).or_else(asked).unwrap_or_default();
        let is_host =
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
        match is_host {
            true => Ok(format!("{scheme}://{host}")),
            false => Err(ApiError::bad_request("invalid_host", "the Host header of this request names no host")),
        }
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let wrong = || PublicUrlError { text: text.to_owned() };
        let url = Url::parse(text).map_err(|_| wrong())?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host_str().filter(|_| is_plain).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { origin: url.origin().ascii_serialization(), host })
    }
}

/// A host without its port and without the brackets of IPv6.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default().trim_end_matches('.'),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn head(host: &str, forwarded: Option<&str>) -> Parts {
        let mut request = Request::builder().uri("/").header("Host", host);
        if let Some(scheme) = forwarded {
            request = request.header("X-Forwarded-Proto", scheme);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_gateway_of_this_machine_answers_to_its_names() {
        let near = Hosts::new(None, "127.0.0.1:8080".parse().unwrap());
        for ours in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.8.8", "[::1]:8080", "localhost."] {
            assert!(near.judge(&head(ours, None)).is_ok(), "{ours}");
        }
        for foreign in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1:8080", "", "[::2]"]
        {
            let refusal = near.judge(&head(foreign, None)).unwrap_err();
            assert_eq!(
                (refusal.status, &*refusal.code),
                (StatusCode::MISDIRECTED_REQUEST, "unknown_host"),
                "{foreign}"
            );
        }
        let absolute = Request::builder().uri("http://evil.example/").header("Host", "localhost").body(()).unwrap();
        assert!(near.judge(&absolute.into_parts().0).is_err());
        let named = Hosts::new(Some("https://heddle.example.org".parse().unwrap()), "[::1]:8080".parse().unwrap());
        assert!(
            named.judge(&head("Heddle.example.org:443", None)).is_ok() && named.judge(&head("other", None)).is_err()
        );
        let far = Hosts::new(None, "0.0.0.0:8080".parse().unwrap());
        assert!(far.judge(&head("whatever.example", None)).is_ok(), "it is asked under names that nobody has told it");
    }

    #[test]
    fn addresses_begin_with_what_the_operator_says() {
        let any = "0.0.0.0:8080".parse().unwrap();
        let plain = Hosts::new(None, any);
        assert_eq!(plain.origin(&head("h:1", None)).unwrap(), "http://h:1");
        assert_eq!(plain.origin(&head("h", Some("https"))).unwrap(), "https://h");
        assert_eq!(&*plain.origin(&head("h/x", None)).unwrap_err().code, "invalid_host");
        let named = Hosts::new(Some("https://heddle.example.org/".parse().unwrap()), any);
        assert_eq!(named.origin(&head("evil.example", Some("http"))).unwrap(), "https://heddle.example.org");
        for wrong in ["heddle.example.org", "ftp://h", "https://h/path", "https://u:p@h", "https://h?x=1", ""] {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
    }
}
