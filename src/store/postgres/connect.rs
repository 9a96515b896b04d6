//! Connections: who may be talked to, and how each session is set.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};

use super::errors;
use crate::error::{Error, Result};
use crate::store::holder;
use crate::store::socket::{self, send_at_once};

const MAX_CONNECTIONS: u32 = 6;
const ACQUIRE: Duration = Duration::from_secs(10);

/// Each session is the same, whatever the server, database or role has as its default. Plans are made anew for each
/// execution: one that was made while a table was empty, or a list of keys short, would be kept for too long. A process
/// that hangs, or whose machine is gone, holds its locks for ten seconds at most: others wait to take over.
const SESSION: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = iso_8601;
    SET bytea_output = hex; SET extra_float_digits = 3; SET row_security = off; SET standard_conforming_strings = on;
    SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'; SET statement_timeout = 0;
    SET search_path = public; SET synchronous_commit = on; SET client_encoding = 'UTF8';
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
    SET plan_cache_mode = force_custom_plan; SET jit = off; SET cursor_tuple_fraction = 1; SET xmloption = content; SET check_function_bodies = on;
    SET quote_all_identifiers = off";

pub fn options(url: &str) -> Result<PgConnectOptions> {
    let parsed: std::result::Result<PgConnectOptions, sqlx::Error> = url.parse();
    let options = parsed.map_err(|_| {
        Error::plan("the url is no PostgreSQL url").hint("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE")
    })?;
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let says_tls = query.contains("sslmode=") || query.contains("ssl-mode=");
    let options = if says_tls || is_local(&options) { options } else { options.ssl_mode(PgSslMode::VerifyFull) };
    Ok(options.application_name(&holder::session_name(holder::name()).unwrap_or_default()).disable_statement_logging())
}

fn is_local(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || options.get_host().starts_with('/') || socket::is_local(options.get_host())
}

/// `HOST:PORT/DATABASE`, without user and password.
pub fn address(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(path) => format!("{}:{}/{database}", path.display(), options.get_port()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// No connection is made yet. No time limits on idle connections: sqlx 0.9.0's pool may spin on those at shutdown
/// (its issue 3645).
pub fn pool(options: PgConnectOptions) -> PgPool {
    let port = options.get_port();
    PgPoolOptions::new()
        .idle_timeout(None)
        .max_lifetime(None)
        .min_connections(0)
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .after_connect(move |conn, _| {
            Box::pin(async move {
                send_at_once(port);
                sqlx::raw_sql(SESSION).execute(conn).await.map(drop)
            })
        })
        .connect_lazy_with(options)
}

pub async fn probe(options: &PgConnectOptions) -> Result<()> {
    socket::probe(options, ACQUIRE, errors::of).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distant_server_must_prove_who_it_is_unless_the_url_says_otherwise() {
        for (url, mode) in [
            ("postgres://u:p@db.example.com/x", "VerifyFull"),
            ("postgres://u:p@db.example.com/x?application_name=y", "VerifyFull"),
            ("postgres://u:p@10.0.0.1/x?sslmode=require", "Require"),
            ("postgres://u:p@localhost/x", "Prefer"),
            ("postgres://u:p@127.0.0.2/x", "Prefer"),
            ("postgres://u:p@[::1]/x", "Prefer"),
            ("postgres://u:p@%2Ftmp/x", "Prefer"),
        ] {
            assert_eq!(format!("{:?}", options(url).unwrap().get_ssl_mode()), mode, "{url}");
        }
    }

    #[test]
    fn an_address_has_no_secret() {
        let address = address(&options("postgres://user:hunter2@db.example.com:5433/shop?sslmode=require").unwrap());
        assert_eq!(address, "db.example.com:5433/shop");
    }
}
