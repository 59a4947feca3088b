//! Figures as people and as programs read them: medians over the rounds, and what they are in terms of the anchor's.
//! It measures nothing.

use serde_json::{Value, json};

use super::load::Counted;

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 4] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99_9", 99.9)];

/// One round of one contender.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Messages a second, by their acks and by their arrivals.
    pub committed: f64,
    pub delivered: f64,
    /// Microseconds of the server's CPU time per delivered message.
    pub cpu_us: f64,
    /// Milliseconds, by percentile. Empty where there are no acks.
    pub ack_ms: Vec<f64>,
    pub delivery_ms: Vec<f64>,
}

impl Figures {
    pub fn of(counted: &Counted, cpu: std::time::Duration) -> Self {
        let percentiles = |histogram: &hdrhistogram::Histogram<u64>| {
            if histogram.is_empty() {
                return Vec::new();
            }
            let at = |(_, percentile)| histogram.value_at_percentile(percentile) as f64 / 1e6;
            PERCENTILES.map(at).to_vec()
        };
        Self {
            committed: counted.committed as f64 / counted.seconds,
            delivered: counted.delivered as f64 / counted.seconds,
            cpu_us: cpu.as_secs_f64() * 1e6 / counted.delivered.max(1) as f64,
            ack_ms: percentiles(&counted.ack),
            delivery_ms: percentiles(&counted.delivery),
        }
    }

    /// The median of each figure by itself.
    pub fn median(rounds: &[Self]) -> Self {
        let by = |figure: &dyn Fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        let list = |figures: &dyn Fn(&Self) -> &Vec<f64>| {
            let length = rounds.first().map_or(0, |round| figures(round).len());
            (0..length)
                .map(|at| by(&|round| figures(round)[at]))
                .collect()
        };
        Self {
            committed: by(&|round| round.committed),
            delivered: by(&|round| round.delivered),
            cpu_us: by(&|round| round.cpu_us),
            ack_ms: list(&|round| &round.ack_ms),
            delivery_ms: list(&|round| &round.delivery_ms),
        }
    }

    fn json(&self) -> Value {
        let named = |values: &[f64]| -> Value {
            let pairs = PERCENTILES.iter().zip(values);
            pairs
                .map(|((name, _), value)| ((*name).to_owned(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "committed_per_s": self.committed, "delivered_per_s": self.delivered,
            "cpu_us_per_message": self.cpu_us,
            "ack_ms": named(&self.ack_ms), "delivery_ms": named(&self.delivery_ms),
        })
    }
}

/// All rounds of one mode.
#[derive(Debug)]
pub struct Report {
    /// What was done, for people.
    pub title: String,
    /// What was done, for programs.
    pub setting: Value,
    pub contenders: Vec<(&'static str, Vec<Figures>)>,
}

impl Report {
    pub fn json(&self) -> Value {
        let contenders: serde_json::Map<_, _> = self
            .contenders
            .iter()
            .map(|(name, rounds)| {
                let each: Vec<_> = rounds.iter().map(Figures::json).collect();
                (
                    (*name).to_owned(),
                    json!({"median": Figures::median(rounds).json(), "rounds": each}),
                )
            })
            .collect();
        json!({
            "setting": self.setting, "contenders": contenders,
            "ratios": self.ratios().into_iter().collect::<serde_json::Map<_, _>>(),
        })
    }

    pub fn print(&self) {
        println!("{}\n", self.title);
        println!(
            "{:<18}{:>13}{:>13}{:>9}   {:>31}   {:>31}",
            "",
            "committed/s",
            "delivered/s",
            "CPU µs",
            "ack ms p50   p90   p99  p99.9",
            "delivery p50   p90   p99  p99.9"
        );
        for (name, rounds) in &self.contenders {
            let median = Figures::median(rounds);
            println!(
                "{name:<18}{:>13.0}{:>13.0}{:>9.1}   {:>31}   {:>31}",
                median.committed,
                median.delivered,
                median.cpu_us,
                milliseconds(&median.ack_ms),
                milliseconds(&median.delivery_ms)
            );
        }
        println!();
        for (name, value) in self.ratios() {
            println!("{name:<52}{:>8.2}", value.as_f64().unwrap_or_default());
        }
    }

    /// Kith in terms of the anchor, the anchor in terms of the echo, the plugins by themselves.
    fn ratios(&self) -> Vec<(String, Value)> {
        const FIGURES: [(&str, Figure); 5] = [
            ("CPU per message", |round| Some(round.cpu_us)),
            ("delivery p50", |round| round.delivery_ms.first().copied()),
            ("delivery p99", |round| round.delivery_ms.get(2).copied()),
            ("ack p50", |round| round.ack_ms.first().copied()),
            ("ack p99", |round| round.ack_ms.get(2).copied()),
        ];
        let cpu = &FIGURES[..1];
        let mut ratios = Vec::new();
        for (name, other, figures) in [
            ("kith", "anchor", &FIGURES[..]),
            ("kith, no plugins", "anchor", &FIGURES[..]),
            ("anchor", "tcp echo", cpu),
        ] {
            let (Some(one), Some(other_rounds)) = (self.rounds(name), self.rounds(other)) else {
                continue;
            };
            for (what, figure) in figures {
                if let Some(ratio) = ratio(one, other_rounds, *figure) {
                    ratios.push((format!("{name} / {other}: {what}"), json!(ratio)));
                }
            }
        }
        if let (Some(with), Some(without)) = (self.rounds("kith"), self.rounds("kith, no plugins"))
        {
            let pairs = with.iter().zip(without);
            let each = pairs.map(|(with, without)| with.cpu_us - without.cpu_us);
            let name = "plugins: CPU µs per message".to_owned();
            ratios.push((name, json!(median(each.collect()))));
        }
        ratios
    }

    fn rounds(&self, name: &str) -> Option<&[Figures]> {
        let found = self
            .contenders
            .iter()
            .find(|(contender, _)| *contender == name);
        found.map(|(_, rounds)| rounds.as_slice())
    }
}

/// One figure of a round; `None` where it was not measured.
type Figure = fn(&Figures) -> Option<f64>;

/// The median of the rounds' ratios: rounds that ran one after the other are compared with each other.
fn ratio(one: &[Figures], other: &[Figures], figure: Figure) -> Option<f64> {
    let pairs = one.iter().zip(other);
    let each: Option<Vec<f64>> = pairs
        .map(|(one, other)| Some(figure(one)? / figure(other)?))
        .collect();
    each.filter(|each| !each.is_empty()).map(median)
}

fn milliseconds(values: &[f64]) -> String {
    let shown: Vec<_> = values.iter().map(|value| format!("{value:.2}")).collect();
    shown.join("  ")
}

/// The middle value; of an even number the mean of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_no_ones_favourite() {
        assert_eq!(median(vec![3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
    }
}
