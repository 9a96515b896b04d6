//! The layout of the way back: the same tables with source and target swapped.
//!
//! What travels is in the same form as on the way there, since both stores were found to hold it exactly: each side reads
//! and writes there what it does for the other direction's digests. What the pair's constants and `owns` say of the
//! target's rows becomes the filter, and the filter what is owned at the source.

use super::back::{Back, How};
use super::model::quoted;
use super::resolve::{Facts, Resolved};
use crate::mapping::{BACK, Layout, Origin, TableMap, WireColumn, wire_kind};
use crate::schema::{Column, EngineName, Kind};
use crate::value::Value;

/// The reverse layout, or why there is none: one line for each thing in the way.
pub fn reverse(resolved: &Resolved, facts: &Facts) -> Result<Layout, Vec<String>> {
    let forward = &resolved.layout;
    let (mut tables, mut obstacles) = (Vec::new(), Vec::new());
    for map in &forward.tables {
        let backs = resolved.backs.iter().find(|(id, _)| *id == map.id).map(|(_, backs)| backs.as_slice());
        match swapped(map, backs.unwrap_or_default(), facts) {
            Ok(table) => tables.push(table),
            Err(why) => obstacles.extend(why),
        }
    }
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let migration = format!("{}{BACK}", forward.migration);
    Ok(Layout { migration, tables, backlog_limit: forward.backlog_limit, max_parked: forward.max_parked })
}

fn swapped(map: &TableMap, backs: &[Back], facts: &Facts) -> Result<TableMap, Vec<String>> {
    let source = facts.source.get(&map.source).ok_or_else(|| vec![format!("table \"{}\" is gone", map.source)])?;
    let (mut columns, mut obstacles) = (Vec::new(), Vec::new());
    for back in backs {
        let Some(column) = source.column(&back.column) else { continue };
        match wire(map, back, column, facts) {
            Some(wire) => columns.push(wire),
            None if column.nullable || column.has_default => {}
            None => obstacles.push(format!(
                "column \"{}\" of \"{}\" may not be null, has no default, and can't be had from the target: give it with \"reverse\"",
                column.name, map.source
            )),
        }
    }
    let (key, source_key) = keys(map, &columns);
    if key.len() != map.source_key.len() {
        obstacles.push(format!("the key of \"{}\" can't be had from the target", map.source));
    }
    let filter = ours(map, facts.target_engine).unwrap_or_else(|name| {
        obstacles
            .push(format!("the constant of \"{name}\" can't be said in SQL on the way back: take a number or a text"));
        None
    });
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let in_order = key.iter().map(|&i| &columns[i].target.name).eq(map.source_key.iter().map(|c| &c.name));
    let tolerance = map.tolerance.iter().filter_map(|(i, far)| {
        let place = columns.iter().position(|c| c.origin == Origin::Column(map.columns[*i].target.name.clone()))?;
        Some((place, far.clone()))
    });
    let scope = map.scope.and_then(|i| {
        let there = &map.columns[i].target.name;
        columns.iter().position(|c| c.origin == Origin::Column(there.clone()))
    });
    if map.scope != scope && scope.is_none() {
        return Err(vec![format!("the scope of \"{}\" can't be had from the target", map.source)]);
    }
    Ok(TableMap {
        id: map.id,
        source: map.target.clone(),
        target: map.source.clone(),
        tolerance: tolerance.collect(),
        key,
        source_key,
        target_unique: map.source_key.iter().map(|c| c.name.clone()).collect(),
        constants: vec![],
        filter,
        owned: map.filter.clone(),
        scope,
        ranged: map.ranged.and_then(|i| {
            let there = &map.columns[i].target.name;
            columns.iter().position(|c| c.origin == Origin::Column(there.clone()))
        }),
        within: None,
        ordered_alike: map.ordered_alike && in_order,
        columns,
    })
}

