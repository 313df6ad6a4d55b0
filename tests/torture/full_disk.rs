//! A disk that is full: a limit on the size of files, which is raised bit by bit, and a device that never has room.

use std::fs;

use paceline::practice::Faults;

use super::{Books, WORKERS};

/// The shell's `ulimit -f` counts in blocks of 512 bytes, or of 1024 in some shells.
const BLOCKS: usize = 160;

/// Ends a run again and again by a full disk, until there is room for all of it.
#[track_caller]
fn fill_up(sync: &str) {
    let mut books = Books::open(Faults::default());
    let url = books.url();
    let args = books.command(&url, &["--sync", sync]);
    let args = [&["run", "prompts.txt", "-m", "m"], &args[..]].concat();
    let exit = loop {
        let room = BLOCKS * (1 + books.ends as usize);
        let ran = books
            .cli
            .paceline_after(&format!("ulimit -f {room}"), &args);
        if ran.exit != 3 {
            break ran.exit;
        }
        assert!(
            ran.stderr
                .contains("stopped: cannot write to prompts.results.jsonl: File too large"),
            "{ran}"
        );
        assert!(
            ran.stderr.contains("make room") && ran.stderr.contains("run the same command again"),
            "{ran}"
        );
        assert!(
            books.cli.results().ends_with('\n'),
            "half a record is left behind"
        );
        books.balance(WORKERS);
    };
    assert!(books.ends >= 3, "the disk was never full");
    assert_eq!(exit, 0);
    let most = books.ends * WORKERS;
    assert!(books.close(&format!("a full disk, --sync {sync}")) <= most);
}

#[test]
fn a_disk_that_is_full_again_and_again_costs_at_most_the_calls_in_flight() {
    fill_up("interval");
}

#[test]
fn so_it_does_if_every_record_is_synced() {
    fill_up("always");
}

#[test]
fn so_it_does_if_none_is_synced() {
    fill_up("never");
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_without_room_is_named_and_nothing_more_is_sent() {
    for sync in ["always", "interval", "never"] {
        let mut books = Books::open(Faults::default());
        let url = books.url();
        let args = books.command(&url, &["--sync", sync, "-o", "/dev/full"]);
        let ran = books.cli.run(&args);
        assert_eq!(ran.exit, 3, "{ran}");
        assert!(
            ran.stderr
                .contains("stopped: cannot write to /dev/full: No space left on device"),
            "{ran}"
        );
        assert!(
            ran.stderr.contains("make room") && ran.stderr.contains("-o"),
            "{ran}"
        );
        books.balance(WORKERS);
        assert!(
            !fs::metadata("/dev/full").unwrap().is_file(),
            "a device is no file to be cut or put aside"
        );
    }
}
