//! What happened to each account?
//!
//! Pure: the ledger, the readings of every source and the session files come in, weeks and events
//! go out. Everything carries its source and how sure it is whose it is; what is ambiguous is told
//! as such and counts for no account.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use super::attribution::{Attribution, Origin};
use super::{KnownAccount, Overview};
use crate::account::AccountKey;
use crate::codex::rollout::{Event as Limits, Session};
use crate::quota::ledger::Noticed;
use crate::quota::{Confidence, Entry, Source};
use crate::time::{Stamp, Zone};
use crate::window::{Kind, WEEK, Window, weekly};

/// Two resets that differ by no more than this are the same one: every source rounds its own way.
const SAME_RESET: TimeDelta = TimeDelta::hours(1);

/// Which part of the past is meant.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// From then on.
    pub since: DateTime<Utc>,
    /// Up to and including this.
    pub until: DateTime<Utc>,
}

impl Range {
    fn has(&self, at: Stamp) -> bool {
        self.since <= at.instant() && at.instant() <= self.until
    }
}

/// What happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// By account, also such as nothing but a session tells of.
    pub accounts: BTreeMap<AccountKey, Past>,
    /// How many sessions were begun by nobody can tell whom.
    pub ambiguous_sessions: u64,
    /// What happened, newest first.
    pub events: Vec<Event>,
}

/// What happened to one account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Its weeks, newest first.
    pub weeks: Vec<Week>,
    /// How many sessions it began on which day of the zone.
    pub days: BTreeMap<NaiveDate, u64>,
}

impl Past {
    /// How many sessions it began.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.days.values().sum()
    }
}

/// One weekly window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Week {
    /// When it began.
    pub began_at: Stamp,
    /// When it ends.
    pub resets_at: Stamp,
    /// How much of it was used when it was last seen, in percent.
    pub used_percent: Option<f64>,
    /// When it was first seen to be used up.
    pub used_up_at: Option<Stamp>,
    /// Sessions that the account began in it, as far as they lie in the range.
    pub sessions: u64,
    /// What told of it last.
    pub source: Source,
    /// When that was.
    pub observed_at: Stamp,
    /// How sure it is that it is this account's.
    pub confidence: Confidence,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub at: Stamp,
    /// To whom; `None` if that is ambiguous.
    pub account: Option<AccountKey>,
    /// Whom it may have happened to, if it is ambiguous.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<AccountKey>,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// What tells of it.
    pub source: Told,
    /// How sure it is whom it happened to.
    pub confidence: Confidence,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// Its login was put in place by this program.
    Activated,
    /// It was found to be signed in, beside this program.
    Noticed {
        /// When that happened, as far as anybody knows.
        #[serde(flatten)]
        between: Noticed,
    },
    /// A person set it aside.
    SetAside {
        /// Until when.
        until: Stamp,
    },
    /// A person took that back.
    Cleared,
    /// A limit was seen to be reached.
    LimitReached {
        /// Length of the window, in minutes; 0 if the source did not tell which.
        minutes: u32,
        /// When that is full again.
        resets_at: Option<Stamp>,
    },
    /// Its week ended, as it was foretold.
    Reset,
    /// It began sessions, the last of the day now.
    Sessions {
        /// How many on that day.
        sessions: u64,
    },
}

/// What tells of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// A line of the ledger.
    Ledger,
    /// A reading, in the ledger or not.
    Reading(Source),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger => f.pad("ledger"),
            Self::Reading(source) => source.fmt(f),
        }
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One reading of whatever source, and whose it is.
struct Fact<'a> {
    whose: Attribution,
    observed_at: Stamp,
    source: Source,
    windows: &'a [Window],
    limit_reached: Option<bool>,
}

impl Fact<'_> {
    fn confidence(&self) -> Confidence {
        match self.whose {
            Attribution::Known { confidence, .. } => confidence,
            Attribution::Ambiguous { .. } => Confidence::Ambiguous,
        }
    }

    /// Whether it says that this window is used up.
    fn is_used_up(&self, window: &Window) -> bool {
        let fullest = || {
            let used = |window: &Window| window.used_percent.unwrap_or(0.0);
            self.windows.iter().all(|other| used(other) <= used(window))
        };
        window.is_used_up() || (self.limit_reached == Some(true) && fullest())
    }

    /// A window that nobody has used is reported to end one length from now, whenever one looks.
    fn is_running(&self, window: &Window) -> bool {
        window.used_percent.is_none_or(|used| 0.0 < used) || self.is_used_up(window)
    }
}

