//! Audit logs as an application writes them: JSON lines, some fields repeating, some not.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

pub const NAMES: [&str; 3] = ["security_audit.log", "operation_audit.log", "error.log"];

const EVENTS: [&str; 8] = [
    "file_moved",
    "file_renamed",
    "workspace_opened",
    "magic_number_mismatch",
    "permission_checked",
    "rule_evaluated",
    "circuit_breaker_half_open",
    "settings_changed",
];

/// Writes `mib` MiB of them, from a fixed seed.
pub fn generate(directory: &Path, mib: u64) {
    std::fs::create_dir_all(directory).expect("create");
    for (seed, name) in NAMES.iter().enumerate() {
        let file = File::create(directory.join(name)).expect("create");
        write_lines(file, seed as u64, (mib << 20) / NAMES.len() as u64);
    }
}

/// Appends one percent.
pub fn append(directory: &Path, mib: u64) {
    for (seed, name) in NAMES.iter().enumerate() {
        let file = OpenOptions::new().append(true).open(directory.join(name)).expect("open");
        write_lines(file, 100 + seed as u64, (mib << 20) / NAMES.len() as u64 / 100);
    }
}

fn write_lines(file: File, seed: u64, bytes: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let (mut written, mut milliseconds) = (0, 1_795_000_000_000u64 + seed);
    while written < bytes {
        milliseconds += random.u64(1..4000);
        let event = EVENTS[random.usize(..EVENTS.len())];
        let (user, session) = (random.u32(..40), random.u32(..));
        let (folder, name, size) = (random.u32(..300), random.u32(..100_000), random.u32(..5_000_000));
        let line = format!(
            "{{\"timestamp\":{milliseconds},\"level\":\"info\",\"event\":\"{event}\",\"user\":\"user-{user:02}\",\
             \"session\":\"{session:08x}\",\"path\":\"/home/user-{user:02}/Documents/project-{folder}/report-{name}.pdf\",\
             \"size_bytes\":{size},\"outcome\":\"success\",\"duration_ms\":{}}}\n",
            random.u32(..900)
        );
        out.write_all(line.as_bytes()).expect("write");
        written += line.len() as u64;
    }
    out.flush().expect("flush");
}
