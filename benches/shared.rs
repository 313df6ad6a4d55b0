//! What a shared permit costs, and how soon a pause reaches everyone: `cargo bench --bench shared`.
//!
//! Each participant has a limiter and a connection of its own, as a process would have. They share a rate through a real
//! Redis that keeps an append-only file, and through a file; without a `redis-server` its rows are left out, and this says
//! so. Clients and server share the processors, so read the ratios, and the server's own processor time.

mod common;
#[path = "../tests/common/redis.rs"]
mod server;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ::redis as client;
use common::{Spread, p50_and_p99};
use paceline::clock::SystemClock;
use paceline::pacing::{CallLimiter, CallReport, KeyPermit, PermitOutcome};
use paceline::share::ShareOptions;
use paceline::{CancelToken, Rate};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(200);

/// Where a rate is shared.
trait Venue: Sync {
    fn name(&self) -> &'static str;

    /// Where the rate of this name is shared.
    fn place(&self, name: &str) -> String;

    /// What is the least that a message can cost here, for one more who does just that.
    fn yardstick(&self) -> Box<dyn FnMut()>;

    /// How many messages there have been, and the seconds of processor time that they took; where somebody counts.
    fn effort(&self) -> Option<Effort>;
}

#[derive(Clone, Copy)]
struct Effort {
    messages: f64,
    cpu: f64,
}

impl Effort {
    fn by(self, permits: f64) -> Self {
        Effort {
            messages: self.messages / permits,
            cpu: self.cpu / permits,
        }
    }
}

struct Redis(server::Redis);

impl Redis {
    /// What it says of itself after these words.
    fn says(&self, section: &str, words: &str) -> f64 {
        let info: String = client::cmd("INFO")
            .arg(section)
            .query(&mut self.0.connect())
            .unwrap();
        let said = info
            .lines()
            .find_map(|line| line.strip_prefix(words)?.split(',').next());
        said.map_or(0.0, |figure| figure.parse().unwrap())
    }
}

impl Venue for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn place(&self, name: &str) -> String {
        self.0.url(name)
    }

    fn yardstick(&self) -> Box<dyn FnMut()> {
        let mut connection = self.0.connect();
        Box::new(move || client::cmd("PING").query(&mut connection).unwrap())
    }

    fn effort(&self) -> Option<Effort> {
        let cpu = self.says("cpu", "used_cpu_user:") + self.says("cpu", "used_cpu_sys:");
        Some(Effort {
            messages: self.says("commandstats", "cmdstat_evalsha:calls="),
            cpu,
        })
    }
}

struct Folder(tempfile::TempDir);

impl Venue for Folder {
    fn name(&self) -> &'static str {
        "file"
    }

    fn place(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn yardstick(&self) -> Box<dyn FnMut()> {
        let path = self.0.path().join("yardstick");
        Box::new(move || lock_read_and_write(&path).unwrap())
    }

    fn effort(&self) -> Option<Effort> {
        None
    }
}

/// What an exchange through a file cannot do without, for as many bytes.
fn lock_read_and_write(path: &Path) -> std::io::Result<()> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.lock()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    file.rewind()?;
    file.write_all(&[b' '; 384])
}

fn participant(venue: &dyn Venue, name: &str, rate: Rate) -> Arc<dyn CallLimiter> {
    let options = ShareOptions {
        place: venue.place(name),
        password: None,
        names: vec!["key".to_owned()],
        rate,
        tokens: None,
        patience: Duration::from_secs(5),
    };
    options.connect(SystemClock).unwrap()
}

/// What so many threads did in a while.
struct Done {
    /// All in all, with what came before and after that while.
    acts: f64,
    a_second: f64,
    /// Microseconds that one took.
    p50: f64,
    p99: f64,
}