/// How a source column comes back; `None`: it is lost.
fn wire(map: &TableMap, back: &Back, column: &Column, facts: &Facts) -> Option<WireColumn> {
    let forward = |name: &str| map.columns.iter().find(|c| c.target.name == name);
    let direct = |name: &str| {
        let there = forward(name).filter(|c| c.origin == Origin::Column(column.name.clone()))?;
        let (origin, source_kind) = (Origin::Column(name.to_owned()), there.target.kind.clone());
        Some(WireColumn { origin, source_kind, wire: there.wire.clone(), target: column.clone() })
    };
    let (from, to) = (facts.target_engine, facts.source_engine);
    match &back.how {
        How::Lost(_) => None,
        How::Name(name) => direct(name),
        How::Cast(name, _) => direct(name).or_else(|| {
            forward(name)?;
            let kind = super::derive::held(from, &column.kind);
            let sql = format!("CAST({} AS {})", quoted(from, name), cast_type(from, &kind)?);
            let wire = wire_kind(from, &kind, to, &column.kind).ok()?;
            Some(WireColumn { origin: Origin::Sql(sql), source_kind: kind, wire, target: column.clone() })
        }),
        How::Given(sql) => {
            let asked = |((to, text), _): &(&(String, String), &Result<Option<Kind>, String>)| {
                text == sql && (map.target.name == *to || map.target.to_string() == *to)
            };
            let kind = match facts.reverses.iter().find(asked) {
                Some((_, Ok(Some(kind)))) => kind.clone(),
                // A null was not asked about; SQLite types its values by themselves.
                _ => super::derive::held(from, &column.kind),
            };
            let wire = wire_kind(from, &kind, to, &column.kind).ok()?;
            Some(WireColumn { origin: Origin::Sql(sql.clone()), source_kind: kind, wire, target: column.clone() })
        }
    }
}

/// The way back's key, in the order of the target's own index: places in `columns`, and the target's columns.
fn keys(map: &TableMap, columns: &[WireColumn]) -> (Vec<usize>, Vec<Column>) {
    let travelling = |name: &&String| map.target_key().find(|c| c.target.name == **name);
    let mut wires: Vec<&WireColumn> = map.target_unique.iter().filter_map(|name| travelling(&name)).collect();
    if wires.len() != map.key.len() {
        wires = map.target_key().collect();
    }
    let place = |w: &&WireColumn| columns.iter().position(|c| c.origin == Origin::Column(w.target.name.clone()));
    let found: Vec<(usize, Column)> = wires.iter().filter_map(|w| Some((place(w)?, w.target.clone()))).collect();
    found.into_iter().unzip()
}

/// Which of the target's rows are this pair's, in the target's SQL; the name of a constant that can't be said in it.
fn ours(map: &TableMap, engine: EngineName) -> Result<Option<String>, String> {
    let said = map.constants.iter().map(|(column, value)| same(engine, column, value).ok_or(&column.name));
    let mut parts: Vec<String> = said.collect::<Result<_, _>>().map_err(|name| name.clone())?;
    parts.extend(map.owned.as_ref().map(|sql| format!("({sql})")));
    Ok((!parts.is_empty()).then(|| parts.join(" AND ")))
}

/// Text is compared by its bytes: `CRM` is not `crm`, whatever the column's collation says.
fn same(engine: EngineName, column: &Column, value: &Value) -> Option<String> {
    let name = quoted(engine, &column.name);
    Some(match value {
        Value::Int(n) => format!("{name} = {n}"),
        Value::Decimal(n) => format!("{name} = {}", n.as_str()),
        Value::Bool(b) if engine == EngineName::Postgres => format!("{name} = {b}"),
        Value::Bool(b) => format!("{name} = {}", i32::from(*b)),
        Value::Text(text) => {
            let doubled = text.replace('\'', "''");
            match engine {
                EngineName::MySql => {
                    let text = format!("'{}'", doubled.replace('\\', "\\\\"));
                    format!("{name} = {text} AND CAST({name} AS BINARY) = CAST({text} AS BINARY)")
                }
                EngineName::Sqlite => format!("{name} = '{doubled}' COLLATE BINARY"),
                EngineName::Postgres => {
                    format!("{name} = '{doubled}' AND {name}::text COLLATE \"C\" = '{doubled}' COLLATE \"C\"")
                }
            }
        }
        _ => return None,
    })
}

/// A kind as the type of a cast; MySQL casts into types of its own.
fn cast_type(engine: EngineName, kind: &Kind) -> Option<String> {
    if engine != EngineName::MySql {
        return super::derive::type_name(engine, kind);
    }
    Some(match kind {
        Kind::Int { bits: 65.. } => "UNSIGNED".to_owned(),
        Kind::Int { .. } | Kind::Bool => "SIGNED".to_owned(),
        Kind::Decimal { precision, scale } => format!("DECIMAL({}, {})", precision.unwrap_or(65), scale.unwrap_or(30)),
        Kind::Float { .. } => "DOUBLE".to_owned(),
        Kind::Text { .. } | Kind::Uuid => "CHAR".to_owned(),
        Kind::Date => "DATE".to_owned(),
        _ => return None,
    })
}
