//! The journal on real files: what a crash, a full disk or a second run may do to it.

use super::*;
use crate::journal::RecordId;
use crate::journal::file::write_whole_or_nothing;
use crate::journal::index::PromptStatus;
use crate::journal::record::tests::full;
use crate::json::Json;
use proptest::prelude::*;
use std::fs;
use std::time::Duration;

fn record(line: u64, text: Option<&str>) -> Record {
    let id = RecordId::of(line, b"request").to_string();
    Record {
        text: text.map(str::to_owned),
        ..full(&id)
    }
}

fn status(index: &Index, line: u64) -> PromptStatus {
    index.status(&RecordId::of(line, b"request"))
}

fn open(path: &Path) -> Opened {
    Journal::open(path, Durability::Interval).unwrap()
}

/// A folder, and in it a results file with an answer to line 1 and a failure of line 2.
fn two_records() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let mut journal = open(&path).journal;
    journal.append(&record(1, Some("answer"))).unwrap();
    journal.append(&record(2, None)).unwrap();
    journal.finish().unwrap();
    (folder, path)
}

#[test]
fn a_record_is_never_longer_than_a_reader_takes() {
    let (_folder, path) = two_records();
    let mut journal = open(&path).journal;
    let body = Json::read(format!("[\"{}\"]", "x".repeat(9_000))).unwrap();
    let mut long = record(3, Some("the answer"));
    long.response.as_mut().unwrap().body = Some(body);
    journal.make_line(&long, 20_000).unwrap();
    assert!(journal.line.len() > 9_000);
    journal.make_line(&long, 9_000).unwrap();
    let read: Record = serde_json::from_slice(&journal.line).unwrap();
    assert_eq!(read, long.without_body());
    let error = journal.make_line(&long, 100).unwrap_err().to_string();
    assert!(
        error.starts_with("the record of line-1 is longer"),
        "{error}"
    );
}

#[test]
fn going_on_appends_to_what_is_there() {
    let (_folder, path) = two_records();
    let Opened {
        mut journal,
        index,
        torn,
    } = open(&path);
    assert_eq!(
        [1, 2, 3].map(|line| status(&index, line)),
        [
            PromptStatus::Answered,
            PromptStatus::Failed,
            PromptStatus::New
        ]
    );
    assert_eq!((index.len(), torn), (2, 0));
    journal.append(&record(2, Some("at last"))).unwrap();
    drop(journal);
    assert_eq!(status(&open(&path).index, 2), PromptStatus::Answered);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
}

#[test]
fn an_unfinished_last_line_is_cut_off_and_said() {
    let (_folder, path) = two_records();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"{\"id\":\"pl_3_"].concat()).unwrap();
    let Opened {
        mut journal,
        index,
        torn,
    } = open(&path);
    assert_eq!((index.len(), torn), (2, 12));
    assert_eq!(fs::read(&path).unwrap(), whole);
    journal.append(&record(3, Some("again"))).unwrap();
    drop(journal);
    let Opened { index, torn, .. } = open(&path);
    assert_eq!((index.len(), torn), (3, 0));
}

#[test]
fn a_file_that_is_no_results_file_is_refused_and_left_as_it_is() {
    let (_folder, path) = two_records();
    let whole = fs::read(&path).unwrap();
    for other in [
        b"Dear diary".to_vec(),
        b"Dear diary\n".to_vec(),
        [&whole[..], b"oops\n", &whole, b"{\"id\""].concat(),
    ] {
        fs::write(&path, &other).unwrap();
        let error = Journal::open(&path, Durability::Interval).unwrap_err();
        assert!(matches!(error, JournalError::Results { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), other);
    }
    let error = Journal::open(&path, Durability::Interval)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!(
            "cannot go on with {}: line 3 is not a whole record",
            path.display()
        )),
        "{error}"
    );
}

#[test]
#[cfg(unix)]
fn results_that_are_deleted_replaced_or_cut_while_they_are_written_are_an_error() {
    let damages: [fn(&Path); 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| {
            let copy = path.with_extension("copy");
            fs::copy(path, &copy).unwrap();
            fs::rename(copy, path).unwrap();
        },
        |path| fs::write(path, "").unwrap(),
    ];
    let choices = [Durability::Always, Durability::Interval, Durability::Never];
    for durability in choices {
        for damage in damages {
            let (_folder, path) = two_records();
            let mut journal = Journal::open(&path, durability).unwrap().journal;
            damage(&path);
            let error = match journal.append(&record(3, None)) {
                Ok(()) => journal.finish().unwrap_err(),
                Err(error) => error,
            };
            assert!(matches!(error, JournalError::Damaged(_)), "{error}");
        }
    }
}

#[test]
fn a_second_run_on_the_same_results_refuses_until_the_first_ends() {
    let (_folder, path) = two_records();
    let first = open(&path);
    let refused = [
        Journal::open(&path, Durability::Interval)
            .map(drop)
            .unwrap_err(),
        Journal::restart(&path, Durability::Interval, SystemTime::now())
            .map(drop)
            .unwrap_err(),
    ];
    for error in refused {
        assert!(
            error.to_string().starts_with("another run is writing"),
            "{error}"
        );
    }
    drop(first);
    open(&path);
}

