//! Every bound of the store.

use std::time::Duration;

/// Bytes of one artifact.
pub const ARTIFACT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of one part of an upload. What is smaller goes in one request, and is held in memory meanwhile.
pub const PART_BYTES: usize = 5 * 1024 * 1024;
/// Parts of one upload that are on their way at once.
pub const PARTS_IN_FLIGHT: usize = 2;
/// Bytes asked of the store at once while an artifact is read: what a slow reader can hold up.
pub const READ_BYTES: u64 = 1024 * 1024;
/// An object that was not touched for this long is written again when its value is put: half of what collection waits.
pub const TOUCH_AFTER: Duration = Duration::from_secs(12 * 3_600);
/// How long an object that nobody refers to is kept after it was touched last (E18).
pub const COLLECT_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Pieces of an upload to which nothing was written for this long are a dead writer's.
pub const STAGED_FOR_MAX: Duration = Duration::from_secs(2 * 3_600);
/// Bytes of a tenant's name.
pub const TENANT_BYTES_MAX: usize = 128;
/// How long one request to S3 may take.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a connection to S3 may take to open.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a request that S3 did not take is sent again.
pub const RETRIES_MAX: usize = 5;
/// How long a request is sent again, all tries together.
pub const RETRY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the address of an artifact stays good, unless the caller says otherwise.
pub const LINK_SECONDS_DEFAULT: u64 = 24 * 3_600;
/// The longest it may.
pub const LINK_SECONDS_MAX: u64 = 7 * 24 * 3_600;

const _: () = assert!(PART_BYTES >= 5 * 1024 * 1024, "S3 takes no smaller parts");
const _: () = assert!(ARTIFACT_BYTES_MAX / PART_BYTES as u64 <= 10_000, "S3 takes no more parts");
const _: () =
    assert!(TOUCH_AFTER.as_secs() * 2 <= COLLECT_AFTER.as_secs(), "what is put is never about to be collected");
const _: () = assert!(
    PART_BYTES * (PARTS_IN_FLIGHT + 2) <= 24 * 1024 * 1024,
    "an upload costs little memory, however large the artifact"
);