/// Tells what happened in this range.
#[must_use]
pub fn history(known: &Overview, sessions: &[Session], range: Range, zone: &Zone) -> History {
    let facts = facts(known, sessions);
    let mut history = History::default();
    for account in &known.accounts {
        history.accounts.insert(account.account.key.clone(), Past::default());
    }
    let mut events = changes(known, zone);
    events.extend(limits(&facts, zone));
    weeks(&facts, range, zone, &mut history);
    events.extend(begun(known, sessions, range, zone, &mut history));
    for (key, past) in &history.accounts {
        let ended = past.weeks.iter().filter(|week| week.resets_at.instant() <= range.until);
        events.extend(ended.map(|week| Event {
            at: week.resets_at,
            account: Some(key.clone()),
            candidates: Vec::new(),
            what: What::Reset,
            source: Told::Reading(week.source),
            confidence: week.confidence,
        }));
    }
    events.retain(|event| range.has(event.at));
    // What the ledger says of one second stays in its order.
    events.sort_by_key(|event| event.at);
    events.reverse();
    history.events = events;
    history
}

/// Every reading that is known, attributed.
fn facts<'a>(known: &'a Overview, sessions: &'a [Session]) -> Vec<Fact<'a>> {
    let mut facts = Vec::new();
    for KnownAccount { account, readings, .. } in &known.accounts {
        let told = readings.iter().filter(|reading| reading.source != Source::Manual);
        facts.extend(told.map(|reading| Fact {
            whose: Attribution::Known {
                account: account.key.clone(),
                confidence: reading.confidence,
                basis: reading.basis.unwrap_or(crate::quota::Basis::Ledger),
            },
            observed_at: reading.observed_at,
            source: reading.source,
            windows: &reading.windows,
            limit_reached: reading.limit_reached,
        }));
    }
    for session in sessions {
        let start = session.start.as_ref();
        let origin = Origin {
            creator: start.and_then(|start| start.creator.as_ref()),
            begun: start.map(|start| start.at),
        };
        let told = session.stretches.iter().flat_map(|stretch| {
            std::iter::once(&stretch.first).chain(&stretch.reached).chain([stretch.newest()])
        });
        facts.extend(told.map(|Limits { observed_at, windows, limit_reached, .. }| Fact {
            whose: known.whose(origin, *observed_at),
            observed_at: *observed_at,
            source: Source::Rollout,
            windows,
            limit_reached: *limit_reached,
        }));
    }
    for entry in &known.ledger.entries {
        let Entry::AmbiguousReading { reading, .. } = entry else { continue };
        let (candidates, basis) = (reading.candidates.clone(), reading.basis);
        facts.push(Fact {
            whose: Attribution::Ambiguous { candidates, basis },
            observed_at: reading.observed_at,
            source: reading.source,
            windows: &reading.windows,
            limit_reached: reading.limit_reached,
        });
    }
    facts.sort_by_key(|fact| (fact.observed_at, fact.confidence()));
    facts
}

/// What the ledger says was done.
fn changes(known: &Overview, zone: &Zone) -> Vec<Event> {
    let told = known.ledger.entries.iter().chain(known.noticed());
    let events = told.filter_map(|entry| {
        let (at, account, what) = match entry {
            Entry::Activation { at, account, noticed: None, .. } => (*at, account, What::Activated),
            Entry::Activation { account, noticed: Some(between), .. } => {
                let between = Noticed {
                    after: between.after.map(|at| at.in_zone(zone)),
                    before: between.before.in_zone(zone),
                };
                (between.before, account, What::Noticed { between })
            }
            Entry::Cooldown { at, account, until, .. } => {
                (*at, account, What::SetAside { until: until.in_zone(zone) })
            }
            Entry::CooldownCleared { at, account } => (*at, account, What::Cleared),
            _ => return None,
        };
        Some(Event {
            at: at.in_zone(zone),
            account: Some(account.clone()),
            candidates: Vec::new(),
            what,
            source: Told::Ledger,
            confidence: Confidence::Certain,
        })
    });
    events.collect()
}

/// When which limit was first seen to be reached, before its reset.
fn limits(facts: &[Fact<'_>], zone: &Zone) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for fact in facts {
        for window in fact.windows.iter().filter(|window| fact.is_used_up(window)) {
            let what = What::LimitReached {
                minutes: window.minutes,
                resets_at: window.resets_at.map(|at| at.in_zone(zone)),
            };
            let (account, candidates) = match &fact.whose {
                Attribution::Known { account, .. } => (Some(account.clone()), Vec::new()),
                Attribution::Ambiguous { candidates, .. } => (None, candidates.clone()),
            };
            let event = Event {
                at: fact.observed_at.in_zone(zone),
                account,
                candidates,
                what,
                source: Told::Reading(fact.source),
                confidence: fact.confidence(),
            };
            // The facts come in the order of time: the first one of a reset stays.
            if !events.iter().rev().any(|earlier| is_same_limit(earlier, &event)) {
                events.push(event);
            }
        }
    }
    events
}

