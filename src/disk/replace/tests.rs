//! Whether what is replaced, appended, created and removed is so whole, private and alone.

use std::fs;

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| name(e.unwrap())).collect();
    names.sort();
    names
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_file_is_replaced_whole_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    for content in ["long content", "short", ""] {
        write(&path, content.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(names(dir.path()), ["a"]);
}

#[test]
fn a_name_that_is_taken_stays_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    write_new(&a, b"first").unwrap();
    let error = write_new(&a, b"second").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    fs::write(&b, "other").unwrap();
    assert_eq!(rename_new(&b, &a).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"first".into(), b"other".into()));
    rename_new(&b, &dir.path().join("c")).unwrap();
    assert_eq!(names(dir.path()), ["a", "c"]);
}

#[test]
fn where_renaming_knows_no_flags_a_name_that_is_taken_stays_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, file) = (dir.path().join("folder"), dir.path().join("file"));
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("inside"), "").unwrap();
    fs::write(&file, "").unwrap();
    fs::create_dir(at("taken")).unwrap();
    fs::write(at("taken too"), "kept").unwrap();
    sys::faults::without_flags(|| {
        for from in [&folder, &file] {
            for to in ["taken", "taken too"] {
                let error = rename_new(from, &at(to)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{from:?} {to}");
            }
        }
        rename_new(&folder, &at("new folder")).unwrap();
        rename_new(&file, &at("new file")).unwrap();
        assert!(rename_new(&folder, &at("other")).is_err());
    });
    assert_eq!(names(dir.path()), ["new file", "new folder", "taken", "taken too"]);
    assert_eq!(names(&at("new folder")), ["inside"]);
    assert_eq!(fs::read(at("taken too")).unwrap(), b"kept");
}

#[test]
fn a_write_that_fails_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    assert!(write(&dir.path().join("folder"), b"x").is_err());
    assert!(write_new(&dir.path().join("folder"), b"x").is_err());
    assert!(write(&dir.path().join("none/a"), b"x").is_err());
    assert_eq!(names(dir.path()), ["folder"]);
}

#[test]
fn a_new_file_that_is_not_committed_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut new = NewFile::create_in(dir.path()).unwrap();
    new.write_all(b"half").unwrap();
    assert_eq!(litter(dir.path()).unwrap(), [new.path()]);
    drop(new);
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn a_new_file_may_go_back_and_mend_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let mut new = NewFile::create_in(dir.path()).unwrap();
    new.preallocate(1 << 20).unwrap();
    new.write_all(b"....content").unwrap();
    new.rewind().unwrap();
    new.write_all(b"head").unwrap();
    let mut rest = String::new();
    new.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "content");
    new.commit(&dir.path().join("a"), Overwrite::Never).unwrap();
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"headcontent");
}

#[test]
fn a_file_that_lost_bytes_meanwhile_gets_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut new = NewFile::create_in(dir.path()).unwrap();
    new.write_all(b"content").unwrap();
    fs::OpenOptions::new().write(true).open(new.path()).unwrap().set_len(3).unwrap();
    let error = new.commit(&dir.path().join("a"), Overwrite::Replace).unwrap_err();
    assert!(error.to_string().ends_with("7 bytes were written and 3 are there"), "{error}");
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn lines_are_appended_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    append(&path, b"{}").unwrap();
    append(&path, b"").unwrap();
    assert!(append(&path, b"a\nb").is_err());
    assert_eq!(fs::read(&path).unwrap(), b"{}\n\n");

    fs::write(&path, "{}\n{\"half").unwrap();
    assert!(append(&path, b"{}").unwrap_err().to_string().ends_with("is unfinished"));
    assert_eq!(truncate_torn_tail(&path).unwrap(), Some(6));
    assert_eq!(truncate_torn_tail(&path).unwrap(), None);
    append(&path, b"[]").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"{}\n[]\n");
    assert_eq!(truncate_torn_tail(&dir.path().join("none")).unwrap(), None);
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full_or_a_device_is_never_appended_to() {
    let error = append(Path::new("/dev/full"), b"{}").unwrap_err();
    assert!(error.to_string().starts_with("cannot append to /dev/full: "), "{error}");
    assert!(truncate_torn_tail(Path::new("/dev/null")).is_err());
}

#[test]
#[rustfmt::skip]
fn litter_is_what_has_exactly_our_form() {
    check_litter(".codex-manager-0123456789abcdef.tmp",     true);
    check_litter(".codex-manager-0123456789abcdef.staging", true);
    check_litter(".codex-manager-0123456789abcdef.aside",   false);
    check_litter(".codex-manager-0123456789abcdef",         false);
    check_litter(".codex-manager-0123456789ABCDEF.tmp",     false);
    check_litter(".codex-manager-0123456789abcde.tmp",      false);
    check_litter(".codex-manager-0123456789abcdef0.tmp",    false);
    check_litter(".codex-manager-notes.tmp",                false);
    check_litter("codex-manager-0123456789abcdef.tmp",      false);
    check_litter(".codex-manager-0123456789abcdef.tmp~",    false);
}

#[track_caller]
fn check_litter(name: &str, expected: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, "").unwrap();
    let expected = if expected { vec![path] } else { vec![] };
    assert_eq!(litter(dir.path()).unwrap(), expected);
}

