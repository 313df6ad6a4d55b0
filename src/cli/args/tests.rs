//! What is read, and what is refused.

use super::*;
use clap::CommandFactory;

#[test]
fn the_definitions_hold_together() {
    Args::command().debug_assert();
}

#[test]
fn workers_are_a_number_or_auto() {
    assert!(matches!("auto".parse(), Ok(Workers::Auto)));
    assert!(matches!("16".parse(), Ok(Workers::Fixed(n)) if n.get() == 16));
    assert!("0".parse::<Workers>().is_err() && "99999".parse::<Workers>().is_err());
}
