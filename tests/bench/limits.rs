//! What the machine can do, by the plainest tools, in this very run.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::measure::{cores, timed};

pub struct Compressed {
    pub seconds: f64,
    pub bytes: u64,
}

fn must(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status();
    let succeeded = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(succeeded, "{command:?}: {status:?}; install it with apt-get install zstd openssl coreutils");
}

/// Compresses the files with two threads, and syncs the results.
pub fn zstd(files: &[PathBuf], to: &Path) -> Compressed {
    std::fs::create_dir_all(to).expect("create");
    let output = |file: &PathBuf| to.join(file.file_name().expect("a name"));
    let (seconds, ()) = timed(|| {
        for file in files {
            must(Command::new("zstd").args(["-1", "-T2", "-q", "-f"]).arg(file).arg("-o").arg(output(file)));
        }
        files.iter().for_each(|file| File::open(output(file)).and_then(|file| file.sync_all()).expect("sync"));
    });
    let bytes = files.iter().map(|file| output(file).metadata().expect("a size").len()).sum();
    std::fs::remove_dir_all(to).expect("remove");
    Compressed { seconds, bytes }
}

/// Copies the files, and syncs the copies.
pub fn cp(files: &[PathBuf], to: &Path) -> f64 {
    std::fs::create_dir_all(to).expect("create");
    let (seconds, ()) = timed(|| {
        must(Command::new("cp").args(files).arg(to));
        for file in files {
            let copy = to.join(file.file_name().expect("a name"));
            File::open(copy).and_then(|file| file.sync_all()).expect("sync");
        }
    });
    std::fs::remove_dir_all(to).expect("remove");
    seconds
}

/// Copies a directory with all that is in it, and syncs the copies.
pub fn copied_tree(from: &Path, to: &Path) -> f64 {
    timed(|| {
        must(Command::new("cp").arg("-r").arg(from).arg(to));
        files_below(to).iter().for_each(|file| File::open(file).and_then(|file| file.sync_all()).expect("sync"));
    })
    .0
}

/// Hashes the files one after the other.
pub fn openssl(files: &[PathBuf]) -> f64 {
    timed(|| must(Command::new("openssl").args(["dgst", "-sha256"]).args(files))).0
}

/// Whether the files in `there` are these.
pub fn same(files: &[PathBuf], there: &Path) -> bool {
    files.iter().all(|file| {
        let other = there.join(file.file_name().expect("a name"));
        Command::new("cmp").arg("-s").arg(file).arg(other).status().is_ok_and(|status| status.success())
    })
}

/// Writes two small files as durably as it takes: content synced, renamed, directory synced.
pub fn two_synced_files(directory: &Path, round: usize) -> f64 {
    timed(|| {
        for name in ["object", "manifest"] {
            let (temporary, target) = (directory.join("limit.tmp"), directory.join(format!("limit-{name}-{round}")));
            let mut file = File::create(&temporary).expect("create");
            file.write_all(&[7; 700]).expect("write");
            file.sync_all().expect("sync");
            std::fs::rename(&temporary, &target).expect("rename");
            File::open(directory).and_then(|directory| directory.sync_all()).expect("sync");
        }
    })
    .0
}

/// Reads every file of a directory.
pub fn cat(directory: &Path) -> f64 {
    let find = || {
        Command::new("find")
            .arg(directory)
            .args(["-type", "f", "-exec", "cat", "{}", "+"])
            .stdout(Stdio::null())
            .status()
    };
    timed(|| assert!(find().is_ok_and(|status| status.success()))).0
}

/// Every file below a directory.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().expect("list") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Reads every file below a directory from the disk and hashes it, on every core.
pub fn hash_stored(directory: &Path) -> f64 {
    let files = files_below(directory);
    let next = AtomicUsize::new(0);
    let hash = || {
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let file = File::open(path).expect("open");
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut &file, &mut bytes).expect("read");
            assert_ne!(Sha256::digest(&bytes)[..], [0; 32]);
        }
    };
    timed(|| std::thread::scope(|scope| (0..cores()).for_each(|_| drop(scope.spawn(hash))))).0
}
