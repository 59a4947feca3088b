//! Families of samples that are made when somebody asks: what is known elsewhere is looked at and put into Prometheus'
//! terms here. Nothing is counted here.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// One sample with its labels.
pub struct Row {
    labels: Vec<LabelPair>,
    value: f64,
}

impl Row {
    pub fn new<const N: usize>(labels: [(&str, String); N], value: f64) -> Self {
        Self {
            labels: pairs(labels),
            value,
        }
    }
}

/// Families in the making.
#[derive(Default)]
pub struct Families(Vec<MetricFamily>);

impl Families {
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, vec![Row::new([], value)]);
    }

    pub fn gauges(&mut self, name: &str, help: &str, rows: Vec<Row>) {
        let metric = |row: Row| {
            let mut metric = Metric::from_label(row.labels);
            let mut gauge = Gauge::default();
            gauge.set_value(row.value);
            metric.set_gauge(gauge);
            metric
        };
        let metrics = rows.into_iter().map(metric).collect();
        self.add(name, help, MetricType::GAUGE, metrics);
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, vec![Row::new([], number(value))]);
    }

    pub fn counters(&mut self, name: &str, help: &str, rows: Vec<Row>) {
        let metric = |row: Row| {
            let mut metric = Metric::from_label(row.labels);
            let mut counter = Counter::default();
            counter.set_value(row.value);
            metric.set_counter(counter);
            metric
        };
        let metrics = rows.into_iter().map(metric).collect();
        self.add(name, help, MetricType::COUNTER, metrics);
    }

    /// Histograms: of each its labels, its classes (upper bound and count, each by itself, rising), what is above the
    /// last bound, and the sum of all.
    pub fn histograms<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: Vec<Classes<'_, N>>,
    ) {
        let metrics = rows.into_iter().map(Classes::into_metric).collect();
        self.add(name, help, MetricType::HISTOGRAM, metrics);
    }

    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        self.0
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

/// One histogram.
pub struct Classes<'a, const N: usize> {
    pub labels: [(&'a str, String); N],
    pub classes: Vec<(f64, u64)>,
    pub above: u64,
    pub sum: f64,
}

impl<const N: usize> Classes<'_, N> {
    fn into_metric(self) -> Metric {
        let mut counted = 0;
        let bucket = |(bound, count)| {
            counted += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(counted);
            bucket
        };
        let buckets: Vec<Bucket> = self.classes.into_iter().map(bucket).collect();
        let mut histogram = Histogram::default();
        histogram.set_sample_count(counted + self.above);
        histogram.set_sample_sum(self.sum);
        histogram.set_bucket(buckets);
        let mut metric = Metric::from_label(pairs(self.labels));
        metric.set_histogram(histogram);
        metric
    }
}

/// By name, as the counters' own are.
fn pairs<const N: usize>(mut labels: [(&str, String); N]) -> Vec<LabelPair> {
    labels.sort_unstable_by(|one, other| one.0.cmp(other.0));
    let pair = |(name, value): (&str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    };
    labels.map(pair).into()
}

/// A count as a sample: exact up to 2^53.
pub fn number(count: u64) -> f64 {
    count as f64
}
