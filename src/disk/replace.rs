//! How does a file get its new content without ever being half of it?
//!
//! Written beside its place under a name nobody else uses, synced, renamed, and its folder
//! synced: whoever looks sees the old bytes or the new ones. Owner-only from the first moment.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::early::Early;
use super::error::{At, DiskError, Result};
use super::sys::Output;
use super::{read, sys};

/// How every reserved name begins; 16 hexadecimal digits and an ending follow.
pub const TEMP_PREFIX: &str = ".codex-manager-";

/// How the name of a file under construction ends.
pub const TEMP_SUFFIX: &str = ".tmp";

/// How the name of a folder under construction ends.
pub const STAGING_SUFFIX: &str = ".staging";

/// How the name of something ends that is being deleted.
const GONE_SUFFIX: &str = ".gone";

/// What may happen to a file that already has the name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overwrite {
    /// Nothing: it is an error of the kind `AlreadyExists`.
    Never,
    /// It gives way, in the same instant.
    Replace,
}

/// A file that has no name of its own yet; dropped without [`NewFile::commit`] it is gone.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    /// Where the next byte goes, and the furthest that was ever written.
    at: u64,
    end: u64,
    /// Set if the disk is to begin with it before it is complete.
    early: Option<Early>,
    named: bool,
}

impl NewFile {
    /// Creates an empty file in `dir`, 0600, under an unpredictable reserved name.
    ///
    /// # Errors
    ///
    /// When `dir` does not exist or cannot be written.
    pub fn create_in(dir: &Path) -> Result<Self> {
        loop {
            match Self::create_as(Self::name_in(dir)?) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
    }

    /// A reserved name in `dir` for [`NewFile::create_as`]: so that a journal can tell of a file
    /// before it is there.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub fn name_in(dir: &Path) -> Result<PathBuf> {
        Ok(dir.join(reserved_name(TEMP_SUFFIX).at("write", dir)?))
    }

    /// Creates an empty file, 0600, under a name of [`NewFile::name_in`].
    ///
    /// # Errors
    ///
    /// When its folder does not exist or cannot be written.
    pub fn create_as(path: PathBuf) -> Result<Self> {
        let file = sys::create_new(&path).at("create a file in", parent(&path))?;
        Ok(Self { file, path, at: 0, end: 0, early: None, named: false })
    }

    /// Lets the disk begin with a large file before it is complete.
    #[must_use]
    pub fn synced_early(mut self) -> Self {
        self.early = Some(Early::default());
        self
    }

    /// The reserved name it has for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, to read what was written.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reserves room for `len` bytes, so that a full disk shows before the work is done. The
    /// length of the file does not change; a file system that cannot do this is fine.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn preallocate(&self, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        sys::preallocate(&self.file, len).at("reserve room for", &self.path)
    }

    /// Checks the length and syncs it under the reserved name, which it keeps: for a journal that
    /// tells what becomes of it. Without one the next sweep removes it. Answers the name.
    ///
    /// # Errors
    ///
    /// When the disk refuses; the file is gone then.
    pub fn keep(mut self) -> Result<PathBuf> {
        self.settle().at("write", &self.path)?;
        sync_dir(parent(&self.path))?;
        self.named = true;
        Ok(self.path.clone())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.early.take().map_or(Ok(()), |mut early| early.finish())?;
        let size = self.file.metadata()?.len();
        if size != self.end {
            let what = format!("{} bytes were written and {size} are there", self.end);
            return Err(io::Error::other(what));
        }
        sys::sync(&self.file)
    }

    /// Checks the length, syncs, gives it the name `to` (on the same file system) and syncs the
    /// folder. On return it would survive a power cut.
    ///
    /// # Errors
    ///
    /// Nothing has the new name and the file is gone, unless it replaced another one and only the
    /// last step, syncing the folder, failed: then it has the name, and a power cut may bring the
    /// other one back.
    pub fn commit(mut self, to: &Path, overwrite: Overwrite) -> Result<()> {
        self.settle().at("write", to)?;
        match overwrite {
            Overwrite::Replace => sys::rename(&self.path, to).at("write", to)?,
            Overwrite::Never => rename_without_replacing(&self.path, to).at("write", to)?,
        }
        self.named = true;
        let synced = sync_dir(parent(to));
        if synced.is_err() && overwrite == Overwrite::Never {
            // Nothing had the name before, so nothing has it again. If this fails too, it does.
            let _still_there = sys::remove_file(to);
        }
        synced
    }
}

