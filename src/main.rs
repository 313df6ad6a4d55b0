//! The `paceline` command: see `paceline --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    paceline::cli::main()
}
