//! A run that is under way: what it says while it says it, the signals it is sent, and its end.
//!
//! Nothing here waits for a time to pass. A test reads on to the line that tells what it waits for; only a program that
//! says nothing more and does not end either is killed after a while, and the test fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Cli, Ran};

/// Longer than anything takes, however busy the machine is, and shorter than any wait that a test calls off.
const WATCHDOG: Duration = Duration::from_secs(60);

pub(crate) struct Started<'a> {
    cli: &'a Cli,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Receiver<String>,
    /// The lines that have been read.
    said: Vec<String>,
}

impl Cli {
    /// Starts `paceline` with these arguments. Its standard input, if it has one, stays open.
    pub(crate) fn start(&self, args: &[&str]) -> Started<'_> {
        let mut child = self
            .command(env!("CARGO_BIN_EXE_paceline"), args)
            .spawn()
            .expect("it starts");
        let (mut stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stdout = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let (to_us, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(stderr)
                .lines()
                .map(|line| line.expect("what it says is UTF-8"));
            lines.map_while(|line| to_us.send(line).ok()).for_each(drop);
        });
        let stdin = child.stdin.take();
        let mut run = Started {
            cli: self,
            child,
            stdin,
            stdout: Some(stdout),
            stderr: lines,
            said: vec![],
        };
        self.stdin.iter().for_each(|text| run.feed(text));
        run
    }

    /// Starts `paceline run prompts.txt -m m` with these arguments.
    pub(crate) fn start_run(&self, args: &[&str]) -> Started<'_> {
        self.start(&[&["run", "prompts.txt", "-m", "m"], args].concat())
    }
}

impl Started<'_> {
    /// The next line that it says; none when it has ended.
    pub(crate) fn line(&mut self) -> Option<&str> {
        match self.stderr.recv_timeout(WATCHDOG) {
            Ok(line) => self.said.push(line),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => self.fail("it neither goes on nor ends"),
        }
        self.said.last().map(String::as_str)
    }

    /// Reads on to the next line with these words.
    #[track_caller]
    pub(crate) fn until(&mut self, words: &str) {
        while !self
            .line()
            .unwrap_or_else(|| panic!("it has ended and not said {words:?}"))
            .contains(words)
        {}
    }

    /// Writes to its standard input.
    pub(crate) fn feed(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("it has a standard input");
        stdin
            .write_all(text.as_bytes())
            .and_then(|()| stdin.flush())
            .expect("it reads");
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal: `INT`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success(),
            "{kill}"
        );
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        while self.line().is_some() {}
        let status = self.child.wait().unwrap();
        let stdout = self.stdout.take().map(|reader| reader.join().unwrap());
        let said: String = self.said.iter().map(|line| format!("{line}\n")).collect();
        self.cli
            .ran(status, stdout.unwrap_or_default(), said.into_bytes())
    }

    fn fail(&mut self, why: &str) -> ! {
        let _ = self.child.kill();
        panic!("{why}, having said:\n{}", self.said.join("\n"));
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
