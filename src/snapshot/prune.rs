//! Which snapshots are no longer wanted, and what has been kept for long enough?
//!
//! [`decide`] is pure: facts about snapshots, the rules and the instant in, a verdict with its
//! reasons out. [`plan`] adds what only the disk tells: whose login would be lost. Snapshots that
//! go are moved to `trash/`; what lay there, or in `undo/`, for longer than the settings say is
//! deleted for good. Nothing else ever deletes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};

use crate::account::AccountKey;
use crate::codex::auth::{self, AuthFile};
use crate::codex::home::CodexHome;
use crate::disk::tree::{self, Visit};
use crate::disk::{read, since};
use crate::snapshot::logins;
use crate::snapshot::metadata::Kind;
use crate::snapshot::operations::{Change, Log, Record, Step};
use crate::snapshot::restore::KEPT;
use crate::snapshot::store::{Origin, Store, StoreError, Stored};
use crate::snapshot::trash::put_away;
use crate::time::{Stamp, Zone};

/// How many snapshots of each account and kind to keep. A snapshot that any rule wants stays.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// The newest so many.
    pub last: usize,
    /// The newest of each of the last so many hours that have one.
    pub hourly: usize,
    /// The same for days,
    pub daily: usize,
    /// weeks, which begin on Monday,
    pub weekly: usize,
    /// and months; all by the calendar of the zone.
    pub monthly: usize,
    /// All that are younger than this.
    pub within: Option<TimeDelta>,
}

impl Policy {
    /// Whether it says nothing, so that every snapshot stays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the rules look at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whose it is; `None` if nobody knows.
    pub account: Option<String>,
    /// Which part of a home it holds: a login alone never takes the place of a home.
    pub kind: Kind,
    /// When it was taken, if that is known.
    pub at: Option<DateTime<Utc>>,
    /// Whether a person wants it to stay.
    pub pinned: bool,
}

