//! How are instants read and written?
//!
//! Inside the program an instant is a [`DateTime<Utc>`]. On paper it is a [`Stamp`]: RFC 3339
//! with an offset, whole seconds. Wall clocks ([`NaiveDateTime`]) occur in file names and in
//! what Codex prints; only a [`Zone`] turns the one into the other.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset as _,
    SecondsFormat, TimeDelta, Timelike, Utc,
};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, civil};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A set of local-time rules, by its IANA name.
///
/// The rules are compiled in, so a wall clock means the same instant on every machine. Those of
/// one zone are read when it is named, and shared by its clones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// What the clocks of the zone show at an instant, in whole seconds.
    #[must_use]
    pub fn wall(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        let wall = instant.with_timezone(&self.offset(instant)).naive_local();
        wall.with_nanosecond(0).unwrap_or(wall)
    }

    /// The instant at which the clocks of the zone show `wall`.
    ///
    /// A time that the clocks skip moves forward by the length of the gap; of a time they
    /// show twice, the later is meant (SPEC, "Status text").
    #[must_use]
    pub fn instant(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        let offset = match self.0.to_ambiguous_timestamp(civil(wall)).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } => before,
            AmbiguousOffset::Fold { after, .. } => after,
        };
        let utc = wall.checked_sub_offset(fixed(offset)).unwrap_or(wall);
        DateTime::from_naive_utc_and_offset(utc, Utc)
    }

    /// Writes an instant as this zone's people would, with their offset.
    #[must_use]
    pub fn stamp(&self, instant: DateTime<Utc>) -> Stamp {
        Stamp::new(instant.with_timezone(&self.offset(instant)))
    }

    /// How far the clocks of the zone are ahead at an instant. Of the years beyond -9999..=9999,
    /// which nothing here writes, it is that of the last instant they have rules for.
    fn offset(&self, instant: DateTime<Utc>) -> FixedOffset {
        let end = if instant.timestamp() < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let instant = Timestamp::from_second(instant.timestamp()).unwrap_or(end);
        fixed(self.0.to_offset(instant))
    }
}

/// The same wall clock in the words of the zone table, to the second; beyond its years its ends.
fn civil(wall: NaiveDateTime) -> civil::DateTime {
    let end = if wall.year() < 0 { civil::DateTime::MIN } else { civil::DateTime::MAX };
    let [month, day, hour, minute, second] =
        [wall.month(), wall.day(), wall.hour(), wall.minute(), wall.second()]
            .map(|part| i8::try_from(part).unwrap_or_default());
    i16::try_from(wall.year())
        .ok()
        .and_then(|year| civil::DateTime::new(year, month, day, hour, minute, second, 0).ok())
        .unwrap_or(end)
}

/// The same offset in the words of the calendar, which has all of less than a day; none is larger.
fn fixed(offset: Offset) -> FixedOffset {
    FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| Utc.fix())
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.iana_name().unwrap_or_default())
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    /// Accepts an IANA name, also with the leading colon that `TZ` may carry.
    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        let name = text.strip_prefix(':').unwrap_or(text);
        // The table does not look at capitals, but a zone has one spelling; and it has one entry
        // for machines on which nobody has chosen a zone.
        let is_meant = |zone: &TimeZone| zone.iana_name() == Some(name) && name != "Factory";
        let found = TimeZoneDatabase::bundled().get(name).ok();
        found.filter(is_meant).map(Self).ok_or_else(|| UnknownZone(text.to_owned()))
    }
}

/// A name that the zone table does not have.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a time zone name")]
pub struct UnknownZone(pub String);

/// An instant as it stands in a file: with the offset it was written with, in whole seconds.
///
/// Two stamps of one instant are equal, whatever their offsets.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(DateTime<FixedOffset>);

impl Stamp {
    fn new(at: DateTime<FixedOffset>) -> Self {
        Self(at.with_nanosecond(0).unwrap_or(at))
    }

    /// A stamp in UTC, of seconds since 1970; `None` outside 1970..=9999.
    #[must_use]
    pub fn from_epoch(seconds: i64) -> Option<Self> {
        DateTime::from_timestamp(seconds, 0).filter(plausible).map(Self::from)
    }

    /// Seconds since 1970, and those its offset lies east of Greenwich.
    pub(crate) fn parts(&self) -> (i64, i32) {
        (self.0.timestamp(), self.0.offset().local_minus_utc())
    }

    /// The stamp with these [`parts`](Self::parts); `None` if no stamp has them.
    pub(crate) fn from_parts(seconds: i64, offset: i32) -> Option<Self> {
        let at = DateTime::from_timestamp(seconds, 0).filter(plausible)?;
        FixedOffset::east_opt(offset).map(|offset| Self(at.with_timezone(&offset)))
    }

