//! The stories that are interrupted: a backup, the next one, a deletion, a state file, a pin.
//!
//! Hazard: a sweep over half of what writes. Whatever is new and writes belongs here.

use fiovana_app::core::BackupKind;
use fiovana_app::repository::Repository;
use fiovana_app::storage::Durability;
use fiovana_app::storage::faulty::Simulated;

use super::site::{self, back_up, back_up_now, hour, new_disk};
use super::source::Source;
use super::sweep::{Promise, STATE, Story, Told};

/// Backs a source up by hand; the promise knows of it before and after.
pub fn make(repository: &Repository, source: &Source, promise: &mut Promise, at_hour: i64) -> Told {
    promise.making.push(source.files());
    let backup = back_up(repository, &source.set, BackupKind::Manual, hour(at_hour))?;
    promise.acknowledge(&backup, source.files());
    Ok(())
}

/// A disk with this many backups of a source, each of another version; the source then holds yet another.
pub fn disk_with(source: &Source, backups: i64) -> (Simulated, Promise) {
    let disk = new_disk();
    let mut promise = Promise::default();
    let repository = site::open(&disk).0;
    for number in 1..=backups {
        let backup = back_up_now(&repository, &source.set, number);
        promise.acknowledge(&backup, source.files());
        source.change(number as u64);
    }
    (disk, promise)
}

/// A disk with one backup of one small file.
fn disk_with_one_small() -> (Source, Simulated, Promise) {
    let source = Source::new("security");
    source.write("a.json", b"{}");
    let disk = new_disk();
    let mut promise = Promise::default();
    let backup = back_up_now(&site::open(&disk).0, &source.set, 1);
    promise.acknowledge(&backup, source.files());
    (source, disk, promise)
}

/// The first backup of a set.
pub fn first_backup(check: impl Fn(&Story)) {
    let source = Source::rich("security");
    let tell = |repository: &Repository, promise: &mut Promise| make(repository, &source, promise, 1);
    check(&Story { base: new_disk(), promise: Promise::default(), source: &source, tell: &tell });
}

/// A backup that shares content with one before it.
pub fn later_backup(check: impl Fn(&Story)) {
    let source = Source::rich("security");
    let (base, promise) = disk_with(&source, 1);
    let tell = |repository: &Repository, promise: &mut Promise| make(repository, &source, promise, 11);
    check(&Story { base, promise, source: &source, tell: &tell });
}

/// Some backups are deleted, and the objects that only they needed.
pub fn deletion(check: impl Fn(&Story)) {
    let source = Source::rich("security");
    let (base, promise) = disk_with(&source, 4);
    let tell = |repository: &Repository, promise: &mut Promise| {
        let all = site::backups(repository);
        delete(repository, &source, promise, &[0, 2].map(|at: usize| all[at].clone()))?;
        site::collect_garbage(repository)?;
        Ok(())
    };
    check(&Story { base, promise, source: &source, tell: &tell });
}

/// The newest backup is deleted, and another one made: its sequence must be a new one.
pub fn deletion_of_the_newest(check: impl Fn(&Story)) {
    let source = Source::rich("security");
    let (base, promise) = disk_with(&source, 2);
    let tell = |repository: &Repository, promise: &mut Promise| {
        let newest = site::backups(repository).pop().expect("a backup");
        delete(repository, &source, promise, std::slice::from_ref(&newest))?;
        make(repository, &source, promise, 12)?;
        let next = site::backups(repository).pop().expect("a backup");
        assert!(next.position() > newest.position(), "a sequence was given twice");
        Ok(())
    };
    check(&Story { base, promise, source: &source, tell: &tell });
}

fn delete(
    repository: &Repository,
    source: &Source,
    promise: &mut Promise,
    doomed: &[fiovana_app::repository::catalogue::Backup],
) -> Told {
    doomed.iter().for_each(|backup| promise.doom(backup));
    let ids: Vec<_> = doomed.iter().map(|backup| backup.id).collect();
    repository.delete_backups(&source.set.name, &ids)?;
    for id in ids {
        promise.deleted.insert(id);
        promise.acknowledged.remove(&id);
    }
    Ok(())
}

/// A state file that must survive is replaced again and again.
pub fn state(check: impl Fn(&Story)) {
    let (source, base, promise) = disk_with_one_small();
    let promise = Promise { state: vec![None], ..promise };
    let tell = |repository: &Repository, promise: &mut Promise| {
        for value in ["normal", "recovery", "a much longer value than those before"] {
            promise.state.push(Some(value.to_owned()));
            repository.save_state(STATE, &value, Durability::Durable)?;
            promise.state = vec![Some(value.to_owned())];
        }
        Ok(())
    };
    check(&Story { base, promise, source: &source, tell: &tell });
}

/// A backup is pinned, and the pin taken away again.
pub fn pin(check: impl Fn(&Story)) {
    let (source, base, promise) = disk_with_one_small();
    let id = *promise.acknowledged.keys().next().expect("a backup");
    let promise = Promise { pinned: [(id, vec![false])].into(), ..promise };
    let tell = |repository: &Repository, promise: &mut Promise| {
        for pinned in [true, false, true] {
            promise.pinned.insert(id, vec![pinned, !pinned]);
            repository.set_pinned(&source.set.name, id, pinned)?;
            promise.pinned.insert(id, vec![pinned]);
        }
        Ok(())
    };
    check(&Story { base, promise, source: &source, tell: &tell });
}