/// So many threads do something over and over for a while, each by itself.
fn crowd(threads: usize, arrive: &(dyn Fn() -> Box<dyn FnMut()> + Sync)) -> Done {
    let (ready, over) = (Barrier::new(threads + 1), AtomicBool::new(false));
    let took = Mutex::new(Vec::new());
    let toil = || {
        let (mut act, mut mine) = (arrive(), Vec::new());
        act(); // connects
        ready.wait();
        loop {
            let began = Instant::now();
            act();
            if over.load(Ordering::Relaxed) {
                break;
            }
            mine.push(began.elapsed().as_secs_f64() * 1e6);
        }
        took.lock().unwrap().append(&mut mine);
    };
    let lasted = thread::scope(|scope| {
        (0..threads).for_each(|_| _ = scope.spawn(toil));
        ready.wait();
        let began = Instant::now();
        thread::sleep(ROUND);
        over.store(true, Ordering::Relaxed);
        began.elapsed()
    });
    let took = took.into_inner().unwrap();
    let acts = (took.len() + 2 * threads) as f64;
    let a_second = took.len() as f64 / lasted.as_secs_f64();
    let (p50, p99) = p50_and_p99(took);
    Done {
        acts,
        a_second,
        p50,
        p99,
    }
}

/// Does something, and tells what the venue had to do for it, where it counts.
fn watched<T>(venue: &dyn Venue, act: impl FnOnce() -> T) -> (T, Option<Effort>) {
    let before = venue.effort();
    let done = act();
    let spent = before.zip(venue.effort());
    let spent = spent.map(|(before, after)| Effort {
        messages: after.messages - before.messages,
        cpu: after.cpu - before.cpu,
    });
    (done, spent)
}

/// What permits cost at the highest rate.
#[derive(Clone, Copy)]
struct Most {
    a_second: f64,
    /// For each permit.
    effort: Option<Effort>,
}

/// Permits as fast as they are granted, by the threads of this many participants.
fn unlimited(venue: &dyn Venue, participants: usize) -> Most {
    let cancel = CancelToken::default();
    let grant = || -> Box<dyn FnMut()> {
        let limiter = participant(venue, "unlimited", Rate::unlimited());
        let cancel = cancel.clone();
        Box::new(move || _ = limiter.acquire(0, &cancel).unwrap())
    };
    let yardstick = || venue.yardstick();
    let in_turn = (0..ROUNDS).map(|_| {
        let (ours, effort) = watched(venue, || crowd(participants, &grant));
        (
            effort.map(|effort| effort.by(ours.acts)),
            (ours, crowd(participants, &yardstick)),
        )
    });
    let (effort, (ours, raw)): (Vec<_>, (Vec<_>, Vec<_>)) = in_turn.unzip();
    let of =
        |done: &[Done], figure: fn(&Done) -> f64| -> Spread { done.iter().map(figure).collect() };
    let grants = of(&ours, |done| done.a_second);
    let p50 = of(&ours, |done| done.p50);
    let p99 = of(&ours, |done| done.p99);
    let raw = of(&raw, |done| done.a_second);
    let name = venue.name();
    let ratio = grants.median() / raw.median() * 100.0;
    println!(
        "{name:<5} {participants:>12} {grants:>24} {p50:>22} {p99:>22} {raw:>24} {ratio:>5.0} %"
    );
    Most {
        a_second: grants.median(),
        effort: effort[ROUNDS / 2],
    }
}

/// When a permit was granted, and to which participant.
type Taken = (Instant, usize);

/// Participants with this many threads each take permits for a while, and `call` with each of them. In order of time.
fn ride(
    limiters: &[Arc<dyn CallLimiter>],
    threads: usize,
    lasts: Duration,
    call: impl Fn(usize, &KeyPermit) + Sync,
) -> Vec<Taken> {
    let taken = Mutex::new(Vec::new());
    let cancel = CancelToken::new();
    let toil = |who: usize| {
        while let Ok(permit) = limiters[who].acquire(0, &cancel) {
            taken.lock().unwrap().push((permit.granted_at(), who));
            call(who, &permit);
        }
    };
    thread::scope(|scope| {
        for thread in 0..threads * limiters.len() {
            let toil = &toil;
            scope.spawn(move || toil(thread % limiters.len()));
        }
        thread::sleep(lasts);
        cancel.cancel();
    });
    let mut taken = taken.into_inner().unwrap();
    taken.sort();
    taken
}

/// One row of permits at a rate that binds.
#[derive(Clone, Copy)]
struct Paced {
    rpm: u32,
    participants: usize,
    /// Threads of each.
    threads: usize,
    lasts: Duration,
}

/// What it came to.
struct Kept {
    /// Microseconds by which gaps were longer than a step.
    late: (f64, f64),
    permits_a_second: f64,
    /// For each permit, where somebody counts.
    effort: Option<Effort>,
}

