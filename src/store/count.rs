//! How many rows of the source the target would refuse: counted by query, by the very expressions and filter that will
//! be read later.
//!
//! All conditions of one row are counted in one pass over its table; equal rows and rows without a parent take a query
//! each. A query that takes too long, or that fails on some row, is no error of `plan`: it is told that nobody knows.

use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::finding::{Counted, Suspect, Violation};
use crate::mapping::{Layout, Origin, TableMap};

use super::engine::{Engine, Mode};
use super::sql::{Cells, Sql};

/// How long one query may count.
const LIMIT_MS: u64 = 30_000;
/// What SQLite's NOCASE folds.
pub const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What is rounded to an infinity: half a step beyond the largest float.
pub const OVER_SINGLE: &str = "3.4028235677973366e38";
pub const OVER_DOUBLE: &str = "1.7976931348623158079e308";

pub async fn count<E: Engine>(e: &E, layout: &Layout, suspects: &[Suspect]) -> Result<Vec<Counted>> {
    let mut answers: Vec<Option<Counted>> = vec![None; suspects.len()];
    let mut tables: Vec<TableId> = suspects.iter().map(|s| s.table).collect();
    tables.dedup();
    for id in tables {
        let Some(map) = layout.table(id) else { continue };
        let own = |s: &Suspect| s.table == id;
        let in_one_pass: Vec<(usize, String)> = suspects
            .iter()
            .enumerate()
            .filter(|(_, s)| own(s) && s.violation.is_of_one_row())
            .filter_map(|(i, s)| Some((i, condition(e, map, s)?)))
            .collect();
        if !in_one_pass.is_empty() {
            let conditions: Vec<&str> = in_one_pass.iter().map(|(_, c)| c.as_str()).collect();
            let counted = ask(e, &one_pass(e, map, &conditions), conditions.len()).await?;
            for ((i, _), counted) in in_one_pass.iter().zip(counted) {
                answers[*i] = Some(counted);
            }
        }
        for (i, suspect) in suspects.iter().enumerate().filter(|(_, s)| own(s) && !s.violation.is_of_one_row()) {
            let Some(sql) = of_several(e, layout, map, suspect) else { continue };
            answers[i] = ask(e, &sql, 1).await?.pop();
        }
    }
    // What can't be in this engine is in no row.
    Ok(answers.into_iter().map(|a| a.unwrap_or(Counted::Rows(0))).collect())
}

/// One query in a transaction of its own: one that fails ends its transaction.
async fn ask<E: Engine>(e: &E, sql: &str, columns: usize) -> Result<Vec<Counted>> {
    let mut tx = e.begin(Mode::Look).await?;
    e.limit_time(&mut tx, LIMIT_MS).await?;
    let answer = Sql::new(e, "").push(sql).first(&mut tx).await;
    // After an error the transaction may take no statement more, and then its limit ends with it.
    let _ = e.limit_time(&mut tx, 0).await;
    Ok(match answer {
        Ok(row) => {
            let row = row.unwrap_or_default();
            (0..columns).map(|i| Counted::Rows(row.uint(i))).collect()
        }
        Err(error) => vec![Counted::Unknown(why(&error)); columns],
    })
}

fn why(error: &Error) -> String {
    match error.is_retry() {
        true => format!("not in {} s ({})", LIMIT_MS / 1000, error.message()),
        false => error.message().to_owned(),
    }
}

/// What the source gives for a wire column, before it is brought to its wire form.
fn expression<E: Engine>(e: &E, map: &TableMap, i: usize) -> String {
    match &map.columns[i].origin {
        Origin::Sql(text) => format!("({text})"),
        Origin::Column(name) => e.quote(name),
    }
}

/// The named expressions of all rows that travel.
fn rows_of<E: Engine>(e: &E, map: &TableMap, columns: &[usize]) -> String {
    let items: Vec<_> =
        columns.iter().enumerate().map(|(n, &i)| format!("{} AS c{}", expression(e, map, i), n + 1)).collect();
    format!("(SELECT {} FROM {}{})", items.join(", "), e.table(&map.source), filter(map))
}

fn filter(map: &TableMap) -> String {
    map.filter.as_ref().map(|f| format!(" WHERE ({f})")).unwrap_or_default()
}

fn condition<E: Engine>(e: &E, map: &TableMap, suspect: &Suspect) -> Option<String> {
    if let Violation::RowOver { bytes } = suspect.violation {
        let sizes = suspect.columns.iter().map(|&i| format!("coalesce({}, 0)", e.octets(&expression(e, map, i))));
        return Some(format!("{} > {bytes}", sizes.collect::<Vec<_>>().join(" + ")));
    }
    let x = expression(e, map, *suspect.columns.first()?);
    if let Violation::OutsideBytes { least, most } = suspect.violation {
        let octets = e.octets(&x);
        return Some(format!("{octets} < {least} OR {octets} > {most}"));
    }
    e.violates(&x, &suspect.violation)
}

