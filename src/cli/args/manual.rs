//! The options of `completions` and `manual`.

use std::path::PathBuf;

use clap_complete::Shell;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bash:  paceline completions bash > ~/.local/share/bash-completion/completions/paceline
  zsh:   paceline completions zsh > ~/.zfunc/_paceline    (with fpath+=~/.zfunc before compinit)
  fish:  paceline completions fish > ~/.config/fish/completions/paceline.fish")]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell to write them for
    pub(in crate::cli) shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline manual | man -l -
  paceline manual --dir ~/.local/share/man/man1")]
pub(in crate::cli) struct ManualArgs {
    /// Write a page for each command here [default: one, to standard output]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}
