//! May we?

use std::io::Write as _;

use crate::cli::exit::Failure;
use crate::cli::picture::plain;
use crate::cli::session::Session;

/// Asks a yes-or-no question before something is replaced.
///
/// `--yes` answers it. Without a terminal, or with `--json`, nobody can be asked, and the
/// command ends instead of guessing.
///
/// # Errors
///
/// When the answer is no, or nobody can be asked.
pub(crate) fn confirm(question: &str, session: &mut Session) -> Result<(), Failure> {
    if session.global.yes {
        return Ok(());
    }
    let terminals = session.world.terminals;
    if session.global.json || !(terminals.input && terminals.err) {
        return Err(Failure::usage(format!("{question} Nobody is there to answer."))
            .hint("pass --yes to do it without asking, or --dry-run to see what would happen"));
    }
    // A line of its own: what is asked is drawn anew with the answer, and must not wrap.
    let asked = writeln!(session.world.err, "{}", plain(question));
    let answer = asked.map_err(dialoguer::Error::IO).and_then(|()| {
        dialoguer::Confirm::new().with_prompt("Go on?").default(false).interact_opt()
    });
    match answer {
        Ok(Some(true)) => Ok(()),
        Ok(_) => {
            Err(Failure::new(crate::cli::Exit::Failed, "nothing was changed: the answer was no"))
        }
        Err(_) => {
            // The answer's line is still open.
            drop(writeln!(session.world.err));
            Err(Failure::new(
                crate::cli::Exit::Interrupted,
                "nothing was changed: the question was not answered",
            ))
        }
    }
}
