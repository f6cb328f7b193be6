//! Which processes does Windows list that use the home?
//!
//! The Restart Manager, which installers ask, tells who has a file open. It is asked for the
//! files that every Codex has open. Command lines and environments of others are not shown, so
//! an editor or the desktop app is known by where its Codex lies, and the rest is `codex`. Who has
//! a file open only to read it counts too: it would be in the way of replacing it.

use std::path::{Path, PathBuf};

use chrono::DateTime;

use super::{Evidence, Holder, Holders, Place, Role, binary};

/// Seconds from the beginning of 1601, where Windows starts to count, to that of 1970.
const EPOCH: u64 = 11_644_473_600;

pub(super) fn holders(place: &Place) -> Holders {
    let files = place.telling_files();
    if files.is_empty() {
        return Holders::default();
    }
    let Some(users) = ask(&files) else {
        return Holders { is_unknown: true, ..Holders::default() };
    };
    let mut found: Vec<Holder> =
        users.into_iter().filter(|user| user.pid != place.own).map(User::holder).collect();
    found.sort_by_key(|holder| holder.pid);
    found.dedup_by_key(|holder| holder.pid);
    Holders { found, ..Holders::default() }
}

/// A process that has one of the files open.
struct User {
    pid: u32,
    /// When it began, in tenths of a microsecond since 1601.
    began: u64,
    /// What the system calls it.
    name: String,
}

impl User {
    fn holder(self) -> Holder {
        let program = call::program(self.pid).map(PathBuf::from);
        let role = program.as_deref().and_then(binary::role_by_program);
        let named = || {
            let leaf = program.as_deref().and_then(Path::file_name);
            leaf.map_or(self.name, |leaf| leaf.to_string_lossy().into_owned())
        };
        let seconds = (self.began / 10_000_000).checked_sub(EPOCH);
        let since = seconds.and_then(|seconds| i64::try_from(seconds).ok());
        Holder {
            pid: self.pid,
            program: if role.is_none() { Some(named()) } else { None },
            role: role.unwrap_or(Role::Other),
            since: since.and_then(|since| DateTime::from_timestamp(since, 0)),
            evidence: vec![Evidence::OpenFile],
        }
    }
}

/// Asks in a session of the Restart Manager, which is ended again; `None` if it does not answer.
fn ask(files: &[PathBuf]) -> Option<Vec<User>> {
    let session = call::Session::start()?;
    session.register(files)?;
    session.users()
}

/// The calls themselves, one place for each.
#[allow(unsafe_code)]
mod call {
    use std::os::windows::ffi::OsStrExt as _;
    use std::path::PathBuf;

    use windows_sys::Win32::Foundation::{CloseHandle, ERROR_MORE_DATA, ERROR_SUCCESS};
    use windows_sys::Win32::System::RestartManager::{
        CCH_RM_SESSION_KEY, RM_PROCESS_INFO, RmEndSession, RmGetList, RmRegisterResources,
        RmStartSession,
    };
    use windows_sys::Win32::System::Threading::{
        OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION,
        QueryFullProcessImageNameW,
    };

    use super::User;

    /// How often the list is asked for anew because it grew meanwhile.
    const ATTEMPTS: usize = 5;

    /// The longest path that a program is asked for, in UTF-16 units.
    const PATH: u32 = 32_768;

    /// A session of the Restart Manager, which ends when it is dropped.
    pub(super) struct Session(u32);

    impl Session {
        pub(super) fn start() -> Option<Self> {
            let mut session = 0;
            // A key of that many characters and a zero behind it is written there.
            let mut key = vec![0_u16; usize::try_from(CCH_RM_SESSION_KEY).ok()? + 1];
            // SAFETY: both point to memory of ours that is as large as is written to, and lives
            // until the call returns.
            let answer = unsafe { RmStartSession(&raw mut session, 0, key.as_mut_ptr()) };
            (answer == ERROR_SUCCESS).then_some(Self(session))
        }

