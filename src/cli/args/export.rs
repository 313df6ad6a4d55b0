//! What can be typed after `export`.

use std::path::PathBuf;

use crate::export::{Failed, Format, Order};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Formats:
  csv    a table: custom_id, prompt, text, finish_reason, error, status, attempts
  jsonl  one object a line: custom_id, prompt, text, finish_reason, error
  md     a document: the first line of the prompt as a heading, and the answer
  txt    the answers alone, a blank line between them; failed prompts are left out
  batch  the output lines of the OpenAI Batch API

Exit status: 0 done, 2 the results cannot be used, 3 the output cannot be written.")]
pub(in crate::cli) struct Export {
    /// The results of a run
    pub(in crate::cli) results: PathBuf,

    /// csv, jsonl, md, txt or batch [default: by the ending of FILE]
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) format: Option<Format>,

    /// Where it goes, whole or not at all; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(in crate::cli) output: PathBuf,

    /// input, or completion
    #[arg(long, value_name = "ORDER", default_value_t)]
    pub(in crate::cli) order: Order,

    /// Prompts that failed: include, exclude or only
    ///
    /// only is nothing but them.
    #[arg(long, value_name = "WHAT", default_value_t)]
    pub(in crate::cli) failed: Failed,

    /// Make the csv safe for a spreadsheet program
    ///
    /// It has a UTF-8 mark, and ' before cells like formulas.
    #[arg(long)]
    pub(in crate::cli) spreadsheet: bool,
}
