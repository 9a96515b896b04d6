//! Proves what the other tests stand on: servers that keep their promises, and a comparison that can fail.

mod support;

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use support::chinook::{assert_chinook_same, chinook_pairs, create_postgres, load_postgres, load_sqlite};
use support::compare::{StoreRef, difference, rows};
use support::nats::{Nats, NatsOptions, NatsVersion};
use support::postgres::{CANARY, Postgres};
use support::{exec, query_text, sqlite_exec, try_exec, try_query_text};

#[tokio::test]
async fn chinook_is_the_same_in_both_shapes() {
    let database = Postgres::shared().database("chinook").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chinook.sqlite");
    load_postgres(&database).await;
    load_sqlite(&file).await;
    let (sqlite, postgres) = (StoreRef::Sqlite(file.clone()), StoreRef::Postgres(database.run_url.clone()));
    assert_chinook_same(&sqlite, &postgres).await;
    let pairs = chinook_pairs();
    assert_eq!(pairs.len(), 11);
    for pair in &pairs {
        assert_eq!(rows(&sqlite, &pair.sqlite_sql).await.count(), pair.rows, "{}", pair.sqlite_table);
    }

    // The one text that PostgreSQL trims if it is loaded carelessly.
    let city = "SELECT '[' || city || ']' FROM customer WHERE customer_id = 54";
    assert_eq!(query_text(&database.run_url, city).await[0][0].as_deref(), Some("[Edinburgh ]"));

    // One small change of any sort is seen.
    for (table, change) in [
        ("InvoiceLine", "UPDATE InvoiceLine SET UnitPrice = UnitPrice + 0.0001 WHERE InvoiceLineId = 7"),
        ("Employee", "UPDATE Employee SET ReportsTo = 1 WHERE ReportsTo IS NULL"),
        ("Invoice", "UPDATE Invoice SET InvoiceDate = InvoiceDate || '.000' WHERE InvoiceId = 3"),
        ("PlaylistTrack", "DELETE FROM PlaylistTrack WHERE PlaylistId = 1 AND TrackId = 1"),
    ] {
        sqlite_exec(&file, change).await;
        let pair = pairs.iter().find(|pair| pair.sqlite_table == table).unwrap();
        let (left, right) = (rows(&sqlite, &pair.sqlite_sql).await, rows(&postgres, &pair.postgres_sql).await);
        assert!(difference(table, &left, &right).is_some(), "{change}");
    }
}

#[tokio::test]
async fn roles_have_the_rights_they_should_and_no_others() {
    let postgres = Postgres::shared();
    let (database, other) = (postgres.database("rights").await, postgres.database("rights").await);
    create_postgres(&database).await;
    let insert = "INSERT INTO genre VALUES (1, 'x')";
    exec(&database.app_url, "INSERT INTO genre VALUES (2, 'y'); DELETE FROM genre").await;
    assert!(try_exec(&database.app_url, "CREATE TABLE mine (id int)").await.is_err());
    assert!(query_text(&database.run_url, "SELECT * FROM genre").await.is_empty());
    assert!(try_exec(&database.run_url, insert).await.is_err());
    database.grant_target_rights().await;
    exec(&database.run_url, insert).await;
    exec(&database.owner_url, "CREATE TABLE later (id int); CREATE SCHEMA own; CREATE TABLE own.t (id int)").await;
    exec(&database.run_url, "INSERT INTO later VALUES (1)").await;
    assert!(try_exec(&database.run_url, "SELECT * FROM own.t").await.is_err(), "the product grants its own");

    let supers = "SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname LIKE 'rights%'";
    assert_eq!(query_text(&database.superuser_url, supers).await[0][0].as_deref(), Some("0"));
    let wrong = database.owner_url.replace(CANARY, "wrong-");
    let refusal = try_query_text(&wrong, "SELECT 1").await.unwrap_err().to_string();
    assert!(refusal.contains("password authentication failed"), "{refusal}");
    let foreign = other.app_url.replace(&format!("/{}", other.name), &format!("/{}", database.name));
    assert!(try_query_text(&foreign, "SELECT 1").await.is_err(), "another test's role gets in");
}

#[tokio::test]
async fn postgres_keeps_its_data_and_vanishes_when_dropped() {
    let mut postgres = Postgres::start();
    let database = postgres.database("kept").await;
    exec(&database.owner_url, "CREATE TABLE t (id int); INSERT INTO t VALUES (7)").await;
    // A backend that is busy dies with the server, and what it had not committed is gone.
    let url = database.app_url.clone();
    let busy = tokio::spawn(async move { try_exec(&url, "INSERT INTO t VALUES (8); SELECT pg_sleep(60)").await });
    let begun = Instant::now();
    let active = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND usename LIKE '%_app'";
    while query_text(&database.superuser_url, active).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the insert never began");
    }
    postgres.kill9();
    assert!(busy.await.unwrap().is_err());
    assert!(try_query_text(&database.run_url, "SELECT 1").await.is_err());
    for _ in 0..2 {
        postgres.restart();
        assert_eq!(query_text(&database.run_url, "SELECT id FROM t").await, [[Some("7".to_string())]]);
    }
    let (pid, port, dir) = (postgres.pid().unwrap(), postgres.port(), postgres.dir().to_path_buf());
    drop(postgres);
    assert_vanished(pid, port, &dir);
}

