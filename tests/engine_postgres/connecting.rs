//! Connections, transactions and errors: what a caller is told, how long it waits, and that no secret is in it.

use super::{Place, collect, named, number};
use crate::support::postgres::CANARY;
use crate::support::{Postgres as Server, exec, query_text, try_exec};
use migrate::error::Kind;
use migrate::store::engine::{Arg, Engine, Mode, Statement};
use migrate::store::holder::session_name;
use migrate::store::postgres::Postgres;
use migrate::value::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use std::time::{Duration, Instant};

/// Nagle's algorithm (sqlx 0.9.0, its issue 4335) holds the end of what is sent in several packets until the server
/// acknowledges the others: without its switch, the median of the loads below is 44 ms instead of 0.7 ms.
#[tokio::test]
async fn what_is_sent_in_several_packets_does_not_wait_for_an_acknowledgement() {
    let place = Place::new("delay", "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    place.db.grant_target_rights().await;
    let map = place.map(1, "t", "t").await;
    let mut tx = place.run.begin(Mode::Control).await.unwrap();
    let (mut loads, mut statements) = (Vec::new(), Vec::new());
    for i in 0..21_i128 {
        let row = |n| vec![Value::Int(i * 100 + n), Value::Text("x".repeat(100))];
        let rows: Vec<_> = (0..100).map(row).collect();
        let begun = Instant::now();
        place.run.load(&mut tx, &map, &rows).await.unwrap();
        loads.push(begun.elapsed());
        let args = vec![Arg::One(Value::Text("x".repeat(66_000 + 700 * i as usize)))];
        let statement = Statement { sql: "SELECT length($1::text)".into(), args };
        let begun = Instant::now();
        place.run.query(&mut tx, &statement, &[], &mut |_| Ok(true)).await.unwrap();
        statements.push(begun.elapsed());
    }
    for mut times in [loads, statements] {
        times.sort();
        assert!(times[10] < Duration::from_millis(20), "median {:?}", times[10]);
    }
}

#[tokio::test]
async fn every_session_is_the_same() {
    let place = Place::new("session", "SELECT 1").await;
    let role = &place.db.run;
    let settings = format!(
        "ALTER ROLE \"{role}\" SET timezone = 'Europe/Rome'; ALTER ROLE \"{role}\" SET datestyle = 'German';
        ALTER ROLE \"{role}\" SET search_path = elsewhere; ALTER ROLE \"{role}\" SET bytea_output = escape;
        ALTER ROLE \"{role}\" SET default_transaction_read_only = on; ALTER ROLE \"{role}\" SET statement_timeout = 1;
        ALTER ROLE \"{role}\" SET synchronous_commit = off"
    );
    exec(&place.db.superuser_url, &settings).await;
    let mut tx = place.run.begin(Mode::Control).await.unwrap();
    let sql = "SELECT string_agg(current_setting(s), '|') FROM unnest(ARRAY['TimeZone', 'DateStyle', 'IntervalStyle',
        'bytea_output', 'extra_float_digits', 'row_security', 'standard_conforming_strings', 'lock_timeout',
        'idle_in_transaction_session_timeout', 'statement_timeout', 'search_path', 'synchronous_commit',
        'client_encoding', 'transaction_read_only']) s";
    let found = collect(&place.run, &mut tx, sql, &[]).await.unwrap();
    let expected = "UTC|ISO, YMD|iso_8601|hex|3|off|on|5s|10s|0|public|on|UTF8|off";
    let Value::Text(found) = &found[0][0] else { panic!("no text") };
    assert_eq!(found, expected);
}

async fn refused(url: &str) -> migrate::error::Error {
    Postgres::connect(url).unwrap().who().await.unwrap_err()
}

#[tokio::test]
async fn who_cannot_connect_is_told_why_without_secrets() {
    let place = Place::new("refused", "SELECT 1").await;
    let url = &place.db.run_url;
    let wrong = format!("{CANARY}wrong");
    let port = Server::shared().port();
    let password = refused(&url.replace(&format!("{CANARY}{}", place.db.run), &wrong)).await;
    assert!(password.kind == Kind::Plan && password.message().contains("wrong user name or password"), "{password}");
    let database = refused(&url.replace(&format!("/{}", place.db.name), "/nowhere")).await;
    assert!(database.kind == Kind::Plan && database.message().contains("nowhere"), "{database}");
    let unreachable = refused(&url.replace(&format!(":{port}/"), ":1/")).await;
    assert!(unreachable.is_retry() && unreachable.message().contains("127.0.0.1:1/"), "{unreachable}");
    let unknown = refused(&url.replace("127.0.0.1", "nowhere.invalid")).await;
    assert!(unknown.is_retry(), "{unknown}");
    let malformed = Postgres::connect(&format!("postgres://u:{wrong}@host:port/db")).err().unwrap();
    assert_eq!(malformed.kind, Kind::Plan);
    for error in [password, database, unreachable, unknown, malformed] {
        assert!(error.hint_text().is_some(), "{error}");
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
        assert!(
            !error.message().ends_with('.') && !error.message().starts_with(char::is_uppercase)
                || error.message().starts_with("PostgreSQL at ")
        );
    }
    assert!(!place.run.address().contains(CANARY));
}

