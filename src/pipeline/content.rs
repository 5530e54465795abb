//! Getting the content of files back out of the repository.
//!
//! Hazard: bytes may be trusted only after their object's hash, their length and their file's hash were right. All
//! three are checked here, on the way to whoever wants the content, so that nobody can forget one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::parallel;
use super::{Cancelled, Progress};
use crate::core::{ChunkKey, Digest, Sha256};
use crate::repository::catalogue::Backup;
use crate::repository::encryption::Keys;
use crate::repository::object::{CHUNK_BYTES, Decoder, ObjectFault, decrypt, decrypt_damaged};
use crate::repository::wire::{Chunk, FileEntry};
use crate::repository::{ReadError, ReadFrom, Repository, layout};

/// Why the content of a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentFault {
    /// An object could not be read, or is not what its name says.
    #[error(transparent)]
    Object(#[from] ReadError),
    /// An object is what its name says, and does not hold what the manifest says.
    #[error("{}: {fault}", layout::object(.object))]
    Content {
        /// The object.
        object: Digest,
        /// What is wrong.
        fault: ObjectFault,
    },
    /// All objects were right, and together they are not the file.
    #[error("{0:?} does not have the SHA-256 that the manifest says")]
    File(String),
}

impl ContentFault {
    /// Whether it may be right, and no identity opens it.
    pub const fn needs_identity(&self) -> bool {
        matches!(self, Self::Content { fault: ObjectFault::NoIdentity, .. })
    }

    /// Whether this is a loss, rather than something that may go away by itself.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Object(error) => error.is_damage(),
            Self::Content { .. } => !self.needs_identity(),
            Self::File(_) => true,
        }
    }
}

/// Reads chunks; one for all threads. For who wants the content ([`ReadFrom::Anywhere`]), also those chunks of a damaged pack
/// that are right.
pub struct ChunkReader<'a> {
    repository: &'a Repository,
    from: ReadFrom,
    keys: Arc<Keys>,
    decoders: Mutex<Vec<Decoder>>,
    /// The packs that were read last, decrypted, the newest last: their chunks are wanted one after the other.
    packs: Mutex<VecDeque<(Digest, Arc<Pack>)>>,
}

/// So many packs are kept: one for each thread that may be at work on another, and no more memory than chunks in flight.
const MAX_PACKS: usize = 8;

/// A pack that was read.
enum Pack {
    /// Its frames.
    Right(Vec<u8>),
    /// It is absent or damaged: its place, what is wrong with it unless it is absent, and the frames that may be left of it.
    Damaged { place: String, fault: Option<String>, left: Vec<Vec<u8>> },
}

impl<'a> ChunkReader<'a> {
    /// A reader of this repository.
    pub fn new(repository: &'a Repository, from: ReadFrom) -> Self {
        let (decoders, packs) = (Mutex::default(), Mutex::default());
        Self { repository, from, keys: repository.keys(), decoders, packs }
    }

    /// The content of a chunk.
    pub fn read(&self, chunk: &Chunk) -> Result<Vec<u8>, ContentFault> {
        if chunk.frame.is_none() {
            return self.decode(&self.frames(&chunk.object)?, chunk);
        }
        match &*self.pack(&chunk.object)? {
            Pack::Right(frames) => self.decode(frames, chunk),
            Pack::Damaged { place, fault, left } => {
                let mut left = left.iter().filter_map(|frames| self.decode(frames, chunk).ok());
                // Nothing else vouches for what is in a damaged pack.
                let right = left.find(|content| ChunkKey::of(content) == chunk.blake3);
                right.ok_or_else(|| ContentFault::Object(pack_error(place, fault.as_deref())))
            }
        }
    }

    fn decode(&self, frames: &[u8], chunk: &Chunk) -> Result<Vec<u8>, ContentFault> {
        let content_fault = |fault| ContentFault::Content { object: chunk.object, fault };
        let decoder = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decoder = decoder.map_or_else(Decoder::new, Ok).map_err(|_| content_fault(ObjectFault::Content))?;
        let content = decoder.decode(frames, chunk);
        self.decoders.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        content.map_err(content_fault)
    }

    fn frames(&self, object: &Digest) -> Result<Vec<u8>, ContentFault> {
        let stored = self.repository.read_object(object, self.from)?;
        decrypt(stored, &self.keys).map_err(|fault| ContentFault::Content { object: *object, fault })
    }

