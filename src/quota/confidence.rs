//! How sure is it whose a reading is, and why?

use std::fmt;

use serde::{Deserialize, Serialize};

/// How sure it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// The source names the account, or nothing speaks against it. So are lines of old ledgers,
    /// which do not say.
    #[default]
    Certain,
    /// Most speaks for it, and nothing is at hand that would prove it.
    Likely,
    /// It is one of several, or nobody knows. No account's availability follows from it.
    Ambiguous,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Ambiguous => "ambiguous",
        })
    }
}

/// What decided whose it is, or kept it from being decided.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The ledger knows who was active then.
    Ledger,
    /// `auth.json` has not changed since.
    Login,
    /// The session says who began it.
    Creator,
    /// Somebody signed in around then, beside this program.
    SignedInBeside,
    /// Nothing tells who was signed in then.
    NothingTells,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ledger => "the ledger says that it was active",
            Self::Login => "auth.json has not changed since",
            Self::Creator => "it began the session",
            Self::SignedInBeside => "somebody signed in around then without codex-manager",
            Self::NothingTells => "nothing tells who was signed in then",
        })
    }
}
