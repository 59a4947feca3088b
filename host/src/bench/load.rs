//! The load: pairs of connections that send and receive, one thread, one epoll. It records when each message was due,
//! acknowledged and delivered; nothing else happens between the system calls.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::link::Link;
use super::people::FILLER;
use super::speech::{self, Address, Heard, Speech};

/// How messages follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// This many of each pair are under way at any time.
    InFlight(usize),
    /// This many a second over all pairs, whatever the answers; latencies count from when a message was due.
    Rate(f64),
}

/// How a round goes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub pace: Pace,
    /// Not counted.
    pub warm_up: Duration,
    pub measure: Duration,
    pub text_bytes: usize,
    /// What the pairs do that are not measured.
    pub background: Option<Background>,
}

/// Messages of the pairs that are not measured.
#[derive(Debug, Clone, Copy)]
pub struct Background {
    /// Messages a second over all of them.
    pub rate: f64,
    pub text_bytes: usize,
}

/// One sender with its receiver; the receiver is the sender itself where bytes come back.
#[derive(Debug)]
pub struct Pair {
    /// The sender's connection.
    pub sender: usize,
    /// Its latencies count; the others are background.
    pub measured: bool,
    /// Somebody reads what arrives.
    pub is_read: bool,
    pub address: Address,
    /// Distinguishes the client ids of several runs.
    client: u64,
    /// The next message's number.
    next: u64,
    deliveries: VecDeque<(u64, Instant)>,
}

impl Pair {
    pub fn new(sender: usize, address: Address) -> Self {
        Self {
            sender,
            measured: true,
            is_read: true,
            address,
            client: rand::random(),
            next: 1,
            deliveries: VecDeque::new(),
        }
    }
}

/// What was counted; latencies in nanoseconds.
#[derive(Debug)]
pub struct Counted {
    pub committed: u64,
    pub delivered: u64,
    pub seconds: f64,
    pub ack: Histogram<u64>,
    pub delivery: Histogram<u64>,
}

/// The generator over one contender's connections.
pub struct Load {
    speech: Speech,
    links: Vec<Link>,
    /// The measured ones first.
    pairs: Vec<Pair>,
    measured: usize,
    /// Which pair's messages a connection receives.
    pair_of: Vec<usize>,
    /// Requests of each connection that wait for their answer: number, when due, whether it counts.
    acks: Vec<VecDeque<(u64, Instant, bool)>>,
    epoll: OwnedFd,
    dirty: Vec<usize>,
    /// Acks and arrivals that are still to come.
    under_way: usize,
}

/// How long the last messages of a round may take to arrive.
const DRAIN: Duration = Duration::from_secs(20);
const EVENTS: usize = 1024;

