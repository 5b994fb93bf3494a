//! Every bound of the sandbox.

/// A request, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Calls that the ledger keeps; older ones are forgotten.
pub(crate) const LEDGER_MAX: usize = 10_000;
/// Jobs that are kept; older ones are forgotten.
pub(crate) const JOBS_MAX: usize = 10_000;
/// Longest job, in milliseconds.
pub(crate) const JOB_MS_MAX: u64 = 600_000;
/// Credentials that have a script.
pub(crate) const SCRIPTS_MAX: usize = 1_000;
/// Steps of one script.
pub(crate) const STEPS_MAX: usize = 10_000;
/// Rules of one script.
pub(crate) const RULES_MAX: usize = 1_000;
/// Longest delay of a step, in milliseconds.
pub(crate) const DELAY_MS_MAX: u64 = 600_000;
/// Bytes of an answer that repeat the question.
pub(crate) const ECHO_BYTES_MAX: usize = 120;
/// Numbers of a vector, unless the request says otherwise.
pub(crate) const DIMENSIONS: usize = 8;
/// Most numbers of a vector.
pub(crate) const DIMENSIONS_MAX: usize = 4_096;
/// Texts of one request for vectors.
pub(crate) const TEXTS_MAX: usize = 2_048;
/// Nesting of an object that is made for a schema.
pub(crate) const SCHEMA_DEPTH_MAX: usize = 16;
/// Fields of an object, or items of a list, that is made for a schema.
pub(crate) const SCHEMA_FIELDS_MAX: usize = 256;
/// Before a body breaks off, so that its beginning arrives, in milliseconds.
pub(crate) const BREAK_DELAY_MS: u64 = 20;
/// Values that are made for one schema, all levels together.
pub(crate) const SCHEMA_VALUES_MAX: usize = 10_000;
/// Characters of a text that is made for a schema which asks for long ones.
pub(crate) const SCHEMA_TEXT_MAX: usize = 10_000;
