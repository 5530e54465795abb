//! JSON documents, key by key.
//!
//! Hazard: a secret below a harmless name, or above one. Everything below a secret-looking key is hidden; so are the
//! other members of an object that names a secret in one of them (`{"name": "password", "value": …}`).

use serde_json::{Map, Value};

use super::{Difference, KeyChange, MAX_TOLD, shortened};
use crate::core::secrets::{Redactor, is_secret_flag, is_secret_name, is_secret_value};

/// Members whose value is the name of what the other members say.
const NAMING_MEMBERS: [&str; 6] = ["name", "id", "field", "variable", "option", "header"];

/// The keys that differ.
pub fn compare(before: &Value, after: &Value, redactor: &mut Redactor) -> Difference {
    let mut comparison = Comparison { redactor, changes: Vec::new(), more: 0 };
    comparison.values(String::new(), Some(before), Some(after), false);
    Difference::Keys { changes: comparison.changes, more: comparison.more }
}

struct Comparison<'r> {
    redactor: &'r mut Redactor,
    changes: Vec<KeyChange>,
    more: usize,
}

impl Comparison<'_> {
    /// `hidden`: something above says that this is secret. A document's depth is bounded by its parser.
    fn values(&mut self, path: String, before: Option<&Value>, after: Option<&Value>, hidden: bool) {
        if before == after {
            return;
        }
        match (before, after) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let hidden = hidden || names_a_secret(a) || names_a_secret(b);
                let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    let below = format!("{path}/{}", escaped(key));
                    self.values(below, a.get(key), b.get(key), hidden || is_secret_name(key));
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                for at in 0..a.len().max(b.len()) {
                    let hidden = hidden || follows_a_flag(a, at) || follows_a_flag(b, at);
                    self.values(format!("{path}/{at}"), a.get(at), b.get(at), hidden);
                }
            }
            _ if self.changes.len() >= MAX_TOLD => self.more += 1,
            _ => {
                let mut shown = |value: Option<&Value>| value.map(|value| self.shown(value, hidden));
                let (before, after) = (shown(before), shown(after));
                self.changes.push(KeyChange { path: shown_path(path), before, after });
            }
        }
    }

    fn shown(&mut self, value: &Value, hidden: bool) -> String {
        shortened(&self.redacted(value, hidden).to_string())
    }

    fn redacted(&mut self, value: &Value, hidden: bool) -> Value {
        match value {
            Value::Null | Value::Bool(_) if !hidden => value.clone(),
            Value::Object(members) if !hidden => {
                let names = names_a_secret(members);
                let redacted = members.iter().map(|(key, value)| {
                    (key.clone(), self.redacted(value, (names && !is_naming(key)) || is_secret_name(key)))
                });
                Value::Object(redacted.collect())
            }
            Value::Array(elements) if !hidden => {
                let redacted = elements.iter().zip(0..);
                let redacted = redacted.map(|(element, at)| self.redacted(element, follows_a_flag(elements, at)));
                Value::Array(redacted.collect())
            }
            Value::String(text) if !hidden && !is_secret_value(text) => value.clone(),
            Value::Number(_) if !hidden => value.clone(),
            secret => Value::String(self.redactor.hide(&secret.to_string())),
        }
    }
}

fn is_naming(key: &str) -> bool {
    NAMING_MEMBERS.contains(&key.to_lowercase().as_str())
}

/// Whether one member says that the others are a secret.
fn names_a_secret(members: &Map<String, Value>) -> bool {
    members.iter().any(|(key, value)| is_naming(key) && value.as_str().is_some_and(is_secret_name))
}

/// Whether the element is an argument after a flag that says it is a secret.
fn follows_a_flag(elements: &[Value], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| elements.get(before));
    before.and_then(Value::as_str).is_some_and(is_secret_flag)
}

/// A key as a segment of a JSON pointer.
fn escaped(key: &str) -> String {
    shortened(&key.replace('~', "~0").replace('/', "~1"))
}

/// A path that is itself no secret: keys may be anything.
fn shown_path(path: String) -> String {
    if path.split('/').any(is_secret_value) { "(redacted)".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(before: Value, after: Value) -> Vec<(String, Option<String>, Option<String>)> {
        let Difference::Keys { changes, .. } = compare(&before, &after, &mut Redactor::default()) else {
            panic!("no keys")
        };
        changes.into_iter().map(|change| (change.path, change.before, change.after)).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn added_removed_and_changed_keys_are_told_by_their_pointers() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "d/e~f": "x"}, "same": [1]});
        let after = json!({"b": {"c": [1, 3, {"g": null}], "d/e~f": "y"}, "same": [1], "new": true});
        let expected = [
            ("/a".to_owned(), some("1"), None),
            ("/b/c/1".to_owned(), some("2"), some("3")),
            ("/b/c/2".to_owned(), None, some("{\"g\":null}")),
            ("/b/d~1e~0f".to_owned(), some("\"x\""), some("\"y\"")),
            ("/new".to_owned(), None, some("true")),
        ];
        assert_eq!(changes(before, after), expected);
        assert_eq!(changes(json!([1]), json!({})), [(String::new(), some("[1]"), some("{}"))]);
    }

    #[test]
    fn secrets_are_hidden_wherever_they_are_and_their_change_is_seen() {
        let with = |secret: &str| {
            json!({
                "password": secret,
                "auth": {"user": "u", "pins": [1, secret]},
                "list": [{"apiKey": secret}, {"name": "DB_PASSWORD", "value": secret}],
                "command": ["run", "--token", secret],
                "url": format!("postgres://u:{secret}@db/"),
                "level": 1,
            })
        };
        let told = changes(with("hunter2"), with("correct horse"));
        let paths: Vec<&str> = told.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(paths, ["/auth/pins/1", "/command/2", "/list/0/apiKey", "/list/1/value", "/password", "/url"]);
        assert!(told.iter().all(|(_, before, after)| before != after));
        let all = format!(
            "{told:?} {:?}",
            changes(json!({}), json!({"added": with("hunter2"), "token": [{"x": "hunter2"}]}))
        );
        assert!(!all.contains("hunter2") && !all.contains("correct horse"), "{all}");
        assert!(all.contains("level"), "{all}");
    }

    #[test]
    fn an_endless_difference_is_told_in_part() {
        let many: Value = (0..2 * MAX_TOLD).map(|number| json!(number)).collect();
        let none: Value = (0..2 * MAX_TOLD).map(|_| json!("x".repeat(1000))).collect();
        let Difference::Keys { changes, more } = compare(&many, &none, &mut Redactor::default()) else { panic!() };
        assert_eq!((changes.len(), more), (MAX_TOLD, MAX_TOLD));
        assert!(changes.iter().all(|change| change.after.as_ref().is_some_and(|text| text.chars().count() < 300)));
    }
}
