//! Symlinks: kept as such where a pattern matches them, and followed beneath the source where the set names them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::files::{read, write};
use crate::place::{DONE, PROBLEMS, Place};

/// The symlinks of a backup, or of a restore: path and target.
fn symlinks(document: &Value) -> Vec<(String, String)> {
    let links = document["symlinks"].as_array().cloned().unwrap_or_default();
    let text = |link: &Value, field: &str| link[field].as_str().unwrap().to_owned();
    links.iter().map(|link| (text(link, "path"), text(link, "target"))).collect()
}

#[test]
fn symlinks_that_a_pattern_matches_are_kept_as_symlinks_and_never_followed() {
    let place = Place::new(r#""sites-enabled/*", "sites-available/**""#, "");
    place.write("sites-available/a", "server a");
    let links = [
        ("sites-enabled/a", "../sites-available/a"),
        ("sites-enabled/dangling", "../nowhere"),
        ("sites-enabled/outside", "/etc/passwd"),
        ("sites-enabled/tree", "../sites-available"),
        ("sites-enabled/odd\n-e\\n", "-\\0101 \t"),
    ];
    links.iter().for_each(|(path, target)| place.link(path, target));
    let backup = place.back_up(DONE);
    assert_eq!((&backup["state"], symlinks(&backup).len()), (&json!("good"), links.len()), "{backup}");
    let out = place.0.path("out");
    place.run(&["restore", "t", "latest", "--to", out.to_str().unwrap()], DONE);
    links.iter().for_each(|(path, target)| assert_eq!(fs::read_link(out.join(path)).unwrap(), Path::new(target)));
    assert_eq!(read(&out.join("sites-available/a")), b"server a");
    // Nothing that is the same makes a new backup; a link that leads elsewhere does.
    assert_eq!(place.document(&["drill", "t"], DONE)["verdict"], "passed");

    // In place: one gone, one that leads elsewhere, one that became a file; and all of it undone.
    fs::remove_file(place.source("sites-enabled/a")).unwrap();
    fs::remove_file(place.source("sites-enabled/dangling")).unwrap();
    place.link("sites-enabled/dangling", "elsewhere");
    fs::remove_file(place.source("sites-enabled/outside")).unwrap();
    place.write("sites-enabled/outside", "a file now");
    let text = place.run(&["diff", backup["id"].as_str().unwrap()], DONE);
    assert!(text.contains("symlink to ../nowhere") && text.contains("symlink to elsewhere"), "{text}");
    let restored = place.document(&["restore", "t", backup["id"].as_str().unwrap()], DONE);
    links.iter().for_each(|(path, target)| assert_eq!(place.target(path), Path::new(target)));
    place.undo(&restored);
    assert!(place.source("sites-enabled/a").symlink_metadata().is_err());
    assert_eq!(place.target("sites-enabled/dangling"), Path::new("elsewhere"));
    assert_eq!(read(&place.source("sites-enabled/outside")), b"a file now");
    // What `recover` would do says so, too.
    let plan = place.document(&["recover", "--dry-run"], DONE);
    let entry =
        |path: &str| plan["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == path).unwrap().clone();
    assert_eq!(entry("sites-enabled/a")["action"], "restore", "{plan}");
    assert_eq!(entry("sites-enabled/dangling")["live"], "differs", "{plan}");
    assert_eq!(entry("sites-enabled/tree")["live"], "same", "{plan}");
    place.0.run(&["recover", "--yes"]);
    assert_eq!(place.target("sites-enabled/a"), Path::new("../sites-available/a"));
}

/// As Kubernetes lays a ConfigMap out.
fn config_map(place: &Place, version: &str, content: &str) {
    place.write(&format!("..{version}/app.json"), content);
    let _ = fs::remove_file(place.source("..data_tmp"));
    symlink(format!("..{version}"), place.source("..data_tmp")).unwrap();
    fs::rename(place.source("..data_tmp"), place.source("..data")).unwrap();
}

#[test]
fn a_named_file_that_is_a_link_beneath_the_source_is_captured_with_all_that_it_leads_to() {
    let place = Place::new(r#""app.json", "current/x""#, "");
    config_map(&place, "1", "{\"version\": 1}");
    place.link("app.json", "..data/app.json");
    place.write("releases/1/x", "x");
    place.link("current", place.source("releases/1").to_str().unwrap());
    let backup = place.back_up(DONE);
    assert_eq!(backup["state"], "good");
    let files: Vec<&str> = backup["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(files, ["..1/app.json", "releases/1/x"], "{backup}");
    assert_eq!(symlinks(&backup).len(), 3, "{backup}");
    assert!(!place.run(&["status"], DONE).contains("degraded"));
    // The next version, the one before gone; then back to it.
    config_map(&place, "2", "{\"version\": 2}");
    fs::remove_dir_all(place.source("..1")).unwrap();
    place.back_up(DONE);
    let id = backup["id"].as_str().unwrap();
    place.run(&["restore", "t", id, "--file", "app.json"], DONE);
    assert_eq!(read(&place.source("app.json")), b"{\"version\": 1}");
    assert_eq!(place.target("..data"), PathBuf::from("..1"));
    // It is gone: the plan brings back the link and what it leads to.
    fs::remove_file(place.source("app.json")).unwrap();
    fs::remove_dir_all(place.source("..1")).unwrap();
    place.0.run(&["recover", "--yes"]);
    assert_eq!(read(&place.source("app.json")), b"{\"version\": 2}");
    // What it leads to does not parse: so it is with the file.
    write(&place.source("..2/app.json"), "{");
    let plan = place.document(&["recover", "--dry-run"], DONE);
    let entry = plan["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == "app.json").unwrap();
    assert_eq!((&entry["live"], &entry["action"]), (&json!("invalid"), &json!("restore")), "{plan}");
}

/// Puts something in the source.
type Make<'a> = &'a dyn Fn(&Place);

#[test]
fn a_named_file_whose_content_is_elsewhere_makes_no_backup_good() {
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("secret"), "of somebody else");
    let secret = outside.path().join("secret").to_str().unwrap().to_owned();
    let cases: [(&str, Make<'_>, &str); 6] = [
        ("link", &|place| place.link("link", &secret), "which is outside the source"),
        ("up", &|place| place.link("up", "../config/fiovana.toml"), "which is outside the source"),
        ("dangling", &|place| place.link("dangling", "nowhere"), "which does not exist"),
        ("round", &|place| place.link("round", "round"), "without an end"),
        ("tree", &|place| fs::create_dir(place.source("tree")).unwrap(), "a directory"),
        ("pipe", &|place| make_pipe(&place.source("pipe")), "a pipe"),
    ];
    for (file, make, reason) in cases {
        let place = Place::new(&format!(r#""{file}", "plain""#), "");
        place.write("plain", "plain");
        make(&place);
        let backup = place.back_up(PROBLEMS);
        assert_eq!(backup["state"], "suspect", "{file}");
        let told = backup["unreadable"][0]["reason"].as_str().unwrap();
        assert!(told.starts_with("missing content: ") && told.contains(reason), "{file}: {told}");
        assert!(place.run(&["restore", "t", "latest", "--to", "out"], 1).contains("no good backup"), "{file}");
        let status = place.run(&["status"], DONE);
        assert!(status.contains("degraded") && status.contains(&format!("t: unreadable: {file}")), "{status}");
    }
}

fn make_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}