    /// The instant itself.
    #[must_use]
    pub fn instant(&self) -> DateTime<Utc> {
        self.0.to_utc()
    }

    /// The wall clock at the offset it was written with.
    #[must_use]
    pub fn wall(&self) -> NaiveDateTime {
        self.0.naive_local()
    }

    /// The same instant, written with the offset of `zone`.
    #[must_use]
    pub fn in_zone(&self, zone: &Zone) -> Self {
        zone.stamp(self.instant())
    }
}

impl From<DateTime<Utc>> for Stamp {
    fn from(instant: DateTime<Utc>) -> Self {
        Self::new(instant.fixed_offset())
    }
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.instant() == other.instant()
    }
}

impl Eq for Stamp {}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.instant().cmp(&other.instant())
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_rfc3339_opts(SecondsFormat::Secs, false))
    }
}

impl FromStr for Stamp {
    type Err = InvalidMoment;

    /// Reads RFC 3339; fractions of a second are dropped, years outside 1970..=9999 refused.
    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .filter(|at| plausible(&at.to_utc()))
            .map(Self::new)
            .ok_or_else(|| InvalidMoment(text.to_owned()))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text is not repeated in the message: it comes from a file (rule R32).
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("not an RFC 3339 time"))
    }
}

/// Text that names no instant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a time")]
pub struct InvalidMoment(pub String);

impl InvalidMoment {
    /// The forms that are understood.
    #[must_use]
    pub fn hint(&self) -> String {
        "write it as 2026-04-21T15:55:00+02:00, \"2026-04-21 15:55\", 15:55, +3h or +2d".to_owned()
    }
}

