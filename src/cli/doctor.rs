//! doctor
use crate::cli::Report;
use crate::cli::exit::Failure;
use crate::cli::session::Session;
/// doctor
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}
pub(crate) fn run(_args: &Args, _session: &mut Session) -> Result<Report, Failure> {
    Ok(Report::new(&(), ""))
}