async fn nats_keeps_its_data_and_vanishes_when_dropped(version: NatsVersion) {
    let mut nats = Nats::start(version);
    let connect = |url: String| async move {
        async_nats::jetstream::new(async_nats::connect(url).await.expect("connect to our own server"))
    };
    let config = async_nats::jetstream::stream::Config {
        name: "kept".into(),
        subjects: vec!["kept.>".into()],
        ..Default::default()
    };
    let stream = connect(nats.url()).await;
    stream.create_stream(config).await.unwrap();
    stream.publish("kept.a", "hello".into()).await.unwrap().await.unwrap();
    for _ in 0..2 {
        nats.kill9();
        assert!(TcpStream::connect(("127.0.0.1", nats.port())).is_err());
        nats.restart();
        let mut found = connect(nats.url()).await.get_stream("kept").await.unwrap();
        assert_eq!(found.info().await.unwrap().state.messages, 1);
    }
    nats.wipe();
    assert!(connect(nats.url()).await.get_stream("kept").await.is_err(), "the stream survived the wipe");
    let (pid, port, dir) = (nats.pid().unwrap(), nats.port(), nats.dir().to_path_buf());
    drop(nats);
    assert_vanished(pid, port, &dir);
}

#[tokio::test]
async fn debians_nats_keeps_its_data_and_vanishes_when_dropped() {
    nats_keeps_its_data_and_vanishes_when_dropped(NatsVersion::Debian).await;
}

#[tokio::test]
async fn current_nats_keeps_its_data_and_vanishes_when_dropped() {
    nats_keeps_its_data_and_vanishes_when_dropped(NatsVersion::Current).await;
}

#[tokio::test]
async fn nats_takes_only_the_right_credentials_and_payloads() {
    let with = async_nats::ConnectOptions::new;
    let secret = format!("{CANARY}nats");
    for version in [NatsVersion::Debian, NatsVersion::Current] {
        let user = Some(("mover".to_string(), secret.clone()));
        let nats = Nats::start_with(version, NatsOptions { user, max_payload: Some(65_536), ..Default::default() });
        assert_eq!(nats.connect().await.server_info().max_payload, 65_536);
        assert_eq!(nats.url(), format!("nats://mover:{secret}@127.0.0.1:{}", nats.port()));
        assert!(with().connect(nats.bare_url()).await.is_err(), "no password");
        let wrong = with().user_and_password("mover".into(), "wrong".into());
        assert!(wrong.connect(nats.bare_url()).await.is_err(), "a wrong password");

        let nats = Nats::start_with(version, NatsOptions { token: Some(secret.clone()), ..Default::default() });
        nats.connect().await;
        assert!(with().token("wrong".into()).connect(nats.bare_url()).await.is_err(), "a wrong token");
    }
}

#[tokio::test]
async fn nats_over_tls_wants_its_authority_and_a_clients_certificate() {
    for version in [NatsVersion::Debian, NatsVersion::Current] {
        let nats = Nats::start_with(version, NatsOptions { tls: true, tls_verify: true, ..Default::default() });
        nats.connect().await;
        let trusting = async_nats::ConnectOptions::new().add_root_certificates(nats.ca_file());
        assert!(trusting.connect(nats.url()).await.is_err(), "no client certificate");
        assert!(async_nats::connect(nats.url()).await.is_err(), "an unknown authority");
    }
}

/// This test runs itself a second time, as a child that starts servers and is then killed.
#[test]
fn servers_die_with_a_test_process_that_is_killed() {
    const ROLE: &str = "MIGRATE_TEST_SMOKE_CHILD";
    if std::env::var_os(ROLE).is_some() {
        let (postgres, nats) = (Postgres::start(), Nats::start(NatsVersion::Debian));
        for (pid, port, dir) in
            [(postgres.pid(), postgres.port(), postgres.dir()), (nats.pid(), nats.port(), nats.dir())]
        {
            println!("server {} {port} {}", pid.unwrap(), dir.display());
        }
        std::thread::sleep(Duration::from_secs(60));
        unreachable!("the parent kills us long before");
    }
    use std::io::{BufRead, BufReader};
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers_die_with_a_test_process_that_is_killed", "--nocapture"])
        .env(ROLE, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The first line may stand behind the test's own name.
    let servers: Vec<String> =
        lines.filter_map(|line| Some(line.split_once("server ")?.1.to_string())).take(2).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(servers.len(), 2, "the child started its servers");
    for server in servers {
        let fields: Vec<&str> = server.splitn(3, ' ').collect();
        let (pid, port): (u32, u16) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
        assert_vanished(pid, port, Path::new(fields[2]));
    }
}

/// Process, port and directory are gone, at once or within seconds.
fn assert_vanished(pid: u32, port: u16, dir: &Path) {
    let begun = Instant::now();
    let left = || {
        let process = Path::new(&format!("/proc/{pid}")).exists();
        (process, TcpStream::connect(("127.0.0.1", port)).is_ok(), dir.exists())
    };
    while left() != (false, false, false) {
        assert!(begun.elapsed() < Duration::from_secs(20), "process, port, directory still there: {:?}", left());
        std::thread::sleep(Duration::from_millis(10));
    }
}
