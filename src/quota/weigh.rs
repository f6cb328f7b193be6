//! Which word on a window counts, and is the window used up?
//!
//! The rules stand at the head of [`cooldown`](super::cooldown), whose tests hold them.

use chrono::{DateTime, TimeDelta, Utc};

use super::reading::week_before;
use super::{Reading, Source};
use crate::time::Stamp;
use crate::window::{Kind, WEEK, Window};

/// Resets this close to each other are one reset: sources round them differently.
const SAME_RESET: TimeDelta = TimeDelta::minutes(10);

/// One window of one reading.
#[derive(Clone, Copy)]
pub(super) struct Fact<'a> {
    pub(super) window: Window,
    /// Whether it is used up, until its end.
    pub(super) exhausted: bool,
    pub(super) reading: &'a Reading,
}

impl<'a> Fact<'a> {
    pub(super) fn all(reading: &'a Reading) -> Vec<Self> {
        // Unlimited credits carry on where a window ends. Those with an end cost somebody money:
        // whether they are to be spent is for a person to say.
        let is_endless = reading.credits.as_ref().is_some_and(|credits| credits.unlimited);
        let used_up = |window: &Window| {
            !is_endless
                && (window.is_used_up()
                    || (window.used_percent.is_none() && !reading.source.measures()))
        };
        // A limit is reached, and no window owns up to it: the fullest is meant, for a rounded
        // 99.6 % of five hours must not cost the week. An unknown percentage may be the full one.
        let unexplained = !is_endless
            && reading.limit_reached == Some(true)
            && !reading.windows.iter().any(used_up);
        let fullness = |window: &Window| window.used_percent.unwrap_or(f64::INFINITY);
        let fullest = reading
            .windows
            .iter()
            .max_by(|a, b| fullness(a).total_cmp(&fullness(b)).then(a.resets_at.cmp(&b.resets_at)));
        reading
            .windows
            .iter()
            .map(|window| Fact {
                window: *window,
                exhausted: used_up(window) || (unexplained && fullest == Some(window)),
                reading,
            })
            .collect()
    }

    /// When the window is full again; at the latest, if the source gave no reset.
    pub(super) fn end(&self) -> DateTime<Utc> {
        match self.window.resets_at {
            Some(reset) => reset.instant(),
            None => {
                self.reading.observed_at.instant()
                    + TimeDelta::minutes(i64::from(self.window.minutes))
            }
        }
    }

    pub(super) fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.end() <= now
    }

    /// Whether it was used up so long ago that nobody knows whether it still is: where the
    /// source gave no reset, a week is the longest that anybody waits for a guess.
    pub(super) fn is_forgotten(&self, now: DateTime<Utc>) -> bool {
        let seen_at = self.reading.observed_at.instant();
        self.exhausted && self.window.resets_at.is_none() && seen_at + WEEK <= now
    }

    /// Whether it keeps the account waiting.
    pub(super) fn blocks(&self, now: DateTime<Utc>) -> bool {
        self.exhausted && !self.is_over(now) && !self.is_forgotten(now)
    }

    /// Whether it tells of the same window: of the same kind, or exactly as long.
    pub(super) fn is_about(&self, window: &Window) -> bool {
        let kind = self.window.kind();
        kind == window.kind() && (kind != Kind::Other || self.window.minutes == window.minutes)
    }

    pub(super) fn session_start_at(&self) -> Option<Stamp> {
        self.reading.known_start.or_else(|| week_before(self.window.resets_at?))
    }
}

/// The newest fact about each window; the readings come oldest first.
pub(super) fn merge<'a>(readings: &[&'a Reading]) -> Vec<Fact<'a>> {
    let mut facts: Vec<Fact<'a>> = Vec::new();
    for reading in readings {
        for fact in Fact::all(reading) {
            match facts.iter_mut().find(|older| older.is_about(&fact.window)) {
                Some(older) if is_outweighed(&fact, older) => {}
                Some(older) => *older = fact,
                None => facts.push(fact),
            }
        }
    }
    facts
}

/// Whether a guess meets a window that was reported and still ran when the guess was made.
fn is_outweighed(guess: &Fact<'_>, older: &Fact<'_>) -> bool {
    guess.reading.source == Source::Estimate
        && older.reading.source != Source::Estimate
        && !older.is_over(guess.reading.observed_at.instant())
}

/// The newest reading may say that a limit is reached and name no window at all. The account
/// waits then, for a week at most; any newer reading is better informed.
pub(super) fn nameless<'a>(readings: &[&'a Reading]) -> Option<Fact<'a>> {
    let reading = readings.last().copied()?;
    let window = Window {
        minutes: u32::try_from(WEEK.num_minutes()).ok()?,
        used_percent: None,
        resets_at: None,
    };
    let is_endless = reading.credits.as_ref().is_some_and(|credits| credits.unlimited);
    let speaks = reading.limit_reached == Some(true) && reading.windows.is_empty() && !is_endless;
    speaks.then_some(Fact { window, exhausted: true, reading })
}

/// When the end of a used-up window was first noticed; `None` if nobody noticed but assumed.
pub(super) fn detected_at(fact: &Fact<'_>, readings: &[&Reading]) -> Option<Stamp> {
    if !fact.exhausted || matches!(fact.reading.source, Source::Manual | Source::Estimate) {
        return None;
    }
    let saw_it = |other: &Fact<'_>| {
        let apart = (other.end() - fact.end()).abs();
        other.exhausted && other.is_about(&fact.window) && apart <= SAME_RESET
    };
    readings
        .iter()
        .filter(|reading| reading.source != Source::Estimate)
        .find(|reading| Fact::all(reading).iter().any(saw_it))
        .map(|reading| reading.observed_at)
        .or(Some(fact.reading.observed_at))
}
