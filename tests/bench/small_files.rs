//! Many small files: the first backup, one in which little changed, and the restore.

use std::collections::HashMap;
use std::path::Path;

use fiovana_app::core::BackupKind;
use fiovana_app::repository::object::Encoder;

use super::Site;
use super::limits;
use super::measure::{Table, timed};

const FILES: u32 = 20_000;

/// Backs up and restores small files, beside storing each as an object of its own, and beside `cp`.
pub fn back_up_and_restore(root: &Path, table: &mut Table) {
    let source = root.join("data");
    for number in 0..FILES {
        write(&source, number, 0);
    }
    let site = Site::new(root, &source, "[\"**\"]");
    // So that no file is as fresh as the kernel's clock is coarse: that wait is not work.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let (first, _) = timed(|| site.read_back(&site.archive_new(BackupKind::Manual)));
    let (apart, ()) = timed(|| each_apart(&root.join("apart"), &source));
    table.row("20,000 files of 1 KiB, read back", first, "20,000 objects, written alone", apart);
    for number in (0..FILES).step_by(100) {
        write(&source, number, 1);
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    let (second, created) = timed(|| {
        let created = site.archive_new(BackupKind::Manual);
        site.read_back(&created);
        created
    });
    table.row("1 % of them changed, read back", second, "the first backup", first);
    let (ours, ()) = timed(|| site.restore(&created.backup, &root.join("restored")));
    let cp = limits::copied_tree(&source, &root.join("copied"));
    table.row("restore them", ours, "cp -r, sync", cp);
}

fn write(source: &Path, number: u32, round: u32) {
    let mut random = fastrand::Rng::with_seed(u64::from(number) << 1 | u64::from(round));
    let directory = source.join(format!("{:02}", number % 100));
    std::fs::create_dir_all(&directory).expect("create");
    let line = |_| format!("{{\"at\":{number},\"token\":\"{:016x}\"}}\n", random.u64(..));
    let content: String = (0..32).map(line).collect();
    std::fs::write(directory.join(format!("{number}.txt")), &content[..1024]).expect("write");
}

/// What a backup did before there were packs: an object for each file.
fn each_apart(root: &Path, source: &Path) {
    let site = Site::new(root, source, "[\"**\"]");
    let mut encoder = Encoder::new(None).expect("an encoder");
    let mut staged = HashMap::new();
    for number in 0..FILES {
        let path = source.join(format!("{:02}/{number}.txt", number % 100));
        let encoded = encoder.encode(&std::fs::read(path).expect("read")).expect("encode");
        let file = site.repository.stage(&encoded).expect("stage");
        staged.insert(encoded.name, (file, encoded.stored.len() as u64));
    }
    site.repository.publish_objects(staged).expect("publish");
}
