//! What a made table has beyond its columns and key: defaults and numbers from the start, indexes and foreign keys once
//! it is filled. Pure; whatever has no sound counterpart at the target is left out and said by name.

use std::collections::{BTreeMap, HashSet};

use super::defaults;
use super::model::Plan;
use super::resolve::{Facts, Resolved};
use crate::mapping::{Layout, Origin, TableMap};
use crate::schema::{Added, Addition, Column, Definition, EngineName, ForeignKey, Kind, NewTable, Numbered, TableName};

/// All engines take names of 63 bytes; the rest is for a number.
const NAME_MAX: usize = 59;
/// Bytes of an index's columns that InnoDB takes.
const MYSQL_INDEX_BYTES: u32 = 3072;

/// Completes the tables that are to be made, from the definitions of the source's tables, by their names.
pub fn define(plan: &Plan, resolved: &mut Resolved, facts: &Facts, definitions: &BTreeMap<TableName, Definition>) {
    let Resolved { layout, create, additions, left_out: warnings, .. } = resolved;
    let mut making = Making { plan, facts, layout, definitions, warnings, names: HashSet::new(), additions };
    for new in create.iter_mut() {
        let Some((map, definition)) = making.of(&new.name) else { continue };
        if making.is_shared(&new.name) {
            making.warn(format!(
                "\"{}\" is filled from several tables: it gets its columns and its key, whatever else it needs is yours to add",
                new.name
            ));
            continue;
        }
        making.defaults(new, map, definition);
        making.numbers(new, map, definition);
        making.indexes(new, map, definition);
    }
    let keys = making.foreign_keys(create);
    for (at, key) in keys {
        making.foreign_key(create, at, key);
    }
}

struct Making<'a> {
    plan: &'a Plan,
    facts: &'a Facts,
    layout: &'a Layout,
    definitions: &'a BTreeMap<TableName, Definition>,
    warnings: &'a mut Vec<String>,
    names: HashSet<String>,
    additions: &'a mut Vec<Addition>,
}

impl<'a> Making<'a> {
    fn of(&self, target: &TableName) -> Option<(&'a TableMap, &'a Definition)> {
        let map = self.layout.tables.iter().find(|m| m.target == *target)?;
        Some((map, self.definitions.get(&map.source)?))
    }

    fn is_shared(&self, target: &TableName) -> bool {
        self.layout.tables.iter().filter(|m| m.target == *target).count() > 1
    }

    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    fn defaults(&mut self, new: &mut NewTable, map: &TableMap, definition: &Definition) {
        for (name, sql) in &definition.defaults {
            let Some(column) = self.carried(map, name) else { continue };
            if definition.numbered.contains(name) {
                continue;
            }
            let standard = defaults::read(self.facts.source_engine, sql);
            match standard.and_then(|d| defaults::write(self.facts.target_engine, &d, column)) {
                // It is what a column without one has.
                Some(text) if text == "NULL" => {}
                Some(text) => new.defaults.push((column.name.clone(), text)),
                None => self.warn(format!(
                    "the default of \"{name}\" of \"{}\" is not carried: it may mean something else at the target",
                    map.source
                )),
            }
        }
    }

    /// A store numbers whole numbers only, and MySQL and SQLite only their key.
    fn numbers(&mut self, new: &mut NewTable, map: &TableMap, definition: &Definition) {
        for name in &definition.numbered {
            let Some(column) = self.carried(map, name) else { continue };
            match made_numbered(self.facts.target_engine, column, &new.primary_key) != Numbered::No {
                true => new.numbered.push(column.name.clone()),
                false => self.warn(format!("\"{name}\" of \"{}\" gets no numbers by itself at the target", map.source)),
            }
        }
    }

