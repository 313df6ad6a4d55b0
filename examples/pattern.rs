//! The article's program in one file, without this library: a queue, worker threads, a rate limiter, a capped retry.
//!
//! `cargo run --example pattern -- PROMPTS URL CALLS_A_MINUTE`, the key in OPENAI_API_KEY.

use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use crossbeam_channel::bounded;
use parking_lot::Mutex;
use serde_json::{Value, json};

const WORKERS: usize = 4;
const MAX_RETRIES: u32 = 5;
const MAX_DELAY: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(600);

/// Lets one call start in each interval, first come first served.
struct RateLimiter {
    interval: Duration,
    next: Mutex<Instant>,
}

impl RateLimiter {
    /// Reserves the next free instant under the lock, and sleeps until then without it.
    fn wait(&self) {
        let mut next = self.next.lock();
        let mine = (*next).max(Instant::now());
        *next = mine + self.interval;
        drop(next);
        thread::sleep(mine.saturating_duration_since(Instant::now()));
    }

    /// Lets no thread start another call before this time has passed.
    fn pause(&self, time: Duration) {
        let mut next = self.next.lock();
        *next = (*next).max(Instant::now() + time);
    }
}

enum Failure {
    Temporary(String, Option<Duration>), // worth another attempt; the server may say when
    Rejected(String),                    // this prompt fails, the others go on
    Fatal(String),                       // no call can succeed: a wrong key, no credit left
}

fn call(url: &str, prompt: &str) -> Result<String, Failure> {
    let broken = |error: ureq::Error| Failure::Temporary(error.to_string(), None);
    let key = env::var("OPENAI_API_KEY").unwrap_or_default();
    let messages = json!([{"role": "user", "content": prompt}]);
    let body = json!({"model": "gpt-4o-mini", "messages": messages}).to_string();
    let request = ureq::post(url).config().http_status_as_error(false);
    let request = request.timeout_global(Some(TIMEOUT)).build();
    let request = request.header("authorization", format!("Bearer {key}"));
    let request = request.content_type("application/json");
    let mut response = request.send(body).map_err(broken)?;
    let wait = response.headers().get("retry-after");
    let wait = wait.and_then(|wait| Some(Duration::from_secs(wait.to_str().ok()?.parse().ok()?)));
    let body = response.body_mut().read_to_string().map_err(broken)?;
    let failed = format!("{}: {body}", response.status());
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = answer["choices"][0]["message"]["content"].as_str();
    match (response.status().as_u16(), text) {
        (200, Some(text)) => Ok(text.to_owned()),
        (401 | 403, _) => Err(Failure::Fatal(failed)),
        // Out of quota is not out of pace: no wait helps.
        (429, _) if body.contains("insufficient_quota") => Err(Failure::Fatal(failed)),
        (200 | 408 | 429 | 500.., _) => Err(Failure::Temporary(failed, wait)),
        _ => Err(Failure::Rejected(failed)),
    }
}

/// Calls until there is an answer. Each attempt waits in the limiter's line.
fn call_with_retries(limiter: &RateLimiter, url: &str, prompt: &str) -> Result<String, Failure> {
    for attempt in 0..MAX_RETRIES {
        limiter.wait();
        match call(url, prompt) {
            Err(Failure::Temporary(_, Some(wait))) => limiter.pause(wait.min(MAX_DELAY)),
            Err(Failure::Temporary(_, None)) => thread::sleep(backoff(attempt)),
            done => return done,
        }
    }
    limiter.wait();
    call(url, prompt)
}

/// `min(1 s * 2^n + U(0, 1 s), 60 s)`: the random part keeps threads apart that failed together.
fn backoff(attempt: u32) -> Duration {
    Duration::from_secs_f64(2_f64.powf(attempt.into()) + rand::random::<f64>()).min(MAX_DELAY)
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let prompts = fs::read_to_string(&args[1]).expect("PROMPTS can be read");
    let rpm: f64 = args[3].parse().expect("CALLS_A_MINUTE is a number");
    let interval = Duration::from_secs_f64(60.0 / rpm * 1.02); // the network shortens gaps
    let next = Mutex::new(Instant::now());
    let limiter = RateLimiter { interval, next };
    let is_over = Mutex::new(false);
    let work = |prompt: &str| match call_with_retries(&limiter, &args[2], prompt) {
        Ok(text) => println!("{}", json!({"prompt": prompt, "text": text})),
        Err(Failure::Temporary(why, _) | Failure::Rejected(why)) => eprintln!("{prompt}: {why}"),
        Err(Failure::Fatal(why)) => {
            eprintln!("stopped: {why}");
            *is_over.lock() = true;
        }
    };
    let goes_on = |_: &&str| !*is_over.lock();
    let (sender, queue) = bounded(WORKERS);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| queue.iter().filter(goes_on).for_each(work));
        }
        for prompt in prompts.lines() {
            sender.send(prompt).expect("the queue is open");
        }
        drop(sender); // ends the workers' loops
    });
    process::exit(if is_over.into_inner() { 3 } else { 0 });
}
