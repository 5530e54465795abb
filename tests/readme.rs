//! The README's calls of the API, given to a shell as they stand there.
//!
//! Hazard: an example that does not work is found out by who has least time to find out why.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::{Daemon, Installation};

/// Every call is told of on standard error: status, method, address.
const TELLING: &str = "curl() {
    command curl --silent --show-error --write-out '%{stderr}%{http_code} %{method} %{url_effective}\\n' \"$@\"
}
";

/// The lines of the section with this heading that are for a shell.
fn shell(readme: &str, heading: &str) -> String {
    let section = readme.split_once(heading).unwrap().1;
    let block = section.split_once("```sh\n").unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
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
    let calls = calls(&daemon, &installation, &shell(include_str!("../README.md"), "### Every call, with curl"));
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
