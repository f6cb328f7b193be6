//! Is everything still there, whole?
//!
//! [`Expected`] is what an undisturbed run finds and leaves. [`judge`] looks at the disk after one
//! that was disturbed, lets the next command run, and looks again:
//!
//! - the Codex home is the old one or the new one at once, before anything has tidied up;
//! - after the next command both homes are, and they belong together: the manager home tells
//!   neither more nor less than what happened to the Codex home;
//! - nothing is left under a reserved name, no journal, no sidecar alone, no empty folder of an
//!   operation; everything in the manager home is its owner's alone; `verify --all`, `list` and
//!   `doctor` find nothing wrong;
//! - every login that was somewhere before still is, unless it is the command's work to delete it;
//! - no output holds a token or speaks of a panic, and who says that it worked has done it.
//!
//! Four things are allowed. Where a command stores the login that it is about to replace, that
//! snapshot may be there although the command came to nothing. And what cannot change at the same
//! instant as the home ([`Case::later`]) may lag behind until the next run, but no longer. A command that only
//! tells what it found may tell less, and says so. And a home that was replaced and that `undo/`
//! cannot take lies beside, which the log knows.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::commands::Case;
use crate::ground::{CANARY, Ground};
use crate::state::{Entries, Known, State, difference, names, walk};

/// What runs after every disturbance: it takes the lock, and touches nothing that a case does.
const NEXT: [&str; 5] = ["cooldown", "set", "cleo", "--until", "2096-01-01T00:00:00Z"];

/// How a reserved name begins.
const RESERVED: &str = ".codex-manager-";

/// What an undisturbed run finds and leaves.
pub(crate) struct Expected {
    known: Known,
    logins: BTreeSet<String>,
    old: State,
    new: State,
    old_and_next: State,
    new_and_next: State,
    /// What a command that mends finds wrong.
    faults_before: Vec<String>,
}

/// How a disturbed run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It was killed, or the power went.
    Killed,
    /// It ended by itself with this code.
    Exit(i32),
}

