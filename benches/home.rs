//! How fast are backup, restore, verify, history and use, measured against other tools in the same run?
//!
//! `cargo bench --bench home -- [--mib N] [--rounds N]`; see `benches/README.md`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PROGRAM: &str = env!("CARGO_BIN_EXE_codex-manager");

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let number = |flag: &str, default: usize| {
        let at = words.iter().position(|word| word == flag);
        at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (mib, rounds) = (number("--mib", 64), number("--rounds", 3));
    let lab = Lab::new(mib)?;
    let mut out = io::stdout();
    writeln!(out, "home of {mib} MiB, median of {rounds} rounds")?;

    let ours = median(rounds, || {
        fs::remove_dir_all(lab.at("manager")).ok();
        lab.manager("codex", &["backup", "--without-status-check"])
    })?;
    let tar = median(rounds, || lab.run("tar", &["-czf", "../home.tgz", "."], &lab.at("codex")));
    compare(&mut out, "backup", ours, "tar -czf", tar)?;

    let archive = lab.archive()?;
    let ours = median(rounds, || {
        fs::remove_dir_all(lab.at("copy")).ok();
        let copy = lab.at("copy").display().to_string();
        lab.manager("codex", &["restore", "--to", &copy])
    })?;
    let tar = median(rounds, || {
        let copy = lab.at("tar-copy");
        fs::remove_dir_all(&copy).ok();
        fs::create_dir(&copy)?;
        lab.run("tar", &["-xzf", &archive.display().to_string()], &copy)
    });
    compare(&mut out, "restore", ours, "tar -xzf", tar)?;

    let ours = median(rounds, || lab.manager("codex", &["verify"]))?;
    let sums = median(rounds, || {
        lab.run("sh", &["-c", "find . -type f | xargs sha256sum > ../sums"], &lab.at("codex"))
    });
    compare(&mut out, "verify", ours, "sha256sum", sums)?;

    let first = median(rounds, || {
        fs::remove_file(lab.at("manager/rollouts.cache")).ok();
        lab.manager("codex", &["history"])
    })?;
    let cat = median(rounds, || {
        lab.run("sh", &["-c", "find sessions -type f | xargs cat > /dev/null"], &lab.at("codex"))
    });
    compare(&mut out, "history", first, "cat", cat)?;
    let again = median(rounds, || lab.manager("codex", &["history"]))?;
    compare(&mut out, "again", again, "the first time", Ok(first))?;

    let small = Lab::new(1)?;
    small.manager("codex", &["backup", "--without-status-check"])?;
    let large = median(rounds, || lab.switch())?;
    let little = median(rounds, || small.switch());
    compare(&mut out, "use", large, "use at 1 MiB", little)
}

fn compare(
    out: &mut impl io::Write,
    what: &str,
    ours: Duration,
    tool: &str,
    theirs: io::Result<Duration>,
) -> io::Result<()> {
    match theirs {
        Ok(theirs) => {
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            writeln!(out, "{what:8} {ours:>10.2?}   {tool} {theirs:>10.2?}   ratio {ratio:.2}")
        }
        Err(error) => writeln!(out, "{what:8} {ours:>10.2?}   {tool} is missing here: {error}"),
    }
}

/// The middle of some rounds; the first error ends them.
fn median(rounds: usize, mut round: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds.max(1) {
        let began = Instant::now();
        round()?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// A throw-away folder with a Codex home `codex` and a manager home `manager`.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new(mib: usize) -> io::Result<Self> {
        let lab = Self(tempfile::tempdir()?);
        let home = lab.at("codex");
        let sessions = home.join("sessions/2026/11/21");
        fs::create_dir_all(&sessions)?;
        fs::write(home.join("auth.json"), login("user-a", "ada@example.com"))?;
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..mib * 3 {
            let name = format!("rollout-2026-11-21T10-00-00-{number:08}.jsonl");
            fs::write(sessions.join(name), session(&mut random, (1 << 20) / 3))?;
        }
        Ok(lab)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn archive(&self) -> io::Result<PathBuf> {
        let backups = fs::read_dir(self.at("manager/backups"))?;
        let mut paths = backups.flatten().map(|entry| entry.path());
        let found = paths.find(|path| path.extension().is_some_and(|ending| ending == "gz"));
        found.ok_or_else(|| io::Error::other("no archive"))
    }

    fn manager(&self, home: &str, words: &[&str]) -> io::Result<()> {
        let mut command = Command::new(PROGRAM);
        command.args(words).args(["--quiet", "--yes", "--home"]).arg(self.at("manager"));
        succeed(command.arg("--codex-home").arg(self.at(home)).current_dir(self.0.path()))
    }

    /// Signs somebody else in by hand, then the stored account back in with `use`.
    fn switch(&self) -> io::Result<()> {
        fs::write(self.at("codex/auth.json"), login("user-b", "bob@example.com"))?;
        self.manager("codex", &["use", "ada@example.com"])
    }

    fn run(&self, tool: &str, words: &[&str], folder: &Path) -> io::Result<()> {
        succeed(Command::new(tool).args(words).current_dir(folder))
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}

/// Lines of JSON that compress about as real sessions do: prose with long random identifiers.
fn session(random: &mut u64, bytes: usize) -> Vec<u8> {
    let words = ["the", "session", "function", "returns", "error", "when", "file", "is", "missing"];
    let mut text = String::with_capacity(bytes + 512);
    while text.len() < bytes {
        text.push_str(r#"{"timestamp":"2026-11-21T10:00:00.000Z","type":"response_item","text":""#);
        for _ in 0..40 {
            // xorshift64: seeded, so that every run has the same bytes.
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            let index = usize::try_from(*random % 9).unwrap_or(0);
            text.push_str(words.get(index).copied().unwrap_or_default());
            if random.is_multiple_of(7) {
                let _ = write!(text, " {random:016x}");
            }
            text.push(' ');
        }
        text.push_str("\"}\n");
    }
    text.into_bytes()
}

fn login(user: &str, email: &str) -> String {
    let claims = format!(
        r#"{{"email":"{email}","iat":1795257957,"exp":1796121957,"https://api.openai.com/auth":{{"chatgpt_user_id":"{user}","chatgpt_account_id":"acct-{user}"}}}}"#
    );
    let token = format!("e30.{}.made-up", URL_SAFE_NO_PAD.encode(claims));
    format!(
        r#"{{"auth_mode":"chatgpt","tokens":{{"id_token":"{token}","access_token":"{token}","refresh_token":"made-up-{user}","account_id":"acct-{user}"}},"last_refresh":"2026-11-21T10:45:57.000000000Z"}}"#
    )
}