impl Load {
    /// `pair_of` gives the pair whose messages each connection receives.
    pub fn new(
        speech: Speech,
        links: Vec<Link>,
        mut pairs: Vec<Pair>,
        pair_of: Vec<usize>,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, link) in links.iter().enumerate() {
            link.unblock()?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &link.stream, data, epoll::EventFlags::IN)?;
        }
        debug_assert!(pairs.is_sorted_by_key(|pair| !pair.measured));
        pairs.shrink_to_fit();
        Ok(Self {
            speech,
            acks: links.iter().map(|_| VecDeque::new()).collect(),
            measured: pairs.iter().filter(|pair| pair.measured).count(),
            links,
            pairs,
            pair_of,
            epoll,
            dirty: Vec::new(),
            under_way: 0,
        })
    }

    /// Runs one round. `mark` is called when counting begins and when it ends.
    pub fn run(&mut self, plan: &Plan, mark: &mut dyn FnMut() -> Result<()>) -> Result<Counted> {
        let start = Instant::now();
        let (from, to) = (start + plan.warm_up, start + plan.warm_up + plan.measure);
        let mut counted = Counted::new(plan.measure)?;
        let mut schedules = self.schedules(plan, start);
        let mut marked = 0;
        if let Pace::InFlight(window) = plan.pace {
            for pair in (0..self.measured).flat_map(|pair| std::iter::repeat_n(pair, window)) {
                self.send(pair, start, plan.text_bytes);
            }
        }
        loop {
            let now = Instant::now();
            if (marked == 0 && now >= from) || (marked == 1 && now >= to) {
                mark()?;
                marked += 1;
            }
            let sending = now < to;
            if !sending && self.under_way == 0 {
                return Ok(counted);
            }
            if now > to + DRAIN {
                bail!("{} acks and arrivals never came", self.under_way);
            }
            let mut wake = if sending { to } else { now + DRAIN };
            for schedule in schedules.iter_mut().filter(|_| sending) {
                while let Some((pair, due)) = schedule.next_due(now) {
                    self.send(pair, due, schedule.text_bytes);
                }
                wake = wake.min(schedule.due);
            }
            self.flush()?;
            let again = sending && matches!(plan.pace, Pace::InFlight(_));
            for heard in self.wait(wake)? {
                if heard.measured && heard.at >= from && heard.at < to {
                    counted.count(&heard);
                }
                if again && heard.measured && heard.kind == Kind::Delivery {
                    self.send(heard.pair, heard.at, plan.text_bytes);
                }
            }
        }
    }

    fn schedules(&self, plan: &Plan, start: Instant) -> Vec<Schedule> {
        let mut schedules = Vec::new();
        if let Pace::Rate(rate) = plan.pace {
            schedules.push(Schedule::new(
                0..self.measured,
                rate,
                plan.text_bytes,
                start,
            ));
        }
        if let Some(background) = plan.background {
            let pairs = self.measured..self.pairs.len();
            schedules.push(Schedule::new(
                pairs,
                background.rate,
                background.text_bytes,
                start,
            ));
        }
        schedules
    }

    fn send(&mut self, pair: usize, due: Instant, bytes: usize) {
        let pair = &mut self.pairs[pair];
        let number = pair.next;
        pair.next += 1;
        let text = speech::text(number, bytes, FILLER);
        let mut payload = Vec::with_capacity(bytes + 160);
        self.speech
            .message(&pair.address, pair.client, number, &text, &mut payload);
        self.links[pair.sender].queue(&payload);
        self.dirty.push(pair.sender);
        if self.speech != Speech::Echo {
            self.acks[pair.sender].push_back((number, due, pair.measured));
            self.under_way += 1;
        }
        if pair.is_read {
            pair.deliveries.push_back((number, due));
            self.under_way += 1;
        }
    }

    fn flush(&mut self) -> Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        for index in dirty {
            if !self.links[index].flush()? {
                self.dirty.push(index);
            }
        }
        Ok(())
    }

    /// Waits for arrivals.
    fn wait(&mut self, until: Instant) -> Result<Vec<Arrival>> {
        let mut events = Vec::with_capacity(EVENTS);
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, room, Some(&left)) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            result => result.context("epoll")?,
        };
        let mut arrivals = Vec::new();
        let mut heard = Vec::new();
        for event in events {
            let link = event.data.u64() as usize;
            let speech = self.speech;
            self.links[link].receive(|payload| heard.push(speech.hear(payload)))?;
            let at = Instant::now();
            for heard in heard.drain(..) {
                arrivals.extend(self.note(link, heard, at)?);
            }
        }
        Ok(arrivals)
    }

    /// Checks that what arrived is the next in order: nothing lost, nothing twice.
    fn note(&mut self, link: usize, heard: Heard, at: Instant) -> Result<Option<Arrival>> {
        let pair = self.pair_of[link];
        let (kind, number, next) = match heard {
            Heard::Nothing => return Ok(None),
            Heard::Refused(why) => bail!("a message was refused: {why}"),
            Heard::Ack(number) => (Kind::Ack, number, self.acks[link].pop_front()),
            Heard::Delivery(number) => {
                let pair = &mut self.pairs[pair];
                let next = pair.deliveries.pop_front();
                let next = next.map(|(number, due)| (number, due, pair.measured));
                (Kind::Delivery, number, next)
            }
        };
        match next {
            Some((expected, due, measured)) if expected == number => {
                self.under_way -= 1;
                Ok(Some(Arrival {
                    pair,
                    kind,
                    measured,
                    due,
                    at,
                }))
            }
            next => bail!(
                "{kind:?} of message {number}, where {:?} was next",
                next.map(|(number, ..)| number)
            ),
        }
    }

    pub fn connections(&self) -> usize {
        self.links.len()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ack,
    Delivery,
}

/// Something that was waited for.
struct Arrival {
    pair: usize,
    kind: Kind,
    measured: bool,
    due: Instant,
    at: Instant,
}

impl Counted {
    fn new(measure: Duration) -> Result<Self> {
        // One microsecond to one minute, three digits.
        let histogram = || Histogram::new_with_bounds(1_000, 60_000_000_000, 3);
        Ok(Self {
            committed: 0,
            delivered: 0,
            seconds: measure.as_secs_f64(),
            ack: histogram()?,
            delivery: histogram()?,
        })
    }

    fn count(&mut self, arrival: &Arrival) {
        let took = arrival.at - arrival.due;
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let (count, histogram) = match arrival.kind {
            Kind::Ack => (&mut self.committed, &mut self.ack),
            Kind::Delivery => (&mut self.delivered, &mut self.delivery),
        };
        *count += 1;
        histogram.saturating_record(took);
    }
}

/// Pairs that take turns at a fixed rate.
struct Schedule {
    pairs: std::ops::Range<usize>,
    turn: usize,
    every: Duration,
    due: Instant,
    text_bytes: usize,
}

impl Schedule {
    fn new(pairs: std::ops::Range<usize>, rate: f64, text_bytes: usize, start: Instant) -> Self {
        Self {
            turn: pairs.start,
            pairs,
            every: Duration::from_secs_f64(1.0 / rate),
            due: start,
            text_bytes,
        }
    }

    /// A pair whose turn has come, and when it came.
    fn next_due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        if self.due > now || self.pairs.is_empty() {
            return None;
        }
        let (pair, due) = (self.turn, self.due);
        self.turn += 1;
        if self.turn == self.pairs.end {
            self.turn = self.pairs.start;
        }
        self.due += self.every;
        Some((pair, due))
    }
}
