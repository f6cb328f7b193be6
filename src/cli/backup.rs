//! `backup`: store the current account as a snapshot.

use std::collections::BTreeMap;

use glob::Pattern;
use serde::Serialize;
use serde_json::json;

use crate::cli::cooldown::look;
use crate::cli::evidence::{Evidence, Sources};
use crate::cli::exit::Failure;
use crate::cli::live::{self, Wish};
use crate::cli::picture::{CARE, FAINT, Facts, Table, bytes, count, plain, styled};
use crate::cli::progress::Progress;
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::codex::auth::{AuthFile, Mode};
use crate::codex::home::{Class, CodexHome};
use crate::codex::rollout::{self, Glimpses};
use crate::config;
use crate::disk::Jobs;
use crate::overview::Overview;
use crate::quota::Reading;
use crate::snapshot::backup::{self, Circumstances, Made, Plan, Request, Size};
use crate::snapshot::metadata::{Kind, Metadata};
use crate::window::Window;

/// As much has to be reused, in bytes, before people hear of it.
const WORTH_A_WORD: u64 = 1 << 20;

/// Store the current account as a snapshot
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Store the login alone
    #[arg(long, conflicts_with_all = ["no_login", "lean"])]
    auth_only: bool,
    /// Store everything but the login
    #[arg(long)]
    no_login: bool,
    /// Leave out logs and caches that Codex writes anew
    #[arg(long)]
    lean: bool,
    /// How hard to compress, 1 (fast) to 12; 6 is as small as gzip
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=12))]
    level: Option<u32>,
    /// Leave out further paths, relative to the Codex home (may be repeated)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Store what can be read instead of stopping at what cannot (exit code 1)
    #[arg(long)]
    skip_unreadable: bool,
    /// Store a damaged database as the bytes it is
    #[arg(long)]
    force_damaged: bool,
    /// Replace the snapshot of the same account and week; the old one goes to the trash
    #[arg(long)]
    force: bool,
    /// A short name to find it by
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// A remark about it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    sources: Sources,
    /// Ask nothing; take the time of capture for the start of a used-up week
    #[arg(long, group = "evidence", help_heading = "Quota")]
    without_status_check: bool,
    /// Say what would be stored, and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct BackupData<'a> {
    snapshot: String,
    archive: String,
    metadata: &'a Metadata,
    dry_run: bool,
    reused_bytes: u64,
    compressed_bytes: Option<u64>,
    sizes: BTreeMap<Class, Size>,
    left_out: Vec<serde_json::Value>,
    missed: Vec<serde_json::Value>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let request = request(args, &places)?;
    // Who is not signed in hears it before a status command takes its time.
    backup::login(&places.home, request.kind)?;
    // The status command is somebody's program: no lock is held while it runs.
    let now = session.world.now;
    let known = look(&places, now, session)?;
    // A login that cannot be read is told by `look`, and was refused if it is to be stored.
    let wish = match args.sources.wish(&places.settings) {
        // Nothing is written by a dry run, and a question needs a private home.
        Wish::IfPossible if args.dry_run || args.without_status_check => {
            if !args.without_status_check && can_be_asked(&places, &known, session) {
                session.warn(
                    "Codex is not asked in a dry run, so the name may be another one; --live asks it",
                );
            }
            Wish::No
        }
        wish => wish,
    };
    let found = args.sources.read(wish, session, &places, &known, known.live())?;
    // Where there is no Codex on the path nobody expects it to be asked.
    let news = found.problem.as_ref().filter(|it| it.is_news() && !it.is_no_program());
    if let Some(problem) = news {
        session.warn(problem.told(found.instead()));
    }
    let evidence = found.evidence;
    // It may have been Codex, which refreshes the login whenever it is old: only now is it read.
    let login = backup::login(&places.home, request.kind)?;
    let reading = reading(args, evidence.as_ref(), login.as_ref(), session)?;
    let reading = reading.map(|reading| reading.in_zone(&places.zone));
    let mut glimpses = known.glimpses.clone();
    let circumstances = Circumstances {
        now,
        zone: &places.zone,
        reading: reading.clone(),
        status_text: evidence.and_then(|evidence| evidence.text),
        home_for_people: session.show(places.home.root()),
        around: session.surroundings(),
        codex_version: newest_version(&places.home, &known, &mut glimpses),
        host: session.world.host.clone(),
    };
    let opened = if args.dry_run {
        places.store.refuse_foreign()?;
        None
    } else {
        Some(session.open(&places, "backup")?)
    };
    let plan = backup::plan(&places.home, &places.store, &request, login.as_ref(), &circumstances)?;
    tell_idle_patterns(args, &places, &plan, session)?;
    let Some(opened) = opened else { return Ok(preview(&plan, &places, session)) };
    let (sizes, left_out) = (plan.sizes.clone(), plan.left_out.clone());
    let mut progress = Progress::bytes("backing up", plan.content_bytes(), session);
    let stop = std::sync::Arc::clone(&session.world.interrupted);
    let verb = if plan.replaces.is_some() { "replaced" } else { "stored" };
    let what = format!("{verb} {}", plan.name);
    let record = session.record(&places.store, &places.zone, "backup", what)?;
    let entries = known.learned(reading, places.zone.stamp(now));
    let said = (Some(record), entries);
    let advance = &mut |count| progress.advance(count);
    let made = backup::apply(plan, &places.store, &opened.lock, said, advance, &stop)?;
    drop(progress);
    let kept = places.store.keep_glimpses(places.home.root(), &glimpses, now, &opened.lock);
    if let Err(error) = kept {
        session.warn(error.to_string());
    }
    for warning in &made.warnings {
        session.warn(warning.clone());
    }
    let missed: Vec<_> = made.skipped.iter().chain(&made.vanished).cloned().collect();
    for (path, why) in &missed {
        session.warn(format!("{path} is not in the snapshot: {why}"));
    }
    let data = BackupData {
        snapshot: made.name.to_string(),
        archive: made.archive.display().to_string(),
        metadata: &made.metadata,
        dry_run: false,
        reused_bytes: made.reused_bytes,
        compressed_bytes: Some(made.compressed_bytes),
        sizes,
        left_out: pairs(&left_out),
        missed: pairs(&missed),
    };
    let report = Report::new(&data, draw(&made, session));
    Ok(report.exit(if made.skipped.is_empty() { Exit::Done } else { Exit::Failed }))
}

