//! Every bound of conditions.

/// Bytes of one expression.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
/// How deep brackets, calls and operators lie inside each other in one expression: they cost stack.
pub const EXPRESSION_DEPTH_MAX: u16 = 20;
/// Words and signs of one expression: they bound how many steps it takes beside its loops.
pub const EXPRESSION_SIGNS_MAX: usize = 512;
/// What the conditions of one node may cost when they are evaluated at once: steps, and bytes that are looked at or copied.
pub const EXPRESSION_COST_MAX: u64 = 4_000_000;
/// Bytes of the values that are looked at at once.
pub const EXPRESSION_VALUES_BYTES_MAX: usize = 256 * 1024;
/// Values that the conditions of one node look at.
pub const EXPRESSION_VALUES_MAX: usize = 1_024;
/// Values that an agent looks at for one node: as many as the longest list has items.
pub const DELEGATED_VALUES_MAX: usize = 100_000;
/// Bytes of the values that an agent looks at for one node.
pub const DELEGATED_VALUES_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What the conditions of one node may cost on an agent: each byte that it looks at at most can be looked at once.
pub const DELEGATED_COST_MAX: u64 = 16 * EXPRESSION_COST_MAX;

const _: () =
    assert!(DELEGATED_COST_MAX >= EXPRESSION_COST_MAX, "what is evaluated at once is evaluated on an agent, too");
