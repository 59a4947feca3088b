//! What runs beside serving, in rounds: the sweep of sessions, second judgements, upkeep of what is kept.
//! Each ends with the server; none names what it works on.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::gateway::rate::StrangerRates;
use crate::identity::Identity;
use crate::journey::Journey;
use crate::journey::held::Tries;
use crate::journey::retention::Retention;
use crate::plugins::rollout::Rollout;
use crate::session::registry::Registry;
use crate::store::StoreError;

/// Moves the coarse clock and ends what is silent or slow; gives the memory of idle rates back.
pub async fn sweep(
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    identity: Arc<Identity>,
    strangers: Option<Arc<StrangerRates>>,
) {
    let period = registry.rules().heartbeat.min(Duration::from_secs(2)) / 2;
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(10)));
    for round in 0_u64.. {
        ticks.tick().await;
        registry.sweep(clock.now_ms());
        if round % 64 == 63 {
            if let Some(rates) = &identity.rates {
                rates.tidy();
            }
            if let Some(rates) = &strangers {
                rates.tidy();
            }
        }
    }
}

/// Messages held for a failure are judged again when a generation took over or a hook is well, and now and then.
pub async fn judge_held_again(journey: Arc<Journey>, rollout: Arc<Rollout>) {
    let mut tries = Tries::default();
    loop {
        let _ = tokio::time::timeout(Duration::from_secs(2), rollout.switched()).await;
        if let Err(refusal) = journey.judge_held_again(&mut tries).await {
            tracing::warn!(why = %refusal.message, "held messages could not be judged again");
        }
    }
}

/// How often upkeep looks whether there is something to do.
const UPKEEP_EVERY: Duration = Duration::from_secs(600);
/// Erased content leaves the disk this long after, at most twice as long: well within a day.
const SCRUB_AFTER: Duration = Duration::from_secs(10 * 3600);
/// The rest between two rounds of what keeps only so much.
const RETAIN_EVERY: Duration = Duration::from_secs(15);

/// Takes off the disk what was erased as long ago as it is told; whether there was any.
pub type Scrub = Arc<dyn Fn(Duration) -> Result<bool, StoreError> + Send + Sync>;

/// What recalls erased goes from the disk too.
pub async fn scrub(scrub: Scrub) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        let (scrub, (done, scrubbed)) = (scrub.clone(), tokio::sync::oneshot::channel());
        // A thread of its own: rewriting a large log takes minutes, and nothing waits for it at the end.
        let spawned = std::thread::Builder::new()
            .name("kith-scrub".to_owned())
            .spawn(move || done.send(scrub(SCRUB_AFTER)));
        match spawned.map(|_| scrubbed) {
            Ok(scrubbed) => match scrubbed.await {
                Ok(Ok(true)) => tracing::info!("erased content was taken off the disk"),
                Ok(Err(error)) => tracing::warn!(%error, "erased content is still on the disk"),
                _ => {}
            },
            Err(error) => tracing::warn!(%error, "erased content is still on the disk"),
        }
    }
}

/// What is older, or more, than is to be kept goes.
pub async fn retain(journey: Arc<Journey>, retention: Retention) {
    loop {
        match journey.retain(retention).await {
            Ok(0) => {}
            Ok(erased) => tracing::info!(erased, "entries past their retention were erased"),
            Err(refusal) => {
                tracing::warn!(why = %refusal.message, "retention could not be kept")
            }
        }
        tokio::time::sleep(RETAIN_EVERY).await;
    }
}

/// Entries owed to logs are entered, what a crash left first.
pub async fn keep_paying(journey: Arc<Journey>) {
    journey.keep_paying().await;
}
