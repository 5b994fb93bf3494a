//! Many runs with one owner: batching, speculation, assignment and re-attachment (E1 to E15).

pub mod batch;
