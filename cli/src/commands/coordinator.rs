//! `heddle coordinator`: the part that decides and makes durable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use heddle_coordinator::{Access, AuthorityFiles, CERTIFICATE_LIFE, CERTIFICATE_LIFE_MIN, TlsOptions};
use heddle_gateway::PublicUrl;
use heddle_telemetry::Component;
use tracing_subscriber::filter::LevelFilter;

use super::up::{Artifacts, Policies, say_key};
use crate::compose::{CoordinatorOptions, coordinator_failed, ready, start_coordinator};
use crate::contradiction::{needs, refuse};
use crate::data_dir::DataDir;
use crate::error::{Context, Exit, Failure, Result};
use crate::metrics::Metrics;
use crate::service::{Stop, announce, bind, check_debug_nodes};
use crate::telemetry;
use crate::ui::{clock, note};

/// Run a coordinator: it decides what happens next and makes it durable
#[derive(Debug, Args)]
pub struct Coordinator {
    /// Where gateways and agents connect to
    #[arg(long, default_value = "127.0.0.1:7420", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The database: sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE [default: heddle.db in the data folder]
    // It may hold a password, and so it is better named by the variable; the help must not show it.
    #[arg(long, env = "HEDDLE_DATABASE", hide_env_values = true, value_name = "DATABASE")]
    database: Option<String>,
    /// The data folder [default: $XDG_DATA_HOME/heddle or ~/.local/share/heddle]
    #[arg(long, env = "HEDDLE_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Make a key again, if the one in the data folder is lost or does not work any more
    #[arg(long)]
    new_key: bool,
    #[command(flatten)]
    artifacts: Artifacts,
    #[command(flatten)]
    policies: Policies,
    /// Where clients reach the gateways, such as `https://heddle.example.org`: addresses that runs give out to be called begin
    /// with it [default: they are paths without a server]
    #[arg(long, env = "HEDDLE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<PublicUrl>,
    /// Accept the node types for tests and benches (debug:*)
    #[arg(long)]
    debug_nodes: bool,
    #[command(flatten)]
    metrics: Metrics,
    #[command(flatten)]
    security: Security,
}

/// Who may join.
#[derive(Debug, Args)]
struct Security {
    /// Let in only who has a certificate, on this machine too; other addresses than this machine's have no other way
    #[arg(long)]
    tls: bool,
    /// Speak plaintext on an address that others reach: they are all trusted
    #[arg(long)]
    insecure: bool,
    /// The certificate of an authority of your own, PEM [default: one is made in the data folder]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Its private key, PEM (PKCS #8)
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// How long certificates count (10m, 24h); they are renewed long before [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = clock::parse_span)]
    certificate_life: Option<Duration>,
    /// Make a join token for a gateway, though one has joined before
    #[arg(long)]
    new_gateway_token: bool,
}

impl Security {
    fn access(&self, listen: SocketAddr) -> Result<Access> {
        let what = "--tls asks for certificates, and --insecure for plaintext";
        refuse(self.tls && self.insecure, what, "leave one of them out")?;
        let (certificate, key) = (self.ca_cert.is_some(), self.ca_key.is_some());
        needs(certificate, "--ca-cert", key, "--ca-key")?;
        needs(key, "--ca-key", certificate, "--ca-cert")?;
        if !self.tls && (self.insecure || listen.ip().is_loopback()) {
            let of_tls = [
                (certificate, "--ca-cert"),
                (self.certificate_life.is_some(), "--certificate-life"),
                (self.new_gateway_token, "--new-gateway-token"),
            ];
            for (is_set, setting) in of_tls {
                let why = if self.insecure { "--insecure asks for it" } else { "--listen is on this machine" };
                let what = format!("{setting} is for TLS, and {listen} is served in plaintext, since {why}");
                refuse(is_set, what, "ask for --tls alone, or leave it out")?;
            }
            return Ok(Access::Plaintext { insecure: self.insecure });
        }
        let certificate_life = self.certificate_life.unwrap_or(CERTIFICATE_LIFE);
        if !(CERTIFICATE_LIFE_MIN..=CERTIFICATE_LIFE).contains(&certificate_life) {
            let failure = Failure::usage("--certificate-life is out of bounds");
            let (least, most) = (clock::span(CERTIFICATE_LIFE_MIN), clock::span(CERTIFICATE_LIFE));
            return Err(failure.with_next(format!("choose a time from {least} to {most}")));
        }
        let files = self.ca_cert.clone().zip(self.ca_key.clone());
        let authority = files.map(|(certificate, key)| AuthorityFiles { certificate, key });
        Ok(Access::Tls(TlsOptions { authority, certificate_life, new_gateway_token: self.new_gateway_token }))
    }
}

