//! How does a person want the next of several ready accounts to be chosen?

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What decides between ready accounts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The least recently used first: every account gets its turn.
    #[default]
    Lru,
    /// The one first whose running week ends first: what is left of it would be lost.
    SoonestReset,
    /// The one with the most left first: the longest stretch without a switch.
    MostLeft,
}

impl Strategy {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::Lru, Self::SoonestReset, Self::MostLeft];
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lru => "lru",
            Self::SoonestReset => "soonest-reset",
            Self::MostLeft => "most-left",
        })
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        let named = |strategy: &Self| strategy.to_string() == text;
        Self::ALL.into_iter().find(named).ok_or(UnknownStrategy)
    }
}

/// There is no such strategy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a strategy is lru, soonest-reset or most-left")]
pub struct UnknownStrategy;
