//! API keys: minted here, kept as a MAC, shown once (security.md 4.3).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use heddle_core::id::{KeyId, Slot, Subject};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;
use heddle_proto::key::{self, KeyKind};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::auth::Tenant;
use crate::journal::JournalError;
use crate::limits::{KEY_USE_NOTE_PERIOD, KEY_USES_MAX};
use crate::records::{ApiKeyRow, Records};

/// Everything that a key may be allowed.
pub(crate) const SCOPES: [&str; 12] = [
    "workflows:read",
    "workflows:write",
    "workflows:execute",
    "executions:read",
    "usage:read",
    "apps:execute",
    "reviews:decide",
    "reviews:decide:own",
    "schedules:write",
    "secrets:write",
    ADMIN,
    OPERATE,
];
/// The scope that administers its own tenant.
pub(crate) const ADMIN: &str = "admin";
/// The scope that operates the cluster: tenants, agents. Only keys of the first tenant can have it.
pub(crate) const OPERATE: &str = "operate";
/// The file of the data folder with the first key's text, for those who start the coordinator.
pub const FIRST_KEY_FILE: &str = "key";
/// Who holds a key that was made at a start because the first one was lost.
const RECOVERED: &str = "recovered-key";
const PEPPER_FILE: &str = "pepper";
const PEPPER_BYTES: usize = 32;

/// Why keys cannot be used.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The pepper's file, or the first key's.
    #[error(
        "the file {path} could not be used: it must stay as it was written for as long as the keys do, readable by you only"
    )]
    File {
        /// Which file.
        path: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The database.
    #[error("keys could not be read or written")]
    Journal(#[source] JournalError),
    /// The database has keys that were made with another pepper.
    #[error(
        "the database has keys, and the file {path} without which none of them can be checked is missing: bring it back from \
         a backup, or from the data folder of the coordinator that made them"
    )]
    PepperLost {
        /// Where it should be.
        path: String,
    },
    /// The first tenant is gone.
    #[error("the first tenant, whose keys operate the cluster, is not in the database: bring back a backup")]
    NoTenant,
    /// The system gives no randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// Checks keys, and makes them.
#[derive(Clone)]
pub(crate) struct Keys {
    records: Arc<dyn Records>,
    data_dir: Arc<Path>,
    pepper: [u8; PEPPER_BYTES],
    /// Whether this start has made the pepper.
    is_fresh: bool,
    /// When the use of each key was noted last.
    noted: Arc<Mutex<HashMap<KeyId, Timestamp>>>,
}

/// A key's text, known to its maker alone until it is shown.
pub(crate) struct Text(String);

impl Text {
    /// A new one.
    pub(crate) fn mint() -> Result<Self, KeysError> {
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy).map_err(|_| KeysError::NoRandomness)?;
        Ok(Self(key::mint(KeyKind::Live, &entropy)))
    }

    /// What people tell it by: its prefix and its last four characters, which are of its checksum.
    fn hint(&self) -> Arc<str> {
        format!("{}…{}", key::prefix(&self.0), &self.0[self.0.len() - 4..]).into()
    }
}

impl Keys {
    /// With the pepper of a data folder, made on first use.
    pub(crate) fn open(records: Arc<dyn Records>, data_dir: &Path) -> Result<Self, KeysError> {
        let path = data_dir.join(PEPPER_FILE);
        let failed = |source| KeysError::File { path: path.display().to_string(), source };
        let mut is_fresh = false;
        let kept = match std::fs::read(&path) {
            Ok(kept) => {
                make_private(&path).map_err(failed)?;
                kept
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut fresh = [0; PEPPER_BYTES];
                getrandom::fill(&mut fresh).map_err(|_| KeysError::NoRandomness)?;
                write_private(&path, &fresh).map_err(failed)?;
                is_fresh = true;
                fresh.to_vec()
            }
            Err(error) => return Err(failed(error)),
        };
        let pepper = kept.try_into().map_err(|_| failed(std::io::ErrorKind::InvalidData.into()))?;
        Ok(Self { records, data_dir: data_dir.into(), pepper, is_fresh, noted: Arc::default() })
    }

