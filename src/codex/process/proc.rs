//! Which processes does Linux list that use the home, and what have they open?
//!
//! One pass over `/proc`. Of most processes the command line, the program and the names of their
//! open files are read; everything else only of those that may be Codex's or write below the
//! home. Paths decide where a process sees the same file system as we do; in a container, or
//! where a folder is mounted twice, the identity of the files does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::command_line::{self, Codex};
use super::locks::{self, FileLock};
use super::{Evidence, Holder, Holders, Place, Role, Unseen, may_others_enter};
use crate::codex::daemon::PidFile;

/// How many ticks a second has in what `/proc` tells of times; the same for every program on
/// every architecture that Codex is built for.
const TICKS: u64 = 100;

pub(super) fn holders(place: &Place) -> Holders {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Holders { is_unknown: true, ..Holders::default() };
    };
    let mut look = Look::at(place);
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let seen: Vec<Seen> =
        pids.filter(|pid| *pid != place.own).filter_map(|pid| look.process(pid)).collect();
    let mut holders = Holders { unseen: look.unseen, ..Holders::default() };
    for Seen { holder, .. } in without_scripts(seen) {
        match holder.role {
            Role::Updater => holders.bystanders.push(holder),
            _ => holders.found.push(holder),
        }
    }
    holders.found.sort_by_key(|holder| holder.pid);
    holders.bystanders.sort_by_key(|holder| holder.pid);
    holders.unseen.sort_unstable();
    holders
}

/// A process that counts, and what tells who belongs to whom.
struct Seen {
    holder: Holder,
    parent: Option<u32>,
    is_script: bool,
}

/// The script that npm installs is no user of its own: the program it started is, if there is one.
fn without_scripts(seen: Vec<Seen>) -> impl Iterator<Item = Seen> {
    let parents: BTreeSet<u32> = seen.iter().filter_map(|seen| seen.parent).collect();
    seen.into_iter().filter(move |seen| !(seen.is_script && parents.contains(&seen.holder.pid)))
}

/// What is known before any process is looked at.
struct Look<'a> {
    place: &'a Place,
    /// Identity of the home itself.
    root: Option<Identity>,
    /// Identities of the files that a Codex has open.
    files: BTreeSet<Identity>,
    /// The processes that hold locks on Codex's files.
    lockers: BTreeSet<u32>,
    server: Option<PidFile>,
    boot_id: String,
    booted: Option<DateTime<Utc>>,
    mounts: Option<PathBuf>,
    may_others_enter: bool,
    unseen: Vec<Unseen>,
}

/// Device and number of a file.
type Identity = (u64, u64);

impl<'a> Look<'a> {
    fn at(place: &'a Place) -> Self {
        let mut files = BTreeSet::new();
        for folder in place.folders().map(Path::to_owned).chain(place.lock_folders()) {
            files.extend(identities(&folder));
        }
        let text = fs::read_to_string("/proc/locks").unwrap_or_default();
        let (mut lockers, mut unseen) = (BTreeSet::new(), Vec::new());
        for FileLock { pid, device: (major, minor), inode } in locks::parse(&text) {
            if files.contains(&(rustix::fs::makedev(major, minor), inode)) {
                match pid {
                    Some(pid) => drop(lockers.insert(pid)),
                    None => unseen = vec![Unseen::Nameless],
                }
            }
        }
        let may_others_enter = may_others_enter(&place.root);
        // The first process is everybody's to see, unless those of others are hidden.
        if may_others_enter && !Path::new("/proc/1").exists() {
            unseen.push(Unseen::OtherUsers);
        }
        Self {
            place,
            root: identity(&place.root),
            files,
            lockers,
            server: PidFile::read(&place.root),
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            booted: booted(),
            mounts: fs::read_link("/proc/self/ns/mnt").ok(),
            may_others_enter,
            unseen,
        }
    }

