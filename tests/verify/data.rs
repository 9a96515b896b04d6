//! Tables with every kind of column and of key, and rows whose values are known here, so that a fault can be put beside
//! them by one unit. Every value is long enough to be recognised in an output.

use crate::support::product::Place;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

/// What a value is, to write it in an engine's SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Plain,
    Bool,
    Bytes,
}

#[derive(Debug, Clone, Copy)]
pub struct Col {
    pub name: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
    sort: Sort,
}

const fn col(name: &'static str, postgres: &'static str, sqlite: &'static str) -> Col {
    Col { name, postgres, sqlite, sort: Sort::Plain }
}

pub struct Table {
    pub name: &'static str,
    /// How many of the first columns are the key.
    pub key: usize,
    pub cols: &'static [Col],
}

pub const KINDS: Table = Table {
    name: "kinds",
    key: 1,
    cols: &[
        col("id", "bigint", "BIGINT"),
        col("i", "bigint", "INTEGER"),
        col("d", "numeric(14,2)", "NUMERIC(14,2)"),
        col("big", "numeric(30,10)", "DECIMAL_TEXT(30,10)"),
        col("t", "text", "TEXT"),
        col("s", "varchar(80)", "VARCHAR(80)"),
        Col { name: "b", postgres: "bytea", sqlite: "BLOB", sort: Sort::Bytes },
        col("ts", "timestamp", "DATETIME"),
        col("tz", "timestamptz", "TIMESTAMPTZ"),
        col("day", "date", "DATE"),
        col("clock", "time", "TIME"),
        col("f", "double precision", "REAL"),
        Col { name: "flag", postgres: "boolean", sqlite: "BOOLEAN", sort: Sort::Bool },
        col("u", "uuid", "UUID"),
        col("j", "jsonb", "TEXT"),
    ],
};

pub const PAIRS: Table = Table {
    name: "pairs",
    key: 2,
    cols: &[col("a", "bigint", "BIGINT"), col("b", "varchar(40)", "VARCHAR(40)"), col("v", "text", "TEXT")],
};

/// A collation that is no byte order: ICU's on PostgreSQL, NOCASE on SQLite.
pub const WORDS: Table = Table {
    name: "words",
    key: 1,
    cols: &[col("word", "text COLLATE \"en-x-icu\"", "TEXT COLLATE NOCASE"), col("v", "bigint", "INTEGER")],
};

pub const UUIDS: Table =
    Table { name: "uuids", key: 1, cols: &[col("u", "uuid", "UUID"), col("v", "bigint", "INTEGER")] };

pub const ALL: [&Table; 4] = [&KINDS, &PAIRS, &WORDS, &UUIDS];

pub type Cells = Vec<Option<String>>;

impl Table {
    pub fn at(&self, column: &str) -> usize {
        self.cols.iter().position(|c| c.name == column).unwrap_or_else(|| panic!("no column {column}"))
    }

    pub fn create(&self, place: &Place) -> String {
        let postgres = matches!(place, Place::Postgres(_));
        let column = |(i, c): (usize, &Col)| {
            let null = if i < self.key { " NOT NULL" } else { "" };
            format!("{} {}{null}", c.name, if postgres { c.postgres } else { c.sqlite })
        };
        let columns: Vec<String> = self.cols.iter().enumerate().map(column).collect();
        let key: Vec<&str> = self.cols[..self.key].iter().map(|c| c.name).collect();
        format!("CREATE TABLE {} ({}, PRIMARY KEY ({}));", self.name, columns.join(", "), key.join(", "))
    }

    pub fn literal(&self, place: &Place, column: usize, value: &Option<String>) -> String {
        let Some(value) = value else { return "NULL".into() };
        match (self.cols[column].sort, place) {
            (Sort::Bool, _) => value.clone(),
            (Sort::Bytes, Place::Postgres(_)) => format!("'\\x{value}'"),
            (Sort::Bytes, Place::Sqlite(_)) => format!("x'{value}'"),
            _ => format!("'{}'", value.replace('\'', "''")),
        }
    }

