//! Settings, journal and requests: small rows in our own tables, each write one short transaction.

use crate::error::{Error, Result};
use crate::mapping::Layout;

use super::engine::{Engine, Mode};
use super::sql::{Cells, Sql, control_ddl, control_table, insert_new, link_table, or_set, setting_table};
use super::{JournalLine, Request, Side};

const NUMBER_TRIES: usize = 50;

/// Makes the control tables and their single rows. Safe to repeat.
pub async fn install<E: Engine>(e: &E, layout: &Layout, side: Side, grantee: &str) -> Result<()> {
    let m = layout.migration.as_str();
    e.create_home(m, grantee).await?;
    let mut tx = e.begin(Mode::Install).await?;
    e.script(&mut tx, &control_ddl(e, m, side)).await?;
    insert_missing_link(e, &mut tx, layout, side).await?;
    if side == Side::Source {
        for map in &layout.tables {
            let id = i64::from(map.id.0);
            Sql::new(e, m)
                .push("INSERT INTO ")
                .control("backfill")
                .push(" (table_id, state, rows_count, bytes_count) SELECT ")
                .arg(id)
                .push(", 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM ")
                .control("backfill")
                .push(" WHERE table_id = ")
                .arg(id)
                .push(")")
                .execute(&mut tx)
                .await?;
        }
    }
    e.grant_home(&mut tx, m, grantee).await?;
    e.commit(tx).await
}

async fn insert_missing_link<E: Engine>(e: &E, tx: &mut E::Tx, layout: &Layout, side: Side) -> Result<()> {
    let (table, m, name) = (link_table(side), layout.migration.as_str(), layout.link().name());
    Sql::new(e, m)
        .push("INSERT INTO ")
        .control(table)
        .push(
            " (name, generation, position, hash, epoch, lease_epoch, since_ms, expires_ms, lag_ms, confirmed) \
               SELECT ",
        )
        .arg(name)
        .push(", 0, 0, ")
        .arg(vec![0u8; 32])
        .push(", 0, 0, 0, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM ")
        .control(table)
        .push(" WHERE name = ")
        .arg(name)
        .push(")")
        .execute(tx)
        .await
        .map(|_| ())
}

/// The database's clock, in milliseconds since 1970.
pub async fn now_in<E: Engine>(e: &E, tx: &mut E::Tx) -> Result<i64> {
    let row = Sql::new(e, "").push("SELECT ").push(E::NOW_MS).first(tx).await?;
    Ok(row.map(|r| r.int(0)).unwrap_or_default())
}

pub async fn now_ms<E: Engine>(e: &E) -> Result<i64> {
    let mut tx = e.begin(Mode::Look).await?;
    now_in(e, &mut tx).await
}

pub async fn is_installed<E: Engine>(e: &E, migration: &str, side: Side) -> Result<bool> {
    Ok(e.describe(&control_table::<E>(migration, link_table(side))).await?.is_some())
}

pub async fn get<E: Engine>(e: &E, m: &str, side: Side, key: &str) -> Result<Option<String>> {
    let mut tx = e.begin(Mode::Look).await?;
    get_in(e, &mut tx, m, side, key).await
}

pub async fn get_in<E: Engine>(e: &E, tx: &mut E::Tx, m: &str, side: Side, key: &str) -> Result<Option<String>> {
    let sql = Sql::new(e, m).push("SELECT value FROM ").control(setting_table(side));
    Ok(sql.push(" WHERE name = ").arg(key).first(tx).await?.map(|r| r.text(0)))
}

pub async fn put<E: Engine>(e: &E, m: &str, side: Side, key: &str, value: &str) -> Result<()> {
    let mut tx = e.begin(Mode::Control).await?;
    put_in(e, &mut tx, m, side, key, value).await?;
    e.commit(tx).await
}

pub async fn put_in<E: Engine>(e: &E, tx: &mut E::Tx, m: &str, side: Side, key: &str, value: &str) -> Result<()> {
    let insert = Sql::new(e, m).push("INSERT INTO ").control(setting_table(side)).push(" (name, value) VALUES (");
    let insert = insert.arg(key).push(", ").arg(value).push(")");
    insert.push(or_set::<E>()).execute(tx).await.map(|_| ())
}