    /// What a process is to the home; `None` if it is nothing to it, or ended.
    fn process(&mut self, pid: u32) -> Option<Seen> {
        let process = Path::new("/proc").join(pid.to_string());
        let words = words(&told(&process.join("cmdline")).ok()?);
        if words.is_empty() {
            return None; // A thread of the kernel, or a process that has ended.
        }
        let program = fs::read_link(process.join("exe")).ok();
        let codex = command_line::codex(&words, program.as_deref());
        let open = match self.open(&process, codex.is_some()) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.of_another_user(pid, &process, codex);
            }
            Err(_) => return None,
        };
        let stat = Stat::read(&process);
        let mut evidence = Vec::new();
        let mut role = codex.map(|codex| codex.role);
        if self.is_server(pid, stat.as_ref()) {
            role = Some(Role::Background);
            evidence.push(Evidence::PidFile);
        }
        match role {
            Some(_) => {
                if open.is_any() {
                    evidence.push(Evidence::OpenFile);
                }
                if self.lockers.contains(&pid) {
                    evidence.push(Evidence::Lock);
                }
                if self.is_named_by(&process) {
                    evidence.push(Evidence::Environment);
                }
            }
            None if open == Open::ToWrite => {
                role = Some(Role::Other);
                evidence.push(Evidence::OpenFile);
            }
            None => {}
        }
        self.seen(pid, role?, codex, evidence, stat, &words)
    }

    /// A process whose files are not shown to us counts if it holds a lock or is the server. If
    /// it is a Codex and may be one of this home, it is told.
    fn of_another_user(&mut self, pid: u32, process: &Path, codex: Option<Codex>) -> Option<Seen> {
        let stat = Stat::read(process);
        let mut evidence = Vec::new();
        let is_server = self.is_server(pid, stat.as_ref());
        if is_server {
            evidence.push(Evidence::PidFile);
        }
        if self.lockers.contains(&pid) {
            evidence.push(Evidence::Lock);
        }
        let user = fs::metadata(process).ok()?.uid();
        if evidence.is_empty() {
            // Root enters everywhere.
            if codex.is_some_and(|codex| codex.role != Role::Updater)
                && (user == 0 || self.may_others_enter)
            {
                self.unseen.push(Unseen::OtherUser { pid, user });
            }
            return None;
        }
        let role = match codex {
            _ if is_server => Role::Background,
            Some(codex) => codex.role,
            None => Role::Other,
        };
        let words = words(&told(&process.join("cmdline")).ok()?);
        self.seen(pid, role, codex, evidence, stat, &words)
    }

    fn seen(
        &self,
        pid: u32,
        role: Role,
        codex: Option<Codex>,
        mut evidence: Vec<Evidence>,
        stat: Option<Stat>,
        words: &[OsString],
    ) -> Option<Seen> {
        if evidence.is_empty() {
            return None;
        }
        evidence.sort_unstable();
        let parent = stat.as_ref().map(|stat| stat.parent);
        // What we start has our own files open until it has become another program.
        if parent == Some(self.place.own) && is_one_program(pid, self.place.own) {
            return None;
        }
        let program = match role {
            Role::Other => words.first().and_then(|word| leaf(Path::new(word))),
            Role::AppServer => parent.and_then(starter),
            _ => None,
        };
        let since = stat.and_then(|stat| {
            let seconds = i64::try_from(stat.started / TICKS).ok()?;
            self.booted?.checked_add_signed(TimeDelta::try_seconds(seconds)?)
        });
        let holder = Holder { pid, role, program, since, evidence };
        Some(Seen { holder, parent, is_script: codex.is_some_and(|codex| codex.is_script) })
    }

    /// What a process has open of the home.
    fn open(&self, process: &Path, is_codex: bool) -> io::Result<Open> {
        let mut open = Open::Nothing;
        let mut is_elsewhere = None;
        for descriptor in fs::read_dir(process.join("fd"))?.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            if !target.is_absolute() {
                continue; // A pipe, a socket or the like.
            }
            let is_below = self.place.folders().any(|folder| target.starts_with(folder));
            if !is_below {
                // Its paths may mean other places than ours.
                let by_identity =
                    is_codex || *is_elsewhere.get_or_insert_with(|| self.is_elsewhere(process));
                let found = || identity(&descriptor.path());
                if !by_identity || !found().is_some_and(|file| self.files.contains(&file)) {
                    continue;
                }
            }
            open = Open::ToRead;
            if is_codex || may_write(process, &descriptor.file_name()) {
                return Ok(Open::ToWrite);
            }
        }
        Ok(open)
    }

    /// Whether a process sees another file system than we do, as in a container.
    fn is_elsewhere(&self, process: &Path) -> bool {
        fs::read_link(process.join("ns/mnt")).ok() != self.mounts
    }

    /// Whether Codex wrote this very process down as its server: numbers are used again, the
    /// moment of the start is not.
    fn is_server(&self, pid: u32, stat: Option<&Stat>) -> bool {
        let (Some(server), Some(stat)) = (&self.server, stat) else { return false };
        server.pid == pid
            && server.identity.as_ref().is_some_and(|identity| {
                identity.start_ticks == stat.started && identity.boot_id == self.boot_id.trim()
            })
    }

    /// Whether a process's environment names the home: `CODEX_HOME`, else `HOME` and `.codex`.
    fn is_named_by(&self, process: &Path) -> bool {
        let Ok(environment) = told(&process.join("environ")) else { return false };
        let variables: BTreeMap<OsString, OsString> =
            words(&environment).iter().filter_map(|word| variable(word)).collect();
        let set = |name: &str| variables.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let home = match (set("CODEX_HOME"), set("HOME")) {
            (Some(home), _) => PathBuf::from(home),
            (None, Some(home)) => Path::new(home).join(".codex"),
            (None, None) => return false,
        };
        // As the process sees it: a relative path starts where it works, any other at its root.
        let seen = match home.strip_prefix("/") {
            Ok(_) if !self.is_elsewhere(process) => home,
            Ok(below) => process.join("root").join(below),
            Err(_) => process.join("cwd").join(home),
        };
        self.root.is_some() && identity(&seen) == self.root
    }
}

