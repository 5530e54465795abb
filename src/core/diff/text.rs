//! Text, line by line.
//!
//! Hazard: a line that is compared as it is and shown as it is. Secrets are hidden first, so that what is compared is
//! what is shown.

use similar::TextDiff;

use super::{Difference, MAX_LINES, MAX_TOLD, shortened, unshown};
use crate::core::secrets::Redactor;

/// How many lines are shown around those that differ.
const CONTEXT_LINES: usize = 2;

/// The lines that differ; of a text that is secret as a whole, nothing but names is shown.
pub fn compare(is_secret: bool, before: &str, after: &str, redactor: &mut Redactor) -> Difference {
    if before.lines().count().max(after.lines().count()) > MAX_LINES {
        return unshown(format!("it has more than {MAX_LINES} lines"));
    }
    let [before, after] = [before, after]
        .map(|text| in_whole_lines(if is_secret { redactor.secret_text(text) } else { redactor.text(text) }));
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    let unified = diff.unified_diff().context_radius(CONTEXT_LINES).missing_newline_hint(false).to_string();
    let lines: Vec<String> = unified.lines().take(MAX_TOLD).map(shortened).collect();
    let more = unified.lines().count() - lines.len();
    if lines.is_empty() {
        return unshown("only the ends of lines differ".into());
    }
    Difference::Lines { lines, more }
}

/// A last line without an end is no difference.
fn in_whole_lines(text: String) -> String {
    if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(before: &str, after: &str) -> Vec<String> {
        match compare(false, before, after, &mut Redactor::default()) {
            Difference::Lines { lines, .. } => lines,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_shown_in_the_unified_form_with_secrets_hidden() {
        let before = "a\nb\nc\nd\npassword = hunter2\n";
        let after = "a\nb\nc\nD\npassword = hunter3\n";
        let expected =
            ["@@ -2,4 +2,4 @@", " b", " c", "-d", "-password = (hidden #1)", "+D", "+password = (hidden #2)"];
        assert_eq!(lines(before, after), expected);
    }

    #[test]
    fn an_endless_difference_is_told_in_part() {
        let many: String = (0..2 * MAX_TOLD).map(|number| format!("{number} {}\n", "x".repeat(1000))).collect();
        let Difference::Lines { lines, more } = compare(false, &many, "", &mut Redactor::default()) else { panic!() };
        assert_eq!(lines.len(), MAX_TOLD);
        assert!(more >= MAX_TOLD && lines.iter().all(|line| line.chars().count() < 300));
    }
}
