//! A comparison's result as it is kept, sent between processes, and shown.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::entry::{Difference, TableId};
use crate::error::{Error, Kind, Result};
use crate::link::compare::{PassResult, TableResult, show_key, show_value};
use crate::log::codec;
use crate::mapping::TableMap;
use crate::store::Side;
use crate::value::{Key, Row, is_near};

use super::report::{DifferenceLine, Tolerance, VerifiedTable, VerifyReport};
use super::session::Session;
use super::way::Way;

/// Differences that are shown with their columns.
const SHOWN_MAX: usize = 100;

/// As one line of JSON, keys in the log's own encoding: no value can be read from it by eye, none gets lost.
pub fn write(result: &PassResult) -> String {
    let hex = |key: &Key| {
        let mut bytes = Vec::new();
        codec::write_key(&mut bytes, key);
        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let table = |(id, t): (&TableId, &TableResult)| {
        json!({
            "table": id.0, "rows": t.rows, "digests": t.digests, "differing": t.differing, "near": t.near,
            "tolerances": t.tolerances,
        })
    };
    let tables: Vec<Json> = result.tables.iter().map(table).collect();
    let differences: Vec<Json> =
        result.differences.iter().map(|(table, key, what)| json!([table.0, hex(key), what.name()])).collect();
    json!({
        "version": 1, "digests": result.digests, "positions": result.positions, "mismatches": result.mismatches,
        "more": result.more, "tables": tables, "differences": differences,
    })
    .to_string()
}

/// A host's answer, unless it is an error.
pub fn answered(text: String) -> Result<String> {
    let json: Json = serde_json::from_str(&text).unwrap_or_default();
    let Some(message) = json["error"].as_str() else { return Ok(text) };
    let kind = if json["gate"] == true { Kind::Gate } else { Kind::GiveUp };
    let error = Error::new(kind, format!("the host says: {message}"));
    Err(match json["hint"].as_str() {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

pub fn read(text: &str) -> Result<PassResult> {
    let bad =
        || Error::give_up("the host's answer can't be read").hint("do both sides run the same version of migrate?");
    let json: Json = serde_json::from_str(text).map_err(|_| bad())?;
    if let Some(message) = json["error"].as_str() {
        return Err(Error::give_up(format!("the host could not compare: {message}")));
    }
    let number = |v: &Json| v.as_u64().ok_or_else(bad);
    let mut result = PassResult {
        digests: number(&json["digests"])?,
        positions: number(&json["positions"])?,
        mismatches: number(&json["mismatches"])?,
        more: number(&json["more"])?,
        ..PassResult::default()
    };
    for t in json["tables"].as_array().ok_or_else(bad)? {
        let table = TableResult {
            rows: number(&t["rows"])?,
            digests: number(&t["digests"])?,
            differing: number(&t["differing"])?,
            near: number(&t["near"])?,
            tolerances: serde_json::from_value(t["tolerances"].clone()).map_err(|_| bad())?,
        };
        result.tables.insert(TableId(number(&t["table"])? as u16), table);
    }
    for d in json["differences"].as_array().ok_or_else(bad)? {
        let bytes = d[1].as_str().and_then(unhex).ok_or_else(bad)?;
        let what = match d[2].as_str() {
            Some("missing") => Difference::Missing,
            Some("extra") => Difference::Extra,
            Some("changed") => Difference::Changed,
            _ => return Err(bad()),
        };
        result.differences.push((TableId(number(&d[0])? as u16), codec::read_key(&bytes)?, what));
    }
    Ok(result)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

/// The differing keys by table, to be marked dirty.
pub fn keys_by_table(result: &PassResult) -> Vec<(TableId, Vec<Key>)> {
    by_table(result.differences.iter().map(|(table, key, _)| (*table, key.clone())))
}

pub fn by_table(keys: impl IntoIterator<Item = (TableId, Key)>) -> Vec<(TableId, Vec<Key>)> {
    let mut by_table: BTreeMap<TableId, Vec<Key>> = BTreeMap::new();
    for (table, key) in keys {
        by_table.entry(table).or_default().push(key);
    }
    by_table.into_iter().collect()
}

impl Session {
    /// Names for numbers. The columns of a changed row are read now, from both stores, to help the reader; they are
    /// no part of the verdict.
    /// `way`: the link that compared. On the way back the giver is the plan's target.
    pub(super) async fn present(&self, way: &Way, result: &PassResult, reveal: bool) -> Result<VerifyReport> {
        let layout = way.layout.as_ref();
        let mut report = VerifyReport {
            migration: self.migration().to_owned(),
            digests: result.digests,
            positions: result.positions,
            mismatches: result.mismatches,
            more: result.more,
            ..VerifyReport::default()
        };
        for map in &layout.tables {
            let t = result.tables.get(&map.id).cloned().unwrap_or_default();
            report.tables.push(VerifiedTable {
                source: map.source.to_string(),
                target: map.target.to_string(),
                rows: t.rows,
                digests: t.digests,
                differing: t.differing,
                within_tolerance: t.near,
                tolerances: t
                    .tolerances
                    .into_iter()
                    .map(|(column, tolerance)| Tolerance { column, tolerance })
                    .collect(),
            });
        }
        for (i, (table, key, what)) in result.differences.iter().enumerate() {
            let Some(map) = layout.table(*table) else { continue };
            let columns = if *what == Difference::Changed && i < SHOWN_MAX {
                self.changed_columns(way, map, key, reveal).await?
            } else {
                vec![]
            };
            let names = map.target_key().map(|c| c.target.name.as_str()).collect::<Vec<_>>().join(", ");
            let key = format!("{names} = {}", show_key(key, reveal));
            report.differences.push(DifferenceLine {
                table: layout.target_label(map),
                key,
                what: what.name().into(),
                columns,
            });
        }
        Ok(report)
    }

    async fn changed_columns(&self, way: &Way, map: &TableMap, key: &Key, reveal: bool) -> Result<Vec<String>> {
        let layout = way.layout.as_ref();
        let keys = std::slice::from_ref(key);
        let source = way.sender.look_up(layout, map.id, Side::Source, keys).await?.pop().flatten();
        let target = way.receiver.look_up(layout, map.id, Side::Target, keys).await?.pop().flatten();
        let (Some(source), Some(target)) = (source, target) else { return Ok(vec![]) };
        Ok(differing(map, &source, &target, reveal))
    }
}

pub(super) fn tolerances(map: &TableMap) -> Vec<Tolerance> {
    let column = |i: usize| map.columns[i].target.name.clone();
    map.tolerance.iter().map(|(i, t)| Tolerance { column: column(*i), tolerance: t.as_str().to_owned() }).collect()
}

fn differing(map: &TableMap, source: &Row, target: &Row, reveal: bool) -> Vec<String> {
    let canonical = |v: &crate::value::Value| Key(vec![v.clone()]).canonical();
    let pairs = map.columns.iter().zip(source.iter().zip(target)).enumerate();
    let is_within = |i: usize, s, t| map.tolerance.iter().any(|(at, far)| *at == i && is_near(s, t, far));
    let changed = pairs.filter(|(i, (_, (s, t)))| canonical(s) != canonical(t) && !is_within(*i, s, t));
    changed
        .map(|(_, (column, (s, t)))| {
            let name = &column.target.name;
            if reveal {
                format!("{name}: {} -> {}", show_value(s), show_value(t))
            } else {
                format!("{name}: *** -> ***")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn a_result_survives_the_way_to_another_process() {
        let key = |i| Key(vec![Value::Int(i), Value::Text("ä\"\n".into())]);
        let mut result = PassResult { digests: 4, positions: 3, mismatches: 2, more: 1, ..PassResult::default() };
        result.tables.insert(
            TableId(7),
            TableResult {
                rows: 5,
                digests: 2,
                differing: 1,
                near: 4,
                tolerances: vec![("price".into(), "0.1".into())],
            },
        );
        result.differences = vec![
            (TableId(7), key(1), Difference::Missing),
            (TableId(7), key(2), Difference::Extra),
            (TableId(7), key(3), Difference::Changed),
        ];
        assert_eq!(read(&write(&result)).unwrap(), result);
        assert!(read("{\"error\":\"no\"}").is_err() && read("[]").is_err() && read("{").is_err());
    }
}
