//! `completions`: what a shell needs to finish our words.

use clap_complete::Shell;
use serde_json::json;

use crate::cli::exit::Failure;
use crate::cli::{Report, args};

/// Print the completions of a shell
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The shell to print them for
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<Report, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::tree(), "codex-manager", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Ok(Report::new(&json!({ "shell": args.shell.to_string(), "script": script }), script))
}
