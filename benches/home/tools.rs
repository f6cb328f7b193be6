//! Which other tools are there to be compared with?

use std::process::{Command, Stdio};

/// A tool that is measured beside codex-manager, or that measures it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Tool {
    Tar,
    Gzip,
    Pigz,
    Restic,
    Borg,
    Cp,
    Sha256sum,
    Strace,
}

impl Tool {
    /// What it is called on a command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Gzip => "gzip",
            Self::Pigz => "pigz",
            Self::Restic => "restic",
            Self::Borg => "borg",
            Self::Cp => "cp",
            Self::Sha256sum => "sha256sum",
            Self::Strace => "strace",
        }
    }

    /// The Debian package that has it.
    fn package(self) -> &'static str {
        match self {
            Self::Borg => "borgbackup",
            Self::Cp | Self::Sha256sum => "coreutils",
            _ => self.name(),
        }
    }

    /// Its name and version in its own words; nothing if it is not here.
    pub(crate) fn version(self) -> Option<String> {
        let word = if self == Self::Restic { "version" } else { "--version" };
        let output = Command::new(self.name()).arg(word).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // pigz tells its version on the error stream.
        Some(text.lines().next().unwrap_or(self.name()).to_owned())
    }
}

/// What to say about tools that are missing; nothing if none is.
pub(crate) fn missing(wanted: &[Tool]) -> Option<String> {
    let missing: Vec<Tool> =
        wanted.iter().copied().filter(|tool| tool.version().is_none()).collect();
    if missing.is_empty() {
        return None;
    }
    let list = |of: fn(Tool) -> &'static str| {
        missing.iter().map(|tool| of(*tool)).collect::<Vec<_>>().join(" ")
    };
    let without: Vec<_> = missing.iter().map(|tool| format!("--without {}", tool.name())).collect();
    Some(format!(
        "error: not installed: {}\nhint: apt-get install {}, or leave their lines out with {}",
        list(Tool::name),
        list(Tool::package),
        without.join(" ")
    ))
}
