//! Ways on a real filesystem.
//!
//! Hazard: what is judged is not what is opened. As root these make directories of others; otherwise what they can.

use std::fs::{Permissions, create_dir, create_dir_all, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};

use rustix::fs::{XattrFlags, setxattr};
use tempfile::TempDir;

use super::*;

const APP: u32 = 61_001;
const MALLORY: u32 = 61_666;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A scratch directory in which nothing is a link.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir_in(std::env::temp_dir().canonicalize().unwrap()).unwrap())
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    fn make(&self, relative: &str, mode: u32, owner: Option<u32>) -> PathBuf {
        let path = self.path(relative);
        create_dir_all(&path).unwrap();
        chown(&path, owner, owner).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn find(&self, relative: &str) -> SourcePath {
        SourcePath::find(self.path(relative), false)
    }

    fn refusal(&self, relative: &str) -> String {
        self.find(relative).open().unwrap_err().to_string()
    }
}

fn inode(directory: impl AsFd) -> u64 {
    fstat(directory).unwrap().st_ino
}

#[test]
fn links_of_ones_own_are_resolved_once_and_the_directory_is_opened() {
    let site = Site::new();
    site.make("real/config", 0o700, None);
    symlink("real", site.path("relative")).unwrap();
    symlink(site.path("real"), site.path("absolute")).unwrap();
    symlink("../relative/config", site.path("real/again")).unwrap();
    let expected = site.path("real/config").metadata().unwrap().ino();
    for path in ["real/config", "relative/config", "absolute/config", "real/again", "real/../real/./config"] {
        let source = site.find(path);
        assert_eq!((source.written(), source.real()), (&*site.path(path), &*site.path("real/config")), "{path}");
        assert_eq!(inode(source.open().unwrap()), expected, "{path}");
    }
    symlink("loop", site.path("loop")).unwrap();
    assert!(matches!(site.find("loop").open(), Err(SourcePathError::Io { .. })));
    symlink("nowhere/x", site.path("dangling")).unwrap();
    let dangling = site.find("dangling/../y");
    assert_eq!(dangling.real(), site.path("nowhere/y"));
    assert!(dangling.open().unwrap_err().is_missing());
    assert_eq!(SourcePath::find("/".into(), false).real(), Path::new("/"));
}

#[test]
fn a_link_that_leads_elsewhere_than_it_did_is_not_followed_until_the_settings_are_loaded_again() {
    let site = Site::new();
    for release in ["1", "2"] {
        site.make(release, 0o755, None);
    }
    let current = site.path("current");
    symlink("1", &current).unwrap();
    let source = site.find("current");
    source.open().unwrap();
    std::fs::remove_file(&current).unwrap();
    symlink("2", &current).unwrap();
    let refused = source.open().unwrap_err();
    assert!(refused.is_distrust() && refused.to_string().contains("/2 now, and led to"), "{refused}");
    assert_eq!(inode(site.find("current").open().unwrap()), site.path("2").metadata().unwrap().ino());
    // The same of a directory that became a link, though it is one's own.
    let source = site.find("1");
    std::fs::rename(site.path("1"), site.path("3")).unwrap();
    symlink("2", site.path("1")).unwrap();
    assert!(matches!(source.open(), Err(SourcePathError::Moved { .. })));
}

#[test]
fn what_is_missing_is_made_and_what_is_made_anew_is_used() {
    let site = Site::new();
    let source = site.find("a/b/c");
    assert!(source.open().unwrap_err().is_missing());
    source.check().unwrap();
    assert_eq!(source.open_nearest().unwrap().path(), site.path(""));
    let made = inode(source.open_or_make().unwrap());
    assert_eq!(made, site.path("a/b/c").metadata().unwrap().ino());
    assert_eq!(inode(source.open_or_make().unwrap()), made);
    std::fs::rename(site.path("a/b/c"), site.path("a/b/d")).unwrap();
    assert!(source.open().unwrap_err().is_missing());
    create_dir(site.path("a/b/c")).unwrap();
    assert_ne!(inode(source.open().unwrap()), made);
    std::fs::remove_dir(site.path("a/b/c")).unwrap();
    std::fs::File::create(site.path("a/b/c")).unwrap();
    let refused = site.refusal("a/b/c");
    assert!(refused.contains("is not a directory"), "{refused}");
    let refused = site.refusal("a/b/c/d");
    assert!(refused.contains("is not a directory") && refused.contains("a/b/c is none"), "{refused}");
}

#[test]
fn what_root_makes_is_the_owner_s_of_the_directory_that_it_is_made_in() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.make("home", 0o755, Some(APP));
    let source = site.find("home/.config/app");
    source.open_or_make().unwrap();
    for path in ["home/.config", "home/.config/app"] {
        assert_eq!(site.path(path).metadata().unwrap().uid(), APP, "{path}");
    }
    source.open().unwrap();
}

