//! The report for people: one set of figures and words for the text and for the page, which are templates beside this
//! file. The verdict, the causes and the numbers of calls have the words that a run ends with.

use std::io;

use serde_json::{Value, json};

use super::numbers::Report;
use crate::batch::FailureCause;
use crate::cli::stop::advice;
use crate::cli::summary::call_counts;
use crate::cli::template::{self, TextLook};
use crate::outcome::CallOutcome;

impl Report {
    /// The report as lines without a line feed at the end. A file without records has a line that says so.
    ///
    /// # Errors
    /// Those of [`template::text`].
    pub(super) fn to_text(&self, currency: &str, look: TextLook) -> io::Result<String> {
        if self.prompts.answered + self.prompts.failed == 0 {
            return Ok("no records yet".to_owned());
        }
        let template = concat!(include_str!("verdict.txt"), include_str!("text.txt"));
        template::text(template, &self.view(currency, look), look)
    }

    /// The report as one HTML file without a reference to anything outside. `of` is the name of the results. It is
    /// smaller than 1 MB, whatever the size of the run.
    ///
    /// # Errors
    /// Those of [`template::html`].
    pub(super) fn to_html(&self, of: &str, currency: &str) -> io::Result<String> {
        let mut view = self.view(currency, TextLook::ENDLESS);
        let verdict = template::text(include_str!("verdict.txt"), &view, TextLook::ENDLESS)?;
        view["verdict"] = verdict.into();
        view["of"] = of.into();
        view["charts"] = json!(self.charts);
        template::html(include_str!("page.html"), &view)
    }

    fn view(&self, currency: &str, look: TextLook) -> Value {
        let calls = &self.calls;
        let causes = self.prompts.causes.list.iter();
        let model = self.sent_with.model.as_deref();
        let unsure = calls.maybe_billed;
        json!({
            "report": self,
            "currency": currency,
            "width": look.width,
            "flags": self.prompts.flags.to_string(),
            "causes": causes.map(|cause| view_of(cause, model)).collect::<Vec<_>>(),
            "calls": call_counts(calls.total, calls.retries, &calls.failed, unsure),
        })
    }
}

/// Why prompts failed, and what to do about it.
fn view_of(cause: &FailureCause, model: Option<&str>) -> Value {
    let label = cause.label();
    json!({
        "count": cause.count,
        "code": cause.code,
        "message": cause.message,
        "first": cause.first,
        "class": match cause.outcome {
            CallOutcome::RateLimited => "rate limited",
            CallOutcome::Rejected => "rejected",
            CallOutcome::Fatal => "fatal",
            _ => "fault",
        },
        // As it is displayed during a run.
        "said": match cause.status {
            Some(_) => cause.to_string(),
            None => format!("{label}: {cause}"),
        },
        "label": label,
        "advice": advice(cause, model, ""),
    })
}
