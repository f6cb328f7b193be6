//! What is outside: the instant, the environment, the streams.
//!
//! `main` builds the real world and a test its own. One run has one instant: nothing below asks
//! a clock or reads the environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};

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
    /// Set when the user pressed Ctrl-C; long steps look at it and leave nothing behind.
    pub interrupted: Arc<AtomicBool>,
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
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The second one does not wait for the step to look.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                130,
                Arc::clone(&interrupted),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
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
            width: terminal_size::terminal_size_of(io::stdout())
                .map(|(width, _)| usize::from(width.0)),
            interrupted,
        })
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
