//! Where do measurements take place, and how do several programs run against each other?

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::codex_home::{self, Size};
use crate::measure::{self, Cost};
use crate::tools::Tool;

/// A time stamp is trusted once it is this old (SPEC, "Reuse"); restic and borg have such rules too.
const SETTLED: Duration = Duration::from_millis(2500);

/// Larger homes, and what is made of them, are thrown away as soon as can be, in bytes: several of them
/// fill a disk.
const KEPT: u64 = 1 << 30;

/// ext4 without a journal does not use an inode for a minute after it was freed. Whoever makes a file
/// meanwhile looks at each such inode, which takes longer than the file.
const FORGOTTEN: Duration = Duration::from_secs(62);

/// A measurement begins with free memory for so many copies of the home.
const COPIES: u64 = 4;

/// The work folder: homes that are kept, and `lab/` for what is thrown away.
pub(crate) struct Lab {
    work: PathBuf,
    program: PathBuf,
    rounds: usize,
    without: Vec<Tool>,
    /// Bytes of the home that was made last.
    content: Cell<u64>,
    /// When something was removed last.
    removed: Cell<Option<Instant>>,
    /// How many things were put aside.
    aside: Cell<usize>,
}

/// One of the programs that run against each other.
pub(crate) struct Runner<'a> {
    command: Command,
    prepare: Box<dyn FnMut() -> io::Result<()> + 'a>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(command: Command) -> Self {
        Self { command, prepare: Box::new(|| Ok(())) }
    }

    /// Does something before each run that is not measured.
    pub(crate) fn after(mut self, prepare: impl FnMut() -> io::Result<()> + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }
}

impl Lab {
    /// Begins with an empty `lab/`.
    pub(crate) fn new(
        work: PathBuf,
        program: PathBuf,
        rounds: usize,
        without: Vec<Tool>,
    ) -> io::Result<Self> {
        fs::create_dir_all(&work)?;
        let work = fs::canonicalize(work)?;
        // The run before this one ended with removing what it had made.
        let removed = Cell::new(Some(Instant::now()));
        let (content, aside) = (Cell::new(0), Cell::new(0));
        let lab = Self { work, program, rounds: rounds.max(1), without, content, removed, aside };
        lab.tidy()?;
        Ok(lab)
    }

