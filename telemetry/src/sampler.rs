//! Which traces are recorded: `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`, as the OpenTelemetry specification has
//! them. The answer follows from the trace's id, so all parts agree when they are set alike.

use crate::ids::{TraceId, TraceParent};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// Whether the caller's own choice comes first.
    is_parent_based: bool,
    /// How many of all traces, from 0 to 1.
    ratio: f64,
}

impl Sampler {
    /// The sampler of these two variables; `None` if the name is unknown.
    pub(crate) fn parse(name: Option<&str>, argument: Option<&str>) -> Option<Self> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or("parentbased_always_on");
        let (is_parent_based, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name),
        };
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => {
                argument.and_then(|text| text.parse().ok()).map_or(1.0, |ratio: f64| ratio.clamp(0.0, 1.0))
            }
            _ => return None,
        };
        Some(Self { is_parent_based, ratio })
    }

    pub(crate) fn samples(self, trace: TraceId, caller: Option<TraceParent>) -> bool {
        if let Some(caller) = caller.filter(|_| self.is_parent_based) {
            return caller.is_sampled;
        }
        let [.., a, b, c, d, e, f, g, h] = trace.0;
        let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        (place as f64) < self.ratio * (1_u64 << 63) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_are_those_of_the_specification() {
        let trace = TraceId([7; 16]);
        let caller = |is_sampled| Some(TraceParent { trace, span: crate::SpanId([1; 8]), is_sampled });
        let samples = |name, argument, caller| Sampler::parse(name, argument).unwrap().samples(trace, caller);
        assert!(samples(None, None, None));
        assert!(!samples(None, None, caller(false)));
        assert!(samples(Some("always_on"), None, caller(false)));
        assert!(!samples(Some("always_off"), None, caller(true)));
        assert!(samples(Some("parentbased_always_off"), None, caller(true)));
        assert!(!samples(Some("traceidratio"), Some("0.01"), None));
        assert!(samples(Some("traceidratio"), Some("1"), None));
        assert_eq!(Sampler::parse(Some("jaeger"), None), None);
    }
}