impl Expected {
    /// Plays the case undisturbed. The ground is ready, and is laid out anew afterwards.
    pub(crate) fn learn(ground: &Ground, case: &Case) -> Self {
        let known = Known::learn(ground);
        let logins = logins(ground);
        let old = State::read(ground, &known);
        ground.must(&NEXT);
        let old_and_next = State::read(ground, &known);
        let faults_before = faults(ground, &logins);
        assert!(faults_before.is_empty() || case.piecewise, "{}: {faults_before:?}", case.name);
        ground.reset();
        let words = case.words(ground);
        ground.must(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let new = State::read(ground, &known);
        let logins = if case.deletes { &logins & &self::logins(ground) } else { logins };
        assert_ne!(old, new, "{} changes something", case.name);
        ground.must(&NEXT);
        let new_and_next = State::read(ground, &known);
        assert_eq!(faults(ground, &logins), Vec::<String>::new(), "{}", case.name);
        ground.reset();
        Self { known, logins, old, new, old_and_next, new_and_next, faults_before }
    }

    /// What is wrong on the disk after a disturbed run that said `said`.
    pub(crate) fn judge(
        &self,
        ground: &Ground,
        case: &Case,
        end: End,
        said: &str,
    ) -> Result<(), String> {
        is_clean(said)?;
        self.is_whole(&State::read(ground, &self.known).codex, case)?;
        let (exit, next_said) = ground.play(&NEXT);
        is_clean(&next_said)?;
        if exit != Some(0) {
            return Err(format!("the next command fails ({exit:?}):\n{next_said}"));
        }
        let then = State::read(ground, &self.known);
        let is_new = then == self.new_and_next;
        let is_old = !is_new && self.is_old(&then, case);
        let told = format!("  it said: {said}\n  the next one said: {next_said}");
        if !is_new && !is_old {
            let against = |which: &str, state: &State| {
                let different = difference(&state.codex, &then.codex)
                    + &difference(&state.manager, &then.manager);
                (
                    different.len(),
                    format!("neither old nor new.\n  against the {which}:\n{different}"),
                )
            };
            // The one that it is closer to tells what is wrong.
            let (old, new) =
                (against("old", &self.old_and_next), against("new", &self.new_and_next));
            return Err(format!("{}{told}", old.min(new).1));
        }
        let is_told = case.reports && said.contains("warning: ");
        if end == End::Exit(0) && !is_new && !is_told {
            return Err(format!("it told of success and nothing has happened\n{told}"));
        }
        let mut found = faults(ground, &self.logins);
        found.retain(|fault| is_new || !self.faults_before.contains(fault));
        if found.is_empty() { Ok(()) } else { Err(format!("{}\n{told}", found.join("\n  "))) }
    }

    /// Whether this Codex home, right after the disturbance, is the old one or the new one.
    fn is_whole(&self, now: &Entries, case: &Case) -> Result<(), String> {
        let is_late = |name: &str| case.later.iter().any(|begin| name.starts_with(begin));
        let (mut home, mut late) = (now.clone(), now.clone());
        // A file under construction is no part of it; the next run has to remove it.
        home.retain(|(name, _)| !name.contains(RESERVED) && !is_late(name));
        late.retain(|(name, _)| !name.contains(RESERVED) && is_late(name));
        let without_late = |entries: &Entries| -> Entries {
            entries.iter().filter(|(name, _)| !is_late(name)).cloned().collect()
        };
        let (old, new) = (without_late(&self.old.codex), without_late(&self.new.codex));
        if home != old && home != new {
            return Err(format!(
                "the Codex home is torn.\n  against the old one:\n{}  against the new one:\n{}",
                difference(&old, &home),
                difference(&new, &home),
            ));
        }
        let known = |entry: &(String, String)| {
            self.old.codex.contains(entry) || self.new.codex.contains(entry)
        };
        match late.iter().find(|entry| !known(entry)) {
            Some((name, what)) => Err(format!("{name} is neither the old one nor the new: {what}")),
            None => Ok(()),
        }
    }

    /// Whether these are the old homes, with the login that was about to be replaced stored or
    /// not.
    fn is_old(&self, then: &State, case: &Case) -> bool {
        if then.codex != self.old_and_next.codex {
            return false;
        }
        if case.piecewise {
            let [old, new, then] = [&self.old_and_next, &self.new_and_next, then]
                .map(|state| state.manager.iter().map(without_account).collect::<Vec<_>>());
            let mut stays = old.iter().filter(|entry| new.contains(entry));
            return then.iter().all(|entry| old.contains(entry) || new.contains(entry))
                && stays.all(|entry| then.contains(entry));
        }
        if case.reports {
            let lie = then.manager.iter().any(|(_, what)| what.contains("\"sound\":false"));
            return !lie && unreported(&then.manager) == unreported(&self.old_and_next.manager);
        }
        if !case.banks {
            return then.manager == self.old_and_next.manager;
        }
        // What is there and was not must be a snapshot that the undisturbed run makes too.
        let mut more = then.manager.clone();
        for entry in &self.old_and_next.manager {
            let Some(at) = more.iter().position(|other| other == entry) else { return false };
            more.remove(at);
        }
        more.iter().all(|entry| {
            entry.0.starts_with("backups/") && self.new_and_next.manager.contains(entry)
        })
    }
}

/// An entry, of an operation only which it was and not what it tells about it.
fn without_account((name, what): &(String, String)) -> (String, String) {
    match what.split_once("\"what\":") {
        Some((which, _)) if name.starts_with("operations.jsonl") => {
            (name.clone(), which.to_owned())
        }
        _ => (name.clone(), what.clone()),
    }
}

/// Without the lines in which a command tells what it found.
fn unreported(entries: &Entries) -> Vec<&str> {
    let reports = |what: &str| what.contains("\"command\":\"drill\"");
    entries.iter().map(|(_, what)| what.as_str()).filter(|what| !reports(what)).collect()
}

/// No token, no panic.
pub(crate) fn is_clean(said: &str) -> Result<(), String> {
    for word in
        [CANARY, "panicked", "a mistake in codex-manager", "RUST_BACKTRACE", "stack backtrace"]
    {
        if said.contains(word) {
            return Err(format!("`{word}` was said:\n{said}"));
        }
    }
    Ok(())
}

/// Litter, modes, logins that are gone, and what the program itself finds.
fn faults(ground: &Ground, logins_before: &BTreeSet<String>) -> Vec<String> {
    let mut found = litter(ground);
    walk(&ground.manager(), "", &mut |name, _, facts| {
        // A home that was replaced is kept as it was, in a folder of the owner's alone.
        let kept = name.contains("/codex-home/");
        if !kept && !facts.is_symlink() && facts.mode() & 0o077 != 0 {
            found.push(format!("{name} has the mode {:o}", facts.mode() & 0o777));
        }
    });
    let gone: Vec<String> = logins_before.difference(&logins(ground)).cloned().collect();
    if !gone.is_empty() {
        found.push(format!("{} logins are gone: {gone:?}", gone.len()));
    }
    for words in [&["verify", "--all"][..], &["log", "--verify"], &["list"], &["doctor"]] {
        let (exit, said) = ground.play(words);
        if let Err(what) = is_clean(&said) {
            found.push(what);
        }
        if exit != Some(0) {
            found.push(format!("{} ends with {exit:?}:\n{said}", words.join(" ")));
        }
    }
    found
}

/// What nobody needs any more and is still there.
fn litter(ground: &Ground) -> Vec<String> {
    let mut found = Vec::new();
    walk(&ground.place(), "", &mut |name, path, facts| {
        let last = name.rsplit('/').next().unwrap_or_default();
        if last.starts_with(RESERVED) || ["journal.json", "switch.json"].contains(&last) {
            found.push(format!("{name} is left over"));
        }
        let is_alone = last
            .strip_suffix(".metadata.json")
            .is_some_and(|stem| !path.with_file_name(format!("{stem}.tar.gz")).is_file());
        if is_alone && !name.starts_with(".codex-manager/trash/") {
            found.push(format!("{name} is a sidecar alone"));
        }
        let is_operation =
            name.starts_with(".codex-manager/undo/") && name.matches('/').count() == 2;
        if is_operation && facts.is_dir() && names(path).is_empty() {
            found.push(format!("{name} is empty"));
        }
    });
    let temporary = names(&ground.manager().join("tmp"));
    found.extend(temporary.iter().map(|name| format!("tmp/{name} is left over")));
    found
}

/// The refresh tokens of every login in either home, in archives too.
fn logins(ground: &Ground) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut note = |bytes: &[u8]| {
        let login: Option<Value> = serde_json::from_slice(bytes).ok();
        let token =
            login.and_then(|login| login["tokens"]["refresh_token"].as_str().map(str::to_owned));
        found.extend(token);
    };
    walk(&ground.place(), "", &mut |name, path, facts| {
        if !facts.is_file() || name.contains(RESERVED) && !name.starts_with(".codex-manager/") {
            return;
        }
        if name.ends_with("auth.json") {
            note(&fs::read(path).expect("a login can be read"));
        } else if name.ends_with(".tar.gz") {
            in_archive(path, &mut note);
        }
    });
    found
}

fn in_archive(path: &Path, note: &mut dyn FnMut(&[u8])) {
    let bytes = fs::read(path).expect("an archive can be read");
    let mut tarball = tar::Archive::new(MultiGzDecoder::new(bytes.as_slice()));
    for entry in tarball.entries().into_iter().flatten() {
        let Ok(mut entry) = entry else { return };
        if entry.path_bytes().as_ref() == b"auth.json" {
            let mut content = Vec::new();
            if entry.read_to_end(&mut content).is_ok() {
                note(&content);
            }
        }
    }
}
