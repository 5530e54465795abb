//! JSON documents, key by key.
//!
//! Hazard: a secret below a harmless name, above one, or in one. Everything below a secret-looking key is hidden; so are
//! the other members of an object that names a secret in one of them (`{"name": "password", "value": …}`), and what in a
//! key or a text is a secret by its form.

use serde_json::{Map, Value};

use super::{Difference, KeyChange, MAX_TOLD, shortened};
use crate::core::secrets::{Redactor, is_secret_name, names_a_secret, takes_a_secret};

/// How many bytes of a text are looked at; far fewer are shown.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// The keys that differ; of a document that is secret as a whole, nothing but keys is shown.
pub fn compare(is_secret: bool, before: &Value, after: &Value, redactor: &mut Redactor) -> Difference {
    let mut comparison = Comparison { redactor, changes: Vec::new(), more: 0 };
    comparison.values(&Place { is_secret, ..Place::default() }, Some(before), Some(after));
    Difference::Keys { changes: comparison.changes, more: comparison.more }
}

struct Comparison<'r> {
    redactor: &'r mut Redactor,
    changes: Vec<KeyChange>,
    more: usize,
}

/// Where a value is.
#[derive(Clone, Default)]
struct Place {
    /// As a JSON pointer, as it is shown.
    path: String,
    /// The nearest key.
    name: String,
    /// Whether something above says that this is secret.
    is_secret: bool,
}

impl Comparison<'_> {
    /// A document's depth is bounded by its parser.
    fn values(&mut self, place: &Place, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        match (before, after) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let names = says_so(a) || says_so(b);
                let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    let below = Place {
                        path: format!("{}/{}", place.path, self.segment(key)),
                        name: key.clone(),
                        is_secret: place.is_secret || names || is_secret_name(key),
                    };
                    self.values(&below, a.get(key), b.get(key));
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                for at in 0..a.len().max(b.len()) {
                    let below = Place {
                        path: format!("{}/{at}", place.path),
                        is_secret: place.is_secret || follows_its_name(a, at) || follows_its_name(b, at),
                        ..place.clone()
                    };
                    self.values(&below, a.get(at), b.get(at));
                }
            }
            _ if self.changes.len() >= MAX_TOLD => self.more += 1,
            _ => {
                let mut shown = |value: Option<&Value>| value.map(|value| self.shown(value, place));
                let (before, after) = (shown(before), shown(after));
                let path = place.path.clone();
                self.changes.push(KeyChange { path, before, after });
            }
        }
    }

    fn shown(&mut self, value: &Value, place: &Place) -> String {
        shortened(&self.redacted(value, &place.name, place.is_secret).to_string())
    }

    fn redacted(&mut self, value: &Value, name: &str, is_secret: bool) -> Value {
        match value {
            _ if self.redactor.shows_all() => value.clone(),
            // One of two things, known to whoever reads the name.
            Value::Null | Value::Bool(_) => value.clone(),
            Value::String(text) if text.is_empty() => value.clone(),
            _ if is_secret => Value::String(self.redactor.hide(&as_text(value))),
            Value::Object(members) => {
                let names = says_so(members);
                let redacted = members.iter().map(|(key, value)| {
                    let is_secret = (names && !names_a_secret(key, value.as_str())) || is_secret_name(key);
                    (self.redactor.text(key), self.redacted(value, key, is_secret))
                });
                Value::Object(redacted.collect())
            }
            Value::Array(elements) => {
                let redacted = elements.iter().enumerate();
                let redacted =
                    redacted.map(|(at, element)| self.redacted(element, name, follows_its_name(elements, at)));
                Value::Array(redacted.collect())
            }
            Value::String(text) => Value::String(self.text(name, text)),
            Value::Number(_) => value.clone(),
        }
    }

    /// A text without what is secret in it. Of a long one the beginning is looked at, and only that is shown.
    fn text(&mut self, name: &str, text: &str) -> String {
        let (beginning, rest) = text.split_at(text.floor_char_boundary(MAX_TEXT_BYTES));
        let beginning = self.redactor.value(name, beginning);
        if rest.is_empty() { beginning } else { beginning + &self.redactor.hide(rest) }
    }

    /// A key as a segment of a JSON pointer (RFC 6901), without what is secret in it.
    fn segment(&mut self, key: &str) -> String {
        shortened(&self.redactor.text(key).replace('~', "~0").replace('/', "~1"))
    }
}

/// A value as it stands in other formats, too.
fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether one member says that the others are a secret.
fn says_so(members: &Map<String, Value>) -> bool {
    members.iter().any(|(key, value)| names_a_secret(key, value.as_str()))
}

/// Whether the element is the argument of a flag that says it is a secret, or the second of a pair whose first says so.
fn follows_its_name(elements: &[Value], at: usize) -> bool {
    let text = |at: Option<usize>| at.and_then(|at| elements.get(at)).and_then(Value::as_str);
    let Some(name) = text(at.checked_sub(1)) else { return false };
    let argument = text(Some(at)).unwrap_or_default();
    takes_a_secret(name, argument) || (elements.len() == 2 && is_secret_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(before: Value, after: Value) -> Vec<(String, Option<String>, Option<String>)> {
        let Difference::Keys { changes, .. } = compare(false, &before, &after, &mut Redactor::default()) else {
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
                "command": ["run", "--token", secret, "-p", secret],
                "pair": ["DB_PASSWORD", secret],
                (format!("sk_live_{}0", secret.replace(' ', ""))): 1,
                "url": format!("postgres://u:{secret}@db/"),
                "level": 1,
            })
        };
        let told = changes(with("hunter2"), with("correct horse"));
        let paths: Vec<&str> = told.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/auth/pins/1",
                "/command/2",
                "/command/4",
                "/list/0/apiKey",
                "/list/1/value",
                "/pair/1",
                "/password",
                "/(hidden #3)",
                "/(hidden #4)",
                "/url"
            ]
        );
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
        let Difference::Keys { changes, more } = compare(false, &many, &none, &mut Redactor::default()) else {
            panic!()
        };
        assert_eq!((changes.len(), more), (MAX_TOLD, MAX_TOLD));
        assert!(changes.iter().all(|change| change.after.as_ref().is_some_and(|text| text.chars().count() < 300)));
    }
}
