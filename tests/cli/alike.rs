//! What is the same whenever and wherever it is printed.
//!
//! Hazard: a snapshot that holds on the day and the machine where it was taken. Whatever differs from run to run is made
//! equal, and nothing else is.

use std::path::Path;

/// `9` stands for any digit, `x` for a hexadecimal one, `p` for one of bech32 (BIP 173).
const FORMS: [&str; 21] = [
    "99999999T999999Z-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "99999999T999999Z-xxxxxxxx",
    "9999-99-99T99:99:99",
    "9999-99-99 99:99:99",
    "9999-99-99 99:99",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxx",
    "age1pppppppppppppppppppppppppppppppppppppppppppppppppppppppppp",
    "in 99 min",
    "in 9.9 s",
    "9.9 KiB",
    "999 B freed",
    "99.9 GiB free",
    "duration_seconds 9.999",
    "record 99",
    "record 9",
    "against 9",
    "file, 9 remembered places",
    "cli:9",
    "cli:9999",
];

const AGES: [&str; 5] = ["9999 d ago", "99 min ago", "9 min ago", "99 s ago", "9 s ago"];

/// How far recovery mode is when a command looks that does not wait for it, on a wide terminal and on a narrow one.
const PHASES: [&str; 4] = [
    "assessing, operator request",
    "assessing, operator\n  request",
    "awaiting decision, operator request",
    "awaiting decision,\n  operator request",
];

/// `text`, printed where this was the working directory.
pub fn alike(text: &str, here: &Path) -> String {
    let here = here.to_str().unwrap();
    let text = text.replace(here, &format!("/srv/{}", "a".repeat(here.len() - "/srv/".len())));
    let text = FORMS.iter().fold(text, |text, form| of_form(&text, form));
    let text = text.replace("cli:9999", "cli:9").replace("record 99", "record 9");
    let text = PHASES.iter().fold(text, |text, phase| text.replace(phase, "PHASE, operator request"));
    AGES.iter()
        .fold(text, |text, age| now(&text, age))
        .lines()
        .map(ended_alike)
        .collect::<String>()
        .replace('\u{1b}', "<ESC>")
}

/// `text` with `age` replaced by `now`, which takes as much of its column, if it is in one.
fn now(text: &str, age: &str) -> String {
    let in_column = format!("  {:>1$}", "now", age.len());
    let text = of_form(text, age).replace(&format!("  {age}"), &in_column).replace(age, "now");
    // Whether it is on the next line depends on how long it was.
    let mut parts: Vec<&str> = text.split("(now)").collect();
    let last = parts.pop().unwrap_or_default();
    parts.iter().map(|part| format!("{} (now)", part.trim_end())).collect::<String>() + last
}

/// A line whose last column is as wide as the longest age in it, or tells how many records there are: how much is recorded
/// before a command ends depends on how fast it is.
fn ended_alike(line: &str) -> String {
    let before = line.trim_end_matches(|character: char| character.is_ascii_digit());
    if before.ends_with("  record ") {
        return format!("{before}9\n");
    }
    let ended = ["now", "AGE"].iter().find_map(|age| Some((line.strip_suffix(age)?, age)));
    match ended {
        Some((before, age)) if before.ends_with("  ") => format!("{}  {age}\n", before.trim_end()),
        _ => format!("{line}\n"),
    }
}

/// `text` with every part that looks like `form` replaced by `form` itself.
fn of_form(text: &str, form: &str) -> String {
    let form: Vec<char> = form.chars().collect();
    let fits = |(form, found): (&char, &char)| match form {
        '9' => found.is_ascii_digit(),
        'x' => matches!(found, '0'..='9' | 'a'..='f'),
        'p' => found.is_ascii_alphanumeric(),
        other => other == found,
    };
    let mut rest: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at + form.len() <= rest.len() {
        if form.iter().zip(&rest[at..]).all(fits) {
            rest.splice(at..at + form.len(), form.iter().copied());
            at += form.len();
        } else {
            at += 1;
        }
    }
    rest.into_iter().collect()
}
