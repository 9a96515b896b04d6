//! The schema of one run, its rows, its changes, and the comparison.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::Engine;
use super::kinds::Kind;
use super::support::compare::{assert_same, rows};
use super::support::product::Place;

pub struct World {
    engine: Engine,
    tables: Vec<Table>,
}

struct Table {
    name: String,
    columns: Vec<Column>,
    /// Places in `columns`, in the key's order.
    key: Vec<usize>,
    /// Keys that its rows have had, as literals: few, so that changes meet them again.
    keys: Vec<Vec<String>>,
}

struct Column {
    name: String,
    kind: Kind,
    nullable: bool,
}

const NAMES: [&str; 14] = [
    "id",
    "select",
    "Order",
    "two words",
    "quo\"te",
    "back`tick",
    "ümläut",
    "a_name_of_sixty_three_characters_which_is_as_long_as_may_be_xxx",
    "x.y",
    "100%",
    "k1",
    "seq",
    "null",
    "q1",
];

fn quote(engine: Engine, name: &str) -> String {
    match engine {
        Engine::MariaDb => format!("`{}`", name.replace('`', "``")),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

impl World {
    pub fn new(engine: Engine, rng: &mut StdRng) -> Self {
        let tables = (0..rng.random_range(1..4)).map(|i| Table::new(engine, i, rng)).collect();
        Self { engine, tables }
    }

    pub fn ddl(&self) -> String {
        let all = self.tables.iter().map(|t| {
            let columns = t.columns.iter().map(|c| {
                let null = if c.nullable { "" } else { " NOT NULL" };
                format!("{} {}{null}", quote(self.engine, &c.name), c.kind.declared(self.engine))
            });
            let key = t.key.iter().map(|&i| quote(self.engine, &t.columns[i].name)).collect::<Vec<_>>().join(", ");
            let parts = columns.chain([format!("PRIMARY KEY ({key})")]).collect::<Vec<_>>().join(", ");
            format!("CREATE TABLE {} ({parts});", quote(self.engine, &t.name))
        });
        all.collect()
    }

    pub fn plan(&self) -> String {
        let text = |t: &Table| format!("  - from: {}\n", serde_json::Value::from(t.name.as_str()));
        self.tables.iter().map(text).collect()
    }

    /// A row for about half of each table's keys.
    pub fn rows(&self, rng: &mut StdRng) -> String {
        let mut sql = String::new();
        for t in &self.tables {
            for key in &t.keys {
                if rng.random() {
                    sql += &self.insert(t, key, rng);
                }
            }
        }
        sql
    }

    /// One statement, or two that belong together.
    pub fn change(&self, rng: &mut StdRng) -> String {
        let t = &self.tables[rng.random_range(0..self.tables.len())];
        let key = &t.keys[rng.random_range(0..t.keys.len())];
        let table = quote(self.engine, &t.name);
        let at = self.at(t, key);
        match rng.random_range(0..6) {
            0 => format!("DELETE FROM {table} WHERE {at};"),
            1 | 2 => format!("DELETE FROM {table} WHERE {at};{}", self.insert(t, key, rng)),
            3 => {
                // A key that changes: whatever holds the other one goes first.
                let other = &t.keys[rng.random_range(0..t.keys.len())];
                if other == key {
                    return String::new();
                }
                let sets = t.key.iter().zip(other).map(|(&i, v)| self.set(t, i, v)).collect::<Vec<_>>().join(", ");
                format!(
                    "DELETE FROM {table} WHERE {} AND EXISTS (SELECT 1 FROM (SELECT 1 FROM {table} WHERE {at}) z); \
                     UPDATE {table} SET {sets} WHERE {at};",
                    self.at(t, other)
                )
            }
            _ => {
                let free: Vec<usize> = (0..t.columns.len()).filter(|i| !t.key.contains(i)).collect();
                if free.is_empty() {
                    return String::new();
                }
                let i = free[rng.random_range(0..free.len())];
                let value = self.value(&t.columns[i], rng);
                format!("UPDATE {table} SET {} WHERE {at};", self.set(t, i, &value))
            }
        }
    }

    fn set(&self, t: &Table, column: usize, value: &str) -> String {
        format!("{} = {value}", quote(self.engine, &t.columns[column].name))
    }

    fn at(&self, t: &Table, key: &[String]) -> String {
        let parts = t.key.iter().zip(key).map(|(&i, v)| self.set(t, i, v));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    fn value(&self, c: &Column, rng: &mut StdRng) -> String {
        if c.nullable && rng.random_range(0..5) == 0 { "NULL".into() } else { c.kind.literal(self.engine, rng) }
    }

    fn insert(&self, t: &Table, key: &[String], rng: &mut StdRng) -> String {
        let mut values: Vec<String> = t.columns.iter().map(|c| self.value(c, rng)).collect();
        for (&i, v) in t.key.iter().zip(key) {
            values[i] = v.clone();
        }
        format!("INSERT INTO {} VALUES ({});", quote(self.engine, &t.name), values.join(", "))
    }

    pub async fn assert_same(&self, source: &Place, (target, engine): (&Place, Engine)) {
        let select = |t: &Table, engine: Engine| {
            let items = t.columns.iter().map(|c| c.kind.shown(engine, &quote(engine, &c.name)));
            format!("SELECT {} FROM {}", items.collect::<Vec<_>>().join(", "), quote(engine, &t.name))
        };
        for t in &self.tables {
            let left = rows(&source.store_ref(), &select(t, self.engine)).await;
            let right = rows(&target.store_ref(), &select(t, engine)).await;
            let normal = |i: usize, text: &str| t.columns[i].kind.normal(text);
            assert_same(&t.name, &left.map_cells(normal), &right.map_cells(normal));
        }
    }

    /// A statement that makes one row of the target wrong; `None` where there is no row.
    pub async fn fault(&self, target: &Place, engine: Engine, rng: &mut StdRng) -> Option<String> {
        for t in &self.tables {
            let table = quote(engine, &t.name);
            let found = rows(&target.store_ref(), &format!("SELECT 'x' FROM {table}")).await.count();
            let [column] = t.key[..] else { continue };
            if found == 0 {
                continue;
            }
            let key = quote(engine, &t.columns[column].name);
            let free = (0..t.columns.len()).find(|i| !t.key.contains(i) && t.columns[*i].nullable);
            let one = format!("(SELECT k FROM (SELECT min({key}) AS k FROM {table}) z)");
            return Some(match free.filter(|_| rng.random()) {
                Some(i) => {
                    let c = quote(engine, &t.columns[i].name);
                    let other = t.columns[i].kind.literal(engine, rng);
                    // Either what it was becomes NULL, or NULL becomes something. PostgreSQL types the literal by its fellow.
                    let swapped = format!("CASE WHEN {c} IS NULL THEN {other} WHEN 1 = 0 THEN {c} END");
                    format!("UPDATE {table} SET {c} = {swapped} WHERE {key} = {one}")
                }
                None => format!("DELETE FROM {table} WHERE {key} = {one}"),
            });
        }
        None
    }
}

impl Table {
    fn new(engine: Engine, number: usize, rng: &mut StdRng) -> Self {
        let mut names: Vec<&str> = NAMES.to_vec();
        names.shuffle(rng);
        let width = rng.random_range(1..9);
        let parts = rng.random_range(1..=width.min(3));
        let column = |i: usize, rng: &mut StdRng| {
            let is_key = i < parts;
            let kind = if is_key { Kind::of_key(rng) } else { Kind::any(rng) };
            Column { name: names[i].to_owned(), kind, nullable: !is_key && rng.random() }
        };
        let mut columns: Vec<Column> = (0..width).map(|i| column(i, rng)).collect();
        // The key's columns stand anywhere, in any order.
        columns.shuffle(rng);
        let mut key: Vec<usize> = (0..width).filter(|&i| names[..parts].contains(&columns[i].name.as_str())).collect();
        key.shuffle(rng);
        let mut keys: Vec<Vec<String>> = Vec::new();
        for _ in 0..rng.random_range(0..300) {
            let values: Vec<String> = key.iter().map(|&i| columns[i].kind.literal(engine, rng)).collect();
            if !keys.contains(&values) {
                keys.push(values);
            }
        }
        if keys.is_empty() {
            keys.push(key.iter().map(|&i| columns[i].kind.literal(engine, rng)).collect());
        }
        Self { name: format!("{} {number}", NAMES[rng.random_range(0..7)]), columns, key, keys }
    }
}
