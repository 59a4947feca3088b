//! What a run has in common: its seed and what is drawn from it, its story, what was found wrong, its time. Nothing here
//! looks at the machine's clock, and everything is drawn in the order in which one thread comes to it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kith::clock::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::defects::Defect;

/// When every run begins, milliseconds since 1970 UTC.
const BEGINNING: u64 = 1_700_000_000_000;

/// One run.
pub struct Sim {
    drawn: Mutex<u64>,
    pub defect: Option<Defect>,
    began: Instant,
    story: Mutex<Vec<String>>,
    wrong: Mutex<Option<String>>,
    calm: AtomicBool,
    untold: AtomicBool,
}

impl Sim {
    pub fn new(seed: u64, defect: Option<Defect>) -> Arc<Self> {
        Arc::new(Self {
            drawn: Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d),
            defect,
            began: Instant::now(),
            story: Mutex::default(),
            wrong: Mutex::default(),
            calm: AtomicBool::new(false),
            untold: AtomicBool::new(false),
        })
    }

    pub fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// The next number drawn.
    pub fn draw(&self) -> u64 {
        let mut drawn = self.drawn.lock();
        *drawn = drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *drawn;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below one.
    pub fn below(&self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }

    /// Whether something happens that does so many times in a hundred. Nothing does once it is calm.
    pub fn happens(&self, percent: u64) -> bool {
        let drawn = self.draw() % 100;
        !self.is_calm() && drawn < percent
    }

    /// A while of at least and at most so many milliseconds.
    pub fn while_of(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.draw() % (most - least + 1))
    }

    /// From now on no fault happens.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Something may be committed that nobody was told of, and that nobody asks for again: its node ended, or was not answered
    /// for too long.
    pub fn may_be_untold(&self) {
        self.untold.store(true, Ordering::Relaxed);
    }

    pub fn is_untold(&self) -> bool {
        self.untold.load(Ordering::Relaxed)
    }

    /// Milliseconds since the run began.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds to the story.
    pub fn tell(&self, what: std::fmt::Arguments<'_>) {
        let mut line = String::with_capacity(64);
        let _ = write!(line, "{:>6} ms  {what}", self.elapsed_ms());
        self.story.lock().push(line);
    }

    /// An invariant does not hold. The first one that is found ends the run.
    pub fn wrong(&self, what: std::fmt::Arguments<'_>) {
        let mut wrong = self.wrong.lock();
        if wrong.is_none() {
            *wrong = Some(what.to_string());
            drop(wrong);
            self.tell(format_args!("WRONG: {what}"));
        }
    }

    pub fn what_is_wrong(&self) -> Option<String> {
        self.wrong.lock().clone()
    }

    pub fn story(&self) -> Vec<String> {
        self.story.lock().clone()
    }
}

/// Adds a line to a run's story.
macro_rules! tell {
    ($sim:expr, $($what:tt)*) => { $sim.tell(format_args!($($what)*)) };
}
/// Notes what does not hold.
macro_rules! wrong {
    ($sim:expr, $($what:tt)*) => { $sim.wrong(format_args!($($what)*)) };
}
pub(crate) use {tell, wrong};

/// A node's clock: the run's, and a little beside it.
pub struct NodeClock {
    pub sim: Arc<Sim>,
    pub ahead_ms: u64,
}

impl Clock for NodeClock {
    fn now_ms(&self) -> u64 {
        BEGINNING + self.ahead_ms + self.sim.elapsed_ms()
    }
}
