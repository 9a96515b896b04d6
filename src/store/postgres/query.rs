//! Statements and queries on an open transaction.
//!
//! Rows of tables are read through a cursor, in pieces of about a megabyte: a caller that has enough after a few large
//! rows must not have the rest of a chunk sent after it, which the protocol offers no other way to stop.

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _, ValueRef as _};

use super::{errors, types};
use crate::error::Result;
use crate::store::engine::{Arg, Out, Statement};
use crate::value::Row;

const PIECE_BYTES: usize = 1 << 20;
const FIRST_PIECE_ROWS: usize = 64;
const MAX_PIECE_ROWS: usize = 8_192;

pub type Each<'a> = &'a mut (dyn FnMut(Row) -> Result<bool> + Send);

pub async fn script(conn: &mut PgConnection, sql: impl Into<String>) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(conn).await.map(drop).map_err(errors::of)
}

pub async fn execute(conn: &mut PgConnection, sql: &str, args: &[Arg]) -> Result<u64> {
    let done = sqlx::query_with(AssertSqlSafe(sql), types::bind(args)?).execute(conn).await;
    done.map(|d| d.rows_affected()).map_err(errors::of)
}

/// All rows of a control query; such queries are small.
pub async fn fetch(conn: &mut PgConnection, sql: &str, args: &[Arg]) -> Result<Vec<Row>> {
    let rows = sqlx::query_with(AssertSqlSafe(sql), types::bind(args)?).fetch_all(conn).await;
    rows.map_err(errors::of)?.iter().map(types::control_row).collect()
}

pub async fn query(conn: &mut PgConnection, statement: &Statement, outs: &[Out], each: Each<'_>) -> Result<()> {
    if outs.is_empty() || writes(&statement.sql) {
        return plain(conn, statement, outs, each).await;
    }
    let declare = format!("DECLARE migrate_rows NO SCROLL CURSOR FOR {}", statement.sql);
    execute(conn, &declare, &statement.args).await?;
    let mut piece = FIRST_PIECE_ROWS;
    loop {
        let (rows, bytes, enough) = fetch_piece(conn, piece, outs, each).await?;
        if enough || rows < piece {
            break;
        }
        piece = (PIECE_BYTES / (bytes / rows).max(1)).clamp(1, MAX_PIECE_ROWS);
    }
    script(conn, "CLOSE migrate_rows").await
}

/// A cursor takes no statement that writes. Only bare words count: a column may well be called `"update"`.
fn writes(sql: &str) -> bool {
    let unquoted = sql.split('"').step_by(2).flat_map(|piece| piece.split('\'').step_by(2));
    let mut words = unquoted.flat_map(|piece| piece.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    words.any(|word| ["delete", "insert", "update", "merge"].iter().any(|w| word.eq_ignore_ascii_case(w)))
}

async fn plain(conn: &mut PgConnection, statement: &Statement, outs: &[Out], each: Each<'_>) -> Result<()> {
    let query = sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), types::bind(&statement.args)?);
    let mut rows = query.fetch(conn);
    while let Some(row) = rows.try_next().await.map_err(errors::of)? {
        let row = if outs.is_empty() { types::control_row(&row)? } else { types::wire_row(&row, outs)? };
        if !each(row)? {
            break;
        }
    }
    Ok(())
}

async fn fetch_piece(
    conn: &mut PgConnection,
    count: usize,
    outs: &[Out],
    each: Each<'_>,
) -> Result<(usize, usize, bool)> {
    let sql = format!("FETCH FORWARD {count} FROM migrate_rows");
    let mut stream = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(conn);
    let (mut rows, mut bytes) = (0, 0);
    while let Some(row) = stream.try_next().await.map_err(errors::of)? {
        rows += 1;
        bytes += size(&row);
        if !each(types::wire_row(&row, outs)?)? {
            return Ok((rows, bytes, true));
        }
    }
    Ok((rows, bytes, false))
}

fn size(row: &PgRow) -> usize {
    let len = |i| row.try_get_raw(i).ok().filter(|v| !v.is_null()).and_then(|v| v.as_bytes().ok().map(<[u8]>::len));
    (0..row.len()).map(|i| len(i).unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::writes;

    #[test]
    fn only_bare_words_write() {
        assert!(writes("WITH d AS (DELETE FROM x RETURNING a) SELECT * FROM d"));
        assert!(!writes("SELECT \"update\", updated_at FROM t WHERE deleted_at IS NULL AND kind = 'insert'"));
    }
}