/// Why each snapshot stays, in the order of `snapshots`; one without a reason goes.
///
/// The newest of each account and kind always stays, as do those that are pinned, or of which
/// nobody knows whose or when. Of two at one instant the one that comes first counts as newer.
#[must_use]
pub fn decide(
    snapshots: &[Facts],
    policy: &Policy,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Vec<Vec<String>> {
    let mut reasons = vec![Vec::new(); snapshots.len()];
    // When, and which one it is.
    type Dated = (DateTime<Utc>, usize);
    let mut groups: BTreeMap<(&str, String), Vec<Dated>> = BTreeMap::new();
    for (number, (facts, reasons)) in snapshots.iter().zip(&mut reasons).enumerate() {
        if facts.pinned {
            reasons.push("pinned".to_owned());
        }
        match (&facts.account, facts.at) {
            (Some(account), Some(at)) => {
                let group = (account.as_str(), facts.kind.to_string());
                groups.entry(group).or_default().push((at, number));
            }
            (None, _) => reasons.push("it names nobody".to_owned()),
            (_, None) => reasons.push("its age is not known".to_owned()),
        }
    }
    for ((_, kind), mut group) in groups {
        group.sort_by_key(|(at, number)| (std::cmp::Reverse(*at), *number));
        let mut keep = |number: usize, why: String| {
            if let Some(reasons) = reasons.get_mut(number) {
                reasons.push(why);
            }
        };
        if let Some((_, number)) = group.first() {
            keep(*number, format!("newest {kind} of its account"));
        }
        for (rank, (_, number)) in group.iter().take(policy.last).enumerate() {
            keep(*number, format!("last {} of {}", rank + 1, policy.last));
        }
        for (at, number) in &group {
            if policy.within.is_some_and(|within| now - within < *at) {
                keep(*number, "young enough".to_owned());
            }
        }
        for (count, word, period) in calendar(policy) {
            let mut seen = BTreeSet::new();
            for (at, number) in &group {
                let name = period(zone, *at);
                if seen.len() < count && seen.insert(name.clone()) {
                    keep(*number, format!("{word} {name}"));
                }
            }
        }
    }
    reasons
}

/// A stretch of the calendar, by its name.
type Period = fn(&Zone, DateTime<Utc>) -> String;

/// How many of each stretch of the calendar are kept, and what they are called.
fn calendar(policy: &Policy) -> [(usize, &'static str, Period); 4] {
    let hour: Period = |zone, at| {
        // An hour that the clocks show twice is two.
        let wall = zone.stamp(at);
        let text = wall.to_string();
        let offset = text.get(19..).unwrap_or_default();
        let hour = wall.wall().hour();
        format!("{} {hour:02}h{offset}", wall.wall().date())
    };
    let day: Period = |zone, at| zone.wall(at).date().to_string();
    let week: Period = |zone, at| {
        let week = zone.wall(at).date().iso_week();
        format!("{}-W{:02}", week.year(), week.week())
    };
    let month: Period = |zone, at| zone.wall(at).format("%Y-%m").to_string();
    [
        (policy.hourly, "hour", hour),
        (policy.daily, "day", day),
        (policy.weekly, "week", week),
        (policy.monthly, "month", month),
    ]
}

/// What a prune will do.
#[derive(Debug)]
pub struct Plan {
    /// Every snapshot that the rules were asked about, with the reasons why it stays.
    pub verdicts: Vec<(Stored, Vec<String>)>,
    /// What lay in `undo/` and `trash/` for long enough.
    pub expired: Vec<Expired>,
}

/// Something that was kept for as long as the settings say.
#[derive(Debug)]
pub struct Expired {
    /// What is deleted: files or folders that belong together.
    pub paths: Vec<PathBuf>,
    /// How much room that gives, in bytes.
    pub bytes: u64,
    /// Since when it was kept.
    pub since: DateTime<Utc>,
    /// Why it stays all the same.
    pub stays: Option<String>,
}

impl Plan {
    /// The snapshots that go.
    pub fn going(&self) -> impl Iterator<Item = &Stored> {
        self.verdicts.iter().filter(|(_, reasons)| reasons.is_empty()).map(|(stored, _)| stored)
    }

    /// What is deleted for good.
    pub fn deleted(&self) -> impl Iterator<Item = &Expired> {
        self.expired.iter().filter(|expired| expired.stays.is_none())
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.going().next().is_none() && self.deleted().next().is_none()
    }

    /// The steps that move snapshots to `trash/`, what that changes, and what is deleted at last.
    #[must_use]
    pub fn steps(&self, store: &Store, zone: &Zone) -> (Vec<Step>, Vec<Change>, Vec<PathBuf>) {
        let (steps, mut changes) = put_away(self.going(), store, zone);
        let mut discards = Vec::new();
        for expired in self.deleted() {
            let paths = expired.paths.iter().map(|path| store.relative(path));
            let path = expired.paths.first().map(|path| store.relative(path)).unwrap_or_default();
            changes.push(Change::Expired { path, bytes: expired.bytes });
            discards.extend(paths);
        }
        (steps, changes, discards)
    }
}

/// For how long things are kept that are not wanted any more.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// What was replaced.
    pub undo: TimeDelta,
    /// Snapshots that were put away.
    pub trash: TimeDelta,
}

/// What a prune looks at.
pub struct World<'a> {
    /// The manager home.
    pub store: &'a Store,
    /// Every snapshot there is.
    pub snapshots: &'a [Stored],
    /// What was done, for the times at which things were put away.
    pub log: &'a Log,
    /// The accounts that a person wanted to be forgotten, and when: of what was put away by then
    /// nothing is needed.
    pub forgotten: &'a BTreeMap<AccountKey, Stamp>,
    /// The Codex home of this run, which is not deleted wherever it lies.
    pub home: &'a Path,
    /// The zone of the calendar.
    pub zone: &'a Zone,
    /// The instant of the run.
    pub now: DateTime<Utc>,
}

