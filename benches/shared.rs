//! What a shared turn costs, and how soon a hold reaches everyone: `cargo bench --bench shared`.
//!
//! Each participant has a `Shared` and a connection of its own, as a process would have. They share a pace through a real
//! Redis that keeps an append-only file, and through a file; without a `redis-server` its rows are left out, and this says
//! so. Clients and server share the processors, so read the ratios, and the server's own processor time.

mod common;
#[path = "../tests/common/redis.rs"]
mod server;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use common::{Spread, p50_and_p99};
use paceline::clock::SystemClock;
use paceline::limiter::{Board, Shared, Turn};
use paceline::share::{FileBoard, RedisBoard};
use paceline::store::{Place, redis as client};
use paceline::{CancelToken, Pace, Rate};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(200);

/// Where a pace is shared.
trait Venue: Sync {
    fn name(&self) -> &'static str;

    /// The board of one more participant in the pace of this name.
    fn board(&self, pace: &str) -> Arc<dyn Board>;

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
    fn by(self, turns: f64) -> Self {
        Effort {
            messages: self.messages / turns,
            cpu: self.cpu / turns,
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

    fn board(&self, pace: &str) -> Arc<dyn Board> {
        let place = Place::parse(&self.0.url(pace), None).unwrap();
        Arc::new(RedisBoard::new(place, &["lane".to_owned()]))
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

    fn board(&self, pace: &str) -> Arc<dyn Board> {
        Arc::new(FileBoard::new(
            &self.0.path().join(pace),
            vec!["lane".to_owned()],
        ))
    }

    fn yardstick(&self) -> Box<dyn FnMut()> {
        let path = self.0.path().join("yardstick");
        Box::new(move || lock_read_and_write(&path).unwrap())
    }

    fn effort(&self) -> Option<Effort> {
        None
    }
}

/// What a board in a file cannot do without, for as many bytes.
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

fn participant(venue: &dyn Venue, pace: &str, rate: Rate) -> Shared {
    let patience = Duration::from_secs(5);
    Shared::new(
        Arc::new(SystemClock),
        venue.board(pace),
        rate,
        None,
        1,
        patience,
    )
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

/// What turns cost at the most that one can have of them.
#[derive(Clone, Copy)]
struct Most {
    a_second: f64,
    /// A turn.
    effort: Option<Effort>,
}

/// Turns as fast as they are granted, by the threads of so many participants.
fn unpaced(venue: &dyn Venue, participants: usize) -> Most {
    let cancel = CancelToken::default();
    let grant = || -> Box<dyn FnMut()> {
        let (pace, cancel) = (
            participant(venue, "unpaced", Rate::unlimited()),
            cancel.clone(),
        );
        Box::new(move || _ = pace.take(0, &cancel).unwrap())
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
    let (grants, p50, p99) = (
        of(&ours, |d| d.a_second),
        of(&ours, |d| d.p50),
        of(&ours, |d| d.p99),
    );
    let raw = of(&raw, |done| done.a_second);
    let (name, ratio) = (venue.name(), grants.median() / raw.median() * 100.0);
    println!(
        "{name:<5} {participants:>12} {grants:>24} {p50:>22} {p99:>22} {raw:>24} {ratio:>5.0} %"
    );
    Most {
        a_second: grants.median(),
        effort: effort[ROUNDS / 2],
    }
}

fn per_minute(rpm: u32) -> Rate {
    Rate::per_minute(NonZeroU32::new(rpm).unwrap())
}

/// A turn, and whose it was.
type Taken = (Instant, usize);

/// Participants with so many threads each take turns for a while; with each turn something is done. In order of time.
fn ride(
    paces: &[Shared],
    threads: usize,
    lasts: Duration,
    call: impl Fn(usize, Turn) + Sync,
) -> Vec<Taken> {
    let (taken, cancel) = (Mutex::new(Vec::new()), CancelToken::default());
    let toil = |who: usize| {
        while let Ok(turn) = paces[who].take(0, &cancel) {
            paces[who].departed(turn);
            taken.lock().unwrap().push((turn.at, who));
            call(who, turn);
        }
    };
    thread::scope(|scope| {
        for thread in 0..threads * paces.len() {
            let toil = &toil;
            scope.spawn(move || toil(thread % paces.len()));
        }
        thread::sleep(lasts);
        cancel.cancel();
    });
    let mut taken = taken.into_inner().unwrap();
    taken.sort();
    taken
}

/// One row of turns at a pace that binds.
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
    turns_a_second: f64,
    /// A turn, where somebody counts.
    effort: Option<Effort>,
}

impl Paced {
    fn measure(&self, venue: &dyn Venue, pace: &str) -> Kept {
        let rate = per_minute(self.rpm);
        let paces: Vec<_> = (0..self.participants)
            .map(|_| participant(venue, pace, rate))
            .collect();
        paces.iter().for_each(|pace| pace.check().unwrap()); // connects
        let (taken, effort) = watched(venue, || ride(&paces, self.threads, self.lasts, |_, _| {}));
        let step = (rate.interval + rate.guard).as_secs_f64();
        let late = |pair: &[Taken]| ((pair[1].0 - pair[0].0).as_secs_f64() - step) * 1e6;
        let (turns, took) = (taken.len() as f64, taken[taken.len() - 1].0 - taken[0].0);
        Kept {
            late: p50_and_p99(taken.windows(2).map(late).collect()),
            turns_a_second: (turns - 1.0) / took.as_secs_f64(),
            effort: effort.map(|effort| effort.by(turns)),
        }
    }

    fn row(&self, venue: &dyn Venue, rounds: usize) -> Vec<Kept> {
        let Paced {
            rpm,
            participants,
            threads,
            ..
        } = *self;
        let pace = |round| format!("{rpm}-{participants}-{threads}-{round}");
        let kept: Vec<_> = (0..rounds)
            .map(|round| self.measure(venue, &pace(round)))
            .collect();
        let of = |figure: fn(&Kept) -> f64| -> Spread { kept.iter().map(figure).collect() };
        let (p50, p99) = (of(|kept| kept.late.0), of(|kept| kept.late.1));
        let used = of(|kept| kept.turns_a_second).median() * 6000.0 / f64::from(rpm);
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

/// What all that means for a thousand machines: as many connections, and a fast pace.
fn a_thousand_machines(redis: &Redis, most: Most) {
    const PACED: Paced = Paced {
        rpm: 60_000,
        participants: 1000,
        threads: 2,
        lasts: Duration::from_secs(4),
    };
    let kept = PACED.row(redis, 1).remove(0);
    let (least, spent) = (
        most.effort.expect("Redis counts"),
        kept.effort.expect("Redis counts"),
    );
    let busy = spent.cpu * kept.turns_a_second * 100.0;
    println!(
        "
One Redis grants {:.0} turns a second here, for {:.2} messages and {:.0} µs of its own processor time each: so a thousand
machines can share at most {:.0} turns a minute. That is as long as none has to wait. Those who wait for their turns ask
again whenever earlier turns were late: at a shared {} a minute a turn takes {:.1} messages and {:.0} µs, which keeps
Redis {busy:.0} % busy, where one message a turn would make it {:.0} %. At so many a turn, the most is {:.0} a minute.",
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

/// Milliseconds from a refusal that one of four met: until the others had been told, and until the last turn that one of
/// them had in spite of it; 0 if there was none.
#[derive(Clone, Copy)]
struct Held {
    told: f64,
    last_turn: f64,
}

impl Held {
    /// In each round the refusal comes at another moment between two turns.
    fn measure(venue: &dyn Venue, round: u32, rounds: u32) -> Self {
        const HOLD: Duration = Duration::from_millis(500);
        const LEAD: Duration = Duration::from_millis(60);
        let (rate, pace) = (per_minute(6_000), format!("hold-{round}"));
        let paces: Vec<_> = (0..4).map(|_| participant(venue, &pace, rate)).collect();
        let (began, met) = (Instant::now(), OnceLock::new());
        let taken = ride(&paces, 2, LEAD + HOLD * 9 / 10, |who, turn| {
            if who == 0 && began.elapsed() > LEAD {
                met.get_or_init(|| {
                    thread::sleep(rate.interval * round / rounds);
                    let refused = Instant::now();
                    paces[who].refused(turn, Some(refused + HOLD));
                    (refused, refused.elapsed())
                });
            }
        });
        let (refused, told) = met
            .into_inner()
            .expect("the first of them has had a turn by then");
        // Also a ride that lasts too long, because nobody ends it in time, has turns in spite of the hold only within it.
        let others = taken
            .iter()
            .filter(|(at, who)| *who != 0 && *at < refused + HOLD);
        let last_turn = others
            .map(|(at, _)| at.saturating_duration_since(refused))
            .max()
            .unwrap_or_default();
        Held {
            told: told.as_secs_f64() * 1e3,
            last_turn: last_turn.as_secs_f64() * 1e3,
        }
    }

    fn row(venue: &dyn Venue) {
        const ROUNDS: u32 = 20;
        let held: Vec<_> = (0..ROUNDS)
            .map(|round| Held::measure(venue, round, ROUNDS))
            .collect();
        let of = |figure: fn(&Held) -> f64| -> Spread { held.iter().map(figure).collect() };
        let after = |held: &Held| (held.last_turn - held.told).max(0.0);
        let (told, last_turn, after) = (of(|held| held.told), of(|held| held.last_turn), of(after));
        println!(
            "{:<5} {ROUNDS:>6} {told:>24} {last_turn:>24} {after:>24}",
            venue.name()
        );
    }
}

fn as_fast_as_it_goes(venues: &[&dyn Venue]) -> Vec<Most> {
    println!(
        "As fast as turns are granted; beside it a PING, or a file that is opened, locked, read and written"
    );
    println!(
        "{:<5} {:>12} {:>24} {:>22} {:>22} {:>24}",
        "", "participants", "grants a second", "p50 of one, µs", "p99, µs", "of those a second"
    );
    let row = |venue: &dyn Venue| {
        let rows = [1, 4, 16, 64].map(|participants| unpaced(venue, participants));
        rows.into_iter()
            .max_by(|one, other| one.a_second.total_cmp(&other.a_second))
            .expect("four")
    };
    venues.iter().map(|venue| row(*venue)).collect()
}

fn at_a_pace(venues: &[&dyn Venue]) {
    println!(
        "\nAt a pace that binds: by how much gaps are longer than a step, and the part of the limit that is used"
    );
    println!(
        "{:<5} {:>6} {:>12} {:>7} {:>24} {:>24} {:>8} {:>22}",
        "", "rpm", "participants", "threads", "p50, µs", "p99, µs", "used", "messages a turn"
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

fn in_a_hold(venues: &[&dyn Venue]) {
    println!(
        "\nOne of four at 6000 a minute is refused: milliseconds until the others are told, and until the last turn"
    );
    println!("that one of them has in spite of it (the goals: 50 for Redis, 100 for a file)");
    println!(
        "{:<5} {:>6} {:>24} {:>24} {:>24}",
        "", "rounds", "until they are told", "until the last turn", "and after being told"
    );
    venues.iter().for_each(|venue| Held::row(*venue));
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
    at_a_pace(&venues);
    redis
        .iter()
        .for_each(|redis| a_thousand_machines(redis, most[0]));
    in_a_hold(&venues);
}
