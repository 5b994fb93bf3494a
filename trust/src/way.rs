//! The way from a member to its coordinator: what to dial, what to show there, and how to go on being welcome.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heddle_proto::join_token;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use thiserror::Error;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::connect::{Connector, Proof};
use crate::enrol::{Applicant, instant};
use crate::files;
use crate::keyring::{Keyring, config};
use crate::limits::{RENEW_LOOK, RENEW_PAUSE_MAX, RENEW_PAUSE_MIN};
use crate::member::{Role, is_id};
use crate::secret::Secret;
use crate::verify::Anchor;

/// How to find the way.
#[derive(Debug, Clone)]
pub struct WayOptions {
    /// `https://host:port` for TLS, `http://host:port` for plaintext; `host:port` for whichever fits.
    pub coordinator: String,
    /// A join token, or `@` and the file that holds it. Not looked at while there is a certificate that counts.
    pub join: Option<String>,
    /// Whether plaintext may leave this machine.
    pub insecure: bool,
    /// What a coordinator in the same process expects.
    pub secret: Option<Secret>,
    /// Where key and certificate are kept; plaintext needs no place.
    pub data_dir: Option<PathBuf>,
    /// What the member does.
    pub role: Role,
    /// Which of them it is; without one, an id is made on first use and kept beside the key.
    pub id: Option<String>,
}

/// Why there is no way.
#[derive(Debug, Error)]
pub enum WayError {
    /// The address.
    #[error("the coordinator's address {address:?} cannot be used; write it like 127.0.0.1:7420 or https://host:7420")]
    Address {
        /// The address.
        address: String,
    },
    /// Plaintext would leave this machine.
    #[error(
        "{address} is not on this machine, and plaintext would leave it: join with a token (--join), or pass --insecure if \
         nobody else can reach that network"
    )]
    Plaintext {
        /// The address.
        address: String,
    },
    /// Plaintext, and a certificate that is there for TLS.
    #[error(
        "--insecure asks for plaintext, but {folder} has a certificate for TLS: leave --insecure out, or choose another \
         data folder"
    )]
    Insecure {
        /// Where it is.
        folder: String,
    },
    /// TLS without a way to prove anything.
    #[error(
        "{folder} has no certificate, and TLS needs one: pass --join TOKEN; `heddle agents token create --for {role}` makes \
         a token"
    )]
    NoCertificate {
        /// Where it would be.
        folder: String,
        /// For whom.
        role: Role,
    },
    /// The token's text.
    #[error("--join: {0}")]
    Token(#[from] join_token::MalformedToken),
    /// A file.
    #[error("{path} cannot be used: it must be as it was written, and readable by you only")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// There is no place for a certificate.
    #[error("there is no place for a key and a certificate: pass --data-dir FOLDER")]
    NoFolder,
    /// The id.
    #[error("{id:?} is no id of a member: letters, digits, `-`, `_` and `.`, at most 128 of them")]
    Id {
        /// The id.
        id: String,
    },
}

/// Why the coordinator cannot be reached or does not want this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Trying again would not help: a person has to act.
    Final {
        /// Stable, `snake_case`.
        code: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// It may go better next time.
    Later {
        /// What is wrong.
        message: String,
    },
}

/// The way from a member to its coordinator.
#[derive(Debug, Clone)]
pub struct Way(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    applicant: Option<Applicant>,
    /// A token that was not needed so far, and the authority that it names.
    token: Option<(String, [u8; 32])>,
}

/// Where it leads, as people write addresses.
impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Connector { host, port, .. } = &self.0.connector;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

