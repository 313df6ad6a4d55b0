//! The content of the file, and what happens if it is torn, not ours, or from another boot.

use super::*;
use crate::clock::SimClock;
use crate::share::rate::Purpose;

const INTERVAL: u64 = 50_000;

fn permit() -> RateRequest {
    RateRequest {
        interval: INTERVAL,
        ask: Purpose::Permit { and_next: true },
        ..RateRequest::default()
    }
}

/// A folder, and rates in it, on a machine that started a while ago.
fn rates(clock: &SimClock) -> (tempfile::TempDir, RateFile) {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b"].map(str::to_owned);
    clock.sleep_until(clock.now() + Duration::from_secs(1_000_000));
    let rates = RateFile {
        clock: clock.clone().into(),
        boot: Boot {
            id: 1,
            began: since_1970(clock.wall()) - 1_000_000,
        },
        ..RateFile::new(&folder.path().join("rate"), &names)
    };
    (folder, rates)
}

fn after(clock: &SimClock, seconds: u64) {
    clock.sleep_until(clock.now() + Duration::from_secs(seconds));
}

#[test]
fn rates_read_back_as_they_were_saved_for_numbers_of_any_size() {
    let rates = SavedRates {
        boot: u64::MAX,
        rates: [(
            "0123456789abcdef".to_owned(),
            SharedRate::after_loss(u64::MAX, 0),
        )]
        .into(),
    };
    let mut file = tempfile::tempfile().unwrap();
    RateFile::write(&mut file, &rates).unwrap();
    let mut text = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut text).unwrap();
    assert_eq!(parse(&text), Some(rates));
}

#[test]
fn a_rate_that_no_process_uses_any_more_is_removed() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    rates.exchange(0, &permit()).unwrap();
    after(&clock, 60);
    rates.exchange(1, &permit()).unwrap();
    let left = parse(&std::fs::read(&rates.path).unwrap()).unwrap();
    assert_eq!(left.rates.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_file_that_another_program_has_locked_is_named() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    let rates = RateFile {
        lock_within: Duration::ZERO,
        ..rates
    };
    rates.exchange(0, &permit()).unwrap();
    let other = File::open(&rates.path).unwrap();
    other.lock().unwrap();
    let refused = rates.exchange(0, &permit()).unwrap_err();
    assert!(
        matches!(&refused, ShareError::Locked(why) if why.contains("another program has locked")),
        "{refused}"
    );
    other.unlock().unwrap();
    assert!(rates.exchange(0, &permit()).is_ok());
}

#[test]
fn each_name_has_its_own_rate_and_processes_with_one_file_share_it() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    let other = RateFile {
        clock: clock.clone().into(),
        boot: rates.boot,
        ..RateFile::new(&rates.path, &["b".to_owned()])
    };
    assert!(rates.exchange(0, &permit()).unwrap().taken.is_some());
    assert!(rates.exchange(1, &permit()).unwrap().taken.is_some());
    let reply = other.exchange(0, &permit()).unwrap();
    assert_eq!(
        (reply.taken, reply.due_in),
        (None, 2 * INTERVAL),
        "one has taken, and one has reserved"
    );
}

#[test]
fn a_file_torn_at_any_byte_is_noticed_and_no_permit_comes_too_early() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    rates.exchange(0, &permit()).unwrap();
    let whole = std::fs::read(&rates.path).unwrap();
    for cut in 1..whole.len() {
        let mut torn = whole.clone();
        torn[cut] ^= 1;
        for damaged in [&whole[..cut], &torn] {
            std::fs::write(&rates.path, damaged).unwrap();
            let reply = rates.exchange(0, &permit());
            let Ok(reply) = reply else {
                assert!(cut < RateFile::MAGIC.len(), "{cut}: {reply:?}");
                continue;
            };
            assert_eq!((reply.taken, reply.due_in), (None, INTERVAL), "{cut}");
        }
    }
    std::fs::write(&rates.path, [0; 100]).unwrap();
    assert_eq!(
        rates.exchange(0, &permit()).unwrap().due_in,
        INTERVAL,
        "a crash of the machine may leave zeros"
    );
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    std::fs::write(&rates.path, "my only copy\n").unwrap();
    let refused = rates.exchange(0, &permit()).unwrap_err();
    assert!(
        matches!(&refused, ShareError::Unusable(why) if why.contains("name another")),
        "{refused}"
    );
    assert_eq!(std::fs::read(&rates.path).unwrap(), b"my only copy\n");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let rates = RateFile::new(folder.path(), &["a".to_owned()]);
    assert!(matches!(rates.open(), Err(ShareError::Unusable(_))));
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let rates = RateFile::new(&socket, &["a".to_owned()]);
    assert!(matches!(rates.open(), Err(ShareError::Unusable(_))));
}

#[test]
fn a_deleted_file_is_started_again_and_no_permit_comes_too_early() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    let reserved = rates.exchange(0, &permit()).unwrap().reserved;
    std::fs::remove_file(&rates.path).unwrap();
    let reply = rates
        .exchange(
            0,
            &RateRequest {
                reserved,
                ..permit()
            },
        )
        .unwrap();
    assert_eq!((reply.taken, reply.due_in), (None, INTERVAL));
}

#[test]
fn a_missing_folder_may_appear_later() {
    let rates = RateFile::new(Path::new("/nowhere/rate"), &["a".to_owned()]);
    assert!(matches!(
        rates.exchange(0, &permit()),
        Err(ShareError::Away(_))
    ));
}

#[test]
fn a_pause_outlasts_a_restart_of_the_machine() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    let pause = RateRequest {
        pause: Some(3_600_000_000),
        ..permit()
    };
    rates.exchange(0, &pause).unwrap();
    after(&clock, 30);
    let boot = Boot {
        id: 2,
        began: since_1970(clock.wall()) - 10_000_000,
    };
    let rates = RateFile { boot, ..rates };
    let reply = rates.exchange(0, &permit()).unwrap();
    assert_eq!(
        (reply.taken, reply.due_in),
        (None, 3_570_000_000 + INTERVAL)
    );
}

#[test]
fn two_machines_on_one_file_are_noticed() {
    let clock = SimClock::new();
    let (_folder, rates) = rates(&clock);
    rates.exchange(0, &permit()).unwrap();
    after(&clock, 1);
    let boot = Boot {
        id: 2,
        ..rates.boot // started long ago
    };
    let rates = RateFile { boot, ..rates };
    let refused = rates.exchange(0, &permit()).unwrap_err();
    assert!(
        matches!(&refused, ShareError::Unusable(why) if why.contains("another machine")),
        "{refused}"
    );
}

#[test]
fn the_boot_of_this_machine_is_known_and_over() {
    let (one, other) = (Boot::now(), Boot::now());
    assert_eq!((one.id, one.began), (other.id, other.began));
    assert!(one.began < since_1970(SystemClock.wall()));
}
