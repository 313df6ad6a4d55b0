//! Whether a run is shown as it goes, and how.

use std::env;
use std::io::{IsTerminal, stderr};
use std::sync::Arc;

use super::args::{Calls, LogFormat, Watching, When};
use super::plan::Plan;
use super::{logging, tell};
use crate::batch::{Batch, Summary};
use crate::clock::SystemClock;
use crate::progress::{Display, Look};

/// How to show a run with these arguments, in these surroundings.
fn look(watching: &Watching, quiet: bool) -> Look {
    let is_dumb = env::var_os("TERM").is_some_and(|name| name == "dumb");
    choose(
        watching.progress,
        watching.log_format,
        quiet,
        stderr().is_terminal() && !is_dumb,
    )
}

fn choose(when: When, log: LogFormat, quiet: bool, terminal: bool) -> Look {
    match (when, log) {
        (When::Never, _) => Look::Never,
        (When::Auto, _) if quiet => Look::Never,
        _ if terminal => Look::Live,
        // The log tells of every hold.
        (_, LogFormat::Json) if !quiet => Look::LinesOnly,
        _ => Look::Lines,
    }
}

/// Runs a batch, and shows it while it runs.
pub(super) fn shown<'a>(
    batch: Batch<'a>,
    (args, plan, quiet): (&Calls, &Plan, bool),
    run: impl FnOnce(Batch<'a>) -> Summary,
) -> Summary {
    let clock = Arc::new(SystemClock);
    let display = Display::start(
        look(&args.watching, quiet),
        plan.price,
        logging::screen(),
        clock,
        batch.view(),
        tell,
    );
    run(batch.watched_by(display.watch()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_on_a_terminal_and_told_elsewhere_and_quiet_unless_it_is_wanted_always() {
        let text = |when, quiet, terminal| choose(when, LogFormat::Text, quiet, terminal);
        assert_eq!(text(When::Auto, false, true), Look::Live);
        assert_eq!(text(When::Auto, false, false), Look::Lines);
        assert_eq!(text(When::Auto, true, true), Look::Never);
        assert_eq!(text(When::Always, true, true), Look::Live);
        assert_eq!(text(When::Always, true, false), Look::Lines);
        assert_eq!(text(When::Never, false, true), Look::Never);
        assert_eq!(
            choose(When::Auto, LogFormat::Json, false, false),
            Look::LinesOnly
        );
    }
}