    fn pack(&self, object: &Digest) -> Result<Arc<Pack>, ContentFault> {
        let packs = || self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pack)) = packs().iter().find(|(name, _)| name == object) {
            return Ok(pack.clone());
        }
        let pack = Arc::new(match self.frames(object) {
            Ok(frames) => Pack::Right(frames),
            Err(ContentFault::Object(ReadError::Absent(place))) => self.damaged(object, place, None),
            Err(ContentFault::Object(ReadError::Damaged(place, fault))) => self.damaged(object, place, Some(fault)),
            Err(fault) => return Err(fault),
        });
        let mut packs = packs();
        if packs.len() == MAX_PACKS {
            packs.pop_front();
        }
        packs.push_back((*object, pack.clone()));
        Ok(pack)
    }

    fn damaged(&self, object: &Digest, place: String, fault: Option<String>) -> Pack {
        let left = match self.from {
            ReadFrom::Anywhere => self.repository.read_object_as_it_is(object),
            ReadFrom::Disk => Vec::new(),
        };
        let left = left.into_iter().map(|stored| decrypt_damaged(stored, &self.keys)).collect();
        Pack::Damaged { place, fault, left }
    }
}

fn pack_error(place: &str, fault: Option<&str>) -> ReadError {
    match fault {
        None => ReadError::Absent(place.to_owned()),
        Some(fault) => ReadError::Damaged(place.to_owned(), fault.to_owned()),
    }
}

/// Whether a backup can be opened here: its manifest, and the first of its chunks.
pub fn opens(repository: &Repository, backup: &Backup) -> Result<(), ContentFault> {
    let content = repository.read_opened_manifest(backup)?;
    let mut chunks = content.manifest.files().iter().flat_map(|file| &file.chunks);
    let reader = ChunkReader::new(repository, ReadFrom::Anywhere);
    chunks.next().map_or(Ok(()), |chunk| reader.read(chunk).map(drop))
}

/// Where the content of files goes.
pub trait FileSink {
    /// What ends it.
    type Error: From<Cancelled> + Send;

    /// A file begins.
    fn begin(&mut self, file: &FileEntry) -> Result<(), Self::Error>;

    /// More of its content.
    fn content(&mut self, content: &[u8]) -> Result<(), Self::Error>;

    /// Zeros come next that need not be stored: so many.
    fn hole(&mut self, length: u64) -> Result<(), Self::Error> {
        zeros(length).try_for_each(|zeros| self.content(zeros))
    }

    /// All of it came, and it is what the manifest says.
    fn end(&mut self, file: &FileEntry) -> Result<(), Self::Error>;

    /// Something about it is wrong; it will not end. The next file comes if this returns no error.
    fn fault(&mut self, file: &FileEntry, fault: ContentFault) -> Result<(), Self::Error>;
}

enum Step<C> {
    Begin(usize),
    Chunk(usize, C),
    /// So many zeros that are stored nowhere.
    Hole(u64),
    End(usize),
}

/// Hashes a file's content: in this thread, or beside whatever else is done with it.
enum FileHasher {
    Here(Sha256),
    /// Content goes one way, `None` ends a file, and its hash comes back.
    Aside(Sender<Option<Arc<Vec<u8>>>>, Receiver<Digest>),
}

/// How many chunks may wait to be hashed.
const UNHASHED_CHUNKS: usize = 2;

impl FileHasher {
    fn new<'scope>(scope: &'scope std::thread::Scope<'scope, '_>, aside: bool) -> Self {
        if !aside {
            return Self::Here(Sha256::new());
        }
        let (give, take) = bounded::<Option<Arc<Vec<u8>>>>(UNHASHED_CHUNKS);
        let (answer, answers) = bounded(1);
        scope.spawn(move || {
            let mut hasher = Sha256::new();
            for content in take {
                match content {
                    Some(content) => hasher.update(content.as_slice()),
                    None if answer.send(std::mem::take(&mut hasher).finish()).is_ok() => {}
                    None => return,
                }
            }
        });
        Self::Aside(give, answers)
    }

    fn update(&mut self, content: &Arc<Vec<u8>>) {
        match self {
            Self::Here(hasher) => hasher.update(content.as_slice()),
            // Nobody there any more: then the hash does not come either.
            Self::Aside(give, _) => drop(give.send(Some(content.clone()))),
        }
    }

    /// The hash of what came since the last time; `None` only if the hashing thread panicked.
    fn finish(&mut self) -> Option<Digest> {
        match self {
            Self::Here(hasher) => Some(std::mem::take(hasher).finish()),
            Self::Aside(give, answers) => give.send(None).ok().and_then(|()| answers.recv().ok()),
        }
    }
}

