//! Which files are locked, and by whom?
//!
//! The text of `/proc/locks`, which every user may read: it tells of processes whose open files
//! are not shown. Nothing is locked to find out, so nobody is disturbed.

/// A lock on a whole file or on a part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileLock {
    /// Who took it; `None` where the system does not name the process, as for one in a container.
    pub(super) pid: Option<u32>,
    /// The device of the file, major and minor number.
    pub(super) device: (u32, u32),
    /// The number of the file on it.
    pub(super) inode: u64,
}

/// Reads the list. Those who only wait for a lock are left out, and so is what is not understood:
/// this is one of several ways to find out.
pub(super) fn parse(text: &str) -> Vec<FileLock> {
    text.lines().filter_map(line).collect()
}

/// `1: POSIX  ADVISORY  READ 32730 fe:00:11051241 128 128`
fn line(line: &str) -> Option<FileLock> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? == "->" {
        return None;
    }
    let pid = words.nth(2)?;
    let mut file = words.next()?.split(':');
    let major = u32::from_str_radix(file.next()?, 16).ok()?;
    let minor = u32::from_str_radix(file.next()?, 16).ok()?;
    let inode = file.next()?.parse().ok()?;
    // 0 and -1 stand for nobody in particular.
    let pid = pid.parse().ok().filter(|pid| *pid != 0);
    Some(FileLock { pid, device: (major, minor), inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_line_names_the_file_and_who_took_the_lock() {
        let lock = |pid| Some(FileLock { pid, device: (0xfe, 0), inode: 11_051_241 });
        check("1: POSIX  ADVISORY  READ 32730 fe:00:11051241 128 128",  lock(Some(32_730)));
        check("2: FLOCK  ADVISORY  WRITE 7 fe:00:11051241 0 EOF",       lock(Some(7)));
        check("3: OFDLCK ADVISORY  READ -1 fe:00:11051241 0 EOF",       lock(None));
        check("4: FLOCK  ADVISORY  WRITE 0 fe:00:11051241 0 EOF",       lock(None));
        check("2: -> FLOCK  ADVISORY  WRITE 8 fe:00:11051241 0 EOF",    None); // it waits
        check("5: LEASE  ACTIVE    READ",                               None);
        check("",                                                       None);
    }

    #[track_caller]
    fn check(text: &str, expected: Option<FileLock>) {
        assert_eq!(parse(text), expected.into_iter().collect::<Vec<_>>(), "{text:?}");
    }
}