impl Read for NewFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(bytes)?;
        self.at = self.at.saturating_add(to_u64(count));
        Ok(count)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = Output(&self.file).write(bytes)?;
        self.at = self.at.saturating_add(to_u64(count));
        self.end = self.end.max(self.at);
        if let Some(early) = &mut self.early {
            early.wrote(&self.file, to_u64(count));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.named {
            // If this fails, the next start finds the name in `litter`.
            let _left_behind = sys::remove_file(&self.path);
        }
    }
}

/// Replaces the content of `path`, or creates it, atomically and durably; the mode is 0600.
///
/// A symbolic link at `path` would be replaced itself: resolve it first to keep it.
///
/// # Errors
///
/// `path` is as it was, unless only syncing the folder failed (see [`NewFile::commit`]).
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, bytes, Overwrite::Replace)
}

/// Like [`write()`], for a name that must not be taken yet.
///
/// # Errors
///
/// As [`write()`]; of the kind `AlreadyExists` if something has the name.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, bytes, Overwrite::Never)
}

/// Appends `line`, which is given without its newline; else as [`append_lines`].
///
/// # Errors
///
/// When `line` holds a newline; else as [`append_lines`].
pub fn append(path: &Path, line: &[u8]) -> Result<()> {
    if line.contains(&b'\n') {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "a line must not hold a newline");
        return Err(DiskError::new("append to", path, source));
    }
    append_lines(path, &[line, b"\n"].concat())
}

/// Appends whole lines, each with its newline, in one write and syncs; creates the file (0600) if
/// need be.
///
/// The caller holds the lock: two appenders would not mix
/// their lines, but a failed append is taken back by cutting the file to its former length.
///
/// # Errors
///
/// When the file ends in an unfinished line (ask [`truncate_torn_tail`] first), or when it cannot
/// be written.
pub fn append_lines(path: &Path, lines: &[u8]) -> Result<()> {
    let (mut file, created) = open_for_appending(path)?;
    let before = file.metadata().at("append to", path)?.len();
    if read::after_last_newline(&mut file, before).at("append to", path)? != before {
        let source = io::Error::new(io::ErrorKind::InvalidData, "its last line is unfinished");
        return Err(DiskError::new("append to", path, source));
    }
    if let Err(error) = Output(&file).write_all(lines).and_then(|()| sys::sync(&file)) {
        // Half a line would spoil the next one; if this fails too, the reader cuts it off.
        let _torn = sys::set_len(&file, before);
        return Err(DiskError::new("append to", path, error));
    }
    if created { sync_dir(parent(path)) } else { Ok(()) }
}

/// Cuts a file to its first `len` bytes and syncs.
///
/// # Errors
///
/// When it is no regular file, or the disk refuses.
pub fn cut(path: &Path, len: u64) -> Result<()> {
    let file = read::regular(sys::open_write(path)).at("cut", path)?;
    sys::set_len(&file, len).at("cut", path)?;
    sys::sync(&file).at("cut", path)
}

/// Cuts off the end of a file behind its last newline, answering how many bytes went.
///
/// `None` if the last line is whole, or there is no file.
///
/// # Errors
///
/// When it cannot be read or written.
pub fn truncate_torn_tail(path: &Path) -> Result<Option<u64>> {
    let opened = read::regular(sys::open_write(path)).at("repair", path);
    let Some(mut file) = read::absent_is_none(opened)? else {
        return Ok(None);
    };
    let size = file.metadata().at("repair", path)?.len();
    let whole = read::after_last_newline(&mut file, size).at("repair", path)?;
    if whole == size {
        return Ok(None);
    }
    sys::set_len(&file, whole).at("repair", path)?;
    sys::sync(&file).at("repair", path)?;
    Ok(Some(size.saturating_sub(whole)))
}

/// Creates a folder and what is missing above it, all 0700, and syncs what holds them.
///
/// Answers whether it had to. What is there already keeps its mode: see [`narrow`].
///
/// # Errors
///
/// When it cannot be created, or something that is not a folder has the name.
pub fn private_dir(path: &Path) -> Result<bool> {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut created = sys::create_dir(path);
    if created.as_ref().is_err_and(is_missing) && parent(path) != path {
        private_dir(parent(path))?;
        // Once more and not until it works: in /proc a folder is never found, however often.
        created = sys::create_dir(path);
    }
    match created {
        Ok(()) => match sync_dir(parent(path)) {
            Ok(()) => Ok(true),
            Err(error) => {
                let _left_behind = sys::remove_dir(path);
                Err(error)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if std::fs::metadata(path).at("create", path)?.is_dir() {
                return Ok(false);
            }
            let source = io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder");
            Err(DiskError::new("create", path, source))
        }
        Err(error) => Err(DiskError::new("create", path, error)),
    }
}

/// Takes the rights of group and others away from a file or folder (not through a link).
///
/// Answers the mode it had if that changed anything.
///
/// # Errors
///
/// When it cannot be opened, or belongs to somebody else.
pub fn narrow(path: &Path) -> Result<Option<u32>> {
    let file = sys::open_read(path).map_err(sys::explain_open).at("narrow", path)?;
    sys::narrow(&file).at("narrow", path)
}

/// Gives a file or folder a new name that must be free, and syncs both folders.
///
/// # Errors
///
/// Of the kind `AlreadyExists` if something has the name `to`; nothing has moved then.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    rename_without_replacing(from, to).at("rename to", to)?;
    sync_dir(parent(to))?;
    if parent(from) == parent(to) { Ok(()) } else { sync_dir(parent(from)) }
}