/// Decides which of the snapshots that `concerns` picks, or all for `everybody`, go, and what has
/// expired. Those of the older tool are not asked about.
///
/// A snapshot stays if it is the only one to hold the newest login of its account, and so does what
/// has expired; whether that is live does not matter, for a live login is no copy: `codex login`
/// writes over it.
///
/// # Errors
///
/// When `undo/` or `trash/` cannot be looked at.
pub fn plan(
    world: &World<'_>,
    policy: &Policy,
    keeping: Keeping,
    (everybody, concerns): (bool, &dyn Fn(&Stored) -> bool),
) -> Result<Plan, StoreError> {
    let asked: Vec<&Stored> = world
        .snapshots
        .iter()
        .filter(|stored| stored.origin == Origin::Ours && concerns(stored))
        .collect();
    let facts: Vec<Facts> = asked.iter().map(|stored| facts(stored)).collect();
    let mut reasons = decide(&facts, policy, world.zone, world.now);
    if policy.is_empty() {
        for reasons in &mut reasons {
            reasons.push("no rule says that it goes".to_owned());
        }
    }
    let goes: BTreeSet<&Path> = asked
        .iter()
        .zip(&reasons)
        .filter(|(_, reasons)| reasons.is_empty())
        .map(|(stored, _)| stored.archive.as_path())
        .collect();
    let stays = world.snapshots.iter().filter(|it| !goes.contains(it.archive.as_path()));
    let mut staying: Vec<Stored> = stays.cloned().collect();
    // Newest first, so that of several copies of a login the newest snapshot keeps it.
    for (stored, reasons) in asked.iter().zip(&mut reasons).filter(|(_, why)| why.is_empty()) {
        if let Some(account) = logins::needed(stored, &staying, None) {
            reasons.push(format!("holds the newest login of {account}"));
            staying.push((*stored).clone());
        }
    }
    let verdicts = asked.into_iter().cloned().zip(reasons).collect();
    let mut expired = trash(world, keeping.trash, &staying, concerns)?;
    // A home that was replaced is nobody's alone.
    if everybody {
        expired.extend(undone(world, keeping.undo)?);
    }
    Ok(Plan { verdicts, expired })
}

fn facts(stored: &Stored) -> Facts {
    let metadata = &stored.metadata;
    let at = metadata.created_at.or(metadata.session_start_at);
    Facts {
        account: stored.key().map(|key| key.to_string()),
        kind: metadata.kind,
        at: at.map(|at| at.instant()),
        pinned: metadata.pinned,
    }
}

/// The snapshots in `trash/` that lay there for long enough.
fn trash(
    world: &World<'_>,
    keep: TimeDelta,
    staying: &[Stored],
    concerns: &dyn Fn(&Stored) -> bool,
) -> Result<Vec<Expired>, StoreError> {
    let store = world.store;
    let scan = store.scan_trash(world.zone)?;
    let mut found = Vec::new();
    for odd in &scan.problems {
        let Some(since) = changed_at(&odd.path).filter(|since| *since + keep <= world.now) else {
            continue;
        };
        let bytes = odd.path.symlink_metadata().map_or(0, |facts| facts.len());
        let stays = Some(format!("nobody knows what it holds: {}", odd.what));
        found.push(Expired { paths: vec![odd.path.clone()], bytes, since, stays });
    }
    for stored in scan.snapshots.into_iter().filter(concerns) {
        let path = store.relative(&stored.archive);
        let moved_here = |record: &&Record| {
            record.changes.iter().any(
                |change| matches!(change, Change::Snapshot(change) if change.to.archive == path),
            )
        };
        let record = world.log.records.iter().rev().find(moved_here);
        let Some(since) = record
            .map(|record| record.at.instant())
            .or_else(|| changed_at(&stored.archive))
            .filter(|since| *since + keep <= world.now)
        else {
            continue;
        };
        let stays = logins::needed(&stored, staying, None)
            .filter(|_| !is_forgotten(stored.key().as_ref(), since, world))
            .map(|account| format!("it holds the newest login of {account}"));
        let paths: Vec<PathBuf> =
            [Some(stored.archive), stored.sidecar].into_iter().flatten().collect();
        let bytes = paths.iter().filter_map(|path| Some(path.symlink_metadata().ok()?.len())).sum();
        found.push(Expired { paths, bytes, since, stays });
    }
    Ok(found)
}

