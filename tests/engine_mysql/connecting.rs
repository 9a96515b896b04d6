//! Sessions, errors, and rights.

use std::time::{Duration, Instant};

use migrate::error::Kind;
use migrate::store::Role;
use migrate::store::engine::{Arg, Engine, Mode, Statement};
use migrate::store::mysql::MySql;

use crate::support::MariaDb;
use crate::{Place, collect};

/// The driver leaves Nagle's algorithm on; a statement of more than one packet would then wait some 40 ms.
#[tokio::test]
async fn packets_leave_at_once() {
    let place = Place::new("nodelay", "CREATE TABLE t(id int PRIMARY KEY)").await;
    let mut tx = place.run.begin(Mode::Control).await.unwrap();
    let statement = Statement {
        sql: "SELECT length(?), ?".to_owned(),
        args: vec![Arg::from("x".repeat(40_000).as_str()), 1i64.into()],
    };
    let mut best = Duration::MAX;
    for _ in 0..15 {
        let begun = Instant::now();
        place.run.query(&mut tx, &statement, &[], &mut |_| Ok(true)).await.unwrap();
        best = best.min(begun.elapsed());
    }
    assert!(best < Duration::from_millis(20), "{best:?}");
}

#[tokio::test]
async fn a_session_is_the_same_whatever_the_server_says() {
    let server = MariaDb::start(&[
        "--sql-mode=ANSI_QUOTES,NO_ZERO_DATE",
        "--default-time-zone=+05:00",
        "--transaction-isolation=SERIALIZABLE",
    ]);
    let db = server.database("session").await;
    let engine = MySql::connect(&db.run_url).unwrap();
    let mut tx = engine.begin(Mode::Control).await.unwrap();
    let sql = "SELECT @@time_zone, \"x\", @@sql_mode, cast('0000-00-00' AS char), @@idle_transaction_timeout, @@foreign_key_checks";
    let row = collect(&engine, &mut tx, sql, &[]).await.unwrap().remove(0);
    assert_eq!(row[0], migrate::value::Value::Text("+00:00".into()));
    assert_eq!(row[1], migrate::value::Value::Text("x".into()));
    let migrate::value::Value::Text(mode) = &row[2] else { panic!("no mode") };
    assert!(
        mode.contains("STRICT_ALL_TABLES") && mode.contains("NO_AUTO_VALUE_ON_ZERO") && !mode.contains("ZERO_DATE"),
        "{mode}"
    );
    assert_eq!(row[4], migrate::value::Value::Int(10));
}

#[tokio::test]
async fn errors_say_what_to_do_and_no_value() {
    let ddl = "CREATE TABLE p(id int PRIMARY KEY); CREATE TABLE t(id int PRIMARY KEY, u varchar(9) UNIQUE, n int NOT NULL, p int REFERENCES p(id), c int CHECK (c > 0))";
    let place = Place::new("errors", ddl).await;
    place.app("INSERT INTO t VALUES (1, 'hunter2', 1, NULL, 1)").await;
    for (sql, kind, word) in [
        ("INSERT INTO t VALUES (2, 'hunter2', 1, NULL, 1)", Kind::GiveUp, "unique key u"),
        ("INSERT INTO t VALUES (2, 'hunter2hunter2', 1, NULL, 1)", Kind::GiveUp, "too long for its column (column u)"),
        ("INSERT INTO t VALUES (2, 'a', NULL, NULL, 1)", Kind::GiveUp, "null"),
        ("INSERT INTO t VALUES (2, 'a', 99999999999, NULL, 1)", Kind::GiveUp, "range (column n)"),
        ("INSERT INTO t VALUES (2, 'a', 1, 77, 1)", Kind::GiveUp, "foreign key t_ibfk_1"),
        ("INSERT INTO t VALUES (2, 'a', 1, NULL, -5)", Kind::GiveUp, "check constraint"),
        ("INSERT INTO t VALUES (2, 'a', 'hunter2', NULL, 1)", Kind::GiveUp, "no value of its column's type"),
        ("SELECT * FROM missing", Kind::Changed, "missing"),
        ("SELECT missing FROM t", Kind::Changed, "missing"),
    ] {
        let mut tx = place.admin.begin(Mode::Control).await.unwrap();
        let error = place.admin.script(&mut tx, sql).await.unwrap_err();
        assert_eq!(error.kind, kind, "{sql}: {error}");
        assert!(error.message().contains(word) && !error.message().contains("hunter2"), "{sql}: {error}");
    }
    let mut tx = place.run.begin(Mode::Control).await.unwrap();
    let error = place.run.script(&mut tx, "DELETE FROM t").await.unwrap_err();
    assert_eq!(error.kind, Kind::Gate, "{error}");
    let wrong = MySql::connect(&place.db.run_url.replace("s3cret", "wrong")).unwrap();
    let error = wrong.who().await.unwrap_err();
    assert!(error.kind == Kind::Plan && !error.message().contains("wrong-"), "{error}");
}

#[tokio::test]
async fn what_is_missing_is_said_as_grants_that_suffice() {
    let place = Place::new("rights", "CREATE TABLE t(id int PRIMARY KEY)").await;
    let layout = place.layout("m", &["t"]).await;
    let missing = place.run.missing_rights(Role::TargetRun, &layout).await.unwrap();
    assert_eq!(missing.len(), 1, "{missing:?}");
    for grant in place.run.missing_rights(Role::SourceInstall, &layout).await.unwrap().iter().chain(&missing) {
        crate::support::mysql_exec(&place.db.superuser_url, grant).await;
    }
    for role in [Role::TargetRun, Role::SourceInstall, Role::SourceRun] {
        let run = MySql::connect(&place.db.run_url).unwrap();
        let missing = run.missing_rights(role, &layout).await.unwrap();
        assert!(missing.is_empty(), "{role:?} {missing:?}");
    }
}
