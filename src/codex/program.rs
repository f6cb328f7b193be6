//! Where is the program of Codex, and how is a program run that may never end?
//!
//! A [`Task`] is a program with its words and the environment it gets, which is never ours
//! unless it is given. It runs in a process group of its own, so that all of it ends when its
//! time is up or the user stops us: [`Task::output`] collects what it prints,
//! [`Task::converse`] speaks with it line by line, [`Task::attended`] lets a person sit at it.

mod child;
mod talk;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use self::child::Child;
pub use self::talk::{Conversation, Heard};

/// The names under which a shell finds Codex.
const NAMES: &[&str] = if cfg!(windows) { &["codex.exe", "codex.cmd"] } else { &["codex"] };

/// How long the output of a program may stay open when it has ended.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How long a program that somebody sits at has to end by itself once the user stops us.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often a program that runs is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// What a program may say on standard error before the rest is dropped, in bytes.
const COMPLAINT_CAP: u64 = 4_096;

/// Why there is no Codex to ask.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProgramError {
    /// Nothing on PATH has that name.
    #[error("there is no program `{name}` on PATH")]
    NotOnPath {
        /// The name.
        name: String,
    },
    /// The path that was set is no program.
    #[error("{path} is no program (setting `codex_program`)")]
    NoProgram {
        /// The path.
        path: PathBuf,
    },
}

impl ProgramError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some("say where Codex is: `codex-manager config set codex_program PATH`".to_owned())
    }
}

/// Finds Codex: `named`, which is a path, or a name on PATH; without it `codex` on PATH.
///
/// Relative folders of PATH do not count: where we stand decides nothing. A name with a folder in
/// it has to be absolute by now.
///
/// # Errors
///
/// [`ProgramError`] if nothing is there that could be started.
pub fn find(named: Option<&Path>, path: Option<&OsStr>) -> Result<PathBuf, ProgramError> {
    let on_path = |names: &[&OsStr]| {
        let folders = path.map(std::env::split_paths).into_iter().flatten();
        folders
            .filter(|folder| folder.is_absolute())
            .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>())
            .find(|file| is_program(file))
    };
    match named {
        Some(named) if is_bare(named) => on_path(&[named.as_os_str()])
            .ok_or_else(|| ProgramError::NotOnPath { name: named.display().to_string() }),
        Some(named) if is_program(named) => Ok(named.to_owned()),
        Some(named) => Err(ProgramError::NoProgram { path: named.to_owned() }),
        None => on_path(&NAMES.iter().map(OsStr::new).collect::<Vec<_>>())
            .ok_or_else(|| ProgramError::NotOnPath { name: "codex".to_owned() }),
    }
}

/// Whether a program is named without any folder, so that PATH tells where it is.
#[must_use]
pub fn is_bare(named: &Path) -> bool {
    named.file_name() == Some(named.as_os_str())
}

fn is_program(file: &Path) -> bool {
    let Ok(facts) = std::fs::metadata(file) else { return false };
    #[cfg(unix)]
    let runs = std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let runs = true;
    facts.is_file() && runs
}

/// Why a program did not do what it was started for. The text goes on after its name.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started.
    #[error("cannot be started: {0}")]
    Start(#[source] io::Error),
    /// It did not end in time, and was ended.
    #[error("took longer than {} s", .0.as_secs())]
    Slow(Duration),
    /// The user stopped us, and it was ended.
    #[error("was stopped")]
    Stopped,
    /// It ended with an error.
    #[error("failed ({0})")]
    Failed(ExitStatus),
    /// It said more than anybody wants to hear, in bytes.
    #[error("prints more than {0} bytes")]
    Wordy(u64),
    /// It ended, but its output did not.
    #[error("ended, but something it started keeps its output open")]
    Open,
    /// The system lost it.
    #[error("was lost: {0}")]
    Lost(#[source] io::Error),
}

/// How much a program may say, and how long it may take to do so.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Bytes on standard output.
    pub bytes: u64,
    /// Until it is ended.
    pub patience: Duration,
    /// Set when the user stops us.
    pub stop: &'a AtomicBool,
}

/// What a program that has ended said.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// On standard output.
    pub said: Vec<u8>,
    /// The beginning of what it said on standard error, if that was to be kept.
    pub complained: Vec<u8>,
}

impl Output {
    /// What it said, if it ended well.
    ///
    /// # Errors
    ///
    /// [`RunError::Failed`] if it did not.
    pub fn of_success(self) -> Result<Vec<u8>, RunError> {
        if self.status.success() { Ok(self.said) } else { Err(RunError::Failed(self.status)) }
    }
}

/// Where the standard error of a program goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Complaints {
    /// Nowhere.
    #[default]
    Dropped,
    /// To ours, as it comes.
    Shown,
    /// Its beginning into [`Output::complained`].
    Kept,
}

/// A program that is to be started, with its words and all that it will find around it.
#[derive(Clone, Debug)]
pub struct Task {
    program: PathBuf,
    words: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    folder: Option<PathBuf>,
    complaints: Complaints,
}

