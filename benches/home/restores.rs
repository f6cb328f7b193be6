//! How do restore and verify compare with tar, cp and sha256sum?

use std::io;

use crate::backups::BACKUP;
use crate::codex_home::{Edit, Size};
use crate::lab::{Lab, Runner, age, warm};
use crate::report::{Goal, Least, Report, float, seconds};
use crate::tools::Tool;

/// A full restore, a verification, and a restore onto a home that is nearly the same.
pub(crate) fn all(lab: &Lab, size: Size, report: &mut Report) -> io::Result<()> {
    let home = lab.home(size)?;
    let (bytes, files) = warm(&home)?;
    lab.run(&lab.manager("manager", &home, BACKUP))?;
    let archive = lab.archive("manager")?;
    warm(&lab.at("manager/backups"))?;

    report.part(&format!("full restore of {} MiB in {files} files", bytes >> 20))?;
    let to = lab.at("restored").display().to_string();
    let restore = lab.manager("manager", &home, &["restore", "--to", &to]);
    let unpack = format!("mkdir $LAB/tar && tar -xzf '{}' -C $LAB/tar", archive.display());
    let mut names = vec![("tar -xzf", Goal::AtLeast(2.5))];
    let mut runners = vec![
        Runner::new(restore).after(|| lab.free("restored")),
        Runner::new(lab.shell(&home, &unpack)).after(|| lab.free("tar")),
    ];
    if lab.has(Tool::Cp) {
        names.push(("cp -a", Goal::AtLeast(0.4)));
        runners.push(Runner::new(lab.shell(&home, "cp -a . $LAB/cp")).after(|| lab.free("cp")));
    }
    lab.forget();
    let costs = lab.race(lab.rounds(), |_| Ok(()), runners)?;
    let Some((full, costs)) = costs.split_first() else { return Ok(()) };
    report.ours("restore --to", full)?;
    report.spent("full restore", bytes, full);
    for ((name, goal), cost) in names.into_iter().zip(costs) {
        report.theirs(name, cost, full, goal)?;
        if name == "cp -a" {
            report.allow("2.5 times as long as cp", cost, 0.4, Least::Write { bytes });
        }
    }
    ["restored", "tar", "cp"].into_iter().try_for_each(|name| lab.free(name))?;

    report.part(&format!("verify {} MiB in {files} files", bytes >> 20))?;
    let mut runners = vec![Runner::new(lab.manager("manager", &home, &["verify"]))];
    if lab.has(Tool::Sha256sum) {
        let sums = "find . -type f -print0 | xargs -0 -n 32 -P 2 sha256sum >$LAB/sums";
        runners.push(Runner::new(lab.shell(&home, sums)));
    }
    let costs = lab.race(lab.rounds(), |_| Ok(()), runners)?;
    let Some((ours, costs)) = costs.split_first() else { return Ok(()) };
    report.ours("verify", ours)?;
    report.spent("verify", bytes, ours);
    for cost in costs {
        report.theirs("sha256sum, two at a time", cost, ours, Goal::AtLeast(0.667))?;
    }

    report.part(&format!("restore onto a home of {} MiB that differs in 5%", bytes >> 20))?;
    lab.free("manager")?;
    let home = lab.own(size)?;
    age();
    lab.run(&lab.manager("manager", &home, BACKUP))?;
    let change = |round: usize| {
        Edit::Change.apply(&home, 50, u64::try_from(round).unwrap_or_default()).map(drop)?;
        age();
        warm(&home).map(drop)
    };
    let name = lab.archive("manager")?;
    let name = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.trim_end_matches(".tar.gz");
    let restore = lab.manager("manager", &home, &["restore", name]);
    let costs = lab.race(lab.rounds(), change, vec![Runner::new(restore)])?;
    for cost in &costs {
        report.ours("restore in place", cost)?;
        let unchanged = Least::Copy { bytes: bytes / 20 * 19 };
        report.allow("3 times the full restore", full, 3.0, unchanged);
        let ratio = seconds(full.wall) / seconds(cost.wall);
        report.figure("the full restore takes", ratio, "x", Goal::AtLeast(3.0))?;
    }
    lab.tidy()
}

/// One file that is nearly the whole home: how much memory it takes.
pub(crate) fn huge(lab: &Lab, mib: u64, report: &mut Report) -> io::Result<()> {
    let home = lab.home(Size::new(mib, Some(1)))?;
    let (bytes, _) = warm(&home)?;
    report.part(&format!("one session of {} MiB", bytes >> 20))?;
    let to = lab.at("restored").display().to_string();
    let steps: [(&str, &[&str]); 4] = [
        ("first backup", BACKUP),
        ("backup, nothing changed", BACKUP),
        ("verify", &["verify"]),
        ("restore --to", &["restore", "--to", &to]),
    ];
    for (what, words) in steps {
        lab.settle()?;
        let cost = lab.run(&lab.manager("manager", &home, words))?;
        report.ours(what, &cost)?;
        let rate = float(bytes) / seconds(cost.wall) / 1e6;
        report.note(&format!("{:<26} {rate:>6.0} MB/s", ""))?;
    }
    lab.tidy()
}
