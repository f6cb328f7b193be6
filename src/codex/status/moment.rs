//! When is `10:02 on 26 Apr`?
//!
//! Codex prints resets in local time, without a zone and mostly without a year. What is no
//! time beyond doubt is none: a wrong reset does more harm than a missing one.

use std::sync::LazyLock;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};
use regex::{Captures, Regex};

use crate::time::{self, Zone};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// How many days from the sight a day without a year may lie. Half a year is the nearest of any
/// day; a 29 February may be years away, and then nobody meant it.
const FAR: i64 = 200;

/// Where and when a text was seen, which is what its times are relative to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    /// Whose wall clock the text shows.
    pub(super) zone: &'a Zone,
    /// When it was seen.
    pub(super) seen_at: DateTime<Utc>,
    /// The year of days without one; otherwise the one that puts them nearest to `seen_at`.
    pub(super) reference_year: Option<i32>,
}

const TIME: &str = r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?(?:\s*(?P<half>[ap])\.?m\b\.?)?";
const DAY_MONTH: &str = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?\.?\s+(?P<month>[a-z]{3,9})\.?(?:,?\s+(?P<year>[0-9]{4}))?";
const MONTH_DAY: &str =
    r"(?P<month>[a-z]{3,9})\.?\s+(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?(?:,?\s+(?P<year>[0-9]{4}))?";
const ISO: &str = r"(?P<year>[0-9]{4})-(?P<number>[0-9]{2})-(?P<day>[0-9]{2})";

/// Every way a time is written, from the whole text.
static FORMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let days = [DAY_MONTH, MONTH_DAY, ISO];
    let time_first = days.iter().map(|day| format!(r"{TIME},?\s+(?:on\s+)?{day}"));
    let day_first = days.iter().map(|day| format!(r"(?:on\s+)?{day}(?:,|,?\s+at)?(?:\s+|t){TIME}"));
    std::iter::once(TIME.to_owned())
        .chain(time_first)
        .chain(day_first)
        .filter_map(|form| Regex::new(&format!(r"(?i)^(?:at\s+)?{form}$")).ok())
        .collect()
});

static DISTANCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let unit = |name: &str, letters: &str| format!(r"(?:(?P<{name}>[0-9]{{1,4}})\s*{letters}\s*)?");
    let (days, hours) = (unit("days", "d(?:ays?)?"), unit("hours", "h(?:ours?)?"));
    let (minutes, seconds) =
        (unit("minutes", "m(?:in(?:ute)?s?)?"), unit("seconds", "s(?:ec(?:ond)?s?)?"));
    Regex::new(&format!(r"(?i)^in\s+{days}{hours}{minutes}{seconds}$")).ok()
});

/// The instant a text such as `09:57 on 24 Nov`, `Nov 23rd, 2026 5:31 PM` or `10:51 AM` means.
///
/// A time of day alone is the next one, the running minute included. Anything else, and any
/// day that does not exist, is `None`.
pub(super) fn read(text: &str, sight: &Sight<'_>) -> Option<DateTime<Utc>> {
    let text = text.trim().trim_end_matches('.');
    distance(text, sight)
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()))
        .or_else(|| {
            let found = FORMS.iter().find_map(|form| form.captures(text))?;
            let time = time_of_day(&found)?;
            if found.name("day").is_none() {
                let minute = sight.seen_at.with_second(0)?.with_nanosecond(0)?;
                return time::next(time, sight.zone, minute);
            }
            nearest(&found, time, sight)
        })
        .filter(|at| (1970..=9999).contains(&at.year()))
}

