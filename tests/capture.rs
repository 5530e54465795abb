//! Files that change while they are read.
//!
//! Hazard: a copy that is half old and half new restores perfectly and is wrong. While one thread rewrites, replaces,
//! appends to and rotates files without pause, every captured file must be one that was whole at some moment, or be
//! reported as missing or unreadable.

#[path = "repository/mod.rs"]
mod repository;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fiovana_app::core::BackupKind;
use fiovana_app::core::content::SetKind;
use fiovana_app::pipeline::archive::{ArchiveError, Archived};
use repository::source::{CHUNK_BYTES, Source};
use repository::{long, seed, site};

/// Within a page, which is written and read as one.
const IN_PLACE_BYTES: usize = 3000;

/// The size of a replaced file is told by its content: two chunks and a bit.
fn replaced(generation: u8) -> Vec<u8> {
    vec![generation; 2 * CHUNK_BYTES + usize::from(generation) * 1000]
}

/// Changes the files until told to stop.
struct Changer {
    root: PathBuf,
    random: fastrand::Rng,
    line: u64,
}

impl Changer {
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn step(&mut self) {
        match self.random.u8(..8) {
            0 => self.rewrite(),
            1 => self.replace(),
            2 => self.rotate(),
            _ => self.append(),
        }
        if self.random.u8(..20) == 0 {
            // Long enough for a capture to get through now and then.
            std::thread::sleep(Duration::from_millis(self.random.u64(5..60)));
        }
    }

    fn rewrite(&mut self) {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.path("in-place.bin")).expect("open");
        file.write_all_at(&[self.random.u8(..); IN_PLACE_BYTES], 0).expect("write");
    }

    fn replace(&mut self) {
        // Outside the set while it is written: only its arrival is a change of the set.
        let aside = self.root.with_extension("aside");
        fs::File::create(&aside).and_then(|file| file.write_all_at(&replaced(self.random.u8(..)), 0)).expect("write");
        fs::rename(aside, self.path("replaced.bin")).expect("rename");
    }

    /// By renaming or by copying and truncating; a log of some size follows.
    fn rotate(&mut self) {
        if self.random.bool() {
            fs::rename(self.path("audit.log"), self.path("audit.log.1")).expect("rename");
        } else {
            // Aside first: what logrotate leaves half copied is a half copy, and no business of a backup.
            let aside = self.root.with_extension("rotated");
            fs::copy(self.path("audit.log"), &aside).expect("copy");
            fs::rename(aside, self.path("audit.log.1")).expect("rename");
            OpenOptions::new().write(true).truncate(true).open(self.path("audit.log")).expect("truncate");
        }
        self.fill();
    }

    /// More than two chunks of lines, in one write.
    fn fill(&mut self) {
        use std::io::Write;
        let mut lines = Vec::new();
        while lines.len() < 2 * CHUNK_BYTES + 5000 {
            self.line += 1;
            lines.extend_from_slice(format!("line {} of the log {}\n", self.line, self.line).as_bytes());
        }
        let mut log = OpenOptions::new().append(true).create(true).open(self.path("audit.log")).expect("open");
        log.write_all(&lines).expect("append");
    }

    /// In two writes, so that a line is half there between them.
    fn append(&mut self) {
        use std::io::Write;
        self.line += 1;
        let mut log = OpenOptions::new().append(true).create(true).open(self.path("audit.log")).expect("open");
        write!(log, "line {} of", self.line).expect("append");
        if self.random.u8(..4) == 0 {
            std::thread::sleep(Duration::from_millis(3));
        }
        writeln!(log, " the log {}", self.line).expect("append");
    }
}

/// Whether a log is made of lines that follow each other, the last one written as far as it was at some moment.
fn is_whole_log(content: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content) else { return false };
    let (text, rest) = text.split_at(text.rfind('\n').map_or(0, |end| end + 1));
    let numbers: Option<Vec<u64>> = text
        .lines()
        .map(|line| {
            let number = line.strip_prefix("line ")?.split(' ').next()?.parse().ok()?;
            (line == format!("line {number} of the log {number}")).then_some(number)
        })
        .collect();
    let Some(numbers) = numbers else { return false };
    let next = numbers.last().map(|last| format!("line {0} of the log {0}", last + 1));
    let begun = rest.is_empty() || next.is_none_or(|next| next.starts_with(rest));
    begun && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

#[test]
fn whatever_happens_to_a_file_while_it_is_read_its_copy_was_whole_at_some_moment() {
    let seed = seed();
    println!("FIOVANA_TEST_SEED={seed}");
    let mut source = Source::new("busy");
    source.set.kind = SetKind::Logs;
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let repository = site::create_in(scratch.path());
    let root = source.set.source.real().to_owned();
    let mut changer = Changer { root, random: fastrand::Rng::with_seed(seed), line: 0 };
    changer.fill();
    changer.rewrite();
    changer.replace();
    let over = AtomicBool::new(false);
    let rounds = if long() { 2000 } else { 60 };
    let mut whole = std::collections::BTreeMap::<String, usize>::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                changer.step();
            }
        });
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds {
                let archived = site::archive(&repository, &source.set, BackupKind::Manual, site::hour(round));
                let created = match archived {
                    Ok(Archived::Created(created)) => created,
                    // Nothing held still for long enough.
                    Err(ArchiveError::NoFiles { .. }) => continue,
                    other => panic!("seed {seed}: {other:?}"),
                };
                for (path, content) in site::content(&repository, &created.backup) {
                    let right = match path.as_str() {
                        "in-place.bin" => content.len() == IN_PLACE_BYTES && content.iter().all(|b| *b == content[0]),
                        "replaced.bin" => content.first().is_some_and(|first| content == replaced(*first)),
                        _ => is_whole_log(&content),
                    };
                    assert!(right, "seed {seed}, round {round}: {path} is a mixture of {} bytes", content.len());
                    *whole.entry(path).or_default() += 1;
                }
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = judged {
            std::panic::resume_unwind(panic);
        }
    });
    for path in ["in-place.bin", "replaced.bin", "audit.log"] {
        assert!(whole.get(path).is_some_and(|times| *times > 0), "{path} was never captured: {whole:?}");
    }
}