#[test]
fn where_there_is_no_folder_there_is_no_litter() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(litter(&dir.path().join("none")).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn only_files_under_construction_are_removed_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at(".codex-manager-0123456789abcdef.tmp"), "").unwrap();
    let kept = [
        ".codex-manager-0123456789abcde0.staging",
        ".codex-manager-0123456789abcdee.tmp",
        ".codex-manager-notes.tmp",
        "state_5.sqlite",
    ];
    for (number, name) in kept.into_iter().enumerate() {
        if number < 2 {
            fs::create_dir(at(name)).unwrap();
        } else {
            fs::write(at(name), "").unwrap();
        }
    }
    remove_unfinished(dir.path()).unwrap();
    assert_eq!(names(dir.path()), kept);
    remove_unfinished(&at("none")).unwrap();
}

#[test]
fn removing_is_told_from_finding_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (a, tree) = (dir.path().join("a"), dir.path().join("tree"));
    fs::write(&a, "").unwrap();
    fs::create_dir_all(tree.join("x/y")).unwrap();
    fs::write(tree.join("x/y/z"), "").unwrap();
    assert!(remove_file(&a).unwrap() && !remove_file(&a).unwrap());
    assert!(remove_file(&tree).is_err());
    assert!(remove_tree(&tree).unwrap() && !remove_tree(&tree).unwrap());
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
#[cfg(unix)]
fn removing_a_tree_removes_links_and_not_what_they_name() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, tree) = (dir.path().join("kept"), dir.path().join("tree"));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("precious"), "").unwrap();
    fs::create_dir(&tree).unwrap();
    std::os::unix::fs::symlink(&kept, tree.join("link")).unwrap();
    std::os::unix::fs::symlink(&kept, dir.path().join("link")).unwrap();
    assert!(remove_tree(&tree).unwrap());
    assert!(remove_tree(&dir.path().join("link")).unwrap());
    assert_eq!((names(dir.path()), names(&kept)), (vec!["kept".into()], vec!["precious".into()]));
}

#[test]
#[cfg(unix)]
fn a_link_is_replaced_itself_and_never_appended_through() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, "target\n").unwrap();
    std::os::unix::fs::symlink("target", &link).unwrap();
    assert!(append(&link, b"x").unwrap_err().to_string().ends_with("symbolic link"));
    assert!(narrow(&link).is_err());
    write(&link, b"new").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"target\n");
    assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
#[cfg(unix)]
fn narrowing_takes_from_group_and_others_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "").unwrap();
    for (wide, narrowed, told) in
        [(0o644, 0o600, Some(0o644)), (0o755, 0o700, Some(0o755)), (0o600, 0o600, None)]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(wide)).unwrap();
        assert_eq!(narrow(&path).unwrap(), told);
        assert_eq!(mode(&path), narrowed);
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(narrow(dir.path()).unwrap(), Some(0o750));
}

#[test]
#[cfg(unix)]
fn folders_are_created_with_what_is_missing_above_them() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    assert!(private_dir(&deep).unwrap() && !private_dir(&deep).unwrap());
    for path in ["a", "a/b", "a/b/c"] {
        assert_eq!(mode(&dir.path().join(path)), 0o700);
    }
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(private_dir(&dir.path().join("file")).is_err());
    assert!(private_dir(&dir.path().join("file/below")).is_err());
}

/// The mask belongs to the process: a process of its own must have it.
#[test]
#[cfg(unix)]
fn modes_are_private_whatever_the_mask() {
    const PLACE: &str = "DISK_REPLACE_TEST_PLACE";
    if let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) {
        rustix::process::umask(rustix::fs::Mode::empty());
        private_dir(&place.join("a/b")).unwrap();
        write(&place.join("written"), b"x").unwrap();
        append(&place.join("appended"), b"x").unwrap();
        let staged = super::super::tree::staging_dir(&place.join("x")).unwrap();
        fs::rename(staged, place.join("staged")).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "disk::replace::tests::modes_are_private_whatever_the_mask"])
        .env(PLACE, dir.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let found = ["a", "a/b", "staged", "written", "appended"].map(|p| mode(&dir.path().join(p)));
    assert_eq!(found, [0o700, 0o700, 0o700, 0o600, 0o600]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_where_nothing_can_be_made_is_an_error() {
    let error = private_dir(Path::new("/proc/codex-manager/folder")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_file_that_is_kept_under_a_second_name_outlives_its_first() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    write(&first, b"old").unwrap();
    keep_as(&first, &second).unwrap();
    write(&first, b"new").unwrap();
    assert_eq!(fs::read(&second).unwrap(), b"old");
    // A name that is taken stays as it is, also where a copy is made.
    assert_eq!(keep_as(&first, &second).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(copy_new(&first, &second).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&second).unwrap(), b"old");
    assert!(keep_as(&dir.path().join("none"), &dir.path().join("third")).is_err());

    let third = dir.path().join("third");
    copy_new(&first, &third).unwrap();
    rename_over(&third, &second).unwrap();
    assert_eq!((fs::read(&second).unwrap(), third.exists()), (b"new".to_vec(), false));
    // Two names of one file both stay.
    keep_as(&first, &third).unwrap();
    rename_over(&third, &first).unwrap();
    assert!(third.exists() && first.exists());
}
