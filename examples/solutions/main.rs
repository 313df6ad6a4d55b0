//! The exercises, solved: each file is the exercise with its hole filled.
//!
//! `cargo run --example solutions -- 3` runs the third.

#[path = "../classroom/mod.rs"]
mod classroom;
mod exercise_1;
mod exercise_2;
mod exercise_3;
mod exercise_4;
mod exercise_5;
mod exercise_6;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("1") => exercise_1::main(),
        Some("2") => exercise_2::main(),
        Some("3") => exercise_3::main(),
        Some("4") => exercise_4::main(),
        Some("5") => exercise_5::main(),
        Some("6") => exercise_6::main(),
        _ => {
            eprintln!("Say which exercise, from 1 to 6: cargo run --example solutions -- 3");
            ExitCode::FAILURE
        }
    }
}
