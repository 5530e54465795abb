//! The audit log, as text.

use serde_json::Value;

use super::remark;
use crate::api::AcceptOutcome;
use crate::audit::{ChainReport, Record, Unreadable};
use crate::cli::output::Look;
use crate::cli::table::{Cell, Tone};
use crate::cli::text::{count, time};
use crate::core::printable::plain;

/// What a proof of the chain found.
pub fn chain(report: &ChainReport, look: &Look) -> String {
    let anchors = count(report.anchors_matched as usize, "remembered place");
    let mut text = match (report.breaks.as_slice(), report.head) {
        ([], Some(head)) => format!(
            "the audit log is whole: {} from {} to {} in {}, held against {anchors}\n",
            count(report.records as usize, "record"),
            report.first_seq.unwrap_or(0),
            head.seq,
            count(report.files.len(), "file"),
        ),
        ([], None) => "the audit log holds no record, and none is remembered\n".to_owned(),
        (breaks, _) => {
            let broken = Cell::toned("THE AUDIT LOG IS BROKEN", Tone::Bad).painted(look);
            let first = format!("{broken}: {} in {}\n", count(breaks.len(), "break"), anchors_of(report));
            let lines = breaks.iter().map(|found| format!("  {}\n", plain(&found.to_string())));
            let next = "find out who did that; `fiovana-app audit accept` goes on from here, and says so in the log\n";
            std::iter::once(first).chain(lines).chain([next.to_owned()]).collect()
        }
    };
    let mut note = |number: usize, what: &str, rest: &str| {
        if number > 0 {
            text += &remark("note", &format!("{}{rest}", count(number, what)));
        }
    };
    note(report.accepted as usize, "break", " was accepted by a person, as the log says");
    note(report.foreign_lines as usize, "line", " of others");
    note(report.broken_lines as usize, "broken line", "");
    note(report.anchors_before_first as usize, "remembered place", " lies before the first readable record");
    for file in &report.compressed {
        let what = format!("{} is not read: decompress it to have it checked", plain(&file.display().to_string()));
        text += &remark("note", &what);
    }
    for Unreadable { file, reason } in &report.unreadable {
        let what = format!("{} cannot be read to its end: {}", plain(&file.display().to_string()), plain(reason));
        text += &remark("note", &what);
    }
    text
}

fn anchors_of(report: &ChainReport) -> String {
    format!(
        "{}, {} agree",
        count(report.files.len(), "file"),
        count(report.anchors_matched as usize, "remembered place")
    )
}

/// A record on a line. Documents as JSON have all of it; here is what says something.
pub fn record(record: &Record, _: &Look) -> String {
    let about = [record.set.as_ref().map(ToString::to_string), record.backup_id.map(|id| id.shortened())];
    let about: String = about.into_iter().flatten().map(|word| format!(" {word}")).collect();
    let details = record.details.iter().filter(|(_, value)| !is_nothing(value));
    let details: Vec<String> = details.map(|(name, value)| format!("{name} {}", told(value))).collect();
    let details = if details.is_empty() { String::new() } else { format!(": {}", plain(&details.join(", "))) };
    let head = format!("{} {:>6}  {}{about}", time(record.timestamp), record.seq, record.event);
    format!("{head} by {}{details}\n", plain(&record.principal))
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// What was accepted.
pub fn accepted(outcome: &AcceptOutcome, _: &Look) -> String {
    if outcome.accepted.is_empty() {
        return "the audit log is whole: there is nothing to accept\n".to_owned();
    }
    let lines = outcome.accepted.iter().map(|found| format!("  {}\n", plain(found)));
    std::iter::once("accepted, and recorded:\n".to_owned()).chain(lines).collect()
}