fn is_same_limit(one: &Event, other: &Event) -> bool {
    let What::LimitReached { minutes, resets_at: Some(reset) } = one.what else { return false };
    let What::LimitReached { minutes: others, resets_at: Some(its) } = other.what else {
        return false;
    };
    // What was ambiguous when it was written down may be clear by now.
    let is_theirs = one.account == other.account || other.account.is_none();
    is_theirs && Kind::of(minutes) == Kind::of(others) && is_same(reset, its)
}

fn is_same(one: Stamp, other: Stamp) -> bool {
    (one.instant() - other.instant()).abs() <= SAME_RESET
}

/// Who began how many sessions on which day.
fn begun(
    known: &Overview,
    sessions: &[Session],
    range: Range,
    zone: &Zone,
    history: &mut History,
) -> Vec<Event> {
    struct Day {
        last: Stamp,
        sessions: u64,
        confidence: Confidence,
        candidates: BTreeSet<AccountKey>,
    }
    let mut days: BTreeMap<(Option<AccountKey>, NaiveDate), Day> = BTreeMap::new();
    for start in sessions.iter().filter_map(|session| session.start.as_ref()) {
        if !range.has(start.at) {
            continue;
        }
        let day = zone.wall(start.at.instant()).date();
        let (account, confidence, candidates) = match &start.creator {
            // The session itself says who began it; only who went on with it is open.
            Some(creator) => (Some(creator.clone()), Confidence::Certain, Vec::new()),
            None => match known.whose(Origin { creator: None, begun: Some(start.at) }, start.at) {
                Attribution::Known { account, confidence, .. } => {
                    (Some(account), confidence, Vec::new())
                }
                Attribution::Ambiguous { candidates, .. } => {
                    (None, Confidence::Ambiguous, candidates)
                }
            },
        };
        match &account {
            Some(key) => {
                let past = history.accounts.entry(key.clone()).or_default();
                *past.days.entry(day).or_default() += 1;
                let of = past
                    .weeks
                    .iter_mut()
                    .find(|week| week.began_at <= start.at && start.at < week.resets_at);
                of.into_iter().for_each(|week| week.sessions += 1);
            }
            None => history.ambiguous_sessions += 1,
        }
        let told = days.entry((account, day)).or_insert_with(|| Day {
            last: start.at,
            sessions: 0,
            confidence,
            candidates: BTreeSet::new(),
        });
        told.last = told.last.max(start.at);
        told.sessions += 1;
        told.confidence = told.confidence.max(confidence);
        told.candidates.extend(candidates);
    }
    let events = days.into_iter().map(|((account, _), day)| Event {
        at: day.last.in_zone(zone),
        account,
        candidates: day.candidates.into_iter().collect(),
        what: What::Sessions { sessions: day.sessions },
        source: Told::Reading(Source::Rollout),
        confidence: day.confidence,
    });
    events.collect()
}

/// The weeks of every account, and how many of its sessions began in each.
fn weeks(facts: &[Fact<'_>], range: Range, zone: &Zone, history: &mut History) {
    let mut weeks: BTreeMap<AccountKey, Vec<Week>> = BTreeMap::new();
    for fact in facts {
        let Attribution::Known { account, confidence, .. } = &fact.whose else { continue };
        let Some(window) = weekly(fact.windows).filter(|window| fact.is_running(window)) else {
            continue;
        };
        let Some(reset) = window.resets_at else { continue };
        let Some(began) = Stamp::from_epoch((reset.instant() - WEEK).timestamp()) else { continue };
        let used_up = fact.is_used_up(window).then(|| fact.observed_at.in_zone(zone));
        let theirs = weeks.entry(account.clone()).or_default();
        let known = theirs.iter_mut().rev().find(|week| is_same(week.resets_at, reset));
        let week = Week {
            began_at: began.in_zone(zone),
            resets_at: reset.in_zone(zone),
            used_percent: window.used_percent,
            used_up_at: used_up,
            sessions: 0,
            source: fact.source,
            observed_at: fact.observed_at.in_zone(zone),
            confidence: *confidence,
        };
        match known {
            // The facts come in the order of time: this one is newer.
            Some(known) => {
                let used_up_at = known.used_up_at.or(week.used_up_at);
                let used_percent = week.used_percent.or(known.used_percent);
                *known = Week { used_up_at, used_percent, ..week };
            }
            None => theirs.push(week),
        }
    }
    for (key, mut theirs) in weeks {
        theirs.retain(|week| {
            range.since < week.resets_at.instant() && week.began_at.instant() <= range.until
        });
        theirs.sort_by_key(|week| std::cmp::Reverse(week.resets_at));
        history.accounts.entry(key).or_default().weeks = theirs;
    }
}