/// `in 2 days 3 hours`, as older versions say it.
fn distance(text: &str, sight: &Sight<'_>) -> Option<DateTime<Utc>> {
    let found = DISTANCE.as_ref()?.captures(text)?;
    let units = [("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1)];
    let mut seconds = None;
    for (name, length) in units {
        if let Some(count) = number::<i64>(&found, name) {
            seconds = Some(seconds.unwrap_or(0) + count * length);
        }
    }
    sight.seen_at.checked_add_signed(TimeDelta::try_seconds(seconds?)?)
}

fn time_of_day(found: &Captures<'_>) -> Option<NaiveTime> {
    let hour: u32 = number(found, "hour")?;
    let half = found.name("half").map(|half| half.as_str().to_ascii_lowercase());
    let hour = match half.as_deref() {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("p") => hour % 12 + 12,
        Some(_) => hour % 12,
    };
    NaiveTime::from_hms_opt(hour, number(found, "minute")?, number(found, "second").unwrap_or(0))
}

/// A day and a month, in the year that is written, given or nearest.
fn nearest(found: &Captures<'_>, time: NaiveTime, sight: &Sight<'_>) -> Option<DateTime<Utc>> {
    let day = number(found, "day")?;
    let month = number(found, "number").or_else(|| month(found.name("month")?.as_str()))?;
    let seen = sight.zone.wall(sight.seen_at).year();
    let years = match number(found, "year").or(sight.reference_year) {
        Some(year) => year..=year,
        None => seen.saturating_sub(1)..=seen.saturating_add(1),
    };
    let is_given = found.name("year").is_some() || sight.reference_year.is_some();
    // From the latest year down, so that of two equally near the later is taken.
    years
        .rev()
        .filter_map(|year| NaiveDate::from_ymd_opt(year, month, day))
        .map(|date| sight.zone.instant(date.and_time(time)))
        .filter(|at| is_given || (*at - sight.seen_at).num_days().abs() <= FAR)
        .min_by_key(|at| (*at - sight.seen_at).abs())
}

/// The month that a name of three letters or more abbreviates.
fn month(name: &str) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let name = if name == "sept" { "sep" } else { &name };
    (1..).zip(MONTHS).find(|(_, whole)| whole.starts_with(name)).map(|(number, _)| number)
}

fn number<N: std::str::FromStr>(found: &Captures<'_>, name: &str) -> Option<N> {
    found.name(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Stamp;

    #[test]
    #[rustfmt::skip]
    fn a_day_without_a_year_is_the_nearest_and_a_time_alone_the_next() {
        // Seen in Berlin at 2026-04-21 12:00:30.
        check("10:02 on 26 Apr",             Some("2026-04-26T10:02:00+02:00"));
        check("9:05 on 3 may",               Some("2026-05-03T09:05:00+02:00"));
        check("10:02 on 26 April",           Some("2026-04-26T10:02:00+02:00"));
        check("10:02 on Apr 26",             Some("2026-04-26T10:02:00+02:00"));
        check("10:02 on 26 Apr 2025",        Some("2025-04-26T10:02:00+02:00"));
        check("10:02 on 20 Oct",             Some("2026-10-20T10:02:00+02:00")); // 182 days ahead
        check("10:02 on 25 Oct",             Some("2025-10-25T10:02:00+02:00")); // 178 days back
        check("0:30 on 1 Jan",               Some("2026-01-01T00:30:00+01:00"));
        check("Nov 23rd, 2026 5:31 PM",      Some("2026-11-23T17:31:00+01:00"));
        check("Apr 22nd, 2026 12:05 AM",     Some("2026-04-22T00:05:00+02:00"));
        check("April 22, 12:05 pm",          Some("2026-04-22T12:05:00+02:00"));
        check("26 Apr at 10:02",             Some("2026-04-26T10:02:00+02:00"));
        check("2026-04-26 10:02",            Some("2026-04-26T10:02:00+02:00"));
        check("2026-04-26T10:02:03Z",        Some("2026-04-26T12:02:03+02:00"));
        check("15:57",                       Some("2026-04-21T15:57:00+02:00"));
        check("3:57 p.m.",                   Some("2026-04-21T15:57:00+02:00"));
        check("at 10:51 AM.",                Some("2026-04-22T10:51:00+02:00"));
        check("12:00",                       Some("2026-04-21T12:00:00+02:00")); // the running minute
        check("11:59",                       Some("2026-04-22T11:59:00+02:00"));
        check("in 2 days 3 hours",           Some("2026-04-23T15:00:30+02:00"));
        check("in 5 minutes",                Some("2026-04-21T12:05:30+02:00"));
        check("02:30 on 29 Mar",             Some("2026-03-29T03:30:00+02:00")); // skipped: forward
        check("02:30 on 25 Oct 2026",        Some("2026-10-25T02:30:00+01:00")); // repeated: the later
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_no_time_beyond_doubt_is_none() {
        for odd in [
            "", "now", "later", "24:00", "10:60", "13:05 PM", "0:05 AM", "10:02 on 31 Nov", "10:02 on 0 Apr",
            "10:02 on 26 Xyz", "10:02 on 26", "10:02 on", "10:02 on 26 Ap", "10:02 on 29 Feb", "10:02 on 29 Feb 2026", "1000:02",
            "10:02 on 126 Apr", "10:02 on 26 Apr maybe", "10:2", "in", "in days", "10:02 PMs", "٢:٠٢",
            "10:02 on 26 Apr 0001",
        ] {
            check(odd, None);
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let seen_at = "2026-04-21T10:00:30Z".parse().unwrap();
        let sight = Sight { zone: &zone, seen_at, reference_year: None };
        let found = read(text, &sight).map(|at| zone.stamp(at).to_string());
        assert_eq!(found.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn a_reference_year_overrides_the_nearest_but_not_a_written_one() {
        let sight = Sight {
            zone: &Zone::UTC,
            seen_at: "2026-12-30T12:00:00Z".parse().unwrap(),
            reference_year: Some(2024),
        };
        let read = |text| read(text, &sight).map(|at| Stamp::from(at).to_string());
        assert_eq!(read("0:30 on 29 Feb").unwrap(), "2024-02-29T00:30:00+00:00");
        assert_eq!(read("0:30 on 1 Jan 2027").unwrap(), "2027-01-01T00:30:00+00:00");
        let sight = Sight { reference_year: None, ..sight };
        let next = super::read("0:30 on 1 Jan", &sight).unwrap();
        assert_eq!(Stamp::from(next).to_string(), "2027-01-01T00:30:00+00:00");
    }
}
