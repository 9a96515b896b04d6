//! Fast loading by multi-row inserts, inside the caller's transaction.

use sqlx::mysql::MySqlConnection;

use super::fit::Fit;
use super::types::is_geometry;
use super::{name, query};
use crate::error::{Context, Result};
use crate::mapping::TableMap;
use crate::schema::{Column, Kind};
use crate::store::engine::Arg;
use crate::value::{Row, Value};

/// A prepared statement takes 65,535 arguments.
pub const MAX_ARGS: usize = 65_000;
/// More rows don't make it faster, and each is a longer text to parse.
const ROWS: usize = 500;
/// Below the smallest usual `max_allowed_packet` (16 MiB), doubled for safety.
const BYTES: usize = 4 << 20;

pub async fn load(conn: &mut MySqlConnection, map: &TableMap, rows: &[Row]) -> Result<()> {
    let columns: Vec<&Column> =
        map.columns.iter().map(|c| &c.target).chain(map.constants.iter().map(|(c, _)| c)).collect();
    let fits: Vec<Fit> = columns.iter().map(|c| Fit::of(c)).collect();
    let names: Vec<String> = columns.iter().map(|c| name::quote(&c.name)).collect();
    let insert = format!("INSERT INTO {} ({}) VALUES ", name::table(&map.target), names.join(", "));
    let row_text = format!("({})", columns.iter().map(|c| place(c)).collect::<Vec<_>>().join(", "));
    let most = (MAX_ARGS / columns.len().max(1)).clamp(1, ROWS);
    let doing = || format!("loading {}", map.target);
    let mut args: Vec<Arg> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for row in rows {
        let size: usize = row.iter().map(Value::size).sum();
        if count == most || (count > 0 && bytes + size > BYTES) {
            send(conn, &insert, &row_text, count, &args).await.context(doing())?;
            args.clear();
            (count, bytes) = (0, 0);
        }
        let values = row.iter().chain(map.constants.iter().map(|(_, v)| v));
        for (fit, value) in fits.iter().zip(values) {
            args.push(fit.arg(value).context(doing())?);
        }
        (count, bytes) = (count + 1, bytes + size);
    }
    if count > 0 {
        send(conn, &insert, &row_text, count, &args).await.context(doing())?;
    }
    Ok(())
}

fn place(column: &Column) -> &'static str {
    match &column.kind {
        Kind::Opaque(name) if is_geometry(name) => "UNHEX(?)",
        _ => "?",
    }
}

async fn send(conn: &mut MySqlConnection, insert: &str, row: &str, count: usize, args: &[Arg]) -> Result<()> {
    let sql = format!("{insert}{}", vec![row; count].join(", "));
    query::execute(conn, &sql, args).await.map(drop)
}