    /// Makes the first key, with every scope, if there is no key at all; gives its text if this start has.
    ///
    /// The text is on disk before the row, as a draft, and gets its name after it: a crash in between leaves no key that
    /// nobody has, because the next start goes on with the draft.
    ///
    /// # Errors
    /// [`KeysError::PepperLost`] if the database has keys and this folder had no pepper: none of them could be checked.
    pub(crate) async fn first(&self, now: Timestamp) -> Result<Option<String>, KeysError> {
        let made = self.make_first(now).await?;
        if made.is_none() && self.is_fresh {
            let path = self.data_dir.join(PEPPER_FILE);
            let lost = path.display().to_string();
            return match std::fs::remove_file(&path) {
                Ok(()) => Err(KeysError::PepperLost { path: lost }),
                Err(source) => Err(KeysError::File { path: lost, source }),
            };
        }
        Ok(made)
    }

    async fn make_first(&self, now: Timestamp) -> Result<Option<String>, KeysError> {
        let (kept, draft) =
            (self.data_dir.join(FIRST_KEY_FILE), self.data_dir.join(FIRST_KEY_FILE).with_extension("draft"));
        let failed = |path: &Path| {
            let path = path.display().to_string();
            |source| KeysError::File { path, source }
        };
        if let Some(text) = read_key(&kept) {
            make_private(&kept).map_err(failed(&kept))?;
            return Ok(self.put_first(&text, now).await?.then_some(text));
        }
        let text = match read_key(&draft) {
            Some(text) => text,
            None => {
                let Text(text) = Text::mint()?;
                write_private(&draft, format!("{text}\n").as_bytes()).map_err(failed(&draft))?;
                text
            }
        };
        let is_first =
            self.put_first(&text, now).await? || self.find(&text).await.map_err(KeysError::Journal)?.is_some();
        if is_first {
            std::fs::rename(&draft, &kept).map_err(failed(&kept))?;
            return Ok(Some(text));
        }
        std::fs::remove_file(&draft).map_err(failed(&draft))?;
        Ok(None)
    }

    /// Makes a key with every scope again, for whoever starts the coordinator, if the folder's key file has none that works;
    /// gives its text. Nobody is let in who was not before: who can write this folder can write the database, too. What is
    /// made shows in the list of keys, and in the log.
    ///
    /// Called after [`Keys::first`], which goes on with the draft of a start that was cut off.
    pub(crate) async fn recover(&self, now: Timestamp) -> Result<Option<String>, KeysError> {
        let kept = self.data_dir.join(FIRST_KEY_FILE);
        let draft = kept.with_extension("draft");
        let failed = |path: &Path| {
            let path = path.display().to_string();
            |source| KeysError::File { path, source }
        };
        if let Some(text) = read_key(&kept)
            && let Some(row) = self.find(&text).await.map_err(KeysError::Journal)?
            && row.expires_at.is_none_or(|end| now < end)
            && row.scopes.iter().any(|scope| **scope == *OPERATE)
        {
            tracing::info!(key = %row.id, "no new key was made: the one in the key file works");
            return Ok(None);
        }
        let Text(text) = Text::mint()?;
        write_private(&draft, format!("{text}\n").as_bytes()).map_err(failed(&draft))?;
        let scopes = SCOPES.iter().map(|scope| (*scope).into()).collect();
        let row = new_row(&Tenant::first(), RECOVERED.into(), scopes, None, now);
        let row = ApiKeyRow { hint: Text(text.clone()).hint(), ..row };
        let id = row.id;
        if !self.records.put_api_key(self.mac(&text), row, false).await.map_err(KeysError::Journal)? {
            return Err(KeysError::NoTenant);
        }
        std::fs::rename(&draft, &kept).map_err(failed(&kept))?;
        tracing::warn!(
            key = %id,
            subject = RECOVERED,
            "a key with every scope was made because the start asked for one; revoke the lost one, if somebody may have it"
        );
        Ok(Some(text))
    }

    /// Keeps the row of the first key. `false` = there are keys already.
    async fn put_first(&self, text: &str, now: Timestamp) -> Result<bool, KeysError> {
        let scopes = SCOPES.iter().map(|scope| (*scope).into()).collect();
        let text = Text(text.to_owned());
        let row = new_row(&Tenant::first(), "first-key".into(), scopes, None, now);
        let row = ApiKeyRow { hint: text.hint(), ..row };
        self.records.put_api_key(self.mac(&text.0), row, true).await.map_err(KeysError::Journal)
    }

