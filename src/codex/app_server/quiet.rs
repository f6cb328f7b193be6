//! How can Codex be asked without being able to change anything?
//!
//! It gets a home of its own: a copy of the login without its refresh token, and of the
//! configuration what says where the service is. Beyond that the addresses at which tokens are
//! refreshed and revoked lead nowhere, so that not even the copy could be spent.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use toml_edit::{DocumentMut, Item, value};

use crate::account::Secret;
use crate::codex::home::CodexHome;
use crate::disk::{DiskError, replace};

/// A closed port of this machine. By https, so that a proxy which is asked all the same sees no
/// more than an address.
const NOWHERE: &str = "https://127.0.0.1:9/";

/// Variables that sign somebody else in, or hold a secret that nobody asks for.
const LOGINS: [&str; 3] = ["CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "OPENAI_API_KEY"];

/// Settings of the user that are taken over: without them another service would be asked.
const NEEDED: [&str; 1] = ["chatgpt_base_url"];

/// Makes a Codex home at `home`, which does not exist yet: 0700, with `login` (see
/// [`AuthFile::for_reading`](crate::codex::auth::AuthFile::for_reading)) and what is needed of
/// the user's configuration.
///
/// # Errors
///
/// When the disk refuses.
pub fn furnish(home: &Path, login: &Secret, users_config: &str) -> Result<(), DiskError> {
    replace::private_dir(home)?;
    let home = CodexHome::at(home.to_owned());
    replace::write_new(&home.config(), config(users_config, home.root()).as_bytes())?;
    replace::write_new(&home.auth(), login.bytes())
}

/// What is around a Codex that shall change nothing.
pub(super) fn environment(
    users: &BTreeMap<OsString, OsString>,
    home: &Path,
) -> BTreeMap<OsString, OsString> {
    let mut environment = unlocked(users, home);
    for name in ["CODEX_REFRESH_TOKEN_URL_OVERRIDE", "CODEX_REVOKE_TOKEN_URL_OVERRIDE"] {
        environment.insert(name.into(), NOWHERE.into());
    }
    environment.remove(OsStr::new("CODEX_SQLITE_HOME"));
    // Nobody reads what it would write down.
    environment.remove(OsStr::new("RUST_LOG"));
    let exceptions = ["NO_PROXY", "no_proxy"];
    let mut names = exceptions.iter().filter_map(|name| environment.get(OsStr::new(name)));
    let mut all = names.find(|hosts| !hosts.is_empty()).cloned().unwrap_or_default();
    all.push(if all.is_empty() { "127.0.0.1" } else { ",127.0.0.1" });
    environment.extend(exceptions.map(|name| (name.into(), all.clone())));
    environment
}

/// What is around a Codex that works with the login of its home.
pub(super) fn unlocked(
    users: &BTreeMap<OsString, OsString>,
    home: &Path,
) -> BTreeMap<OsString, OsString> {
    let mut environment = users.clone();
    for name in LOGINS {
        environment.remove(OsStr::new(name));
    }
    environment.insert("CODEX_HOME".into(), home.into());
    environment
}

/// The configuration of the private home: where the service is, and that everything stays here.
fn config(users: &str, home: &Path) -> String {
    // One that is no TOML says nothing; Codex would not start with it either.
    let users = users.parse::<DocumentMut>().unwrap_or_default();
    let profile = users.get("profile").and_then(Item::as_str);
    let profile = profile.and_then(|name| users.get("profiles")?.get(name));
    let mut config = DocumentMut::new();
    for name in NEEDED {
        let of_profile = profile.and_then(|profile| profile.get(name)).and_then(Item::as_str);
        let text = of_profile.or_else(|| users.get(name).and_then(Item::as_str));
        if let Some(text) = text {
            config.insert(name, value(text));
        }
    }
    config.insert("cli_auth_credentials_store", value("file"));
    config.insert("check_for_update_on_startup", value(false));
    // Above any setting of the system or the environment.
    if let Some(home) = home.to_str() {
        config.insert("sqlite_home", value(home));
        config.insert("log_dir", value(format!("{home}/log")));
    }
    config.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn only_where_the_service_is_comes_from_the_user() {
        let at = |users: &str| -> String {
            let config = config(users, Path::new("/m/tmp/x"));
            let ours = "cli_auth_credentials_store = \"file\"\ncheck_for_update_on_startup = false\nsqlite_home = \"/m/tmp/x\"\nlog_dir = \"/m/tmp/x/log\"\n";
            config.strip_suffix(ours).unwrap_or_else(|| unreachable!("{config}")).to_owned()
        };
        assert_eq!(at(""), "");
        assert_eq!(at("= no toml"), "");
        assert_eq!(at("sqlite_home = \"/live\"\nmodel = \"x\"\nnotify = [\"rm\"]\n[mcp_servers.x]\ncommand = \"y\""), "");
        assert_eq!(at("chatgpt_base_url = \"https://a.example.com\""), "chatgpt_base_url = \"https://a.example.com\"\n");
        assert_eq!(at("chatgpt_base_url = 7"), "");
        let profiles = "chatgpt_base_url = \"a\"\nprofile = \"p\"\n[profiles.p]\nchatgpt_base_url = \"b\"";
        assert_eq!(at(profiles), "chatgpt_base_url = \"b\"\n");
        assert_eq!(at(&profiles.replace("profile = \"p\"", "profile = \"q\"")), "chatgpt_base_url = \"a\"\n");
    }

    #[test]
    fn no_variable_leads_out_of_the_private_home_or_signs_somebody_in() {
        let users = [
            ("CODEX_HOME", "/live"),
            ("CODEX_SQLITE_HOME", "/db"),
            ("CODEX_API_KEY", "sk-made-up"),
            ("CODEX_ACCESS_TOKEN", "made-up"),
            ("OPENAI_API_KEY", "sk-made-up"),
            ("CODEX_REFRESH_TOKEN_URL_OVERRIDE", "https://auth.example.com"),
            ("NO_PROXY", "a.example.com"),
            ("HTTPS_PROXY", "http://proxy.example.com"),
        ];
        let users = users.map(|(name, value)| (OsString::from(name), OsString::from(value))).into();
        let told = |environment: BTreeMap<OsString, OsString>| {
            let lines = environment
                .iter()
                .map(|(name, value)| format!("{}={}", name.display(), value.display()));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(
            told(environment(&users, Path::new("/m/tmp/x"))),
            [
                "CODEX_HOME=/m/tmp/x",
                "CODEX_REFRESH_TOKEN_URL_OVERRIDE=https://127.0.0.1:9/",
                "CODEX_REVOKE_TOKEN_URL_OVERRIDE=https://127.0.0.1:9/",
                "HTTPS_PROXY=http://proxy.example.com",
                "NO_PROXY=a.example.com,127.0.0.1",
                "no_proxy=a.example.com,127.0.0.1",
            ]
        );
        assert_eq!(
            told(unlocked(&users, Path::new("/live"))),
            [
                "CODEX_HOME=/live",
                "CODEX_REFRESH_TOKEN_URL_OVERRIDE=https://auth.example.com",
                "CODEX_SQLITE_HOME=/db",
                "HTTPS_PROXY=http://proxy.example.com",
                "NO_PROXY=a.example.com",
            ]
        );
    }
}
