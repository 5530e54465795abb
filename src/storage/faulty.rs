//! A disk in memory that fails as real ones do, for tests.
//!
//! Hazard: what has never been seen to fail is not known to survive. This disk dies at any chosen operation, comes back
//! with whatever a power cut may have left, runs full, returns errors, and has its bits flipped.

mod image;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use self::image::{Content, Image, NodeId};
use super::disk::{Disk, DiskEntry, DiskFile, DiskMetadata};
use crate::core::Timestamp;

/// What a power cut leaves of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKeep {
    /// Nothing.
    Lose,
    /// Everything.
    Keep,
    /// Of names, any; of content, nothing, all, a beginning, or a beginning followed by zeros.
    Torn,
}

/// A simulated disk. Clones are the same disk.
///
/// Each call that changes something is an operation, numbered from 0: creating, writing, setting, syncing, renaming,
/// removing. With calls from one thread, the same calls make the same disk.
#[derive(Clone)]
pub struct Simulated {
    state: Arc<Mutex<State>>,
    /// How many calls have come and were not let in yet.
    waiting: Arc<AtomicUsize>,
}

struct State {
    image: Image,
    operations: usize,
    crash_at: Option<usize>,
    crashed: bool,
    failure: Option<Failure>,
    capacity_bytes: Option<u64>,
    lacks: Vec<Lacking>,
    meddling: Option<(usize, Meddling)>,
    /// What reads are answered with until it is dropped, whatever the disk holds.
    cached: HashMap<PathBuf, Vec<u8>>,
}

/// What a filesystem cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// Give a file a second name.
    Links,
    /// Swap two names.
    Exchange,
}

/// What another program does to a file, durably.
#[derive(Clone, Debug)]
pub enum Meddling {
    /// Writes this into it.
    Overwrites(PathBuf, Vec<u8>),
    /// Puts another file with this in its place, as editors do.
    Replaces(PathBuf, Vec<u8>),
}

struct Failure {
    from: usize,
    once: bool,
    errno: Errno,
}

impl Default for Simulated {
    fn default() -> Self {
        Self::of(Image::new(), None)
    }
}

impl Simulated {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(image: Image, capacity_bytes: Option<u64>) -> Self {
        let state = State {
            image,
            operations: 0,
            crash_at: None,
            crashed: false,
            failure: None,
            capacity_bytes,
            lacks: Vec::new(),
            meddling: None,
            cached: HashMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), waiting: Arc::default() }
    }

    /// How many operations there have been.
    pub fn operations(&self) -> usize {
        self.lock().operations
    }

    /// After this many operations in all the machine dies: the next one and every call after it fail.
    pub fn crash_after(&self, operations: usize) {
        self.lock().crash_at = Some(operations);
    }

    /// The disk as the machine finds it when it is switched on again.
    pub fn after_crash(&self, seed: u64, keep: CrashKeep) -> Self {
        let state = self.lock();
        Self::of(state.image.after_crash(&mut fastrand::Rng::with_seed(seed), keep), state.capacity_bytes)
    }

    /// The disk as the next process finds it when only the process died: all is there, and not synced is not synced.
    pub fn after_kill(&self) -> Self {
        let state = self.lock();
        Self::of(state.image.clone(), state.capacity_bytes)
    }

    /// Every operation from number `operation` on fails with `errno`.
    pub fn fail_from(&self, operation: usize, errno: Errno) {
        self.lock().failure = Some(Failure { from: operation, once: false, errno });
    }

    /// Operation number `operation` fails with `errno`, no other does.
    pub fn fail_once(&self, operation: usize, errno: Errno) {
        self.lock().failure = Some(Failure { from: operation, once: true, errno });
    }

    /// Takes back the failures asked for.
    pub fn stop_failing(&self) {
        self.lock().failure = None;
    }

    /// This disk as one that cannot do these things; also after a crash, which is told again.
    pub fn lacking(self, lacks: &[Lacking]) -> Self {
        self.lock().lacks = lacks.to_vec();
        self
    }

    /// Right before operation number `operation` another program does this.
    pub fn meddle_at(&self, operation: usize, meddling: Meddling) {
        self.lock().meddling = Some((operation, meddling));
    }

    /// How much content fits; a write beyond it writes what fits and fails with `ENOSPC`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// Every file and its content, ordered by path.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let image = &self.lock().image;
        let content = |(path, id)| Some((path, image.file(id).ok()?.live.bytes.clone()));
        image.files().into_iter().filter_map(content).collect()
    }

    /// Turns bit `bit` (0 is the lowest) of byte `byte` of a file, as decay does: durably, and no operation.
    pub fn flip_bit(&self, path: impl AsRef<Path>, byte: usize, bit: u8) -> io::Result<()> {
        self.damage(path.as_ref(), |bytes| match bytes.get_mut(byte) {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        })
    }

    /// Cuts a file to this length, durably, and no operation.
    pub fn truncate(&self, path: impl AsRef<Path>, length_bytes: usize) -> io::Result<()> {
        self.damage(path.as_ref(), |bytes| {
            bytes.truncate(length_bytes);
            Ok(())
        })
    }

    /// Answers reads of a file with this until its cache is dropped, whatever is on the disk then.
    pub fn cache(&self, path: impl AsRef<Path>, content: &[u8]) {
        self.lock().cached.insert(path.as_ref().to_owned(), content.to_owned());
    }

    /// Puts a file there, with the directories above it, or replaces its content: durably, and no operation.
    pub fn write_raw(&self, path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
        self.lock().image.write(path.as_ref(), content)
    }

    /// Takes a file away, durably, and no operation.
    pub fn remove_raw(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let image = &mut self.lock().image;
        image.remove_file(path.as_ref())?;
        image.settle(path.as_ref())
    }

    /// Takes a directory away with all that is below it, durably, and no operation.
    pub fn remove_tree_raw(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let image = &mut self.lock().image;
        image.remove_tree(path.as_ref())?;
        image.settle(path.as_ref())
    }

    fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        let image = &mut self.lock().image;
        let id = image.find(path)?;
        change(&mut image.file_mut(id)?.live.bytes)?;
        image.settle(path)
    }

    /// Lets every call wait until what is returned is dropped: a disk that hangs.
    pub fn hang(&self) -> impl Drop + '_ {
        self.lock()
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        state
    }

    fn operate<T>(&self, operation: impl FnOnce(&mut Image) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        state.begin()?;
        operation(&mut state.image)
    }

    fn look<T>(&self, look: impl FnOnce(&Image) -> io::Result<T>) -> io::Result<T> {
        let state = self.lock();
        state.alive()?;
        look(&state.image)
    }
}