impl Paced {
    fn measure(&self, venue: &dyn Venue, name: &str) -> Kept {
        let interval = Duration::from_secs(60) / self.rpm;
        let margin = interval / 40; // the default for such short intervals
        let rate = Rate::every(interval).margin(margin);
        let limiters: Vec<_> = (0..self.participants)
            .map(|_| participant(venue, name, rate))
            .collect();
        let (taken, effort) = watched(venue, || {
            ride(&limiters, self.threads, self.lasts, |_, _| {})
        });
        let step = (interval + margin).as_secs_f64();
        let late = |pair: &[Taken]| ((pair[1].0 - pair[0].0).as_secs_f64() - step) * 1e6;
        let permits = taken.len() as f64;
        let took = taken[taken.len() - 1].0 - taken[0].0;
        Kept {
            late: p50_and_p99(taken.windows(2).map(late).collect()),
            permits_a_second: (permits - 1.0) / took.as_secs_f64(),
            effort: effort.map(|effort| effort.by(permits)),
        }
    }

    fn row(&self, venue: &dyn Venue, rounds: usize) -> Vec<Kept> {
        let Paced {
            rpm,
            participants,
            threads,
            ..
        } = *self;
        let name = |round| format!("{rpm}-{participants}-{threads}-{round}");
        let kept: Vec<_> = (0..rounds)
            .map(|round| self.measure(venue, &name(round)))
            .collect();
        let of = |figure: fn(&Kept) -> f64| -> Spread { kept.iter().map(figure).collect() };
        let p50 = of(|kept| kept.late.0);
        let p99 = of(|kept| kept.late.1);
        let used = of(|kept| kept.permits_a_second).median() * 6000.0 / f64::from(rpm);
        let messages: Option<Vec<_>> = kept
            .iter()
            .map(|kept| Some(kept.effort?.messages))
            .collect();
        let messages = messages.map_or("-".to_owned(), |all| {
            all.into_iter().collect::<Spread>().to_string()
        });
        let name = venue.name();
        println!(
            "{name:<5} {rpm:>6} {participants:>12} {threads:>7} {p50:>24} {p99:>24} {used:>6.1} % {messages:>22}"
        );
        kept
    }
}

/// What all that means for a thousand machines: as many connections, and a high rate.
fn a_thousand_machines(redis: &Redis, most: Most) {
    const PACED: Paced = Paced {
        rpm: 60_000,
        participants: 1000,
        threads: 2,
        lasts: Duration::from_secs(4),
    };
    let kept = PACED.row(redis, 1).remove(0);
    let least = most.effort.expect("Redis counts");
    let spent = kept.effort.expect("Redis counts");
    let busy = spent.cpu * kept.permits_a_second * 100.0;
    println!(
        "
One Redis grants {:.0} permits a second here, for {:.2} messages and {:.0} µs of its own processor time each: so a
thousand machines can share at most {:.0} permits a minute. That holds while none has to wait. Those that wait for
permits ask again whenever earlier permits were late: at a shared {} a minute a permit takes {:.1} messages and {:.0} µs,
which keeps Redis {busy:.0} % busy, where one message a permit would make it {:.0} %. With that many messages, the most
is {:.0} a minute.",
        most.a_second,
        least.messages,
        least.cpu * 1e6,
        most.a_second * 60.0,
        PACED.rpm,
        spent.messages,
        spent.cpu * 1e6,
        busy / spent.messages,
        most.a_second * 60.0 * least.messages / spent.messages,
    );
}

/// Milliseconds from a 429 that one of four met: until the others had been told, and until the last permit that one of
/// them had in spite of it; 0 if there was none.
#[derive(Clone, Copy)]
struct Paused {
    told: f64,
    last_permit: f64,
}