    /// A path for something that is thrown away.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        let lab = self.work.join("lab");
        if name.is_empty() { lab } else { lab.join(name) }
    }

    pub(crate) fn clear(&self, name: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.at(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => {
                self.removed.set(Some(Instant::now()));
                other?;
            }
        }
        Ok(())
    }

    /// Makes a name free for a folder of many files: those that have been made stay where they are
    /// unless they are too large for that.
    pub(crate) fn free(&self, name: &str) -> io::Result<()> {
        if KEPT < self.content.get() {
            self.clear(name)?;
            self.forget();
            return Ok(());
        }
        let number = self.aside.replace(self.aside.get() + 1);
        match fs::rename(self.at(name), self.at(&format!("aside-{number}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until the file system has forgotten what was removed.
    pub(crate) fn forget(&self) {
        if let Some(removed) = self.removed.get() {
            settle();
            thread::sleep(FORGOTTEN.saturating_sub(removed.elapsed()));
        }
    }

    /// Makes room for the next part.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        self.clear("")?;
        fs::create_dir_all(self.at(""))
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    pub(crate) fn has(&self, tool: Tool) -> bool {
        !self.without.contains(&tool)
    }

    /// A made-up home that must not be changed. It is kept for the next run unless it is large.
    pub(crate) fn home(&self, size: Size) -> io::Result<PathBuf> {
        let large = KEPT < size.bytes;
        self.content.set(size.bytes);
        codex_home::make(&if large { self.at("") } else { self.work.clone() }, size)
    }

    /// A made-up home that may be changed.
    pub(crate) fn own(&self, size: Size) -> io::Result<PathBuf> {
        let home = self.home(size)?;
        if home.starts_with(self.at("")) { Ok(home) } else { self.copy(&home, "codex") }
    }

    fn copy(&self, home: &Path, name: &str) -> io::Result<PathBuf> {
        self.clear(name)?;
        let copy = self.at(name);
        let mut command = Command::new("cp");
        command.arg("-a").arg(home).arg(&copy);
        self.run(&command)?;
        Ok(copy)
    }

    /// `codex-manager WORDS` with a manager home below `lab/` and a Codex home.
    pub(crate) fn manager(&self, manager: &str, codex_home: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).args(["--quiet", "--yes", "--home"]).arg(self.at(manager));
        command.arg("--codex-home").arg(codex_home).current_dir(self.at(""));
        // Nothing of the person who measures: no configuration, no home, no aliases.
        for name in ["CODEX_HOME", "CODEX_SQLITE_HOME", "CODEX_MANAGER_HOME"] {
            command.env_remove(name);
        }
        command.env("HOME", self.at("")).env("TZ", "UTC");
        command
    }

    /// A line of shell in a folder.
    pub(crate) fn shell(&self, folder: &Path, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", script]).current_dir(folder).env("LAB", self.at(""));
        command
    }

    /// Runs what is not compared; tells what it took all the same.
    pub(crate) fn run(&self, command: &Command) -> io::Result<Cost> {
        measure::run(command, &self.work)
    }

    pub(crate) fn run_reading(&self, command: &Command) -> io::Result<(Cost, Vec<u8>)> {
        measure::run_reading(command, &self.work)
    }

    /// Makes what follows start from the same, whatever was before: what waits for the disk is written,
    /// and memory that the machine gave back to its host is fetched.
    pub(crate) fn settle(&self) -> io::Result<()> {
        settle();
        measure::fetch(self.content.get().saturating_mul(COPIES))
    }

    /// Runs one program some times after each other.
    pub(crate) fn repeat(&self, rounds: usize, runner: Runner<'_>) -> io::Result<Cost> {
        let costs = self.race(rounds, |_| Ok(()), vec![runner])?;
        Ok(costs.first().copied().unwrap_or_default())
    }

    /// Runs programs in turn, round by round; tells what each took, in their order.
    ///
    /// Each round begins with another program: whoever comes first after a rest finds the machine at
    /// rest, too.
    pub(crate) fn race(
        &self,
        rounds: usize,
        mut before: impl FnMut(usize) -> io::Result<()>,
        mut runners: Vec<Runner<'_>>,
    ) -> io::Result<Vec<Cost>> {
        let mut costs = vec![Vec::new(); runners.len()];
        for round in 0..rounds {
            before(round)?;
            let mut turns: Vec<_> = runners.iter_mut().zip(&mut costs).collect();
            let first = round % turns.len().max(1);
            turns.rotate_left(first);
            for (runner, costs) in turns {
                (runner.prepare)()?;
                self.settle()?;
                costs.push(self.run(&runner.command)?);
            }
        }
        Ok(costs.iter().map(|costs| Cost::median(costs)).collect())
    }

    /// The archive of the newest snapshot.
    pub(crate) fn archive(&self, manager: &str) -> io::Result<PathBuf> {
        let entries = fs::read_dir(self.at(manager).join("backups"))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let archives = paths.filter(|path| path.extension().is_some_and(|ending| ending == "gz"));
        archives.max().ok_or_else(|| io::Error::other("no archive"))
    }
}

/// Waits until time stamps of files that were written just now are trusted.
pub(crate) fn age() {
    thread::sleep(SETTLED);
}

/// Has everything that is in memory written, so that nobody pays for another's writing.
fn settle() {
    #[cfg(unix)]
    rustix::fs::sync();
}

/// Reads everything once, so that it is in the page cache; tells how many bytes and files.
pub(crate) fn warm(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            let (more, further) = warm(&path)?;
            bytes += more;
            files += further;
        } else {
            bytes += io::copy(&mut fs::File::open(path)?, &mut io::sink())?;
            files += 1;
        }
    }
    Ok((bytes, files))
}
