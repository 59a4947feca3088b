//! When a plugin wants to be called by the clock: reads what it names, and says which time is due after another. It keeps
//! nothing and asks no clock.

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};

use crate::bindings::schedules;
use crate::error::LoadError;
use crate::instance::{Factory, classify};

const SCHEDULES_MAX: usize = 8;
const NAME_CHARS_MAX: usize = 64;
const WHEN_CHARS_MAX: usize = 256;
/// Longest interval: a year.
const EVERY_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

/// Times that come again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When(Times);

#[derive(Debug, Clone)]
enum Times {
    /// At whole multiples of so many milliseconds since 1970.
    Every(u64),
    Cron(Box<Crontab>, String),
}

impl PartialEq for Times {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every(one), Self::Every(another)) => one == another,
            (Self::Cron(_, one), Self::Cron(_, another)) => one == another,
            _ => false,
        }
    }
}

impl Eq for Times {}

impl When {
    /// Reads `every 10m`, or five fields of cron with or without a time zone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > WHEN_CHARS_MAX {
            return Err(format!("a time has at most {WHEN_CHARS_MAX} characters"));
        }
        if let Some(every) = text.strip_prefix("every ") {
            return interval(every.trim()).map(|ms| Self(Times::Every(ms)));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let cron = parse_crontab_with(text, options)
            .map_err(|error| format!("{text:?} is no time: {error}"))?;
        let when = Self(Times::Cron(Box::new(cron), text.to_owned()));
        match when.after(0) {
            Some(_) => Ok(when),
            None => Err(format!("{text:?} never comes")),
        }
    }

    /// The first time after another, milliseconds since 1970 UTC; none where there is none within years.
    pub fn after(&self, ms: u64) -> Option<u64> {
        match &self.0 {
            Times::Every(every) => (ms / every).checked_add(1)?.checked_mul(*every),
            Times::Cron(cron, _) => {
                let from = MakeTimestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
                let next = cron.find_next(from).ok()?;
                u64::try_from(next.timestamp().as_millisecond()).ok()
            }
        }
    }
}

fn interval(text: &str) -> Result<u64, String> {
    let wrong = || format!("every {text:?} is no interval, such as 30s, 10m, 6h or 1d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).map(str::parse::<u64>);
    let Some(Ok(number)) = number else {
        return Err(wrong());
    };
    let ms = match unit {
        's' => 1000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(wrong()),
    };
    let every = number.saturating_mul(ms);
    match every {
        1000..=EVERY_MS_MAX => Ok(every),
        _ => Err(format!("every {text}: from a second to a year can be said")),
    }
}

/// What `of` gave, read.
pub(crate) fn parsed(schedules: &[(String, String)]) -> Vec<(String, When)> {
    let read = |(name, when): &(String, String)| Some((name.clone(), When::parse(when).ok()?));
    schedules.iter().filter_map(read).collect()
}

/// The schedules a component names under its configuration, each with a time that can be read.
pub(crate) fn of(factory: &Factory) -> Result<Vec<(String, String)>, LoadError> {
    let Some(exports) = &factory.exports.schedules else {
        return Ok(Vec::new());
    };
    let mut instance = factory.make().map_err(LoadError::Schedules)?;
    instance.arm(factory.settings.ticks(factory.settings.preparation_stop), 0);
    let guest: wasmtime::Result<schedules::Guest> =
        exports.load(&mut instance.store, &instance.component);
    let named = guest.and_then(|guest| guest.call_times(&mut instance.store));
    let named =
        named.map_err(|error| LoadError::Schedules(classify(&error, instance.store.data_mut())))?;
    check(named).map_err(LoadError::BadSchedules)
}

fn check(named: Vec<schedules::Schedule>) -> Result<Vec<(String, String)>, String> {
    if named.len() > SCHEDULES_MAX {
        return Err(format!(
            "{} of them; at most {SCHEDULES_MAX} are taken",
            named.len()
        ));
    }
    let mut checked: Vec<(String, String)> = Vec::with_capacity(named.len());
    for schedules::Schedule { name, when } in named {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
            return Err(format!(
                "the name {name:.80?} is not 1 to {NAME_CHARS_MAX} of a-z, 0-9 and -"
            ));
        }
        if checked.iter().any(|(known, _)| *known == name) {
            return Err(format!("{name} is named twice"));
        }
        When::parse(&when).map_err(|why| format!("{name}: {why}"))?;
        checked.push((name, when));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_come_at_their_multiples() {
        let when = When::parse("every 10m").expect("a time");
        assert_eq!(when.after(0), Some(600_000));
        assert_eq!(when.after(599_999), Some(600_000));
        assert_eq!(when.after(600_000), Some(1_200_000));
        for wrong in [
            "every",
            "every 10",
            "every 0s",
            "every 10y",
            "every 999999d",
            "every 1.5h",
        ] {
            assert!(When::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cron_is_read_in_utc_or_in_its_own_zone() {
        // 1970-01-01 was a Thursday.
        let hour = 3_600_000;
        let when = When::parse("0 9 * * *").expect("a time");
        assert_eq!(when.after(0), Some(9 * hour));
        assert_eq!(when.after(9 * hour), Some(33 * hour));
        let when = When::parse("0 9 * * 1-5 Asia/Shanghai").expect("a time");
        assert_eq!(when.after(0), Some(hour));
        assert_eq!(
            when.after(25 * hour),
            Some((4 * 24 + 1) * hour),
            "not on Saturday"
        );
        for wrong in [
            "",
            "0 9 * *",
            "60 9 * * *",
            "0 0 30 2 *",
            "0 9 * * * Moon/Base",
        ] {
            assert!(When::parse(wrong).is_err(), "{wrong}");
        }
    }
}