/// Whether a backup that is no dry run would ask Codex.
fn can_be_asked(places: &Places, known: &Overview, session: &Session) -> bool {
    live::subject(known.live(), places).is_ok() && session.codex(places).is_ok()
}

/// A pattern as it was typed; the whole path of something in the home is one, too.
fn pattern(glob: &str, places: &Places) -> Result<Pattern, Failure> {
    let below = places.home.root().to_str().and_then(|root| glob.strip_prefix(root));
    config::pattern(below.unwrap_or(glob)).ok_or_else(|| {
        Failure::usage(format!("{glob:?} is no pattern"))
            .hint("a pattern looks like log/*.txt or **/cache")
    })
}

/// Says which patterns of the command line leave out nothing: it may be a slip.
fn tell_idle_patterns(
    args: &Args,
    places: &Places,
    plan: &Plan,
    session: &mut Session,
) -> Result<(), Failure> {
    for glob in &args.exclude {
        let pattern = pattern(glob, places)?;
        // A database outside the home is left out by its bare name.
        let left_out = |path: &str| {
            let path = path.trim_end_matches('/');
            pattern.matches(path)
                || path.rsplit('/').next().is_some_and(|leaf| pattern.matches(leaf))
        };
        if !plan.left_out.iter().any(|(path, _)| left_out(path)) {
            session.warn(format!("--exclude {glob} leaves out nothing"));
        }
    }
    Ok(())
}

fn request(args: &Args, places: &Places) -> Result<Request, Failure> {
    let mut exclude = places.settings.exclude.clone();
    for glob in &args.exclude {
        exclude.push(pattern(glob, places)?);
    }
    if exclude.iter().any(|pattern| pattern.as_str() == CodexHome::AUTH) {
        return Err(Failure::usage("a pattern does not leave out the login")
            .hint("`codex-manager backup --no-login` does"));
    }
    let kind = match (args.auth_only, args.no_login) {
        (true, _) => Kind::Auth,
        (_, true) => Kind::State,
        _ => Kind::Full,
    };
    for (name, text) in [("--label", &args.label), ("--note", &args.note)] {
        let odd = text.as_ref().is_some_and(|text| {
            text.trim().is_empty() || text.chars().any(char::is_control) || 1_000 < text.len()
        });
        if odd {
            return Err(Failure::usage(format!(
                "{name} needs one line of text, at most 1000 bytes long"
            ))
            .hint(format!("leave {name} away, or shorten it")));
        }
    }
    Ok(Request {
        kind,
        lean: args.lean || places.settings.lean,
        exclude,
        skip_unreadable: args.skip_unreadable,
        force_damaged: args.force_damaged,
        replace: args.force,
        label: args.label.clone(),
        note: args.note.clone(),
        level: args.level.unwrap_or(places.settings.compression_level),
        jobs: Jobs::of(places.settings.jobs),
    })
}

