//! Ids of traces and spans. Those of a run follow from its id, so that parents are right without any agreement between
//! machines, and whoever tells a run's trace again tells the same.

use std::fmt::{self, Display};

use sha2::{Digest, Sha256};

/// Names a trace (W3C Trace Context): 16 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Names a span within its trace: 8 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// A caller's trace context, as the header `traceparent` carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub span: SpanId,
    /// Whether the caller records it.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads a header of version 00; `None` if it is none, which is to be ignored (Trace Context, 3.2).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 55 || !text.starts_with(b"00-") || text[35] != b'-' || text[52] != b'-' {
            return None;
        }
        let trace = TraceId(hex(&text[3..35])?);
        let span = SpanId(hex(&text[36..52])?);
        let [flags] = hex(&text[53..])?;
        let is_null = trace.0 == [0; 16] || span.0 == [0; 8];
        (!is_null).then_some(Self { trace, span, is_sampled: flags & 1 == 1 })
    }
}

impl Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

impl Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names a node's instance within its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceName {
    /// Dense index of the node in its graph.
    pub node: u32,
    /// 0 = not inside a map or loop.
    pub scope: u32,
    /// Raised by a person's retry only.
    pub generation: u32,
}

/// The trace of one run.
#[derive(Debug, Clone)]
pub struct RunTrace<'a> {
    execution: &'a str,
    caller: Option<TraceParent>,
}

impl<'a> RunTrace<'a> {
    /// The trace of the run with this id, in the words of the API. What the caller sent counts if it can be read.
    pub fn new(execution: &'a str, traceparent: Option<&str>) -> Self {
        Self { execution, caller: traceparent.and_then(TraceParent::parse) }
    }

    /// Its id: the caller's, else the run's own.
    pub fn id(&self) -> TraceId {
        self.caller.map_or_else(|| TraceId(self.derive("trace", &[])), |caller| caller.trace)
    }

    /// The caller's context.
    pub fn caller(&self) -> Option<TraceParent> {
        self.caller
    }

    /// The run's span; its parent is the caller's.
    pub fn run(&self) -> SpanId {
        SpanId(self.derive("run", &[]))
    }

    /// The span of a node's instance; its parent is the run's.
    pub fn instance(&self, of: InstanceName) -> SpanId {
        SpanId(self.derive("instance", &[of.node, of.scope, of.generation]))
    }

    /// The span of an attempt; its parent is the instance's.
    pub fn attempt(&self, of: InstanceName, number: u32) -> SpanId {
        SpanId(self.derive("attempt", &[of.node, of.scope, of.generation, number]))
    }

    /// The first bytes of a digest: all zero, which means no id, in one of 2^64 cases at most.
    fn derive<const N: usize>(&self, what: &str, numbers: &[u32]) -> [u8; N] {
        let mut hash = Sha256::new();
        hash.update(self.execution.as_bytes());
        hash.update([0]);
        hash.update(what.as_bytes());
        numbers.iter().for_each(|number| hash.update(number.to_be_bytes()));
        let digest = hash.finalize();
        let mut id = [0; N];
        id.copy_from_slice(&digest[..N]);
        id
    }
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const A: InstanceName = InstanceName { node: 1, scope: 0, generation: 0 };

    #[test]
    fn a_header_is_read_and_written_alike() {
        let parent = TraceParent::parse(HEADER).unwrap();
        assert_eq!(parent.to_string(), HEADER);
        assert!(parent.is_sampled);
    }

    #[test]
    fn what_is_no_header_is_ignored() {
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = HEADER.to_uppercase();
        let other = HEADER.replacen("00", "01", 1);
        for text in ["", "00", zero_trace, zero_span, &upper, &other, &HEADER[..54]] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_run_keeps_the_callers_trace() {
        let trace = RunTrace::new("exec_1", Some(HEADER));
        assert_eq!(trace.id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.caller().unwrap().span.to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn every_span_of_a_run_has_an_id_of_its_own_and_the_same_one_each_time() {
        let (trace, again) = (RunTrace::new("exec_1", None), RunTrace::new("exec_1", Some("nonsense")));
        assert_eq!((trace.id(), trace.run()), (again.id(), again.run()));
        let b = InstanceName { node: 2, ..A };
        let ids = [trace.run(), trace.instance(A), trace.instance(b), trace.attempt(A, 1), trace.attempt(A, 2)];
        let distinct: std::collections::HashSet<_> = ids.into_iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_ne!(RunTrace::new("exec_2", None).run(), trace.run());
    }
}