    pub fn insert(&self, place: &Place, rows: &[Cells]) -> String {
        let row = |cells: &Cells| {
            let values: Vec<String> = cells.iter().enumerate().map(|(i, v)| self.literal(place, i, v)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<String> = rows.iter().map(row).collect();
        format!("INSERT INTO {} VALUES {};", self.name, rows.join(", "))
    }

    pub fn matches(&self, place: &Place, key: &[Option<String>]) -> String {
        let equal = |(i, v): (usize, &Option<String>)| format!("{} = {}", self.cols[i].name, self.literal(place, i, v));
        key.iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    pub fn update(&self, place: &Place, row: &[Option<String>], column: usize, value: &Option<String>) -> String {
        let (name, value) = (self.cols[column].name, self.literal(place, column, value));
        format!("UPDATE {} SET {name} = {value} WHERE {};", self.name, self.matches(place, &row[..self.key]))
    }

    pub fn delete(&self, place: &Place, row: &[Option<String>]) -> String {
        format!("DELETE FROM {} WHERE {};", self.name, self.matches(place, &row[..self.key]))
    }
}

/// The rows of each table, by its name.
pub type Data = BTreeMap<&'static str, Vec<Cells>>;

fn some(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

fn uuid(rng: &mut StdRng) -> String {
    let h = format!("{:032x}", rng.random::<u128>());
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// A row of `kinds`. No value ends in 9, so that the last digit can go up by one.
pub fn kinds_row(id: i64, rng: &mut StdRng) -> Cells {
    let n = |rng: &mut StdRng| rng.random_range(10_000_000..90_000_000i64) * 10 + 4;
    vec![
        some(id.to_string()),
        some(n(rng).to_string()),
        some(format!("{}.{}4", n(rng), rng.random_range(1..9))),
        some(format!("{}.{:09}5", n(rng), rng.random_range(1..1_000_000_000))),
        some(format!("canary-text-{id}-Zoë🦀-x")),
        some(if id / STEP % 5 == 0 { String::new() } else { format!("canary-short-{id}") }),
        some(format!("{:032x}", rng.random::<u128>())),
        some(format!("2024-0{}-1{} 10:11:12.34567{}", rng.random_range(1..9), rng.random_range(0..9), 4)),
        some(format!("2023-0{}-1{} 01:02:03.400001+00:00", rng.random_range(1..9), rng.random_range(0..9))),
        some(format!("19{}-03-1{}", rng.random_range(10..99), rng.random_range(0..8))),
        some(format!("1{}:3{}:44.123454", rng.random_range(0..9), rng.random_range(0..9))),
        some(format!("{}.5432101234", rng.random_range(1000..9999))),
        some(["TRUE", "FALSE"][rng.random_range(0..2)]),
        some(uuid(rng)),
        some(format!("{{\"canary\": {}}}", n(rng))),
    ]
}

pub const FIRST_ID: i64 = 900_000_000;
pub const STEP: i64 = 10;

/// `rows` rows in each table, in the order of their keys where that order is the bytes' own.
pub fn make(rows: usize, rng: &mut StdRng) -> Data {
    let ids = (0..rows as i64).map(|i| FIRST_ID + i * STEP);
    let kinds = ids.clone().map(|id| kinds_row(id, rng)).collect();
    let pairs = ids.clone().map(|id| {
        let (a, b) =
            (FIRST_ID + (id % 70) * 3, format!("Pair-{}-{id}", ["é", "E", "e", "_"][(id / STEP) as usize % 4]));
        vec![some(a.to_string()), some(b), some(format!("canary-pair-{id}"))]
    });
    let words = ids.clone().map(|id| {
        let stem = ["Äpfel", "apfel", "Zebra", "a-b", "ab", "ÄPFEL", "ångström", "zebra "][(id / STEP) as usize % 8];
        vec![some(format!("{stem}{id}")), some((id * 7).to_string())]
    });
    let uuids = ids.map(|id| vec![some(uuid(rng)), some((id * 3).to_string())]);
    let (pairs, words, uuids) = (pairs.collect(), words.collect(), uuids.collect());
    Data::from([("kinds", kinds), ("pairs", pairs), ("words", words), ("uuids", uuids)])
}

pub async fn fill(place: &Place, data: &Data) {
    let mut sql = String::new();
    for table in ALL {
        sql += &table.create(place);
        data[table.name].chunks(100).for_each(|rows| sql += &table.insert(place, rows));
    }
    let sql = if matches!(place, Place::Sqlite(_)) { format!("BEGIN; {sql} COMMIT;") } else { sql };
    place.exec(&sql).await;
}