impl Way {
    /// Finds the way. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`WayError`], with what to do.
    pub fn find(options: WayOptions) -> Result<Self, WayError> {
        let address = Address::parse(&options.coordinator)?;
        let Address { host, port, is_tls } = address;
        let connector = |proof| Connector { host: host.as_str().into(), port, proof };
        let plain = |proof| Ok(Self(Arc::new(Inner { connector: connector(proof), applicant: None, token: None })));
        if let Some(secret) = options.secret {
            return plain(Proof::Secret(secret));
        }
        let certified = options.data_dir.as_deref().filter(|folder| Keyring::is_begun(folder));
        if let Some(folder) = certified.filter(|_| options.insecure && is_tls.is_none()) {
            return Err(WayError::Insecure { folder: folder.display().to_string() });
        }
        let has_certificate = certified.is_some();
        if !is_tls.unwrap_or_else(|| options.join.is_some() || has_certificate) {
            return match options.insecure || is_loopback(&host) {
                true => plain(Proof::Nothing),
                false => Err(WayError::Plaintext { address: options.coordinator }),
            };
        }
        let data_dir = options.data_dir.as_ref().ok_or(WayError::NoFolder)?;
        let unusable = |source| WayError::File { path: data_dir.join("tls").display().to_string(), source };
        let keyring = Arc::new(Keyring::open(data_dir).map_err(unusable)?);
        let id = match &options.id {
            Some(id) => id.clone(),
            None => keyring.own_id(options.role).map_err(unusable)?,
        };
        if !is_id(&id) {
            return Err(WayError::Id { id });
        }
        let token = needed_token(&keyring, &id, &options)?;
        let applicant = Applicant { role: options.role, id, keyring: Arc::clone(&keyring) };
        let connector = connector(Proof::Certificate(keyring));
        Ok(Self(Arc::new(Inner { connector, applicant: Some(applicant), token })))
    }

    /// The way of somebody who trusts this authority (PEM) and has nothing to show.
    ///
    /// # Errors
    /// [`WayError`] if the address or the certificate cannot be read.
    pub fn newcomer(coordinator: &str, authority: &[u8]) -> Result<Self, WayError> {
        let Address { host, port, .. } = Address::parse(coordinator)?;
        let unreadable = |source| WayError::File { path: "the authority's certificate".into(), source };
        let authority = CertificateDer::from_pem_slice(authority)
            .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let config = config(Anchor::Certificate(authority), None).map_err(unreadable)?;
        let connector = Connector { host: host.as_str().into(), port, proof: Proof::Newcomer(config) };
        Ok(Self(Arc::new(Inner { connector, applicant: None, token: None })))
    }

    /// Opens connections this way.
    pub fn connector(&self) -> Connector {
        self.0.connector.clone()
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        self.0.applicant.is_some()
    }

