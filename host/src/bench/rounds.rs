//! The modes that drive messages: every contender in turn, round after round, so that what else happens on the machine
//! hits all of them.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use super::contender::Contender;
use super::load::{Load, Pace, Plan};
use super::people::Pairs;
use super::report::{Figures, Report};
use super::{Bench, Mode};

const WARM_UP: Duration = Duration::from_secs(1);

/// A contender with its connections and what was measured.
type Running = (Contender, Load, Vec<Figures>);

pub fn run(bench: &Bench) -> Result<()> {
    let (pace, pace_says) = match bench.args.mode {
        Mode::W1 => (
            Pace::InFlight(1),
            "one message in flight per pair".to_owned(),
        ),
        Mode::W16 => (
            Pace::InFlight(16),
            "16 messages in flight per pair".to_owned(),
        ),
        Mode::Rate => (
            Pace::Rate(bench.args.rate),
            format!("{} messages/s", bench.args.rate),
        ),
        Mode::Idle | Mode::Stalled | Mode::Plugins | Mode::Nodes => {
            bail!("this mode sends no rounds")
        }
    };
    let plan = Plan {
        pace,
        warm_up: WARM_UP,
        measure: Duration::from_secs_f64(bench.args.seconds),
        text_bytes: bench.args.text_bytes,
        background: None,
    };
    let mut running = start(bench)?;
    for round in 1..=bench.args.rounds {
        for (contender, load, figures) in &mut running {
            let figure = measure(contender, load, &plan)?;
            bench.progress(&format!(
                "round {round} of {}: {:<18}{:>8.0}/s {:>8.1} µs",
                bench.args.rounds, contender.name, figure.delivered, figure.cpu_us
            ));
            figures.push(figure);
        }
    }
    let report = report(bench, &pace_says, running);
    if bench.args.json {
        println!("{:#}", report.json());
    } else {
        report.print();
    }
    Ok(())
}

fn start(bench: &Bench) -> Result<Vec<Running>> {
    let mut contenders = Vec::new();
    if bench.args.anchor {
        if bench.args.mode == Mode::W1 {
            contenders.push(Contender::echo(bench.cores)?);
        }
        contenders.push(Contender::anchor(bench.cores, bench.folder.path())?);
    }
    contenders.push(bench.kith_without_plugins()?);
    contenders.push(bench.kith()?);
    let mut running = Vec::new();
    for contender in contenders {
        let mut pairs = Pairs::default();
        pairs.add(&contender, "bench", bench.pairs())?;
        let load = pairs.load(contender.speech)?;
        bench.progress(&format!(
            "{}: {} connections",
            contender.name,
            load.connections()
        ));
        running.push((contender, load, Vec::new()));
    }
    Ok(running)
}

fn report(bench: &Bench, pace_says: &str, running: Vec<Running>) -> Report {
    let args = &bench.args;
    let contenders = running.into_iter();
    Report {
        title: format!(
            "{pace_says}, {} pairs, {}-byte texts, {} words; medians of {} rounds of {} s",
            bench.pairs(),
            args.text_bytes,
            args.words,
            args.rounds,
            args.seconds
        ),
        setting: json!({
            "mode": format!("{:?}", args.mode).to_lowercase(), "rate": args.rate,
            "pairs": bench.pairs(), "text_bytes": args.text_bytes, "words": args.words,
            "rounds": args.rounds, "seconds": args.seconds,
        }),
        contenders: contenders
            .map(|(contender, _, figures)| (contender.name, figures))
            .collect(),
    }
}

/// One round, with what it cost the server while it counted.
pub fn measure(contender: &Contender, load: &mut Load, plan: &Plan) -> Result<Figures> {
    let mut marks = Vec::new();
    let counted = load.run(plan, &mut || {
        marks.push(contender.cpu()?);
        Ok(())
    })?;
    let cost = match marks[..] {
        [before, after] => after.saturating_sub(before),
        _ => bail!("the round ended before it was counted"),
    };
    Ok(Figures::of(&counted, cost))
}
