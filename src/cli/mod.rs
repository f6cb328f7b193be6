//! Which words, columns, exit code?
//!
//! One file per command: its arguments, its run and its picture. [`run`] reads the command
//! line, lets the command work and shows what it reports; nothing below this room prints.

mod account_change;
mod account_list;
mod accounts;
mod adopt;
mod args;
mod backup;
mod completions;
mod config;
mod cooldown;
mod demo;
mod doctor;
mod drill;
mod evidence;
mod exit;
mod history;
mod holders;
mod list;
mod live;
mod log;
mod login;
mod normalize;
mod picture;
mod progress;
mod prompt;
mod prune;
mod ready;
mod recommend;
mod restart;
mod restore;
mod session;
mod show;
mod status;
mod switch;
#[cfg(test)]
#[cfg(unix)]
mod tests;
mod undo;
mod verify;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::args::{Command, CommandLine};
use crate::cli::picture::plain;
use crate::cli::session::Session;
use crate::config::Color;
use crate::world::World;

pub use self::exit::{Exit, Failure};

/// What a command found or did, ready to be shown in either way.
pub(crate) struct Report {
    /// The `data` of the JSON envelope.
    data: Data,
    /// The lines for a person, with styles; each ends in a newline.
    text: String,
    exit: Exit,
}

impl Report {
    /// Serializing plain data with text keys cannot fail; if it ever did, `data` would be null.
    pub(crate) fn new(data: &impl Serialize, text: impl Into<String>) -> Self {
        let data = Data::Value(serde_json::to_value(data).unwrap_or_default());
        Self { data, text: text.into(), exit: Exit::Done }
    }

    /// As [`Report::new`], of what may be thousands: no more of it is held than its text.
    pub(crate) fn long(data: &impl Serialize) -> Self {
        let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
        Self { data: Data::Text(data), text: String::new(), exit: Exit::Done }
    }

    pub(crate) fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}

/// What a command found, as JSON.
enum Data {
    Value(Value),
    /// Written already.
    Text(String),
}

/// Runs one command line (the program's own name first) in `world`.
///
/// Whatever happens is told on the streams of `world`; the answer is the exit code.
pub fn run(words: &[OsString], world: World) -> Exit {
    let line = match args::parse(words) {
        Ok(line) => line,
        Err(error) => return refuse(&error, words, world),
    };
    let name = line.command.name();
    let CommandLine { global, command } = line;
    let mut session = Session::new(global, world);
    let outcome = dispatch(command, &mut session);
    let exit = outcome.as_ref().map_or_else(|failure| failure.exit, |report| report.exit);
    let shown = if session.global.json {
        show_json(Some(name), &outcome, &mut session)
    } else {
        show_text(&outcome, &mut session)
    };
    delivered(shown, exit, &mut session.world)
}

