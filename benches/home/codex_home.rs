//! What does a Codex home that was worked in for months look like?
//!
//! Seeded: the same parameters make the same bytes on every machine. Sessions are most of it, many
//! small ones and a few large; then the databases, pictures, history and settings. A home that
//! was made before is used again.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;

use crate::library::Library;
use crate::random::Random;
use crate::session::{self, NOVEMBER, Session};

/// What a home is made from; a change to how homes are made needs another one.
const SEED: u64 = 0xc0de_0001;
/// Between the beginnings of two sessions, in milliseconds.
const APART: u64 = 40 * 60 * 1000;

/// How large a home is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Size {
    /// All of its content, in bytes, within a few percent.
    pub(crate) bytes: u64,
    /// Its sessions; a few files more hold the rest.
    pub(crate) sessions: u64,
}

impl Size {
    /// So many MiB in so many sessions, three for each MiB unless told.
    pub(crate) fn new(mib: u64, sessions: Option<u64>) -> Self {
        Self { bytes: mib << 20, sessions: sessions.unwrap_or(mib * 3).max(1) }
    }

    /// What the folder of such a home is called.
    pub(crate) fn name(self) -> String {
        format!("home-{}-{}-{:x}", self.bytes >> 20, self.sessions, SEED)
    }
}

/// The home of this size below `work`: the one that lies there, or a new one.
pub(crate) fn make(work: &Path, size: Size) -> io::Result<PathBuf> {
    let home = work.join(size.name());
    if home.is_dir() {
        return Ok(home);
    }
    let partial = work.join(format!("{}.partial", size.name()));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    let library = Library::new(SEED);
    let plan = plan(size);
    settings(&partial, &library)?;
    // Two databases that grow with the sessions, and a few pictures.
    threads(&partial, &plan, &library)?;
    logs(&partial, size.bytes / 50, &library)?;
    pictures(&partial, size.bytes / 50)?;
    for each in &plan {
        if let Some(folder) = partial.join(&each.path).parent() {
            fs::create_dir_all(folder)?;
        }
    }
    in_parallel(&plan, |each| write(&partial, each, &library))?;
    fs::rename(&partial, &home)?;
    Ok(home)
}

/// One session to be written.
struct Planned {
    number: u64,
    path: PathBuf,
    id: String,
    began: u64,
    bytes: u64,
}

/// Which sessions there are: the newest last.
fn plan(size: Size) -> Vec<Planned> {
    let mut random = Random::new(SEED + 1);
    // A few are thirty times as large as most.
    let weights: Vec<u64> =
        (0..size.sessions).map(|_| 1_000_000 / (4 + random.next() % 1000)).collect();
    let all = weights.iter().sum::<u64>().max(1);
    let content = u128::from(size.bytes / 100 * 95);
    let first = NOVEMBER.saturating_sub(size.sessions * APART);
    let plan = weights.into_iter().zip(0..).map(|(weight, number)| {
        let began = first + number * APART + random.next() % APART;
        let id = session::id(began, &mut random);
        let clock = session::instant(began);
        let name = clock.format("rollout-%Y-%m-%dT%H-%M-%S");
        let folder = match number % 20 {
            7 => "archived_sessions".to_owned(),
            _ => clock.format("sessions/%Y/%m/%d").to_string(),
        };
        let bytes = content * u128::from(weight) / u128::from(all);
        Planned {
            number,
            path: PathBuf::from(format!("{folder}/{name}-{id}.jsonl")),
            id,
            began,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    });
    plan.collect()
}

fn write(home: &Path, planned: &Planned, library: &Library) -> io::Result<()> {
    let mut file = File::create(home.join(&planned.path))?;
    let random = Random::of(SEED, planned.number);
    let mut session = Session::new(library, random, planned.began);
    session.write(&planned.id, planned.bytes, &mut file)?;
    date(&file, planned.began + APART)
}

/// Does one thing for each of many on all cores; the first error is told.
fn in_parallel<T: Sync>(
    things: &[T],
    work: impl Fn(&T) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = &work;
        let one = |skip| move || things.iter().skip(skip).step_by(workers).try_for_each(work);
        let running: Vec<_> = (0..workers).map(|skip| scope.spawn(one(skip))).collect();
        running.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
        })
    })
}

/// Dates a file, so that archives of two machines agree.
fn date(file: &File, millis: u64) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_millis(millis)))
}

fn put(home: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = home.join(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, bytes)?;
    date(&File::options().write(true).open(path)?, NOVEMBER)
}

