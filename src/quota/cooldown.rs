//! When may an account work again?
//!
//! Pure: the readings of one account and `now` come in, an [`Availability`] goes out. How the
//! readings are weighed:
//!
//! - A reading observed after `now` does not count: at that instant nobody knew of it (or
//!   another machine's clock is ahead).
//! - Window by window, told apart by length, the newest reading that mentions a window counts,
//!   by instants; of readings of one second the better source. So a reading that says nothing of
//!   the week does not lift a week that is used up.
//! - A cooldown set by a person holds beside all of that until its instant or until it is taken
//!   back, whatever later readings say; a newer one replaces an older one.
//! - An estimate never displaces a measured window that was still running when it was made: a
//!   backup without a status must not turn 55% left into a cooldown.
//! - A window that is used up keeps nobody waiting who has unlimited credits; with credits that
//!   end it does, for they cost somebody money.
//! - A window with no known reset is over one length after it was seen, at the latest, and
//!   keeps nobody waiting for more than a week.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::weigh::{Fact, detected_at, merge, nameless};
use super::{Reading, Source, Validation};
use crate::time::{Stamp, Zone, span};
use crate::window::{Credits, Kind, Window};

/// Whether an account may work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing known is used up.
    Ready,
    /// Some window is used up, or a person set the account aside.
    Cooldown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Cooldown => "cooldown",
        })
    }
}

/// A window as it was last reported, seen from `now`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowNow {
    /// What the source said.
    #[serde(flatten)]
    pub window: Window,
    /// Its reset has passed since: it is full again, unless a newer reading says otherwise.
    pub predicted_full: bool,
    /// Who said so.
    pub source: Source,
    /// When it held.
    pub observed_at: Stamp,
}

impl WindowNow {
    /// How much is left at `now`, in percent; 100 for a window that is predicted to be full.
    #[must_use]
    pub fn left_percent(&self) -> Option<f64> {
        if self.predicted_full { Some(100.0) } else { self.window.left_percent() }
    }
}

/// What the quota says about one account at one instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Availability {
    /// Whether the account may work.
    pub state: State,
    /// In a cooldown, its end (open: at that instant the account is ready), or `None` if no
    /// source told it. Of a ready account the weekly reset, which may have passed.
    pub next_available_at: Option<Stamp>,
    /// When the weekly session began.
    pub session_start_at: Option<Stamp>,
    /// When the quota was first seen to be used up; of a ready account the last such time that
    /// its newest weekly reading tells.
    pub quota_end_detected_at: Option<Stamp>,
    /// The least percentage left over the running windows; `None` if no running one is known.
    pub left_percent: Option<f64>,
    /// The newest report of each window, shortest first.
    pub windows: Vec<WindowNow>,
    /// Where the answer comes from: what blocks the account, else its newest reading.
    pub source: Option<Source>,
    /// When that held.
    pub observed_at: Option<Stamp>,
    /// Whether the evidence for the weekly time agrees with itself, if there is any.
    #[serde(rename = "validation_status")]
    pub validation: Option<Validation>,
    /// Whether the state rests on a prediction or an estimate instead of a report.
    pub predicted: bool,
    /// The window that keeps the account waiting longest; `None` also if the source only said
    /// that some limit is reached.
    #[serde(skip)]
    pub blocking: Option<Kind>,
    /// What was paid for, with which work goes on, or could, where a window is used up.
    #[serde(skip)]
    pub credits: Option<Credits>,
}

impl Availability {
    /// Whether the account may work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// How long the cooldown still lasts: zero if ready, `None` if no source told its end.
    #[must_use]
    pub fn remaining(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        match self.state {
            State::Ready => Some(TimeDelta::zero()),
            State::Cooldown => self.next_available_at.map(|end| end.instant() - now),
        }
    }

    /// The same answer with its times written in `zone`.
    #[must_use]
    pub fn in_zone(&self, zone: &Zone) -> Self {
        let local = |at: Option<Stamp>| at.map(|at| at.in_zone(zone));
        let window = |now: &WindowNow| WindowNow {
            window: now.window.in_zone(zone),
            observed_at: now.observed_at.in_zone(zone),
            ..*now
        };
        Self {
            next_available_at: local(self.next_available_at),
            session_start_at: local(self.session_start_at),
            quota_end_detected_at: local(self.quota_end_detected_at),
            observed_at: local(self.observed_at),
            windows: self.windows.iter().map(window).collect(),
            ..self.clone()
        }
    }

