//! Copies of databases in every state that a writer, or its death, can leave behind.
//!
//! Writers run in processes of their own, as they do in life: within one process, SQLite's
//! locks would fall whenever we close the file.

use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::*;
use crate::disk::sys;

const ROLE: &str = "DISK_DATABASE_TEST_ROLE";
const PLACE: &str = "DISK_DATABASE_TEST_PLACE";

/// A folder with a database `db` in it, and another for copies.
struct Scene {
    dir: tempfile::TempDir,
    name: OsString,
}

impl Scene {
    fn new() -> Self {
        Self::named("db")
    }

    fn named(name: impl Into<OsString>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        fs::create_dir(dir.path().join("copies")).unwrap();
        Self { dir, name: name.into() }
    }

    fn db(&self) -> PathBuf {
        self.dir.path().join("source").join(&self.name)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.db().into_os_string();
        path.push(suffix);
        path.into()
    }

    fn dest(&self, name: &str) -> PathBuf {
        self.dir.path().join("copies").join(name)
    }

    /// A closed database of 500 rows in the given journal mode.
    fn with(self, mode: &str) -> Self {
        let db = Connection::open(self.db()).unwrap();
        create(&db, mode);
        db.close().unwrap();
        self
    }

    /// Starts the other process in a role and waits until it says that it is ready.
    fn other(&self, role: &str) -> Other {
        let ready = self.dir.path().join("ready");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::database::tests::a_closed_database_is_copied_without_a_trace"])
            .env(ROLE, role)
            .env(PLACE, self.dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !ready.exists() {
            assert!(began.elapsed() < Duration::from_secs(30), "{role} did not get ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        Other(child)
    }

    /// Everything in the source folder, and the folder itself, that a trace would change.
    ///
    /// Root's SQLite gives a log or journal to the database's owner whenever it opens one,
    /// also if it is that owner's already: that touches the time of change and nothing else.
    fn source(&self) -> Vec<(PathBuf, String)> {
        let folder = self.dir.path().join("source");
        let mut all = vec![folder.clone()];
        all.extend(fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()));
        all.sort();
        let facts = |path: &PathBuf| {
            let meta = fs::metadata(path).unwrap();
            let bytes = if path.is_dir() { vec![] } else { fs::read(path).unwrap() };
            let mut hasher = std::hash::DefaultHasher::new();
            bytes.hash(&mut hasher);
            let mut facts = sys::facts(&meta);
            if *path != folder && *path != self.db() {
                facts.changed = (0, 0);
            }
            let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
            format!("{facts:?} {mode:o} {owner:?} {:x}", hasher.finish())
        };
        all.iter().map(|path| (path.clone(), facts(path))).collect()
    }
}

struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn create(db: &Connection, mode: &str) {
    db.pragma_update(None, "journal_mode", mode).unwrap();
    db.execute_batch(
        "CREATE TABLE a (n INTEGER PRIMARY KEY, text TEXT);
         CREATE TABLE b (n INTEGER PRIMARY KEY, text TEXT);
         CREATE INDEX by_text ON a (text);
         WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500)
         INSERT INTO a SELECT n, 'row ' || n FROM c;
         INSERT INTO b SELECT * FROM a;",
    )
    .unwrap();
}

/// What the other process does, which is this program again, started by [`Scene::other`].
fn be_the_other_process(role: &str, place: &Path) {
    let db = Connection::open(place.join("source/db")).unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    let insert = "BEGIN IMMEDIATE;
        INSERT INTO a (text) VALUES (hex(randomblob(300)));
        INSERT INTO b (text) SELECT text FROM a ORDER BY n DESC LIMIT 1;
        COMMIT;";
    match role {
        "holds a log" => {
            db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
            create(&db, "wal");
        }
        "holds a spilled transaction" => {
            create(&db, "delete");
            db.execute_batch(
                "PRAGMA cache_size = 2; PRAGMA cache_spill = 2; BEGIN IMMEDIATE;
                 UPDATE a SET text = hex(randomblob(500)); DELETE FROM b;",
            )
            .unwrap();
        }
        "reopens" => {
            let mut db = db;
            create(&db, "wal");
            fs::write(place.join("ready"), "").unwrap();
            loop {
                db.execute_batch(insert).unwrap();
                db.close().unwrap();
                db = Connection::open(place.join("source/db")).unwrap();
                db.busy_timeout(Duration::from_secs(20)).unwrap();
            }
        }
        mode => {
            create(&db, mode);
            db.pragma_update(None, "wal_autocheckpoint", 20).unwrap();
            fs::write(place.join("ready"), "").unwrap();
            loop {
                db.execute_batch(insert).unwrap();
            }
        }
    }
    fs::write(place.join("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// Copies twice and holds everything against everything: content, bytes, source, litter.
#[track_caller]
fn check_copy(scene: &Scene) {
    let before = scene.source();
    let first = copy(&scene.db(), &scene.dest("first")).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    let second = copy(&scene.db(), &scene.dest("second")).unwrap();
    assert_eq!(scene.source(), before);

    assert!(matches!(first, Copied::Database { pages } if pages >= 10), "{first:?}");
    assert_eq!(first, second);
    assert!(fs::read(scene.dest("first")).unwrap() == fs::read(scene.dest("second")).unwrap());
    assert_eq!(rows(&scene.dest("first")), (500, 500));
    assert_eq!(listing(&scene.dir.path().join("copies")), ["first", "second"]);
    let mode = fs::metadata(scene.dest("first")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

fn rows(path: &Path) -> (i64, i64) {
    let db = open(path, "mode=ro&immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count = |sql| db.query_row(sql, [], |row| row.get(0)).unwrap();
    (count("SELECT count(*) FROM a"), count("SELECT count(*) FROM b"))
}

fn listing(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn a_closed_database_is_copied_without_a_trace() {
    if let (Ok(role), Some(place)) = (std::env::var(ROLE), std::env::var_os(PLACE)) {
        return be_the_other_process(&role, Path::new(&place));
    }
    for mode in ["delete", "truncate", "persist", "wal"] {
        let scene = Scene::new().with(mode);
        check_copy(&scene);
    }
}

#[test]
fn any_name_of_a_database_will_do() {
    let odd = ["a b", "a?mode=rwc", "a#b", "a%41", "ä", "file:x"].map(OsString::from);
    for name in odd.into_iter().chain([OsString::from_vec(b"a\xff".to_vec())]) {
        check_copy(&Scene::named(name).with("wal"));
    }
}

#[test]
fn a_read_only_folder_is_no_obstacle() {
    let scene = Scene::new().with("wal");
    fs::set_permissions(scene.db(), fs::Permissions::from_mode(0o400)).unwrap();
    let folder = scene.dir.path().join("source");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    check_copy(&scene);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_empty_log_without_an_index_stays_as_it_lies() {
    let scene = Scene::new().with("wal");
    fs::write(scene.beside("-wal"), "").unwrap();
    check_copy(&scene);
}

#[test]
fn an_index_without_a_log_stays_as_it_lies() {
    let scene = Scene::new().with("wal");
    fs::write(scene.beside("-shm"), vec![7; 32_768]).unwrap();
    check_copy(&scene);
}

#[test]
fn a_database_that_is_open_elsewhere_is_copied_with_what_its_log_holds() {
    let scene = Scene::new();
    let _other = scene.other("holds a log");
    assert!(fs::metadata(scene.beside("-wal")).unwrap().len() > 10_000);
    check_copy(&scene);
}

#[test]
fn what_a_killed_writer_left_in_the_log_is_copied_and_left() {
    let scene = Scene::new();
    let other = scene.other("holds a log");
    copy(&scene.db(), &scene.dest("live")).unwrap();
    let live = fs::read(scene.dest("live")).unwrap();
    fs::remove_file(scene.dest("live")).unwrap();
    drop(other);
    assert!(scene.beside("-shm").exists() && scene.beside("-wal").exists());
    check_copy(&scene);
    assert!(fs::read(scene.dest("first")).unwrap() == live);

    // The same without the index, which a cleaner may have taken for litter.
    fs::remove_file(scene.beside("-shm")).unwrap();
    fs::remove_file(scene.dest("first")).unwrap();
    fs::remove_file(scene.dest("second")).unwrap();
    check_copy(&scene);
    assert!(fs::read(scene.dest("first")).unwrap() == live);
}

#[test]
fn a_transaction_that_a_kill_cut_short_is_rolled_back_in_the_copy_only() {
    let scene = Scene::new();
    let other = scene.other("holds a spilled transaction");
    assert!(fs::metadata(scene.beside("-journal")).unwrap().len() > 512);
    drop(other);
    check_copy(&scene);
    assert!(scene.beside("-journal").exists());
}

#[test]
fn every_copy_taken_while_others_write_is_of_one_instant() {
    for (mode, least) in [("wal", 50), ("reopens", 25), ("delete", 25)] {
        let scene = Scene::new();
        let _other = scene.other(mode);
        let (mut seen, began) = (Vec::new(), Instant::now());
        // The last copy must hold more than the first, or nobody wrote meanwhile.
        while seen.len() < least || seen.first() == seen.last() {
            assert!(began.elapsed() < Duration::from_secs(60), "{mode}: {seen:?}");
            let dest = scene.dest(&seen.len().to_string());
            copy(&scene.db(), &dest).unwrap();
            assert_eq!(check(&dest).unwrap(), Vec::<String>::new());
            let (a, b) = rows(&dest);
            assert_eq!(a, b, "{mode}: half a transaction");
            seen.push(a);
        }
        assert!(seen.is_sorted(), "{mode}: {seen:?}");
    }
}

#[test]
#[rustfmt::skip]
fn what_is_no_database_is_told_from_what_was_one() {
    let magic = |rest: &[u8]| [MAGIC.as_slice(), rest].concat();
    check_foreign(b"",                          "not a database");
    check_foreign(b"SQLite format 2",           "not a database");
    check_foreign(&magic(b""),                  "not a database");
    check_foreign(&magic(&[0; 4096]),           "not a database");
    check_foreign(&magic(&[0xA5; 40_000]),      "not a database");
    check_foreign(b"{\"a\": \"text\"}\n",       "not a database");
}

#[track_caller]
fn check_foreign(content: &[u8], expected: &str) {
    let scene = Scene::new();
    fs::write(scene.db(), content).unwrap();
    let before = scene.source();
    let said = match copy(&scene.db(), &scene.dest("copy")) {
        Ok(Copied::NotADatabase) => "not a database".to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(said, expected);
    assert_eq!(looks_like_database(&scene.db()).unwrap(), content.starts_with(MAGIC));
    assert_eq!(scene.source(), before);
    assert_eq!(listing(&scene.dir.path().join("copies")), Vec::<String>::new());
}

#[test]
fn damage_is_named_and_nothing_is_kept_of_the_copy() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("a page of zeros", |bytes| bytes[8192..12_288].fill(0)),
        ("a cut", |bytes| bytes.truncate(20_480)),
        ("noise", |bytes| bytes[12_288..16_384].fill(0x5A)),
    ];
    for (what, damage) in damages {
        let scene = Scene::new().with("wal");
        let mut bytes = fs::read(scene.db()).unwrap();
        damage(&mut bytes);
        fs::write(scene.db(), bytes).unwrap();
        let before = scene.source();
        let error = copy(&scene.db(), &scene.dest("copy")).unwrap_err();
        assert!(matches!(error, DatabaseError::Damaged { .. }), "{what}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("source/db is damaged: ") && !text.contains("row 1"), "{text}");
        assert_eq!(scene.source(), before);
        assert_eq!(listing(&scene.dir.path().join("copies")), Vec::<String>::new());
    }
}

/// How many of the pieces of 1 MiB, as an archive cuts them, differ between two copies.
fn differing_pieces(one: &Path, other: &Path) -> (usize, usize) {
    let [one, other] = [one, other].map(|path| fs::read(path).unwrap());
    let (ones, others) = (one.chunks(1 << 20), other.chunks(1 << 20));
    let all = ones.len().max(others.len());
    (all - ones.zip(others).filter(|(one, other)| one == other).count(), all)
}

#[test]
fn a_row_that_changes_or_goes_leaves_the_other_pages_of_the_copy_as_they_were() {
    for mode in ["delete", "wal"] {
        for change in [
            "UPDATE rows SET body = randomblob(900) WHERE id = 4000",
            "DELETE FROM rows WHERE id BETWEEN 4000 AND 4100",
            "INSERT INTO rows (body) VALUES (randomblob(900))",
            "DELETE FROM rows WHERE id = 1; INSERT INTO rows (body) VALUES (randomblob(900))",
        ] {
            let scene = Scene::new();
            let db = Connection::open(scene.db()).unwrap();
            db.execute_batch(&format!(
                "PRAGMA journal_mode = {mode};
                 CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
                 INSERT INTO rows SELECT i, randomblob(900) FROM n"
            ))
            .unwrap();
            db.close().unwrap();
            copy(&scene.db(), &scene.dest("before")).unwrap();
            let db = Connection::open(scene.db()).unwrap();
            db.execute_batch(change).unwrap();
            db.close().unwrap();
            copy(&scene.db(), &scene.dest("after")).unwrap();
            let (differ, of) = differing_pieces(&scene.dest("before"), &scene.dest("after"));
            // The first page counts changes; a page or two hold the row, and one is free now.
            assert!((1..=3).contains(&differ) && 8 <= of, "{mode}, {change}: {differ} of {of}");
        }
    }
}

#[test]
fn a_copy_never_replaces_a_file() {
    let scene = Scene::new().with("wal");
    fs::write(scene.dest("copy"), "mine").unwrap();
    assert!(copy(&scene.db(), &scene.dest("copy")).is_err());
    assert_eq!(fs::read(scene.dest("copy")).unwrap(), b"mine");
}

#[test]
fn a_check_leaves_no_trace_and_finds_nothing_wrong_with_a_sound_copy() {
    let scene = Scene::new().with("wal");
    let before = scene.source();
    assert_eq!(check(&scene.db()).unwrap(), Vec::<String>::new());
    assert_eq!(scene.source(), before);
}

#[test]
#[rustfmt::skip]
fn what_stands_before_the_last_marker_is_replaced_and_nothing_else() {
    check_path("/home/a/sessions/x.jsonl",       Some("/new/b/sessions/x.jsonl"));
    check_path("/home/a/sessions/ä/sessions/x",  Some("/new/b/sessions/x"));
    check_path("/home/ü/sessions/x",             Some("/new/b/sessions/x"));
    check_path("/new/b/sessions/x",              None);
    check_path("/home/a/my-sessions/x",          None);
    check_path("/home/a/x",                      None);
    check_path("",                               None);
}

#[track_caller]
fn check_path(path: &str, expected: Option<&str>) {
    let scene = Scene::new().with("wal");
    let db = Connection::open(scene.db()).unwrap();
    db.execute("UPDATE a SET text = ?1 WHERE n = 7", [path]).unwrap();
    // A trigger from a hostile archive, and a value that is no text.
    db.execute_batch(
        "CREATE TRIGGER evil AFTER UPDATE ON a BEGIN DELETE FROM b; END;
         INSERT INTO a VALUES (1000, CAST('/home/a/sessions/blob' AS BLOB))",
    )
    .unwrap();
    db.close().unwrap();

    let markers = ["/sessions/".to_owned()];
    let rewritten = rebase(&scene.db(), "a", "text", &markers, Path::new("/new/b")).unwrap();
    assert_eq!(rewritten, Rewrite::Rewritten { rows: u64::from(expected.is_some()) });
    assert_eq!(listing(&scene.dir.path().join("source")), ["db"]);
    assert_eq!(check(&scene.db()).unwrap(), Vec::<String>::new());
    assert_eq!(rows(&scene.db()), (501, 500));
    let db = Connection::open(scene.db()).unwrap();
    let text = "SELECT text FROM a WHERE n = 7";
    let text: String = db.query_row(text, [], |row| row.get(0)).unwrap();
    assert_eq!(text, expected.unwrap_or(path));
}

#[test]
#[rustfmt::skip]
fn paths_of_several_places_that_begin_alike_all_lead_to_the_new_one() {
    // each is rewritten by what stands before its last marker
    check_rebase("/p",   &["/a/sessions/1", "/a/b/sessions/2"],            &["/p/sessions/1", "/p/sessions/2"]);
    check_rebase("/a/p", &["/a/sessions/1", "/a/p/sessions/2"],            &["/a/p/sessions/1", "/a/p/sessions/2"]);
    check_rebase("/p",   &["/sessions/1", "/a/sessions/2", "/a/x"],        &["/p/sessions/1", "/p/sessions/2", "/a/x"]);
    check_rebase("/p",   &["/a/old/1", "/a/sessions/old/2"],               &["/p/old/1", "/p/old/2"]);
    check_rebase("/p",   &["/a/sessions/b/sessions/1", "/a/sessions/2"],   &["/p/sessions/1", "/p/sessions/2"]);
    check_rebase("/p",   &["/a//sessions/1", "/ä/sessions/2", "sessions/3"], &["/p/sessions/1", "/p/sessions/2", "sessions/3"]);
}

#[test]
fn rows_beyond_those_that_are_looked_at_together_are_rewritten_too() {
    let scene = Scene::new();
    let db = Connection::open(scene.db()).unwrap();
    // The first and the last number that there are are taken; many in a row are right, or no text.
    db.execute_batch(&format!(
        "CREATE TABLE threads (n INTEGER PRIMARY KEY, path TEXT);
         WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < 4500)
         INSERT INTO threads SELECT i * 7 - 9000,
         CASE WHEN i BETWEEN 100 AND 1600 THEN NULL
         WHEN i BETWEEN 1700 AND 3200 THEN '/new/sessions/' || i
         ELSE '/a/long/way/to/an/old/place/sessions/' || i END FROM c;
         INSERT INTO threads VALUES ({}, '/a/sessions/last'), ({}, '/a/sessions/first')",
        i64::MAX,
        i64::MIN,
    ))
    .unwrap();
    db.close().unwrap();
    let markers = ["/sessions/".to_owned()];
    let rewritten = rebase(&scene.db(), "threads", "path", &markers, Path::new("/new")).unwrap();
    assert_eq!(rewritten, Rewrite::Rewritten { rows: 4501 - 2 * 1501 + 2 });
    let db = Connection::open(scene.db()).unwrap();
    let astray = "SELECT count(*) FROM threads WHERE path NOT LIKE '/new/sessions/%'";
    let astray: i64 = db.query_row(astray, [], |row| row.get(0)).unwrap();
    assert_eq!(astray, 0);
}

#[test]
fn rows_that_lie_in_another_order_than_their_numbers_are_damage_and_no_endless_loop() {
    let scene = Scene::new();
    let db = Connection::open(scene.db()).unwrap();
    db.execute_batch(
        "CREATE TABLE threads (path TEXT);
         INSERT INTO threads VALUES ('/a/sessions/1'), ('/a/sessions/2'), ('/a/sessions/3')",
    )
    .unwrap();
    db.close().unwrap();
    // The second page is the table's leaf: behind a header of eight bytes, where its cells lie.
    let mut bytes = fs::read(scene.db()).unwrap();
    let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let [first, .., last] = [8, 10, 12].map(|at| page + at);
    assert_eq!(bytes[page], 13, "a leaf of a table");
    for byte in 0..2 {
        bytes.swap(first + byte, last + byte);
    }
    fs::write(scene.db(), &bytes).unwrap();
    let markers = ["/sessions/".to_owned()];
    let error = rebase(&scene.db(), "threads", "path", &markers, Path::new("/new")).unwrap_err();
    assert!(error.is_about_the_file(), "{error}");
    assert_eq!(fs::read(scene.db()).unwrap(), bytes);
}

#[test]
fn a_column_that_is_called_as_row_numbers_are_is_no_schema_of_codex() {
    for column in ["rowid", "RowID"] {
        let scene = Scene::new();
        let db = Connection::open(scene.db()).unwrap();
        db.execute_batch(&format!(
            "CREATE TABLE threads ({column} TEXT, path TEXT);
             INSERT INTO threads VALUES (NULL, '/a/sessions/1')"
        ))
        .unwrap();
        db.close().unwrap();
        let markers = ["/sessions/".to_owned()];
        let rewritten = rebase(&scene.db(), "threads", "path", &markers, Path::new("/new"));
        assert_eq!(rewritten.unwrap(), Rewrite::UnknownSchema, "{column}");
    }
}

#[track_caller]
fn check_rebase(place: &str, paths: &[&str], expected: &[&str]) {
    let scene = Scene::new();
    let db = Connection::open(scene.db()).unwrap();
    db.execute_batch("CREATE TABLE threads (path TEXT)").unwrap();
    for path in paths {
        db.execute("INSERT INTO threads VALUES (?1)", [path]).unwrap();
    }
    db.close().unwrap();
    let markers = ["/sessions/", "/old/"].map(str::to_owned);
    rebase(&scene.db(), "threads", "path", &markers, Path::new(place)).unwrap();
    let db = Connection::open(scene.db()).unwrap();
    let mut statement = db.prepare("SELECT path FROM threads ORDER BY rowid").unwrap();
    let found = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let found: Vec<String> = found.collect::<rusqlite::Result<_>>().unwrap();
    assert_eq!(found, expected);
}

#[test]
fn a_schema_we_do_not_know_is_left_alone() {
    let scene = Scene::new().with("wal");
    let db = Connection::open(scene.db()).unwrap();
    db.execute_batch("CREATE VIEW v AS SELECT text FROM a").unwrap();
    db.close().unwrap();
    let before = fs::read(scene.db()).unwrap();
    for (table, column) in [("a", "path"), ("c", "text"), ("v", "text"), ("a\" --", "text")] {
        let markers = ["row".to_owned()];
        let rewritten = rebase(&scene.db(), table, column, &markers, Path::new("/b")).unwrap();
        assert_eq!(rewritten, Rewrite::UnknownSchema, "{table}.{column}");
    }
    assert_eq!(fs::read(scene.db()).unwrap(), before);
    assert_eq!(listing(&scene.dir.path().join("source")), ["db"]);
}
