//! A real Redis for a test, on a port of its own, with its data in a folder that goes with it.
//!
//! Where there is no `redis-server`, a test says so and passes; with `PACELINE_REQUIRE_SERVERS=1` it fails.

#![allow(dead_code)] // Included by several crates, none of which uses everything.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use ::redis as redis_client;

/// A Redis that runs until it is dropped. It keeps an append-only file, so that it can be restarted.
pub(crate) struct Redis {
    process: Child,
    addr: SocketAddr,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

impl Redis {
    /// One without a password. `None`: there is no Redis here.
    pub(crate) fn start() -> Option<Self> {
        Redis::start_with(&[])
    }

    /// The same with these options, such as `--requirepass`, `hunter2`.
    pub(crate) fn start_with(options: &[&str]) -> Option<Self> {
        let program = find()?;
        let addr = free();
        let (folder, options) = (
            tempfile::tempdir().unwrap(),
            options.iter().map(|option| (*option).to_owned()),
        );
        let options: Vec<_> = options.collect();
        let process = spawn(&program, addr, &folder, &options);
        let mut redis = Redis {
            process,
            addr,
            folder,
            options,
        };
        redis.is_up();
        Some(redis)
    }

    /// One that wants this password, and speaks TLS besides with a fresh certificate. Gives also its address there, and the
    /// file that makes it trusted.
    pub(crate) fn start_with_tls(password: &str) -> Option<(Self, String, tempfile::TempDir)> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| {
            folder
                .path()
                .join(name)
                .into_os_string()
                .into_string()
                .unwrap()
        });
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let port = free().port().to_string();
        let tls = [
            "--tls-port",
            &port,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
        ];
        let trust = [
            "--tls-ca-cert-file",
            &certificate,
            "--tls-auth-clients",
            "no",
            "--requirepass",
            password,
        ];
        let redis = Redis::start_with(&[tls, trust].concat())?;
        Some((redis, format!("rediss://127.0.0.1:{port}/0"), folder))
    }

    /// `redis://127.0.0.1:PORT/0?name=NAME`
    pub(crate) fn url(&self, name: &str) -> String {
        format!("redis://{}/0?name={name}", self.addr)
    }

    /// Stops it as an administrator would: it saves, and ends.
    pub(crate) fn stop(&mut self) {
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        self.process.wait().unwrap();
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on the same port with the same data.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&find().unwrap(), self.addr, &self.folder, &self.options);
        self.is_up();
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> redis_client::Connection {
        redis_client::Client::open(format!("redis://{}/0", self.addr))
            .unwrap()
            .get_connection()
            .unwrap()
    }

    /// Returns as soon as it answers; a Redis that asks for a password first has answered, too.
    fn is_up(&mut self) {
        loop {
            let client = redis_client::Client::open(format!("redis://{}/0", self.addr)).unwrap();
            let answer = client
                .get_connection()
                .and_then(|mut c| redis_client::cmd("PING").query::<()>(&mut c));
            match answer {
                Ok(()) => return,
                Err(error) if matches!(error.code(), Some("NOAUTH")) => return,
                Err(_) => {}
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                let said = fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
                panic!("redis-server ended at once ({status}): {said}");
            }
            thread::yield_now();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn spawn(
    program: &PathBuf,
    addr: SocketAddr,
    folder: &tempfile::TempDir,
    options: &[String],
) -> Child {
    let said = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("said"))
        .unwrap();
    let mut command = Command::new(program);
    command
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &addr.port().to_string(),
            "--dir",
        ])
        .arg(folder.path());
    command.args([
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "",
        "--daemonize",
        "no",
    ]);
    command
        .args(options)
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/bin"].map(PathBuf::from));
    let found = folders
        .map(|folder| folder.join("redis-server"))
        .find(|program| program.is_file());
    if found.is_none() {
        let required = env::var("PACELINE_REQUIRE_SERVERS").as_deref() == Ok("1");
        assert!(!required, "there is no redis-server to test against");
        // Not with eprintln, which the test harness swallows.
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED: there is no redis-server on the PATH to test against\n"
        );
    }
    found
}
