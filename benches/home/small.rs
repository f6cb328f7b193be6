//! What do the commands cost that people wait for: use, show, list, cooldown, recommend?
//!
//! In CPU time, because their clock mostly tells how long a process takes to start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str;

use chrono::{TimeDelta, Utc};
use codex_manager::account::Email;
use codex_manager::snapshot::metadata::{AccountFacts, Metadata};
use codex_manager::snapshot::name::{SnapshotName, Who};
use codex_manager::time::{Stamp, Zone};

use crate::backups::BACKUP;
use crate::codex_home::{self, Size};
use crate::lab::{Lab, Runner, age, warm};
use crate::measure::Cost;
use crate::report::{Goal, Report, float, seconds};

/// `use` and `show` with a snapshot of each of some sizes, smallest first.
pub(crate) fn switching(lab: &Lab, mib: &[u64], report: &mut Report) -> io::Result<()> {
    report.part("use and show, whatever the size")?;
    let (mut switched, mut shown) = (Vec::new(), Vec::new());
    for mib in mib {
        lab.tidy()?;
        let home = lab.own(Size::new(*mib, None))?;
        lab.run(&lab.manager("manager", &home, BACKUP))?;
        // Somebody else is signed in, then the stored account again.
        let other = || fs::write(home.join("auth.json"), codex_home::login("bob"));
        let back = lab.manager("manager", &home, &["use", "ada@example.com"]);
        let show = lab.manager("manager", &home, &["show"]);
        let costs = lab.race(
            lab.rounds() * 3,
            |_| Ok(()),
            vec![Runner::new(back).after(other), Runner::new(show)],
        )?;
        for ((what, all), cost) in
            [("use", &mut switched), ("show", &mut shown)].into_iter().zip(costs)
        {
            let what = format!("{what} at {mib} MiB");
            report.ours(&what, &cost)?;
            cpu(&what, &cost, Goal::AtMost(20.0), report)?;
            all.push(cost.cpu);
        }
    }
    for (what, cpu) in [("use", switched), ("show", shown)] {
        if let ([first, .., last], [small, .., large]) = (&cpu[..], mib) {
            let what = format!("{what}: CPU at {large} MiB to that at {small} MiB");
            report.figure(&what, seconds(*last) / seconds(*first), "x", Goal::AtMost(1.25))?;
        }
    }
    lab.tidy()
}

/// `list`, `cooldown` and `recommend` with each of some numbers of snapshots, smallest first.
pub(crate) fn many(lab: &Lab, counts: &[usize], report: &mut Report) -> io::Result<()> {
    let home = lab.own(Size::new(1, None))?;
    report.part("--help, and cooldown with 10 accounts")?;
    let help =
        lab.repeat(lab.rounds() * 3, Runner::new(lab.manager("none", &home, &["--help"])))?;
    report.ours("--help", &help)?;
    cpu("--help", &help, Goal::AtMost(5.0), report)?;
    snapshots(lab, &home, 10, 10)?;
    let cooldown = lab.manager("manager", &home, &["cooldown"]);
    lab.run(&cooldown)?;
    let cost = lab.repeat(lab.rounds() * 3, Runner::new(cooldown))?;
    report.ours("cooldown", &cost)?;
    cpu("cooldown", &cost, Goal::AtMost(5.0), report)?;

    const COMMANDS: [&str; 3] = ["list", "cooldown", "recommend"];
    let mut last: Option<(usize, Vec<Cost>)> = None;
    for count in counts {
        report.part(&format!("with {count} snapshots of 10 accounts"))?;
        snapshots(lab, &home, *count, 10)?;
        for what in COMMANDS {
            lab.settle()?;
            let cost = lab.run(&lab.manager("manager", &home, &[what]))?;
            report.ours(&format!("{what}, the first time"), &cost)?;
        }
        let runners = COMMANDS.map(|what| Runner::new(lab.manager("manager", &home, &[what])));
        let costs = lab.race(lab.rounds(), |_| Ok(()), runners.into())?;
        for (what, cost) in COMMANDS.into_iter().zip(&costs) {
            report.ours(what, cost)?;
            let at_most = if *count <= 10_000 { Goal::AtMost(100.0) } else { Goal::None };
            cpu(what, cost, at_most, report)?;
        }
        if let Some((fewer, before)) = last {
            let more = float(u64::try_from(*count).unwrap_or(u64::MAX))
                / float(u64::try_from(fewer).unwrap_or(u64::MAX)).max(1.0);
            for ((what, before), cost) in COMMANDS.into_iter().zip(&before).zip(&costs) {
                let what = format!("{what}: CPU with {count} to that with {fewer}");
                let growth = seconds(cost.cpu) / seconds(before.cpu);
                report.figure(&what, growth, "x", Goal::AtMost(more * 1.25))?;
            }
        }
        last = Some((*count, costs));
    }
    lab.tidy()
}