/// What operations replaced that were done long enough ago.
fn undone(world: &World<'_>, keep: TimeDelta) -> Result<Vec<Expired>, StoreError> {
    let store = world.store;
    let mut found = Vec::new();
    let mut names = read::absent_is_none(read::names(&store.undo()))?.unwrap_or_default();
    names.sort();
    for name in names {
        let path = store.undo().join(&name);
        // What some file manager left there is not ours.
        if !path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            continue;
        }
        let record = name.to_str().and_then(|id| world.log.find(id));
        let since = record.map(|record| record.at.instant()).or_else(|| changed_at(&path));
        let Some(since) = since.filter(|since| *since + keep <= world.now) else { continue };
        let walk = tree::walk(&path, &mut |_| Visit::Take)?;
        let bytes = walk.nodes.iter().map(|node| node.size).sum();
        let home = path.join(KEPT);
        let stays = match world.home.starts_with(&path) {
            true => Some("the Codex home of this run is in it".to_owned()),
            false => still_holds(record, &home).or_else(|| keeps_a_login(&home, since, world)),
        };
        found.push(Expired { paths: vec![path], bytes, since, stays });
    }
    Ok(found)
}

/// Why a home that was replaced has to stay: something in it should have moved over, and did not.
fn still_holds(record: Option<&Record>, home: &Path) -> Option<String> {
    let changes = record.iter().flat_map(|record| &record.changes);
    let carried = changes.filter_map(|change| match change {
        Change::Home(change) => Some(&change.carried),
        _ => None,
    });
    let mut left = carried.flatten().filter(|path| home.join(path).symlink_metadata().is_ok());
    left.next().map(|path| format!("{path} in it did not move over"))
}

/// Why a home that was replaced has to stay: its login is nowhere else.
fn keeps_a_login(home: &Path, since: DateTime<Utc>, world: &World<'_>) -> Option<String> {
    let found = auth::read(&CodexHome::at(home.to_owned()).auth());
    let file: AuthFile = match found {
        Ok(None) => return None,
        Ok(Some(file)) => file,
        Err(_) => return Some("its login cannot be read, so nobody knows whose it is".to_owned()),
    };
    let is_covered =
        is_forgotten(file.key.as_ref(), since, world) || logins::is_covered(&file, world.snapshots);
    (!is_covered).then(|| "it holds a login that no snapshot has".to_owned())
}

/// Whether a person wanted what was put away at `since` to be forgotten with its account. Of one
/// that signed in again later, what came later counts as anybody's does.
fn is_forgotten(account: Option<&AccountKey>, since: DateTime<Utc>, world: &World<'_>) -> bool {
    let mark = account.and_then(|key| world.forgotten.get(key));
    mark.is_some_and(|at| since <= at.instant())
}

