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
fn every_command_ends_its_help_with_an_example() {
    let mut all = CommandLine::command();
    all.build();
    for command in all
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .flat_map(with_subcommands)
    {
        let name = command.get_name();
        let help = command.clone().render_long_help().to_string();
        assert!(
            ["help", "export", "report"].contains(&name) || help.contains("Example"),
            "{name} has no example: {help}"
        );
    }
}

/// A command, or the commands below it.
fn with_subcommands(command: &clap::Command) -> Vec<&clap::Command> {
    let below: Vec<_> = command.get_subcommands().collect();
    if below.is_empty() {
        vec![command]
    } else {
        below
    }
}