/// The login and what the user and Codex set, all small.
fn settings(home: &Path, library: &Library) -> io::Result<()> {
    let some = |from: usize, count: usize| -> String {
        library.prose.iter().skip(from).take(count).map(|text| text.replace("\\n", "\n")).collect()
    };
    put(home, "auth.json", login("ada").as_bytes())?;
    put(home, "config.toml", b"model = \"gpt-5-codex\"\nmodel_reasoning_effort = \"medium\"\n")?;
    put(home, "AGENTS.md", some(100, 60).as_bytes())?;
    put(home, "installation_id", b"0c1d6c1e-5f0a-4d0e-9d53-2f4a9b8c7d6e")?;
    put(
        home,
        "models_cache.json",
        format!("{{\"text\":\"{}\"}}", library.instructions).as_bytes(),
    )?;
    for number in 0..12 {
        put(home, &format!("prompts/prompt-{number}.md"), some(number * 40, 20).as_bytes())?;
        put(home, &format!("skills/skill-{number}/SKILL.md"), some(number * 50, 45).as_bytes())?;
    }
    Ok(())
}

/// `state_5.sqlite` with a row for each session, `session_index.jsonl` and `history.jsonl`.
fn threads(home: &Path, plan: &[Planned], library: &Library) -> io::Result<()> {
    let mut random = Random::new(SEED + 2);
    let (mut index, mut history) = (String::new(), String::new());
    let titles: Vec<&str> = library
        .prose
        .iter()
        .take(400)
        .map(|text| text.trim_end_matches("\\n").trim_end())
        .collect();
    database(home, "state_5.sqlite", |db| {
        db.execute_batch(
            "CREATE TABLE threads (
                id TEXT PRIMARY KEY, rollout_path TEXT NOT NULL, created_at INTEGER NOT NULL,
                updated_at INTEGER NOT NULL, source TEXT NOT NULL, model_provider TEXT NOT NULL,
                cwd TEXT NOT NULL, title TEXT NOT NULL, tokens_used INTEGER NOT NULL,
                archived INTEGER NOT NULL, git_branch TEXT, first_user_message TEXT NOT NULL);
             CREATE INDEX threads_by_age ON threads (updated_at DESC, id);",
        )?;
        let mut insert = db.prepare(
            "INSERT INTO threads VALUES
                (?1, ?2, ?3, ?3, 'cli', 'openai', '/home/ada/code/ledger', ?4, ?5, 0, 'main', ?6)",
        )?;
        for each in plan {
            let (title, said) = (random.one(&titles), random.one(&titles));
            let path = format!("/home/ada/.codex/{}", each.path.display());
            let seconds = i64::try_from(each.began / 1000).unwrap_or_default();
            let tokens = i64::try_from(each.bytes / 3).unwrap_or_default();
            insert.execute((&each.id, path, seconds, title, tokens, said))?;
            let at = session::stamp(each.began);
            let id = &each.id;
            index += &format!(
                "{{\"id\":\"{id}\",\"thread_name\":\"{title}\",\"updated_at\":\"{at}\"}}\n"
            );
            history +=
                &format!("{{\"session_id\":\"{id}\",\"ts\":{seconds},\"text\":\"{said}\"}}\n");
        }
        Ok(())
    })?;
    put(home, "session_index.jsonl", index.as_bytes())?;
    put(home, "history.jsonl", history.as_bytes())
}

/// `logs_2.sqlite`, about so many bytes of it.
fn logs(home: &Path, bytes: u64, library: &Library) -> io::Result<()> {
    let mut random = Random::new(SEED + 3);
    database(home, "logs_2.sqlite", |db| {
        db.execute_batch(
            "CREATE TABLE logs (
                id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, level TEXT NOT NULL,
                target TEXT NOT NULL, message TEXT NOT NULL, thread_id TEXT);",
        )?;
        log(db, bytes, &mut random, library)
    })
}

fn log(
    db: &Connection,
    bytes: u64,
    random: &mut Random,
    library: &Library,
) -> rusqlite::Result<()> {
    let mut insert = db.prepare(
        "INSERT INTO logs (ts, level, target, message, thread_id) VALUES (?1, 'INFO', ?2, ?3, ?4)",
    )?;
    let mut written = 0;
    while written < bytes {
        let message = library.logs.get(random.below(library.logs.len())).map_or("", String::as_str);
        let target = random.one(&["codex_core::exec", "codex_core::client", "codex_tui::app"]);
        let id = session::id(NOVEMBER, random);
        insert.execute((1_793_491_200_i64, target, message, id))?;
        written += u64::try_from(message.len()).unwrap_or_default() + 70;
    }
    Ok(())
}