/// What a process has open of a home.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Open {
    Nothing,
    ToRead,
    /// Or it is Codex, which writes whatever it has open now.
    ToWrite,
}

impl Open {
    fn is_any(self) -> bool {
        self != Self::Nothing
    }
}

/// What `/proc/PID/stat` tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stat {
    parent: u32,
    /// Ticks from the start of the machine to that of the process.
    started: u64,
}

impl Stat {
    fn read(process: &Path) -> Option<Self> {
        Self::parse(str::from_utf8(&told(&process.join("stat")).ok()?).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is a name in brackets, which may hold brackets and blanks itself.
        let (_, rest) = text.rsplit_once(')')?;
        let mut words = rest.split_whitespace().skip(1);
        let parent = words.next()?.parse().ok()?;
        let started = words.nth(17)?.parse().ok()?;
        Some(Self { parent, started })
    }
}

/// When the machine was started.
fn booted() -> Option<DateTime<Utc>> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    DateTime::from_timestamp(seconds.trim().parse().ok()?, 0)
}

/// Whether two processes run one program.
fn is_one_program(one: u32, other: u32) -> bool {
    let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let found = program(one);
    found.is_some() && found == program(other)
}

/// The name of the program that started another one, past a script that only did so.
fn starter(parent: u32) -> Option<String> {
    let mut pid = parent;
    for _ in 0..2 {
        let process = Path::new("/proc").join(pid.to_string());
        let words = words(&told(&process.join("cmdline")).ok()?);
        let program = fs::read_link(process.join("exe")).ok();
        if !command_line::codex(&words, program.as_deref()).is_some_and(|codex| codex.is_script) {
            // What every process falls to whose own starter has ended tells nothing.
            return (pid != 1).then(|| leaf(Path::new(words.first()?))).flatten();
        }
        pid = Stat::read(&process)?.parent;
    }
    None
}