    /// The answer in a few words, with times in `zone`.
    #[must_use]
    pub fn reason(&self, zone: &Zone, now: DateTime<Utc>) -> String {
        let why = match (self.state, self.source, self.blocking) {
            (State::Cooldown, Some(Source::Manual), _) => "set aside by hand".to_owned(),
            (State::Cooldown, Some(Source::Estimate), _) => "assumed to be used up".to_owned(),
            (State::Cooldown, _, Some(kind)) => format!("{} used up", window_name(kind)),
            (State::Cooldown, _, None) => "a limit is reached".to_owned(),
            (State::Ready, None, _) => return "nothing is known of its quota".to_owned(),
            (State::Ready, Some(_), _) => return self.ready_reason(zone),
        };
        let credits = match &self.credits {
            Some(credits) => format!(", credits left: {credits}"),
            None => String::new(),
        };
        match self.next_available_at {
            Some(end) => {
                let (end, wait) = (wall(zone, end), span(end.instant() - now));
                format!("{why} until {end} (in {wait}){credits}")
            }
            None => format!("{why}, end unknown{credits}"),
        }
    }

    fn ready_reason(&self, zone: &Zone) -> String {
        let reset = self.windows.iter().filter(|window| window.predicted_full);
        match (self.left_percent, reset.filter_map(|window| window.window.resets_at).max()) {
            // Cut, not rounded: 99.6% left is not a full window.
            (Some(left), _) => {
                let endless = self.credits.as_ref().is_some_and(|credits| credits.unlimited);
                let credits = if endless { ", unlimited credits" } else { "" };
                format!("{:.0}% left{credits}", left.floor())
            }
            (None, Some(since)) => format!("full again since {} (predicted)", wall(zone, since)),
            (None, None) => "not known to be used up".to_owned(),
        }
    }
}

/// Evaluates all readings of one account at an instant.
///
/// The readings may come in any order, and those of several records of one account together.
/// Without any the account counts as ready and every figure is unknown.
///
/// A window whose reset is at or before `now` is full again. The account is in a cooldown until
/// the latest reset of a window that is used up: at 100 % or more, or of a record that has no
/// percentages (legacy, manual, estimate). A source that only says that a limit is reached means
/// the fullest of its windows.
#[must_use]
pub fn availability(readings: &[Reading], now: DateTime<Utc>) -> Availability {
    let mut known: Vec<&Reading> =
        readings.iter().filter(|reading| reading.observed_at.instant() <= now).collect();
    // Newest last; within one second the best source last.
    known.sort_by_key(|reading| (reading.observed_at, std::cmp::Reverse(reading.source.rank())));

    let manual = known.iter().rev().find(|reading| reading.source == Source::Manual).copied();
    known.retain(|reading| reading.source != Source::Manual);
    let newest = known.last().copied();

    let mut facts = merge(&known);
    let by_hand = manual.and_then(|reading| Fact::all(reading).into_iter().next());
    // A cooldown set by hand tells of the week only where nobody else does.
    if let Some(fact) = by_hand
        && !facts.iter().any(|other| other.is_about(&fact.window))
    {
        facts.push(fact);
    }
    facts.sort_by_key(|fact| fact.window.minutes);

    let nameless = nameless(&known);
    let blocking = facts
        .iter()
        .chain(&by_hand)
        .chain(&nameless)
        .filter(|fact| fact.blocks(now))
        .max_by_key(|fact| fact.end());
    let week = facts.iter().find(|fact| fact.window.kind() == Kind::Week);
    let emptiest = facts
        .iter()
        .filter(|fact| !fact.is_over(now) && !fact.is_forgotten(now))
        .filter_map(|fact| Some((fact.window.left_percent()?, fact.reading)))
        .min_by(|(a, _), (b, _)| a.total_cmp(b));
    // Source and age are those of the figure that is shown, not of whatever was read last.
    let latest = facts.iter().map(|fact| fact.reading).max_by_key(|reading| reading.observed_at);
    let told = blocking.map(|fact| fact.reading).or(emptiest.map(|(_, reading)| reading));
    let decided_by = told.or(latest).or(newest).or(manual);

    Availability {
        state: if blocking.is_some() { State::Cooldown } else { State::Ready },
        next_available_at: match blocking {
            Some(fact) => fact.window.resets_at,
            None => week.and_then(|fact| fact.window.resets_at),
        },
        session_start_at: week.and_then(Fact::session_start_at),
        quota_end_detected_at: blocking.or(week).and_then(|fact| detected_at(fact, &known)),
        left_percent: emptiest.map(|(left, _)| left),
        source: decided_by.map(|reading| reading.source),
        observed_at: decided_by.map(|reading| reading.observed_at),
        validation: week.and_then(|fact| fact.reading.validation),
        predicted: match blocking {
            Some(fact) => {
                fact.reading.source == Source::Estimate || fact.window.resets_at.is_none()
            }
            None => facts.iter().any(|fact| fact.is_over(now) || fact.is_forgotten(now)),
        },
        blocking: blocking
            .filter(|fact| !fact.reading.windows.is_empty())
            .map(|fact| fact.window.kind()),
        credits: decided_by.and_then(|reading| reading.credits.clone()),
        windows: facts
            .iter()
            .map(|fact| WindowNow {
                window: fact.window,
                predicted_full: fact.is_over(now),
                source: fact.reading.source,
                observed_at: fact.reading.observed_at,
            })
            .collect(),
    }
}

