//! What is a quota window?
//!
//! A window is a stretch of time for which OpenAI meters an account. Windows are told apart by
//! their length, never by their position or the plan: either of Codex's two slots may hold the
//! week (SPEC, "Quota").

use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::time::{Stamp, Zone};

/// Length of the weekly window.
pub const WEEK: TimeDelta = TimeDelta::days(7);

/// One window as some source reported it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Window {
    /// Length in minutes: 300 for five hours, 10,080 for a week.
    pub minutes: u32,
    /// How much of it is used, in percent; unknown is `None`, never 0.
    pub used_percent: Option<f64>,
    /// When it is full again.
    pub resets_at: Option<Stamp>,
}

impl Window {
    /// The kind of window its length says it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of(self.minutes)
    }

    /// How much is left, in percent, between 0 and 100.
    #[must_use]
    pub fn left_percent(&self) -> Option<f64> {
        // Subtracting leaves digits that nobody wrote: 100 - 87.1 is not 12.9 to a computer.
        let left = |used: f64| ((100.0 - used).clamp(0.0, 100.0) * 1e6).round() / 1e6;
        self.used_percent.map(left)
    }

    /// Whether nothing is left of it, as far as its percentage tells.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.used_percent.is_some_and(|used| 100.0 <= used)
    }

    /// The same window with its time written in `zone`.
    #[must_use]
    pub fn in_zone(self, zone: &Zone) -> Self {
        Self { resets_at: self.resets_at.map(|at| at.in_zone(zone)), ..self }
    }
}

/// A limit beside the general one, such as that of a single model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OtherLimit {
    /// What the backend calls it.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Its windows.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Whether the backend said that it is reached; `None` if it did not say.
    #[serde(default)]
    pub limit_reached: Option<bool>,
}

impl OtherLimit {
    /// What to call it in front of a person.
    #[must_use]
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}

/// What was paid for beside the windows: work may go on when they are used up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credits {
    /// There is no end to them.
    pub unlimited: bool,
    /// How many are left, a decimal number as the backend wrote it.
    #[serde(default)]
    pub balance: Option<String>,
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match (&self.balance, self.unlimited) {
            (_, true) => "unlimited",
            (Some(balance), false) => balance,
            (None, false) => "some",
        })
    }
}

/// What people call a window of some length.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// About five hours.
    FiveHours,
    /// About a day.
    Day,
    /// About seven days.
    Week,
    /// About thirty days.
    Month,
    /// Any other length.
    Other,
}

impl Kind {
    /// Sorts a length in minutes into its kind; a tenth more or less does not matter.
    #[must_use]
    pub fn of(minutes: u32) -> Self {
        match minutes {
            270..=330 => Self::FiveHours,
            1_296..=1_584 => Self::Day,
            9_072..=11_088 => Self::Week,
            38_880..=47_520 => Self::Month,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FiveHours => "5 h",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Other => "other",
        })
    }
}

/// The weekly one among some windows, if there is one.
#[must_use]
pub fn weekly(windows: &[Window]) -> Option<&Window> {
    windows.iter().find(|window| window.kind() == Kind::Week)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_window_is_known_by_its_length() {
        for (minutes, kind) in [
            (0, Kind::Other), (269, Kind::Other), (270, Kind::FiveHours), (300, Kind::FiveHours),
            (1_440, Kind::Day), (10_080, Kind::Week), (10_079, Kind::Week), (11_089, Kind::Other),
            (43_200, Kind::Month), (44_640, Kind::Month), (u32::MAX, Kind::Other),
        ] {
            assert_eq!(Kind::of(minutes), kind, "{minutes}");
        }
    }

    #[test]
    fn what_is_left_is_never_below_nothing() {
        let window = |used| Window { minutes: 300, used_percent: used, resets_at: None };
        assert_eq!(window(Some(45.0)).left_percent(), Some(55.0));
        assert_eq!(window(Some(104.0)).left_percent(), Some(0.0));
        assert_eq!(window(None).left_percent(), None);
        assert!(window(Some(100.0)).is_used_up());
        assert!(!window(Some(99.9)).is_used_up());
        assert!(!window(None).is_used_up());
    }
}
