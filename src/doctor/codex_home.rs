//! Is the Codex home as it should be?

use std::path::{Path, PathBuf};

use super::modes::{SECRET_FILES, open_to_others};
use super::{Check, FIX, Facts, Finding, Level, Program, count, word};
use crate::codex::auth::{AuthError, AuthFile, Problem, Store as LoginStore};
use crate::codex::home;
use crate::codex::process::{Holder, Holders};
use crate::disk::{database, read, replace, swap};

/// A larger `config.toml` of Codex is not read, in bytes.
const MAX_CONFIG: u64 = 16 << 20;

/// What reading `auth.json` came to. It is read once: a broken one takes two seconds.
pub(super) type LiveFile = Result<Option<AuthFile>, AuthError>;

/// The program that would be started.
pub(super) fn program(facts: &Facts<'_>) -> Finding {
    let found = |level, what: String| Finding::new(Check::CodexProgram, level, what);
    match facts.program {
        Program::Absent { name } => found(Level::Note, format!("{name} is not on PATH"))
            .remedy("npm install -g @openai/codex, or codex-manager config set codex_program PATH"),
        Program::Silent { path, why } => {
            found(Level::Warning, format!("{} {why}", (facts.show)(path)))
                .remedy("run it by itself to see what it says")
        }
        Program::Says(version) => found(Level::Ok, format!("{version} is installed")),
    }
}

/// Everything about the home, whose `auth.json` has been read already.
pub(super) fn check(facts: &Facts<'_>, live: &LiveFile) -> Vec<Finding> {
    let mut findings = leftovers(facts);
    let folder = folder(facts);
    let usable = folder.iter().all(|finding| finding.level < Level::Error);
    findings.extend(folder);
    if usable {
        let text = config_text(facts, &mut findings);
        let store = login_store(facts, &text, &mut findings);
        findings.extend(login(facts, live, store));
        findings.extend(secrets(facts));
        findings.extend(running(facts));
        findings.extend(databases(facts, &text));
    }
    findings
}

fn folder(facts: &Facts<'_>) -> Vec<Finding> {
    let root = facts.home.root();
    let shown = (facts.show)(root);
    let found = |level, what: String| Finding::new(Check::CodexHome, level, what);
    let metadata = match std::fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return vec![found(Level::Error, format!("{shown} is not a folder"))],
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![
                found(Level::Error, format!("there is no Codex home at {shown}"))
                    .remedy("run `codex` once, or name the folder with --codex-home DIR"),
            ];
        }
        Err(error) => return vec![found(Level::Error, format!("cannot look at {shown}: {error}"))],
    };
    if let Err(error) = read::names(root) {
        return vec![found(Level::Error, error.to_string()).remedied(error.hint())];
    }
    vec![match open_to_others(&metadata) {
        Some(mode) => found(Level::Note, format!("{shown} is open to others (mode {mode:04o})"))
            .remedy(format!("chmod 700 {}", word(facts, root))),
        None => found(Level::Ok, format!("{shown} is there")),
    }]
}

/// The text of Codex's configuration; empty if there is none that can be read.
fn config_text(facts: &Facts<'_>, findings: &mut Vec<Finding>) -> String {
    let path = facts.home.config();
    let bytes = read::absent_is_none(read::bounded_following(&path, MAX_CONFIG));
    let fault = match bytes.map(|bytes| String::from_utf8(bytes.unwrap_or_default())) {
        Ok(Ok(text)) => return text,
        Ok(Err(_)) => {
            let what = format!("{} is not UTF-8", (facts.show)(&path));
            Finding::new(Check::CodexConfig, Level::Error, what).remedy("correct it with an editor")
        }
        Err(error) => {
            Finding::new(Check::CodexConfig, Level::Error, error.to_string()).remedied(error.hint())
        }
    };
    findings.push(fault);
    String::new()
}

