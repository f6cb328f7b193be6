//! Is this file the program of Codex, and who brought it along?

use std::path::Path;

use super::Role;

/// The folders in which editors keep their extensions, and what people call the editors.
const EDITORS: [(&str, &str); 14] = [
    (".vscode", "VS Code"),
    (".vscode-insiders", "VS Code Insiders"),
    (".vscode-server", "VS Code (remote)"),
    (".vscode-server-insiders", "VS Code Insiders (remote)"),
    (".vscode-remote", "VS Code (remote)"),
    (".vscode-oss", "VSCodium"),
    (".vscodium-server", "VSCodium (remote)"),
    (".cursor", "Cursor"),
    (".cursor-server", "Cursor (remote)"),
    (".windsurf", "Windsurf"),
    (".windsurf-server", "Windsurf (remote)"),
    (".antigravity", "Antigravity"),
    (".trae", "Trae"),
    (".kiro", "Kiro"),
];

/// What a process is to a home by its file alone, where the system shows no command line; `None` if
/// it is no Codex.
#[cfg(any(windows, test))]
pub(super) fn role_by_program(program: &Path) -> Option<Role> {
    let is_it = leaf(program).is_some_and(is_codex);
    is_it.then(|| owner(program).unwrap_or(Role::Tui))
}

/// The last part of a program's path, without the ending it has on Windows and without the mark
/// that Linux puts behind a file that was deleted, as an update does with a program that runs.
pub(super) fn leaf(path: &Path) -> Option<&str> {
    let leaf = path.file_name()?.to_str()?;
    // A command line of Windows may be looked at anywhere.
    let leaf = leaf.rsplit('\\').next().unwrap_or(leaf);
    let leaf = leaf.strip_suffix(" (deleted)").unwrap_or(leaf);
    Some(leaf.strip_suffix(".exe").unwrap_or(leaf))
}

/// Whether a program of this name is Codex: `codex`, one of the programs that were split off it,
/// or either with the platform it was built for, as in a download. This program is not.
pub(super) fn is_codex(leaf: &str) -> bool {
    let Some(rest) = leaf.strip_prefix("codex") else { return false };
    let rest = ["-app-server", "-exec", "-tui", "-cli"]
        .iter()
        .find_map(|part| rest.strip_prefix(part))
        .unwrap_or(rest);
    rest.is_empty() || ["-x86_64-", "-aarch64-"].iter().any(|arch| rest.starts_with(arch))
}

/// The editor or app that brought its own Codex, by where the program lies.
pub(super) fn owner(program: &Path) -> Option<Role> {
    let text = program.to_str()?;
    let parts: Vec<&str> = text.split(['/', '\\']).collect();
    let is_app = |part: &&str| {
        let is_bundle = part.strip_suffix(".app");
        is_bundle.is_some_and(|name| name.starts_with("Codex") || name.starts_with("ChatGPT"))
            || part.starts_with("OpenAI.Codex_")
    };
    if parts.iter().any(is_app) {
        return Some(Role::Desktop);
    }
    let extension = parts.iter().position(|part| part.starts_with("openai.chatgpt-"))?;
    let above = parts.get(..extension)?;
    let known = EDITORS.iter().find(|(folder, _)| above.contains(folder));
    Some(Role::Editor(known.map_or("the editor", |(_, name)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn where_no_words_are_shown_the_file_has_to_do() {
        let by = |file: &str| role_by_program(Path::new(file));
        assert_eq!(by(r"C:\npm\codex-x86_64-pc-windows-msvc.exe"),                    Some(Role::Tui));
        assert_eq!(by(r"C:\u\.cursor\extensions\openai.chatgpt-1-win32-x64\bin\codex.exe"), Some(Role::Editor("Cursor")));
        assert_eq!(by(r"C:\Windows\SearchIndexer.exe"),                              None);
    }
}
