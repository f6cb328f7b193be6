//! Does codex-manager reach its goals of speed, measured against other tools in the same run?
//!
//! `cargo bench --bench home -- --help`; what each line means is in `benches/README.md`.
//!
//! | module | the question it answers |
//! |---|---|
//! | [`random`], [`library`], [`session`], [`codex_home`] | what does a Codex home hold? |
//! | [`measure`], [`tools`], [`lab`], [`report`] | what did it take, against whom, and is that enough? |
//! | [`backups`], [`restores`], [`small`], [`curves`], [`limits`] | the measurements themselves |

mod backups;
mod codex_home;
mod curves;
mod lab;
mod library;
mod limits;
mod measure;
mod random;
mod report;
mod restores;
mod session;
mod small;
mod tools;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::codex_home::Size;
use crate::lab::Lab;
use crate::report::Report;
use crate::tools::Tool;

/// Measures codex-manager against other tools, on a made-up home, in one run.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench home --")]
struct Options {
    /// Content of the home, in MiB
    #[arg(long, value_name = "N", default_value_t = 64)]
    mib: u64,
    /// Sessions in the home [default: three for each MiB]
    #[arg(long, value_name = "N")]
    files: Option<u64>,
    /// How often each is measured; the medians count
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Leave the lines of a tool out
    #[arg(long, value_name = "TOOL", value_delimiter = ',')]
    without: Vec<Tool>,
    /// Where homes are kept and measurements take place [default: target/bench]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Another codex-manager than the one of this build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Sizes of homes for `use` and `show`, in MiB
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "10,100")]
    use_mib: Vec<u64>,
    /// Numbers of snapshots for `list`, `cooldown` and `recommend`
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "100,1000,10000")]
    snapshots: Vec<usize>,
    /// Sizes of homes for the curve of content, in MiB
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "64,128,256")]
    curve_mib: Vec<u64>,
    /// Numbers of files for the curve of files
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000,4000,16000")]
    curve_files: Vec<u64>,
    /// Size of the one huge session, in MiB
    #[arg(long, value_name = "N", default_value_t = 256)]
    huge_mib: u64,
    /// What cargo adds to the command line of a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// One group of measurements.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Part {
    /// A first backup against pigz, restic, borg and tar
    First,
    /// Backups after it against restic and borg
    Next,
    /// Restore and verify against tar, cp and sha256sum
    Restore,
    /// `use` and `show` by size of the snapshot
    Use,
    /// `list`, `cooldown` and `recommend` by number of snapshots
    Many,
    /// `history` against reading the sessions
    History,
    /// One huge session
    Huge,
    /// Growth with content and with files
    Curves,
    /// What the machine can do
    Limits,
}

impl Part {
    const ALL: [Self; 9] = [
        Self::First,
        Self::Next,
        Self::Restore,
        Self::Use,
        Self::Many,
        Self::History,
        Self::Huge,
        Self::Curves,
        Self::Limits,
    ];

    /// What it needs to be installed.
    fn tools(self) -> &'static [Tool] {
        match self {
            Self::First => &[Tool::Tar, Tool::Gzip, Tool::Pigz, Tool::Restic, Tool::Borg],
            Self::Next => &[Tool::Cp, Tool::Restic, Tool::Borg, Tool::Strace],
            Self::Restore => &[Tool::Tar, Tool::Gzip, Tool::Cp, Tool::Sha256sum],
            Self::Use | Self::Many => &[Tool::Cp],
            Self::History | Self::Huge | Self::Curves | Self::Limits => &[],
        }
    }
}

fn main() -> ExitCode {
    started().unwrap_or_else(|error| {
        let _closed = writeln!(io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}

fn started() -> io::Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == measure::ONE => return measure::one(words),
        Some(word) if word == measure::FETCH => return Ok(measure::fetch_here(words)),
        _ => {}
    }
    let options = Options::parse();
    if !options.bench {
        // `cargo test --all-targets` runs benchmarks too, and means something else.
        writeln!(io::stdout(), "nothing is measured without --bench, which `cargo bench` adds")?;
        return Ok(ExitCode::SUCCESS);
    }
    let parts: Vec<Part> =
        if options.only.is_empty() { Part::ALL.into() } else { options.only.clone() };
    let mut tools: Vec<Tool> = Vec::new();
    for tool in parts.iter().flat_map(|part| part.tools()) {
        if !options.without.contains(tool) && !tools.contains(tool) {
            tools.push(*tool);
        }
    }
    if let Some(what) = tools::missing(&tools) {
        writeln!(io::stderr(), "{what}")?;
        return Ok(ExitCode::FAILURE);
    }
    run(options, &parts, &tools)?;
    Ok(ExitCode::SUCCESS)
}

fn run(options: Options, parts: &[Part], tools: &[Tool]) -> io::Result<()> {
    let size = Size::new(options.mib, options.files);
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_codex-manager"));
    let program = options.program.unwrap_or_else(built);
    let program = std::path::absolute(program)?;
    let work = options.work.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    let work = std::path::absolute(work)?;
    let mut out = io::stdout();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (rounds, mib) = (options.rounds, options.mib);
    writeln!(out, "home of {mib} MiB, medians of {rounds} rounds, {cores} cores, warm cache")?;
    for version in tools.iter().filter_map(|tool| tool.version()) {
        writeln!(out, "  {version}")?;
    }
    for tool in &options.without {
        writeln!(out, "  without {}, as asked", tool.name())?;
    }
    let lab = Lab::new(work, program, rounds, options.without)?;
    let report = &mut Report::default();
    for part in parts {
        match part {
            Part::First => backups::first(&lab, size, report)?,
            Part::Next => backups::next(&lab, size, report)?,
            Part::Restore => restores::all(&lab, size, report)?,
            Part::Use => small::switching(&lab, &options.use_mib, report)?,
            Part::Many => small::many(&lab, &options.snapshots, report)?,
            Part::History => small::history(&lab, size, report)?,
            Part::Huge => restores::huge(&lab, options.huge_mib, report)?,
            Part::Curves => {
                curves::content(&lab, &options.curve_mib, report)?;
                curves::files(&lab, &options.curve_files, report)?;
            }
            Part::Limits => limits::all(&lab, size, report)?,
        }
    }
    lab.clear("")?;
    report.end()
}