/// Reads files, in order, into `sink`; several chunks at once, on up to `threads` threads, where there are many.
pub fn read_files<S: FileSink>(
    reader: &ChunkReader<'_>,
    files: &[&FileEntry],
    threads: usize,
    progress: &Progress,
    sink: &mut S,
) -> Result<(), S::Error> {
    let total_bytes = files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add);
    let threads = if total_bytes <= CHUNK_BYTES as u64 { 0 } else { threads };
    std::thread::scope(|scope| {
        let mut hasher = FileHasher::new(scope, threads > 0);
        let mut faulty = false;
        parallel::ordered(
            threads,
            |emit| {
                emit_steps(files, emit);
                Ok(())
            },
            |step| {
                Ok(match step {
                    Step::Begin(index) => Step::Begin(index),
                    Step::Chunk(index, chunk) => Step::Chunk(index, reader.read(&chunk).map(Arc::new)),
                    Step::Hole(length) => Step::Hole(length),
                    Step::End(index) => Step::End(index),
                })
            },
            |step| match step {
                Step::Begin(index) => sink.begin(files[index]),
                Step::Hole(_) if faulty => Ok(()),
                Step::Hole(length) => {
                    pass_over(length, &mut hasher, progress)?;
                    sink.hole(length)
                }
                Step::Chunk(_, Ok(content)) if !faulty => {
                    progress.advance(content.len() as u64)?;
                    hasher.update(&content);
                    sink.content(&content)
                }
                Step::Chunk(_, Ok(_)) => Ok(()),
                Step::Chunk(index, Err(fault)) => {
                    faulty = true;
                    sink.fault(files[index], fault)
                }
                Step::End(index) => {
                    let file = files[index];
                    let right = hasher.finish() == Some(file.sha256);
                    match (std::mem::take(&mut faulty), right) {
                        (true, _) => Ok(()),
                        (false, true) => sink.end(file),
                        (false, false) => sink.fault(file, ContentFault::File(file.path.to_string())),
                    }
                }
            },
        )
    })
}

static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// So many zeros, in pieces.
pub fn zeros(length: u64) -> impl Iterator<Item = &'static [u8]> {
    let last = (length % CHUNK_BYTES as u64) as usize;
    let whole = (0..length / CHUNK_BYTES as u64).map(|_| &ZEROS[..]);
    whole.chain([&ZEROS[..last]]).filter(|piece| !piece.is_empty())
}

/// Hashes the zeros of a hole.
fn pass_over(length: u64, hasher: &mut FileHasher, progress: &Progress) -> Result<(), Cancelled> {
    let piece = Arc::new(ZEROS.to_vec());
    for zeros in zeros(length) {
        progress.advance(zeros.len() as u64)?;
        match zeros.len() {
            CHUNK_BYTES => hasher.update(&piece),
            _ => hasher.update(&Arc::new(zeros.to_vec())),
        }
    }
    Ok(())
}

/// The chunks of a file, and before each, and after the last, the length of the hole there is: 0 if none.
pub fn pieces(file: &FileEntry) -> impl Iterator<Item = (u64, Option<&Chunk>)> {
    let mut end = 0;
    let chunks = file.chunks.iter().map(Some).chain([None]);
    chunks.map(move |chunk| {
        let hole = chunk.map_or(file.size_bytes, |chunk| chunk.at).saturating_sub(end);
        end = chunk.map_or(end, |chunk| chunk.at + chunk.size_bytes);
        (hole, chunk)
    })
}

fn emit_steps(files: &[&FileEntry], emit: parallel::Emit<'_, Step<Chunk>>) {
    for (index, file) in files.iter().enumerate() {
        let pieces = pieces(file).flat_map(|(hole, chunk)| {
            let hole = (hole > 0).then_some(Step::Hole(hole));
            hole.into_iter().chain(chunk.map(|chunk| Step::Chunk(index, *chunk)))
        });
        let steps = std::iter::once(Step::Begin(index)).chain(pieces).chain([Step::End(index)]);
        for step in steps {
            if !emit(step) {
                return;
            }
        }
    }
}