    /// The row of a key that somebody showed.
    pub(crate) async fn find(&self, text: &str) -> Result<Option<ApiKeyRow>, JournalError> {
        self.records.api_key(self.mac(text)).await
    }

    /// Makes a key, with its text, which cannot be read again. `None` = its tenant is not there.
    pub(crate) async fn create(&self, row: ApiKeyRow) -> Result<Option<(String, ApiKeyRow)>, KeysError> {
        let text = Text::mint()?;
        let row = ApiKeyRow { hint: text.hint(), ..row };
        let kept = self.records.put_api_key(self.mac(&text.0), row.clone(), false).await;
        Ok(kept.map_err(KeysError::Journal)?.then_some((text.0, row)))
    }

    /// Notes that a key is used, beside the request that uses it and at most once in [`KEY_USE_NOTE_PERIOD`].
    pub(crate) fn note_use(&self, row: &ApiKeyRow, now: Timestamp) {
        let is_recent = |at: Timestamp| now.since(at) < KEY_USE_NOTE_PERIOD;
        if row.last_used_at.is_some_and(is_recent) || !self.is_to_note(row.id, now) {
            return;
        }
        let (records, tenant, id) = (Arc::clone(&self.records), Tenant::of_key(row), row.id);
        tokio::spawn(async move {
            if let Err(error) = records.note_key_use(tenant, id, now).await {
                tracing::warn!(key = %id, %error, "the use of a key was not noted");
            }
        });
    }

    fn is_to_note(&self, id: KeyId, now: Timestamp) -> bool {
        // Nothing in here is worse after a panic.
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&id).is_some_and(|at| now.since(*at) < KEY_USE_NOTE_PERIOD) {
            return false;
        }
        if noted.len() >= KEY_USES_MAX {
            noted.clear();
        }
        noted.insert(id, now);
        true
    }

    fn mac(&self, text: &str) -> Digest {
        #[allow(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.pepper).unwrap();
        mac.update(text.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }
}

