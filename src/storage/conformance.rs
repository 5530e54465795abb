//! What every disk and every storage must do, run on each of them.
//!
//! Hazard: a simulated disk that behaves otherwise than a real one proves nothing about the real one.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::disk::{Disk, DiskKind};
use super::faulty::Simulated;
use super::local::Local;
use super::real_disk::RealDisk;
use super::syncer::Syncer;
use super::{Durability, Put, Storage, StorageErrorKind, StoragePath};
use crate::core::Timestamp;

fn path(text: &str) -> StoragePath {
    StoragePath::new(text).unwrap()
}

/// Calls `check` with every kind of disk, each empty.
fn on_every_disk(check: impl Fn(&dyn Disk)) {
    check(&Simulated::new());
    let scratch = TempDir::new().unwrap();
    check(&RealDisk::open(scratch.path()).unwrap());
    let scratch = TempDir::new().unwrap();
    check(&RealDisk::open_walking(scratch.path()).unwrap());
}

fn write(disk: &dyn Disk, name: &str, bytes: &[u8]) {
    disk.create(Path::new(name), 0o600).unwrap().write_all(bytes).unwrap();
}

fn content(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let mut buffer = [0; 100];
    let count = disk.read_at(Path::new(name), 0, &mut buffer).unwrap();
    buffer[..count].to_vec()
}

fn kind_of<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn a_disk_file_holds_what_was_appended_and_is_read_from_any_offset() {
    on_every_disk(|disk| {
        let mut file = disk.create(Path::new("f"), 0o600).unwrap();
        file.write_all(b"0123").unwrap();
        file.write_all(b"456789").unwrap();
        file.set_mode(0o640).unwrap();
        file.set_modified(Timestamp::from_nanoseconds(1_500_000_000)).unwrap();
        file.sync().unwrap();
        disk.sync_file(Path::new("f")).unwrap();
        disk.sync_directory(Path::new("")).unwrap();
        let mut buffer = [0; 4];
        for (offset, expected) in [(0, "0123"), (7, "789"), (10, ""), (u64::from(u32::MAX), "")] {
            let count = disk.read_at(Path::new("f"), offset, &mut buffer).unwrap();
            assert_eq!(&buffer[..count], expected.as_bytes());
        }
        let metadata = disk.metadata(Path::new("f")).unwrap();
        assert_eq!((metadata.kind, metadata.size_bytes, metadata.mode), (DiskKind::File, 10, 0o640));
    });
}

#[test]
fn a_disk_creates_nothing_over_something() {
    on_every_disk(|disk| {
        write(disk, "f", b"one");
        disk.create_directory(Path::new("d"), 0o700).unwrap();
        for taken in ["f", "d"] {
            assert_eq!(kind_of(disk.create(Path::new(taken), 0o600)), ErrorKind::AlreadyExists);
            assert_eq!(kind_of(disk.create_directory(Path::new(taken), 0o700)), ErrorKind::AlreadyExists);
        }
        assert_eq!(content(disk, "f"), b"one");
    });
}

#[test]
fn a_disk_renames_onto_a_file_only_when_told_to() {
    on_every_disk(|disk| {
        disk.create_directory(Path::new("d"), 0o700).unwrap();
        write(disk, "a", b"a");
        write(disk, "d/b", b"b");
        assert_eq!(kind_of(disk.rename_new(Path::new("a"), Path::new("d/b"))), ErrorKind::AlreadyExists);
        assert_eq!(kind_of(disk.rename_new(Path::new("a"), Path::new("d"))), ErrorKind::AlreadyExists);
        assert_eq!(kind_of(disk.rename_over(Path::new("a"), Path::new("d"))), ErrorKind::IsADirectory);
        assert_eq!((content(disk, "a"), content(disk, "d/b")), (b"a".to_vec(), b"b".to_vec()));
        disk.rename_over(Path::new("a"), Path::new("d/b")).unwrap();
        disk.rename_new(Path::new("d/b"), Path::new("c")).unwrap();
        assert_eq!(content(disk, "c"), b"a");
        assert_eq!(kind_of(disk.metadata(Path::new("a"))), ErrorKind::NotFound);
        assert!(disk.list(Path::new("d")).unwrap().is_empty());
    });
}