    fn indexes(&mut self, new: &NewTable, map: &TableMap, definition: &Definition) {
        // Under another key the source's own is one of the unique ones.
        let primary = self.facts.source.get(&map.source).map(|t| t.primary_key.clone()).unwrap_or_default();
        let is_key = primary.iter().filter_map(|c| self.carried(map, c)).map(|c| &c.name).eq(&new.primary_key);
        if !primary.is_empty() && !is_key {
            self.index(new, map, &primary, true, None, "primary key");
        }
        for index in &definition.indexes {
            self.index(new, map, &index.columns, index.unique, index.unfit.as_deref(), &index.name);
        }
    }

    fn index(
        &mut self,
        new: &NewTable,
        map: &TableMap,
        columns: &[String],
        unique: bool,
        unfit: Option<&str>,
        name: &str,
    ) {
        let said = |why: &str| format!("index \"{name}\" of \"{}\" is not carried: {why}", map.source);
        if let Some(why) = unfit {
            return self.warn(said(&format!("it {why}")));
        }
        let found: Option<Vec<&Column>> = columns.iter().map(|c| self.carried(map, c)).collect();
        let Some(found) = found.filter(|f| !f.is_empty()) else {
            return self.warn(said("not all of its columns travel as they are"));
        };
        if let Some(why) = unindexable(self.facts.target_engine, &found) {
            return self.warn(said(&why));
        }
        let columns: Vec<String> = found.iter().map(|c| c.name.clone()).collect();
        let same = |a: &Addition| a.table == new.name && a.columns == columns;
        if columns == new.primary_key || self.additions.iter().any(|a| same(a) && a.what == Added::Index { unique }) {
            return;
        }
        let name = self.name(&new.name, &columns, if unique { "key" } else { "idx" });
        self.additions.push(Addition { table: new.name.clone(), name, columns, what: Added::Index { unique } });
    }

    /// Foreign keys among mapped tables, by the place of the child among the made ones; in the target's words.
    fn foreign_keys(&mut self, create: &[NewTable]) -> Vec<(usize, ForeignKey)> {
        let mut found = Vec::new();
        for (at, new) in create.iter().enumerate() {
            let Some((map, definition)) = self.of(&new.name).filter(|_| !self.is_shared(&new.name)) else { continue };
            for key in &definition.foreign_keys {
                match self.translated(create, map, key) {
                    Ok(translated) => {
                        if key.on_delete_cascades {
                            self.warn(format!(
                                "foreign key \"{}\" of \"{}\" is made as NO ACTION: what the source's own action changes arrives by itself; give it its action back once the migration is over",
                                key.name, map.source
                            ));
                        }
                        found.push((at, translated));
                    }
                    Err(why) => self.warn(format!(
                        "foreign key \"{}\" of \"{}\" to \"{}\" is not carried: {why}",
                        key.name, map.source, key.references
                    )),
                }
            }
        }
        self.without_rings(create, found)
    }

    fn translated(&self, create: &[NewTable], map: &TableMap, key: &ForeignKey) -> Result<ForeignKey, String> {
        let mut parents = self.layout.tables.iter().filter(|m| m.source == key.references);
        let parent = parents.next().ok_or("that table is not in the plan")?;
        if parents.next().is_some() {
            return Err("its rows go to several tables".to_owned());
        }
        if parent.filter.is_some() {
            return Err("a filter may leave out the row that it refers to".to_owned());
        }
        let columns = |map: &TableMap, names: &[String]| -> Option<Vec<Column>> {
            names.iter().map(|c| self.carried(map, c).cloned()).collect()
        };
        let not_all = "not all of its columns travel as they are";
        let child = columns(map, &key.columns).ok_or(not_all)?;
        let referred = columns(parent, &key.referenced_columns).filter(|r| !r.is_empty()).ok_or(not_all)?;
        if child.iter().zip(&referred).any(|(c, r)| !can_refer(self.facts.target_engine, c, r)) {
            return Err("its columns have other types than those that they refer to".to_owned());
        }
        let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let referenced_columns = names(&referred);
        let is_made = create.iter().find(|t| t.name == parent.target);
        let unique = match (is_made, self.facts.target.get(&parent.target)) {
            (Some(made), _) => {
                same_columns(&made.primary_key, &referenced_columns) || self.will_be_unique(made, &referenced_columns)
            }
            (None, Some(table)) => table.is_key(&referenced_columns),
            (None, None) => false,
        };
        if !unique {
            return Err("what it refers to is not unique at the target".to_owned());
        }
        let (name, references) = (key.name.clone(), parent.target.clone());
        Ok(ForeignKey {
            name,
            columns: names(&child),
            references,
            referenced_columns,
            on_delete_cascades: false,
            deferrable: false,
        })
    }

