//! Where does a Codex keep its login?

use std::fmt;

/// Where a Codex keeps its login (`cli_auth_credentials_store`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Store {
    /// In `auth.json`; the default.
    File,
    /// In the system's keyring: exchanging the file would do nothing.
    Keyring,
    /// In the keyring if there is one, else in the file.
    Auto,
    /// Nowhere; it ends with the process.
    Ephemeral,
}

impl Store {
    /// The store a `config.toml` asks for; its profiles and overrides on the command line of
    /// Codex are not seen.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the text is no TOML, or the key holds something else than the four
    /// known words.
    pub fn of_config(config_toml: &str) -> Result<Self, StoreError> {
        let config: toml_edit::DocumentMut =
            config_toml.parse().map_err(|error: toml_edit::TomlError| {
                // The parser's own message quotes the line, which may hold a secret.
                let before = error.span().and_then(|at| config_toml.get(..at.start));
                let line = before.map_or(0, |text| text.split('\n').count());
                StoreError::NotToml { line }
            })?;
        match config.get("cli_auth_credentials_store") {
            None => Ok(Self::File),
            Some(item) => match item.as_str() {
                Some("file") => Ok(Self::File),
                Some("keyring") => Ok(Self::Keyring),
                Some("auto") => Ok(Self::Auto),
                Some("ephemeral") => Ok(Self::Ephemeral),
                _ => Err(StoreError::Unknown),
            },
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Keyring => "keyring",
            Self::Auto => "auto",
            Self::Ephemeral => "ephemeral",
        })
    }
}

/// Why a `config.toml` does not tell where the login is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// It is no TOML.
    #[error("config.toml of Codex is not TOML (line {line})")]
    NotToml {
        /// Line of the first fault, from 1; 0 if the parser does not tell.
        line: usize,
    },
    /// The key holds something unknown.
    #[error("cli_auth_credentials_store is none of file, keyring, auto, ephemeral")]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn the_configuration_of_codex_tells_where_its_login_is() {
        for (config, expected) in [
            ("",                                                      "file"),
            ("model = \"x\"\n[tui]\na = 1\n",                         "file"),
            ("cli_auth_credentials_store = \"file\"",                 "file"),
            ("cli_auth_credentials_store = 'keyring' # why not",      "keyring"),
            ("cli_auth_credentials_store = \"auto\"",                 "auto"),
            ("cli_auth_credentials_store = \"ephemeral\"",            "ephemeral"),
            ("[tui]\ncli_auth_credentials_store = \"keyring\"",       "file"), // another table's key
            ("cli_auth_credentials_store = \"vault-secret\"",         "cli_auth_credentials_store is none of file, keyring, auto, ephemeral"),
            ("cli_auth_credentials_store = true",                     "cli_auth_credentials_store is none of file, keyring, auto, ephemeral"),
            ("a = 1\nkey = sk-secret",                                "config.toml of Codex is not TOML (line 2)"),
            ("a = \"sk-secret",                                       "config.toml of Codex is not TOML (line 1)"),
        ] {
            let found = Store::of_config(config);
            let found = found.map_or_else(|error| error.to_string(), |store| store.to_string());
            assert_eq!(found, expected, "{config:?}");
        }
    }
}
