//! The documents: their examples are given to a shell as they stand there, and their links lead somewhere.
//!
//! Hazard: an operator meets an example that does not work when there is least time to find out why.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Daemon, Installation};

/// Every call is told of on standard error: status, method, address.
const TELLING: &str = "curl() {
    command curl --silent --show-error --write-out '%{stderr}%{http_code} %{method} %{url_effective}\\n' \"$@\"
}
";

/// The most lines that the README may have: a newcomer reads it whole.
const README_LINES: usize = 250;

/// The first shell block behind this text of a page.
fn shell(page: &str, behind: &str) -> String {
    let section = page.split_once(behind).unwrap().1;
    let block = section.split_once("```sh\n").unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

/// Every page of the project, as paths below its root.
fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        })
        .collect()
}

/// The links of a page that lead nowhere.
fn dead_links(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let local = links.filter(|link| !link.contains("://"));
    let is_dead = |link: &&str| {
        let (file, anchor) = link.split_once('#').map_or((*link, None), |(file, anchor)| (file, Some(anchor)));
        let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
        !target.exists()
            || anchor.is_some_and(|anchor| !anchors(&std::fs::read_to_string(&target).unwrap()).contains(anchor))
    };
    local.filter(is_dead).map(|link| format!("{}: {link}", page.display())).collect()
}

#[test]
fn the_readme_is_short_and_no_link_is_dead() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.lines().count() <= README_LINES, "the README has {} lines", readme.lines().count());
    let mut found = Vec::new();
    pages(root, &mut found);
    assert!(found.len() > 8, "{found:?}");
    let dead: Vec<String> = found.iter().flat_map(|page| dead_links(page)).collect();
    assert_eq!(dead, Vec::<String>::new());
}

#[test]
fn the_first_restore_works_with_curl_and_with_commands() {
    let readme = include_str!("../README.md");
    let installation = Installation::new();
    let file = installation.path("config/security_config.json");
    let original = std::fs::read(&file).unwrap();
    let daemon = installation.start();
    daemon.settle();
    let told = calls(&daemon, &installation, &shell(readme, "## Five minutes to the first restore"));
    assert_eq!(told.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [201, 200, 200], "{told:?}");
    assert_eq!(std::fs::read(&file).unwrap(), original);

    let script = shell(readme, "The same with the command line");
    let (install, script) = script.split_once('\n').unwrap();
    assert!(install.starts_with("cargo install"), "{install}");
    let script = script.replace("/tmp/look", &installation.path("look").display().to_string());
    let mut bash = Command::new("bash");
    common::clear_environment(&mut bash);
    let path = format!("{}:{}", Path::new(common::PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap());
    common::files::write(&file, "{}");
    let output = bash.current_dir(installation.root()).env("PATH", path).args(["-ec", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let look = std::fs::read(installation.path("look/security_config.json")).unwrap();
    assert_eq!(look, std::fs::read(&file).unwrap());
}

fn calls(daemon: &Daemon, installation: &Installation, script: &str) -> Vec<(u16, String)> {
    let script = script.replace("localhost:8080", &format!("localhost:{}", daemon.port()));
    let mut bash = Command::new("bash");
    common::clear_environment(&mut bash);
    let output = bash.current_dir(installation.root()).args(["-c", &format!("{TELLING}{script}")]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let told = told.lines().filter(|line| !line.contains("timed out"));
    told.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [status, method, url] = words[..] else { panic!("{line}") };
        let path = url.splitn(4, '/').nth(3).unwrap().split('?').next().unwrap();
        (status.parse().unwrap(), format!("{method} /{path}"))
    })
    .collect()
}

/// Whether `path` is what the document calls `template`.
fn fits(path: &str, template: &str) -> bool {
    let (path, template): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
    path.len() == template.len()
        && path.iter().zip(&template).all(|(part, wanted)| part == wanted || wanted.starts_with('{'))
}

#[test]
fn every_call_has_an_example_that_works_as_it_is_written() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let calls =
        calls(&daemon, &installation, &shell(include_str!("../src/http/README.md"), "## Every call, with curl"));
    for (status, call) in &calls {
        let is_as_said = if call.ends_with("/forget") { *status == 409 } else { *status < 300 };
        assert!(is_as_said, "{status} {call}");
    }
    let document = daemon.get("/api/openapi.json").json();
    let mut without = BTreeSet::new();
    for (template, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let has_example = calls.iter().any(|(_, call)| {
                let (used, path) = call.split_once(' ').unwrap();
                used.eq_ignore_ascii_case(method) && fits(path, template)
            });
            if !has_example {
                without.insert(format!("{method} {template}"));
            }
        }
    }
    assert_eq!(without, BTreeSet::new());
}