fn dispatch(command: Command, session: &mut Session) -> Result<Report, Failure> {
    match command {
        Command::Backup(args) => backup::run(&args, session),
        Command::Restore(args) => restore::run(&args, session),
        Command::Use(args) => switch::run(&args, session),
        Command::Undo(args) => undo::run(&args, session),
        Command::Log(args) => log::run(&args, session),
        Command::Prune(args) => prune::run(&args, session),
        Command::List(args) => list::run(&args, session),
        Command::Show(args) => show::run(&args, session),
        Command::Verify(args) => verify::run(&args, session),
        Command::Drill(args) => drill::run(&args, session),
        Command::Status(args) => status::run(&args, session),
        Command::History(args) => history::run(&args, session),
        Command::Cooldown(args) => cooldown::run(&args, session),
        Command::Recommend(args) => recommend::run(&args, session),
        Command::Ready(args) => ready::run(&args, session),
        Command::Normalize(args) => normalize::run(&args, session),
        Command::Doctor(args) => doctor::run(&args, session),
        Command::Accounts(args) => account_list::run(&args, session),
        Command::Login(args) => login::run(&args, session),
        Command::Adopt(args) => adopt::run(&args, session),
        Command::Config(args) => config::run(&args, session),
        Command::Demo(args) => demo::run(&args, session),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Help and version are results; everything else the parser says is a mistake in the input.
fn refuse(error: &clap::Error, words: &[OsString], world: World) -> Exit {
    let said = args::said(words);
    let mut session = Session::new(said.global, world);
    let text = error.render();
    let text = if is_colorful(&session) { text.ansi().to_string() } else { text.to_string() };
    let world = &mut session.world;
    if !error.use_stderr() {
        let shown = world.out.write_all(text.as_bytes()).and_then(|()| world.out.flush());
        return delivered(shown, Exit::Done, world);
    }
    if session.global.json {
        let command = said.command.as_deref();
        let outcome = Err(usage(error, command));
        let shown = show_json(command, &outcome, &mut session);
        return delivered(shown, Exit::Usage, &mut session.world);
    }
    tell(&text, world);
    Exit::Usage
}

/// What the parser says, taken apart: the message, its tips, and without the usage behind them.
fn usage(error: &clap::Error, command: Option<&str>) -> Failure {
    let help = match command {
        Some(command) => format!("see `codex-manager {command} --help`"),
        None => "see `codex-manager --help`".to_owned(),
    };
    let text = error.render().to_string();
    let ends = ["\n\nFor more information", "\n\nUsage: "];
    let text = ends.iter().fold(text.as_str(), |text, end| {
        // The last one: what a person typed comes before it, whatever it is.
        text.rfind(end).and_then(|at| text.get(..at)).unwrap_or(text)
    });
    let mut parts = text.split("\n\n  tip: ");
    let joined = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = joined(parts.next().unwrap_or_default());
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let hints: Vec<String> = parts.map(joined).chain([help]).collect();
    Failure::usage(message).hint(hints.join("; "))
}

fn show_json(
    name: Option<&str>,
    outcome: &Result<Report, Failure>,
    session: &mut Session,
) -> io::Result<()> {
    let warnings = session.warnings().to_vec();
    // In large pieces: a stream of lines writes what has none in very small ones.
    let mut out = BufWriter::with_capacity(64 << 10, &mut session.world.out);
    write_envelope(&mut out, name, outcome.as_ref(), &warnings)?;
    out.flush()
}

/// Exactly one document: what was done, what is worth knowing, what went wrong.
///
/// `ok` says whether the command did its work and `data` is its answer. What the answer means
/// for a script, such as that a snapshot is corrupt, the exit code says.
fn write_envelope(
    out: &mut impl Write,
    name: Option<&str>,
    outcome: Result<&Report, &Failure>,
    warnings: &[String],
) -> io::Result<()> {
    let (data, error) = match outcome {
        Ok(report) => (Some(&report.data), Value::Null),
        Err(failure) => {
            let mut error = json!({
                "code": failure.exit.code(),
                "kind": failure.exit.word(),
                "message": failure.message,
                "hint": failure.hint,
            });
            if !failure.holders.is_empty()
                && let Some(error) = error.as_object_mut()
            {
                error.insert("holders".to_owned(), json!(failure.holders));
            }
            (None, error)
        }
    };
    let command = name.map(|name| format!(".{name}")).unwrap_or_default();
    let schema = Value::from(format!("codex-manager{command}/1"));
    write!(out, "{{\"schema\":{schema},\"ok\":{},\"data\":", error.is_null())?;
    match data {
        Some(Data::Value(value)) => serde_json::to_writer(&mut *out, value)?,
        Some(Data::Text(text)) => out.write_all(text.as_bytes())?,
        None => out.write_all(b"null")?,
    }
    writeln!(out, ",\"warnings\":{},\"error\":{error}}}", json!(warnings))
}

/// Only what goes to standard output can get lost: it is the result.
fn show_text(outcome: &Result<Report, Failure>, session: &mut Session) -> io::Result<()> {
    let colorful = is_colorful(session);
    let mut remarks = String::new();
    let user_home = session.world.user_home.as_deref();
    let mut remark = |label: &str, style, what: &str| {
        let label = picture::styled(label, style);
        let label = dressed(&label, colorful);
        remarks.push_str(&format!("{label} {}\n", plain(&picture::at_home(what, user_home))));
    };
    if !session.global.quiet {
        for warning in session.warnings() {
            remark("warning:", picture::CARE, warning);
        }
    }
    if let Err(failure) = outcome {
        remark("error:", picture::BAD, &failure.message);
        if let Some(hint) = &failure.hint {
            remark("hint:", picture::GOOD, hint);
        }
    }
    tell(&remarks, &mut session.world);
    if let Ok(report) = outcome {
        session.world.out.write_all(dressed(&report.text, colorful).as_bytes())?;
        session.world.out.flush()?;
    }
    Ok(())
}

/// A text, with its styles or without them.
fn dressed(text: &str, colorful: bool) -> Cow<'_, str> {
    if colorful { text.into() } else { picture::undressed(text).into() }
}

/// Writes to standard error. If that is gone too, the exit code has to do.
fn tell(text: &str, world: &mut World) {
    let told = world.err.write_all(text.as_bytes()).and_then(|()| world.err.flush());
    drop(told);
}

/// How a command ends whose own code is `exit`, once its result was shown or could not be.
///
/// A reader that left early (`| head`) wanted no more, so nothing changes; a full disk is a
/// failure.
fn delivered(shown: io::Result<()>, exit: Exit, world: &mut World) -> Exit {
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(&format!("error: cannot write the result: {error}\n"), world);
            if exit == Exit::Done { Exit::Failed } else { exit }
        }
        Ok(()) | Err(_) => exit,
    }
}

/// What the user prefers, else `NO_COLOR`, else whether a person is looking.
fn is_colorful(session: &Session) -> bool {
    let world = &session.world;
    match session.color() {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            world.terminals.out
                && world.variable("NO_COLOR").is_none()
                && world.variable("TERM").is_none_or(|term| term != "dumb")
        }
    }
}