#[test]
fn a_run_that_is_just_ending_is_waited_for() {
    let (_folder, path) = two_records();
    let first = open(&path);
    let ending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(first);
    });
    assert_eq!(open(&path).index.len(), 2);
    ending.join().unwrap();
}

#[test]
fn a_restart_keeps_the_old_results_aside() {
    let (folder, path) = two_records();
    let old = fs::read(&path).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400);
    let (mut journal, aside) = Journal::restart(&path, Durability::Always, now).unwrap();
    let aside = aside.unwrap();
    assert_eq!(aside.file_name().unwrap(), "r.2026-11-24T10-00-00Z.jsonl");
    journal.append(&record(7, None)).unwrap();
    assert_eq!(fs::read(&aside).unwrap(), old);
    assert!(
        matches!(
            Journal::open(&path, Durability::Never),
            Err(JournalError::Busy(_))
        ),
        "the new one is locked"
    );
    drop(journal);
    assert_eq!((open(&path).index.len(), open(&aside).index.len()), (1, 2));
    let (_, again) = Journal::restart(&path, Durability::Never, now).unwrap();
    assert_eq!(
        again.unwrap().file_name().unwrap(),
        "r.2026-11-24T10-00-00Z-2.jsonl"
    );
    let (_, nothing) = Journal::restart(&path, Durability::Never, now).unwrap();
    assert_eq!(nothing, None, "an empty file is not worth keeping");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
#[cfg(unix)]
fn a_restart_follows_a_link_to_the_results() {
    let (folder, path) = two_records();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let (journal, aside) =
        Journal::restart(&link, Durability::Never, SystemTime::UNIX_EPOCH).unwrap();
    drop(journal);
    assert_eq!(
        (open(&link).index.len(), open(&aside.unwrap()).index.len()),
        (0, 2)
    );
    assert!(link.is_symlink() && path.metadata().unwrap().len() == 0);
}

#[test]
fn an_empty_file_is_as_good_as_none_and_a_folder_is_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(
        Journal::open(file.path(), Durability::Never).is_ok_and(|opened| opened.index.len() == 0)
    );
    assert!(matches!(
        Journal::open(Path::new("/"), Durability::Never),
        Err(JournalError::Open { .. })
    ));
    assert!(matches!(
        Journal::open(Path::new("/no/such/r.jsonl"), Durability::Never),
        Err(JournalError::Open { .. })
    ));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_then_nothing_more_is_written() {
    let mut journal = open(Path::new("/dev/full")).journal;
    let full = journal.append(&record(1, None)).unwrap_err();
    assert!(
        full.to_string()
            .starts_with("cannot write to /dev/full: No space left"),
        "{full}"
    );
    let closed = journal.append(&record(1, None)).unwrap_err();
    assert!(
        closed.to_string().ends_with("an earlier write failed"),
        "{closed}"
    );
    journal.finish().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_is_written_to_by_several_and_never_read() {
    let (one, other) = (open(Path::new("/dev/null")), open(Path::new("/dev/null")));
    for Opened { mut journal, .. } in [one, other] {
        journal.append(&record(1, None)).unwrap();
        assert!(journal.results().unwrap().is_none());
        journal.finish().unwrap();
    }
}

#[test]
fn a_line_that_does_not_fit_is_taken_back() {
    /// Room for four bytes.
    struct Small(Vec<u8>);
    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(4 - self.0.len());
            self.0.extend_from_slice(&bytes[..fits]);
            if fits == 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(fits)
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (mut small, mut taken_back) = (Small(Vec::new()), false);
    assert!(write_whole_or_nothing(&mut small, b"ab\n", || unreachable!()).is_ok());
    let failed = write_whole_or_nothing(&mut small, b"cd\n", || {
        taken_back = true;
        Ok(())
    });
    assert_eq!(
        (failed.unwrap_err().kind(), taken_back),
        (io::ErrorKind::StorageFull, true)
    );
}

#[test]
fn the_results_can_be_read_while_the_journal_has_them() {
    let (_folder, path) = two_records();
    let mut journal = open(&path).journal;
    journal.append(&record(3, None)).unwrap();
    for _ in 0..2 {
        assert_eq!(
            journal
                .results()
                .unwrap()
                .unwrap()
                .map(Result::unwrap)
                .count(),
            3
        );
    }
    journal.append(&record(4, None)).unwrap();
    assert_eq!(
        journal.results().unwrap().unwrap().count(),
        4,
        "reading does not move where the next is written"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn results_cut_anywhere_lose_only_the_record_that_is_cut(count in 1u64..4, at: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let mut journal = Journal::open(&path, Durability::Never).unwrap().journal;
        (1..=count).for_each(|line| journal.append(&record(line, Some("a\nb"))).unwrap());
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let cut = &whole[..at.index(whole.len() + 1)];
        fs::write(&path, cut).unwrap();
        let kept = cut.iter().filter(|byte| **byte == b'\n').count();
        let Opened { index, torn, mut journal } = Journal::open(&path, Durability::Never).unwrap();
        prop_assert_eq!(index.len(), kept);
        (kept as u64 + 1..=count).for_each(|line| journal.append(&record(line, Some("a\nb"))).unwrap());
        prop_assert_eq!(torn > 0, cut.last().is_some_and(|byte| *byte != b'\n'));
        prop_assert_eq!(fs::read(&path).unwrap(), whole);
    }
}
