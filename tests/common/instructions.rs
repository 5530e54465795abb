//! Following RESTORE.txt: its lines, run by a shell.

use std::path::Path;
use std::process::Command;

/// The commands of each numbered step: its indented lines.
pub fn steps(text: &str) -> Vec<String> {
    let mut steps = Vec::new();
    for line in text.lines() {
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            steps.push(String::new());
        } else if let (Some(command), Some(step)) = (line.strip_prefix("    "), steps.last_mut()) {
            step.push_str(command);
            step.push('\n');
        }
    }
    steps
}

/// Runs the lines of a step in `backups`; what they printed.
pub fn run(step: &str, backups: &Path, manifest: &str, to: &Path) -> String {
    let script = format!("set -eu -o pipefail\n{step}");
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", &script]).current_dir(backups).env("M", manifest).env("TO", to).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{step}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}
