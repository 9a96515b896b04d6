//! Unique values that change places inside one entry: the rows that hold them step aside first.
//!
//! A row of this entry, gone or present, that still has a value which another row of it is to get, takes NULL or a
//! value that nobody has, for as long as the transaction has not reached it. It is not deleted: that would lose the
//! columns that we do not map, and take along whatever refers to it with a cascade.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::mapping::{TableMap, WireColumn};
use crate::schema::{Column, Kind};
use crate::store::Side;
use crate::value::{Decimal, Key, Row, Value, hash128};

use super::super::engine::{Dml, Engine};
use super::super::read::Reader;
use super::super::sql::Sql;
use super::write::{Writer, folds_keys, listed, numbered};

pub async fn step_aside<E: Engine>(
    w: &Writer<'_, E>,
    tx: &mut E::Tx,
    map: &TableMap,
    gone: &[&Key],
    present: &[&Row],
) -> Result<()> {
    let Some(table) = w.e.describe(&map.target).await? else { return Ok(()) };
    let keys = gone.iter().map(|k| (*k).clone()).chain(present.iter().map(|row| map.key_of(row)));
    let ours: HashMap<Vec<u8>, Key> = keys.map(|k| (k.canonical(), k)).collect();
    let constant = |name: &String| map.constants.iter().any(|(c, _)| c.name == *name);
    for unique in table.uniques.iter().filter(|u| !u.partial) {
        let names: Vec<&String> = unique.columns.iter().filter(|name| !constant(name)).collect();
        let place = |name: &&String| map.columns.iter().position(|c| c.target.name == **name);
        let Some(places) = names.iter().map(place).collect::<Option<Vec<usize>>>() else { continue };
        if places.iter().all(|p| map.key.contains(p)) {
            continue;
        }
        let mut holders = holders(w, tx, map, &places, present).await?;
        holders.retain(|k| ours.contains_key(&k.canonical()));
        if !holders.is_empty() {
            vacate(w, tx, map, &places, &holders).await?;
        }
    }
    Ok(())
}

/// Rows of a table that refers to itself, where the engine checks a foreign key row by row: what of this entry is there
/// lets go of its parent first, and what is to come comes without one. The upsert that follows gives each its own.
pub async fn untie<E: Engine>(
    w: &Writer<'_, E>,
    tx: &mut E::Tx,
    map: &TableMap,
    gone: &[&Key],
    present: &[&Row],
) -> Result<()> {
    let Some(table) = w.e.describe(&map.target).await? else { return Ok(()) };
    let own = table.foreign_keys.iter().filter(|k| k.references == map.target).flat_map(|k| &k.columns);
    let place = |name: &String| map.columns.iter().position(|c| c.target.name == *name && c.target.nullable);
    let ties: Vec<usize> = own.filter_map(place).filter(|i| !map.key.contains(i)).collect();
    // Under a folding key a neighbour could be untied that nobody ties again.
    if ties.is_empty() || folds_keys(map) {
        return Ok(());
    }
    let keys: Vec<Key> = gone.iter().map(|k| (*k).clone()).chain(present.iter().map(|row| map.key_of(row))).collect();
    let nothing = vec![Value::Null; keys.len()];
    for &tie in &ties {
        assign(w, tx, map, &keys, &map.columns[tie].target, &nothing).await?;
    }
    let constants: Vec<&(Column, Value)> = map.constants.iter().collect();
    let columns: Vec<&Column> = map.columns.iter().map(|c| &c.target).chain(constants.iter().map(|(c, _)| c)).collect();
    for page in present.chunks(w.e.max_rows(columns.len()).max(1)) {
        let loose = |row: &&'_ Row| -> Row {
            let untied = |(i, v): (usize, &Value)| if ties.contains(&i) { Value::Null } else { v.clone() };
            row.iter().enumerate().map(untied).chain(constants.iter().map(|(_, v)| v.clone())).collect()
        };
        let rows: Vec<Row> = page.iter().map(loose).collect();
        let values: Vec<Vec<&Value>> = rows.iter().map(|r| r.iter().collect()).collect();
        w.insert_absent(tx, map, &columns, &values).await?;
    }
    Ok(())
}

/// The keys of rows that hold now what a present row of another key is to get.
async fn holders<E: Engine>(
    w: &Writer<'_, E>,
    tx: &mut E::Tx,
    map: &TableMap,
    places: &[usize],
    present: &[&Row],
) -> Result<Vec<Key>> {
    let columns: Vec<&Column> = map.columns.iter().map(|c| &c.target).collect();
    let table = w.e.table(&map.target);
    let own = |i: usize| format!("{table}.{}", w.e.quote(&columns[i].name));
    let same = |places: &[usize]| {
        places.iter().map(|&i| format!("v.c{} = {}", i + 1, own(i))).collect::<Vec<_>>().join(" AND ")
    };
    let reader = Reader::new(w.e, &w.layout.migration, map, Side::Target);
    let outs = reader.key_outs();
    let items = map.key.iter().zip(&outs).map(|(&i, out)| w.e.select(&own(i), out)).collect::<Vec<_>>().join(", ");
    let mut found = Vec::new();
    for page in present.chunks(w.e.max_rows(columns.len()).max(1)) {
        let values: Vec<Vec<&Value>> = page.iter().map(|r| r.iter().collect()).collect();
        let sql = Sql::new(w.e, &w.layout.migration).push("WITH ").rows_as_v(&columns, &values)?;
        let (value, key) = (same(places), same(&map.key));
        let sql = sql.push(&format!(" SELECT {items} FROM {table} JOIN v ON {value} WHERE NOT ({key})"));
        let rows = w.within_constants(sql, map, &format!("{table}."))?.read(tx, &outs).await?;
        found.extend(rows.into_iter().map(Key));
    }
    Ok(found)
}