fn one_pass<E: Engine>(e: &E, map: &TableMap, conditions: &[&str]) -> String {
    let sums: Vec<_> = conditions.iter().map(|c| format!("count(CASE WHEN {c} THEN 1 END)")).collect();
    format!("SELECT {} FROM {}{}", sums.join(", "), e.table(&map.source), filter(map))
}

fn of_several<E: Engine>(e: &E, layout: &Layout, map: &TableMap, suspect: &Suspect) -> Option<String> {
    let names: Vec<_> = (1..=suspect.columns.len()).map(|n| format!("s.c{n}")).collect();
    let whole = names.iter().map(|n| format!("{n} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
    let rows = rows_of(e, map, &suspect.columns);
    match &suspect.violation {
        Violation::Duplicate { by } => {
            let by: Vec<_> = names.iter().zip(by).map(|(name, alike)| e.folded(name, alike)).collect();
            let by = by.join(", ");
            let groups = format!("SELECT 1 AS c FROM {rows} s WHERE {whole} GROUP BY {by} HAVING count(*) > 1");
            Some(format!("SELECT count(*) FROM ({groups}) g"))
        }
        Violation::Orphan { parent, columns } => {
            let parents = rows_of(e, layout.table(*parent)?, columns);
            let same = (1..=columns.len()).map(|n| format!("p.c{n} = s.c{n}")).collect::<Vec<_>>().join(" AND ");
            let without = format!("NOT EXISTS (SELECT 1 FROM {parents} p WHERE {same})");
            Some(format!("SELECT count(*) FROM {rows} s WHERE {whole} AND {without}"))
        }
        Violation::Twice { other, columns } => {
            let others = rows_of(e, layout.table(*other)?, columns);
            let same = (1..=columns.len()).map(|n| format!("p.c{n} = s.c{n}")).collect::<Vec<_>>().join(" AND ");
            let alike = format!("EXISTS (SELECT 1 FROM {others} p WHERE {same})");
            Some(format!("SELECT count(*) FROM {rows} s WHERE {whole} AND {alike}"))
        }
        _ => None,
    }
}

/// A condition of one row, as the SQL standard has it.
pub fn standard(x: &str, violation: &Violation) -> Option<String> {
    match violation {
        Violation::Null => Some(format!("{x} IS NULL")),
        Violation::LongerThan(chars) => Some(format!("char_length({x}) > {chars}")),
        Violation::OutsideInt { bits } => {
            let bound = 1i128 << (u32::from(*bits).clamp(1, 127) - 1);
            Some(format!("{x} < {} OR {x} > {}", -bound, bound - 1))
        }
        Violation::Outside { low, high } => Some(format!("{x} < {low} OR {x} > {high}")),
        // Not by abs, which fails on the smallest integer.
        Violation::WholeDigits(digits) => {
            let bound = format!("1{}", "0".repeat(*digits as usize));
            Some(format!("{x} >= {bound} OR {x} <= -{bound}"))
        }
        // Understood by every engine whose text may hold one.
        Violation::Nul => Some(format!("instr({x}, char(0)) > 0")),
        Violation::Rounded { low, high } => {
            let low_half = if *low == 0 { "-0.5".to_owned() } else { format!("{low}.5") };
            // Half away from zero. A float of that size has no halves, so the bound itself counts too.
            Some(format!("{x} <= {low_half} AND {x} < {low} OR {x} >= {high}.5"))
        }
        Violation::NotOfSet(_) | Violation::Misspelled(_) | Violation::StrangeUuid => None,
        Violation::BeyondFloat { bits: ..=32 } => Some(format!("abs({x}) >= {OVER_SINGLE}")),
        Violation::BeyondFloat { .. } => Some(format!("abs({x}) >= {OVER_DOUBLE}")),
        Violation::NotFinite | Violation::Infinite | Violation::NegativeZero | Violation::OtherClass(_) => None,
        Violation::NoDate | Violation::OutsideTime { .. } | Violation::FinerThan { .. } => None,
        Violation::OutsideSet(_) | Violation::EndsWithBlank | Violation::NoneOf(_) => None,
        Violation::OutsideBytes { .. } | Violation::RowOver { .. } => None,
        Violation::Duplicate { .. } | Violation::Twice { .. } | Violation::Orphan { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_exact() {
        let of = |violation| standard("x", &violation).unwrap();
        assert_eq!(of(Violation::OutsideInt { bits: 16 }), "x < -32768 OR x > 32767");
        assert_eq!(of(Violation::Outside { low: 0, high: 255 }), "x < 0 OR x > 255");
        assert_eq!(of(Violation::WholeDigits(3)), "x >= 1000 OR x <= -1000");
        assert_eq!(of(Violation::LongerThan(5)), "char_length(x) > 5");
        let rounded = of(Violation::Rounded { low: -128, high: 127 });
        assert_eq!(rounded, "x <= -128.5 AND x < -128 OR x >= 127.5");
        assert_eq!(of(Violation::Rounded { low: 0, high: 255 }), "x <= -0.5 AND x < 0 OR x >= 255.5");
        assert_eq!(standard("x", &Violation::NotFinite), None, "only who has NaN can be asked for it");
    }
}
