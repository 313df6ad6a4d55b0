//! TLS with a certificate of an authority that nobody knows, as companies have them.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use super::common::Cli;
use super::common::tcp::{completion, hear, response};

/// A server with a certificate of its own, and that certificate as PEM.
fn secured() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            if hear(&mut stream).is_some() {
                let answer = response("200 OK", &completion("Trusted."));
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.flush();
            }
        }
    });
    (url, made.cert.pem())
}

#[test]
fn a_certificate_that_is_not_trusted_stops_the_run_and_the_advice_about_it_works() {
    let (url, certificate) = secured();
    let cli = Cli::of_topics(1);
    let args = ["--base-url", &url, "--rpm", "60000", "-w", "1"];
    let ran = cli.run(&args);
    assert_eq!((ran.exit, ran.records.len()), (3, 0), "{ran}");
    for said in [
        "UnknownIssuer",
        "--ca-cert FILE",
        "then: run the same command again",
    ] {
        assert!(ran.stderr.contains(said), "{ran}");
    }
    fs::write(cli.path("own.pem"), certificate).unwrap();
    let ran = cli.run(&[&args[..], &["--ca-cert", "own.pem"]].concat());
    assert!(ran.is_all_answered(1), "{ran}");
}
