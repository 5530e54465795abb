//! The `fiovana-app` command.

use std::process::ExitCode;

use fiovana_app::{cli, daemon};

fn main() -> ExitCode {
    daemon::keep_memory_private();
    let exit = match cli::parse(std::env::args_os()) {
        Ok(arguments) => cli::run(arguments),
        Err(instead) => cli::explain(&instead),
    };
    ExitCode::from(exit.code())
}
