//! Numbers for Prometheus: counted with atomic additions whether anybody asks or not, and written down when somebody does.
//!
//! Each part names all its numbers in one file, `metrics.rs`, as a function that writes them on a [`Page`]. Labels are words
//! of this program: no ids, no names of tenants, nothing that a request or a run brings along.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::exporter;

/// What a scrape is answered with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of a histogram, in seconds; the last bucket has none.
type Bounds = [f64; 16];
/// Of what programs do.
const BOUNDS: Bounds =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Of what people do: from a second to four weeks.
const BOUNDS_OF_PEOPLE: Bounds = [
    1.0,
    5.0,
    15.0,
    60.0,
    300.0,
    900.0,
    1_800.0,
    3_600.0,
    7_200.0,
    14_400.0,
    28_800.0,
    86_400.0,
    172_800.0,
    604_800.0,
    1_209_600.0,
    2_419_200.0,
];

static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How much it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds, or takes away.
    pub fn add(&self, count: i64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Says how much it is.
    pub fn set(&self, count: i64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// How much it is now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something takes, in buckets.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Without any.
    pub const fn new() -> Self {
        Self::with(&BOUNDS)
    }

    /// Without any, for what people do: it has buckets up to weeks.
    pub const fn of_people() -> Self {
        Self::with(&BOUNDS_OF_PEOPLE)
    }

    const fn with(bounds: &'static Bounds) -> Self {
        Self { bounds, buckets: [const { AtomicU64::new(0) }; BOUNDS.len() + 1], sum_us: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        (self.sum_us.load(Ordering::Relaxed) as f64 / 1e6, count, buckets)
    }
}

/// Labels of one number: names and values.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Where a part writes its numbers.
#[derive(Debug)]
pub struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A counter. Its name gets the ending `_total`.
    ///
    /// # Errors
    /// Of the encoder.
    pub fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    /// Counters of one name, one for each set of labels.
    ///
    /// # Errors
    /// Of the encoder.
    pub fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        counts: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in counts {
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    /// A gauge.
    ///
    /// # Errors
    /// Of the encoder.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Gauges of one name, one for each set of labels.
    ///
    /// # Errors
    /// Of the encoder.
    pub fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Histograms of one name, one for each set of labels.
    ///
    /// # Errors
    /// Of the encoder.
    pub fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = (Labels<'l>, &'l Histogram)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in histograms {
            let (sum, count, buckets) = histogram.read();
            encoder.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// From now on parts that start are asked for their numbers.
pub fn collect() {
    REGISTRY.get_or_init(|| {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Source(write_own)));
        Mutex::new(registry)
    });
}

/// Whether anybody may ask for numbers.
pub fn is_wanted() -> bool {
    REGISTRY.get().is_some()
}

/// Adds a part's numbers, if anybody may ask for them.
pub fn register(write: impl Fn(&mut Page<'_>) -> fmt::Result + Send + Sync + 'static) {
    if let Some(registry) = REGISTRY.get() {
        registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(Source(write)));
    }
}

/// All numbers of this process, in the text form of OpenMetrics.
///
/// # Errors
/// Of the encoder.
pub fn page() -> Result<String, fmt::Error> {
    let mut page = String::new();
    match REGISTRY.get() {
        Some(registry) => text::encode(&mut page, &registry.lock().unwrap_or_else(PoisonError::into_inner))?,
        None => page.push_str("# EOF\n"),
    }
    Ok(page)
}

fn write_own(page: &mut Page<'_>) -> fmt::Result {
    let version: Labels<'_> = &[("version", env!("CARGO_PKG_VERSION"))];
    page.gauges("heddle_build_info", "Always 1; which version runs", [(version, 1.0)])?;
    page.counter("heddle_spans_exported", "Spans that a collector of traces took", exporter::exported())?;
    page.counter("heddle_spans_dropped", "Spans that no collector of traces will get", exporter::dropped())
}

struct Source<F>(F);

impl<F> fmt::Debug for Source<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl<F: Fn(&mut Page<'_>) -> fmt::Result + Send + Sync + 'static> Collector for Source<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)(&mut Page(encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_down_as_openmetrics() {
        static TOOK: Histogram = Histogram::new();
        static DONE: Counter = Counter::new();
        collect();
        register(|page| {
            page.counters("test_done", "What was done", [(&[("how", "well")][..], DONE.get())])?;
            page.gauge("test_here", "Who is here", 2.0)?;
            page.histograms("test_took_seconds", "How long it took", [(&[("pool", "a")][..], &TOOK)])
        });
        DONE.add(3);
        [0, 1, 700, 90_000].into_iter().for_each(|millis| TOOK.observe(Duration::from_millis(millis)));
        let page = page().unwrap();
        for line in [
            "# TYPE test_done counter",
            "test_done_total{how=\"well\"} 3",
            "test_here 2.0",
            "test_took_seconds_sum{pool=\"a\"} 90.701",
            "test_took_seconds_count{pool=\"a\"} 4",
            "test_took_seconds_bucket{le=\"0.0005\",pool=\"a\"} 1",
            "test_took_seconds_bucket{le=\"0.001\",pool=\"a\"} 2",
            "test_took_seconds_bucket{le=\"1.0\",pool=\"a\"} 3",
            "test_took_seconds_bucket{le=\"+Inf\",pool=\"a\"} 4",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing:\n{page}");
        }
        assert!(page.ends_with("# EOF\n") && page.contains("heddle_build_info{version="), "{page}");
    }
}
