//! Who this service is to a repository: its writer.
//!
//! Hazard: a name that describes, such as that of the host, is the same in a clone and another after a move. The writer is a
//! random id that is kept with the repository.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::repository::Repository;
use crate::repository::lock::host_name;
use crate::repository::timelines::Writer;
use crate::storage::{Durability, StorageError};

const WRITER: &str = "writer";

/// What is remembered of the writer. Lost, it is a new one, which takes nothing for its own that it does not find here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WriterDocument {
    writer: String,
}

/// The writer.
#[derive(Debug)]
pub struct Identity(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    document: WriterDocument,
    is_saved: bool,
}

impl Identity {
    /// As the repository remembers it; a new one, if it does not.
    pub fn recall(repository: &Repository) -> Self {
        let known = repository.load_state::<WriterDocument>(WRITER).ok().and_then(|loaded| loaded.value());
        let is_saved = known.is_some();
        let document = known.unwrap_or_else(|| WriterDocument { writer: new_id() });
        Self(Mutex::new(Kept { document, is_saved }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer, which is remembered durably from now on.
    pub fn writer(&self, repository: &Repository) -> Result<Writer, StorageError> {
        let mut kept = self.kept();
        if !kept.is_saved {
            repository.save_state(WRITER, &kept.document, Durability::Durable)?;
            kept.is_saved = true;
        }
        Ok(Writer { id: kept.document.writer.clone(), host: host_name() })
    }
}

fn new_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}
