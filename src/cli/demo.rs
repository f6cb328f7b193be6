//! demo
use crate::cli::Report;
use crate::cli::exit::Failure;
use crate::cli::session::Session;
/// demo
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}
pub(crate) fn run(_args: &Args, _session: &mut Session) -> Result<Report, Failure> {
    Ok(Report::new(&(), ""))
}