fn window_name(kind: Kind) -> &'static str {
    match kind {
        Kind::FiveHours => "five hours",
        Kind::Day => "day",
        Kind::Week => "week",
        Kind::Month => "month",
        Kind::Other => "quota",
    }
}

fn wall(zone: &Zone, at: Stamp) -> String {
    zone.wall(at.instant()).format("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// April 2026, Berlin: `"14 15:55"`.
    fn at(text: &str) -> Stamp {
        let (day, time) = text.split_once(' ').unwrap();
        format!("2026-04-{day}T{time}:00+02:00").parse().unwrap()
    }

    fn window(minutes: u32, used: Option<f64>, reset: Option<&str>) -> Window {
        Window { minutes, used_percent: used, resets_at: reset.map(at) }
    }

    fn week(used: f64, reset: &str) -> Window {
        window(10_080, Some(used), Some(reset))
    }

    fn hours(used: f64, reset: &str) -> Window {
        window(300, Some(used), Some(reset))
    }

    fn read(observed: &str, windows: &[Window]) -> Reading {
        let account = "email:ada@example.com".parse().unwrap();
        Reading::new(account, Source::AppServer, at(observed), windows.to_vec())
    }

    fn of(source: Source, reading: Reading) -> Reading {
        Reading { source, ..reading }
    }

    fn limited(reading: Reading) -> Reading {
        Reading { limit_reached: Some(true), ..reading }
    }

    fn legacy(detected: &str, start: &str, validation: Validation) -> Reading {
        let reading = read(detected, &[]);
        Reading::legacy(reading.account, reading.observed_at, at(start), Some(validation))
    }

    fn manual(set: &str, until: &str) -> Reading {
        Reading::manual(read(set, &[]).account, at(set), at(until))
    }

    fn estimate(captured: &str) -> Reading {
        Reading::estimate(read(captured, &[]).account, at(captured))
    }

    #[test]
    #[rustfmt::skip]
    fn a_used_up_window_blocks_until_its_reset_and_no_longer() {
        check("15 12:00", &[],                                                     "ready, ?");
        check("15 12:00", &[read("15 11:00", &[week(45.0, "18 09:00")])],          "ready, 55");
        check("15 12:00", &[read("15 11:00", &[week(99.9, "18 09:00")])],          "ready, 0");
        check("15 12:00", &[read("15 11:00", &[week(100.0, "18 09:00")])],         "until 18 09:00");
        check("18 08:59", &[read("15 11:00", &[week(104.0, "18 09:00")])],         "until 18 09:00");
        check("18 09:00", &[read("15 11:00", &[week(100.0, "18 09:00")])],         "ready, ? predicted");
        check("15 12:00", &[read("15 11:00", &[hours(100.0, "15 14:00"), week(34.0, "18 09:00")])],  "until 15 14:00");
        check("15 14:00", &[read("15 11:00", &[hours(100.0, "15 14:00"), week(34.0, "18 09:00")])],  "ready, 66 predicted");
        check("15 12:00", &[read("15 11:00", &[hours(100.0, "15 14:00"), week(100.0, "18 09:00")])], "until 18 09:00");
        check("15 12:00", &[read("15 11:00", &[week(12.0, "18 09:00"), hours(80.0, "15 14:00")])],   "ready, 20");
        check("15 12:00", &[read("15 11:00", &[window(10_080, None, Some("18 09:00"))])],            "ready, ?"); // unknown is unknown
    }

    #[test]
    #[rustfmt::skip]
    fn a_record_without_a_percentage_counts_as_used_up() {
        let record = legacy("14 17:55", "14 15:55", Validation::Ok);
        check("21 15:54", std::slice::from_ref(&record), "until 21 15:55");
        check("21 15:55", std::slice::from_ref(&record), "ready, ? predicted");
        check("14 17:54", &[record],                     "ready, ?"); // nobody knew yet
        check("16 12:00", &[estimate("14 10:00")],       "until 21 10:00 predicted");
        check("16 12:00", &[manual("14 10:00", "16 12:01")], "until 16 12:01");
        check("16 12:01", &[manual("14 10:00", "16 12:01")], "ready, ? predicted");
    }

    #[test]
    #[rustfmt::skip]
    fn a_reached_limit_means_the_window_that_explains_it() {
        let both = |h, w| limited(read("15 11:00", &[hours(h, "15 14:00"), week(w, "18 09:00")]));
        check("15 12:00", &[both(100.0, 34.0)],  "until 15 14:00");
        check("15 12:00", &[both(99.6, 34.0)],   "until 15 14:00");
        check("15 12:00", &[both(12.0, 34.0)],   "until 18 09:00");
        check("15 12:00", &[both(50.0, 50.0)],   "until 18 09:00"); // the later of two
        check("15 12:00", &[limited(read("15 11:00", &[]))], "until ? predicted");
        check("22 11:00", &[limited(read("15 11:00", &[]))], "ready, ?"); // never for ever
        check("16 12:00", &[limited(read("15 11:00", &[])), read("16 11:00", &[week(1.0, "18 09:00")])], "ready, 99");
    }

    #[test]
    #[rustfmt::skip]
    fn credits_without_an_end_carry_on_and_others_are_for_a_person_to_spend() {
        let paid = |unlimited, reading| Reading { credits: Some(Credits { unlimited, balance: Some("12.50".to_owned()) }), ..reading };
        let full = || read("14 12:00", &[week(100.0, "18 09:00")]);
        check("14 13:00", &[paid(true, full())],                    "ready, 0");
        check("14 13:00", &[paid(true, limited(full()))],           "ready, 0");
        check("14 13:00", &[paid(true, limited(read("14 12:00", &[])))], "ready, ?");
        check("14 13:00", &[paid(false, full())],                   "until 18 09:00");
        check("14 13:00", &[paid(true, full()), manual("14 12:30", "15 09:00")], "until 15 09:00");
        reason("14 13:00", &[paid(true, full())], "0% left, unlimited credits");
        reason("14 13:00", &[paid(false, full())], "week used up until 2026-04-18 09:00 (in 3d 20h), credits left: 12.50");
    }

    #[test]
    #[rustfmt::skip]
    fn a_window_without_a_reset_is_over_after_its_length() {
        let unknown = |used| read("15 11:00", &[window(300, Some(used), None)]);
        check("15 15:59", &[unknown(100.0)], "until ? predicted");
        check("15 16:00", &[unknown(100.0)], "ready, ? predicted");
        check("15 15:59", &[unknown(30.0)],  "ready, 70");
        let month = |used| read("15 11:00", &[window(43_200, Some(used), None)]);
        check("22 10:59", &[month(100.0)],   "until ? predicted");
        check("22 11:00", &[month(100.0)],   "ready, ? predicted"); // a week is enough to wait for a guess
        check("22 11:00", &[month(40.0)],    "ready, 60");
    }

    #[test]
    #[rustfmt::skip]
    fn the_newest_word_on_each_window_counts() {
        let full = read("15 11:00", &[week(100.0, "18 09:00")]);
        let better = read("15 12:00", &[week(10.0, "22 12:00")]);
        check("15 13:00", &[full.clone(), better.clone()], "ready, 90");
        check("15 13:00", &[better.clone(), full.clone()], "ready, 90");      // any order
        check("15 11:30", &[better, full.clone()],         "until 18 09:00"); // not yet known
        // A reading that says nothing of the week does not lift it.
        check("15 13:00", &[full.clone(), read("15 12:00", &[hours(5.0, "15 17:00")])], "until 18 09:00");
        // In one second the better source counts.
        let rollout = of(Source::Rollout, read("15 11:00", &[week(20.0, "18 09:00")]));
        check("15 13:00", &[full.clone(), rollout.clone()], "until 18 09:00");
        check("15 13:00", &[rollout, full],                 "until 18 09:00");
    }

    #[test]
    #[rustfmt::skip]
    fn two_records_of_one_account_are_one_account() {
        let record = legacy("14 17:55", "14 15:55", Validation::Ok); // blocks until 21 15:55
        check("16 12:00", &[record.clone(), read("15 12:00", &[week(45.0, "18 09:00")])], "ready, 55");
        check("16 12:00", &[read("14 12:00", &[week(45.0, "18 09:00")]), record.clone()], "until 21 15:55");
        // By instants, not by text: 15:56 UTC is 17:56 in Berlin.
        let mut later = read("14 12:00", &[week(45.0, "18 09:00")]);
        later.observed_at = "2026-04-14T15:56:00Z".parse().unwrap();
        check("16 12:00", &[later, record],                                               "ready, 55");
    }

    #[test]
    #[rustfmt::skip]
    fn a_cooldown_set_by_hand_holds_beside_later_readings() {
        let by_hand = manual("15 10:00", "17 10:00");
        let good = read("15 12:00", &[week(10.0, "22 12:00")]);
        check("15 13:00", &[by_hand.clone(), good.clone()],                    "until 17 10:00");
        check("17 10:00", &[by_hand.clone(), good.clone()],                    "ready, 90");
        check("15 13:00", &[by_hand.clone(), manual("15 11:00", "16 10:00")],  "until 16 10:00");
        check("15 13:00", &[by_hand, read("15 12:00", &[week(100.0, "22 12:00")])], "until 22 12:00");
    }

    #[test]
    #[rustfmt::skip]
    fn an_estimate_never_displaces_a_measured_window_that_still_runs() {
        let measured = read("15 11:00", &[week(45.0, "18 09:00")]);
        check("16 12:00", &[measured.clone(), estimate("16 11:00")], "ready, 55");
        check("19 12:00", &[measured.clone(), estimate("19 11:00")], "until 26 11:00 predicted");
        check("16 12:00", &[estimate("14 11:00"), measured],         "ready, 55");
        check("16 12:00", &[estimate("14 11:00"), estimate("15 11:00")], "until 22 11:00 predicted");
    }

    #[track_caller]
    fn check(now: &str, readings: &[Reading], expected: &str) {
        let found = availability(readings, at(now).instant());
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let answer = match (found.state, found.next_available_at, found.left_percent) {
            (State::Cooldown, Some(end), _) => {
                format!("until {}", berlin.wall(end.instant()).format("%d %H:%M"))
            }
            (State::Cooldown, None, _) => "until ?".to_owned(),
            (State::Ready, _, Some(left)) => format!("ready, {:.0}", left.floor()),
            (State::Ready, _, None) => "ready, ?".to_owned(),
        };
        let mark = if found.predicted { " predicted" } else { "" };
        assert_eq!(answer + mark, expected, "{found:#?}");
    }

    #[test]
    fn an_answer_carries_its_start_its_detection_and_its_source() {
        let first = read("15 11:00", &[week(100.0, "18 09:00")]);
        let again = of(Source::Rollout, read("15 12:00", &[week(100.0, "18 09:01")]));
        let found = availability(&[again, first], at("16 12:00").instant());
        assert_eq!(found.session_start_at, Some(at("11 09:01")));
        assert_eq!(found.quota_end_detected_at, Some(at("15 11:00")), "noticed the first time");
        assert_eq!(
            (found.source, found.observed_at),
            (Some(Source::Rollout), Some(at("15 12:00")))
        );
        assert_eq!(found.blocking, Some(Kind::Week));
        assert_eq!(found.remaining(at("18 09:00").instant()), Some(TimeDelta::minutes(1)));
    }

    #[test]
    fn a_legacy_record_keeps_its_own_times_and_its_validation() {
        let record = legacy("14 17:55", "14 15:55", Validation::Mismatch);
        for now in ["15 12:00", "29 12:00"] {
            let found = availability(std::slice::from_ref(&record), at(now).instant());
            assert_eq!(found.session_start_at, Some(at("14 15:55")));
            assert_eq!(found.next_available_at, Some(at("21 15:55")));
            assert_eq!(found.quota_end_detected_at, Some(at("14 17:55")));
            assert_eq!(found.validation, Some(Validation::Mismatch));
        }
        let newer = read("22 10:00", &[week(1.0, "29 09:00")]);
        let found = availability(&[record, newer], at("23 12:00").instant());
        assert_eq!((found.validation, found.quota_end_detected_at), (None, None));
    }

    #[test]
    fn an_answer_is_written_with_the_offset_of_a_zone() {
        let utc = |text| Stamp::from(at(text).instant());
        let windows = [Window { resets_at: Some(utc("18 09:00")), ..week(100.0, "18 09:00") }];
        let mut reading = read("15 11:00", &windows);
        reading.observed_at = utc("15 11:00");
        let found = availability(&[reading], at("16 12:00").instant());
        let local = found.in_zone(&"Europe/Berlin".parse().unwrap());
        assert_eq!(local, found);
        let json = serde_json::to_value(local).unwrap();
        assert_eq!(json["state"], "cooldown");
        assert_eq!(json["next_available_at"], "2026-04-18T09:00:00+02:00");
        assert_eq!(json["session_start_at"], "2026-04-11T09:00:00+02:00");
        assert_eq!(json["quota_end_detected_at"], "2026-04-15T11:00:00+02:00");
        assert_eq!(json["observed_at"], "2026-04-15T11:00:00+02:00");
        assert_eq!(json["left_percent"], 0.0);
        assert_eq!(
            json["windows"][0],
            serde_json::json!({
                "minutes": 10_080, "used_percent": 100.0,
                "resets_at": "2026-04-18T09:00:00+02:00", "predicted_full": false,
                "source": "app-server", "observed_at": "2026-04-15T11:00:00+02:00",
            })
        );
    }

    #[test]
    #[rustfmt::skip]
    fn the_reason_is_plain() {
        let full = read("15 11:00", &[week(100.0, "18 09:00")]);
        reason("15 12:00", &[],                                  "nothing is known of its quota");
        reason("15 12:00", std::slice::from_ref(&full),          "week used up until 2026-04-18 09:00 (in 2d 21h)");
        reason("18 12:00", &[full],                              "full again since 2026-04-18 09:00 (predicted)");
        reason("15 12:00", &[read("15 11:00", &[week(0.4, "18 09:00")])], "99% left");
        reason("15 12:00", &[limited(read("15 11:00", &[]))],    "a limit is reached, end unknown");
        reason("15 12:00", &[manual("15 11:00", "15 13:00")],    "set aside by hand until 2026-04-15 13:00 (in 1h)");
        reason("15 12:00", &[estimate("15 11:00")],              "assumed to be used up until 2026-04-22 11:00 (in 6d 23h)");
        reason("15 12:00", &[read("15 11:00", &[window(10_080, None, Some("18 09:00"))])], "not known to be used up");
    }

    #[track_caller]
    fn reason(now: &str, readings: &[Reading], expected: &str) {
        let zone = "Europe/Berlin".parse().unwrap();
        let now = at(now).instant();
        assert_eq!(availability(readings, now).reason(&zone, now), expected);
    }

    fn any_reading() -> impl Strategy<Value = Reading> {
        let windows = proptest::collection::vec(
            (
                prop_oneof![Just(300), Just(10_080), any::<u32>()],
                proptest::option::of(0.0..120.0_f64),
                proptest::option::of(0_i64..2_000_000),
            ),
            0..3,
        );
        (0_u8..6, 0_i64..1_000_000, windows, proptest::option::of(any::<bool>())).prop_map(
            |(source, observed, windows, limit_reached)| {
                let epoch = |seconds| Stamp::from_epoch(1_770_000_000 + seconds).unwrap();
                let windows = windows.into_iter().map(|(minutes, used_percent, reset)| Window {
                    minutes,
                    used_percent,
                    resets_at: reset.map(epoch),
                });
                let source = match source {
                    0 => Source::AppServer,
                    1 => Source::Rollout,
                    2 => Source::StatusText,
                    3 => Source::Legacy,
                    4 => Source::Manual,
                    _ => Source::Estimate,
                };
                let account = "email:ada@example.com".parse().unwrap();
                Reading {
                    limit_reached,
                    ..Reading::new(account, source, epoch(observed), windows.collect())
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_cooldown_always_ends_in_the_future_and_only_if_a_reading_supports_it(
            readings in proptest::collection::vec(any_reading(), 0..6),
            now in 0_i64..3_000_000,
        ) {
            let now = DateTime::from_timestamp(1_770_000_000 + now, 0).unwrap();
            let found = availability(&readings, now);
            if !found.is_ready() {
                prop_assert!(found.source.is_some());
                prop_assert!(found.next_available_at.is_none_or(|end| now < end.instant()));
            }
            prop_assert!(found.left_percent.is_none_or(|left| (0.0..=100.0).contains(&left)));
            let latest = readings.iter().all(|reading| now < reading.observed_at.instant());
            prop_assert!(!latest || found == availability(&[], now));
        }
    }
}