#[tokio::test]
async fn a_restarted_server_is_a_passing_failure() {
    let mut server = Server::start();
    let db = server.database("restart").await;
    let run = Postgres::connect(&db.run_url).unwrap();
    let mut tx = run.begin(Mode::Control).await.unwrap();
    server.kill9();
    let statement = Statement { sql: "SELECT 1".into(), args: vec![] };
    let error = run.query(&mut tx, &statement, &[], &mut |_| Ok(true)).await.unwrap_err();
    assert!(error.is_retry(), "{error}");
    drop(tx);
    server.restart();
    run.who().await.unwrap();
    let mut tx = run.begin(Mode::Control).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'migrate pid %'";
    query_text(&db.superuser_url, end).await;
    let error = run.query(&mut tx, &statement, &[], &mut |_| Ok(true)).await.unwrap_err();
    assert!(error.is_retry(), "{error}");
    let commit = run.commit(tx).await.unwrap_err();
    assert!(commit.is_retry(), "{commit}");
    run.who().await.unwrap();
}

#[tokio::test]
async fn violations_name_the_constraint_and_never_the_row() {
    let ddl = "CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE t (id int PRIMARY KEY, email text CONSTRAINT one_mail UNIQUE, age int CONSTRAINT grown CHECK (age > 17),
            p int CONSTRAINT of_p REFERENCES p, name text NOT NULL, short varchar(3), d date, s smallint);
        CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.short = ''bad'' THEN RAISE ''secret %'', NEW.email; END IF; RETURN NEW; END';
        CREATE TRIGGER grumble BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION grumble();
        INSERT INTO t(id, email, name) VALUES (1, 'secret', 'x')";
    let place = Place::new("violations", ddl).await;
    place.db.grant_target_rights().await;
    let run = &place.run;
    for (values, says) in [
        ("1, 'secret2', 20, NULL, 'secret', NULL, NULL, NULL", "unique constraint t_pkey"),
        ("2, 'secret', 20, NULL, 'secret', NULL, NULL, NULL", "unique constraint one_mail"),
        ("2, 'secret2', 3, NULL, 'secret', NULL, NULL, NULL", "check constraint grown"),
        ("2, 'secret2', 20, 7, 'secret', NULL, NULL, NULL", "foreign key of_p"),
        ("2, 'secret2', 20, NULL, NULL, NULL, NULL, NULL", "column name"),
        ("2, 'secret2', 20, NULL, 'x', 'secret', NULL, NULL", "too long"),
        ("2, 'secret2', 20, NULL, 'x', NULL, 'secret'::text::date, NULL", "date"),
        ("2, 'secret2', 20, NULL, 'x', NULL, NULL, 'secret'::text::int", "no value of its column's type"),
        ("2, 'secret2', 20, NULL, 'x', NULL, NULL, 987654321", "out of its column's range"),
        ("2, 'secret2', 20, NULL, 'x', 'bad', NULL, NULL", "trigger"),
    ] {
        let mut tx = run.begin(Mode::Control).await.unwrap();
        let sql = format!("INSERT INTO t(id, email, age, p, name, short, d, s) VALUES ({values})");
        let error = run.execute(&mut tx, &Statement { sql, args: vec![] }).await.unwrap_err();
        assert_eq!(error.kind, Kind::GiveUp, "{error}");
        assert!(error.message().contains(says), "{error}: {says}");
        assert!(!format!("{error:?}").contains("secret") && !format!("{error}").contains("987654321"), "{error}");
    }
}

#[tokio::test]
async fn loading_says_what_the_server_refused() {
    let ddl = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, s smallint, p int REFERENCES p DEFERRABLE)";
    let place = Place::new("loading", ddl).await;
    place.db.grant_target_rights().await;
    let (run, map) = (&place.run, place.map(1, "t", "t").await);
    let row =
        |id: i128, s: i128, p: Option<i128>| vec![Value::Int(id), Value::Int(s), p.map_or(Value::Null, Value::Int)];
    let mut tx = run.begin(Mode::Control).await.unwrap();
    for (rows, says) in [
        (vec![row(1, 1, None), row(1, 2, None)], "unique constraint t_pkey"),
        (vec![row(1, 424_242, None)], "(column s)"),
    ] {
        run.savepoint(&mut tx).await.unwrap();
        let error = run.load(&mut tx, &map, &rows).await.unwrap_err();
        assert!(error.kind == Kind::GiveUp && error.message().contains(says), "{error}");
        assert!(!error.message().contains("424242"), "{error}");
        run.rollback_to_savepoint(&mut tx).await.unwrap();
    }
    run.savepoint(&mut tx).await.unwrap();
    run.load(&mut tx, &map, &[row(1, 1, None)]).await.unwrap();
    run.release_savepoint(&mut tx).await.unwrap();
    assert_eq!(number(run, &mut tx, "SELECT count(*) FROM t").await, 1);
    drop(tx);
    let mut tx = run.begin(Mode::Apply { layout: &place.layout("x", &["t"]).await, backfill: false }).await.unwrap();
    run.load(&mut tx, &map, &[row(1, 1, Some(9))]).await.unwrap();
    let error = run.check_deferred(&mut tx).await.unwrap_err();
    assert!(error.kind == Kind::GiveUp && error.message().contains("t_p_fkey"), "{error}");
    drop(tx);
    assert_eq!(query_text(&place.db.owner_url, "SELECT count(*) FROM t").await[0][0].as_deref(), Some("0"));
}