impl Meddling {
    fn carry_out(self, image: &mut Image) -> io::Result<()> {
        match self {
            Self::Overwrites(path, bytes) => image.write(&path, &bytes),
            Self::Replaces(path, bytes) => {
                if image.find(&path).is_ok() {
                    image.remove_file(&path)?;
                }
                image.write(&path, &bytes)
            }
        }
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the machine is down")) } else { Ok(()) }
    }

    /// Counts an operation, and fails it if it is its turn.
    fn begin(&mut self) -> io::Result<()> {
        self.crashed |= self.crash_at.is_some_and(|at| self.operations >= at);
        self.alive()?;
        let number = self.operations;
        self.operations += 1;
        if let Some((_, meddling)) = self.meddling.take_if(|(at, _)| *at == number) {
            meddling.carry_out(&mut self.image)?;
        }
        match &self.failure {
            Some(failure) if number == failure.from || (number > failure.from && !failure.once) => {
                Err(failure.errno.into())
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, id: NodeId, bytes: &[u8]) -> io::Result<()> {
        self.begin()?;
        let room = match self.capacity_bytes {
            Some(capacity) => usize::try_from(capacity.saturating_sub(self.image.used_bytes())).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        let fitting = &bytes[..bytes.len().min(room)];
        self.image.file_mut(id)?.live.bytes.extend_from_slice(fitting);
        if fitting.len() < bytes.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn sync(&mut self, id: NodeId) -> io::Result<()> {
        let begun = self.begin();
        let file = self.image.file_mut(id)?;
        if begun.is_ok() && !file.sync_failed {
            file.durable.clone_from(&file.live);
        }
        file.sync_failed |= begun.is_err();
        begun
    }
}

impl Disk for Simulated {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let id = self.operate(|image| image.create_file(path, mode))?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let id = self.operate(|image| {
            let id = image.find(path)?;
            image.file_mut(id)?.live.bytes.clear();
            Ok(id)
        })?;
        self.lock().write(id, bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.image.find(path)?;
        state.sync(id)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.operate(|image| image.sync_directory(path))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|image| image.rename(from, to, false))
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|image| image.rename(from, to, true))
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        if self.lock().lacks.contains(&Lacking::Exchange) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.operate(|image| image.exchange(one, other))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.lock().lacks.contains(&Lacking::Links) {
            return Err(Errno::PERM.into());
        }
        self.operate(|image| image.link(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operate(|image| image.remove_file(path))
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let id = self.operate(|image| image.create_symlink(path, target))?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.look(|image| {
            let bytes = image.file(image.find(path)?)?.live.bytes.clone();
            Ok(PathBuf::from(String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?))
        })
    }

    fn create_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.operate(|image| image.create_directory(path, mode))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.operate(|image| image.remove_directory(path))
    }

    fn open_directory(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let id = self.look(|image| image.find(path))?;
        Ok(Box::new(SimulatedDirectory { disk: self.clone(), id }))
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let cached = self.lock().cached.get(path).cloned();
        self.look(|image| {
            let bytes = cached.as_ref().unwrap_or(&image.file(image.find(path)?)?.live.bytes);
            let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn read_known(&self, path: &Path, limit_bytes: u64) -> io::Result<(DiskMetadata, Vec<u8>)> {
        self.look(|image| {
            let bytes = &image.file(image.find(path)?)?.live.bytes;
            if bytes.len() as u64 > limit_bytes {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok((image.metadata(path)?, bytes.clone()))
        })
    }

    fn drop_cache(&self, path: &Path) {
        self.lock().cached.remove(path);
    }

    fn metadata(&self, path: &Path) -> io::Result<DiskMetadata> {
        self.look(|image| image.metadata(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        self.look(|image| image.list(path))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        state.alive()?;
        Ok(state.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.image.used_bytes())))
    }

    fn total_bytes(&self) -> io::Result<u64> {
        Ok(self.lock().capacity_bytes.unwrap_or(u64::MAX))
    }
}

/// Of directories only the mode is known here.
struct SimulatedDirectory {
    disk: Simulated,
    id: NodeId,
}

impl DiskFile for SimulatedDirectory {
    fn write_all(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::IsADirectory.into())
    }

    fn skip(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::IsADirectory.into())
    }

    fn set_owner(&mut self, _: u32, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.disk.operate(|image| image.set_directory_mode(self.id, mode))
    }

    fn set_modified(&mut self, _: Timestamp) -> io::Result<bool> {
        Ok(true)
    }

    fn set_xattr(&mut self, _: &[u8], _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn remove_xattr(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct SimulatedFile {
    disk: Simulated,
    id: NodeId,
}

impl SimulatedFile {
    fn set(&self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        self.disk.operate(|image| {
            change(&mut image.file_mut(self.id)?.live);
            Ok(())
        })
    }
}

impl DiskFile for SimulatedFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.lock().write(self.id, bytes)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.write_all(&vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?])
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        self.set(|content| (content.uid, content.gid) = (uid, gid))
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.set(|content| content.mode = mode)
    }

    fn set_modified(&mut self, _modified: Timestamp) -> io::Result<bool> {
        self.set(|_| {}).map(|()| true)
    }

    fn set_xattr(&mut self, _name: &[u8], _value: &[u8]) -> io::Result<()> {
        self.set(|_| {})
    }

    fn remove_xattr(&mut self, _name: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.lock().sync(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(disk: &Simulated, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
        let mut file = disk.create(Path::new(path), 0o600).unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_synced_name_of_unsynced_content_comes_back_empty_whole_or_torn() {
        let disk = Simulated::new();
        drop(create(&disk, "t", b"0123456789"));
        disk.rename_new(Path::new("t"), Path::new("f")).unwrap();
        disk.sync_directory(Path::new("")).unwrap();
        let found = |seed, keep| disk.after_crash(seed, keep).files();
        let file = |bytes: &[u8]| vec![(PathBuf::from("f"), bytes.to_vec())];
        assert_eq!(found(0, CrashKeep::Lose), file(b""));
        assert_eq!(found(0, CrashKeep::Keep), file(b"0123456789"));
        let torn: std::collections::BTreeSet<_> = (0..500).map(|seed| found(seed, CrashKeep::Torn)).collect();
        assert_eq!(torn.len(), 1 + 10 + 10, "each beginning, the empty and the whole among them; each with zeros");
        assert!((0..500).all(|seed| found(seed, CrashKeep::Torn) == found(seed, CrashKeep::Torn)));
    }

    #[test]
    fn an_unsynced_name_is_lost_kept_or_either_though_its_content_was_synced() {
        let disk = Simulated::new();
        for name in ["a", "b"] {
            create(&disk, name, b"x").sync().unwrap();
        }
        let count = |seed, keep| disk.after_crash(seed, keep).files().len();
        assert_eq!((count(0, CrashKeep::Lose), count(0, CrashKeep::Keep)), (0, 2));
        assert!((0..3).all(|expected| (0..100).any(|seed| count(seed, CrashKeep::Torn) == expected)));
        assert_eq!(disk.after_kill().after_crash(0, CrashKeep::Lose).files().len(), 0);
    }

    #[test]
    fn a_sync_after_a_failed_sync_lies() {
        let disk = Simulated::new();
        let mut file = create(&disk, "f", b"x");
        disk.sync_directory(Path::new("")).unwrap();
        disk.fail_once(disk.operations(), Errno::IO);
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
        file.sync().unwrap();
        assert_eq!(disk.after_crash(0, CrashKeep::Lose).files()[0].1, b"");
    }

    #[test]
    fn a_dead_machine_answers_nothing() {
        let disk = Simulated::new();
        disk.crash_after(2);
        let mut file = create(&disk, "f", b"x");
        assert!(disk.metadata(Path::new("f")).is_ok());
        assert!(file.sync().is_err());
        assert!(disk.metadata(Path::new("f")).is_err());
        assert_eq!(disk.operations(), 2);
    }

    #[test]
    fn damage_is_durable_and_touches_nothing_else() {
        let disk = Simulated::new();
        drop(create(&disk, "unsynced", b"x"));
        disk.write_raw("d/f", b"abc").unwrap();
        disk.flip_bit("d/f", 1, 0).unwrap();
        disk.truncate("d/f", 2).unwrap();
        disk.write_raw("gone", b"x").unwrap();
        disk.remove_raw("gone").unwrap();
        let left = disk.after_crash(0, CrashKeep::Lose);
        assert_eq!(left.files(), [(PathBuf::from("d/f"), b"ac".to_vec())]);
        assert!(disk.flip_bit("d/f", 2, 0).is_err());
    }
}
