//! What to notice in the table, said from its figures alone.

use std::num::NonZeroU32;
use std::time::Duration;

use super::table::duration;
use super::{Comparison, Course, Options};

/// How many retries a retry loop usually has before it gives up.
const USUAL_RETRIES: usize = 5;

/// A few sentences, each for a line of its own.
pub(super) fn notice(comparison: &Comparison) -> Vec<String> {
    let [.., sleepers, backoff, jitter, pool] = &comparison.courses[..] else {
        return Vec::new();
    };
    let sentences = [
        Some(limit(comparison, pool)),
        Some(sleep(comparison, sleepers)),
        most_refused(comparison),
        spread(backoff, jitter),
    ];
    sentences.into_iter().flatten().collect()
}

/// How near the pool came to the limit.
fn limit(comparison: &Comparison, pool: &Course) -> String {
    let options = &comparison.options;
    let (best, last) = (options.last_call_at_best(), last_call(pool));
    let mut text = format!(
        "The limit lets the last of {} prompts in after {}; the paced pool sent it after {}, and {} on the way.",
        options.prompts,
        duration(best),
        duration(last),
        refused(pool.refusals()),
    );
    if last > best.mul_f64(1.05) + Duration::from_secs(1) {
        text += &format!(
            " With answers this slow, {} workers cannot use the whole limit.",
            options.workers
        );
    }
    text
}

fn last_call(course: &Course) -> Duration {
    course
        .arrivals
        .last()
        .map_or(Duration::ZERO, |arrival| arrival.at)
}

fn refused(times: usize) -> String {
    match times {
        0 => "was never refused".to_owned(),
        1 => "was refused once".to_owned(),
        _ => format!("was refused {times} times"),
    }
}

/// What the long sleep costs, beside what the story says that it does.
fn sleep(comparison: &Comparison, sleepers: &Course) -> String {
    let times = comparison.times_the_pool(sleepers);
    let Options {
        prompts,
        rpm,
        burst,
        ..
    } = comparison.options;
    let [prompts, rpm, burst] = [prompts, rpm, burst].map(NonZeroU32::get);
    let each = sleepers.time.as_secs_f64() / f64::from(prompts);
    let mut text = format!(
        "The 30 s sleep has one answer in {each:.1} s, and takes {times:.1} times as long as the pool."
    );
    if (prompts, rpm, burst) == (200, 10, 1) {
        text += &format!(
            " The article behind this story says 6 times, of \"nearly two hours\" and \"about 20 minutes\": here they \
             are {} and {}.",
            duration(sleepers.time),
            duration(comparison.pool().time),
        );
    }
    text
}

/// Who troubled the server most, and what that does to a retry loop with an end.
fn most_refused(comparison: &Comparison) -> Option<String> {
    let worst = comparison
        .courses
        .iter()
        .max_by_key(|course| course.refusals())?;
    let (refusals, calls) = (worst.refusals(), worst.calls());
    let often = worst.refused_more_than(USUAL_RETRIES);
    (refusals > 0).then(|| {
        let share = refusals as f64 * 100.0 / calls as f64;
        format!(
            "\"{}\" is refused most: {share:.0} % of its calls, up to {} together where the limit lets {} in. {often} \
             of the {} prompts were refused more than {USUAL_RETRIES} times, where many a retry loop gives up.",
            worst.name,
            worst.largest_wave(),
            comparison.options.allowed_together(),
            comparison.options.prompts,
        )
    })
}

/// What jitter did, and what it did not.
fn spread(backoff: &Course, jitter: &Course) -> Option<String> {
    (backoff.refusals() > 0).then(|| {
        format!(
            "Jitter turns waves of up to {} calls into {}, and {} refusals into {}.",
            backoff.largest_wave(),
            jitter.largest_wave(),
            backoff.refusals(),
            jitter.refusals(),
        )
    })
}
