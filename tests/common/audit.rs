//! The audit log, read by other code than that which writes it.
//!
//! Hazard: a chain that is checked by its own writer proves that the writer agrees with itself.

use std::path::Path;

use serde_json::Value;

use super::files::{read, sha256};

/// Every record of a log that nobody else wrote to, oldest first; each must follow the one before it.
pub fn chained_records(log: &Path) -> Vec<Value> {
    let text = String::from_utf8(read(log)).unwrap();
    assert!(text.ends_with('\n'), "the last line is torn: {:?}", text.lines().last());
    let mut prev = "0".repeat(64);
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(record["seq"], index + 1, "{line}");
        assert_eq!(record["prev"], prev.as_str(), "{line}");
        for field in ["timestamp", "event", "actor", "principal", "outcome", "correlation_id"] {
            assert!(record[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {line}");
        }
        prev = sha256(line.as_bytes());
        records.push(record);
    }
    records
}

/// The names of the events, oldest first.
pub fn events(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["event"].as_str().unwrap()).collect()
}

/// How many records tell of this event, of this set.
pub fn count(records: &[Value], event: &str, set: &str) -> usize {
    records.iter().filter(|record| record["event"] == event && record["set"] == set).count()
}
