//! What the tests share: private servers that cannot outlive the test process, fresh databases with least-right
//! roles, real data, and a comparison that shares no code with the product.
//!
//! A test binary says `mod support;`. A missing server is a failure that names `tests/run`, never a skipped test.

#![allow(dead_code)] // each test binary uses a part

pub mod applier;
pub mod chinook;
pub mod compare;
pub mod live;
pub mod mariadb;
pub mod nats;
pub mod postgres;
pub mod process;
pub mod product;
pub mod shapes;
pub mod sql;

#[allow(unused_imports)]
pub use {
    mariadb::{MariaDb, MyDatabase, mysql_exec, mysql_query_text, try_mysql_exec},
    nats::{Nats, NatsOptions, NatsVersion},
    postgres::{PgDatabase, PgOptions, Postgres},
    sql::{exec, query_text, sqlite_exec, sqlite_query_text, try_exec, try_query_text},
};