async fn vacate<E: Engine>(
    w: &Writer<'_, E>,
    tx: &mut E::Tx,
    map: &TableMap,
    places: &[usize],
    keys: &[Key],
) -> Result<()> {
    let movable: Vec<&WireColumn> = places.iter().filter(|p| !map.key.contains(p)).map(|&p| &map.columns[p]).collect();
    let nullable = movable.iter().find(|c| c.target.nullable);
    let Some(column) = nullable.or_else(|| movable.iter().find(|c| nobodys(&c.wire, 0).is_some())) else {
        let text = format!("unique values of table \"{}\" change places, and none can step aside", map.target);
        return Err(Error::give_up(text));
    };
    let mut scratch = Vec::new();
    let asides: Vec<Value> = keys
        .iter()
        .map(|key| match nullable {
            Some(_) => Value::Null,
            None => nobodys(&column.wire, hash128(&key.0, &mut scratch)).unwrap_or(Value::Null),
        })
        .collect();
    assign(w, tx, map, keys, &column.target, &asides).await
}

/// Gives one column of each of these rows a value.
async fn assign<E: Engine>(
    w: &Writer<'_, E>,
    tx: &mut E::Tx,
    map: &TableMap,
    keys: &[Key],
    column: &Column,
    values: &[Value],
) -> Result<()> {
    let mut columns: Vec<&Column> = map.target_key().map(|c| &c.target).collect();
    let table = w.e.table(&map.target);
    let names: Vec<String> = columns.iter().map(|c| w.e.quote(&c.name)).collect();
    let key = (1..).zip(&names).map(|(i, n)| format!("v.c{i} = {table}.{n}")).collect::<Vec<_>>().join(" AND ");
    let (count, set) = (columns.len(), w.e.quote(&column.name));
    columns.push(column);
    let values: Vec<Vec<&Value>> = keys.iter().zip(values).map(|(k, a)| k.0.iter().chain([a]).collect()).collect();
    for page in values.chunks(w.e.max_rows(columns.len()).max(1)) {
        let sql = Sql::new(w.e, &w.layout.migration);
        let (new, of_table) = (listed(count + 1), format!("{table}."));
        let (sql, of_table) = match E::DML {
            Dml::With => {
                let (names, picked) = (names.join(", "), numbered("c", count));
                let one = format!("(SELECT {new} FROM v WHERE {key})");
                let sql = sql.push("WITH ").rows_as_v(&columns, page)?;
                let listed = format!(" WHERE ({names}) IN (SELECT {picked} FROM v)");
                (sql.push(&format!(" UPDATE {table} SET {set} = {one}{listed}")), "")
            }
            Dml::Joined => {
                let sql =
                    sql.push("UPDATE (").rows(&columns, page)?.push(&format!(") v STRAIGHT_JOIN {table} ON {key}"));
                (sql.push(&format!(" SET {of_table}{set} = {new} WHERE 1 = 1")), of_table.as_str())
            }
        };
        w.within_constants(sql, map, of_table)?.execute(tx).await?;
    }
    Ok(())
}

/// As RFC 9562 marks a random one: MariaDB's type takes no bits that say a version beyond 7 of a variant before it.
fn random_uuid(hash: u128) -> [u8; 16] {
    let mut bytes = hash.to_be_bytes();
    bytes[6] = 0x40 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    bytes
}

/// A value of this kind that most likely no row has; `None` where there is none to be had.
fn nobodys(kind: &Kind, hash: u128) -> Option<Value> {
    let number = (hash >> 64) as u64;
    let below = |limit: u64| 1 + (number % limit.max(1)) as i64;
    Some(match kind {
        Kind::Int { bits } => Value::Int(-i128::from(below((1 << (bits.clamp(&2, &64) - 1)) - 2))),
        Kind::Decimal { precision, scale } => {
            let digits = precision.map_or(15, |p| p.saturating_sub(scale.unwrap_or(0))).min(15);
            Value::Decimal(Decimal::parse(&format!("-{}", below(10_u64.pow(digits) - 1)))?)
        }
        Kind::Float { .. } => Value::Float(-(below(1 << 24) as f64)),
        Kind::Text { max_chars } => {
            let text = format!("~{hash:032x}");
            let room = max_chars.map_or(text.len(), |max| max as usize).min(text.len());
            (room >= 6).then(|| Value::Text(text[..room].to_owned()))?
        }
        Kind::Bytes => Value::Bytes(hash.to_be_bytes().to_vec()),
        Kind::Uuid => Value::Uuid(random_uuid(hash)),
        Kind::Date => Value::Date(-(below(700_000) as i32)),
        Kind::Timestamp => Value::Timestamp(-below(60_000_000_000) * 1_000_000),
        // MySQL's begin in 1970.
        Kind::TimestampTz => Value::TimestampTz(below(20_000_000) * 1_000_000),
        Kind::Bool | Kind::Time | Kind::Json | Kind::Opaque(_) => return None,
    })
}
