//! Connections: who may be talked to, and how each session is set.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};

use super::errors;
use crate::error::{Error, Result};
use crate::store::socket::{self, send_at_once};

const MAX_CONNECTIONS: u32 = 6;
const ACQUIRE: Duration = Duration::from_secs(10);

/// Each session is the same, whatever server or account have as their defaults. What is too long, out of range or no
/// date is an error; zero dates can be read, and are refused by us; a key of 0 is kept. A process that hangs, or whose
/// machine is gone, holds its locks for ten seconds at most (MariaDB only): others wait to take over.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO,PIPES_AS_CONCAT,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', autocommit = 1, foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0,
    sql_select_limit = 18446744073709551615, sql_big_selects = 1, completion_type = 'NO_CHAIN',
    default_storage_engine = 'InnoDB', group_concat_max_len = 16777216, optimizer_switch = 'derived_merge=on',
    innodb_lock_wait_timeout = 5, lock_wait_timeout = 5, net_read_timeout = 10
    /*M! , explicit_defaults_for_timestamp = 1, idle_transaction_timeout = 10, max_statement_time = 0 */;
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE";

pub fn options(url: &str) -> Result<MySqlConnectOptions> {
    let hint = "write it as mysql://USER:PASSWORD@HOST:PORT/DATABASE";
    let parsed: std::result::Result<MySqlConnectOptions, sqlx::Error> = url.parse();
    let options = parsed.map_err(|_| Error::plan("the url is no MySQL url").hint(hint))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(Error::plan("the url names no database").hint(hint));
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let says_tls = query.contains("sslmode=") || query.contains("ssl-mode=");
    let options = if says_tls || is_local(&options) { options } else { options.ssl_mode(MySqlSslMode::VerifyIdentity) };
    // A statement's text depends on how many rows it has: few are worth keeping.
    let options = options.charset("utf8mb4").collation("utf8mb4_general_ci").statement_cache_capacity(64);
    Ok(options.disable_statement_logging())
}

fn is_local(options: &MySqlConnectOptions) -> bool {
    options.get_socket().is_some() || socket::is_local(options.get_host())
}

pub fn database(options: &MySqlConnectOptions) -> String {
    options.get_database().unwrap_or_default().to_owned()
}

/// `HOST:PORT/DATABASE`, without user and password.
pub fn address(options: &MySqlConnectOptions) -> String {
    let database = database(options);
    match options.get_socket() {
        Some(path) => format!("{}/{database}", path.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// No connection is made yet. No time limits on idle connections: sqlx 0.9.0's pool may spin on those at shutdown
/// (its issue 3645).
pub fn pool(options: MySqlConnectOptions) -> MySqlPool {
    let port = options.get_port();
    MySqlPoolOptions::new()
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

pub async fn probe(options: &MySqlConnectOptions) -> Result<()> {
    socket::probe(options, ACQUIRE, errors::of).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distant_server_must_prove_who_it_is_unless_the_url_says_otherwise() {
        for (url, mode) in [
            ("mysql://u:p@db.example.com/x", "VerifyIdentity"),
            ("mariadb://u:p@db.example.com/x?charset=latin1", "VerifyIdentity"),
            ("mysql://u:p@10.0.0.1/x?ssl-mode=REQUIRED", "Required"),
            ("mysql://u:p@localhost/x", "Preferred"),
            ("mysql://u:p@127.0.0.2/x", "Preferred"),
            ("mysql://u:p@[::1]/x", "Preferred"),
        ] {
            assert_eq!(format!("{:?}", options(url).unwrap().get_ssl_mode()), mode, "{url}");
        }
    }

    #[test]
    fn an_address_has_no_secret() {
        let address = address(&options("mysql://user:hunter2@db.example.com:3307/shop?ssl-mode=REQUIRED").unwrap());
        assert_eq!(address, "db.example.com:3307/shop");
        assert!(options("mysql://user@host/").is_err());
    }
}
