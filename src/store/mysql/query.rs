//! Statements and queries on an open transaction.

use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

use super::{errors, types};
use crate::error::Result;
use crate::store::engine::{Arg, Out, Statement};
use crate::value::Row;

/// Longer statements are not kept prepared: their text depends on how many rows they have.
const KEPT_BYTES: usize = 4096;

pub type Each<'a> = &'a mut (dyn FnMut(Row) -> Result<bool> + Send);

pub async fn script(conn: &mut MySqlConnection, sql: impl Into<String>) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(conn).await.map(drop).map_err(errors::of)
}

pub async fn execute(conn: &mut MySqlConnection, sql: &str, args: &[Arg]) -> Result<u64> {
    let query = sqlx::query_with(AssertSqlSafe(sql), types::bind(args)?).persistent(sql.len() < KEPT_BYTES);
    query.execute(conn).await.map(|d| d.rows_affected()).map_err(errors::of)
}

/// All rows of a control query; such queries are small.
pub async fn fetch(conn: &mut MySqlConnection, sql: &str, args: &[Arg]) -> Result<Vec<Row>> {
    let query = sqlx::query_with(AssertSqlSafe(sql), types::bind(args)?).persistent(sql.len() < KEPT_BYTES);
    query.fetch_all(conn).await.map_err(errors::of)?.iter().map(types::control_row).collect()
}

pub async fn query(conn: &mut MySqlConnection, statement: &Statement, outs: &[Out], each: Each<'_>) -> Result<()> {
    let sql = statement.sql.as_str();
    let query = sqlx::query_with(AssertSqlSafe(sql), types::bind(&statement.args)?).persistent(sql.len() < KEPT_BYTES);
    let mut rows = query.fetch(conn);
    while let Some(row) = rows.try_next().await.map_err(errors::of)? {
        let row = if outs.is_empty() { types::control_row(&row)? } else { types::wire_row(&row, outs)? };
        if !each(row)? {
            break;
        }
    }
    Ok(())
}
