//! Who may connect and how; and that no message shows a secret.

use migrate::entry::Epoch;
use migrate::error::{Error, Kind};
use migrate::transport::Transport;
use migrate::transport::nats::{Nats, NatsOptions};

use crate::rig::{Rig, announced, announcement, entry_incoming, expect, send};
use crate::support;

const SECRET: &str = "p4ss%40word";

fn transport(options: NatsOptions) -> Nats {
    Nats::new(options, "a-test", "forward")
}

async fn refused(options: NatsOptions) -> Error {
    let transport = transport(options);
    let error = transport.probe(1000).await.unwrap_err();
    let shown = format!("{error:?} {transport:?} {}", transport.name());
    for secret in ["p4ss", "wr0ng", "t0ken"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(error.hint_text().is_some(), "{shown}");
    for result in [transport.sender().await.err(), transport.receiver().await.err(), transport.remove().await.err()] {
        assert_eq!(result.unwrap().kind, error.kind);
    }
    error
}

async fn works(options: NatsOptions) {
    let transport = transport(options);
    transport.probe(1000).await.unwrap();
    let mut sender = transport.sender().await.unwrap();
    sender.announce(Epoch(1), announcement(1)).await.unwrap();
    send(&mut sender, 1, 10_000).await;
    let mut receiver = transport.receiver().await.unwrap();
    expect(&mut receiver, announced(1)).await;
    expect(&mut receiver, entry_incoming(1, 10_000)).await;
    assert!(transport.remove().await.unwrap());
}

fn at(url: &str) -> NatsOptions {
    NatsOptions { url: url.into(), ..NatsOptions::default() }
}

pub async fn wrong_user_or_password(rig: Rig) {
    let user = Some(("ann".into(), "p4ss@word".into()));
    let mut rig = rig.with_server(support::NatsOptions { user, ..Default::default() });
    let (host, bare) = (format!("127.0.0.1:{}", rig.server().port()), rig.server().bare_url());
    works(at(&format!("nats://ann:{SECRET}@{host}"))).await;
    works(NatsOptions { user: Some("ann".into()), password: Some("p4ss@word".into()), ..at(&bare) }).await;
    let wrong = NatsOptions { user: Some("ann".into()), password: Some("wr0ng".into()), ..at(&bare) };
    for options in [wrong, at(&bare), at(&format!("nats://ann:wr0ng@{host}"))] {
        let error = refused(options).await;
        assert_eq!(error.kind, Kind::Plan);
        assert_eq!(error.message(), format!("nats://{host} refuses our credentials"));
    }
}

pub async fn wrong_token(rig: Rig) {
    let mut rig = rig.with_server(support::NatsOptions { token: Some("t0ken".into()), ..Default::default() });
    let bare = rig.server().bare_url();
    works(at(&rig.server().url())).await;
    works(NatsOptions { token: Some("t0ken".into()), ..at(&bare) }).await;
    assert_eq!(refused(NatsOptions { token: Some("wr0ng".into()), ..at(&bare) }).await.kind, Kind::Plan);
}

/// A pair of keys from the client's documentation: nobody's secret.
const NKEY: &str = "UAMMBNV2EYR65NYZZ7IAK5SIR5ODNTTERJOBOF4KJLMWI45YOXOSWULM";
const SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";

pub async fn nkeys(rig: Rig) {
    let config = format!("authorization {{ users: [ {{ nkey: {NKEY} }} ] }}");
    let mut rig = rig.with_server(support::NatsOptions { config, ..Default::default() });
    let url = rig.server().url();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("none.nk");
    let error = refused(NatsOptions { nkey_file: Some(file.clone()), ..at(&url) }).await;
    assert!(error.message().contains("`events.nkey` names"), "{error}");
    std::fs::write(&file, format!("# mine\n{SEED}\n")).unwrap();
    works(NatsOptions { nkey_file: Some(file.clone()), ..at(&url) }).await;
    std::fs::write(&file, "wr0ng\n").unwrap();
    assert_eq!(refused(NatsOptions { nkey_file: Some(file.clone()), ..at(&url) }).await.kind, Kind::Plan);
    let error = refused(NatsOptions { creds_file: Some(file), ..at(&url) }).await;
    assert!(error.message().contains("`events.creds` names"), "{error}");
}

/// An operator's server, where an account is limited by a signed text.
pub async fn credentials_files(rig: Rig) {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stream");
    let config = std::fs::read_to_string(data.join("operator.conf")).unwrap();
    let mut rig = rig.with_server(support::NatsOptions { config, ..Default::default() });
    let url = rig.server().url();
    let creds = NatsOptions { creds_file: Some(data.join("user.creds")), ..at(&url) };
    let error = transport(creds.clone()).probe(1000).await.unwrap_err();
    assert!(error.message().contains("may store 8388608 bytes, 0 are taken, we want 1073741824"), "{error}");
    works(NatsOptions { max_bytes: Some(4 << 20), ..creds.clone() }).await;
    let error = transport(creds).sender().await.unwrap().announce(Epoch(1), announcement(1)).await.unwrap_err();
    assert_eq!((error.kind, error.hint_text().unwrap().contains("`events.max_bytes`")), (Kind::Plan, true), "{error}");
    assert_eq!(refused(at(&url)).await.kind, Kind::Plan);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("user.creds");
    let text = std::fs::read_to_string(data.join("user.creds")).unwrap();
    let (before, seed) = text.split_at(text.find("\nSU").unwrap() + 1);
    std::fs::write(&file, format!("{before}{SEED}{}", &seed[SEED.len()..])).unwrap();
    assert_eq!(refused(NatsOptions { creds_file: Some(file), ..at(&url) }).await.kind, Kind::Plan);
}

pub async fn encryption(rig: Rig) {
    let mut rig = rig;
    let error = refused(NatsOptions { require_tls: true, ..at(&rig.server().url()) }).await;
    assert_eq!((error.kind, error.message().contains("no encrypted connection")), (Kind::Plan, true), "{error}");
    let mut rig = rig.with_server(support::NatsOptions { tls: true, tls_verify: true, ..Default::default() });
    let url = rig.server().url();
    let ca_file = Some(rig.server().ca_file());
    let (cert, key) = rig.server().client_certificate();
    let full = NatsOptions { ca_file: ca_file.clone(), cert_file: Some(cert.clone()), key_file: Some(key), ..at(&url) };
    works(full.clone()).await;
    let error = refused(NatsOptions { ca_file: None, ..full.clone() }).await;
    assert_eq!((error.kind, error.message().contains("no encrypted connection")), (Kind::Plan, true), "{error}");
    let error = refused(NatsOptions { ca_file: Some("/nowhere/ca.pem".into()), ..full.clone() }).await;
    assert!(error.message().contains("`events.ca` names /nowhere/ca.pem"), "{error}");
    let error = refused(NatsOptions { key_file: None, ..full }).await;
    assert!(error.message().contains("needs both"), "{error}");
    refused(NatsOptions { ca_file, ..at(&url) }).await;
}

pub async fn unreachable_or_without_jetstream(rig: Rig) {
    let mut rig = rig;
    let url = rig.server().url();
    rig.server().stop();
    let begun = std::time::Instant::now();
    let error = refused(at(&url)).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!((error.kind, error.message().contains("refused")), (Kind::Retry, true), "{error}");
    let config = "accounts { A: { users: [ { user: u, password: p4ss } ] } }".into();
    let mut rig = rig.with_server(support::NatsOptions { config, ..Default::default() });
    let host = format!("127.0.0.1:{}", rig.server().port());
    let error = transport(at(&format!("nats://u:p4ss@{host}"))).probe(1000).await.unwrap_err();
    assert_eq!((error.kind, error.message().contains("JetStream is not enabled")), (Kind::Plan, true), "{error}");
}

pub async fn limits_are_probed(rig: Rig) {
    let warnings = rig.transport.probe(1000).await.unwrap();
    assert_eq!(warnings.len(), usize::from(rig.version() == support::NatsVersion::Debian), "{warnings:?}");
    let mut small = rig.with_server(support::NatsOptions { max_file_store: Some(1 << 20), ..Default::default() });
    let transport = transport(NatsOptions { max_bytes: Some(1 << 22), ..at(&small.server().url()) });
    let mut sender = transport.sender().await.unwrap();
    let error = sender.announce(Epoch(1), announcement(1)).await.unwrap_err();
    assert_eq!((error.kind, error.hint_text().unwrap().contains("max_file_store")), (Kind::Plan, true), "{error}");
}
