//! What is read, and what is refused.

use super::*;
use clap::CommandFactory;

#[test]
fn the_definitions_hold_together() {
    Args::command().debug_assert();
}

#[test]
fn the_short_help_has_one_line_for_each_option() {
    let mut all = Args::command().term_width(100);
    all.build();
    let broken = all.get_subcommands_mut().flat_map(|command| {
        let (name, help) = (
            command.get_name().to_owned(),
            command.render_help().to_string(),
        );
        let rests: Vec<_> = help
            .lines()
            .filter(|line| line.starts_with("          "))
            .collect();
        rests
            .into_iter()
            .map(|rest| format!("{name}: {rest}"))
            .collect::<Vec<_>>()
    });
    assert_eq!(broken.collect::<Vec<_>>(), [""; 0]);
    let help = all.render_help().to_string();
    assert!(
        help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );
}

#[test]
fn workers_are_a_number_or_auto() {
    assert!(matches!("auto".parse(), Ok(Workers::Auto)));
    assert!(matches!("16".parse(), Ok(Workers::Fixed(n)) if n.get() == 16));
    assert!("0".parse::<Workers>().is_err() && "99999".parse::<Workers>().is_err());
}
