//! What lies in one folder, when it may be thousands of files?
//!
//! The folder is opened and listed once. What the system says of a file in it is asked through the
//! open folder, by one name: a path would be followed from the root each time.

use std::path::Path;

use super::error::{At, Result};
use super::facts::Facts;
use super::sys;

/// A folder, as it was listed.
#[derive(Debug)]
pub struct Folder {
    place: sys::Place,
    /// All names, one behind the other.
    text: String,
    /// Where each of them begins and ends, in bytewise order of the names.
    spans: Vec<(usize, usize)>,
}

/// What has a name, as far as it can be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// A regular file.
    File(Facts),
    /// Something else, such as a symbolic link.
    Other,
}

impl Folder {
    /// Lists a folder. Names that are not UTF-8 are passed over.
    ///
    /// # Errors
    ///
    /// When there is none, it is something else such as a link to one, or cannot be listed.
    pub fn list(path: &Path) -> Result<Self> {
        let place = sys::Place::open(path).map_err(sys::explain_open).at("list", path)?;
        let (mut text, mut found) = (String::new(), Vec::new());
        let listed = place.list(|name| {
            let from = text.len();
            text.push_str(name);
            found.push((beginning(name), (from, text.len())));
        });
        listed.at("list", path)?;
        let name = |(from, to): (usize, usize)| text.as_bytes().get(from..to);
        found.sort_unstable_by(|(one, here), (other, there)| {
            one.cmp(other).then_with(|| name(*here).cmp(&name(*there)))
        });
        let spans = found.into_iter().map(|(_, span)| span).collect();
        Ok(Self { place, text, spans })
    }

    /// The names, in bytewise order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.spans.iter().map(|span| self.name(span))
    }

    /// Whether something had this name when the folder was listed.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.spans.binary_search_by(|span| self.name(span).cmp(name)).is_ok()
    }

    /// What has this name now; `None` if nothing has, or the system does not tell.
    #[must_use]
    pub fn see(&self, name: &str) -> Option<Seen> {
        self.place.see(name).ok()
    }

    fn name(&self, &(from, to): &(usize, usize)) -> &str {
        self.text.get(from..to).unwrap_or_default()
    }
}

/// The first bytes of a name as a number, by which most names are in their order already: no other
/// memory has to be looked at.
fn beginning(name: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_folder_tells_its_names_in_order_and_of_each_what_its_path_tells() {
        let dir = tempfile::tempdir().unwrap();
        let long = "2026-11-21-100000-";
        let long = ["", "b", "a"].map(|end| format!("{long}{end}"));
        for name in long.iter().map(String::as_str).chain(["b", "a.tar.gz", "a", "ä", "a-"]) {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("c")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("d")).unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
        let folder = Folder::list(dir.path()).unwrap();
        let names: Vec<&str> = folder.names().collect();
        assert_eq!(names[..3], [&long[0], &long[2], &long[1]]);
        assert_eq!(names[3..], ["a", "a-", "a.tar.gz", "b", "c", "d", "ä"]);
        for name in names {
            assert!(folder.has(name));
            let facts = Facts::at(&dir.path().join(name)).ok().flatten();
            assert_eq!(folder.see(name), Some(facts.map_or(Seen::Other, Seen::File)), "{name}");
        }
        assert!(!folder.has("e"));
        assert_eq!(folder.see("e"), None);
        // What it tells of a name is as of now.
        fs::write(dir.path().join("b"), "longer").unwrap();
        assert!(matches!(folder.see("b"), Some(Seen::File(facts)) if facts.size == 6));
    }

    #[test]
    fn what_is_no_folder_or_a_link_to_one_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        for name in ["file", "link", "none"] {
            assert!(Folder::list(&dir.path().join(name)).is_err(), "{name}");
        }
    }
}
