//! What is outside: the instant, the environment, the streams.
//!
//! `main` builds the real world and a test its own. One run has one instant: nothing below asks
//! a clock or reads the environment. Only who waits, and says so, has a later one afterwards.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// How long a wait goes on before it looks whether the user wants it to end, and what time it is
/// by then: a machine that slept has jumped.
const NAP: Duration = Duration::from_millis(100);

/// How many naps pass between two looks for news.
const NAPS: u32 = 10;

/// Waits until about an instant, and answers the one it is then; earlier if the user wants it, or
/// if there are news.
pub type Clock = Box<dyn FnMut(DateTime<Utc>, &dyn Fn() -> bool) -> DateTime<Utc>>;

/// All that one run may see and touch besides the files it is told about.
pub struct World {
    /// The instant of the run.
    pub now: DateTime<Utc>,
    /// The environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// The user's own folder.
    pub user_home: Option<PathBuf>,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// The machine's name, if it has one that can be written down.
    pub host: Option<String>,
    /// The system's zone by its IANA name, if the system says.
    pub system_zone: Option<String>,
    /// Where answers and status texts come from.
    pub input: Box<dyn Read>,
    /// Where results go.
    pub out: Box<dyn Write>,
    /// Where everything else goes.
    pub err: Box<dyn Write>,
    /// Which of the three are terminals.
    pub terminals: Terminals,
    /// Columns of the terminal that results go to.
    pub width: Option<usize>,
    /// Set when the user pressed Ctrl-C or closed the terminal; long steps look at it and leave nothing behind.
    pub interrupted: Arc<AtomicBool>,
    /// What waits; see [`World::wait_until`].
    pub clock: Clock,
}

/// Which streams a person sits at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard input.
    pub input: bool,
    /// Standard output.
    pub out: bool,
    /// Standard error.
    pub err: bool,
}

impl World {
    /// The world of this process, at this instant.
    ///
    /// # Errors
    ///
    /// When the current folder is gone or Ctrl-C cannot be watched.
    pub fn real() -> io::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        watch_signals(&interrupted)?;
        let wanted = Arc::clone(&interrupted);
        Ok(Self {
            now: Utc::now(),
            environment: std::env::vars_os().collect(),
            user_home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            folder: std::env::current_dir()?,
            host: host(),
            system_zone: iana_time_zone::get_timezone().ok(),
            input: Box::new(io::stdin()),
            out: Box::new(io::stdout().lock()),
            err: Box::new(io::stderr()),
            terminals: Terminals {
                input: io::stdin().is_terminal(),
                out: io::stdout().is_terminal(),
                err: io::stderr().is_terminal(),
            },
            width: extent().map(|(columns, _)| columns),
            interrupted,
            clock: Box::new(move |until, news| wait(until, news, &wanted)),
        })
    }

    /// Waits until an instant, or until there are news, which is looked for about once a second.
    /// What time it is then is the instant of the run; `false` if the user wants it to end.
    #[must_use]
    pub fn wait_until(&mut self, until: DateTime<Utc>, news: &dyn Fn() -> bool) -> bool {
        self.now = (self.clock)(until, news).max(self.now);
        !self.interrupted.load(Ordering::Relaxed)
    }

    /// Looks anew how large the terminal is that results go to: [`World::width`] is as it is now,
    /// and the answer is its lines, if it tells.
    pub fn measure(&mut self) -> Option<usize> {
        let (columns, lines) = extent()?;
        self.width = Some(columns);
        Some(lines)
    }

    /// Where a program writes that a person sits at: beside our results, not among them.
    #[must_use]
    pub fn beside_results() -> std::process::Stdio {
        io::stderr().into()
    }

    /// An environment variable; an empty one counts as unset.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// An absolute path from what a person typed: `~` is the user's folder, relative paths
    /// start from the current one.
    #[must_use]
    pub fn absolute(&self, typed: &std::path::Path) -> PathBuf {
        match (typed.strip_prefix("~"), &self.user_home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.folder.join(typed),
        }
    }
}

/// Columns and lines of the terminal behind standard output, if it is one.
fn extent() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(io::stdout())?;
    Some((usize::from(width.0), usize::from(height.0)))
}

/// A clock that moves only while somebody waits, and then at once: for tests and the demo.
#[must_use]
pub fn patient_clock() -> Clock {
    Box::new(|until, _| until)
}

fn wait(until: DateTime<Utc>, news: &dyn Fn() -> bool, interrupted: &AtomicBool) -> DateTime<Utc> {
    for nap in 1_u32.. {
        let left = (until - Utc::now()).to_std().unwrap_or_default();
        if left.is_zero() || interrupted.load(Ordering::Relaxed) || (nap % NAPS == 0 && news()) {
            break;
        }
        std::thread::sleep(left.min(NAP));
    }
    Utc::now()
}

/// Has the signals that ask us to end set the flag instead.
fn watch_signals(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    use signal_hook::{consts, flag};
    #[cfg(unix)]
    let status = std::fs::File::open("/proc/self/status").and_then(|mut file| {
        let mut status = String::with_capacity(4096);
        file.read_to_string(&mut status).map(|_| status)
    });
    #[cfg(unix)]
    let is_ignored = |signal| is_ignored(status.as_deref().ok(), signal);
    #[cfg(unix)]
    let quit = (!is_ignored(consts::SIGQUIT)).then_some(consts::SIGQUIT);
    #[cfg(not(unix))]
    let quit = None;
    for signal in [consts::SIGINT, consts::SIGTERM].into_iter().chain(quit) {
        // The second one does not wait for the step to look.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(interrupted))?;
        flag::register(signal, Arc::clone(interrupted))?;
    }
    // A terminal that goes sends two: the system does, and so does the shell. Neither is impatient.
    #[cfg(unix)]
    if !is_ignored(consts::SIGHUP) {
        flag::register(consts::SIGHUP, Arc::clone(interrupted))?;
    }
    Ok(())
}

/// Whether whoever started us had a signal ignored, as `nohup` does; then it stays so. Linux says
/// so in its `status` of a process.
#[cfg(unix)]
fn is_ignored(status: Option<&str>, signal: i32) -> bool {
    status.map_or_else(
        // Nobody tells here, but `nohup` leaves neither of the two at a terminal.
        || !io::stdout().is_terminal() && !io::stderr().is_terminal(),
        |status| is_in_mask(status, signal),
    )
}

/// Whether a signal is among the ignored ones of what Linux says of a process.
#[cfg(unix)]
fn is_in_mask(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(unix)]
fn host() -> Option<String> {
    rustix::system::uname()
        .nodename()
        .to_str()
        .ok()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

#[cfg(not(unix))]
fn host() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_signals_that_are_ignored_are_bits_counted_from_one() {
        let among = |mask: &str, signal| is_in_mask(&format!("Name:\tx\n{mask}\nSigCgt:\tff\n"), signal);
        assert!(among("SigIgn:\t0000000000000001", 1));
        assert!(!among("SigIgn:\t0000000000000001", 3));
        assert!(among("SigIgn:\t0000000000001004", 3));
        assert!(!among("SigIgn:\t0000000000001004", 1));
        assert!(!among("SigIgn:\tno mask", 1));
        assert!(!among("SigBlk:\t00000000000000ff", 1));
    }
}
