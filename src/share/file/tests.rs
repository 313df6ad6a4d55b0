//! The content of the file, and what happens if it is torn, not ours, or from another boot.

use super::*;
use crate::share::Want;

const STEP: u64 = 50_000;

fn pass() -> RosterRequest {
    RosterRequest {
        step: STEP,
        want: Want::Pass { and_next: true },
        ..RosterRequest::default()
    }
}

fn stamp(boot: u64, now: u64, wall: u64) -> Stamp {
    Stamp { boot, now, wall }
}

fn first() -> Stamp {
    stamp(1, 1_000_000, 1_000_000_000_000)
}

/// A folder, and a board in it.
fn board(stamp: fn() -> Stamp) -> (tempfile::TempDir, FileBoard) {
    let folder = tempfile::tempdir().unwrap();
    let board = FileBoard::new(&folder.path().join("pace"), vec!["a".into(), "b".into()]).at(stamp);
    (folder, board)
}

#[test]
fn a_line_is_read_as_it_was_written_for_numbers_of_any_size() {
    let mut roster = Roster::new(u64::MAX);
    (roster.shift, roster.paused_until, roster.pauses) = (u64::MAX, u64::MAX, 7);
    let line = RosterLine {
        name: "0123456789abcdef".into(),
        boot: u64::MAX,
        wall: u64::MAX,
        roster,
    };
    assert_eq!(line.text().len(), RosterLine::LENGTH);
    assert_eq!(RosterLine::read(&line.text()), Some(line));
}

#[test]
fn each_name_has_its_own_rate_and_boards_on_one_file_share_it() {
    let (_folder, board) = board(first);
    let other = FileBoard::new(&board.path, vec!["b".into()]).at(first);
    assert!(board.exchange(0, &pass()).unwrap().passed.is_some());
    assert!(board.exchange(1, &pass()).unwrap().passed.is_some());
    let reply = other.exchange(0, &pass()).unwrap();
    assert_eq!(
        (reply.passed, reply.due_in),
        (None, 2 * STEP),
        "one has passed, and one has reserved"
    );
}

#[test]
fn a_line_torn_at_any_byte_is_noticed_and_no_permit_comes_too_early() {
    let (_folder, board) = board(first);
    board.exchange(0, &pass()).unwrap();
    let whole = std::fs::read(&board.path).unwrap();
    for cut in 1..whole.len() {
        let mut torn = whole.clone();
        torn[cut] ^= 1;
        for damaged in [&whole[..cut], &torn] {
            std::fs::write(&board.path, damaged).unwrap();
            let reply = board.exchange(0, &pass());
            let Ok(reply) = reply else {
                assert!(cut < RosterLine::MAGIC.len(), "{cut}: {reply:?}");
                continue;
            };
            let is_blank = damaged.len() == whole.len() && RosterLine::read(damaged).is_some();
            assert!(
                is_blank || (reply.passed, reply.due_in) == (None, STEP),
                "{cut}: {reply:?}"
            );
        }
    }
    std::fs::write(&board.path, [0; 100]).unwrap();
    assert_eq!(
        board.exchange(0, &pass()).unwrap().due_in,
        STEP,
        "a crash of the machine may leave zeros"
    );
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let (_folder, board) = board(first);
    std::fs::write(&board.path, "my only copy\n").unwrap();
    let refused = board.exchange(0, &pass()).unwrap_err();
    assert!(
        matches!(&refused, BoardError::Useless(why) if why.contains("name another")),
        "{refused}"
    );
    assert_eq!(std::fs::read(&board.path).unwrap(), b"my only copy\n");
}

#[test]
fn a_deleted_file_is_started_again_and_no_permit_comes_too_early() {
    let (_folder, board) = board(first);
    let claim = board.exchange(0, &pass()).unwrap().claim;
    std::fs::remove_file(&board.path).unwrap();
    let reply = board
        .exchange(0, &RosterRequest { claim, ..pass() })
        .unwrap();
    assert_eq!((reply.passed, reply.due_in), (None, STEP));
}

#[test]
fn a_missing_folder_may_appear_later() {
    let board = FileBoard::new(Path::new("/nowhere/pace"), vec!["a".into()]);
    assert!(matches!(
        board.exchange(0, &pass()),
        Err(BoardError::Away(_))
    ));
}

#[test]
fn lines_of_an_earlier_boot_do_not_count() {
    let (_folder, board) = board(first);
    board
        .exchange(
            0,
            &RosterRequest {
                pause: Some(3_600_000_000),
                ..pass()
            },
        )
        .unwrap();
    let board = board.at(|| stamp(2, 30_000_000, 1_000_100_000_000)); // 100 s later, started 30 s ago
    assert!(board.exchange(0, &pass()).unwrap().passed.is_some());
}

#[test]
fn two_machines_on_one_file_are_noticed() {
    let (_folder, board) = board(first);
    board.exchange(0, &pass()).unwrap();
    let board = board.at(|| stamp(2, 7_000_000_000, 1_000_001_000_000)); // a second later, started long ago
    let refused = board.exchange(0, &pass()).unwrap_err();
    assert!(
        matches!(&refused, BoardError::Useless(why) if why.contains("another machine")),
        "{refused}"
    );
}

#[test]
fn the_machines_clock_goes_on() {
    let one = Stamp::now();
    let other = Stamp::now();
    assert!(one.boot == other.boot && one.now <= other.now);
}
