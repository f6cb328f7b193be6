//! How do backups compare with those of pigz, restic, borg and tar?

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::codex_home::{Edit, Size};
use crate::lab::{Lab, Runner, age, warm};
use crate::report::{Goal, Least, Report, float};
use crate::tools::Tool;

/// Stores the live home.
pub(crate) const BACKUP: &[&str] = &["backup", "--without-status-check"];
/// The same in fewer bytes and more time; how large it may be, as a multiple of what `gzip -6` makes, and
/// how many times as fast as `pigz -6` it has to be.
const SMALLER: [(&str, &str, Goal, Goal); 3] = [
    ("level-2", "2", Goal::None, Goal::None),
    ("level-6", "6", Goal::AtMost(1.0), Goal::AtLeast(2.0)),
    ("level-9", "9", Goal::None, Goal::None),
];

/// A first backup of a home, at the default level and at smaller ones.
pub(crate) fn first(lab: &Lab, size: Size, report: &mut Report) -> io::Result<()> {
    let home = lab.home(size)?;
    let (bytes, files) = warm(&home)?;
    report.part(&format!("first backup of {} MiB in {files} files", bytes >> 20))?;
    let fresh = |name: &'static str| move || lab.clear(name);
    let mut names = vec![("backup", Goal::None)];
    let mut runners =
        vec![Runner::new(lab.manager("manager", &home, BACKUP)).after(fresh("manager"))];
    // Another build, older than the option, may be measured too.
    let (_, help) = lab.run_reading(&lab.manager("manager", &home, &["backup", "--help"]))?;
    if String::from_utf8_lossy(&help).contains("--level") {
        for (manager, level, ..) in SMALLER {
            let words: Vec<&str> = BACKUP.iter().copied().chain(["--level", level]).collect();
            names.push((manager, Goal::None));
            runners.push(Runner::new(lab.manager(manager, &home, &words)).after(fresh(manager)));
        }
    }
    if lab.has(Tool::Pigz) {
        names.push(("tar | pigz -6", Goal::AtLeast(3.0)));
        runners.push(Runner::new(lab.shell(&home, "tar -cf - . | pigz -6 >$LAB/pigz.tgz")));
    }
    if lab.has(Tool::Restic) {
        names.push(("restic backup", Goal::AtLeast(1.0)));
        runners.push(Runner::new(restic(lab, &home)).after(|| new_restic(lab)));
    }
    if lab.has(Tool::Borg) {
        names.push(("borg create (lz4)", Goal::AtLeast(1.0)));
        runners.push(Runner::new(borg(lab, &home, "lz4")).after(|| new_borg(lab)));
        names.push(("borg create (zstd 3)", Goal::None));
        runners.push(Runner::new(borg(lab, &home, "zstd,3")).after(|| new_borg(lab)));
    }
    names.push(("tar -czf", Goal::None));
    runners.push(Runner::new(lab.shell(&home, "tar -czf $LAB/gzip.tgz .")));

    let costs = lab.race(lab.rounds(), |_| Ok(()), runners)?;
    let costs: Vec<_> = names.into_iter().zip(costs).collect();
    let find = |wanted: &str| costs.iter().find(|((name, _), _)| *name == wanted);
    let Some((_, ours)) = find("backup") else { return Ok(()) };
    report.ours("backup", ours)?;
    report.spent("first backup", bytes, ours);
    for ((name, goal), cost) in &costs {
        if *name != "backup" && !name.starts_with("level") {
            report.theirs(name, cost, ours, *goal)?;
        }
    }
    let gzip = fs::metadata(lab.at("gzip.tgz"))?.len();
    let against_gzip = |manager: &str, goal: Goal, report: &mut Report| {
        let archive = fs::metadata(lab.archive(manager)?)?.len();
        let what = format!("archive, {} MiB, to that of gzip -6", archive >> 20);
        report.figure(&what, float(archive) / float(gzip), "x", goal)
    };
    report.note(&format!(
        "gzip -6 makes {} MiB of it, {:.2} : 1",
        gzip >> 20,
        float(bytes) / float(gzip)
    ))?;
    against_gzip("manager", Goal::AtMost(1.06), report)?;
    let pigz = find("tar | pigz -6").map(|(_, cost)| cost);
    for (manager, level, size, speed) in SMALLER {
        let Some((_, cost)) = find(manager) else { continue };
        report.part(&format!("first backup of {} MiB at --level {level}", bytes >> 20))?;
        report.ours("backup", cost)?;
        if let Some(pigz) = pigz {
            report.theirs("tar | pigz -6", pigz, cost, speed)?;
        }
        against_gzip(manager, size, report)?;
    }
    lab.tidy()
}

/// Backups after a first one: nothing changed, one percent appended, one percent changed.
pub(crate) fn next(lab: &Lab, size: Size, report: &mut Report) -> io::Result<()> {
    let home = lab.own(size)?;
    age();
    lab.run(&lab.manager("manager", &home, BACKUP))?;
    if lab.has(Tool::Restic) {
        new_restic(lab)?;
        lab.run(&restic(lab, &home))?;
    }
    if lab.has(Tool::Borg) {
        new_borg(lab)?;
        lab.run(&borg(lab, &home, "lz4"))?;
    }
    let (bytes, _) = warm(&home)?;
    report.part(&format!("next backup of {} MiB, nothing changed", bytes >> 20))?;
    again(lab, &home, None, report)?;
    report.part(&format!("next backup of {} MiB, 1% appended", bytes >> 20))?;
    again(lab, &home, Some(Edit::Append), report)?;
    report.part(&format!("next backup of {} MiB, 1% changed", bytes >> 20))?;
    again(lab, &home, Some(Edit::Change), report)?;
    lab.tidy()
}

