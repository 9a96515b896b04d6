//! Fast loading by `COPY` in text form, inside the caller's transaction.
//!
//! COPY takes values for identity columns as they are, and assigns them to the columns as an `INSERT` would: what is
//! too long is refused, and what would be changed in silence was refused before ([`types::Fit`]).

use sqlx::postgres::PgConnection;

use super::types::Fit;
use super::{errors, name};
use crate::error::{Context, Result};
use crate::mapping::TableMap;
use crate::schema::Column;
use crate::value::{Row, Value};

/// Each slice is flushed; smaller ones cost time, larger ones memory.
const SLICE: usize = 256 * 1024;

pub async fn load(conn: &mut PgConnection, map: &TableMap, rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let fits: Vec<Fit> = map.columns.iter().map(|c| Fit::of(&c.target)).collect();
    let mut constants = Vec::new();
    for (column, value) in &map.constants {
        field(&mut constants, &Fit::of(column), value, true)?;
    }
    let doing = || format!("loading {}", map.target);
    let mut copy = conn.copy_in_raw(&statement(map)).await.map_err(errors::of).context(doing())?;
    let mut slice = Vec::with_capacity(SLICE + SLICE / 4);
    for row in rows {
        if let Err(e) = line(&mut slice, &fits, row, &constants) {
            let _ = copy.abort("a value does not fit").await;
            return Err(e.context(doing()));
        }
        if slice.len() >= SLICE {
            copy.send(slice.as_slice()).await.map_err(errors::of).context(doing())?;
            slice.clear();
        }
    }
    if !slice.is_empty() {
        copy.send(slice.as_slice()).await.map_err(errors::of).context(doing())?;
    }
    copy.finish().await.map(drop).map_err(errors::of).context(doing())
}

fn statement(map: &TableMap) -> String {
    let targets = map.columns.iter().map(|c| &c.target);
    let columns: Vec<String> = targets.chain(map.constants.iter().map(|(c, _)| c)).map(quoted).collect();
    format!("COPY {}({}) FROM STDIN", name::table(&map.target), columns.join(", "))
}

fn quoted(column: &Column) -> String {
    name::quote(&column.name)
}

fn line(out: &mut Vec<u8>, fits: &[Fit], row: &[Value], constants: &[u8]) -> Result<()> {
    for (i, (fit, value)) in fits.iter().zip(row).enumerate() {
        field(out, fit, value, i > 0)?;
    }
    // A table of constants alone can't be: the key travels.
    out.extend_from_slice(constants);
    out.push(b'\n');
    Ok(())
}

fn field(out: &mut Vec<u8>, fit: &Fit, value: &Value, behind_another: bool) -> Result<()> {
    if behind_another {
        out.push(b'\t');
    }
    let Some(text) = fit.text(value)? else {
        out.extend_from_slice(b"\\N");
        return Ok(());
    };
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| matches!(b, b'\\' | b'\t' | b'\n' | b'\r')) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    Ok(())
}