/// Fills a database as Codex keeps them: write-ahead log, pages of 4096 bytes.
fn database(
    home: &Path,
    name: &str,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> io::Result<()> {
    let path = home.join(name);
    let fill = || -> rusqlite::Result<()> {
        let db = Connection::open(&path)?;
        db.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; BEGIN;",
        )?;
        fill(&db)?;
        db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")?;
        db.close().map_err(|(_, error)| error)
    };
    fill().map_err(io::Error::other)?;
    date(&File::options().write(true).open(path)?, NOVEMBER)
}

/// Pictures: what does not compress at all.
fn pictures(home: &Path, bytes: u64) -> io::Result<()> {
    const EACH: u64 = 300 << 10;
    let mut random = Random::new(SEED + 4);
    for number in 0..bytes.div_ceil(EACH) {
        let length = EACH.min(bytes - number * EACH);
        let mut picture = vec![0; usize::try_from(length).unwrap_or_default()];
        random.fill(&mut picture);
        for (byte, head) in picture.iter_mut().zip(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") {
            *byte = *head;
        }
        put(home, &format!("generated_images/{number:06}.png"), &picture)?;
    }
    Ok(())
}

/// A made-up login of `NAME@example.com`.
pub(crate) fn login(name: &str) -> String {
    let claims = format!(
        r#"{{"email":"{name}@example.com","iat":1795257957,"exp":1796121957,"https://api.openai.com/auth":{{"chatgpt_user_id":"user-{name}","chatgpt_account_id":"acct-{name}","chatgpt_plan_type":"plus"}}}}"#
    );
    let token = format!("e30.{}.made-up", URL_SAFE_NO_PAD.encode(claims));
    format!(
        r#"{{"auth_mode":"chatgpt","tokens":{{"id_token":"{token}","access_token":"{token}","refresh_token":"made-up-{name}","account_id":"acct-{name}"}},"last_refresh":"2026-11-21T10:45:57.000000000Z"}}"#
    )
}

/// What an edit did.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// How many bytes are new.
    pub(crate) bytes: u64,
    /// Which files have other bytes than before.
    pub(crate) files: Vec<PathBuf>,
}

/// What happens to a home between two backups.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    /// The newest sessions go on.
    Append,
    /// Some sessions, old and new, have other bytes than before.
    Change,
}

impl Edit {
    /// Does it to so many thousandths of a home's bytes; each `salt` does it elsewhere.
    pub(crate) fn apply(self, home: &Path, thousandths: u64, salt: u64) -> io::Result<Edited> {
        let library = Library::new(SEED);
        let mut sessions = sessions(home)?;
        let all: u64 = sessions.iter().map(|(_, bytes)| bytes).sum();
        let wanted = all / 1000 * thousandths;
        let mut random = Random::of(SEED + 5, salt);
        let mut done = Edited::default();
        match self {
            Self::Append => {
                // What an evening adds to a session, and to a handful of them.
                let each = (wanted / 5).max(256 << 10);
                while let Some((path, _)) = sessions.pop() {
                    let missing = wanted.saturating_sub(done.bytes);
                    if missing == 0 {
                        break;
                    }
                    let mut file = File::options().append(true).open(&path)?;
                    let mut session = Session::new(&library, Random::new(random.next()), NOVEMBER);
                    done.bytes += session.go_on(each.min(missing), &mut file)?;
                    done.files.push(path);
                }
            }
            Self::Change => {
                while done.bytes < wanted && !sessions.is_empty() {
                    let (path, bytes) = sessions.swap_remove(random.below(sessions.len()));
                    let missing = wanted - done.bytes;
                    // Not more than is wanted, and not so little that it takes hundreds.
                    if missing + wanted / 8 < bytes || bytes < wanted / 32 {
                        continue;
                    }
                    let mut file = File::create(&path)?;
                    let mut session = Session::new(&library, Random::new(random.next()), NOVEMBER);
                    done.bytes += session.write("changed", bytes, &mut file)?;
                    done.files.push(path);
                }
            }
        }
        Ok(done)
    }
}

/// The rollouts of a home with their sizes, oldest first.
pub(crate) fn sessions(home: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut folders = vec![home.join("sessions"), home.join("archived_sessions")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            let facts = entry.metadata()?;
            if facts.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), facts.len()));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.file_name().cmp(&b.file_name()));
    Ok(found)
}