/// Reads the instant a person typed.
///
/// RFC 3339; a local date with or without a time (midnight); a local time of day (the next
/// one, `now` itself included); `now`; or a distance from `now`: `+90m`, `+3h`, `-2d`, `+1w`.
///
/// # Errors
///
/// [`InvalidMoment`] for anything else and for years outside 1970..=9999.
pub fn parse_moment(
    text: &str,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, InvalidMoment> {
    let trimmed = text.trim();
    let found = if trimmed == "now" {
        Some(now)
    } else {
        distance(trimmed)
            .and_then(|by| now.checked_add_signed(by))
            .or_else(|| DateTime::parse_from_rfc3339(trimmed).ok().map(|at| at.to_utc()))
            .or_else(|| local(trimmed).map(|wall| zone.instant(wall)))
            .or_else(|| time_of_day(trimmed).and_then(|time| next(time, zone, now)))
    };
    found.filter(plausible).ok_or_else(|| InvalidMoment(text.to_owned()))
}

/// The first instant at or after `now` at which the clocks of `zone` show `time`.
#[must_use]
pub fn next(time: NaiveTime, zone: &Zone, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let today = zone.wall(now).date();
    // `now` may carry a fraction; a minute that has begun still counts as shown.
    let floor = now.with_nanosecond(0)?;
    [Some(today), today.succ_opt()]
        .into_iter()
        .flatten()
        .map(|day| zone.instant(day.and_time(time)))
        .find(|at| floor <= *at)
}

/// A length of time for people, in its two largest units: `2d 3h`, `45m`, `12s`.
///
/// Lengths are cut, not rounded, and those below zero read `0s`.
#[must_use]
pub fn span(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in units {
        if size <= rest && (parts.is_empty() || parts.len() == 1) {
            parts.push(format!("{}{name}", rest / size));
            rest %= size;
        } else if parts.len() == 1 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Whether an instant lies in the years this program writes.
fn plausible(instant: &DateTime<Utc>) -> bool {
    (1970..=9999).contains(&instant.year())
}

fn distance(text: &str) -> Option<TimeDelta> {
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let unit = rest.chars().last()?;
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let count: u32 = rest.strip_suffix(unit)?.parse().ok()?;
    TimeDelta::try_seconds(seconds.checked_mul(count.into())?.checked_mul(sign)?)
}

fn local(text: &str) -> Option<NaiveDateTime> {
    let wall = text.replacen('T', " ", 1);
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&wall, form).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M").ok()
}

#[cfg(test)]
mod tests {
    use chrono::{LocalResult, TimeZone as _};

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_skipped_time_moves_forward_and_a_repeated_one_is_the_later() {
        wall_clock("Europe/Berlin",    "2026-03-29 01:59", "2026-03-29T00:59:00+00:00");
        wall_clock("Europe/Berlin",    "2026-03-29 02:30", "2026-03-29T01:30:00+00:00"); // reads 03:30
        wall_clock("Europe/Berlin",    "2026-03-29 03:00", "2026-03-29T01:00:00+00:00");
        wall_clock("Europe/Berlin",    "2026-10-25 02:30", "2026-10-25T01:30:00+00:00"); // winter time
        wall_clock("America/New_York", "2026-11-01 01:30", "2026-11-01T06:30:00+00:00");
        wall_clock("America/New_York", "2026-03-08 02:15", "2026-03-08T07:15:00+00:00");
        wall_clock("Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03T15:45:00+00:00"); // half an hour
        wall_clock("Pacific/Apia",     "2011-12-30 12:00", "2011-12-30T22:00:00+00:00"); // a whole day
    }

    #[track_caller]
    fn wall_clock(zone: &str, wall: &str, expected: &str) {
        let zone: Zone = zone.parse().unwrap();
        let wall = NaiveDateTime::parse_from_str(wall, "%Y-%m-%d %H:%M").unwrap();
        assert_eq!(Stamp::from(zone.instant(wall)).to_string(), expected);
    }

    #[test]
    fn every_zone_has_the_one_name_it_was_asked_by() {
        for other in chrono_tz::TZ_VARIANTS {
            let name = other.name();
            let zone: Zone = name.parse().unwrap();
            assert_eq!(zone.to_string(), name);
            assert_eq!(format!(":{name}").parse(), Ok(zone));
            for odd in
                [name.to_lowercase(), name.to_uppercase(), format!("{name} "), format!("::{name}")]
            {
                if odd != name {
                    assert_eq!(odd.parse::<Zone>(), Err(UnknownZone(odd)));
                }
            }
        }
        assert_eq!("UTC".parse(), Ok(Zone::UTC));
        for odd in
            ["", ":", "Factory", "Etc/Unknown", "2026e", "UTC0", "CET-1CEST", "Europe", "../UTC"]
        {
            assert_eq!(odd.parse::<Zone>(), Err(UnknownZone(odd.to_owned())));
        }
    }

    /// Zones whose rules have changed since the edition that the other table has (2025b), or of
    /// whose past more has become known since. With other editions of the two it is another list.
    #[rustfmt::skip]
    const NEWS: [&str; 20] = [
        "Africa/Casablanca", "Africa/El_Aaiun", "America/Bogota", "America/Edmonton",
        "America/Ensenada", "America/Inuvik", "America/Rainy_River", "America/Santa_Isabel",
        "America/Tijuana", "America/Vancouver", "America/Winnipeg", "America/Yellowknife",
        "Asia/Tehran", "Canada/Central", "Canada/Mountain", "Canada/Pacific", "Europe/Chisinau",
        "Europe/Tiraspol", "Iran", "Mexico/BajaNorte",
    ];

    #[test]
    fn the_clocks_of_all_zones_are_those_of_another_table() {
        let mut changes = 0;
        let mut told = Vec::new();
        for other in chrono_tz::TZ_VARIANTS {
            let (difference, changed) = compare(&other.name().parse().unwrap(), other);
            changes += changed;
            told.extend(difference.map(|difference| (other.name(), difference)));
        }
        let differ: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
        assert_eq!(differ, NEWS, "{told:#?}");
        assert!(35_000 < changes, "{changes}");
    }

    /// The first difference between a zone and the same in the other table, and how often its
    /// clocks change in the years 1970 to 2059.
    fn compare(zone: &Zone, other: chrono_tz::Tz) -> (Option<String>, usize) {
        // Clocks are never changed twice within this.
        const STEP: i64 = 20 * 86_400;
        let end = second_of("2060-01-01T00:00:00Z");
        let ours = |at| zone.stamp(second(at)).parts().1;
        let theirs = |at| of_instant(other, second(at).naive_utc());
        let at_instant = |at| (ours(at) != theirs(at)).then(|| second(at).to_string());
        let at_wall = |at| {
            let wall = second(at).naive_utc();
            let [ours, theirs] = [zone.instant(wall), of_wall(other, wall)];
            (ours != theirs).then(|| format!("{wall} is {ours}, not {theirs}"))
        };
        let mut difference = None;
        let mut changes = 0;
        for from in (0..).map(|step| step * STEP).take_while(|from| *from < end) {
            let (mut last, mut first) = (from, from + STEP);
            let [before, after] = [theirs(last), theirs(first)];
            difference = difference.or_else(|| at_instant(last));
            if before == after {
                continue;
            }
            changes += 1;
            while last + 1 < first {
                let middle = last + (first - last) / 2;
                *(if theirs(middle) == before { &mut last } else { &mut first }) = middle;
            }
            difference = difference.or_else(|| at_instant(last)).or_else(|| at_instant(first));
            for shown in [before, after].map(|offset| first + i64::from(offset)) {
                for distance in [-1800, -1, 0, 1, 1800] {
                    difference = difference.or_else(|| at_wall(shown + distance));
                }
            }
        }
        (difference, changes)
    }

    /// Seconds that the clocks of a zone in the other table are ahead at an instant.
    fn of_instant(other: chrono_tz::Tz, instant: NaiveDateTime) -> i32 {
        other.offset_from_utc_datetime(&instant).fix().local_minus_utc()
    }

    /// What [`Zone::instant`] promises, in the words of the other table.
    fn of_wall(other: chrono_tz::Tz, wall: NaiveDateTime) -> DateTime<Utc> {
        match other.from_local_datetime(&wall) {
            LocalResult::Single(one) => one.to_utc(),
            LocalResult::Ambiguous(_, later) => later.to_utc(),
            LocalResult::None => {
                let before = of_instant(other, wall - TimeDelta::days(1)); // No gap is longer.
                (wall - TimeDelta::seconds(before.into())).and_utc()
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_rules_go_on_where_the_table_ends() {
        far("Europe/Berlin",    "2999-07-01T00:00:00Z",   "2999-07-01T02:00:00+02:00");
        far("Europe/Berlin",    "9999-07-01T00:00:00Z",   "9999-07-01T02:00:00+02:00");
        far("Europe/Berlin",    "9999-12-31T22:59:59Z",   "9999-12-31T23:59:59+01:00"); // its last second
        far("Europe/Berlin",    "1890-01-01T00:00:00Z",   "1890-01-01T00:53:28+00:53"); // a clock of its own
        far("Asia/Tokyo",       "+12026-01-01T00:00:00Z", "+12026-01-01T09:00:00+09:00");
        far("Australia/Sydney", "-12026-01-01T00:00:00Z", "-12026-01-01T10:04:52+10:05");
    }

    #[track_caller]
    fn far(zone: &str, instant: &str, expected: &str) {
        let zone: Zone = zone.parse().unwrap();
        let instant = second(second_of(instant));
        assert_eq!(zone.stamp(instant).to_string(), expected);
        assert_eq!(zone.instant(zone.wall(instant)), instant);
    }

    fn second_of(instant: &str) -> i64 {
        instant.parse::<DateTime<Utc>>().unwrap().timestamp()
    }

    fn second(at: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(at, 0).unwrap()
    }

    #[test]
    #[rustfmt::skip]
    fn a_person_may_name_an_instant_in_several_ways() {
        // It is 2026-11-21 10:00:30 in Berlin.
        moment("now",                       Some("2026-11-21T09:00:30+00:00"));
        moment("2026-04-21T15:55:00+02:00", Some("2026-04-21T13:55:00+00:00"));
        moment("2026-04-21 15:55",          Some("2026-04-21T13:55:00+00:00"));
        moment("2026-04-21T15:55:10",       Some("2026-04-21T13:55:10+00:00"));
        moment("2026-04-21",                Some("2026-04-20T22:00:00+00:00"));
        moment("10:01",                     Some("2026-11-21T09:01:00+00:00"));
        moment("10:00",                     Some("2026-11-22T09:00:00+00:00")); // has passed
        moment("+90m",                      Some("2026-11-21T10:30:30+00:00"));
        moment("-1d",                       Some("2026-11-20T09:00:30+00:00"));
        moment("+1w",                       Some("2026-11-28T09:00:30+00:00"));
        moment("",                          None);
        moment("tomorrow-ish",              None);
        moment("+h",                        None);
        moment("+99999999999d",             None);
        moment("+4000000000w",              None); // beyond the year 9999
        moment("0001-01-01",                None);
        moment("2026-02-30",                None);
    }

    #[track_caller]
    fn moment(text: &str, expected: Option<&str>) {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let now = "2026-11-21T09:00:30Z".parse().unwrap();
        let found = parse_moment(text, &zone, now).ok().map(|at| Stamp::from(at).to_string());
        assert_eq!(found.as_deref(), expected, "{text:?}");
    }

    #[test]
    #[rustfmt::skip]
    fn a_span_has_its_two_largest_units() {
        for (seconds, expected) in [
            (-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m 59s"), (3_600, "1h"),
            (3_601, "1h"), (90_000, "1d 1h"), (86_460, "1d"), (604_800, "7d"),
        ] {
            assert_eq!(span(TimeDelta::seconds(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn a_stamp_keeps_its_offset_and_compares_as_an_instant() {
        let berlin: Stamp = "2026-04-21T15:55:00.987+02:00".parse().unwrap();
        let utc: Stamp = "2026-04-21T13:55:00Z".parse().unwrap();
        assert_eq!(berlin, utc);
        assert_eq!(berlin.to_string(), "2026-04-21T15:55:00+02:00");
        assert_eq!(utc.to_string(), "2026-04-21T13:55:00+00:00");
        for odd in ["1969-12-31T23:59:59Z", "2026-04-21", "2026-04-21 15:55:00", "", "never"] {
            assert!(odd.parse::<Stamp>().is_err(), "{odd}");
        }
        assert!(Stamp::from_epoch(i64::MAX).is_none());
        assert!(Stamp::from_epoch(-1).is_none());
    }
}
