//! Small files, kept together.
//!
//! Hazard: a pack is one file and holds many: what damages one of them must not cost the others, and what keeps one of
//! them must not keep the others for ever.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, BTreeSet};

use age::x25519::Identity;
use fiovana_app::core::{BackupState, ChunkKey, Digest};
use fiovana_app::pipeline::Progress;
use fiovana_app::pipeline::archive::Archived;
use fiovana_app::pipeline::heal::{Copy, Healing, Pharmacy, heal};
use fiovana_app::pipeline::restore::{Pick, Rules, restore_to};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::encryption::{Keys, Recipients, Sealing};
use fiovana_app::repository::wire::Frame;
use fiovana_app::repository::{Repository, StoredFile, layout};
use fiovana_app::storage::faulty::Simulated;
use repository::damage::{Damage, bytes, damages, paths};
use repository::site::{self, back_up_now, hour};
use repository::source::{Source, files_in, lines};
use repository::{Files, Place};

const FILES: u64 = 40;

/// A source of small files, none like another.
fn many(files: u64) -> Source {
    let source = Source::new("security");
    for number in 0..files {
        source.write(&name(number), &content(number));
    }
    source
}

fn name(number: u64) -> String {
    format!("{number:02}.txt")
}

/// Of a few hundred bytes, and the last third of the files of some thousand.
fn content(seed: u64) -> Vec<u8> {
    lines(seed, if seed % 3 == 2 { 5000 } else { 200 + 10 * seed as usize })
}

/// Where the files of a backup are: which frame of which pack.
fn frames(backup: &Backup) -> BTreeMap<String, (Digest, Frame)> {
    let files = backup.content.as_ref().expect("its manifest").manifest.files().iter();
    let framed = files.filter_map(|file| {
        let [chunk] = &file.chunks[..] else { return None };
        Some((file.path.to_string(), (chunk.object, chunk.frame?)))
    });
    framed.collect()
}

fn packs(backup: &Backup) -> BTreeSet<Digest> {
    frames(backup).values().map(|(object, _)| *object).collect()
}

fn objects(disk: &Simulated) -> Vec<String> {
    paths(disk).into_iter().filter(|path| path.starts_with("objects/")).collect()
}

/// Restores each file for itself: those that come back are right, and the others are named.
fn restored_one_by_one(repository: &Repository, backup: &Backup, files: &Files) -> BTreeSet<String> {
    let place = tempfile::tempdir().expect("a directory");
    let mut lost = BTreeSet::new();
    for path in files.keys() {
        let pick = Pick { backup: backup.clone(), paths: Some(vec![path.clone()]) };
        if let Err(error) =
            restore_to(repository, &[pick], &place.path().join("files"), Rules::default(), &Progress::default())
        {
            assert!(error.is_damage() && error.to_string().contains(path.as_str()), "{error}");
            lost.insert(path.clone());
        }
    }
    let restored = files_in(&place.path().join("files"));
    let expected = files.iter().filter(|(path, _)| !lost.contains(*path));
    assert!(restored.iter().eq(expected), "a wrong byte was restored");
    lost
}

#[test]
fn small_files_share_a_pack_in_the_order_of_their_paths_and_come_back() {
    let (source, disk) = (many(FILES), site::new_disk());
    source.write("empty", b"");
    source.write("twice", &content(3));
    source.write("large", &lines(99, (1 << 20) + 5));
    let repository = site::open(&disk).0;
    let backup = back_up_now(&repository, &source.set, 1);
    let frames = frames(&backup);
    assert_eq!((frames.len(), packs(&backup).len()), (FILES as usize + 1, 1));
    assert_eq!(objects(&disk).len(), 3, "the pack, and two chunks of the large file");
    assert_eq!(frames["twice"], frames["03.txt"], "the same content is there once");
    let mut end = 0;
    for (path, (_, frame)) in frames.iter().filter(|(path, _)| *path != "twice") {
        assert_eq!(frame.offset, end, "{path}");
        end += frame.length;
    }
    let envelope = &backup.content.as_ref().unwrap().manifest.envelope;
    let on_disk: u64 = objects(&disk).iter().map(|path| bytes(&disk, path).unwrap().len() as u64).sum();
    assert_eq!(envelope.stored_bytes, on_disk, "each object is counted once");
    let (result, restored) = site::restore(&repository, &backup);
    result.unwrap();
    assert!(restored == source.files());
}

