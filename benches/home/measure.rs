//! What did one run of a command take: time, CPU, memory?
//!
//! The system tells CPU time to the microsecond and peak memory, but only of all children of a
//! process together. So this program runs itself once more for each command that is measured,
//! and that one has a single child.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

/// The first word of a command line that means: run what follows and write down what it took.
pub(crate) const ONE: &str = "--one-child";

/// The first word of a command line that means: write to so many bytes of memory, and end.
pub(crate) const FETCH: &str = "--fetch";

/// What a command took, with everything it started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) wall: Duration,
    /// User and system time of all threads and processes.
    pub(crate) cpu: Duration,
    /// The most memory that one process had at once, in bytes.
    pub(crate) peak: u64,
}

impl Cost {
    /// The medians of time and CPU, and the most memory of all.
    pub(crate) fn median(costs: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> Duration| {
            let mut times: Vec<Duration> = costs.iter().map(of).collect();
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        Self {
            wall: middle(|cost| cost.wall),
            cpu: middle(|cost| cost.cpu),
            peak: costs.iter().map(|cost| cost.peak).max().unwrap_or_default(),
        }
    }
}

/// Runs a command and tells what it took; what it prints is thrown away.
///
/// # Errors
///
/// If it cannot be run or ends with another code than 0; then with what it said.
pub(crate) fn run(command: &Command, work: &Path) -> io::Result<Cost> {
    measured(command, work, Stdio::null()).map(|(cost, _)| cost)
}

/// Like [`run`], and what it printed.
pub(crate) fn run_reading(command: &Command, work: &Path) -> io::Result<(Cost, Vec<u8>)> {
    measured(command, work, Stdio::piped()).map(|(cost, output)| (cost, output.stdout))
}

fn measured(command: &Command, work: &Path, stdout: Stdio) -> io::Result<(Cost, Output)> {
    let note = work.join("cost");
    let mut outer = Command::new(std::env::current_exe()?);
    outer.arg(ONE).arg(&note).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    let output = outer.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {}: {}", output.status, said.trim())));
    }
    let text = fs::read_to_string(&note)?;
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    let (wall, cpu, peak) = (numbers.next(), numbers.next(), numbers.next());
    let micros = |number: Option<u64>| Duration::from_micros(number.unwrap_or_default());
    Ok((Cost { wall: micros(wall), cpu: micros(cpu), peak: peak.unwrap_or_default() }, output))
}

/// The other side: runs one child and writes down microseconds, CPU microseconds and bytes.
pub(crate) fn one(mut words: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let note = words.next().map(PathBuf::from).unwrap_or_default();
    let program = words.next().unwrap_or_default();
    let began = Instant::now();
    let status = Command::new(program).args(words).status()?;
    let wall = began.elapsed().as_micros();
    let (cpu, peak) = spent(Of::Children)?;
    fs::write(note, format!("{wall} {cpu} {peak}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// Has the system hold so many bytes of memory that nobody uses, though not more than half of what is free:
/// what the page cache has stays there.
///
/// A virtual machine may have given its free memory back to its host; whoever writes to it first waits for
/// the host. Another process does it, for what this one has used counts as used by its children.
pub(crate) fn fetch(bytes: u64) -> io::Result<()> {
    let bytes = bytes.min(free() / 2).to_string();
    let status = Command::new(std::env::current_exe()?).args([FETCH, &bytes]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("memory cannot be fetched")) }
}

/// The other side.
pub(crate) fn fetch_here(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let bytes = words.next().and_then(|bytes| bytes.to_str()?.parse().ok());
    std::hint::black_box(vec![1_u8; bytes.unwrap_or(0)]);
    ExitCode::SUCCESS
}

/// Bytes of memory that nothing is in; 0 where nobody tells.
fn free() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) << 10
}

/// CPU time of this program itself so far, all threads.
pub(crate) fn own() -> io::Result<Duration> {
    let (micros, _) = spent(Of::Ourselves)?;
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or_default()))
}

/// Whose use of the machine is meant.
#[derive(Clone, Copy, Debug)]
enum Of {
    Ourselves,
    Children,
}

/// CPU microseconds and peak bytes so far.
#[cfg(unix)]
fn spent(whose: Of) -> io::Result<(i128, i128)> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(match whose {
        Of::Ourselves => UsageWho::RUSAGE_SELF,
        Of::Children => UsageWho::RUSAGE_CHILDREN,
    })?;
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_usec()));
    // Everybody counts in KiB but Apple.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    Ok((micros.iter().sum(), i128::from(usage.max_rss()) * unit))
}

#[cfg(not(unix))]
fn spent(_whose: Of) -> io::Result<(i128, i128)> {
    Err(io::Error::other("what a process took is not told here: this needs Linux or macOS"))
}
