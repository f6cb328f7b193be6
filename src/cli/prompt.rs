//! May we?

use crate::cli::exit::Failure;
use crate::cli::session::Session;

/// Asks a yes-or-no question before something is replaced.
///
/// `--yes` answers it. Without a terminal, or with `--json`, nobody can be asked, and the
/// command ends instead of guessing.
///
/// # Errors
///
/// When the answer is no, or nobody can be asked.
pub(crate) fn confirm(question: &str, session: &Session) -> Result<(), Failure> {
    if session.global.yes {
        return Ok(());
    }
    let terminals = session.world.terminals;
    if session.global.json || !(terminals.input && terminals.err) {
        return Err(Failure::usage(format!("{question} Nobody is there to answer."))
            .hint("pass --yes to do it without asking, or --dry-run to see what would happen"));
    }
    let answer = dialoguer::Confirm::new()
        .with_prompt(crate::cli::picture::plain(question))
        .default(false)
        .interact_opt();
    match answer {
        Ok(Some(true)) => Ok(()),
        Ok(_) => {
            Err(Failure::new(crate::cli::Exit::Failed, "nothing was changed: the answer was no"))
        }
        Err(error) => Err(Failure::new(
            crate::cli::Exit::Interrupted,
            format!("nothing was changed: the question was not answered ({error})"),
        )),
    }
}
