//! The report for people: one set of figures and words for the text and for the page, which are templates beside this
//! file. The verdict, the causes and the numbers of calls have the words that a run ends with.

use std::io;

use serde::Serialize;

use super::charts::Charts;
use super::numbers::Report;
use crate::batch::FailureCause;
use crate::cli::args::CostArgs;
use crate::cli::stop::advice;
use crate::cli::summary::call_counts;
use crate::cli::template::{self, TextLook};
use crate::outcome::CallOutcome;

/// What both templates show.
#[derive(Debug, Serialize)]
struct ReportView<'a> {
    report: &'a Report,
    /// Columns of the terminal.
    width: usize,
    /// What is odd about answers, in words.
    flags: String,
    causes: Vec<CauseView<'a>>,
    calls: String,
    cost: Option<String>,
    cost_without_answer: Option<String>,
}

/// Why prompts failed, and what to do about it.
#[derive(Debug, Serialize)]
struct CauseView<'a> {
    cause: &'a FailureCause,
    /// `rate limited`, `fault`, `rejected` or `fatal`.
    class: &'static str,
    label: String,
    /// The cause as it is displayed during a run.
    said: String,
    advice: String,
}

/// What the page shows besides.
#[derive(Debug, Serialize)]
struct PageView<'a> {
    #[serde(flatten)]
    view: ReportView<'a>,
    /// The name of the results.
    of: &'a str,
    charts: &'a Charts,
    verdict: String,
}

impl Report {
    fn is_empty(&self) -> bool {
        self.prompts.answered + self.prompts.failed == 0
    }

    /// The report as lines without a line feed at the end. A file without records has a line that says so.
    ///
    /// # Errors
    /// Those of [`template::text`].
    pub(super) fn to_text(&self, cost: &CostArgs, look: TextLook) -> io::Result<String> {
        if self.is_empty() {
            return Ok("no records yet".to_owned());
        }
        let template = concat!(include_str!("verdict.txt"), include_str!("text.txt"));
        template::text(template, &self.view(cost, look.width), look)
    }

    /// The report as one HTML file without a reference to anything outside. `of` is the name of the results. It is
    /// smaller than 1 MB, whatever the size of the run.
    ///
    /// # Errors
    /// Those of [`template::html`].
    pub(super) fn to_html(&self, of: &str, cost: &CostArgs) -> io::Result<String> {
        let view = self.view(cost, usize::MAX);
        let page = PageView {
            verdict: template::text(include_str!("verdict.txt"), &view, TextLook::ENDLESS)?,
            view,
            of,
            charts: &self.charts,
        };
        template::html(include_str!("page.html"), &page)
    }

    fn view(&self, cost: &CostArgs, width: usize) -> ReportView<'_> {
        let causes = self.prompts.causes.list.iter();
        let model = self.sent_with.model.as_deref();
        let calls = &self.calls;
        ReportView {
            report: self,
            width,
            flags: self.prompts.flags.to_string(),
            causes: causes.map(|cause| CauseView::new(cause, model)).collect(),
            calls: call_counts(
                calls.total,
                calls.retries,
                &calls.failed,
                calls.maybe_billed,
            ),
            cost: cost.of(self.tokens.usage),
            cost_without_answer: cost.of(self.tokens.without_answer),
        }
    }
}

impl<'a> CauseView<'a> {
    fn new(cause: &'a FailureCause, model: Option<&str>) -> Self {
        let class = match cause.outcome {
            CallOutcome::RateLimited => "rate limited",
            CallOutcome::Rejected => "rejected",
            CallOutcome::Fatal => "fatal",
            _ => "fault",
        };
        let label = cause.label();
        let said = match cause.status {
            Some(_) => cause.to_string(),
            None => format!("{label}: {cause}"),
        };
        CauseView {
            cause,
            class,
            label,
            said,
            advice: advice(cause, model, ""),
        }
    }
}
