//! A report on a whole batch, in simulated time.

use super::{report_on, rpm};
use crate::api::{Answer, Ask, CallError, Class};
use crate::batch::{Batch, Settings};
use crate::cancel::CancelToken;
use crate::cli::report::numbers::Excess;
use crate::clock::{Clock, SimClock};
use crate::json::Json;
use crate::limiter::Rate;
use crate::pacing::RateLimit;
use crate::prompts::Prompt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A server in simulated time: takes a second, and refuses its fiftieth call for ten.
#[derive(Debug)]
struct Server(SimClock, AtomicU64);

impl Ask for Server {
    fn request(&self, prompt: &str) -> Vec<u8> {
        prompt.as_bytes().to_vec()
    }

    fn ask(&self, _: &[u8]) -> Result<Answer, CallError> {
        self.0.sleep_until(self.0.now() + Duration::from_secs(1));
        let (request_id, hints, usage) = Default::default();
        if self.1.fetch_add(1, Ordering::Relaxed) == 49 {
            let (class, retry_after) = (Class::RateLimited, Some(Duration::from_secs(10)));
            let (code, message) = ("slow".to_owned(), "down".to_owned());
            let (status, body) = (Some(429), None);
            return Err(CallError {
                class,
                code,
                message,
                status,
                request_id,
                retry_after,
                hints,
                maybe_billed: false,
                body,
            });
        }
        let (text, finish_reason, body) = ("text".to_owned(), None, Json::default());
        Ok(Answer {
            text,
            finish_reason,
            status: 200,
            request_id,
            usage,
            hints,
            body,
        })
    }
}

#[test]
fn a_batch_that_keeps_its_pace_passes_the_audit_with_each_key() {
    let clock = SimClock::new();
    let servers = [(); 2].map(|()| Server(clock.clone(), AtomicU64::default()));
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let rate = RateLimit::Fixed(Rate::per_minute(600).exact());
    let asks = servers.iter().map(|server| server as &dyn Ask);
    let batch = Batch::new(
        Settings {
            rate,
            ..Settings::default()
        },
        asks,
        on.clone(),
        CancelToken::on(on),
    );
    let prompts = (1..=300).map(|line| Ok(Prompt::new(line, line.to_string())));
    let mut records = Vec::new();
    batch.run(prompts, |record| {
        records.push(serde_json::to_string(record).unwrap() + "\n");
        Ok(())
    });
    let report = report_on(&records, rpm(600));
    assert_eq!(
        (
            report.prompts.answered,
            report.calls.total,
            report.calls.failed.list[0].count
        ),
        (300, 302, 2)
    );
    for pace in &report.keys {
        assert_eq!(pace.excess, Some(Excess::default()));
        assert_eq!(pace.smallest_gap.as_ref().map(|gap| gap.ms), Some(100));
        assert!(
            pace.times.paused_ms >= 8_000,
            "somebody stood in line during the hold: {:?}",
            pace.times
        );
    }
}