#[test]
fn a_file_with_two_names_is_one_file_and_renaming_it_onto_itself_does_nothing() {
    on_every_disk(|disk| {
        disk.create_directory(Path::new("d"), 0o700).unwrap();
        write(disk, "f", b"one");
        write(disk, "taken", b"other");
        assert_eq!(kind_of(disk.link(Path::new("f"), Path::new("taken"))), ErrorKind::AlreadyExists);
        assert_eq!(kind_of(disk.link(Path::new("d"), Path::new("x"))), ErrorKind::PermissionDenied);
        assert_eq!(kind_of(disk.link(Path::new("absent"), Path::new("x"))), ErrorKind::NotFound);
        disk.link(Path::new("f"), Path::new("d/g")).unwrap();
        disk.overwrite(Path::new("f"), b"two").unwrap();
        assert_eq!(content(disk, "d/g"), b"two");
        disk.rename_over(Path::new("d/g"), Path::new("f")).unwrap();
        assert_eq!((content(disk, "d/g"), content(disk, "f")), (b"two".to_vec(), b"two".to_vec()));
        disk.rename_over(Path::new("taken"), Path::new("f")).unwrap();
        assert_eq!((content(disk, "d/g"), content(disk, "f")), (b"two".to_vec(), b"other".to_vec()));
    });
}

#[test]
fn a_disk_tells_what_is_absent_and_what_is_of_the_wrong_kind() {
    on_every_disk(|disk| {
        disk.create_directory(Path::new("d"), 0o700).unwrap();
        write(disk, "f", b"f");
        let absent = Path::new("absent");
        assert_eq!(kind_of(disk.create(&absent.join("f"), 0o600)), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.read_at(absent, 0, &mut [0])), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.sync_file(absent)), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.sync_directory(absent)), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.rename_new(absent, Path::new("x"))), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.remove_file(absent)), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.list(absent)), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.remove_file(Path::new("d"))), ErrorKind::IsADirectory);
        assert_eq!(kind_of(disk.read_at(Path::new("d"), 0, &mut [0])), ErrorKind::IsADirectory);
        assert_eq!(kind_of(disk.list(Path::new("f"))), ErrorKind::NotADirectory);
        assert_eq!(kind_of(disk.create(Path::new("f/x"), 0o600)), ErrorKind::NotADirectory);
    });
}

#[test]
fn a_disk_lists_names_kinds_and_sizes() {
    on_every_disk(|disk| {
        disk.create_directory(Path::new("d"), 0o700).unwrap();
        write(disk, "d/f", b"1234");
        disk.create_directory(Path::new("d/e"), 0o700).unwrap();
        let mut entries = disk.list(Path::new("d")).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let entries: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.kind, e.size_bytes)).collect();
        assert_eq!(entries, [("e", DiskKind::Directory, 0), ("f", DiskKind::File, 4)]);
        assert!(disk.free_bytes().unwrap() > 0);
    });
}

#[test]
fn no_path_leads_out_of_a_disk() {
    on_every_disk(|disk| {
        disk.create_directory(Path::new("d"), 0o700).unwrap();
        for outside in ["..", "../x", "d/../../x", "/etc/passwd", "d/../x"] {
            let outside = Path::new(outside);
            assert_eq!(kind_of(disk.create(outside, 0o600)), ErrorKind::InvalidInput, "{outside:?}");
            assert_eq!(kind_of(disk.metadata(outside)), ErrorKind::InvalidInput, "{outside:?}");
            assert_eq!(kind_of(disk.remove_file(outside)), ErrorKind::InvalidInput, "{outside:?}");
        }
    });
}

