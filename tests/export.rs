//! A backup as one archive, opened with nothing but `tar` and `zstd`.
//!
//! Hazard: half an archive under a whole one's name; and one whose files are not what was backed up.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use common::files::{self, set_mode};
use common::{Installation, code, repository};
use serde_json::Value;

const NOTES: &str = "[sets.notes]\nsource = \"notes\"\nfiles = [\"**\"]\nvalidate = \"none\"\nreplicate = false\n";

fn installation() -> (Installation, String, String) {
    let installation = Installation::with_settings(NOTES);
    let deep = format!("{0}/{0}/{0}.txt", "long-name-".repeat(8));
    let notes = installation.path("notes");
    std::fs::create_dir_all(notes.join(&deep).parent().unwrap()).unwrap();
    files::write(&notes.join(&deep), "deep");
    files::write(&notes.join("empty"), "");
    let large: Vec<u8> = (0..700_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    files::write(&notes.join("large.bin"), large);
    files::write(&notes.join("run.sh"), "#!/bin/sh\n");
    set_mode(&notes.join("run.sh"), 0o750);
    let touched =
        Command::new("touch").args(["-d", "2020-02-29T12:34:56.123456789Z"]).arg(notes.join("run.sh")).status();
    assert!(touched.unwrap().success());
    assert_eq!(code(installation.run(&["init"]).status), 0);
    let backup = installation.run(&["backup", "notes", "--json"]);
    let backup: Value = serde_json::from_slice(&backup.stdout).unwrap();
    (installation, backup["id"].as_str().unwrap().to_owned(), deep)
}

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn tar_and_zstd_alone_bring_every_file_back_as_it_was() {
    let (installation, id, deep) = installation();
    let out = tempfile::tempdir().unwrap();
    let archive = out.path().join("notes.tar.zst");
    let exported = installation.run(&["export", &id[..20], archive.to_str().unwrap(), "--json"]);
    assert_eq!(code(exported.status), 0, "{}", String::from_utf8_lossy(&exported.stderr));
    let document: Value = serde_json::from_slice(&exported.stdout).unwrap();
    let length = std::fs::metadata(&archive).unwrap();
    assert_eq!((document["id"].as_str(), document["files"].as_u64()), (Some(id.as_str()), Some(4)));
    assert_eq!((document["archive_bytes"].as_u64(), length.mode() & 0o7777), (Some(length.len()), 0o600));

    std::fs::create_dir(out.path().join("x")).unwrap();
    let opened = Command::new("tar")
        .args(["--zstd", "-xpf"])
        .arg(&archive)
        .arg("-C")
        .arg(out.path().join("x"))
        .output()
        .unwrap();
    assert!(opened.status.success() && opened.stderr.is_empty(), "{}", String::from_utf8_lossy(&opened.stderr));
    for name in [deep.as_str(), "empty", "large.bin", "run.sh"] {
        let (live, back) = (installation.path("notes").join(name), out.path().join("x").join(name));
        assert_eq!(files::read(&live), files::read(&back), "{name}");
        let [live, back] = [live, back].map(|path| {
            let metadata = std::fs::metadata(path).unwrap();
            (metadata.mode(), metadata.uid(), metadata.gid(), metadata.mtime(), metadata.mtime_nsec())
        });
        assert_eq!(live, back, "{name}");
    }
    assert_eq!(entries(&out.path().join("x")).len(), 4);

    let before = files::read(&archive);
    let again = installation.run(&["export", &id, archive.to_str().unwrap()]);
    assert_eq!(code(again.status), 1);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    assert_eq!(files::read(&archive), before);
}

#[test]
fn a_damaged_backup_leaves_no_archive_and_nothing_beside_it() {
    let (installation, id, _) = installation();
    let out = tempfile::tempdir().unwrap();
    let manifest = repository::manifest(&installation.path("backups"), "notes", &id);
    let files = repository::files(&installation.path("backups"), &manifest);
    let large = files.iter().find(|file| file["path"] == "large.bin").unwrap();
    let last = large["chunks"].as_array().unwrap().last().unwrap()["object"].as_str().unwrap();
    let object = repository::object_path(&installation.path("backups"), last);
    let mut bytes = files::read(&object);
    *bytes.last_mut().unwrap() ^= 1;
    set_mode(&object, 0o600);
    files::write(&object, bytes);
    let archive = out.path().join("notes.tar.zst");
    let refused = installation.run(&["export", &id, archive.to_str().unwrap()]);
    assert_eq!(code(refused.status), 4, "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(entries(out.path()), Vec::<String>::new());

    let nowhere = installation.run(&["export", &id, "/nowhere/notes.tar.zst"]);
    assert_eq!(code(nowhere.status), 1);
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere/notes.tar.zst"));
}
