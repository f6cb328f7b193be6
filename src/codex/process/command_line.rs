//! Is this the command line of a Codex, and of which kind?

use std::ffi::OsString;
use std::path::Path;

use super::Role;
use super::binary::{is_codex, leaf, owner};

/// The engines that run the script which npm installs.
const ENGINES: [&str; 4] = ["node", "nodejs", "bun", "deno"];

/// Names under which Codex starts itself for a small task of a session that counts anyway.
const HELPERS: [&str; 4] =
    ["codex-linux-sandbox", "apply_patch", "applypatch", "codex-execve-wrapper"];

/// Options of Codex that take the next word as their value, so that it is no command.
const WITH_VALUE: [&str; 19] = [
    "-c",
    "--config",
    "-m",
    "--model",
    "-p",
    "--profile",
    "-s",
    "--sandbox",
    "-C",
    "--cd",
    "-a",
    "--ask-for-approval",
    "-i",
    "--image",
    "--add-dir",
    "--enable",
    "--disable",
    "--remote",
    "--local-provider",
];

/// A Codex, known by its command line or its program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Codex {
    /// What it is to a home.
    pub(super) role: Role,
    /// Whether it is the script that npm installs, which only starts the program itself.
    pub(super) is_script: bool,
}

/// Whether a process is Codex, by its words and by the file it was started from, if that is known.
pub(super) fn codex(words: &[OsString], program: Option<&Path>) -> Option<Codex> {
    let name = words.first().map(Path::new).and_then(leaf);
    if name.is_some_and(|name| HELPERS.contains(&name)) {
        return None;
    }
    let is_program = name.is_some_and(is_codex) || program.and_then(leaf).is_some_and(is_codex);
    let script = if is_program { None } else { Some(script(words)?) };
    let words = script.unwrap_or(words);
    let places = [program, words.first().map(Path::new)];
    Some(Codex { role: role(words, places), is_script: script.is_some() })
}

/// The words from the script on, if an engine runs Codex's own.
fn script(words: &[OsString]) -> Option<&[OsString]> {
    let (engine, rest) = words.split_first()?;
    if !ENGINES.contains(&leaf(Path::new(engine))?) {
        return None;
    }
    // What stands before the script is for the engine, such as `run` or `--no-warnings`.
    let at = rest.iter().position(|word| {
        let word = word.to_str().unwrap_or_default();
        !word.starts_with('-') && word != "run"
    })?;
    let rest = rest.get(at..)?;
    ["codex", "codex.js"].contains(&leaf(Path::new(rest.first()?))?).then_some(rest)
}

/// What a Codex that was started with these words, from one of these places, is to a home.
fn role(words: &[OsString], places: [Option<&Path>; 2]) -> Role {
    let has = |word: &str| words.iter().any(|other| other == word);
    let program = words.first().map(Path::new).and_then(leaf).unwrap_or_default();
    let serves = program.starts_with("codex-app-server") || command(words) == Some("app-server");
    let owner = places.iter().flatten().find_map(|place| owner(place));
    match command(words) {
        _ if has("pid-update-loop") => Role::Updater,
        _ if serves && has("--managed-daemon") => Role::Background,
        Some("app-server") if has("daemon") => Role::Command,
        _ if serves => owner.unwrap_or(Role::AppServer),
        Some("mcp-server" | "exec-server") => owner.unwrap_or(Role::AppServer),
        Some("exec" | "e" | "review") => Role::Exec,
        _ if program.starts_with("codex-exec") => Role::Exec,
        None | Some("resume" | "fork") => Role::Tui,
        Some(_) => Role::Command,
    }
}

