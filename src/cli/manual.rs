//! `paceline completions` and `paceline manual`: made from the definitions that `--help` shows.

use std::fs;

use clap::CommandFactory;
use clap_mangen::Man;

use super::args::{CommandLine, CompletionsArgs, ManualArgs};
use super::error::{CommandError, print};
use super::exit::Exit;

pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    let mut command = CommandLine::command();
    clap_complete::generate(args.shell, &mut command, "paceline", &mut script);
    print(script)
}

pub(super) fn manual(args: &ManualArgs) -> Result<Exit, CommandError> {
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        Man::new(CommandLine::command()).render(&mut page)?;
        return print(page);
    };
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(CommandLine::command(), folder))
        .map_err(|source| CommandError::output(folder.display(), &source))?;
    Ok(Exit::Answered)
}
