//! A server that is none of ours: nginx with `limit_req`, before a practice server without limits.
//!
//! It counts on a clock of milliseconds and refuses without a word of when to come back. Where there is no nginx, these
//! tests say so and pass; with `PACELINE_REQUIRE_SERVERS=1` they fail.

#![cfg(feature = "cli")]

mod common;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use common::{Cli, Ran};
use paceline::practice::{Server, ServerOptions};
use serde_json::json;

/// nginx, until it is dropped.
struct Nginx {
    process: Child,
    addr: SocketAddr,
    upstream: Server,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// One that lets each key make 600 calls a minute, and one more at once. `None`: there is no nginx here.
    fn start() -> Option<Self> {
        let program = find_nginx()?;
        let upstream = Server::start_with(ServerOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let addr = free();
        fs::write(
            folder.path().join("nginx.conf"),
            configuration(folder.path(), addr, &upstream.url()["http://".len()..]),
        )
        .unwrap();
        let said = fs::File::create(folder.path().join("said")).unwrap();
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf"]);
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut nginx = Nginx {
            process,
            addr,
            upstream,
            folder,
        };
        nginx.is_up();
        Some(nginx)
    }

    /// Returns as soon as it listens.
    fn is_up(&mut self) {
        while TcpStream::connect(self.addr).is_err() {
            if let Some(status) = self.process.try_wait().unwrap() {
                let said = fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
                panic!("nginx ended at once ({status}): {said}");
            }
            thread::yield_now();
        }
    }

    /// Sends 30 prompts through it.
    fn run(&self, args: &[&str]) -> Ran {
        let cli = Cli::of_topics(30).env("OPENAI_API_KEY", "sk-for-nginx"); // it limits only those who have a key
        cli.run(&[&["--base-url", &format!("http://{}", self.addr)], args].concat())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn find_nginx() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders
        .map(|folder| folder.join("nginx"))
        .find(|program| program.is_file());
    if found.is_none() {
        assert!(
            env::var("PACELINE_REQUIRE_SERVERS").as_deref() != Ok("1"),
            "there is no nginx to test against"
        );
        // Not with eprintln, which the test harness swallows.
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED: there is no nginx on the PATH or in /usr/sbin to test against\n"
        );
    }
    found
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn configuration(folder: &Path, addr: SocketAddr, upstream: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
        master_process off;
        pid {folder}/pid;
        error_log {folder}/error.log error;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            limit_req_zone $http_authorization zone=calls:1m rate=600r/m;
            limit_req_status 429;
            server {{
                listen {addr};
                location / {{
                    limit_req zone=calls burst=1 nodelay;
                    proxy_pass http://{upstream};
                }}
            }}
        }}"
    )
}

#[test]
fn told_the_limit_it_is_never_refused() {
    let Some(nginx) = Nginx::start() else { return };
    let ran = nginx.run(&["--rpm", "600"]);
    assert!(ran.is_all_answered(30), "{ran}");
    assert_eq!(ran.attempts("status"), vec![json!(200); 30], "{ran}");
    assert_eq!(nginx.upstream.stats().answered, 30);
}

#[test]
fn told_twice_the_limit_it_is_refused_and_yet_nothing_is_lost() {
    let Some(nginx) = Nginx::start() else { return };
    let ran = nginx.run(&[
        "--rpm",
        "1200",
        "--base-delay",
        "50ms",
        "--max-delay",
        "500ms",
        "--jitter",
        "full",
    ]);
    assert!(ran.is_all_answered(30), "{ran}");
    let statuses = ran.attempts("status");
    let refused = statuses
        .iter()
        .filter(|status| **status == json!(429))
        .count();
    assert!(
        refused > 0 && statuses.len() == 30 + refused,
        "{refused} refused: {ran}"
    );
    assert_eq!(
        nginx.upstream.stats().arrivals,
        30,
        "each prompt was answered once"
    );
}
