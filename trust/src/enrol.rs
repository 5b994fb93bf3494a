//! How a certificate is got, and why it is not.

use std::error::Error;
use std::sync::Arc;

use heddle_error_chain::chain;
use heddle_proto::control::Failure;
use heddle_proto::enrol::enrol_client::EnrolClient;
use heddle_proto::enrol::{Enrolled, JoinRequest, RenewRequest};
use prost::Message as _;
use rustls::{AlertDescription, CertificateError};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::connect::{Connector, Proof};
use crate::keyring::{Keyring, config};
use crate::limits::ENROL_WAIT;
use crate::member::Role;
use crate::verify::{Anchor, Distrust};
use crate::way::Trouble;

/// Who asks for a certificate.
#[derive(Debug)]
pub(crate) struct Applicant {
    pub(crate) role: Role,
    pub(crate) id: String,
    pub(crate) keyring: Arc<Keyring>,
}

impl Applicant {
    /// The first certificate, for a token. Asking again with the same key is the same request.
    pub(crate) async fn join(&self, way: Connector, token: String, authority: [u8; 32]) -> Result<(), Trouble> {
        let config = config(Anchor::Fingerprint(authority), None).map_err(|error| Trouble::later(&error))?;
        let way = Connector { proof: Proof::Newcomer(config), ..way };
        let (role, id) = (self.role.as_str().to_owned(), self.id.clone());
        let request = JoinRequest { token, role, id, request: self.request()?.into() };
        // Somebody sits before this machine: a clock that is wrong is for them to see.
        let channel = channel(way).await.map_err(|trouble| match trouble {
            Trouble::Later { message } if is_about_time(&message) => {
                let clock = "this machine's clock and the coordinator's differ: set the one that is wrong";
                Trouble::Final { code: "wrong_clock".into(), message: format!("{clock} ({message})") }
            }
            trouble => trouble,
        })?;
        let mut client = EnrolClient::new(channel);
        let enrolled = client.join(timed(request)).await.map_err(|status| Trouble::of_status(&status))?;
        self.keep(enrolled.into_inner())
    }

    /// The next certificate, for the one that counts still.
    pub(crate) async fn renew(&self, way: Connector) -> Result<(), Trouble> {
        let request = RenewRequest { request: self.request()?.into() };
        let mut client = EnrolClient::new(channel(way).await?);
        let enrolled = client.renew(timed(request)).await.map_err(|status| Trouble::of_status(&status))?;
        self.keep(enrolled.into_inner())
    }

    fn request(&self) -> Result<Vec<u8>, Trouble> {
        self.keyring.request().map_err(|error| Trouble::later(&error))
    }

    fn keep(&self, enrolled: Enrolled) -> Result<(), Trouble> {
        let kept = self.keyring.keep(&enrolled.certificate, &enrolled.authority, self.role, &self.id);
        let certified = kept.map_err(|error| {
            let message = format!("the certificate cannot be kept in {}: {error}", self.keyring.folder().display());
            Trouble::Final { code: "certificate_not_kept".into(), message }
        })?;
        tracing::info!(member = certified.member.uri(), until = %instant(certified.not_after), "has a certificate");
        Ok(())
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ENROL_WAIT);
    request
}

async fn channel(way: Connector) -> Result<Channel, Trouble> {
    let endpoint = Endpoint::from_static("http://coordinator").connect_timeout(ENROL_WAIT);
    endpoint.connect_with_connector(way).await.map_err(|error| Trouble::of_error(&error))
}

impl Trouble {
    /// It may go better next time.
    pub(crate) fn later(error: &(dyn Error + 'static)) -> Self {
        Trouble::Later { message: chain(error) }
    }

    /// Why a connection did not come about, or broke off.
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let message = chain(error);
        match reason(&message) {
            Some((code, sentence)) => Trouble::Final { code: code.into(), message: format!("{sentence} ({message})") },
            None => Trouble::Later { message },
        }
    }

    /// Why a call was refused.
    pub fn of_status(status: &Status) -> Self {
        let said = Some(status.details()).filter(|details| !details.is_empty()).and_then(|it| Failure::decode(it).ok());
        match said {
            Some(Failure { http_status: 400..500, code, message, .. }) => Trouble::Final { code, message },
            Some(Failure { message, .. }) => Trouble::Later { message },
            None => Trouble::of_error(status),
        }
    }
}

/// What a person has to do about a connection that TLS refuses. An alert reaches this side as text only.
fn reason(text: &str) -> Option<(&'static str, &'static str)> {
    let alert = |alert| text.contains(&rustls::Error::AlertReceived(alert).to_string());
    let is = |error: CertificateError| text.contains(&rustls::Error::InvalidCertificate(error).to_string());
    let distrusts = |distrust: Distrust| text.contains(&rustls::Error::from(distrust).to_string());
    if alert(AlertDescription::CertificateExpired) {
        let sentence = "the coordinator says that this certificate has ended or does not count yet: compare the clocks of \
                        both machines, else join again with a new token";
        return Some(("certificate_expired", sentence));
    }
    if alert(AlertDescription::UnknownCA) || alert(AlertDescription::BadCertificate) {
        let sentence =
            "the coordinator's authority has not made this certificate: join again with a token of that cluster";
        return Some(("authority_mismatch", sentence));
    }
    if distrusts(Distrust::OtherAuthority) || distrusts(Distrust::NoCoordinator) || is(CertificateError::UnknownIssuer)
    {
        let sentence = "what answers at this address is no coordinator of the cluster that was joined: check the address, \
                        or join again with a token of that cluster";
        return Some(("authority_mismatch", sentence));
    }
    if text.contains("InvalidContentType") {
        return Some(("plaintext", "the coordinator speaks plaintext: start it with --tls, or dial http://"));
    }
    None
}

/// Whether the coordinator's certificate does not count at this time.
fn is_about_time(text: &str) -> bool {
    ["certificate expired", "certificate not valid yet"].iter().any(|words| text.contains(words))
}

/// A second since 1970, for people.
pub(crate) fn instant(second: i64) -> String {
    jiff::Timestamp::from_second(second).map_or_else(|_| second.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    /// These words are all that a channel passes on of an error inside TLS.
    #[test]
    fn reasons_are_told_apart_by_the_words_of_tls() {
        let alert = |alert| rustls::Error::AlertReceived(alert).to_string();
        let certificate = |error| rustls::Error::InvalidCertificate(error).to_string();
        for (text, code) in [
            (alert(AlertDescription::CertificateExpired), Some("certificate_expired")),
            (alert(AlertDescription::UnknownCA), Some("authority_mismatch")),
            (certificate(CertificateError::UnknownIssuer), Some("authority_mismatch")),
            (rustls::Error::from(Distrust::OtherAuthority).to_string(), Some("authority_mismatch")),
            (rustls::Error::from(Distrust::NoCoordinator).to_string(), Some("authority_mismatch")),
            (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType).to_string(), Some("plaintext")),
            ("connection refused".to_owned(), None),
            (alert(AlertDescription::InternalError), None),
        ] {
            assert_eq!(reason(&text).map(|(code, _)| code), code, "{text}");
        }
    }

    #[test]
    fn a_wrong_clock_is_seen() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let late = CertificateError::ExpiredContext { time: at(2), not_after: at(1) };
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(2) };
        for error in [late, early] {
            let text = rustls::Error::InvalidCertificate(error).to_string();
            assert!(is_about_time(&text), "{text}");
        }
        assert!(!is_about_time(&rustls::Error::InvalidCertificate(CertificateError::BadSignature).to_string()));
    }
}