/// Gives a file a second name that must be free: a hard link, or a copy where the file system
/// has none. Whatever later takes the place of the first name does not touch it.
///
/// # Errors
///
/// Of the kind `AlreadyExists` if something has the name `to`; when `from` cannot be read.
pub fn keep_as(from: &Path, to: &Path) -> Result<()> {
    match sys::hard_link(from, to) {
        Ok(()) => sync_dir(parent(to)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(DiskError::new("keep as", to, error))
        }
        // Every system has its own way to say that it has no links here; a copy will do.
        Err(_) => copy_new(from, to),
    }
}

/// Gives a file the name `to`, whatever has it, and syncs both folders. Two names of one file
/// both stay.
///
/// # Errors
///
/// Nothing has moved, unless only syncing failed.
pub fn rename_over(from: &Path, to: &Path) -> Result<()> {
    sys::rename(from, to).at("rename to", to)?;
    sync_dir(parent(to))?;
    if parent(from) == parent(to) { Ok(()) } else { sync_dir(parent(from)) }
}

/// The first name beside `path` that nothing has: `PATH.WORD`, `PATH.WORD-2` and so on.
#[must_use]
pub fn free_beside(path: &Path, word: &str) -> PathBuf {
    let named = |tail: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(tail);
        PathBuf::from(name)
    };
    let further = (2_u32..).map(|number| format!(".{word}-{number}"));
    let mut names = std::iter::once(format!(".{word}")).chain(further).map(named);
    // The names never end, so one is free.
    names.find(|name| name.symlink_metadata().is_err()).unwrap_or_default()
}

/// Gives the regular file at `path` another time of change; a link is not followed.
///
/// # Errors
///
/// When it is no regular file of the user's, or the disk refuses.
pub fn date(path: &Path, modified: SystemTime) -> Result<()> {
    let file = sys::open_write(path).at("open", path)?;
    sys::set_modified(&file, modified).at("date", path)
}

/// Removes a file, or a link but not what it names, and syncs its folder. Answers whether it
/// was there.
///
/// # Errors
///
/// When it is there and cannot be removed.
pub fn remove_file(path: &Path) -> Result<bool> {
    removed(sys::remove_file(path), path)
}

/// Removes a folder and all that is in it, or a single file, and syncs what held it. Links are
/// removed, never followed, whoever exchanges names meanwhile. Answers whether it was there.
///
/// # Errors
///
/// When something in it cannot be removed; the rest may be gone by then.
pub fn remove_tree(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => removed(sys::remove_dir_all(path), path),
        Ok(_) => remove_file(path),
        Err(error) => removed(Err(error), path),
    }
}

/// Takes something out of its place in one step, under a reserved name in `dir` on the same file
/// system, where it may be deleted in peace. Answers that name; `None` if it is not there.
///
/// # Errors
///
/// When it cannot be moved; it is in its place then.
pub fn bury(path: &Path, dir: &Path) -> Result<Option<PathBuf>> {
    let grave = dir.join(reserved_name(GONE_SUFFIX).at("remove", path)?);
    match read::absent_is_none(rename_without_replacing(path, &grave).at("remove", path))? {
        None => Ok(None),
        Some(()) => {
            sync_dir(parent(path))?;
            Ok(Some(grave))
        }
    }
}

/// Whether something of this name was being deleted when a run was killed.
#[must_use]
pub fn is_buried(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| is_reserved(name) && name.ends_with(GONE_SUFFIX))
}

/// Makes a symbolic link to `target` (a path as it is written, not looked at) and syncs its
/// folder.
///
/// # Errors
///
/// When something has the name already, or the system has no such links.
pub fn link(target: &Path, at: &Path) -> Result<()> {
    sys::symlink(target, at).at("make a link at", at)?;
    sync_dir(parent(at))
}

