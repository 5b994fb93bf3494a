//! The data folder: who holds it, where its server listens, and its key.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use heddle_coordinator::FIRST_KEY_FILE;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Exit, Failure, Result};
use crate::limits::LEFT_BEHIND_AFTER;

const LOCK: &str = "lock";
const SERVER: &str = "server.json";
const DATABASE: &str = "heddle.db";
const SECRETS: &str = "secrets.json";

/// A folder that holds one cluster's database, artifacts and first key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// Where the folder's server is. It counts only while a server at `url` answers with the same boot id: after a
/// `kill -9` the file stays behind and must not mislead anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFile {
    /// Origin, without a path: `http://127.0.0.1:8080`.
    pub url: String,
    /// For people; nothing is decided by it.
    pub pid: u32,
    /// What `/healthz` of that very process says.
    pub boot_id: String,
}

/// Holds the folder until it is dropped or the process dies.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl DataDir {
    /// The folder at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        DataDir { path: path.into() }
    }

    /// The folder the user chose, else `$XDG_DATA_HOME/heddle`, else `~/.local/share/heddle`.
    pub fn choose(chosen: Option<&Path>) -> Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let path = chosen
            .map(Path::to_path_buf)
            .or_else(|| absolute("XDG_DATA_HOME").map(|base| base.join("heddle")))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share/heddle")));
        // Whole, since parts of the cluster may be told of it.
        path.and_then(|path| std::path::absolute(path).ok()).map(DataDir::at).ok_or_else(|| {
            Failure::usage("there is no place for data: neither XDG_DATA_HOME nor HOME is set")
                .with_next("pass --data-dir FOLDER, or set HEDDLE_DATA")
        })
    }

    /// A folder inside it.
    pub fn inside(&self, name: &str) -> Self {
        DataDir { path: self.path.join(name) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database inside, as the coordinator names it.
    pub fn database(&self) -> String {
        format!("sqlite:{}", self.database_path().display())
    }

    /// The database's file inside.
    pub fn database_path(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// The key file inside.
    pub fn key_path(&self) -> PathBuf {
        self.path.join(FIRST_KEY_FILE)
    }

    /// The credentials of this machine inside.
    pub fn secrets_path(&self) -> PathBuf {
        self.path.join(SECRETS)
    }

    /// Makes the folder (mode 0700) where it is missing.
    pub fn create(&self) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(|error| {
            Failure::usage(format!("cannot make the data folder {}: {error}", self.path.display()))
                .with_next("pass --data-dir FOLDER with a folder you may write to")
        })
    }

    /// Takes the folder for this process; `None` while another process holds it. The lock is the kernel's, so it ends
    /// with the process however that dies.
    pub fn try_lock(&self) -> Result<Option<FolderLock>> {
        let path = self.path.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.context(Exit::Usage, format_args!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {
                self.sweep();
                Ok(Some(FolderLock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Failure::usage(format!("cannot lock {}: {error}", path.display()))
                .with_next("use a data folder on a local disk")),
        }
    }

    /// Removes what processes were writing when they were killed. Only who holds the folder does so, and leaves alone what
    /// another command may just be writing.
    fn sweep(&self) {
        let is_left = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let is_draft = name.to_str().and_then(|name| name.strip_prefix(".tmp")).is_some_and(|rest| rest.len() == 6);
            let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
            is_draft && age.is_some_and(|age| age > LEFT_BEHIND_AFTER)
        };
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten().filter(is_left) {
            let path = entry.path();
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a file that was never finished stays behind");
            }
        }
    }

    /// Takes the folder, or says who has it and what to do.
    pub fn lock(&self) -> Result<FolderLock> {
        self.try_lock()?.ok_or_else(|| self.held())
    }

    /// The failure that says who holds the folder.
    pub fn held(&self) -> Failure {
        let who = match self.server() {
            Some(server) => format!("process {} at {}", server.pid, server.url),
            None => "another heddle process".to_owned(),
        };
        Failure::usage(format!("the data folder {} is in use by {who}", self.path.display()))
            .with_next("stop that process, use the server it runs, or choose another --data-dir")
    }

    /// What the server file says, if there is a readable one.
    pub fn server(&self) -> Option<ServerFile> {
        serde_json::from_slice(&fs::read(self.path.join(SERVER)).ok()?).ok()
    }

    /// Says where the server is.
    pub fn write_server(&self, server: &ServerFile) -> Result<()> {
        let text = serde_json::to_vec(server).context(Exit::Failed, "cannot write the server file")?;
        self.write(SERVER, &text)
    }

    /// Takes the server file away; one that is not there is fine.
    pub fn remove_server(&self) {
        let path = self.path.join(SERVER);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the server file stays behind");
        }
    }

    /// The folder's key, if it has one.
    pub fn key(&self) -> Option<String> {
        let text = fs::read_to_string(self.key_path()).ok()?;
        let key = text.trim();
        (!key.is_empty()).then(|| key.to_owned())
    }

    /// Writes a file of mode 0600 so that a reader, or a crash, sees either nothing or all of it.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let written = tempfile::NamedTempFile::new_in(&self.path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.path)?.sync_all()
        });
        written.context(Exit::Usage, format_args!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> (tempfile::TempDir, DataDir) {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::at(temp.path().join("data"));
        data.create().unwrap();
        (temp, data)
    }

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let (_temp, data) = folder();
        let lock = data.lock().unwrap();
        assert!(data.try_lock().unwrap().is_none());
        let failure = data.lock().unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.next.is_some());
        drop(lock);
        assert!(data.try_lock().unwrap().is_some());
    }

    #[test]
    fn what_was_never_finished_goes_when_the_folder_is_taken() {
        let (_temp, data) = folder();
        let make = |name: &str, age: u64| {
            let file = File::create(data.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        };
        let long = LEFT_BEHIND_AFTER.as_secs() * 2;
        for (name, age) in [(".tmpAbC123", long), (".tmpYoung1", 0), (".tmpx", long), ("secrets.json", long)] {
            make(name, age);
        }
        let _lock = data.lock().unwrap();
        let left = |name: &str| data.path().join(name).exists();
        assert!(!left(".tmpAbC123") && left(".tmpYoung1") && left(".tmpx") && left("secrets.json"));
    }

    #[test]
    fn the_refusal_names_the_holder() {
        let (_temp, data) = folder();
        let _lock = data.lock().unwrap();
        let server = ServerFile { url: "http://127.0.0.1:8080".into(), pid: 42, boot_id: "b".into() };
        data.write_server(&server).unwrap();
        assert_eq!(data.server(), Some(server));
        assert!(data.held().message.contains("process 42 at http://127.0.0.1:8080"));
        data.remove_server();
        data.remove_server();
        assert_eq!(data.server(), None);
    }

    #[test]
    fn the_key_is_read_and_the_folder_is_private() {
        let (_temp, data) = folder();
        assert_eq!(data.key(), None);
        fs::write(data.key_path(), "sk-first\n").unwrap();
        assert_eq!(data.key().as_deref(), Some("sk-first"));
        assert_eq!(fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_broken_server_file_is_no_server() {
        let (_temp, data) = folder();
        fs::write(data.path().join(SERVER), "{\"url\":").unwrap();
        assert_eq!(data.server(), None);
    }
}
