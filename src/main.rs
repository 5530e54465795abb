//! The `fiovana-app` command.

fn main() {}