    /// Makes sure of a certificate, if this way needs one: joins with the token, once.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn prepare(&self) -> Result<(), Trouble> {
        let Some(applicant) = &self.0.applicant else { return Ok(()) };
        let now = now();
        let kept = applicant.keyring.kept();
        if kept.as_ref().is_some_and(|kept| kept.is_valid(now)) {
            return Ok(());
        }
        if let Some((token, authority)) = &self.0.token {
            let joined = applicant.join(self.connector(), token.clone(), *authority).await;
            joined.map_err(|trouble| match (trouble, &kept) {
                (Trouble::Final { code, message }, Some(kept)) => {
                    let ended = instant(kept.certified.not_after);
                    let message = format!("the certificate ended at {ended}, and joining again was refused: {message}");
                    Trouble::Final { code, message }
                }
                (trouble, _) => trouble,
            })?;
            let kept = applicant.keyring.kept();
            return kept.filter(|kept| !kept.is_valid(now)).map_or(Ok(()), |kept| Err(not_now(&kept.certified, now)));
        }
        Err(kept.map_or_else(
            || Trouble::Later { message: "there is no certificate".into() },
            |kept| not_now(&kept.certified, now),
        ))
    }

    /// Opens a connection, after [`Way::prepare`].
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Trouble> {
        self.prepare().await?;
        endpoint.connect_with_connector(self.connector()).await.map_err(|error| Trouble::of_error(&error))
    }

    /// Whether this way is plaintext and the coordinator answers it as somebody who speaks TLS does. `false` if nobody
    /// answers.
    pub async fn meets_tls(&self) -> bool {
        matches!(self.0.connector.proof, Proof::Nothing) && self.0.connector.answers_as_tls().await
    }

    /// Prepares again and again until it is done, or is known to be of no use.
    ///
    /// # Errors
    /// [`Trouble::Final`], taken apart.
    pub async fn prepared(&self) -> Result<(), (String, String)> {
        let mut pause = RENEW_PAUSE_MIN;
        loop {
            match self.prepare().await {
                Ok(()) => return Ok(()),
                Err(Trouble::Final { code, message }) => return Err((code, message)),
                Err(Trouble::Later { message }) => tracing::warn!(message, "cannot join yet"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RENEW_PAUSE_MAX);
        }
    }

    /// Waits until the certificate is due, renews it, and ends then; without a certificate it never ends. Connections that
    /// are opened from then on show the new one.
    pub async fn renewed(&self) {
        let Some(applicant) = &self.0.applicant else { return std::future::pending().await };
        let mut pause = RENEW_PAUSE_MIN;
        loop {
            let left = applicant.keyring.kept().map_or(0, |kept| kept.renew_at() - now());
            sleep(Duration::from_secs(left.max(0).unsigned_abs()).min(RENEW_LOOK).max(pause)).await;
            if left > RENEW_LOOK.as_secs() as i64 {
                continue;
            }
            match applicant.renew(self.connector()).await {
                Ok(()) => return,
                Err(Trouble::Final { message, .. } | Trouble::Later { message }) => {
                    tracing::warn!(message, "the certificate could not be renewed; trying again");
                }
            }
            pause = (pause * 2).min(RENEW_PAUSE_MAX);
        }
    }
}

/// The token, if the certificate in the keyring is of no use.
fn needed_token(keyring: &Keyring, id: &str, options: &WayOptions) -> Result<Option<(String, [u8; 32])>, WayError> {
    let kept = keyring.kept();
    let is_its = |member: &crate::Member| (member.role, member.id.as_str()) == (options.role, id);
    if kept.as_ref().is_some_and(|kept| !is_its(&kept.certified.member)) {
        keyring.forget();
    }
    let kept = keyring.kept();
    let Some(given) = &options.join else {
        let missing = || WayError::NoCertificate { folder: keyring.folder().display().to_string(), role: options.role };
        return kept.map(|_| None).ok_or_else(missing);
    };
    let token = match token_text(given) {
        Ok(token) => token,
        // A token is used once, and whoever holds it may take it away then.
        Err(_) if kept.as_ref().is_some_and(|kept| kept.is_valid(now())) => return Ok(None),
        Err(error) => return Err(error),
    };
    let authority = join_token::fingerprint(&token)?;
    if kept.is_some_and(|kept| kept.authority != authority) {
        keyring.forget();
    }
    Ok(Some((token, authority)))
}

fn token_text(given: &str) -> Result<String, WayError> {
    let Some(file) = given.strip_prefix('@') else { return Ok(given.trim().to_owned()) };
    let unusable = |source| WayError::File { path: file.to_owned(), source };
    let text = files::read(Path::new(file)).map_err(unusable)?;
    text.map(|text| text.trim().to_owned()).ok_or_else(|| unusable(io::ErrorKind::NotFound.into()))
}

fn not_now(certified: &crate::Certified, now: i64) -> Trouble {
    let (from, until, clock) = (instant(certified.not_before), instant(certified.not_after), instant(now));
    let (code, advice) = match now < certified.not_before {
        true => ("wrong_clock", "set the clock"),
        false => ("certificate_expired", "set the clock if it is wrong, else join again with a new token (--join)"),
    };
    let message =
        format!("the certificate counts from {from} to {until}, and this machine's clock says {clock}: {advice}");
    Trouble::Final { code: code.into(), message }
}

