//! How is a file named to SQLite when options go with the name?
//!
//! Every byte that could mean something in a URI is escaped, also those that are not UTF-8.

use std::fmt::Write as _;
use std::path::Path;

/// The URI of a file with its parameters, such as `mode=ro`.
pub(super) fn of(path: &Path, parameters: &str) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from(if cfg!(windows) { "file:///" } else { "file://" });
    for byte in absolute.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*byte));
            }
            b'\\' if cfg!(windows) => uri.push('/'),
            b':' if cfg!(windows) => uri.push(':'),
            byte => {
                let _infallible = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri + "?" + parameters
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn no_byte_of_a_path_means_anything_in_the_uri() {
        check(b"/a/b-c_d.sqlite",       "file:///a/b-c_d.sqlite?mode=ro");
        check(b"/a b?mode=rw#x%41&y=z", "file:///a%20b%3Fmode%3Drw%23x%2541%26y%3Dz?mode=ro");
        check(b"/\xff\xc3\xa4",         "file:///%FF%C3%A4?mode=ro");
        check(b"//host/a",              "file:////host/a?mode=ro");
    }

    #[track_caller]
    fn check(path: &[u8], expected: &str) {
        assert_eq!(of(Path::new(OsStr::from_bytes(path)), "mode=ro"), expected);
    }
}