    fn will_be_unique(&self, made: &NewTable, columns: &[String]) -> bool {
        let unique = Added::Index { unique: true };
        self.additions.iter().any(|a| a.table == made.name && a.what == unique && same_columns(&a.columns, columns))
    }

    /// A ring of foreign keys over several tables has no order in which rows can be written.
    fn without_rings(&mut self, create: &[NewTable], keys: Vec<(usize, ForeignKey)>) -> Vec<(usize, ForeignKey)> {
        let mut edges: Vec<(TableName, TableName)> =
            keys.iter().map(|(at, key)| (create[*at].name.clone(), key.references.clone())).collect();
        let there = self.facts.target.values().flat_map(|t| t.foreign_keys.iter().map(|k| (&t.name, &k.references)));
        edges.extend(there.map(|(child, parent)| (child.clone(), parent.clone())));
        let (in_ring, rest): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(at, key)| {
            let child = &create[*at].name;
            *child != key.references && reaches(&edges, &key.references, child)
        });
        for (at, key) in in_ring {
            self.warn(format!(
                "a foreign key of \"{}\" to \"{}\" is not carried: the keys of these tables go round",
                create[at].name, key.references
            ));
        }
        rest
    }

    fn foreign_key(&mut self, create: &mut [NewTable], at: usize, key: ForeignKey) {
        if self.facts.target_engine == EngineName::Sqlite {
            // It checks them only where what they refer to is unique already.
            if let Some(parent) = create.iter_mut().find(|t| t.name == key.references) {
                let known = same_columns(&parent.primary_key, &key.referenced_columns)
                    || parent.uniques.contains(&key.referenced_columns);
                if !known {
                    parent.uniques.push(key.referenced_columns.clone());
                    let unique = Added::Index { unique: true };
                    let made = |a: &Addition| {
                        a.table == parent.name && a.columns == key.referenced_columns && a.what == unique
                    };
                    self.additions.retain(|a| !made(a));
                }
            }
            create[at].foreign_keys.push(key);
            return;
        }
        let table = create[at].name.clone();
        let name = self.name(&table, &key.columns, "fkey");
        let ForeignKey { columns, references, referenced_columns, .. } = key;
        self.additions.push(Addition {
            table,
            name,
            columns,
            what: Added::ForeignKey { references, referenced_columns },
        });
    }

    /// The target's column that holds a source column as it is.
    fn carried(&self, map: &'a TableMap, source: &str) -> Option<&'a Column> {
        let named = |o: &Origin| matches!(o, Origin::Column(name) if name == source);
        let column = map.columns.iter().find(|c| named(&c.origin))?;
        let table = self.plan.tables.get(usize::from(map.id.0).checked_sub(1)?)?;
        let lossy =
            table.columns.iter().flat_map(|c| c.iter()).any(|c| c.accept_lossy && c.target.value == column.target.name);
        (!lossy).then_some(&column.target)
    }

    /// `table_column_idx`, cut and hashed where that is too long.
    fn name(&mut self, table: &TableName, columns: &[String], what: &str) -> String {
        let whole = format!("{}_{}", table.name, columns.join("_"));
        let mut name = format!("{whole}_{what}");
        if name.len() > NAME_MAX {
            let mut begin = NAME_MAX - 9 - what.len() - 1;
            while !whole.is_char_boundary(begin) {
                begin -= 1;
            }
            name = format!("{}_{}_{what}", &whole[..begin], &blake3::hash(whole.as_bytes()).to_hex().as_str()[..8]);
        }
        let mut number = 1;
        let plain = name.clone();
        // Names of indexes and tables meet in one place, and SQLite folds their case.
        while self.facts.target.keys().any(|t| t.name.eq_ignore_ascii_case(&name))
            || !self.names.insert(name.to_ascii_lowercase())
        {
            number += 1;
            name = format!("{plain}{number}");
        }
        name
    }
}