#[test]
fn no_pack_holds_more_than_a_mebibyte_of_content() {
    let (source, disk) = (Source::new("security"), site::new_disk());
    for number in 0..12 {
        source.write(&name(number), &lines(number, 300_000));
    }
    // As large as a chunk, and nothing to compress in it: no pack takes it.
    let mut random = fastrand::Rng::with_seed(1);
    let random: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1 << 20).collect();
    source.write("06.bin", &random);
    let repository = site::open(&disk).0;
    let backup = back_up_now(&repository, &source.set, 1);
    let mut content_bytes: BTreeMap<Digest, u64> = BTreeMap::new();
    for file in backup.content.as_ref().unwrap().manifest.files() {
        for chunk in file.chunks.iter() {
            assert_eq!(chunk.frame.is_none(), file.path == *"06.bin", "{}", file.path);
            *content_bytes.entry(chunk.object).or_default() += chunk.size_bytes;
        }
    }
    assert_eq!(content_bytes.len(), 5, "three files to a pack");
    assert!(content_bytes.values().all(|bytes| *bytes <= 1 << 20));
    assert!(site::content(&repository, &backup) == source.files());
}

#[test]
fn what_changed_is_stored_anew_and_the_rest_is_shared_while_most_of_its_pack_is_in_use() {
    let (source, disk) = (many(FILES), site::new_disk());
    let repository = site::open(&disk).0;
    let first = back_up_now(&repository, &source.set, 1);
    let original = *packs(&first).first().unwrap();
    let (mut backups, mut versions) = (vec![first], vec![source.files()]);
    for number in 0..FILES {
        source.write(&name(number), &content(1000 + number));
        backups.push(back_up_now(&repository, &source.set, 2 + number as i64));
        versions.push(source.files());
    }
    let length = bytes(&disk, layout::object(&original).as_str()).unwrap().len() as u32;
    let used = |backup: &Backup| -> u32 {
        let of_it = frames(backup).into_values().filter(|(object, _)| *object == original);
        of_it.map(|(_, frame)| frame.length).sum()
    };
    for pair in backups.windows(2) {
        let (before, after) = (used(&pair[0]), used(&pair[1]));
        // Encrypted, what encryption added is nobody's.
        let is_encrypted = site::keys().recipients().is_some();
        assert!(is_encrypted || (after > 0) == (2 * before >= length), "{before} of {length}, then {after}");
    }
    assert!(used(&backups[1]) > 0 && used(backups.last().unwrap()) == 0);
    for (backup, files) in backups.iter().zip(&versions) {
        assert!(site::content(&repository, backup) == *files, "{}", backup.id);
    }
    // What nothing needs any more goes, and takes nothing with it.
    let (last, old) = backups.split_last().unwrap();
    let old: Vec<_> = old.iter().map(|backup| backup.id).collect();
    repository.delete_backups(&source.set.name, &old).unwrap();
    assert!(site::collect_all(&repository) > 0);
    assert_eq!(bytes(&disk, layout::object(&original).as_str()), None);
    let there: BTreeSet<String> = objects(&disk).into_iter().collect();
    let needed = last.content.as_ref().unwrap().manifest.envelope.objects.iter();
    assert_eq!(there, needed.map(|object| layout::object(&object.name).to_string()).collect());
    let repository = site::open(&disk).0;
    assert_eq!(site::verdict(&repository, last), Verdict::Intact);
    assert!(site::content(&repository, last) == *versions.last().unwrap());
}