impl Coordinator {
    /// Runs the coordinator until a signal comes.
    pub async fn run(self) -> Result<()> {
        telemetry::start(LevelFilter::INFO);
        telemetry::export(&[Component::Coordinator]);
        let access = self.security.access(self.listen)?;
        check_debug_nodes(self.debug_nodes, self.listen, matches!(access, Access::Tls(_)))?;
        self.metrics.check("--listen", self.listen)?;
        self.metrics.serve()?;
        let mut stop = Stop::listen()?;
        let data = DataDir::choose(self.data_dir.as_deref())?;
        let database = database(self.database.as_deref(), &data)?;
        // A taken port must not leave a half-made database behind.
        drop(bind(self.listen)?);
        data.create()?;
        let _lock = data.lock()?;
        if self.security.insecure {
            let listen = self.listen;
            note(&format!(
                "--insecure: whoever reaches {listen} is trusted as a gateway and as an agent, and reads everything"
            ));
        }
        let options = CoordinatorOptions {
            listen: self.listen,
            database,
            debug_nodes: self.debug_nodes,
            access,
            artifacts: self.artifacts.into(),
            sandbox: false,
            new_key: self.new_key,
            policies: self.policies.into(),
            public_url: self.public_url.map_or_else(String::new, |public| public.origin().to_owned()),
        };
        let coordinator = start_coordinator(&data, options).await?;
        coordinator.first_key().map_or(Ok(()), |key| say_key(key, &data))?;
        if let Some(file) = coordinator.gateway_token() {
            note(&format!("a gateway can join with --join @{}", file.display()));
        }
        let started = tokio::select! {
            ready = ready(&coordinator) => ready.and_then(|()| announce("coordinator", coordinator.local_addr())),
            () = stop.asked() => return stop.drain(coordinator.shutdown()).await,
        };
        let ended = match started {
            Ok(()) => tokio::select! {
                () = stop.asked() => Ok(()),
                why = coordinator.failed() => Err(coordinator_failed(&why)),
            },
            failed => failed,
        };
        stop.drain(coordinator.shutdown()).await.and(ended)
    }
}

/// What the address of a PostgreSQL server begins with.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// The database's address, as the coordinator wants it: with a whole path.
fn database(chosen: Option<&str>, data: &DataDir) -> Result<String> {
    let Some(text) = chosen else { return Ok(data.database()) };
    if let Some(file) = text.strip_prefix("sqlite:").filter(|file| !file.is_empty()) {
        let file = std::path::absolute(file).context(Exit::Usage, format_args!("{file:?} is no path"))?;
        return Ok(format!("sqlite:{}", file.display()));
    }
    let scheme = text.split(':').next().unwrap_or_default();
    if POSTGRES.iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(text.to_owned());
    }
    let failure = Failure::usage(format!("{scheme:?} is no kind of database"));
    Err(failure.with_next("use --database sqlite:FILE, or --database postgres://USER:PASSWORD@HOST/DATABASE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(tls: bool, insecure: bool) -> Security {
        Security { tls, insecure, ca_cert: None, ca_key: None, certificate_life: None, new_gateway_token: false }
    }

    #[test]
    fn plaintext_stays_on_this_machine_unless_it_is_said_aloud() {
        let (near, far) = ("127.0.0.1:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap());
        let is_tls = |security: Security, listen| matches!(security.access(listen).unwrap(), Access::Tls(_));
        assert!(!is_tls(security(false, false), near));
        assert!(is_tls(security(true, false), near));
        assert!(is_tls(security(false, false), far));
        assert!(is_tls(security(true, false), far));
        let insecure = security(false, true).access(far).unwrap();
        assert!(matches!(insecure, Access::Plaintext { insecure: true }));
        assert!(matches!(security(false, false).access(near).unwrap(), Access::Plaintext { insecure: false }));
        assert!(security(true, true).access(near).is_err());
        let short = Security { certificate_life: Some(Duration::from_secs(1)), ..security(true, false) };
        assert!(short.access(near).is_err());
        for (useless, name) in [
            (Security { new_gateway_token: true, ..security(false, false) }, "--new-gateway-token"),
            (Security { certificate_life: Some(CERTIFICATE_LIFE), ..security(false, true) }, "--certificate-life"),
            (Security { ca_cert: Some("c".into()), ca_key: Some("k".into()), ..security(false, false) }, "--ca-cert"),
            (Security { ca_cert: Some("c".into()), ..security(true, false) }, "--ca-key"),
            (Security { ca_key: Some("k".into()), ..security(true, false) }, "--ca-cert"),
        ] {
            let failure = useless.access(near).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(name), "{failure}");
        }
    }

    #[test]
    fn databases_go_by_their_scheme() {
        let data = DataDir::at("/d");
        assert_eq!(database(None, &data).unwrap(), "sqlite:/d/heddle.db");
        assert_eq!(database(Some("sqlite:/x/y.db"), &data).unwrap(), "sqlite:/x/y.db");
        assert!(database(Some("sqlite:y.db"), &data).unwrap().starts_with("sqlite:/"));
        for right in ["postgres://u:p@h/d", "postgresql://h"] {
            assert_eq!(database(Some(right), &data).unwrap(), right);
        }
        for wrong in ["postgres:u:secret@h/d", "mysql://u:secret@h/d", "sqlite:", "mysql:x", ""] {
            let failure = database(Some(wrong), &data).unwrap_err();
            assert!(!failure.to_string().contains("secret"), "{failure}");
            assert_eq!((failure.exit, failure.next.is_some()), (Exit::Usage, true), "{wrong}");
        }
    }
}