        /// Names the files that are asked about.
        pub(super) fn register(&self, files: &[PathBuf]) -> Option<()> {
            let names: Vec<Vec<u16>> = files
                .iter()
                .map(|file| file.as_os_str().encode_wide().chain([0]).collect())
                .collect();
            let pointers: Vec<*const u16> = names.iter().map(|name| name.as_ptr()).collect();
            let count = u32::try_from(pointers.len()).ok()?;
            // SAFETY: `count` pointers to texts of ours that end in zero and live until the call
            // returns; of programs and services there are none.
            let answer = unsafe {
                RmRegisterResources(
                    self.0,
                    count,
                    pointers.as_ptr(),
                    0,
                    std::ptr::null(),
                    0,
                    std::ptr::null(),
                )
            };
            (answer == ERROR_SUCCESS).then_some(())
        }

        /// Who has one of them open.
        pub(super) fn users(&self) -> Option<Vec<User>> {
            let mut list: Vec<RM_PROCESS_INFO> = Vec::new();
            for _ in 0..ATTEMPTS {
                let (mut needed, mut reasons) = (0, 0);
                let mut count = u32::try_from(list.len()).ok()?;
                // SAFETY: `list` has room for the `count` entries that may be written, and all
                // four live until the call returns.
                let answer = unsafe {
                    RmGetList(
                        self.0,
                        &raw mut needed,
                        &raw mut count,
                        list.as_mut_ptr(),
                        &raw mut reasons,
                    )
                };
                match answer {
                    ERROR_SUCCESS => {
                        list.truncate(usize::try_from(count).ok()?);
                        return Some(list.iter().map(user).collect());
                    }
                    ERROR_MORE_DATA => {
                        list.resize(usize::try_from(needed).ok()?, RM_PROCESS_INFO::default());
                    }
                    _ => return None,
                }
            }
            None
        }
    }

    impl Drop for Session {
        fn drop(&mut self) {
            // SAFETY: the session was started and is ended only here.
            let _ended = unsafe { RmEndSession(self.0) };
        }
    }

    fn user(info: &RM_PROCESS_INFO) -> User {
        let began = info.Process.ProcessStartTime;
        User {
            pid: info.Process.dwProcessId,
            began: u64::from(began.dwHighDateTime) << 32 | u64::from(began.dwLowDateTime),
            name: text(&info.strAppName),
        }
    }

    /// The file that a process was started from.
    pub(super) fn program(pid: u32) -> Option<String> {
        // SAFETY: plain numbers; the answer is checked.
        let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
        if process.is_null() {
            return None;
        }
        let mut path = vec![0_u16; usize::try_from(PATH).ok()?];
        let mut length = PATH;
        // SAFETY: an open process, and memory of ours for `length` units.
        let answer = unsafe {
            QueryFullProcessImageNameW(
                process,
                PROCESS_NAME_WIN32,
                path.as_mut_ptr(),
                &raw mut length,
            )
        };
        // SAFETY: the process was opened above and is closed only here.
        let _closed = unsafe { CloseHandle(process) };
        (answer != 0).then(|| text(&path))
    }

    /// A text up to its zero.
    fn text(units: &[u16]) -> String {
        let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        String::from_utf16_lossy(units.get(..end).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::home::CodexHome;

    #[test]
    fn who_has_a_file_of_the_home_open_is_found() {
        let home = tempfile::tempdir().unwrap();
        let root = crate::disk::read::resolved(home.path());
        let place = |own| Place::new(&CodexHome::at(root.clone()), None, own);
        assert_eq!(holders(&place(0)).found, []);
        let file = std::fs::File::create(root.join("state_5.sqlite")).unwrap();
        let own = std::process::id();
        let found = holders(&place(0)).found;
        assert_eq!(
            found.iter().map(|found| (found.pid, found.role)).collect::<Vec<_>>(),
            [(own, Role::Other)]
        );
        assert_eq!(holders(&place(own)).found, []);
        drop(file);
    }
}