/// Removes a folder that is empty, and syncs what held it. Answers whether it was there.
///
/// # Errors
///
/// When there is anything in it, or it cannot be removed; nothing has changed then.
pub fn remove_empty_dir(path: &Path) -> Result<bool> {
    removed(sys::remove_dir(path), path)
}

/// Makes what was created, renamed or removed in a folder survive a power cut.
///
/// # Errors
///
/// When it cannot be opened or synced; a file system that does not know how is fine.
pub fn sync_dir(dir: &Path) -> Result<()> {
    // A folder may be reached through a link; that is for whoever names it to decide.
    sys::open_read_following(dir).and_then(|file| sys::sync(&file)).at("sync", dir)
}

/// What lies in `dir` under a reserved name: files and folders that an interrupted run left.
///
/// Only while the lock is held are they surely nobody's. Sorted; empty if there is no `dir`.
///
/// # Errors
///
/// When `dir` cannot be listed.
pub fn litter(dir: &Path) -> Result<Vec<PathBuf>> {
    let Some(entries) = read::absent_is_none(sys::read_dir(dir).at("list", dir))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.at("list", dir)?;
        if entry.file_name().to_str().is_some_and(is_reserved) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the files under construction that an interrupted run left in `dir`, and nothing else:
/// regular files named exactly as ours are.
///
/// Only while the lock is held are they surely nobody's. Fine if there is no `dir`.
///
/// # Errors
///
/// When `dir` cannot be listed, or one of them cannot be removed.
pub fn remove_unfinished(dir: &Path) -> Result<()> {
    for path in litter(dir)?.into_iter().filter(|path| is_unfinished(path)) {
        remove_file(&path)?;
    }
    Ok(())
}

/// Whether this is a regular file named exactly as a file under construction is.
pub fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| is_reserved(name) && name.ends_with(TEMP_SUFFIX))
        && path.symlink_metadata().is_ok_and(|facts| facts.is_file())
}

/// A name that nobody else uses: the prefix, 64 random bits, and `suffix`.
pub(super) fn reserved_name(suffix: &str) -> io::Result<String> {
    let bits = getrandom::u64().map_err(io::Error::other)?;
    Ok(format!("{TEMP_PREFIX}{bits:016x}{suffix}"))
}

/// The folder that holds `path`; `.` for a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Whether a name is exactly of the form that [`reserved_name`] makes.
pub(crate) fn is_reserved(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(TEMP_PREFIX) else {
        return false;
    };
    let ends = [TEMP_SUFFIX, STAGING_SUFFIX, GONE_SUFFIX];
    let bits = ends.iter().find_map(|end| rest.strip_suffix(end));
    bits.is_some_and(|bits| {
        bits.len() == 16 && bits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn copy_new(from: &Path, to: &Path) -> Result<()> {
    let mut source = read::open_regular(from)?;
    let mut copy = NewFile::create_in(parent(to))?;
    io::copy(&mut source, &mut copy).at("copy", from)?;
    copy.commit(to, Overwrite::Never)
}

fn write_with(path: &Path, bytes: &[u8], overwrite: Overwrite) -> Result<()> {
    let mut new = NewFile::create_in(parent(path))?;
    new.write_all(bytes).at("write", path)?;
    new.commit(path, overwrite)
}

/// Opens for appending, answering whether the file is new.
fn open_for_appending(path: &Path) -> Result<(File, bool)> {
    let opened = read::regular(sys::open_append(path)).at("append to", path);
    match read::absent_is_none(opened)? {
        Some(file) => Ok((file, false)),
        // This descriptor need not append: it is empty, and the lock keeps others away.
        None => Ok((sys::create_new(path).at("append to", path)?, true)),
    }
}

fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match sys::rename_new(from, to) {
        Err(error) if sys::is_unsupported(&error) => rename_without_flags(from, to),
        other => other,
    }
}

/// What refuses a name that is taken where renaming does not.
fn rename_without_flags(from: &Path, to: &Path) -> io::Result<()> {
    if !from.symlink_metadata()?.is_dir() {
        // A hard link does; then the old name goes.
        sys::hard_link(from, to)?;
        return sys::remove_file(from).inspect_err(|_| {
            let _second_name = sys::remove_file(to);
        });
    }
    // A folder has no second name. What may come between these two steps is nothing to lose: a
    // folder never takes the place of a file, nor of a folder that holds anything.
    match to.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => sys::rename(from, to),
        Err(error) => Err(error),
    }
}

fn removed(result: io::Result<()>, path: &Path) -> Result<bool> {
    match read::absent_is_none(result.at("remove", path))? {
        Some(()) => sync_dir(parent(path)).map(|()| true),
        None => Ok(false),
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