fn login_store(facts: &Facts<'_>, text: &str, findings: &mut Vec<Finding>) -> LoginStore {
    let found = |level, what: String| Finding::new(Check::CodexConfig, level, what);
    let shown = (facts.show)(&facts.home.config());
    let advice = format!("set cli_auth_credentials_store = \"file\" in {shown} and sign in again");
    match LoginStore::of_config(text) {
        Ok(LoginStore::File) => LoginStore::File,
        Ok(store) => {
            let what = match store {
                LoginStore::Ephemeral => "Codex forgets its login when it ends (ephemeral)".into(),
                _ => {
                    format!("Codex keeps its login in the keyring ({store}); `use` cannot swap it")
                }
            };
            findings.push(found(Level::Warning, what).remedy(advice));
            store
        }
        Err(error) => {
            findings.push(
                found(Level::Error, format!("{shown}: {error}"))
                    .remedy("correct it with an editor"),
            );
            LoginStore::File
        }
    }
}

fn login(facts: &Facts<'_>, live: &LiveFile, store: LoginStore) -> Vec<Finding> {
    let path = facts.home.auth();
    let shown = (facts.show)(&path);
    let found = |level, what: String| Finding::new(Check::Login, level, what);
    let file = match live {
        Ok(Some(file)) if matches!(store, LoginStore::Keyring | LoginStore::Ephemeral) => {
            let whose = file.email.as_ref().map_or_else(String::new, |it| format!(" of {it}"));
            return vec![found(
                Level::Note,
                format!(
                    "who is signed in is not known: Codex does not use the login{whose} in {shown}"
                ),
            )];
        }
        Ok(Some(file)) => file,
        // The file is not where such a Codex keeps it.
        Ok(None) if store != LoginStore::File => return Vec::new(),
        Ok(None) => {
            return vec![
                found(Level::Warning, format!("nobody is signed in: there is no {shown}"))
                    .remedy("codex login"),
            ];
        }
        Err(error) => {
            return vec![found(Level::Error, error.to_string()).remedied(error.hint())];
        }
    };
    vec![whose(file)]
}

/// What others may read that lets them in somewhere.
fn secrets(facts: &Facts<'_>) -> Vec<Finding> {
    let of = |name: &str| {
        let path = facts.home.root().join(name);
        let mode = open_to_others(&std::fs::metadata(&path).ok()?)?;
        let what = format!("{} is open to others (mode {mode:04o})", (facts.show)(&path));
        let found = Finding::new(Check::Login, Level::Warning, what);
        // What a link leads to is not ours to change.
        let is_link = path.is_symlink();
        Some(found.remedy(if is_link {
            format!("chmod 600 {}", word(facts, &path))
        } else {
            FIX.to_owned()
        }))
    };
    SECRET_FILES.iter().filter_map(|name| of(name)).collect()
}

fn whose(file: &AuthFile) -> Finding {
    let found = |level, what: String| Finding::new(Check::Login, level, what);
    match (&file.mixed, file.problem, &file.key) {
        (Some(mixed), _, _) => found(
            Level::Error,
            format!(
                "auth.json mixes two accounts: its workspace is {}, its tokens belong to {}",
                mixed.tokens_account_id, mixed.id_token_account_id
            ),
        )
        .remedy("codex login"),
        (None, Some(problem @ (Problem::NoTokens | Problem::NoApiKey)), _) => {
            found(Level::Warning, format!("nobody is signed in: auth.json is there, but {problem}"))
                .remedy("codex login")
        }
        (None, Some(problem), _) => {
            found(Level::Error, format!("auth.json names no account: {problem}"))
                .remedy("codex login")
        }
        (None, None, key) => {
            let who = match (&file.email, key) {
                (Some(email), _) => email.to_string(),
                (None, Some(key)) => key.title(),
                (None, None) => "an unknown account".to_owned(),
            };
            let plan = file.plan.as_ref().map_or_else(String::new, |plan| format!(" ({plan})"));
            found(Level::Ok, format!("{who}{plan} is signed in"))
        }
    }
}