/// The row of a new key, before its text is drawn.
pub(crate) fn new_row(
    tenant: &Tenant,
    subject: Subject,
    scopes: Vec<Arc<str>>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> ApiKeyRow {
    let id = KeyId::new(now, Slot(0), u128::from(rand::random::<u64>()));
    let (tenant, hint) = (tenant.id().clone(), Arc::default());
    ApiKeyRow { id, tenant, subject, scopes, expires_at, created_at: now, revoked_at: None, hint, last_used_at: None }
}

/// A key that was written down, if it is whole.
fn read_key(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let text = text.trim();
    key::check(text).is_ok().then(|| text.to_owned())
}

/// Takes from others what they may do with a file that was copied or restored.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let draft = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::journal::memory::MemoryJournal;
    use crate::journal::system_clock;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    struct Folder {
        keys: Keys,
        dir: TempDir,
    }

    fn folder() -> Folder {
        let dir = TempDir::new().unwrap();
        let keys = Keys::open(Arc::new(MemoryJournal::new(1, system_clock()).unwrap()), dir.path()).unwrap();
        Folder { keys, dir }
    }

    impl Folder {
        fn read(&self, name: &str) -> Option<String> {
            read_key(&self.dir.path().join(name))
        }

        fn rename(&self, from: &str, to: &str) {
            std::fs::rename(self.dir.path().join(from), self.dir.path().join(to)).unwrap();
        }
    }

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_no_later_one_does() {
        let folder = folder();
        let text = folder.keys.first(NOW).await.unwrap().unwrap();
        assert_eq!(folder.read("key").as_ref(), Some(&text));
        let mode = std::fs::metadata(folder.dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(folder.keys.find(&text).await.unwrap().is_some());
        std::fs::set_permissions(folder.dir.path().join("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let again = Keys::open(Arc::clone(&folder.keys.records), folder.dir.path()).unwrap();
        assert_eq!(again.first(NOW).await.unwrap(), None);
        let mode = std::fs::metadata(folder.dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a start takes it back from others");
        std::fs::remove_file(folder.dir.path().join("key")).unwrap();
        assert_eq!(again.first(NOW).await.unwrap(), None, "there is a key, whoever has it");
        assert_eq!((folder.read("key"), folder.read("key.draft")), (None, None));
    }

    #[tokio::test]
    async fn who_has_the_folder_gets_a_key_again() {
        let folder = folder();
        let lost = folder.keys.first(NOW).await.unwrap().unwrap();
        let keys = Keys::open(Arc::clone(&folder.keys.records), folder.dir.path()).unwrap();
        assert_eq!(keys.recover(NOW).await.unwrap(), None, "the one in the file works");
        std::fs::remove_file(folder.dir.path().join("key")).unwrap();
        assert_eq!(keys.first(NOW).await.unwrap(), None);
        let text = keys.recover(NOW).await.unwrap().unwrap();
        assert_ne!(text, lost);
        assert_eq!((folder.read("key").as_ref(), folder.read("key.draft")), (Some(&text), None));
        let row = keys.find(&text).await.unwrap().unwrap();
        assert_eq!((&*row.subject.0, row.scopes.len()), (RECOVERED, SCOPES.len()));
        assert!(keys.find(&lost).await.unwrap().is_some(), "until somebody revokes it");
        assert_eq!(keys.recover(NOW).await.unwrap(), None, "once");
        // A file whose key does not work any more is no key.
        let (tenant, id) = (Tenant::of_key(&row), row.id);
        keys.records.end_api_key(tenant, id, crate::records::KeyEnd::Revoked(NOW)).await.unwrap();
        let next = keys.recover(NOW).await.unwrap().unwrap();
        assert!(next != text && folder.read("key") == Some(next));
    }

    #[tokio::test]
    async fn a_use_is_noted_once_a_minute() {
        let folder = folder();
        let text = folder.keys.first(NOW).await.unwrap().unwrap();
        let row = folder.keys.find(&text).await.unwrap().unwrap();
        assert_eq!(&*row.hint, format!("sk-…{}", &text[text.len() - 4..]));
        let later = NOW.plus(KEY_USE_NOTE_PERIOD);
        assert!(folder.keys.is_to_note(row.id, NOW));
        assert!(!folder.keys.is_to_note(row.id, Timestamp::from_millis(later.as_millis() - 1)));
        assert!(folder.keys.is_to_note(row.id, later));
    }

    #[tokio::test]
    async fn keys_without_their_pepper_stop_the_start() {
        let folder = folder();
        let text = folder.keys.first(NOW).await.unwrap().unwrap();
        let pepper = folder.dir.path().join(PEPPER_FILE);
        let kept = std::fs::read(&pepper).unwrap();
        std::fs::remove_file(&pepper).unwrap();
        let open = || Keys::open(Arc::clone(&folder.keys.records), folder.dir.path()).unwrap();
        for _ in 0..2 {
            let lost = open().first(NOW).await.unwrap_err();
            assert!(matches!(lost, KeysError::PepperLost { .. }), "{lost}");
            assert!(!pepper.exists(), "the next start says so, too");
        }
        write_private(&pepper, &kept).unwrap();
        let again = open();
        assert_eq!(again.first(NOW).await.unwrap(), None);
        assert!(again.find(&text).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_crash_on_the_way_leaves_no_key_that_nobody_has() {
        // After the row: the file has not got its name yet.
        let folder = folder();
        let text = folder.keys.first(NOW).await.unwrap().unwrap();
        folder.rename("key", "key.draft");
        assert_eq!(folder.keys.first(NOW).await.unwrap().as_ref(), Some(&text));
        assert_eq!((folder.read("key").as_ref(), folder.read("key.draft")), (Some(&text), None));
        // Before the row, or the database is new.
        for name in ["key", "key.draft"] {
            let fresh = super::tests::folder();
            write_private(&fresh.dir.path().join(name), text.as_bytes()).unwrap();
            assert_eq!(fresh.keys.first(NOW).await.unwrap().as_ref(), Some(&text), "{name}");
            assert!(fresh.keys.find(&text).await.unwrap().is_some());
            assert_eq!(fresh.read("key").as_ref(), Some(&text));
        }
    }
}