/// `history` against reading the same sessions, and again when they are remembered.
pub(crate) fn history(lab: &Lab, size: Size, report: &mut Report) -> io::Result<()> {
    let home = lab.home(size)?;
    let (bytes, files) = warm(&home)?;
    report.part(&format!("history of {} MiB in {files} files", bytes >> 20))?;
    let first = || match fs::remove_file(lab.at("manager/rollouts.cache")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let history = || lab.manager("manager", &home, &["history"]);
    lab.run(&lab.manager("manager", &home, BACKUP))?;
    let costs = lab.race(
        lab.rounds(),
        |_| Ok(()),
        vec![
            Runner::new(history()).after(first),
            Runner::new(history()),
            Runner::new(
                lab.shell(&home, "find sessions -type f -print0 | xargs -0 cat >/dev/null"),
            ),
        ],
    )?;
    if let [first, again, cat] = &costs[..] {
        report.ours("history", first)?;
        report.theirs("cat", cat, first, Goal::None)?;
        report.ours("history again", again)?;
        report.theirs("the first time", first, again, Goal::None)?;
    }
    lab.tidy()
}

fn cpu(what: &str, cost: &Cost, goal: Goal, report: &mut Report) -> io::Result<()> {
    report.figure(&format!("{what}: CPU"), cost.cpu.as_secs_f64() * 1e3, " ms", goal)
}

/// A store with so many snapshots of so many accounts: one real one, and others that say the
/// same of other hours and people. Their archives are links to its archive.
fn snapshots(lab: &Lab, home: &Path, count: usize, accounts: usize) -> io::Result<()> {
    lab.clear("manager")?;
    lab.run(&lab.manager("manager", home, BACKUP))?;
    let archive = lab.archive("manager")?;
    let backups = lab.at("manager/backups");
    let sidecar = PathBuf::from(archive.display().to_string().replace(".tar.gz", ".metadata.json"));
    let real = Metadata::parse(&fs::read(&sidecar)?).map_err(io::Error::other)?;
    let now = Utc::now();
    for number in 1..count {
        let mut told = real.clone();
        let account = number % accounts.max(1);
        if account != 0 {
            let email: Email =
                format!("user{account}@example.com").parse().map_err(io::Error::other)?;
            told.email = Some(email);
            let facts = told.account.as_ref();
            told.account = Some(AccountFacts {
                user_id: Some(format!("user-{account}")),
                account_id: Some(format!("acct-{account}")),
                plan: facts.and_then(|facts| facts.plan.clone()),
                auth_mode: facts.and_then(|facts| facts.auth_mode.clone()),
            });
            told.login = None;
        }
        let hours = i64::try_from(number).unwrap_or_default();
        let at = |days| -> Option<Stamp> {
            Some(Zone::UTC.stamp(now - TimeDelta::hours(hours) + TimeDelta::days(days)))
        };
        (told.session_start_at, told.created_at) = (at(0), at(0));
        (told.next_available_at, told.reset_at) = (at(7), at(7));
        if let Some(quota) = &mut told.quota {
            quota.observed_at = at(0);
            for window in &mut quota.windows {
                window.resets_at = at(7);
            }
        }
        let who = told.email.clone().map(Who::Email).ok_or_else(|| io::Error::other("nobody"))?;
        let name = SnapshotName::new(Zone::UTC.wall(now - TimeDelta::hours(hours)), who);
        if let Some(facts) = &mut told.archive {
            facts.name = name.archive();
        }
        fs::write(backups.join(name.sidecar()), told.to_bytes())?;
        fs::hard_link(&archive, backups.join(name.archive()))?;
    }
    // What is young is rightly not remembered.
    age();
    Ok(())
}