/// When a file or folder was last renamed or changed.
fn changed_at(path: &Path) -> Option<DateTime<Utc>> {
    let moment = since::moment(path).ok().flatten()?;
    DateTime::from_timestamp(moment.seconds(), 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whole hours before the instant of the run, newest first.
    fn snapshots(account: &str, hours: &[i64]) -> Vec<Facts> {
        hours
            .iter()
            .map(|hours| Facts {
                account: Some(account.to_owned()),
                kind: Kind::Full,
                at: Some(now() - TimeDelta::hours(*hours)),
                pinned: false,
            })
            .collect()
    }

    /// A Saturday.
    fn now() -> DateTime<Utc> {
        "2026-11-21T10:30:00Z".parse().unwrap()
    }

    fn policy(text: &str) -> Policy {
        let mut policy = Policy::default();
        for rule in text.split_whitespace() {
            let (name, number) = rule.split_at(1);
            let number: usize = number.parse().unwrap();
            match name {
                "l" => policy.last = number,
                "h" => policy.hourly = number,
                "d" => policy.daily = number,
                "w" => policy.weekly = number,
                "m" => policy.monthly = number,
                _ => policy.within = Some(TimeDelta::hours(number.try_into().unwrap())),
            }
        }
        policy
    }

    #[test]
    #[rustfmt::skip]
    fn a_rule_keeps_the_newest_of_each_stretch_of_the_calendar() {
        //             rules   ages in hours                what stays
        check("UTC",   "l2",   &[1, 2, 3],                  &[1, 2]);
        check("UTC",   "l9",   &[1, 2, 3],                  &[1, 2, 3]);
        check("UTC",   "i2",   &[1, 2, 3],                  &[1]);           // younger, not as old
        check("UTC",   "h2",   &[0, 1, 2],                  &[0, 1]);
        check("UTC",   "d2",   &[1, 9, 11, 12, 34, 35],     &[1, 11]);       // midnight was 10.5 h ago
        check("Asia/Tokyo", "d2", &[1, 9, 20, 34],          &[1, 20]);       // and 19.5 h ago there
        check("UTC",   "w2",   &[1, 130, 131, 200],         &[1, 131]);      // Monday was 130.5 h ago
        check("UTC",   "m2",   &[1, 400, 500, 800],         &[1, 500]);      // November began 490.5 h ago
        check("UTC",   "l1 d2",&[1, 2, 30, 60],             &[1, 30]);       // any rule that wants it
        check("UTC",   "",     &[1, 2],                     &[1]);           // always the newest
        check("Europe/Berlin", "h9", &[649, 650, 651],      &[649, 650, 651]); // 02:30 twice, 26 hours apart from no other
    }

    #[track_caller]
    fn check(zone: &str, rules: &str, ages: &[i64], stays: &[i64]) {
        let snapshots = snapshots("a", ages);
        let verdicts = decide(&snapshots, &policy(rules), &zone.parse().unwrap(), now());
        let kept: Vec<i64> = ages
            .iter()
            .zip(&verdicts)
            .filter(|(_, reasons)| !reasons.is_empty())
            .map(|(age, _)| *age)
            .collect();
        assert_eq!(kept, stays, "{verdicts:?}");
    }

    #[test]
    fn accounts_and_kinds_have_nothing_to_do_with_each_other() {
        let mut all = [snapshots("a", &[1, 2]), snapshots("b", &[3, 4])].concat();
        all[0].kind = Kind::Auth;
        let verdicts = decide(&all, &Policy::default(), &Zone::UTC, now());
        let stays: Vec<bool> = verdicts.iter().map(|reasons| !reasons.is_empty()).collect();
        assert_eq!(stays, [true, true, true, false]);
    }

    #[test]
    fn what_is_pinned_or_not_known_stays() {
        let mut all = snapshots("a", &[1, 2, 3, 4]);
        all[1].pinned = true;
        all[2].account = None;
        all[3].at = None;
        let verdicts = decide(&all, &Policy::default(), &Zone::UTC, now());
        assert!(verdicts.iter().all(|reasons| !reasons.is_empty()), "{verdicts:?}");
    }

    proptest! {
        #[test]
        fn a_rule_more_keeps_no_less_and_the_newest_always_stays(
            ages in proptest::collection::vec(0_i64..3_000, 1..40),
            one in "[lhdwmi][0-9]{1,2}", other in "[lhdwmi][0-9]{1,2}",
        ) {
            let facts = snapshots("a", &ages);
            let stays = |rules: &str| -> Vec<bool> {
                let verdicts = decide(&facts, &policy(rules), &Zone::UTC, now());
                verdicts.iter().map(|reasons| !reasons.is_empty()).collect()
            };
            prop_assume!(one.chars().next() != other.chars().next());
            let (few, more) = (stays(&one), stays(&format!("{one} {other}")));
            prop_assert!(few.iter().zip(&more).all(|(few, more)| !few || *more));
            let newest = ages.iter().enumerate().min_by_key(|(_, age)| **age).unwrap().0;
            prop_assert!(few[newest]);
            if let Some(last) = one.strip_prefix('l') {
                let last: usize = last.parse().unwrap();
                prop_assert_eq!(few.iter().filter(|it| **it).count(), ages.len().min(last.max(1)));
            }
        }
    }
}