/// Seconds since 1970, by this machine's clock.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[derive(Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    /// As the scheme says.
    is_tls: Option<bool>,
}

impl Address {
    fn parse(text: &str) -> Result<Self, WayError> {
        let wrong = || WayError::Address { address: text.to_owned() };
        let is_tls = match text.split_once("://") {
            None => None,
            Some(("http", _)) => Some(false),
            Some(("https", _)) => Some(true),
            Some(_) => return Err(wrong()),
        };
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().filter(|port| *port > 0).ok_or_else(wrong)?;
        if host.is_empty() || !matches!(uri.path(), "" | "/") {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, is_tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(coordinator: &str, folder: &Path) -> WayOptions {
        WayOptions {
            coordinator: coordinator.into(),
            join: None,
            insecure: false,
            secret: None,
            data_dir: Some(folder.to_owned()),
            role: Role::Agent,
            id: Some("agt_1".into()),
        }
    }

    #[test]
    fn plaintext_stays_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        for near in ["127.0.0.1:1", "localhost:1", "[::1]:1", "http://127.0.0.9:1", "http://localhost:1/"] {
            assert!(!Way::find(options(near, folder.path())).unwrap().is_tls(), "{near}");
        }
        for far in ["10.0.0.1:1", "http://example.org:1", "[2001:db8::1]:1", "0.0.0.0:1", "localhost.example:1"] {
            let found = Way::find(options(far, folder.path()));
            assert!(matches!(found, Err(WayError::Plaintext { .. })), "{far}: {found:?}");
            let insecure = WayOptions { insecure: true, ..options(far, folder.path()) };
            assert!(!Way::find(insecure).unwrap().is_tls(), "{far}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "plaintext needs no key");
    }

    #[test]
    fn a_certificate_is_not_left_unused_silently() {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().join("tls");
        std::fs::create_dir(&tls).unwrap();
        std::fs::write(tls.join("certificate.pem"), "whatever it is worth").unwrap();
        let insecure = |coordinator| WayOptions { insecure: true, ..options(coordinator, folder.path()) };
        let found = Way::find(insecure("10.0.0.1:1"));
        assert!(matches!(found, Err(WayError::Insecure { .. })), "{found:?}");
        assert!(!Way::find(insecure("http://10.0.0.1:1")).unwrap().is_tls(), "the address says what is meant");
    }

    #[test]
    fn tls_needs_a_token_or_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let found = Way::find(options("https://127.0.0.1:1", folder.path()));
        assert!(matches!(found, Err(WayError::NoCertificate { .. })), "{found:?}");
        let token = join_token::mint(&[1; 32], &[2; 32]);
        std::fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
        let file = format!("@{}", folder.path().join("token").display());
        for join in [token.as_str(), &file] {
            let joining = WayOptions { join: Some(join.into()), ..options("10.0.0.1:1", folder.path()) };
            let way = Way::find(joining).unwrap();
            assert_eq!(way.0.token, Some((token.clone(), [2; 32])));
        }
        let joining = |join: &str| WayOptions { join: Some(join.into()), ..options("10.0.0.1:1", folder.path()) };
        assert!(matches!(Way::find(joining(&token[1..])), Err(WayError::Token(_))));
        assert!(matches!(Way::find(joining("@/nowhere/at/all")), Err(WayError::File { .. })));
    }

    #[test]
    fn addresses_are_read() {
        let address = |host: &str, port, is_tls| Address { host: host.into(), port, is_tls };
        assert_eq!(Address::parse("[::1]:7").unwrap(), address("::1", 7, None));
        assert_eq!(Address::parse("https://c.example:7").unwrap(), address("c.example", 7, Some(true)));
        for wrong in ["", "host", "host:0", "ftp://host:1", "http://host", "http://a@host:1", "host:1/path", "h:99999"]
        {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
