//! Who this agent is: an id that outlives restarts, and a boot id that does not.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file in the data folder that holds the id.
const ID_FILE: &str = "agent-id";
const ID_PREFIX: &str = "agt_";
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TEXT_LENGTH: usize = 26;

/// The id kept in a data folder. The lock on its file lasts as long as this value.
#[derive(Debug)]
pub(crate) struct KeptId {
    pub(crate) id: String,
    _lock: File,
}

/// Why the data folder gave no id.
#[derive(Debug)]
pub(crate) enum IdError {
    InUse,
    Unreadable(io::Error),
}

impl From<io::Error> for IdError {
    fn from(error: io::Error) -> Self {
        IdError::Unreadable(error)
    }
}

/// Reads the id kept in `data_dir`, or makes one at the first start. Holds a lock, so that two processes cannot share it.
pub(crate) fn kept_id(data_dir: &Path) -> Result<KeptId, IdError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let path = data_dir.join(ID_FILE);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(IdError::InUse),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut id = text.trim().to_owned();
    // A crash in the first start may have left half an id.
    if !is_id(&id) {
        id = new_id()?;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
    }
    Ok(KeptId { id, _lock: file })
}

/// A random number for this start of the process.
pub(crate) fn new_boot_id() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}

/// This machine's name, or `unknown`.
pub(crate) fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// 48 bits of time and 80 of randomness, so that ids sort by age.
fn new_id() -> io::Result<String> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let time = (since_epoch.as_millis() & ((1 << 48) - 1)) << 80;
    Ok(format!("{ID_PREFIX}{}", encode(time | u128::from_be_bytes(random) >> 48)))
}

/// Crockford's base 32, most significant digit first.
fn encode(mut bits: u128) -> String {
    let mut digits = [0; TEXT_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    digits.iter().copied().map(char::from).collect()
}

fn is_id(text: &str) -> bool {
    text.strip_prefix(ID_PREFIX)
        .is_some_and(|digits| digits.len() == TEXT_LENGTH && digits.bytes().all(|digit| ALPHABET.contains(&digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("new");
        let first = kept_id(&data_dir).unwrap();
        assert!(is_id(&first.id), "{}", first.id);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&data_dir), mode(&data_dir.join(ID_FILE))), (0o700, 0o600));
        let id = first.id.clone();
        drop(first);
        assert_eq!(kept_id(&data_dir).unwrap().id, id);
    }

    #[test]
    fn one_folder_serves_one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let _held = kept_id(folder.path()).unwrap();
        assert!(matches!(kept_id(folder.path()), Err(IdError::InUse)));
    }

    #[test]
    fn half_an_id_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(ID_FILE), "agt_01J").unwrap();
        let kept = kept_id(folder.path()).unwrap();
        assert!(is_id(&kept.id));
        assert_eq!(fs::read_to_string(folder.path().join(ID_FILE)).unwrap().trim(), kept.id);
    }

    #[test]
    fn digits_run_from_the_most_significant() {
        assert_eq!(encode(0), "0".repeat(26));
        assert_eq!(encode(33), format!("{}11", "0".repeat(24)));
        assert_eq!(encode(u128::MAX), format!("7{}", "Z".repeat(25)));
    }
}
