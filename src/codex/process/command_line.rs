//! Is this the command line of a Codex, and of which kind?

use std::ffi::OsString;
use std::path::Path;

use super::Role;

/// A command line from the program on, if that is Codex; from the script on, if a JavaScript engine
/// runs it.
pub(super) fn codex_words(words: &[OsString]) -> Option<&[OsString]> {
    let (program, rest) = words.split_first()?;
    let program = leaf(program)?;
    if is_codex(program) {
        return Some(words);
    }
    if !["node", "nodejs", "bun", "deno"].contains(&program) {
        return None;
    }
    // What stands before the script is for the engine, such as `run` or `--no-warnings`.
    let script = rest.iter().position(|word| {
        let word = word.to_str().unwrap_or_default();
        !word.starts_with('-') && word != "run"
    })?;
    let rest = rest.get(script..)?;
    ["codex", "codex.js"].contains(&leaf(rest.first()?)?).then_some(rest)
}

/// The last part of a program's path, without the ending it has on Windows.
fn leaf(word: &OsString) -> Option<&str> {
    let leaf = Path::new(word).file_name()?.to_str()?;
    Some(leaf.strip_suffix(".exe").unwrap_or(leaf))
}

/// Whether a program of this name is Codex: `codex`, one of the programs that were split off it,
/// or either with the platform it was built for, as in a download. This program is not.
fn is_codex(leaf: &str) -> bool {
    let Some(rest) = leaf.strip_prefix("codex") else { return false };
    let rest = ["-app-server", "-exec", "-tui", "-cli"]
        .iter()
        .find_map(|part| rest.strip_prefix(part))
        .unwrap_or(rest);
    rest.is_empty() || ["-x86_64-", "-aarch64-"].iter().any(|arch| rest.starts_with(arch))
}

/// What a Codex that was started with these words is to a home; `None` for the updater.
pub(super) fn codex_role(words: &[OsString]) -> Option<Role> {
    let has = |word: &str| words.iter().any(|other| other == word);
    let program = words.first().and_then(leaf).unwrap_or_default();
    let serves = has("app-server") || program.starts_with("codex-app-server");
    if has("pid-update-loop") {
        return None;
    }
    Some(match (serves, has("--managed-daemon")) {
        (true, true) => Role::Background,
        (true, false) => Role::AppServer,
        _ => Role::Session,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn codex_is_known_by_its_program_and_its_words() {
        check("codex",                                               Some(Some(Role::Session)));
        check("/usr/lib/x/bin/codex exec --json hi",                 Some(Some(Role::Session)));
        check("node /usr/bin/codex resume",                          Some(Some(Role::Session)));
        check("codex app-server --analytics-default-enabled",        Some(Some(Role::AppServer)));
        check("/h/bin/codex app-server --listen unix:// --managed-daemon", Some(Some(Role::Background)));
        // It stays when the server is stopped, and has nothing that a switch could spoil.
        check("/h/bin/codex app-server daemon pid-update-loop",      Some(None));
        check("/opt/codex-x86_64-unknown-linux-musl resume",         Some(Some(Role::Session)));
        check("codex-aarch64-apple-darwin",                          Some(Some(Role::Session)));
        check("codex-exec --json hi",                                Some(Some(Role::Session)));
        check("codex-exec-x86_64-unknown-linux-gnu hi",              Some(Some(Role::Session)));
        check("codex-app-server --listen stdio://",                  Some(Some(Role::AppServer)));
        check("C:/bin/codex-x86_64-pc-windows-msvc.exe app-server",  Some(Some(Role::AppServer)));
        check("node --no-warnings /x/node_modules/@openai/codex/bin/codex.js exec hi", Some(Some(Role::Session)));
        check("bun run /x/@openai/codex/bin/codex.js app-server",    Some(Some(Role::AppServer)));
        check("/usr/bin/nodejs /usr/bin/codex",                      Some(Some(Role::Session)));
        check("codex-manager backup",                                None);
        check("/x/target/release/codex-manager use ada",             None);
        check("codex-manager-x86_64-unknown-linux-musl list",        None);
        check("node /usr/bin/codex-manager list",                    None);
        check("codex-execute",                                       None);
        check("codexes",                                             None);
        check("my-codex",                                            None);
        check("vim codex",                                           None);
        check("sh -c codex",                                         None);
        check("node server.js codex",                                None);
        check("node",                                                None);
        check("",                                                    None);
    }

    #[track_caller]
    fn check(line: &str, expected: Option<Option<Role>>) {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        assert_eq!(codex_words(&words).map(codex_role), expected, "{line:?}");
    }
}