#[test]
fn a_scheduled_run_that_finds_nothing_new_writes_nothing_though_few_chunks_of_a_pack_are_in_use() {
    let (source, disk) = (many(FILES), site::new_disk());
    let repository = site::open(&disk).0;
    back_up_now(&repository, &source.set, 1);
    (0..FILES - 3).for_each(|number| source.remove(&name(number)));
    let few = back_up_now(&repository, &source.set, 2);
    assert_eq!(packs(&few).len(), 1);
    let before = objects(&disk);
    for hour in 3..6 {
        match site::archive(&repository, &source.set, fiovana_app::core::BackupKind::Scheduled, site::hour(hour)) {
            Ok(Archived::Unchanged { backup, .. }) => assert_eq!(backup.id, few.id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(objects(&disk), before);
    assert!(paths(&disk).iter().all(|path| !path.contains(".tmp-")), "nothing is left of what was staged");
}

#[test]
fn a_pack_belongs_to_one_set_and_a_restarted_program_shares_it_as_before() {
    let (one, mut other, disk) = (many(FILES), many(FILES), site::new_disk());
    other.set.name = "other".parse().unwrap();
    let repository = site::open(&disk).0;
    let first = back_up_now(&repository, &one.set, 1);
    let of_other = back_up_now(&repository, &other.set, 2);
    let repository = site::open(&disk).0;
    for backup in [&first, &of_other] {
        assert_eq!(site::verdict(&repository, backup), Verdict::Intact);
    }
    for (source, before) in [(&one, &first), (&other, &of_other)] {
        source.write(&name(FILES), &content(FILES));
        source.write(&name(FILES + 1), &content(FILES + 1));
        let after = back_up_now(&repository, &source.set, 3);
        assert!(packs(&after).is_superset(&packs(before)), "{}", source.set.name);
        assert_eq!(packs(&after).len(), 2);
    }
}

/// The frames that a damage leaves as they were.
fn untouched(right: &[u8], wrong: Option<&[u8]>, frame: Frame) -> bool {
    let range = frame.offset as usize..(frame.offset + frame.length) as usize;
    wrong.is_some_and(|wrong| wrong.get(range.clone()) == right.get(range))
}

/// A pack of each kind of place damaged in each way: what is done to it, byte by byte where it is short.
fn each_damage(check: impl Fn(&Source, &Simulated, &Backup, &str, &Damage)) {
    let (source, disk) = (many(FILES), site::new_disk());
    let repository = site::open(&disk).0;
    back_up_now(&repository, &source.set, 1);
    source.write(&name(7), &content(1007));
    source.write(&name(8), &content(1008));
    let backup = back_up_now(&repository, &source.set, 2);
    assert_eq!(packs(&backup).len(), 2);
    for pack in packs(&backup) {
        let path = layout::object(&pack).to_string();
        let length = bytes(&disk, &path).unwrap().len();
        let middle = [length / 3, length / 2].map(|byte| Damage::Flip { byte, bit: 4 });
        let cut = [length / 2].map(|bytes| Damage::Truncate { bytes });
        for damage in damages(&disk, &path).into_iter().chain(middle).chain(cut) {
            let _place = Place::new(format!("{damage:?} of {path}"));
            check(&source, &disk.after_kill(), &backup, &path, &damage);
        }
    }
}

#[test]
fn of_a_damaged_pack_only_the_files_whose_frames_are_hurt_are_lost() {
    each_damage(|source, disk, backup, path, damage| {
        let right = bytes(disk, path).unwrap();
        damage.apply(disk, path);
        let wrong = bytes(disk, path);
        let repository = site::open(disk).0;
        let Verdict::Damaged(damages) = site::verdict(&repository, backup) else { panic!("it went unseen") };
        assert!(damages.iter().any(|damage| damage.place == path), "{damages:?}");
        let lost = restored_one_by_one(&repository, backup, &source.files());
        if site::keys().recipients().is_some() {
            return;
        }
        let swapped = matches!(damage, Damage::Swap { .. });
        let hurt = frames(backup).into_iter().filter(|(_, (object, frame))| {
            let here = layout::object(object).to_string() == path;
            if here { !untouched(&right, wrong.as_deref(), *frame) } else { swapped }
        });
        assert_eq!(lost, hurt.map(|(path, _)| path).collect());
        // Nothing else is taken from it by looking.
        let file = StoredFile::Object(path.rsplit('/').next().unwrap().parse().unwrap());
        let pharmacy = Pharmacy { copies: &[], sets: &[] };
        let healing = heal(&repository, &file, &pharmacy, hour(9)).unwrap();
        if !swapped {
            assert!(matches!((healing, lost.is_empty()), (Healing::Healed(_), true) | (Healing::Lost, false)));
        }
        assert_eq!(restored_one_by_one(&repository, backup, &source.files()), lost);
    });
}

#[test]
fn a_damaged_pack_is_healed_from_a_replica() {
    each_damage(|source, disk, backup, path, damage| {
        let (right, replica) = (bytes(disk, path), site::open(&disk.after_kill()).0);
        let touched = damage.apply(disk, path);
        let repository = site::open(disk).0;
        site::verdict(&repository, backup);
        let copies = [Copy { name: "replica".into(), repository: &replica }];
        for path in touched {
            let file = StoredFile::at(&path).unwrap();
            let healing = heal(&repository, &file, &Pharmacy { copies: &copies, sets: &[] }, hour(9)).unwrap();
            assert!(matches!(healing, Healing::Healed(_)), "{healing:?}");
        }
        assert_eq!(bytes(disk, path), right);
        assert_eq!(site::verdict(&repository, backup), Verdict::Intact);
        assert!(site::content(&repository, backup) == source.files());
    });
}

#[test]
fn a_pack_that_is_damaged_in_both_places_is_put_together_from_what_is_right_in_either() {
    let (source, disk) = (many(FILES), site::new_disk());
    let repository = site::open(&disk).0;
    let backup = back_up_now(&repository, &source.set, 1);
    let path = layout::object(packs(&backup).first().unwrap()).to_string();
    let right = bytes(&disk, &path).unwrap();
    let other = disk.after_kill();
    let byte = right.len() / 4;
    Damage::Flip { byte, bit: 1 }.apply(&disk, &path);
    Damage::Flip { byte: 3 * byte, bit: 1 }.apply(&other, &path);
    let (repository, replica) = (site::open(&disk).0, site::open(&other).0);
    site::verdict(&repository, &backup);
    let copies = [Copy { name: "replica".into(), repository: &replica }];
    let file = StoredFile::at(&path).unwrap();
    let healing = heal(&repository, &file, &Pharmacy { copies: &copies, sets: &[] }, hour(9)).unwrap();
    if site::keys().recipients().is_some() {
        assert!(matches!(healing, Healing::Lost), "what is encrypted as a whole is healed as a whole: {healing:?}");
        return;
    }
    assert!(matches!(&healing, Healing::Healed(remedy) if remedy.code() == "replica"), "{healing:?}");
    assert!(bytes(&disk, &path).unwrap() == right);
}

#[test]
fn a_pack_is_healed_from_live_files_frame_by_frame_also_where_some_are_gone() {
    if site::keys().recipients().is_some() {
        return;
    }
    let (source, disk) = (many(FILES), site::new_disk());
    let repository = site::open(&disk).0;
    let backup = back_up_now(&repository, &source.set, 1);
    let (places, files) = (frames(&backup), source.files());
    // Two files have changed since: what they held is only in the pack.
    let gone = [name(4), name(20)];
    gone.iter().for_each(|path| source.write(path, b"something else"));
    let path = layout::object(&places["00.txt"].0).to_string();
    let right = bytes(&disk, &path).unwrap();
    for (file, (_, frame)) in &places {
        let _place = Place::new(file);
        let disk = disk.after_kill();
        Damage::Flip { byte: (frame.offset + frame.length / 2) as usize, bit: 1 }.apply(&disk, &path);
        let repository = site::open(&disk).0;
        site::verdict(&repository, &backup);
        let pharmacy = Pharmacy { copies: &[], sets: std::slice::from_ref(&source.set) };
        let healing = heal(&repository, &StoredFile::at(&path).unwrap(), &pharmacy, hour(9)).unwrap();
        if gone.contains(file) {
            assert!(matches!(healing, Healing::Lost), "{healing:?}");
            assert_eq!(restored_one_by_one(&repository, &backup, &files), BTreeSet::from([file.clone()]));
        } else {
            let source = source.path(file).canonicalize().unwrap().display().to_string();
            assert!(
                matches!(&healing, Healing::Healed(remedy) if remedy.to_string().ends_with(&source)),
                "{healing:?}"
            );
            assert!(bytes(&disk, &path).unwrap() == right);
        }
    }
}

#[test]
fn a_damaged_pack_is_not_shared_and_the_next_backup_is_whole() {
    each_damage(|source, disk, backup, path, damage| {
        damage.apply(disk, path);
        let repository = site::open(disk).0;
        source.write("new.txt", b"new");
        let next = back_up_now(&repository, &source.set, 20);
        source.remove("new.txt");
        assert_eq!(site::verdict(&repository, &next), Verdict::Intact);
        let state = repository.catalogue().get(next.id).map(Backup::state);
        assert_eq!(state, Some(BackupState::Good));
        let files = site::content(&repository, &next);
        assert!(files.iter().filter(|(path, _)| *path != "new.txt").eq(source.files().iter()));
        assert!(next.position() > backup.position());
    });
}

#[test]
fn of_an_encrypted_pack_what_lies_before_the_damage_comes_back() {
    let (source, disk) = (Source::new("security"), site::new_disk());
    (0..FILES).for_each(|number| source.write(&name(number), &lines(number, 22_000)));
    let identity = Identity::generate();
    let recipients = Recipients::new([identity.to_public()]).expect("a recipient");
    let keys = Keys::new(Sealing::For(recipients), [identity]);
    let repository = site::open(&disk).0;
    repository.set_keys(keys);
    let backup = back_up_now(&repository, &source.set, 1);
    let path = layout::object(packs(&backup).first().unwrap()).to_string();
    let last = bytes(&disk, &path).unwrap().len() - 1;
    assert!(last > 2 * (64 << 10), "more than two blocks of an age file");
    Damage::Flip { byte: last, bit: 1 }.apply(&disk, &path);
    assert!(matches!(site::verdict(&repository, &backup), Verdict::Damaged(_)));
    let files = source.files();
    let lost = restored_one_by_one(&repository, &backup, &files);
    let first_lost = lost.first().expect("the last block holds something");
    assert!(lost.len() < files.len() / 2, "{} of {}", lost.len(), files.len());
    assert!(lost.iter().eq(files.range(first_lost.clone()..).map(|(path, _)| path)), "all behind it, and no other");
}

#[test]
fn a_frame_proves_itself_and_nothing_beside_it_counts() {
    // What a damaged pack says is believed only if it hashes to what the manifest says: a frame in another's place is not.
    if site::keys().recipients().is_some() {
        return;
    }
    let (source, disk) = (Source::new("security"), site::new_disk());
    source.write("a.txt", b"one of two that are alike");
    source.write("b.txt", b"two of two that are alike");
    let repository = site::open(&disk).0;
    let backup = back_up_now(&repository, &source.set, 1);
    let places = frames(&backup);
    let ((pack, a), (_, b)) = (places["a.txt"], places["b.txt"]);
    assert_eq!(a.length, b.length);
    let path = layout::object(&pack).to_string();
    let right = bytes(&disk, &path).unwrap();
    let (first, second) = right.split_at(a.length as usize);
    disk.write_raw(&path, &[second, first].concat()).unwrap();
    assert_ne!(ChunkKey::of(first), ChunkKey::of(second));
    let repository = site::open(&disk).0;
    assert_eq!(restored_one_by_one(&repository, &backup, &source.files()), source.files().into_keys().collect());
}