impl Task {
    /// A program with the environment it gets, and no words.
    #[must_use]
    pub fn new(program: &Path, environment: &BTreeMap<OsString, OsString>) -> Self {
        Self {
            program: program.to_owned(),
            words: Vec::new(),
            environment: environment.clone(),
            folder: None,
            complaints: Complaints::Dropped,
        }
    }

    /// With these words behind those it has.
    #[must_use]
    pub fn words<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// With a variable, in place of one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Standing in this folder.
    #[must_use]
    pub fn at(self, folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }

    /// With its standard error going there.
    #[must_use]
    pub fn complaints(self, complaints: Complaints) -> Self {
        Self { complaints, ..self }
    }

    /// Runs it, without any input, and collects what it prints.
    ///
    /// What it leaves running in the background when it ends by itself is left alone, and not
    /// waited for.
    ///
    /// # Errors
    ///
    /// [`RunError`], but never [`RunError::Failed`]: how it ended is in the answer.
    pub fn output(&self, limits: Limits<'_>) -> Result<Output, RunError> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Child::start(&mut command).map_err(RunError::Start)?;
        let (out, complaints) = child.outputs();
        let said = collected(out, limits.bytes.saturating_add(1), After::HangUp);
        let complained = collected(complaints, COMPLAINT_CAP, After::ReadOn);
        let began = Instant::now();
        let status = loop {
            match child.look().map_err(RunError::Lost)? {
                Some(status) => break status,
                None if limits.stop.load(Ordering::Relaxed) => return Err(RunError::Stopped),
                None if limits.patience <= began.elapsed() => {
                    return Err(RunError::Slow(limits.patience));
                }
                None => std::thread::sleep(GLANCE),
            }
        };
        // Something it left in the background may hold its output open for ever.
        let said = said.recv_timeout(AFTERWARDS).map_err(|_| RunError::Open)?;
        let said = said.map_err(RunError::Lost)?;
        if limits.bytes < u64::try_from(said.len()).unwrap_or(u64::MAX) {
            return Err(RunError::Wordy(limits.bytes));
        }
        let complained = complained.recv_timeout(AFTERWARDS).ok().and_then(Result::ok);
        Ok(Output { status, said, complained: complained.unwrap_or_default() })
    }

    /// Starts it for a conversation in lines; see [`Conversation`].
    ///
    /// # Errors
    ///
    /// [`RunError::Start`].
    pub fn converse(&self) -> Result<Conversation, RunError> {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Child::start(&mut command).map(Conversation::new).map_err(RunError::Start)
    }

    /// Runs it for a person who sits at it: it has our terminal and as much time as they take.
    /// `out` is where its standard output goes.
    ///
    /// When the user stops us it is asked to end, and has a moment to do so: Ctrl-C reaches it as
    /// well, but what is sent to us alone does not. What it started may outlive it.
    ///
    /// # Errors
    ///
    /// [`RunError::Start`], [`RunError::Lost`] and [`RunError::Stopped`].
    pub fn attended(&self, out: Stdio, stop: &AtomicBool) -> Result<ExitStatus, RunError> {
        let mut command = self.command();
        command.stdin(Stdio::inherit()).stdout(out).stderr(Stdio::inherit());
        let mut child = Child::attended(&mut command).map_err(RunError::Start)?;
        let mut stopped: Option<Instant> = None;
        loop {
            match child.look().map_err(RunError::Lost)? {
                Some(_) if stopped.is_some() => return Err(RunError::Stopped),
                Some(status) => return Ok(status),
                None if stop.load(Ordering::Relaxed) => {
                    let since = stopped.get_or_insert_with(|| {
                        child.ask_to_end();
                        Instant::now()
                    });
                    if FAREWELL <= since.elapsed() {
                        return Err(RunError::Stopped);
                    }
                }
                None => {}
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.words).env_clear().envs(&self.environment);
        command.stderr(match self.complaints {
            Complaints::Dropped => Stdio::null(),
            Complaints::Shown => Stdio::inherit(),
            Complaints::Kept => Stdio::piped(),
        });
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// What happens to what a program says beyond what is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    /// Nobody listens any more.
    HangUp,
    /// It is read and dropped.
    ReadOn,
}

/// Reads a pipe in the background, up to `cap` bytes.
fn collected<R: Read + Send + 'static>(
    pipe: Option<R>,
    cap: u64,
    after: After,
) -> Receiver<io::Result<Vec<u8>>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = match pipe {
            None => Ok(0),
            Some(pipe) => {
                let mut pipe = pipe.take(cap);
                let read = pipe.read_to_end(&mut bytes);
                if after == After::ReadOn {
                    let rest = io::copy(&mut pipe.into_inner(), &mut io::sink());
                    drop(rest); // It was not wanted.
                }
                read
            }
        };
        // Who gave up waiting does not listen any more.
        let _unheard = tell.send(read.map(|_| bytes));
    });
    told
}

// Scripts, groups and signals as other systems do not have them.
#[cfg(test)]
#[cfg(unix)]
mod tests;
