//! With a real Redis: the script decides as the rate does, for processes that exchange at the same time, too.

use std::collections::BTreeSet;
use std::thread;

use super::*;
use crate::share::rate::SharedRate;

#[path = "../../../tests/common/redis.rs"]
mod server;

fn rates(redis: &server::Redis, name: &str) -> RedisRates {
    let url = RedisUrl::parse(&redis.url(name), None).unwrap();
    RedisRates::new(url, &["a".to_owned()])
}

fn permit() -> RateRequest {
    RateRequest {
        interval: 1,
        ask: Purpose::Permit { and_next: false },
        ..RateRequest::default()
    }
}

/// Numbers that look random, the same each time.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[test]
fn the_script_decides_as_the_rate_does() {
    let Some(redis) = server::Redis::start() else {
        return;
    };
    for seed in 0..20 {
        let rates = rates(&redis, &format!("agree-{seed}"));
        let mut link = Link::new(rates.url.clone(), RedisRates::REPLY_WITHIN);
        let mut draw = numbers(seed);
        let mut now = 1_700_000_000_000_000 + draw(1_000_000);
        let mut rate = SharedRate::after_loss(now, 0);
        let mut reservations: [Option<Reservation>; 4] = [None; 4];
        let mut last: Option<u64> = None;
        for n in 0..300 {
            let who = draw(4) as usize;
            let ask = match draw(10) {
                0 => Purpose::Look,
                1 if n > 0 => Purpose::GiveBack,
                half => Purpose::Permit {
                    and_next: half % 2 == 0,
                },
            };
            let pause = (draw(20) == 0).then(|| draw(300_000) + 1);
            let late = last.filter(|_| draw(8) == 0);
            let interval = [50_000, 50_000, 50_000, 80_000][who];
            let slack = 400;
            let reserved = reservations[who].filter(|_| n > 0);
            let request = RateRequest {
                interval,
                slack,
                reserved,
                ask,
                pause,
                late,
            };
            let answer = rates.call(&mut link, 0, &request, now).unwrap();
            assert_eq!(
                answer,
                rate.exchange(now, &request),
                "seed {seed}, message {n} at {now}: {request:?}"
            );
            (reservations[who], last) = (answer.reserved, answer.taken.or(last));
            now = match draw(100) {
                0 => now - 2_000_000, // the server's clock is set back
                _ => now + draw(60_000),
            };
        }
    }
}

#[test]
fn processes_that_exchange_at_the_same_time_never_take_the_same_permit() {
    const PROCESSES: usize = 8;
    const EACH: usize = 100;
    let Some(redis) = server::Redis::start() else {
        return;
    };
    let take_some = |rates: &RedisRates| {
        let mut request = permit();
        let mut taken = Vec::new();
        while taken.len() < EACH {
            let reply = rates.exchange(0, &request).unwrap();
            taken.extend(reply.taken);
            request.reserved = reply.reserved;
        }
        taken
    };
    let all: Vec<u64> = thread::scope(|scope| {
        let start = |_| scope.spawn(|| take_some(&rates(&redis, "same")));
        let started: Vec<_> = (0..PROCESSES).map(start).collect();
        let ended = started.into_iter().map(|process| process.join().unwrap());
        ended.flatten().collect()
    });
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(
        (all.len(), different.len()),
        (PROCESSES * EACH, PROCESSES * EACH)
    );
}

#[test]
fn a_rate_in_redis_expires_by_itself() {
    let Some(redis) = server::Redis::start() else {
        return;
    };
    let request = RateRequest {
        interval: 50_000,
        pause: Some(5_000_000),
        ..RateRequest::default()
    };
    rates(&redis, "e").exchange(0, &request).unwrap();
    let left: i64 = ::redis::cmd("PTTL")
        .arg("paceline:{e}:rate:a")
        .query(&mut redis.connect())
        .unwrap();
    assert!((5_000..60_000).contains(&left), "{left} ms");
}

#[test]
fn a_key_that_another_program_uses_is_left_alone_and_named() {
    let Some(redis) = server::Redis::start() else {
        return;
    };
    let mut connection = redis.connect();
    let set = |key: &str, value: &str| {
        let mut command = ::redis::cmd("SET");
        command.arg(key).arg(value);
        command
    };
    set("paceline:{f}:rate:a", "mine")
        .query::<()>(&mut connection)
        .unwrap();
    let refused = rates(&redis, "f").exchange(0, &permit()).unwrap_err();
    assert!(
        matches!(&refused, ShareError::Unusable(why) if why.contains("no other program writes the keys paceline:*")),
        "{refused}"
    );
    let mut get = ::redis::cmd("GET");
    let there: String = get
        .arg("paceline:{f}:rate:a")
        .query(&mut connection)
        .unwrap();
    assert_eq!(there, "mine");
}

#[test]
fn a_broken_connection_is_reported_once_however_many_are_idle() {
    let Some(mut redis) = server::Redis::start() else {
        return;
    };
    let rates = rates(&redis, "idle");
    let links = [(); 3].map(|()| Link::new(rates.url.clone(), RedisRates::REPLY_WITHIN));
    let mut links = links.map(|mut link| {
        link.ask(|connection| ::redis::cmd("PING").query::<()>(connection))
            .unwrap();
        link
    });
    redis.kill();
    redis.start_again();
    let answers = links.each_mut().map(|link| {
        let answer = link.ask(|connection| ::redis::cmd("PING").query::<()>(connection));
        answer.is_ok()
    });
    assert_eq!(answers, [false, true, true]);
}