fn same_columns(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|c| b.contains(c))
}

fn reaches(edges: &[(TableName, TableName)], from: &TableName, to: &TableName) -> bool {
    let (mut open, mut seen) = (vec![from], HashSet::new());
    while let Some(next) = open.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next) {
            open.extend(edges.iter().filter(|(child, _)| child == next).map(|(_, parent)| parent));
        }
    }
    false
}

fn unindexable(engine: EngineName, columns: &[&Column]) -> Option<String> {
    match engine {
        EngineName::MySql => {
            let bytes: u32 = columns.iter().map(|c| mysql_bytes(c)).fold(0, u32::saturating_add);
            (bytes > MYSQL_INDEX_BYTES).then(|| format!("MySQL indexes {MYSQL_INDEX_BYTES} bytes at most"))
        }
        EngineName::Postgres => {
            let no = columns.iter().find(|c| c.type_name == "json")?;
            Some(format!("PostgreSQL can't compare \"{}\", a json", no.name))
        }
        EngineName::Sqlite => None,
    }
}

fn mysql_bytes(column: &Column) -> u32 {
    let long = ["text", "blob", "json"].iter().any(|t| column.type_name.contains(t));
    let length = column.type_name.split_once('(').and_then(|(_, n)| n.trim_end_matches(')').parse::<u32>().ok());
    match (&column.kind, length) {
        _ if long => u32::MAX,
        (Kind::Text { max_chars: Some(n) }, _) => n.saturating_mul(4),
        (Kind::Text { max_chars: None }, _) => u32::MAX,
        (Kind::Bytes, length) => length.unwrap_or(u32::MAX),
        _ => 32,
    }
}

/// MySQL wants the very type, but for the length of a text.
fn can_refer(engine: EngineName, child: &Column, parent: &Column) -> bool {
    let base = |c: &Column| c.type_name.split('(').next().unwrap_or_default().to_ascii_lowercase();
    let is_text = |c: &Column| matches!(c.kind, Kind::Text { .. });
    match engine {
        EngineName::MySql if is_text(child) && is_text(parent) => {
            base(child) == base(parent) && child.collation == parent.collation && mysql_bytes(child) != u32::MAX
        }
        EngineName::MySql => child.type_name == parent.type_name,
        EngineName::Postgres | EngineName::Sqlite => child.kind.name() == parent.kind.name(),
    }
}

/// How a column of a table that we make is numbered, where the source's is.
pub(super) fn made_numbered(engine: EngineName, column: &Column, primary_key: &[String]) -> Numbered {
    let is_int = matches!(column.kind, Kind::Int { bits: ..=64 });
    let first = primary_key.first() == Some(&column.name);
    match engine {
        EngineName::Postgres if ["smallint", "integer", "bigint"].contains(&column.type_name.as_str()) => {
            Numbered::Counts
        }
        EngineName::MySql if is_int && first && !column.type_name.contains("(1)") => Numbered::BehindGreatest,
        EngineName::Sqlite if primary_key.len() == 1 && first && column.type_name.eq_ignore_ascii_case("INTEGER") => {
            Numbered::BehindPresent
        }
        _ => Numbered::No,
    }
}
