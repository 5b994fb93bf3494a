//! One request, from the address that a user names to an answer within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use super::credential::Credential;
use super::fault::{self, Repeat};
use super::{Denied, Net};
use crate::limits::{HTTP_REDIRECTS_MAX, URL_BYTES_MAX};
use crate::runners::{ErrorClass, Failure};

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) timeout: Duration,
    pub(super) repeat: Repeat,
    pub(super) credential: Option<Credential>,
}

/// An address that a user wrote.
///
/// # Errors
/// `url_invalid`.
pub(super) fn url(text: &str) -> Result<Url, Failure> {
    let invalid = |what: &str| {
        let message = format!("the address cannot be used: {what}; write it like https://example.com/path");
        Failure::new(ErrorClass::InvalidRequest, "url_invalid", message)
    };
    if text.len() > URL_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    let url = Url::parse(text.trim()).map_err(|error| invalid(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.username().is_empty() && url.password().is_none() => Ok(url),
        "http" | "https" => Err(invalid("it holds a name or a password, which belong into a credential")),
        _ => Err(invalid("its scheme is not http or https")),
    }
}

/// The host as messages name it: never the whole address, which may hold secrets.
pub(super) fn host(url: &Url) -> String {
    url.host_str().unwrap_or("the server").to_owned()
}

impl Net {
    /// Asks. Follows where a reading request is sent on, with a fresh judgement each time and without the credential on
    /// another origin.
    ///
    /// # Errors
    /// No answer came, or the address may not be asked. An answer that says no is an answer.
    pub(super) async fn send(&self, request: Request) -> Result<Response, Failure> {
        if let Some(credential) = request.credential.as_ref().filter(|credential| !credential.is_for(&request.url)) {
            let message = format!(
                "the credential {name:?} is not for {host}; add the host with: heddle secrets set {name} --host {host}",
                name = credential.name,
                host = host(&request.url),
            );
            return Err(Failure::new(ErrorClass::Auth, "credential_not_for_host", message));
        }
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let first = request.url.origin();
        let mut url = request.url.clone();
        for _ in 0..=HTTP_REDIRECTS_MAX {
            let is_first = url.origin() == first;
            let response = self.send_once(&request, url.clone(), is_first).await?;
            let next = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match next.filter(|_| reads && leads_on(response.status())) {
                Some(next) => url = self::url(url.join(next).map_or_else(|_| next.to_owned(), String::from).as_str())?,
                None => return Ok(response),
            }
        }
        let message = format!("{} leads on more than {HTTP_REDIRECTS_MAX} times; name the last address", host(&url));
        Err(Failure::new(ErrorClass::InvalidRequest, "redirects_too_many", message))
    }

    async fn send_once(&self, request: &Request, url: Url, is_first: bool) -> Result<Response, Failure> {
        let is_private_allowed = is_first && request.credential.as_ref().is_some_and(|known| known.is_private_allowed);
        self.egress.judge(&url, is_private_allowed).map_err(|denied| fault::refused_address(&denied))?;
        let name = host(&url);
        let mut builder = self.client(is_private_allowed).request(request.method.clone(), url).timeout(request.timeout);
        if is_first {
            builder = builder.headers(request.headers.clone());
            if let Some(credential) = &request.credential {
                let (name, value) = credential.header()?;
                builder = builder.header(name, value);
            }
            if let Some(body) = &request.body {
                builder = builder.body(body.clone());
            }
        }
        let response = builder.send().await.map_err(|error| fault::unanswered(error, &name, request.repeat))?;
        // Once more, now that it is known who answers.
        if response.remote_addr().is_some_and(|peer| !self.egress.may_reach(peer, is_private_allowed)) {
            let denied = Denied(format!("{name} leads into a private network; use an address of the public internet"));
            return Err(fault::refused_address(&denied));
        }
        Ok(response)
    }
}

fn leads_on(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The whole body, if it is not longer than allowed.
///
/// # Errors
/// `response_too_large`, or it broke off.
pub(super) async fn body(mut response: Response, bytes_max: usize, repeat: Repeat) -> Result<Bytes, Failure> {
    let name = host(response.url());
    let too_large = || {
        let message = format!("the answer of {name} has more than {bytes_max} bytes; ask for less");
        Failure::new(ErrorClass::InvalidRequest, "response_too_large", message)
    };
    if response.content_length().is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let mut all = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| fault::unanswered(error, &name, repeat))? {
        if all.len() + piece.len() > bytes_max {
            return Err(too_large());
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}
