//! A source behind an open gate, and what the tests of the gate ask of it.

use std::sync::Arc;
use std::time::Duration;

use migrate::store::{Fence, Side, Store};

use crate::app::App;
use crate::rig::{End, On, Rig};

pub const LOCK_MS: i64 = 300;
/// What a busy machine may add to a wait that is bounded.
pub const LITTLE: Duration = Duration::from_millis(1_200);
pub const LONG_MS: i64 = 60_000;

/// A rig whose source is open behind a gate; `t` has the rows 1 and 2.
pub struct Gated {
    pub rig: Rig,
    pub login: String,
}

impl Gated {
    pub async fn new(on: On) -> Self {
        let rig = Rig::plain(on).await;
        let login = rig.source.store.who().await.unwrap();
        rig.source.admin.make_gate(&rig.layout, Side::Source, &login, false).await.unwrap();
        rig.source.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
        if on == On::MariaDb {
            // Transactions are told from older ones than the gate by whole seconds.
            tokio::time::sleep(Duration::from_millis(2_200)).await;
        }
        Self { rig, login }
    }

    pub fn source(&self) -> &End {
        &self.rig.source
    }

    pub async fn try_fence(&self, pause_ms: i64) -> migrate::error::Result<i64> {
        let fence = Fence { pause_ms, lock_timeout_ms: LOCK_MS, cut: 1, grantee: &self.login, scopes: None };
        self.source().admin.fence(&self.rig.layout, Side::Source, &fence).await
    }

    /// Tries again as long as somebody is in the way.
    pub async fn fence(&self, pause_ms: i64) -> i64 {
        for _ in 0..40 {
            match self.try_fence(pause_ms).await {
                Err(e) if e.is_retry() => {}
                done => return done.unwrap(),
            }
        }
        panic!("no fence in so many tries");
    }

    pub async fn unfence(&self) {
        for _ in 0..40 {
            match self.source().admin.unfence(&self.rig.layout, Side::Source).await {
                Err(e) if e.is_retry() => {}
                done => return done.unwrap(),
            }
        }
        panic!("the fence does not go");
    }

    pub async fn own(&self, closed: bool) {
        own(self.source(), self.rig.m(), "gate_source", closed).await;
    }
}

/// What the decision does to the owner's row.
pub fn owning(on: On, m: &str, table: &str, closed: bool) -> String {
    let named = match on {
        On::Postgres => format!("\"_migrate_{m}\".{table}"),
        On::MariaDb => format!("`_migrate_{m}_{table}`"),
        On::Sqlite => format!("\"_migrate_{m}_{table}\""),
    };
    format!("UPDATE {named} SET closed = {} WHERE id = 2", i64::from(closed))
}

pub async fn own(end: &End, m: &str, table: &str, closed: bool) {
    let mut owner = end.owner().await;
    owner.run(&owning(end.on, m, table, closed)).await;
    owner.close().await;
}

/// Refused by the gate and nothing else.
pub async fn refused(on: On, app: &mut App, sql: &str) {
    let Err(sqlx::Error::Database(e)) = app.try_run(sql).await else { panic!("accepted: {sql}") };
    let words = "are refused now, this store does not own its rows: read the route and try again";
    assert!(e.message().starts_with("migrate: writes to t") && e.message().ends_with(words), "{sql}: {e}");
    let code = e.code().unwrap_or_default().into_owned();
    let known = match on {
        On::Postgres => "MG002",
        On::MariaDb => "45000",
        On::Sqlite => "1811",
    };
    assert_eq!(code, known, "{sql}");
}

pub async fn behind(store: &Arc<dyn Store>, deadline_ms: i64) {
    while store.now_ms().await.unwrap() <= deadline_ms {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The session's number, as a person would look for it.
pub async fn session(app: &mut App) -> String {
    let sql = match app {
        App::Postgres(_) => "SELECT 'session ' || pg_backend_pid()::text",
        App::MariaDb(_) => "SELECT concat('session ', CONNECTION_ID())",
        App::Sqlite(_) => return String::new(),
    };
    app.query(sql).await.remove(0)
}

pub fn begin(on: On) -> &'static str {
    if on == On::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }
}

pub fn every_write(on: On) -> Vec<&'static str> {
    let mut all = vec![
        "INSERT INTO t VALUES (3, 'c')",
        "INSERT INTO t VALUES (3, 'c'), (4, 'd'), (5, 'e')",
        "INSERT INTO t SELECT id + 100, v FROM t",
        "UPDATE t SET v = 'x' WHERE id = 1",
        "UPDATE t SET id = id + 10",
        "DELETE FROM t WHERE id = 2",
        "DELETE FROM t",
    ];
    all.extend(match on {
        On::Postgres => vec!["INSERT INTO t VALUES (1, 'y') ON CONFLICT (id) DO UPDATE SET v = 'y'"],
        On::MariaDb => {
            vec![
                "REPLACE INTO t VALUES (1, 'y')",
                "INSERT INTO t VALUES (1, 'y') ON DUPLICATE KEY UPDATE v = 'y'",
                "INSERT IGNORE INTO t VALUES (3, 'c'), (4, 'd')",
                "UPDATE IGNORE t SET v = 'x'",
                "DELETE IGNORE FROM t WHERE id = 2",
            ]
        }
        On::Sqlite => vec![
            "REPLACE INTO t VALUES (1, 'y')",
            "INSERT INTO t VALUES (1, 'y') ON CONFLICT (id) DO UPDATE SET v = 'y'",
            "INSERT OR IGNORE INTO t VALUES (3, 'c')",
            "INSERT OR FAIL INTO t VALUES (3, 'c'), (4, 'd')",
            "UPDATE OR IGNORE t SET v = 'x'",
            "UPDATE OR REPLACE t SET id = 2 WHERE id = 1",
            "UPDATE OR FAIL t SET v = 'x'",
        ],
    });
    all
}
