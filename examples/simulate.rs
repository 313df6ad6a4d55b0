//! Plays whole batches on simulated time, with a server and a disk that fail, for as many seeds as you like:
//!
//! ```text
//! cargo run --release --features simulate --example simulate -- --seeds 100000
//! cargo run --release --features simulate --example simulate -- --seed 17
//! ```

use std::ops::Range;
use std::process::ExitCode;

use paceline::batch::simulation::play;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some(seeds) = seeds(&arguments) else {
        eprintln!("usage: simulate [--seeds COUNT | --seed SEED]");
        return ExitCode::from(2);
    };
    let totals = play(seeds);
    for (name, count) in &totals.counts {
        println!("{count:12} {name}");
    }
    println!("{:12} seeds failed", totals.failures.len());
    ExitCode::from(u8::from(!totals.failures.is_empty()))
}

/// The seeds that the command line names; `None` if it is not understood.
fn seeds(arguments: &[String]) -> Option<Range<u64>> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Some(0..1000),
        ["--seeds", count] => Some(0..count.parse().ok()?),
        ["--seed", seed] => {
            let seed = seed.parse().ok()?;
            Some(seed..seed + 1)
        }
        _ => None,
    }
}