impl Paused {
    /// In each round the 429 comes at another moment between two permits.
    fn measure(venue: &dyn Venue, round: u32, rounds: u32) -> Self {
        const PAUSE: Duration = Duration::from_millis(500);
        const LEAD: Duration = Duration::from_millis(60);
        let rate = Rate::per_minute(6_000);
        let name = format!("pause-{round}");
        let limiters: Vec<_> = (0..4).map(|_| participant(venue, &name, rate)).collect();
        let began = Instant::now();
        let met = OnceLock::new();
        let taken = ride(&limiters, 2, LEAD + PAUSE * 9 / 10, |who, permit| {
            if who == 0 && began.elapsed() > LEAD {
                met.get_or_init(|| {
                    thread::sleep(rate.interval() * round / rounds);
                    let limited = Instant::now();
                    let outcome = PermitOutcome::RateLimited(Some(limited + PAUSE));
                    limiters[who].report(permit, &CallReport::from(outcome));
                    (limited, limited.elapsed())
                });
            }
        });
        let (limited, told) = met
            .into_inner()
            .expect("the first of them has had a permit by then");
        // A ride may last too long, because nobody ends it in time: permits after the pause do not count.
        let others = taken
            .iter()
            .filter(|(at, who)| *who != 0 && *at < limited + PAUSE);
        let last_permit = others
            .map(|(at, _)| at.saturating_duration_since(limited))
            .max()
            .unwrap_or_default();
        Paused {
            told: told.as_secs_f64() * 1e3,
            last_permit: last_permit.as_secs_f64() * 1e3,
        }
    }

    fn row(venue: &dyn Venue) {
        const ROUNDS: u32 = 20;
        let paused: Vec<_> = (0..ROUNDS)
            .map(|round| Paused::measure(venue, round, ROUNDS))
            .collect();
        let of = |figure: fn(&Paused) -> f64| -> Spread { paused.iter().map(figure).collect() };
        let told = of(|paused| paused.told);
        let last_permit = of(|paused| paused.last_permit);
        let after = of(|paused| (paused.last_permit - paused.told).max(0.0));
        println!(
            "{:<5} {ROUNDS:>6} {told:>24} {last_permit:>24} {after:>24}",
            venue.name()
        );
    }
}

fn as_fast_as_it_goes(venues: &[&dyn Venue]) -> Vec<Most> {
    println!(
        "As fast as permits are granted; beside it a PING, or a file that is opened, locked, read and written"
    );
    println!(
        "{:<5} {:>12} {:>24} {:>22} {:>22} {:>24}",
        "", "participants", "grants a second", "p50 of one, µs", "p99, µs", "of those a second"
    );
    let row = |venue: &dyn Venue| {
        let rows = [1, 4, 16, 64].map(|participants| unlimited(venue, participants));
        rows.into_iter()
            .max_by(|one, other| one.a_second.total_cmp(&other.a_second))
            .expect("four")
    };
    venues.iter().map(|venue| row(*venue)).collect()
}

fn at_a_rate(venues: &[&dyn Venue]) {
    println!(
        "\nAt a rate that binds: by how much gaps are longer than a step, and the part of the limit that is used"
    );
    println!(
        "{:<5} {:>6} {:>12} {:>7} {:>24} {:>24} {:>8} {:>22}",
        "", "rpm", "participants", "threads", "p50, µs", "p99, µs", "used", "messages a permit"
    );
    for venue in venues {
        for threads in [1, 2] {
            Paced {
                rpm: 6_000,
                participants: 4,
                threads,
                lasts: ROUND * 4,
            }
            .row(*venue, 3);
        }
    }
}

fn in_a_pause(venues: &[&dyn Venue]) {
    println!(
        "\nOne of four at 6000 a minute is answered 429: milliseconds until the others are told, and until the last permit"
    );
    println!("that one of them has in spite of it (the goals: 50 for Redis, 100 for a file)");
    println!(
        "{:<5} {:>6} {:>24} {:>24} {:>24}",
        "", "rounds", "until they are told", "until the last permit", "and after being told"
    );
    venues.iter().for_each(|venue| Paused::row(*venue));
}

fn main() {
    let (redis, folder) = (
        server::Redis::start().map(Redis),
        Folder(tempfile::tempdir().unwrap()),
    );
    if redis.is_none() {
        println!(
            "SKIPPED: there is no redis-server here (apt-get install redis-server): no rows of Redis"
        );
    }
    let shared = redis.iter().map(|redis| redis as &dyn Venue);
    let venues: Vec<_> = shared.chain([&folder as &dyn Venue]).collect();
    let most = as_fast_as_it_goes(&venues);
    at_a_rate(&venues);
    redis
        .iter()
        .for_each(|redis| a_thousand_machines(redis, most[0]));
    in_a_pause(&venues);
}