#[tokio::test]
async fn a_lock_that_is_not_free_is_a_passing_failure() {
    let place = Place::new("locked", "CREATE TABLE t (id int PRIMARY KEY)").await;
    let layout = place.layout("locks", &["t"]).await;
    let mut other = place.admin.begin(Mode::Control).await.unwrap();
    place.admin.script(&mut other, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begun = Instant::now();
    let error = place.run.begin(Mode::Seal(&layout)).await.err().unwrap();
    assert!(error.is_retry() && begun.elapsed() < Duration::from_secs(2), "{error}");
    let mut tx = place.admin.begin(Mode::Install).await.unwrap();
    let begun = Instant::now();
    let error = place.admin.script(&mut tx, "DROP TABLE t").await.unwrap_err();
    assert!(error.is_retry() && begun.elapsed() < Duration::from_secs(2), "{error}");
}

#[tokio::test]
async fn concurrent_sealers_and_vanished_tables_are_told_apart() {
    let place = Place::new("sealers", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    place.db.grant_target_rights().await;
    let layout = place.layout("sealers", &["t"]).await;
    let (mut a, mut b) =
        (place.run.begin(Mode::Seal(&layout)).await.unwrap(), place.run.begin(Mode::Seal(&layout)).await.unwrap());
    for tx in [&mut a, &mut b] {
        assert_eq!(number(&place.run, tx, "SELECT count(*) FROM t").await, 1);
    }
    let update = Statement { sql: "UPDATE t SET id = id + 1".into(), args: vec![] };
    assert_eq!(place.run.execute(&mut a, &update).await.unwrap(), 1);
    place.run.commit(a).await.unwrap();
    let error = place.run.execute(&mut b, &update).await.unwrap_err();
    assert!(error.is_retry(), "{error}");
    drop(b);
    place.admin.drop_table(&named("t")).await.unwrap();
    place.admin.drop_table(&named("t")).await.unwrap();
    assert_eq!(place.run.begin(Mode::Seal(&layout)).await.err().unwrap().kind, Kind::Changed);
}

/// `idle_in_transaction_session_timeout` counts only between statements: one that is half sent holds its locks for as
/// long as its process hangs. Who takes over ends such a session by the holder's name, and no other.
#[tokio::test]
async fn sessions_that_hang_are_ended_by_their_holders_name() {
    let place = Place::new("hang", "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)").await;
    let hang = async |name: &str, table: &str| {
        let options: PgConnectOptions = place.db.run_url.parse().unwrap();
        let mut conn = options.application_name(name).connect().await.unwrap();
        let begin = format!("BEGIN; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut conn).await.unwrap();
        conn
    };
    exec(&place.db.owner_url, &format!("GRANT ALL ON t, u TO \"{}\"", place.db.run)).await;
    let (mut dead, _other) = (hang("migrate pid 7 #a1", "t").await, hang("migrate pid 7 #a2", "u").await);
    let mut copy = dead.copy_in_raw("COPY t FROM STDIN").await.unwrap();
    copy.send("1\n".as_bytes()).await.unwrap();
    let try_lock = async |table: &str| {
        let sql = format!("BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE {table} IN SHARE MODE; COMMIT");
        try_exec(&place.db.owner_url, &sql).await
    };
    assert!(try_lock("t").await.is_err());
    for stranger in ["", "somebody", "vm pid 7 #a", "vm pid 7 #a11", "vm pid 77 #a1"] {
        place.run.end_sessions(stranger).await.unwrap();
    }
    assert!(try_lock("t").await.is_err());
    place.run.end_sessions("vm pid 7 #a1").await.unwrap();
    try_lock("t").await.unwrap();
    assert!(try_lock("u").await.is_err(), "another's session was ended");
    assert!(copy.finish().await.is_err());
    let mut tx = place.run.begin(Mode::Look).await.unwrap();
    let own = collect(&place.run, &mut tx, "SELECT current_setting('application_name')", &[]).await.unwrap();
    let Value::Text(own) = &own[0][0] else { panic!("no text") };
    assert_eq!(Some(own.clone()), session_name(migrate::store::holder::name()));
}