#[test]
fn no_symlink_is_followed() {
    for open in [RealDisk::open, RealDisk::open_walking] {
        let (scratch, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (root, outside) = (scratch.path(), elsewhere.path());
        let disk = open(root).unwrap();
        write(&disk, "inside", b"inside");
        std::fs::File::create(outside.join("f")).unwrap();
        std::os::unix::fs::symlink(outside, root.join("directory")).unwrap();
        std::os::unix::fs::symlink("inside", root.join("file")).unwrap();
        for path in ["directory/f", "file"].map(Path::new) {
            assert!(disk.read_at(path, 0, &mut [0]).is_err());
            assert!(disk.create(path, 0o600).is_err());
            assert!(disk.sync_file(path).is_err());
        }
        let through = Path::new("directory/f");
        assert!(disk.metadata(through).is_err());
        assert!(disk.remove_file(through).is_err());
        assert!(disk.rename_over(Path::new("inside"), through).is_err());
        assert!(disk.create_directory(Path::new("directory/new"), 0o700).is_err());
        assert!(disk.list(Path::new("directory")).is_err());
        assert_eq!(disk.metadata(Path::new("file")).unwrap().kind, DiskKind::Symlink);
        assert!(outside.join("f").exists());
    }
}

#[test]
fn a_pipe_is_refused_at_once() {
    let scratch = TempDir::new().unwrap();
    let disk = RealDisk::open(scratch.path()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.path().join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    assert!(disk.read_at(Path::new("pipe"), 0, &mut [0]).is_err());
    let storage = Local::open(scratch.path()).unwrap();
    assert_eq!(storage.read(&path("pipe"), 10).unwrap_err().kind, StorageErrorKind::WrongType);
}

type Behaviour = (&'static str, fn(&dyn Storage));

/// What every storage does; each starts with an empty one.
const BEHAVIOURS: &[Behaviour] = &[
    ("a file that was put is read back whole and in part", |storage| {
        assert_eq!(storage.put_new(&path("a/b/f"), b"0123456789").unwrap(), Put::Created);
        assert_eq!(storage.read(&path("a/b/f"), 10).unwrap(), b"0123456789");
        assert_eq!(storage.read_range(&path("a/b/f"), 2, 3).unwrap(), b"234");
        assert_eq!(storage.read_range(&path("a/b/f"), 8, 10).unwrap(), b"89");
        assert_eq!(storage.read_range(&path("a/b/f"), 20, 10).unwrap(), b"");
        storage.put_new(&path("empty"), b"").unwrap();
        assert_eq!(storage.read(&path("empty"), 0).unwrap(), b"");
    }),
    ("a file that exists is left as it is", |storage| {
        storage.put_new(&path("d/f"), b"one").unwrap();
        assert_eq!(storage.put_new(&path("d/f"), b"two").unwrap(), Put::Existed);
        assert_eq!(storage.read(&path("d/f"), 10).unwrap(), b"one");
        storage.create_directory(&path("d/e")).unwrap();
        assert_eq!(storage.put_new(&path("d/e"), b"two").unwrap_err().kind, StorageErrorKind::WrongType);
        assert!(leftovers(storage).is_empty());
    }),
    ("what is staged is seen only once it is published, and in order", |storage| {
        storage.put_new(&path("d/5"), b"old").unwrap();
        let stage = |i: usize| storage.stage(&path(&format!("d/{i}")), format!("{i}").as_bytes()).unwrap();
        let staged: Vec<_> = (0..100).map(stage).collect();
        assert_eq!(storage.list(&path("d")).unwrap().len(), 1);
        let puts = storage.publish(staged).unwrap();
        assert_eq!(puts.len(), 100);
        assert!(puts.iter().enumerate().all(|(i, put)| (*put == Put::Existed) == (i == 5)));
        assert_eq!(storage.list(&path("d")).unwrap().len(), 100);
        assert_eq!(storage.read(&path("d/99"), 10).unwrap(), b"99");
        assert!(storage.publish(Vec::new()).unwrap().is_empty());
    }),
    ("what is discarded leaves nothing", |storage| {
        let staged = (0..5).map(|i| storage.stage(&path(&format!("d/{i}")), b"x").unwrap()).collect();
        storage.discard(staged);
        assert!(storage.list(&path("d")).unwrap().is_empty());
        assert!(leftovers(storage).is_empty());
    }),
    ("a replacement is whole, of whatever durability", |storage| {
        for durability in [Durability::Durable, Durability::Lazy] {
            storage.replace(&path("state/f"), b"one", durability).unwrap();
            storage.replace(&path("state/f"), b"longer", durability).unwrap();
            assert_eq!(storage.read(&path("state/f"), 10).unwrap(), b"longer");
            storage.replace(&path("state/f"), b"short", durability).unwrap();
            assert_eq!(storage.read(&path("state/f"), 10).unwrap(), b"short");
        }
        let error = storage.replace(&path("state"), b"x", Durability::Durable).unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::WrongType);
        assert!(leftovers(storage).is_empty());
    }),
    ("a file beyond the limit is refused", |storage| {
        storage.put_new(&path("f"), b"12345").unwrap();
        assert_eq!(storage.read(&path("f"), 4).unwrap_err().kind, StorageErrorKind::TooLarge);
        assert_eq!(storage.read(&path("f"), 5).unwrap(), b"12345");
    }),
    ("what is absent is told from what is of the wrong kind", |storage| {
        storage.put_new(&path("d/f"), b"f").unwrap();
        assert_eq!(storage.read(&path("d/absent"), 9).unwrap_err().kind, StorageErrorKind::NotFound);
        assert_eq!(storage.read(&path("absent/f"), 9).unwrap_err().kind, StorageErrorKind::NotFound);
        assert_eq!(storage.read_range(&path("absent"), 0, 9).unwrap_err().kind, StorageErrorKind::NotFound);
        assert_eq!(storage.read(&path("d"), 9).unwrap_err().kind, StorageErrorKind::WrongType);
        assert_eq!(storage.list(&path("d/f")).unwrap_err().kind, StorageErrorKind::WrongType);
        assert_eq!(storage.put_new(&path("d/f/g"), b"g").unwrap_err().kind, StorageErrorKind::WrongType);
        let error = storage.read(&path("d/absent"), 9).unwrap_err();
        assert_eq!(error.to_string(), format!("read {}/d/absent", storage.location()));
    }),
    ("a listing has the plain files or the directories", |storage| {
        storage.put_new(&path("d/f"), b"1234").unwrap();
        storage.create_directory(&path("d/e/g")).unwrap();
        storage.create_directory(&path("d/e/g")).unwrap();
        let files = storage.list(&path("d")).unwrap();
        assert_eq!((files.len(), files[0].name.as_str(), files[0].size_bytes), (1, "f", 4));
        assert_eq!(storage.list_directories(&path("d")).unwrap(), ["e"]);
        assert_eq!(storage.list_directories(&path("d/e")).unwrap(), ["g"]);
        assert!(storage.list(&path("absent")).unwrap().is_empty());
        assert!(storage.list_directories(&path("absent/e")).unwrap().is_empty());
    }),
    ("what is removed is gone, and absence is no error", |storage| {
        for name in ["a/1", "a/2", "b/3"] {
            storage.put_new(&path(name), b"x").unwrap();
        }
        storage.remove(&["a/1", "b/3", "a/absent", "absent/4"].map(path)).unwrap();
        assert_eq!(storage.list(&path("a")).unwrap().len(), 1);
        assert!(storage.list(&path("b")).unwrap().is_empty());
        assert_eq!(storage.remove(&[path("a")]).unwrap_err().kind, StorageErrorKind::WrongType);
        storage.remove(&[]).unwrap();
    }),
    ("temporary files in use are not cleared", |storage| {
        let staged: Vec<_> = (0..3).map(|i| storage.stage(&path(&format!("d/{i}")), b"x").unwrap()).collect();
        assert_eq!(storage.clear_temporary(&path("d")).unwrap(), 0);
        assert_eq!(storage.publish(staged).unwrap(), [Put::Created; 3]);
        assert_eq!(storage.clear_temporary(&path("absent")).unwrap(), 0);
    }),
    ("many threads put, list and read at once", |storage| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for i in 0..20 {
                        let name = path(&format!("d{}/{thread}-{i}", i % 3));
                        assert_eq!(storage.put_new(&name, name.as_str().as_bytes()).unwrap(), Put::Created);
                        assert_eq!(storage.put_new(&path(&format!("d/{i}")), b"shared").map(drop).ok(), Some(()));
                        assert_eq!(storage.read(&name, 100).unwrap(), name.as_str().as_bytes());
                    }
                });
            }
        });
        let count = |directory| storage.list(&path(directory)).unwrap().len();
        assert_eq!(count("d0") + count("d1") + count("d2") + count("d"), 100);
    }),
];

