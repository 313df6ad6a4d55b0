//! TLS: whom we trust, and what is said of those whom we do not.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::Class;
use super::tcp::{self, completion, hear, response};
use super::wire::{ask, ask_with, client};
use crate::http::{Http, HttpOptions};

/// A server that proves with a fresh certificate that it is `name`, and answers. Returns its address and the file that
/// makes it trusted.
fn secured(name: &str) -> (String, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key)
    .unwrap();
    let url = tcp::once(move |stream| {
        let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(session, stream);
        if stream.conn.complete_io(&mut stream.sock).is_ok() {
            hear(&mut stream);
            stream
                .write_all(response("200 OK", &completion("Trusted.")).as_bytes())
                .unwrap();
            stream.flush().unwrap();
        }
    });
    (url.replace("http://127.0.0.1", "https://localhost"), file)
}

fn trusting(path: impl Into<PathBuf>) -> HttpOptions {
    HttpOptions {
        ca_cert: Some(path.into()),
        ..HttpOptions::default()
    }
}

#[test]
fn a_certificate_that_is_named_is_trusted() {
    let (url, certificate) = secured("localhost");
    assert_eq!(
        ask_with(&client(&url, &trusting(certificate.path())))
            .unwrap()
            .text,
        "Trusted."
    );
}

#[test]
fn a_certificate_of_nobody_we_know_stops_the_batch() {
    let (url, _) = secured("localhost");
    let error = ask(&url).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Fatal, "untrusted"),
        "{error}"
    );
    assert!(error.message.contains("UnknownIssuer"), "{error}");
}

#[test]
fn a_certificate_for_another_name_stops_the_batch() {
    let (url, certificate) = secured("elsewhere.example");
    let error = ask_with(&client(&url, &trusting(certificate.path()))).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Fatal, "untrusted"),
        "{error}"
    );
}

#[test]
fn https_to_a_server_that_speaks_plain_http_stops_the_batch_and_names_the_scheme() {
    let server = mockito::Server::new();
    let error = ask(&server.url().replace("http://", "https://")).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Fatal, "untrusted"),
        "{error}"
    );
    assert!(error.message.contains("http://"), "{error}");
}

#[test]
fn https_to_a_server_that_waits_for_a_plain_request_is_a_time_out_that_names_the_scheme() {
    let (go, may_end) = std::sync::mpsc::channel::<()>();
    let url = tcp::once(move |_stream| {
        let _ = may_end.recv(); // it reads nothing and says nothing
    });
    let options = HttpOptions {
        connect_timeout: std::time::Duration::from_millis(20),
        ..HttpOptions::default()
    };
    let url = url.replace("http://", "https://");
    let error = ask_with(&client(&url, &options)).unwrap_err();
    drop(go);
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Fault, "timeout")
    );
    assert!(!error.maybe_billed && error.is_unreachable(), "{error}");
    let says = error.message.contains("no connection in 0.02 s");
    assert!(says && error.message.contains("http://"), "{error}");
}

#[test]
fn certificates_that_cannot_be_had_are_found_before_the_first_call() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, garbage) = (
        folder.path().join("missing.pem"),
        folder.path().join("garbage.pem"),
    );
    fs::write(&garbage, "not a certificate").unwrap();
    let error = |path: &PathBuf| Http::new(&trusting(path)).unwrap_err();
    assert!(error(&missing).contains("cannot read the certificates in"));
    for (path, error) in [(&missing, error(&missing)), (&garbage, error(&garbage))] {
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    assert!(error(&garbage).contains("-----BEGIN CERTIFICATE-----"));
}