fn running(facts: &Facts<'_>) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::Running, level, what);
    let Holders { found: users, bystanders, unseen, is_unknown } = facts.holders;
    if *is_unknown {
        return vec![found(Level::Note, "whether Codex is running cannot be told here".to_owned())];
    }
    let why = |holder: &Holder| {
        let since = holder.since.map_or_else(String::new, |since| {
            format!(" since {}", facts.zone.wall(since).format("%Y-%m-%d %H:%M:%S"))
        });
        let why: Vec<String> = holder.evidence.iter().map(ToString::to_string).collect();
        let why = why.join(", ");
        if why.is_empty() { since } else { format!("{since}: {why}") }
    };
    let mut findings: Vec<Finding> = users
        .iter()
        .map(|holder| {
            found(Level::Note, format!("{holder} is using this home{}", why(holder)))
                .remedy(format!("before `use` or `restore`: {}", holder.remedy()))
        })
        .collect();
    findings.extend(bystanders.iter().map(|holder| {
        found(Level::Note, format!("{holder} is running{}; it stands in nobody's way", why(holder)))
    }));
    findings.extend(unseen.iter().map(|unseen| {
        found(Level::Note, format!("{unseen} may use this home; what it has open cannot be seen"))
    }));
    if users.is_empty() && unseen.is_empty() {
        findings.push(found(Level::Ok, "no Codex is running on this home".to_owned()));
    }
    findings
}

/// Whether what is named like a database begins like one.
fn databases(facts: &Facts<'_>, config: &str) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::Databases, level, what);
    let root = facts.home.root();
    let elsewhere = facts.home.sqlite_home(config, &facts.surroundings);
    let folders = [Some(root), elsewhere.as_deref()].into_iter().flatten();
    let mut findings = Vec::new();
    let mut sound = 0_usize;
    for path in folders.flat_map(named_databases) {
        match database::looks_like_database(&path) {
            Ok(true) => sound += 1,
            // SQLite itself takes an empty file for a new database.
            Ok(false) if path.metadata().is_ok_and(|facts| facts.len() == 0) => sound += 1,
            Ok(false) => findings.push(
                found(Level::Warning, format!("{} is no SQLite database", (facts.show)(&path)))
                    .remedy("quit Codex, move it aside, and start Codex again"),
            ),
            Err(error) => {
                findings.push(found(Level::Warning, error.to_string()).remedied(error.hint()));
            }
        }
    }
    if findings.is_empty() && 0 < sound {
        findings.push(found(Level::Ok, count(sound, "database", "databases")));
    }
    findings
}

fn named_databases(folder: &Path) -> Vec<PathBuf> {
    let mut names = read::names(folder).unwrap_or_default();
    names.sort();
    let named = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sqlite");
    names.into_iter().map(|name| folder.join(name)).filter(named).collect()
}

/// What interrupted runs left beside the home and in it.
fn leftovers(facts: &Facts<'_>) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::CodexLeftovers, level, what);
    let root = facts.home.root();
    let mut findings = Vec::new();
    if let Some(above) = root.parent() {
        for path in swap::waiting(above).unwrap_or_default() {
            let what = format!(
                "{} waits since an exchange was interrupted; it may be your Codex home",
                (facts.show)(&path)
            );
            let (aside, live) = (word(facts, &path), word(facts, root));
            findings.push(found(Level::Error, what).remedy(if root.exists() {
                format!("compare it with {live} before you delete either")
            } else {
                format!("mv {aside} {live}")
            }));
        }
    }
    let folders = root.parent().into_iter().chain([root]);
    for path in folders.flat_map(|folder| replace::litter(folder).unwrap_or_default()) {
        if home::may_be_one(&path) {
            let what = format!(
                "{} was left by an interrupted restore; it may be your Codex home as it was before",
                (facts.show)(&path)
            );
            let remedy = format!("compare it with {} before you delete it", word(facts, root));
            findings.push(found(Level::Error, what).remedy(remedy));
            continue;
        }
        let what = format!("{} was left by an interrupted run", (facts.show)(&path));
        let remedy = format!("if no codex-manager is running: rm -r {}", word(facts, &path));
        findings.push(found(Level::Warning, what).remedy(remedy));
    }
    findings
}