fn leaf(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// The words of a command line or an environment, which end in zero bytes.
fn words(bytes: &[u8]) -> Vec<OsString> {
    let words = bytes.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

/// `NAME=value`, taken apart.
fn variable(word: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (bytes.get(..at)?, bytes.get(at + 1..)?);
    Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
}

/// Whether a process may write to what it has open.
fn may_write(process: &Path, descriptor: &OsStr) -> bool {
    let info = fs::read_to_string(process.join("fdinfo").join(descriptor)).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    // The two lowest bits are the access mode; 0 is reading only.
    flags.is_some_and(|flags| flags & 0o3 != 0)
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
}

/// The identities of the files right in a folder, of which there may be thousands.
fn identities(folder: &Path) -> Vec<Identity> {
    let Some((device, _)) = identity(folder) else { return Vec::new() };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| (device, entry.ino())).collect()
}

/// What the system tells in a file of no length, mostly in one go: there are hundreds of processes.
fn told(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    fs::File::open(path)?.read_to_end(&mut bytes).map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::home::CodexHome;

    fn place(root: &Path, databases: Option<&Path>) -> Place {
        Place::new(&CodexHome::at(root.to_owned()), databases.map(Path::to_owned), 1)
    }

    /// What we ourselves are to a home that somebody else asks about.
    fn seen(place: &Place) -> Vec<(Role, Vec<Evidence>)> {
        let own = std::process::id();
        let found = holders(place).found.into_iter().filter(|holder| holder.pid == own);
        found.map(|holder| (holder.role, holder.evidence)).collect()
    }

    #[test]
    fn a_writer_below_the_home_is_found_and_a_reader_is_not() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        let file = fs::File::create(root.join("held")).unwrap();
        assert_eq!(seen(&place(&root, None)), [(Role::Other, vec![Evidence::OpenFile])]);
        let own = Place { own: std::process::id(), ..place(&root, None) };
        assert_eq!(holders(&own).found, []);
        drop(file);
        let reader = fs::File::open(root.join("held")).unwrap();
        assert_eq!(seen(&place(&root, None)), []);
        drop(reader);
    }

    #[test]
    fn the_folder_of_the_databases_counts_as_the_home_does() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, databases) =
            (home.path().canonicalize().unwrap(), other.path().canonicalize().unwrap());
        let file = fs::File::create(databases.join("state_5.sqlite")).unwrap();
        assert_eq!(seen(&place(&root, None)), []);
        assert_eq!(seen(&place(&root, Some(&databases))).len(), 1);
        drop(file);
    }

    #[test]
    fn what_we_start_does_not_stand_in_the_way_before_it_is_another_program() {
        use std::io::Write as _;
        const CHILD: &str = "CODEX_MANAGER_TEST_CHILD";
        let name = "codex::process::proc::tests::\
                    what_we_start_does_not_stand_in_the_way_before_it_is_another_program";
        if std::env::var_os(CHILD).is_some() {
            io::stdin().read_line(&mut String::new()).unwrap();
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        let held = |program: &Path| {
            let file = fs::File::create(root.join("held")).unwrap();
            let mut command = std::process::Command::new(program);
            command.stdin(std::process::Stdio::piped()).stdout(file).env(CHILD, "1");
            command
        };
        let found = |pid, own| {
            let place = Place { own, ..place(&root, None) };
            holders(&place).found.iter().any(|holder| holder.pid == pid)
        };
        let own = std::process::id();
        // A copy of ourselves is what there is between the two steps of a start.
        let mut copy = held(&std::env::current_exe().unwrap());
        let mut copy = copy.args(["--exact", name]).spawn().unwrap();
        assert!(!found(copy.id(), own));
        assert!(found(copy.id(), own + 1));
        drop(copy.stdin.take());
        copy.wait().unwrap();
        let mut other = held(Path::new("cat")).spawn().unwrap();
        other.stdin.as_mut().unwrap().write_all(b"here\n").unwrap();
        // What it writes it writes as another program.
        while fs::metadata(root.join("held")).unwrap().len() == 0 {
            std::thread::yield_now();
        }
        assert!(found(other.id(), own));
        drop(other.stdin.take());
        other.wait().unwrap();
    }

    #[test]
    fn who_holds_a_lock_in_the_home_is_known_without_a_look_at_its_files() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        let session = root.join("tmp/arg0/codex-arg0abc");
        fs::create_dir_all(&session).unwrap();
        let file = fs::File::create(session.join(".lock")).unwrap();
        let is_locker = || Look::at(&place(&root, None)).lockers.contains(&std::process::id());
        assert!(!is_locker());
        file.lock().unwrap();
        assert!(is_locker());
    }

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let fields = "S 41 2 3 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 3459636 1 2 3";
        let expected = Some(Stat { parent: 41, started: 3_459_636 });
        for name in ["codex", "a) S 7 (b", ""] {
            assert_eq!(Stat::parse(&format!("77 ({name}) {fields}")), expected, "{name:?}");
        }
        assert_eq!(Stat::parse("77 codex"), None);
    }

    #[test]
    fn our_own_start_lies_between_that_of_the_machine_and_now() {
        let stat = Stat::read(Path::new("/proc/self")).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        let seconds = i64::try_from(stat.started / TICKS).unwrap();
        let since = booted().unwrap() + TimeDelta::seconds(seconds);
        let age = Utc::now() - since;
        assert!(TimeDelta::seconds(-2) <= age && age < TimeDelta::days(1), "{age}");
    }
}