/// The command among the words, if it is one that is known: what stands before it are options and
/// their values, and what is none is what the user has to say.
fn command(words: &[OsString]) -> Option<&str> {
    const KNOWN: [&str; 16] = [
        "app-server",
        "mcp-server",
        "exec-server",
        "exec",
        "e",
        "review",
        "resume",
        "fork",
        "login",
        "logout",
        "apply",
        "a",
        "cloud",
        "mcp",
        "plugin",
        "sandbox",
    ];
    let mut words = words.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word) {
            words.next();
        } else if word == "--" {
            return None;
        } else if KNOWN.contains(&word) {
            return Some(word);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn codex_is_known_by_its_program_and_its_words() {
        check("codex",                                               Some(Role::Tui));
        check("codex fix-the-tests",                                 Some(Role::Tui));
        check("codex -m exec",                                       Some(Role::Tui));
        check("codex -- exec",                                       Some(Role::Tui));
        check("codex --model=gpt-5 -c a=b resume --last",            Some(Role::Tui));
        check("/usr/lib/x/bin/codex exec --json hi",                 Some(Role::Exec));
        check("codex -p work --cd /x e hi",                          Some(Role::Exec));
        check("codex --dangerously-new exec hi",                     Some(Role::Exec));
        check("codex review --uncommitted",                          Some(Role::Exec));
        check("codex login --device-auth",                           Some(Role::Command));
        check("codex app-server daemon stop",                        Some(Role::Command));
        check("codex mcp-server",                                    Some(Role::AppServer));
        check("node /usr/bin/codex resume",                          Some(Role::Tui));
        check("codex app-server --analytics-default-enabled",        Some(Role::AppServer));
        check("codex -c x=app-server exec hi",                       Some(Role::Exec));
        check("/h/bin/codex app-server --listen unix:// --managed-daemon", Some(Role::Background));
        // It stays when the server is stopped, and has nothing that a switch could spoil.
        check("/h/bin/codex app-server daemon pid-update-loop",      Some(Role::Updater));
        check("/opt/codex-x86_64-unknown-linux-musl resume",         Some(Role::Tui));
        check("codex-aarch64-apple-darwin",                          Some(Role::Tui));
        check("codex-exec --json hi",                                Some(Role::Exec));
        check("codex-exec-x86_64-unknown-linux-gnu hi",              Some(Role::Exec));
        check("codex-app-server --listen stdio://",                  Some(Role::AppServer));
        check("C:/bin/codex-x86_64-pc-windows-msvc.exe app-server",  Some(Role::AppServer));
        check(r"C:\bin\codex.exe exec hi",                           Some(Role::Exec));
        check("node --no-warnings /x/node_modules/@openai/codex/bin/codex.js exec hi", Some(Role::Exec));
        check("bun run /x/@openai/codex/bin/codex.js app-server",    Some(Role::AppServer));
        check("/usr/bin/nodejs /usr/bin/codex",                      Some(Role::Tui));
        check("codex-manager backup",                                None);
        check("/x/target/release/codex-manager use ada",             None);
        check("codex-manager-x86_64-unknown-linux-musl list",        None);
        check("node /usr/bin/codex-manager list",                    None);
        check("codex-linux-sandbox --sandbox-policy-cwd /x sh",      None);
        check("codex-execute",                                       None);
        check("codexes",                                             None);
        check("my-codex",                                            None);
        check("vim codex",                                           None);
        check("sh -c codex",                                         None);
        check("node server.js codex",                                None);
        check("node",                                                None);
        check("",                                                    None);
    }

    #[test]
    #[rustfmt::skip]
    fn who_brought_its_own_codex_is_told_by_its_place() {
        let ext = |folder: &str, rest: &str| format!("{folder}/extensions/openai.chatgpt-26.1.0-linux-x64/bin/linux-x86_64/codex {rest}");
        check(&ext("/h/.vscode", "-c a=b app-server --analytics-default-enabled"), Some(Role::Editor("VS Code")));
        check(&ext("/h/.vscode-server", "app-server"),                 Some(Role::Editor("VS Code (remote)")));
        check(&ext("/h/.cursor", "app-server"),                        Some(Role::Editor("Cursor")));
        check(&ext("/h/.windsurf", "app-server"),                      Some(Role::Editor("Windsurf")));
        check(&ext("/h/.another", "app-server"),                       Some(Role::Editor("the editor")));
        check(r"C:\Users\a\.vscode\extensions\openai.chatgpt-26.1.0-win32-x64\bin\windows-x86_64\codex.exe app-server", Some(Role::Editor("VS Code")));
        check("/Applications/Codex.app/Contents/Resources/codex app-server",   Some(Role::Desktop));
        check("/Applications/ChatGPT.app/Contents/Resources/codex-cli/codex app-server", Some(Role::Desktop));
        check(r"C:\WindowsApps\OpenAI.Codex_26.1_x64__abc\app\codex.exe app-server", Some(Role::Desktop));
        // Typed in the editor's terminal it is a session like any other.
        check(&ext("/h/.vscode", "exec hi"),                           Some(Role::Exec));
        check(&ext("/h/.vscode", "app-server --managed-daemon"),       Some(Role::Background));
    }

    #[test]
    #[rustfmt::skip]
    fn a_program_under_another_name_is_known_by_its_file() {
        let at = |file: &str, line: &str| codex(&words(line), Some(Path::new(file))).map(|codex| codex.role);
        assert_eq!(at("/x/codex", "cx exec hi"),                       Some(Role::Exec));
        assert_eq!(at("/x/codex (deleted)", "cx"),                     Some(Role::Tui));
        assert_eq!(at("/x/codex", "codex-linux-sandbox sh"),           None);
        assert_eq!(at("/x/codex", "/h/.codex/tmp/arg0/x/apply_patch"), None);
        assert_eq!(at("/usr/bin/node", "node /usr/bin/codex"),         Some(Role::Tui));
        assert_eq!(at("/usr/bin/sleep", "sleep 9"),                    None);
        assert_eq!(at("/usr/bin/codex-manager", "cm list"),            None);
        let place = "/h/.cursor/extensions/openai.chatgpt-1/bin/codex (deleted)";
        assert_eq!(at(place, "codex app-server"),                      Some(Role::Editor("Cursor")));
    }

    #[test]
    fn what_npm_installs_is_told_from_the_program_it_starts() {
        let is_script = |line: &str| codex(&words(line), None).unwrap().is_script;
        assert!(is_script("node /usr/bin/codex exec hi"));
        assert!(!is_script("/usr/lib/x/bin/codex exec hi"));
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[track_caller]
    fn check(line: &str, expected: Option<Role>) {
        assert_eq!(codex(&words(line), None).map(|codex| codex.role), expected, "{line:?}");
    }
}