/// What a second storage in the same place would clear: staging and failing must leave none.
fn leftovers(storage: &dyn Storage) -> Vec<String> {
    let root = Path::new(&storage.location()).to_owned();
    let Ok(entries) = std::fs::read_dir(&root) else { return Vec::new() };
    let directories = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let all = directories.chain([root]).flat_map(|directory| std::fs::read_dir(directory).unwrap());
    all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| name.contains(".tmp-")).collect()
}

/// Runs every behaviour on a new, empty storage.
fn storage_behaves(make: impl Fn() -> Arc<dyn Storage>) {
    for (behaviour, check) in BEHAVIOURS {
        eprintln!("{behaviour}");
        check(&*make());
    }
}

#[test]
fn a_local_storage_on_the_real_disk_behaves() {
    let scratch = TempDir::new().unwrap();
    storage_behaves(|| {
        let root = tempfile::tempdir_in(scratch.path()).unwrap().keep();
        Arc::new(Local::open(&root).unwrap())
    });
}

#[test]
fn a_local_storage_on_a_simulated_disk_behaves() {
    storage_behaves(|| Arc::new(Local::on(Arc::new(Simulated::new()), "/simulated".to_owned())));
}

#[test]
fn a_local_storage_that_syncs_in_the_background_behaves() {
    let make = || Local::with_syncer(Arc::new(Simulated::new()), "/simulated".to_owned(), Syncer::start(3));
    storage_behaves(|| Arc::new(make()));
}

#[test]
fn only_the_owner_may_see_what_is_stored() {
    let scratch = TempDir::new().unwrap();
    Local::open(scratch.path()).unwrap().put_new(&path("d/f"), b"secret").unwrap();
    let disk = RealDisk::open(scratch.path()).unwrap();
    assert_eq!(disk.metadata(Path::new("d/f")).unwrap().mode, 0o600);
    assert_eq!(disk.metadata(Path::new("d")).unwrap().mode, 0o700);
}

#[test]
fn names_that_no_storage_path_can_say_are_not_listed() {
    let disk = Simulated::new();
    for name in ["d/.tmp-1-2-3", "d/.hidden", "d/with space", "d/good", "d/.git/f", "d/e/f"] {
        disk.write_raw(name, b"x").unwrap();
    }
    let storage = Local::on(Arc::new(disk), "/simulated".to_owned());
    assert_eq!(storage.list(&path("d")).unwrap().iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(storage.list_directories(&path("d")).unwrap(), ["e"]);
}
