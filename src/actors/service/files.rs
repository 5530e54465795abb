//! The content of a file in a backup, for who may see it.
//!
//! Hazard: a name in a request is no path. A file is found by the name that the manifest has for it, and nothing else is
//! ever opened.

use std::borrow::Cow;

use super::{Caller, Service, problems, view};
use crate::api::{FileDocument, Problem, ProblemKind};
use crate::pipeline::content::ChunkReader;
use crate::pipeline::fetch::Fetch;
use crate::repository::ReadFrom;
use crate::repository::kept::Kept;

/// A file that is being handed out.
pub struct Download {
    /// The file.
    pub file: FileDocument,
    /// Its content, chunk by chunk, at most about 1 MiB each. Reading it blocks; after a problem there is no more.
    pub content: Box<dyn Iterator<Item = Result<Vec<u8>, Problem>> + Send>,
}

impl Service {
    /// A file of a backup, by the path that the backup has for it.
    pub fn download(&self, reference: &str, path: &str, caller: &Caller) -> Result<Download, Problem> {
        let backup = view::resolve(self.repository()?, None, reference)?;
        let read = self.world.repository.read_opened_manifest(&backup);
        let content = read.map_err(|error| problems::of_reading(&self.world.repository, &backup, path, &error))?;
        let kept = content.manifest.body.as_ref().and_then(|body| body.kept_at(path));
        let file = kept.and_then(Kept::as_file).map(Cow::into_owned).ok_or_else(|| {
            let shown: String = path.chars().take(96).collect();
            let (id, what) = (backup.id, if kept.is_some() { "a symlink" } else { "no file" });
            let detail = format!("backup {id} has {what} {shown:?}: GET /api/backup/{id} lists what it has");
            Problem::new(ProblemKind::NotFound, detail)
        })?;
        tracing::info!(principal = caller.principal, backup = %backup.id, path, "the content of a file is handed out");
        let document = view::file(&file);
        let (service, path, mut fetch) = (self.clone(), path.to_owned(), Fetch::new(file));
        let content = std::iter::from_fn(move || {
            let chunk = fetch.next(&ChunkReader::new(&service.world.repository, ReadFrom::Anywhere))?;
            Some(chunk.map_err(|fault| {
                if fault.is_damage() {
                    service.world.repository.doubt(backup.id);
                    // Finds out, and says, what exactly is damaged.
                    service.check_doubtful();
                }
                problems::of_content(&service.world.repository, &backup, &path, &fault)
            }))
        });
        Ok(Download { file: document, content: Box::new(content) })
    }
}
