//! The definitions as a whole.

use super::*;
use clap::CommandFactory;

#[test]
fn the_definitions_hold_together() {
    CommandLine::command().debug_assert();
}

#[test]
fn the_short_help_has_one_line_for_each_option() {
    let mut all = CommandLine::command().term_width(100);
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
fn every_help_ends_with_two_or_three_examples() {
    let mut all = CommandLine::command();
    all.build();
    let mut commands = vec![&all];
    while let Some(command) = commands.pop() {
        let below = command.get_subcommands();
        commands.extend(below.filter(|below| below.get_name() != "help"));
        let help = command.clone().render_long_help().to_string();
        let (_, examples) = help.rsplit_once("\nExamples:\n").unwrap_or_default();
        let count = examples.trim_end().lines().count();
        assert!((2..=3).contains(&count), "{}: {help}", command.get_name());
    }
}