pub async fn journal<E: Engine>(e: &E, m: &str, phase: &str, step: &str, detail: &str) -> Result<()> {
    let mut tx = e.begin(Mode::Control).await?;
    numbered(e, &mut tx, m, "journal", "seq", &[("phase", phase), ("step", step), ("detail", detail)]).await?;
    e.commit(tx).await
}

/// Inserts a row under the next number. Two writers at one moment meet on the primary key: the second waits for the
/// first and takes the next.
async fn numbered<E: Engine>(
    e: &E,
    tx: &mut E::Tx,
    m: &str,
    table: &str,
    number: &str,
    columns: &[(&str, &str)],
) -> Result<()> {
    let names: String = columns.iter().map(|(name, _)| format!(", {name}")).collect();
    let [insert, unless_there] = insert_new::<E>();
    for _ in 0..NUMBER_TRIES {
        let sql = Sql::new(e, m).push(insert).control(table);
        let sql =
            sql.push(&format!(" ({number}, at_ms{names}) SELECT coalesce(max({number}), 0) + 1, ")).push(E::NOW_MS);
        let sql = columns.iter().fold(sql, |sql, (_, value)| sql.push(", ").arg(*value));
        let sql = sql.push(" FROM ").control(table).push(" WHERE 1 = 1").push(unless_there);
        if sql.execute(tx).await? == 1 {
            return Ok(());
        }
    }
    Err(Error::retry("others write into the control tables all the time"))
}

pub async fn journal_lines<E: Engine>(e: &E, m: &str, last: u32) -> Result<Vec<JournalLine>> {
    let mut tx = e.begin(Mode::Look).await?;
    let rows = Sql::new(e, m)
        .push("SELECT at_ms, phase, step, detail FROM ")
        .control("journal")
        .push(&format!(" ORDER BY seq DESC LIMIT {last}"))
        .all(&mut tx)
        .await?;
    let line = |r: Vec<_>| JournalLine { at_ms: r.int(0), phase: r.text(1), step: r.text(2), detail: r.text(3) };
    Ok(rows.into_iter().rev().map(line).collect())
}

/// Leaves a request for the host; its id.
pub async fn ask<E: Engine>(e: &E, m: &str, verb: &str, body: &str) -> Result<u64> {
    let mut tx = e.begin(Mode::Control).await?;
    numbered(e, &mut tx, m, "request", "id", &[("verb", verb), ("body", body)]).await?;
    // Nobody can have taken a later number before we commit.
    let row = Sql::new(e, m).push("SELECT max(id) FROM ").control("request").first(&mut tx).await?;
    e.commit(tx).await?;
    row.map(|r| r.uint(0)).ok_or_else(|| Error::give_up("the request that was just written can't be found"))
}

pub async fn answer<E: Engine>(e: &E, m: &str, id: u64, answer: &str) -> Result<()> {
    let mut tx = e.begin(Mode::Control).await?;
    let update = Sql::new(e, m).push("UPDATE ").control("request").push(" SET answer = ").arg(answer);
    update.push(" WHERE id = ").arg(id).execute(&mut tx).await?;
    e.commit(tx).await
}

pub async fn requests<E: Engine>(e: &E, m: &str, id: Option<u64>) -> Result<Vec<Request>> {
    let mut tx = e.begin(Mode::Look).await?;
    let sql = Sql::new(e, m).push("SELECT id, verb, body, answer FROM ").control("request");
    let sql = match id {
        Some(id) => sql.push(" WHERE id = ").arg(id),
        None => sql.push(" WHERE answer IS NULL ORDER BY id"),
    };
    let rows = sql.all(&mut tx).await?;
    let request = |r: Vec<_>| Request { id: r.uint(0), verb: r.text(1), body: r.text(2), answer: r.opt_text(3) };
    Ok(rows.into_iter().map(request).collect())
}
