//! Getting the content of files back out of the repository.
//!
//! Hazard: bytes may be trusted only after their object's hash, their length and their file's hash were right. All
//! three are checked here, on the way to whoever wants the content, so that nobody can forget one.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::parallel;
use super::{Cancelled, Progress};
use crate::core::{Digest, Sha256};
use crate::repository::catalogue::Backup;
use crate::repository::encryption::Keys;
use crate::repository::object::{CHUNK_BYTES, Decoder, ObjectFault};
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

/// Reads chunks; one for all threads.
pub struct ChunkReader<'a> {
    repository: &'a Repository,
    from: ReadFrom,
    keys: Arc<Keys>,
    decoders: Mutex<Vec<Decoder>>,
}

impl<'a> ChunkReader<'a> {
    /// A reader of this repository.
    pub fn new(repository: &'a Repository, from: ReadFrom) -> Self {
        Self { repository, from, keys: repository.keys(), decoders: Mutex::default() }
    }

    /// The content of a chunk.
    pub fn read(&self, chunk: &Chunk) -> Result<Vec<u8>, ContentFault> {
        let stored = self.repository.read_object(&chunk.object, self.from)?;
        let content_fault = |fault| ContentFault::Content { object: chunk.object, fault };
        let decoder = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decoder = decoder.map_or_else(Decoder::new, Ok).map_err(|_| content_fault(ObjectFault::Content))?;
        let content = decoder.decode(&stored, chunk.size_bytes, &self.keys);
        self.decoders.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        content.map_err(content_fault)
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

    /// All of it came, and it is what the manifest says.
    fn end(&mut self, file: &FileEntry) -> Result<(), Self::Error>;

    /// Something about it is wrong; it will not end. The next file comes if this returns no error.
    fn fault(&mut self, file: &FileEntry, fault: ContentFault) -> Result<(), Self::Error>;
}

enum Step<C> {
    Begin(usize),
    Chunk(usize, C),
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
                    Step::End(index) => Step::End(index),
                })
            },
            |step| match step {
                Step::Begin(index) => sink.begin(files[index]),
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
                        (false, false) => sink.fault(file, ContentFault::File(file.path.clone())),
                    }
                }
            },
        )
    })
}

fn emit_steps(files: &[&FileEntry], emit: parallel::Emit<'_, Step<Chunk>>) {
    for (index, file) in files.iter().enumerate() {
        let chunks = file.chunks.iter().map(|chunk| Step::Chunk(index, *chunk));
        let steps = std::iter::once(Step::Begin(index)).chain(chunks).chain([Step::End(index)]);
        for step in steps {
            if !emit(step) {
                return;
            }
        }
    }
}
