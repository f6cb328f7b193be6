//! How are figures shown, and was a goal reached?

use std::io::{self, Write as _};
use std::time::Duration;

use crate::measure::Cost;

/// The most memory that codex-manager may have at once, whatever it does, in bytes.
const MEMORY: u64 = 96 << 20;

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Shown, and nobody promised anything.
    None,
}

/// What a step cannot do without, however well it is done, in bytes of what is worked on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Least {
    /// Writing to the disk.
    Write { bytes: u64 },
    /// Copying from one file to another.
    Copy { bytes: u64 },
}

/// How long a goal lets a step take.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    /// The goal, in words.
    pub(crate) goal: String,
    /// By the clock.
    pub(crate) seconds: f64,
    /// What of the step is known to take time.
    pub(crate) least: Least,
}

/// Prints one line for each figure and counts the goals.
#[derive(Debug, Default)]
pub(crate) struct Report {
    met: usize,
    missed: Vec<String>,
    /// The headline of the part, for the list of what was missed.
    part: String,
    /// CPU seconds that a named step takes for a byte, for the comparison with its primitives.
    spent: Vec<(String, f64)>,
    allowed: Vec<Allowance>,
}

impl Report {
    /// A headline.
    pub(crate) fn part(&mut self, text: &str) -> io::Result<()> {
        self.part = text.to_owned();
        writeln!(io::stdout(), "\n{text}")
    }

    /// A line of text.
    pub(crate) fn note(&self, text: &str) -> io::Result<()> {
        writeln!(io::stdout(), "  {text}")
    }

    /// What codex-manager took. Its memory has a limit everywhere.
    pub(crate) fn ours(&mut self, what: &str, cost: &Cost) -> io::Result<()> {
        let verdict = self.verdict(what, float(cost.peak), Goal::AtMost(float(MEMORY)));
        let goal = format!("below {} MiB", MEMORY >> 20);
        writeln!(io::stdout(), "  {}  {:>8}  {goal:<15} {verdict}", figures(what, cost), "")
    }

    /// What another tool took, as a multiple of ours by the clock.
    pub(crate) fn theirs(
        &mut self,
        what: &str,
        theirs: &Cost,
        ours: &Cost,
        goal: Goal,
    ) -> io::Result<()> {
        let ratio = seconds(theirs.wall) / seconds(ours.wall);
        let verdict = self.verdict(what, ratio, goal);
        let goal = words(goal, "x");
        writeln!(io::stdout(), "  {}  {ratio:>7.2}x  {goal:<15} {verdict}", figures(what, theirs))
    }

    /// A figure with its unit.
    pub(crate) fn figure(
        &mut self,
        what: &str,
        value: f64,
        unit: &str,
        goal: Goal,
    ) -> io::Result<()> {
        let verdict = self.verdict(what, value, goal);
        let goal = words(goal, unit);
        let value = format!("{value:.2}{unit}");
        writeln!(io::stdout(), "  {what:<52}  {value:>12}  {goal:<15} {verdict}")
    }

    /// Remembers what a step took.
    pub(crate) fn spent(&mut self, step: &str, bytes: u64, cost: &Cost) {
        self.spent.push((step.to_owned(), seconds(cost.cpu) / float(bytes.max(1))));
    }

    /// CPU seconds for each byte of a step that was measured in this run.
    pub(crate) fn spent_by(&self, step: &str) -> Option<f64> {
        self.spent.iter().find(|(name, _)| name == step).map(|(_, spent)| *spent)
    }

    /// Remembers how long a goal of this part lets a step take: so many times less than `theirs`.
    pub(crate) fn allow(&mut self, goal: &str, theirs: &Cost, times: f64, least: Least) {
        let goal = format!("{}: {goal}", self.part);
        self.allowed.push(Allowance { goal, seconds: seconds(theirs.wall) / times, least });
    }

    /// What was remembered so.
    pub(crate) fn allowed(&self) -> &[Allowance] {
        &self.allowed
    }

    /// The last lines.
    pub(crate) fn end(&self) -> io::Result<()> {
        let (met, all) = (self.met, self.met + self.missed.len());
        writeln!(io::stdout(), "\n{met} of {all} goals reached")?;
        for line in &self.missed {
            writeln!(io::stdout(), "  missed: {line}")?;
        }
        Ok(())
    }

    fn verdict(&mut self, what: &str, value: f64, goal: Goal) -> &'static str {
        let met = match goal {
            Goal::AtLeast(least) => least <= value,
            Goal::AtMost(most) => value <= most,
            Goal::None => return "",
        };
        if met {
            self.met += 1;
            return "pass";
        }
        self.missed.push(format!("{}: {what}", self.part));
        "MISS"
    }
}

/// A count as a number to divide by; exact up to 2^53.
pub(crate) fn float(count: u64) -> f64 {
    let half = |bits: u64| f64::from(u32::try_from(bits & 0xffff_ffff).unwrap_or_default());
    half(count >> 32) * 4_294_967_296.0 + half(count)
}

/// Seconds, never none: something is divided by them.
pub(crate) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-6)
}

fn figures(what: &str, cost: &Cost) -> String {
    let (wall, cpu) = (short(cost.wall), short(cost.cpu));
    format!("{what:<26} {wall:>9}  cpu {cpu:>9}  {:>4} MiB", cost.peak >> 20)
}

fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

fn words(goal: Goal, unit: &str) -> String {
    match goal {
        Goal::AtLeast(least) => format!("at least {least}{unit}"),
        Goal::AtMost(most) => format!("at most {most}{unit}"),
        Goal::None => String::new(),
    }
}
