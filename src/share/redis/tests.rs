//! The script decides as the roster does: the same requests at the same times get the same replies.

use super::*;
use crate::share::Roster;

#[path = "../../../tests/common/redis.rs"]
mod server;

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
fn the_script_and_the_roster_agree() {
    let Some(redis) = server::Redis::start() else {
        return;
    };
    for seed in 0..20 {
        let place = RedisUrl::parse(&redis.url(&format!("agree-{seed}")), None).unwrap();
        let board = RedisBoard::new(place, &["a".to_owned()]);
        let mut connection = redis.connect();
        let mut draw = numbers(seed);
        let mut now = 1_700_000_000_000_000 + draw(1_000_000);
        let mut roster = Roster::new(now);
        let mut claims: [Option<Claim>; 4] = [None; 4];
        let mut last: Option<u64> = None;
        for n in 0..300 {
            let who = draw(4) as usize;
            let want = match draw(10) {
                0 => Want::Look,
                1 if n > 0 => Want::GiveBack,
                half => Want::Pass {
                    and_next: half % 2 == 0,
                },
            };
            let pause = (draw(20) == 0).then(|| draw(300_000) + 1);
            let late = last.filter(|_| draw(8) == 0);
            let step = [50_000, 50_000, 50_000, 80_000][who];
            let slack = 400;
            let claim = claims[who].filter(|_| n > 0);
            let ask = RosterRequest {
                step,
                slack,
                claim,
                want,
                pause,
                late,
            };
            let answer = board.call(&mut connection, 0, &ask, now).unwrap();
            assert_eq!(
                answer,
                roster.exchange(now, &ask),
                "seed {seed}, message {n} at {now}: {ask:?}"
            );
            (claims[who], last) = (answer.claim, answer.passed.or(last));
            now = match draw(100) {
                0 => now - 2_000_000, // the server's clock is set back
                _ => now + draw(60_000),
            };
        }
    }
}

#[test]
fn the_roster_in_redis_expires_by_itself() {
    let Some(redis) = server::Redis::start() else {
        return;
    };
    let board = RedisBoard::new(
        RedisUrl::parse(&redis.url("e"), None).unwrap(),
        &["a".to_owned()],
    );
    board
        .exchange(
            0,
            &RosterRequest {
                step: 50_000,
                pause: Some(5_000_000),
                ..RosterRequest::default()
            },
        )
        .unwrap();
    let left: i64 = redis::cmd("PTTL")
        .arg("paceline:{e}:pace:a")
        .query(&mut redis.connect())
        .unwrap();
    assert!((5_000..60_000).contains(&left), "{left} ms");
}