fn again(lab: &Lab, home: &Path, edit: Option<Edit>, report: &mut Report) -> io::Result<()> {
    let change = |salt: usize| -> io::Result<Vec<PathBuf>> {
        let Some(edit) = edit else { return Ok(Vec::new()) };
        let changed = edit.apply(home, 10, u64::try_from(salt).unwrap_or_default())?;
        age();
        Ok(changed.files)
    };
    let mut names = Vec::new();
    let mut runners = vec![Runner::new(lab.manager("manager", home, BACKUP))];
    if lab.has(Tool::Restic) {
        names.push("restic backup");
        runners.push(Runner::new(restic(lab, home)));
    }
    if lab.has(Tool::Borg) {
        names.push("borg create (lz4)");
        runners.push(Runner::new(borg(lab, home, "lz4")));
    }
    let costs = lab.race(lab.rounds(), |round| change(round).map(drop), runners)?;
    let Some((ours, costs)) = costs.split_first() else { return Ok(()) };
    report.ours("backup", ours)?;
    for (name, cost) in names.iter().zip(costs) {
        report.theirs(name, cost, ours, Goal::AtLeast(3.0))?;
    }

    // Once more, to hear how much was reused and to see what was read.
    let changed = change(lab.rounds())?;
    let words: Vec<&str> = BACKUP.iter().copied().chain(["--json"]).collect();
    let backup = lab.manager("manager", home, &words);
    let traced = lab.has(Tool::Strace);
    let (_, said) = lab.run_reading(&if traced { under_strace(lab, &backup)? } else { backup })?;
    let said: Value = serde_json::from_slice(&said)?;
    let number = |name| said.pointer(name).and_then(Value::as_u64).unwrap_or_default();
    let (reused, all) = (number("/data/reused_bytes"), number("/data/metadata/archive/bytes"));
    for (name, cost) in names.into_iter().zip(costs) {
        report.allow(&format!("3 times {name}"), cost, 3.0, Least::Write { bytes: all });
    }
    let share = 100.0 * float(reused) / float(all.max(1));
    report.figure("compressed bytes reused", share, "%", Goal::AtLeast(98.0))?;
    if traced {
        let read = float(bytes_read(lab, home, &changed)?);
        report.figure("read of unchanged sessions", read / 1024.0, " KiB", Goal::AtMost(0.0))?;
    }
    Ok(())
}

/// The same command with every read of a file written down in `lab/calls/`, by thread.
fn under_strace(lab: &Lab, command: &Command) -> io::Result<Command> {
    lab.clear("calls")?;
    fs::create_dir_all(lab.at("calls"))?;
    let mut traced = Command::new("strace");
    let calls = "trace=read,pread64,readv,preadv,preadv2,mmap,copy_file_range,sendfile,splice";
    traced.args(["-qq", "-ff", "-y", "-s", "0", "-e", calls, "-o"]).arg(lab.at("calls/thread"));
    traced.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    Ok(traced)
}

/// How many bytes of sessions were read, apart from those of some.
fn bytes_read(lab: &Lab, home: &Path, apart_from: &[PathBuf]) -> io::Result<u64> {
    let but: BTreeSet<&Path> = apart_from.iter().map(PathBuf::as_path).collect();
    let mut bytes = 0;
    for entry in fs::read_dir(lab.at("calls"))? {
        for line in fs::read_to_string(entry?.path())?.lines() {
            let Some(path) = line.split(['<', '>']).nth(1).map(Path::new) else { continue };
            let is_session = path.starts_with(home.join("sessions"))
                || path.starts_with(home.join("archived_sessions"));
            if !is_session || but.contains(path) {
                continue;
            }
            let said = line.rsplit_once("= ").map(|(_, said)| said).unwrap_or_default();
            let count = said.split_whitespace().next().unwrap_or_default();
            // A mapping tells no length, but it is one: a page at least.
            bytes += if line.starts_with("mmap") { 4096 } else { count.parse().unwrap_or(0) };
        }
    }
    Ok(bytes)
}

fn restic(lab: &Lab, home: &Path) -> Command {
    let mut command = Command::new("restic");
    command.args(["backup", "--quiet", "."]).current_dir(home);
    command.env("RESTIC_REPOSITORY", lab.at("restic")).env("RESTIC_PASSWORD", "made-up");
    command.env("XDG_CACHE_HOME", lab.at("restic-cache"));
    command
}

fn new_restic(lab: &Lab) -> io::Result<()> {
    lab.clear("restic")?;
    lab.clear("restic-cache")?;
    let mut command = restic(lab, Path::new("."));
    let mut init = Command::new(command.get_program());
    init.args(["init", "--quiet"]);
    for (name, value) in command.current_dir(lab.at("")).get_envs() {
        init.env(name, value.unwrap_or_default());
    }
    lab.run(&init).map(drop)
}

/// Borg without encryption, which is its fastest and what an archive of ours has too.
fn borg(lab: &Lab, home: &Path, compression: &str) -> Command {
    let mut command = Command::new("borg");
    let archive = format!("{}::{{now:%s.%f}}", lab.at("borg").display());
    command.args(["create", "--compression", compression, &archive, "."]).current_dir(home);
    borg_environment(lab, &mut command);
    command
}

fn new_borg(lab: &Lab) -> io::Result<()> {
    lab.clear("borg")?;
    lab.clear("borg-base")?;
    let mut init = Command::new("borg");
    init.args(["init", "--encryption", "none"]).arg(lab.at("borg"));
    borg_environment(lab, &mut init);
    lab.run(&init).map(drop)
}

fn borg_environment(lab: &Lab, command: &mut Command) {
    command.env("BORG_BASE_DIR", lab.at("borg-base"));
    command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
    command.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
}
