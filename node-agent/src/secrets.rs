//! The credentials of a machine: a file that its owner alone can read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{SECRET_BYTES_MAX, SECRET_HOSTS_MAX, SECRET_NAME_BYTES_MAX, SECRETS_MAX};
use crate::runners::{Credential, Credentials, ErrorClass, Failure, Secret};

/// The file of credentials. It is read anew each time: a change takes effect with the next attempt.
#[derive(Debug, Clone)]
pub struct SecretsFile {
    path: PathBuf,
}

/// One credential as the file keeps it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The secret.
    pub value: String,
    /// The hosts that may see it, each with a port if it is not the scheme's own.
    pub hosts: Vec<String>,
    /// Whether these hosts may lie in the operator's own network.
    #[serde(default)]
    pub allow_private: bool,
    /// The header it is sent in.
    pub header: String,
    /// What stands before it there.
    pub prefix: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    secrets: BTreeMap<String, Entry>,
}

/// Why credentials cannot be read or written.
#[derive(Debug, Error)]
pub enum SecretsError {
    /// The file system says no.
    #[error("the credentials in {} cannot be read or written; check the folder", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others could read it.
    #[error("others may read {}; run chmod 600 on it, and replace the secrets in it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is not what this program writes. What is in it is not shown.
    #[error("{} is not a file of credentials; take it away and set them again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// What was given is out of bounds.
    #[error("{0}")]
    Invalid(String),
}

impl SecretsFile {
    /// The file at a path; it need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Names, and what belongs to them. The secrets are among it: show none.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn entries(&self) -> Result<BTreeMap<String, Entry>, SecretsError> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(self.file(source)),
        };
        if metadata.mode() & 0o077 != 0 {
            return Err(SecretsError::Exposed { path: self.path.clone() });
        }
        let bytes = fs::read(&self.path).map_err(|source| self.file(source))?;
        // The error of the parser would repeat a part of the file.
        let kept: Kept =
            serde_json::from_slice(&bytes).map_err(|_| SecretsError::Unreadable { path: self.path.clone() })?;
        Ok(kept.secrets)
    }

    /// Keeps a credential under a name, in the place of the one before.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn set(&self, name: &str, entry: Entry) -> Result<(), SecretsError> {
        check(name, &entry).map_err(SecretsError::Invalid)?;
        self.change(|secrets| {
            let is_full = secrets.len() >= SECRETS_MAX && !secrets.contains_key(name);
            if is_full {
                let message = format!("there are {SECRETS_MAX} credentials already; delete one first");
                return Err(SecretsError::Invalid(message));
            }
            secrets.insert(name.to_owned(), entry);
            Ok(())
        })
    }

    /// Forgets a credential; says whether there was one.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn delete(&self, name: &str) -> Result<bool, SecretsError> {
        self.change(|secrets| Ok(secrets.remove(name).is_some()))
    }

    /// Changes the file as a whole, one process after the other.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Entry>) -> Result<T, SecretsError>,
    ) -> Result<T, SecretsError> {
        let lock = self.path.with_extension("lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|source| self.file(source))?;
        let mut secrets = self.entries()?;
        let answer = change(&mut secrets)?;
        self.write(&Kept { secrets }).map_err(|source| self.file(source))?;
        drop(lock);
        Ok(answer)
    }

    /// Writes a file of mode 0600 so that a reader, or a crash, sees either the old one or the new one.
    fn write(&self, kept: &Kept) -> io::Result<()> {
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(kept)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    fn file(&self, source: io::Error) -> SecretsError {
        SecretsError::File { path: self.path.clone(), source }
    }
}

/// What is wrong with a credential, in one sentence.
fn check(name: &str, entry: &Entry) -> Result<(), String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > SECRET_NAME_BYTES_MAX || !name.bytes().all(is_name) {
        return Err("a credential's name is of letters, digits, - _ and .; choose another".to_owned());
    }
    if entry.value.is_empty() || entry.value.len() > SECRET_BYTES_MAX || entry.value.chars().any(char::is_control) {
        return Err(format!("a secret has 1 to {SECRET_BYTES_MAX} bytes in one line; give it alone"));
    }
    if entry.hosts.is_empty() || entry.hosts.len() > SECRET_HOSTS_MAX {
        return Err(format!("a credential is for 1 to {SECRET_HOSTS_MAX} hosts; name them with --host"));
    }
    let is_host = |host: &String| !host.is_empty() && !host.contains(['/', '@', ' ']) && host.is_ascii();
    match entry.hosts.iter().find(|host| !is_host(host)) {
        Some(host) => Err(format!("{host:?} is no host; write it like api.example.com or 127.0.0.1:11434")),
        None => Ok(()),
    }
}

impl Credentials for SecretsFile {
    fn get(&self, name: &str) -> Result<Option<Credential>, Failure> {
        let mut entries = self
            .entries()
            .map_err(|error| Failure::new(ErrorClass::Auth, "credentials_unreadable", error.to_string()))?;
        Ok(entries.remove(name).map(|entry| Credential {
            name: name.to_owned(),
            secret: Secret::new(entry.value),
            header: entry.header,
            prefix: entry.prefix,
            hosts: entry.hosts,
            is_private_allowed: entry.allow_private,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const CANARY: &str = "canary-51c0ffee77";

    fn entry(hosts: &[&str]) -> Entry {
        Entry {
            value: CANARY.to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            allow_private: false,
            header: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
        }
    }

    #[test]
    fn credentials_are_kept_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = SecretsFile::at(folder.path().join("secrets.json"));
        assert!(file.entries().unwrap().is_empty());
        file.set("openai", entry(&["api.openai.com"])).unwrap();
        file.set("openai", Entry { allow_private: true, ..entry(&["127.0.0.1:1"]) }).unwrap();
        let mode = fs::metadata(folder.path().join("secrets.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let known = file.get("openai").unwrap().unwrap();
        assert_eq!(
            (known.secret.expose(), known.hosts, known.is_private_allowed),
            (CANARY, vec!["127.0.0.1:1".to_owned()], true)
        );
        assert!(file.get("other").unwrap().is_none());
        assert!(file.delete("openai").unwrap() && !file.delete("openai").unwrap());
    }

    #[test]
    fn what_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let file = SecretsFile::at(&path);
        file.set("a", entry(&["h"])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.entries(), Err(SecretsError::Exposed { .. })));
        assert_eq!(file.get("a").unwrap_err().class, ErrorClass::Auth);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, format!("{{\"secrets\": {{\"{CANARY}\"")).unwrap();
        let failure = file.get("a").unwrap_err();
        assert!(!format!("{failure:?}").contains(CANARY));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = SecretsFile::at(folder.path().join("secrets.json"));
        for (name, entry) in [
            ("", entry(&["h"])),
            ("a b", entry(&["h"])),
            ("a", entry(&[])),
            ("a", entry(&["https://h/"])),
            ("a", Entry { value: String::new(), ..entry(&["h"]) }),
            ("a", Entry { value: "two\nlines".to_owned(), ..entry(&["h"]) }),
        ] {
            assert!(matches!(file.set(name, entry), Err(SecretsError::Invalid(_))), "{name:?}");
        }
        assert!(file.entries().unwrap().is_empty());
    }
}
