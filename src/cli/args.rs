//! Which words make up the command line?

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::cli::picture;
use crate::cli::{
    account_list, adopt, backup, completions, config, cooldown, demo, doctor, drill, history, list,
    log, login, normalize, prune, ready, recommend, restore, show, status, switch, undo, verify,
};

const STYLES: Styles = Styles::styled()
    .header(picture::STRONG)
    .usage(picture::STRONG)
    .literal(picture::GOOD)
    .placeholder(picture::FAINT);

/// Keeps every Codex account's state safe, knows when each may work again, and moves between
/// them.
#[derive(Debug, Parser)]
#[command(name = "codex-manager", version, styles = STYLES, max_term_width = 100)]
#[command(disable_help_subcommand = true, infer_subcommands = false)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// Manager home [default: $CODEX_MANAGER_HOME, else ~/.codex-manager]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) home: Option<PathBuf>,
    /// Codex home [default: $CODEX_HOME, else the configured one, else ~/.codex]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) codex_home: Option<PathBuf>,
    /// Time zone of shown times and of names, such as Europe/Berlin
    #[arg(long, global = true, value_name = "ZONE", help_heading = "Everywhere")]
    pub(crate) tz: Option<String>,
    /// Print exactly one JSON document
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// Answer every question with yes
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(crate) yes: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", help_heading = "Everywhere")]
    pub(crate) color: Option<Color>,
    /// Seconds to wait for another codex-manager
    #[arg(long, global = true, value_name = "SECONDS", help_heading = "Everywhere")]
    pub(crate) lock_timeout: Option<u64>,
    /// Threads for bulk work [default: as many as there are cores]
    #[arg(long, global = true, value_name = "N", help_heading = "Everywhere")]
    pub(crate) jobs: Option<u32>,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store the current account as a snapshot
    Backup(backup::Args),
    /// Bring a snapshot back, into the Codex home or elsewhere
    Restore(restore::Args),
    /// Sign another account in: swap the login and nothing else
    Use(switch::Args),
    /// Take an operation back
    Undo(undo::Args),
    /// Show what was done, newest first
    Log(log::Args),
    /// Put away snapshots that no rule keeps
    #[command(alias = "prune-backups")]
    Prune(prune::Args),
    /// List the snapshots, newest first
    #[command(visible_alias = "ls", alias = "list-backups")]
    List(list::Args),
    /// Tell everything about one snapshot
    Show(show::Args),
    /// Check snapshots against their digests
    Verify(verify::Args),
    /// Restore each account's newest snapshot into a scratch folder, and check what comes out
    Drill(drill::Args),
    /// List the accounts, and say what you think of them
    Accounts(account_list::Args),
    /// Sign a further account in; who is signed in now stays so
    Login(login::Args),
    /// Store the login that is live
    Adopt(adopt::Args),
    /// Read the quota of the current account
    Status(status::Args),
    /// Show the weeks, sessions, resets and switches of each account
    History(history::Args),
    /// Show when each account may work again
    Cooldown(cooldown::Args),
    /// Name the account to use next
    #[command(visible_alias = "next")]
    Recommend(recommend::Args),
    /// Tell whether an account may work now, for scripts: code 0 if so, 10 if not
    Ready(ready::Args),
    /// Take over the older tool's DDmon_EMAIL_auth.json files
    Normalize(normalize::Args),
    /// Look for what is wrong
    Doctor(doctor::Args),
    /// Read and change the configuration
    Config(config::Args),
    /// Play the whole story in a throw-away folder
    Demo(demo::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
}

impl Command {
    /// The command's name, as in the schema of its JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Use(_) => "use",
            Self::Undo(_) => "undo",
            Self::Log(_) => "log",
            Self::Prune(_) => "prune",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Verify(_) => "verify",
            Self::Drill(_) => "drill",
            Self::Status(_) => "status",
            Self::History(_) => "history",
            Self::Cooldown(_) => "cooldown",
            Self::Recommend(_) => "recommend",
            Self::Ready(_) => "ready",
            Self::Normalize(_) => "normalize",
            Self::Doctor(_) => "doctor",
            Self::Accounts(_) => "accounts",
            Self::Login(_) => "login",
            Self::Adopt(_) => "adopt",
            Self::Config(_) => "config",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
        }
    }
}

/// Reads a command line, the program's own name first.
pub(crate) fn parse(words: &[OsString]) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(words).map_err(|error| advised(error, words))
}

/// Where an account may follow, the seconds of `--wait` stand behind a `=`: who wrote a blank is
/// told so.
fn advised(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let waits = matches!(said(words).command.as_deref(), Some("use" | "restore" | "undo"));
    let Some(ContextValue::String(odd)) = error.get(ContextKind::InvalidArg) else { return error };
    let is_its = |pair: &[OsString]| matches!(pair, [flag, value] if flag == "--wait" && value == odd.as_str());
    let is_number = odd.parse::<u32>().is_ok();
    if waits && is_number && words.windows(2).any(is_its) {
        let advice = format!("to wait no longer than that, use '--wait={odd}'");
        let advice = ContextValue::StyledStrs(vec![advice.into()]);
        error.insert(ContextKind::Suggested, advice);
    }
    error
}

/// What can be understood of a command line that was refused.
pub(crate) struct Said {
    /// Only how to answer: `--json` and `--color`.
    pub(crate) global: Global,
    /// The command, by its name in full.
    pub(crate) command: Option<String>,
}

/// Looks through a command line that was refused, for what tells how to say so.
pub(crate) fn said(words: &[OsString]) -> Said {
    let mut global = Global::default();
    let mut command = None;
    let mut words = words.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        match name {
            "--" => break,
            "--json" => global.json = true,
            "--home" | "--codex-home" | "--tz" | "--lock-timeout" | "--color" => {
                let value = value.or_else(|| words.next()).unwrap_or_default();
                if name == "--color" {
                    global.color = Color::from_str(value, true).ok();
                }
            }
            _ if command.is_none() && !name.starts_with('-') => command = Some(word),
            _ => {}
        }
    }
    let known = command.and_then(|word| Some(tree().find_subcommand(word)?.get_name().to_owned()));
    Said { global, command: known }
}

/// The whole command tree, for completions.
pub(crate) fn tree() -> clap::Command {
    CommandLine::command()
}