#[test]
fn what_is_held_open_stays_what_it_was_wherever_it_is_moved() {
    let site = Site::new();
    site.make("source", 0o700, None);
    let open = site.find("source").open().unwrap();
    let before = inode(&open);
    std::fs::rename(site.path("source"), site.path("moved")).unwrap();
    symlink("/etc", site.path("source")).unwrap();
    assert_eq!(inode(open.try_clone().unwrap()), before);
    assert_eq!(std::fs::metadata(open.path_by_descriptor()).unwrap().ino(), before);
}

#[test]
fn ordinary_places_can_be_used() {
    let site = Site::new();
    let owner = is_root().then_some(APP);
    for (parent, mode) in [("private", 0o700), ("open", 0o755)] {
        site.make(parent, mode, owner);
        site.make(&format!("{parent}/config"), 0o700, owner);
        site.find(&format!("{parent}/config")).open().unwrap();
    }
    // Whoever can write in the source can change what is in it, and nothing else.
    site.make("wide", 0o777, owner);
    site.find("wide").open().unwrap();
    for place in ["/etc", "/usr/share/doc", "/var/lib", "/proc/self/fdinfo"] {
        SourcePath::find(place.into(), false).open().unwrap_or_else(|refused| panic!("{place}: {refused}"));
    }
}

#[test]
fn a_directory_that_strangers_can_write_is_named_with_its_mode_and_what_to_do() {
    let site = Site::new();
    site.make("shared/app", 0o755, None);
    site.make("shared", 0o777, None);
    let refused = site.refusal("shared/app");
    let shared = site.path("shared").display().to_string();
    assert!(refused.contains(&format!("{shared} (")) && refused.contains("mode 0777) can be written by everybody"));
    assert!(refused.contains(&format!("chmod o-w {shared}, or say trust_parents = true")), "{refused}");
    assert_eq!(refused.lines().count(), 1);
    SourcePath::find(site.path("shared/app"), true).open().unwrap();
    // Not there yet, either.
    assert!(site.refusal("shared/none").contains("can be written by everybody"));
    assert!(site.find("shared/none").open_or_make().unwrap_err().is_distrust());
    assert!(!site.path("shared/none").exists());
    // The bits of the group are those of an ACL where there is one.
    site.make("listed/app", 0o755, None);
    let listed = site.make("listed", 0o775, None);
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let entries = [(1, 7, none), (2, 7, MALLORY), (4, 5, none), (0x10, 7, none), (0x20, 5, none)];
    let entries = entries.map(|(tag, permissions, id)| entry(tag, permissions, id)).concat();
    let acl = [&2u32.to_le_bytes()[..], &entries].concat();
    if setxattr(&listed, "system.posix_acl_access", &acl, XattrFlags::empty()).is_ok() {
        let refused = site.refusal("listed/app");
        assert!(refused.contains(&format!("setfacl -x u:{MALLORY} ")), "{refused}");
    }
}

#[test]
fn strangers_directories_and_links_do_not_count() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    // A stranger's directory above it, and one above that.
    site.make("theirs/app", 0o755, None);
    site.make("theirs", 0o755, Some(MALLORY));
    let refused = site.refusal("theirs/app");
    assert!(refused.contains(&format!("belongs to uid {MALLORY}")) && refused.contains("chown root"), "{refused}");
    // The owner of the source may own what is above it.
    site.make("theirs/app", 0o755, Some(MALLORY));
    site.find("theirs/app").open().unwrap();
    // A stranger's link, wherever it is on the way.
    site.make("real/config", 0o755, None);
    for link in ["theirs/link", "link"] {
        symlink(site.path("real"), site.path(link)).unwrap();
        lchown(site.path(link), Some(MALLORY), None).unwrap();
        let refused = site.refusal(&format!("{link}/config"));
        assert!(refused.contains(&format!("{link}, which belongs to uid {MALLORY}")), "{refused}");
        let trusting = SourcePath::find(site.path(link).join("config"), true).open().unwrap_err();
        assert!(matches!(trusting, SourcePathError::StrangersLink { .. }), "{trusting}");
    }
    // One of root's in a directory where a stranger can replace it.
    symlink(site.path("real"), site.path("theirs/of-root")).unwrap();
    assert!(site.refusal("theirs/of-root/config").contains("belongs to uid"));
    // In a sticky directory a stranger's directory does not count.
    site.make("tmp", 0o1777, None);
    site.make("tmp/squatted/app", 0o755, Some(MALLORY));
    site.make("tmp/squatted", 0o755, Some(MALLORY));
    for path in ["tmp/squatted", "tmp/squatted/app"] {
        assert!(site.refusal(path).contains("lets others put something there"), "{path}");
    }
    site.make("tmp/ours", 0o755, None);
    site.find("tmp/ours").open().unwrap();
}
