//! Does the cost grow as the content does, and as the number of files does?

use std::io;

use crate::backups::BACKUP;
use crate::codex_home::Size;
use crate::lab::{Lab, age, warm};
use crate::report::{Goal, Report, float, seconds};

/// Content of each file where their number is what grows, in bytes.
const EACH: u64 = 5 << 10;
/// A step twice as large may take this much more than twice the CPU.
const BEND: f64 = 1.25;

/// What a point of a curve is counted in.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Mib,
    Files,
}

/// Backup, next backup, verify and restore with each of some sizes in MiB, smallest first.
pub(crate) fn content(lab: &Lab, mib: &[u64], report: &mut Report) -> io::Result<()> {
    report.part("curve: content")?;
    let sizes: Vec<Size> = mib.iter().map(|mib| Size::new(*mib, None)).collect();
    curve(lab, &sizes, Unit::Mib, report)
}

/// The same with each of some numbers of small files.
pub(crate) fn files(lab: &Lab, counts: &[u64], report: &mut Report) -> io::Result<()> {
    report.part("curve: files of 5 KiB")?;
    let mib = |files: u64| (files * EACH).div_ceil(1 << 20);
    let sizes: Vec<Size> =
        counts.iter().map(|files| Size::new(mib(*files), Some(*files))).collect();
    curve(lab, &sizes, Unit::Files, report)
}

fn curve(lab: &Lab, sizes: &[Size], unit: Unit, report: &mut Report) -> io::Result<()> {
    let mut before: Option<(f64, Vec<f64>)> = None;
    for size in sizes {
        let home = lab.home(*size)?;
        let (bytes, files) = warm(&home)?;
        let content = float(bytes) / 1048576.0;
        let (amount, name) = match unit {
            Unit::Mib => (content, format!("{content:.0} MiB")),
            Unit::Files => (float(files), format!("{files} files")),
        };
        age();
        lab.forget();
        let to = lab.at("restored").display().to_string();
        let steps: [(&str, &[&str]); 4] = [
            ("first backup", BACKUP),
            ("nothing changed", BACKUP),
            ("verify", &["verify"]),
            ("restore --to", &["restore", "--to", &to]),
        ];
        let mut cpu = Vec::new();
        for (what, words) in steps {
            lab.settle()?;
            let cost = lab.run(&lab.manager("manager", &home, words))?;
            report.ours(&format!("{what}, {name}"), &cost)?;
            let per = match unit {
                Unit::Mib => "MiB/s",
                Unit::Files => "files/s",
            };
            let (rate, each) = (amount / seconds(cost.wall), seconds(cost.cpu) / amount);
            report.note(&format!("  {rate:>9.0} {per}, {:.3} ms of CPU each", each * 1e3))?;
            cpu.push(each);
        }
        if let Some((fewer, before)) = before {
            for ((what, _), (then, now)) in steps.iter().zip(before.iter().zip(&cpu)) {
                let what = format!("{what}: CPU each, to that with {fewer:.0}");
                report.figure(&what, now / then, "x", Goal::AtMost(BEND))?;
            }
        }
        before = Some((amount, cpu));
        ["manager", "restored"].into_iter().try_for_each(|name| lab.free(name))?;
        // One that is too large to be kept.
        if let Some(name) = home.strip_prefix(lab.at("")).ok().and_then(|name| name.to_str()) {
            lab.clear(name)?;
        }
    }
    lab.tidy()
}