/// What the quota says of the account that is backed up.
fn reading(
    args: &Args,
    evidence: Option<&Evidence>,
    login: Option<&AuthFile>,
    session: &mut Session,
) -> Result<Option<Reading>, Failure> {
    let Some((key, login)) = login.and_then(|login| Some((login.key.clone()?, login))) else {
        return Ok(None);
    };
    if args.without_status_check && login.mode == Mode::ApiKey {
        session.warn("an API key has no weekly quota, so there is nothing to estimate");
        return Ok(None);
    }
    if args.without_status_check {
        let estimate = Reading::estimate(key, session.world.now.into());
        return Ok(Some(Reading { email: login.email.clone(), ..estimate }));
    }
    let Some(evidence) = evidence else {
        if !args.sources.is_text() {
            session.warn(
                "no session tells the quota yet, so the snapshot is named after this moment; \
                 --status-file FILE reads what /status shows",
            );
        }
        return Ok(None);
    };
    if let Some(text) = evidence.email.as_ref().filter(|text| Some(*text) != login.email.as_ref()) {
        // An API key has no address, so a text that names one is somebody else's.
        let live = login.email.as_ref().map_or_else(
            || format!("{} {}, which has no address,", login.mode, key.short_id()),
            ToString::to_string,
        );
        let text = text.to_string();
        return Err(backup::BackupError::OtherAccount { text, live }.into());
    }
    if evidence.owner.as_ref().is_some_and(|owner| *owner != key) {
        session.warn("the newest session belongs to another account; its quota was not used");
        return Ok(None);
    }
    let reading = evidence.reading(key, login.email.clone());
    if reading.is_none() {
        session.warn("the status text shows no limits; the snapshot carries no quota");
    }
    Ok(reading)
}

/// The Codex version of the newest session, or of the one with the newest limits.
pub(crate) fn newest_version(
    home: &CodexHome,
    known: &Overview,
    glimpses: &mut Glimpses,
) -> Option<String> {
    let limits = || known.limits.as_ref().and_then(|limits| limits.cli_version.clone());
    rollout::newest_version(home.root(), glimpses).or_else(limits)
}

fn pairs(list: &[(String, String)]) -> Vec<serde_json::Value> {
    list.iter().map(|(path, why)| json!({ "path": path, "reason": why })).collect()
}

fn preview(plan: &Plan, places: &Places, session: &mut Session) -> Report {
    for warning in &plan.warnings {
        session.warn(warning.clone());
    }
    for (path, why) in &plan.unreadable {
        session.warn(format!("{path} would not be in the snapshot: {why}"));
    }
    let mut table = Table::new(&[("CLASS", 0), ("FILES", 0), ("SIZE", 0)]);
    for (class, size) in &plan.sizes {
        table.row([class.to_string(), size.files.to_string(), bytes(size.bytes)]);
    }
    let mut text = format!("would store {}\n\n", styled(&plan.name, crate::cli::picture::STRONG));
    text.push_str(&table.draw(session.world.width));
    if !plan.left_out.is_empty() {
        text.push_str("\nleft out:\n");
        for (path, why) in &plan.left_out {
            text.push_str(&format!("  {}  {}\n", plain(path), styled(why, FAINT)));
        }
    }
    let data = BackupData {
        snapshot: plan.name.to_string(),
        archive: places.store.archive(&plan.name).display().to_string(),
        metadata: &plan.metadata,
        dry_run: true,
        reused_bytes: 0,
        compressed_bytes: None,
        sizes: plan.sizes.clone(),
        left_out: pairs(&plan.left_out),
        missed: pairs(&plan.unreadable),
    };
    Report::new(&data, text)
}

fn draw(made: &Made, session: &Session) -> String {
    let mut facts = Facts::new();
    let metadata = &made.metadata;
    facts.add("stored", made.name.to_string());
    if let Some(archive) = &metadata.archive {
        facts.add(
            "content",
            format!(
                "{}, {} packed into {}",
                count(archive.files, "file"),
                bytes(archive.content_bytes),
                bytes(archive.bytes)
            ),
        );
    }
    if WORTH_A_WORD <= made.reused_bytes {
        facts.add(
            "reused",
            format!(
                "{} of earlier snapshots, {} packed anew",
                bytes(made.reused_bytes),
                bytes(made.compressed_bytes)
            ),
        );
    }
    facts.add("quota", quota(metadata));
    facts.add("archive", session.show(&made.archive));
    facts.to_string()
}

fn quota(metadata: &Metadata) -> String {
    let Some(quota) = &metadata.quota else { return styled("unknown", CARE) };
    let left = quota.windows.iter().filter_map(Window::left_percent).reduce(f64::min);
    let reset = metadata.reset_at.map(|at| at.wall().format("%a %d %b %H:%M").to_string());
    match (left, reset) {
        (Some(left), Some(reset)) => {
            let left = crate::cli::picture::percent(Some(left));
            format!("{left} left, week resets {reset} ({})", quota.source)
        }
        (None, Some(reset)) => format!("week resets {reset} ({})", quota.source),
        (Some(left), None) => format!("{} left", crate::cli::picture::percent(Some(left))),
        (None, None) => "a limit is reached".to_owned(),
    }
}
