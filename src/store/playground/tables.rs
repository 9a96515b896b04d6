//! The demo's tables: three shapes of key, and the types that differ most between engines.
//!
//! In an expression `{n}` is the row's number and `{v}` its version.

use super::Op;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Demo {
    /// A key of two integers.
    Customers,
    /// A key of an integer, a text and a uuid; refers to customers by value.
    Orders,
    /// A key of an integer and a text in letters that collations order in their own ways.
    Notes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    Sqlite,
    MySql,
}

/// One column: its type and its value, on PostgreSQL, on SQLite and on MySQL (where `||` joins texts).
struct Column {
    name: &'static str,
    types: [&'static str; 3],
    values: [&'static str; 3],
}

const fn column(name: &'static str, types: [&'static str; 3], values: [&'static str; 3]) -> Column {
    Column { name, types, values }
}

const VERSION: Column = column("version", ["bigint NOT NULL", "INTEGER NOT NULL", "bigint NOT NULL"], ["{v}"; 3]);

/// By which a part of the rows changes its owner before the others.
const SHOP: Column = column("shop", ["bigint NOT NULL", "INTEGER NOT NULL", "bigint NOT NULL"], ["{n} % 4"; 3]);
pub const SHOPS: i64 = 4;

const CUSTOMERS: &[Column] = &[
    SHOP,
    column("id", ["bigint NOT NULL", "INTEGER NOT NULL", "bigint NOT NULL"], ["{n}"; 3]),
    column(
        "name",
        ["text NOT NULL", "TEXT NOT NULL", "text NOT NULL"],
        ["CASE {n} % 4 WHEN 0 THEN 'Zoë 🦀 ' WHEN 1 THEN 'O''Brien ' WHEN 2 THEN '李雷 ' ELSE 'ada ' END || {n}"; 3],
    ),
    column(
        "email",
        ["varchar(80)", "VARCHAR(80)", "varchar(80)"],
        ["CASE WHEN ({n} + {v}) % 5 = 0 THEN NULL ELSE 'c' || {n} || '@example.org' END"; 3],
    ),
    column(
        "balance",
        ["numeric(12,2) NOT NULL", "NUMERIC(12,2) NOT NULL", "decimal(12,2) NOT NULL"],
        [
            "(({n} * 7919 + {v}) % 10000000)::numeric / 100",
            "(({n} * 7919 + {v}) % 10000000) / 100.0",
            "(({n} * 7919 + {v}) % 10000000) / 100.0",
        ],
    ),
    column("active", ["boolean NOT NULL", "BOOLEAN NOT NULL", "boolean NOT NULL"], ["{n} % 3 <> 0"; 3]),
    column(
        "joined_at",
        ["timestamp NOT NULL", "DATETIME NOT NULL", "datetime(6) NOT NULL"],
        [
            "timestamp '2020-01-01 00:00:00.25' + ({n} % 1000000) * interval '1 minute'",
            "strftime('%Y-%m-%d %H:%M:%S', 1577836800 + ({n} % 1000000) * 60, 'unixepoch') || '.25'",
            "timestamp '2020-01-01 00:00:00.25' + INTERVAL ({n} % 1000000) MINUTE",
        ],
    ),
    column(
        "photo",
        ["bytea", "BLOB", "longblob"],
        [
            "CASE WHEN {n} % 7 = 0 THEN NULL ELSE decode('00ff' || lpad(to_hex({n} + {v}), 16, '0'), 'hex') END",
            "CASE WHEN {n} % 7 = 0 THEN NULL ELSE unhex('00ff' || printf('%016x', {n} + {v})) END",
            "CASE WHEN {n} % 7 = 0 THEN NULL ELSE unhex('00ff' || lpad(hex({n} + {v}), 16, '0')) END",
        ],
    ),
    VERSION,
];

const ORDERS: &[Column] = &[
    SHOP,
    column(
        "region",
        ["varchar(8) NOT NULL", "VARCHAR(8) NOT NULL", "varchar(8) NOT NULL"],
        ["CASE {n} % 4 WHEN 0 THEN 'north' WHEN 1 THEN 'South' WHEN 2 THEN 'öst' ELSE 'west' END"; 3],
    ),
    column(
        "order_no",
        ["uuid NOT NULL", "UUID NOT NULL", "char(36) NOT NULL"],
        [
            "(lpad(to_hex(({n} * 2654435761) % 4294967296), 8, '0') || '-0000-4000-8000-' \
             || lpad(to_hex({n}), 12, '0'))::uuid",
            "printf('%08x-0000-4000-8000-%012x', ({n} * 2654435761) % 4294967296, {n})",
            "lower(lpad(hex(({n} * 2654435761) % 4294967296), 8, '0') || '-0000-4000-8000-' \
             || lpad(hex({n}), 12, '0'))",
        ],
    ),
    column("customer_id", ["bigint NOT NULL", "INTEGER NOT NULL", "bigint NOT NULL"], ["1 + ({n} * 31) % 1000"; 3]),
    column(
        "total",
        ["numeric(14,4) NOT NULL", "NUMERIC(14,4) NOT NULL", "decimal(14,4) NOT NULL"],
        [
            "(({n} * 104729 + {v}) % 1000000000)::numeric / 10000",
            "(({n} * 104729 + {v}) % 1000000000) / 10000.0",
            "(({n} * 104729 + {v}) % 1000000000) / 10000.0",
        ],
    ),
    column(
        "placed_on",
        ["date NOT NULL", "DATE NOT NULL", "date NOT NULL"],
        [
            "date '2019-02-28' + ({n} % 2000)::integer",
            "date('2019-02-28', ({n} % 2000) || ' days')",
            "date '2019-02-28' + INTERVAL ({n} % 2000) DAY",
        ],
    ),
    column(
        "remark",
        ["text", "TEXT", "text"],
        ["CASE {n} % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'gift → “' || {v} || '”' END"; 3],
    ),
    VERSION,
];

const NOTES: &[Column] = &[
    SHOP,
    column(
        "slug",
        ["text NOT NULL", "TEXT NOT NULL", "varchar(80) NOT NULL"],
        ["CASE {n} % 3 WHEN 0 THEN 'Zebra ' WHEN 1 THEN 'ähnlich ' ELSE 'alpha ' END || {n}"; 3],
    ),
    column(
        "body",
        ["text NOT NULL", "TEXT NOT NULL", "text NOT NULL"],
        ["'Note ' || {n} || ', as of its ' || {v} || '. writing: naïve café, Straße, 東京, 👩‍🚀, tab\t and ''quotes''.'";
            3],
    ),
    column("pinned", ["boolean", "BOOLEAN", "boolean"], ["CASE {n} % 3 WHEN 0 THEN NULL ELSE {n} % 3 = 1 END"; 3]),
    column("weight", ["double precision NOT NULL", "REAL NOT NULL", "double NOT NULL"], ["{n} / 8.0 + {v}"; 3]),
    VERSION,
];

impl Demo {
    pub const ALL: [Self; 3] = [Self::Customers, Self::Orders, Self::Notes];

    pub fn name(self) -> &'static str {
        match self {
            Self::Customers => "demo_customers",
            Self::Orders => "demo_orders",
            Self::Notes => "demo_notes",
        }
    }

    /// Row `n`'s key, as [`super::Playground::rows`] gives it: spelled here once more, as a witness should.
    pub fn key(self, n: i64) -> String {
        match self {
            Self::Customers => format!("{}/{n}", Self::shop(n)),
            Self::Orders => {
                let region = ["north", "South", "öst", "west"][(n % 4) as usize];
                let shop = Self::shop(n);
                format!("{shop}/{region}/{:08x}-0000-4000-8000-{n:012x}", (n * 2_654_435_761) % 4_294_967_296)
            }
            Self::Notes => format!("{}/{} {n}", Self::shop(n), ["Zebra", "ähnlich", "alpha"][(n % 3) as usize]),
        }
    }

    /// Of row `n` of any table.
    pub fn shop(n: i64) -> i64 {
        n % SHOPS
    }

    /// The number of the row that may have this key; whether it has, [`Self::key`] tells.
    pub fn number(self, key: &str) -> Option<i64> {
        match self {
            Self::Customers => key.rsplit('/').next()?.parse().ok(),
            Self::Orders => i64::from_str_radix(key.rsplit('-').next()?, 16).ok(),
            Self::Notes => key.rsplit(' ').next()?.parse().ok(),
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Customers => CUSTOMERS,
            Self::Orders => ORDERS,
            Self::Notes => NOTES,
        }
    }

    /// The first so many columns are its key.
    fn key_columns(self) -> &'static [Column] {
        &self.columns()[..if self == Self::Orders { 3 } else { 2 }]
    }
}

impl Dialect {
    fn pick<T: Copy>(self, all: [T; 3]) -> T {
        match self {
            Self::Postgres => all[0],
            Self::Sqlite => all[1],
            Self::MySql => all[2],
        }
    }

    /// The `i`th of these numbers: as a parameter, or, where one can't be named twice, spelled out.
    fn parameter(self, i: usize, numbers: &[i64]) -> String {
        match self {
            Self::Postgres => format!("${i}::bigint"),
            Self::Sqlite => format!("?{i}"),
            Self::MySql => numbers.get(i - 1).copied().unwrap_or_default().to_string(),
        }
    }

    /// What is bound.
    fn bound(self, numbers: Vec<i64>) -> Vec<i64> {
        if self == Self::MySql { vec![] } else { numbers }
    }

    fn value(self, column: &Column, n: &str, v: &str) -> String {
        self.pick(column.values).replace("{n}", n).replace("{v}", v)
    }
}

fn joined(columns: &[Column], separator: &str, each: impl Fn(&Column) -> String) -> String {
    columns.iter().map(each).collect::<Vec<_>>().join(separator)
}

fn names(columns: &[Column]) -> String {
    joined(columns, ", ", |c| c.name.to_owned())
}

pub(super) fn exists(dialect: Dialect, table: Demo) -> String {
    let name = table.name();
    match dialect {
        Dialect::Postgres => format!("SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('{name}')"),
        Dialect::Sqlite => format!("SELECT count(*) FROM sqlite_master WHERE name = '{name}'"),
        Dialect::MySql => format!(
            "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{name}'"
        ),
    }
}

pub(super) fn create(dialect: Dialect, table: Demo) -> String {
    let columns = joined(table.columns(), ", ", |c| format!("{} {}", c.name, dialect.pick(c.types)));
    // Texts are told apart by their bytes, as the other engines do.
    let options = if dialect == Dialect::MySql { " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" } else { "" };
    format!("CREATE TABLE {} ({columns}, PRIMARY KEY ({})){options}", table.name(), names(table.key_columns()))
}

pub(super) fn drop(table: Demo) -> String {
    format!("DROP TABLE IF EXISTS {}", table.name())
}

/// Rows from the first to the last number: one statement and its parameters.
pub(super) fn fill(dialect: Dialect, table: Demo, from: i64, to: i64) -> (String, Vec<i64>) {
    let numbers = vec![from, to];
    let (from, to) = (dialect.parameter(1, &numbers), dialect.parameter(2, &numbers));
    let values = joined(table.columns(), ", ", |c| dialect.value(c, "g.n", "1"));
    let insert = format!("INSERT INTO {} ({})", table.name(), names(table.columns()));
    let count = format!("WITH RECURSIVE g(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM g WHERE n < {to})");
    let sql = match dialect {
        Dialect::Postgres => format!("{insert} SELECT {values} FROM generate_series({from}, {to}) AS g(n)"),
        Dialect::Sqlite => format!("{count} {insert} SELECT {values} FROM g"),
        Dialect::MySql => format!("{insert} {count} SELECT {values} FROM g"),
    };
    (sql, dialect.bound(numbers))
}

/// One statement and its parameters.
pub(super) fn write(dialect: Dialect, op: &Op) -> (String, Vec<i64>) {
    let numbers = match *op {
        Op::Insert { n, version, .. } | Op::Update { n, version, .. } => vec![n, version],
        Op::Delete { n, .. } => vec![n],
        Op::Rekey { from, to, version, .. } => vec![to, version, from],
    };
    let p = |i| dialect.parameter(i, &numbers);
    let is = |table: Demo, i| {
        joined(table.key_columns(), " AND ", |c| format!("{} = {}", c.name, dialect.value(c, &p(i), "")))
    };
    let sql = match *op {
        Op::Insert { table, .. } => {
            let values = joined(table.columns(), ", ", |c| dialect.value(c, &p(1), &p(2)));
            format!("INSERT INTO {} ({}) VALUES ({values})", table.name(), names(table.columns()))
        }
        Op::Update { table, .. } => {
            let rest = &table.columns()[table.key_columns().len()..];
            let set = joined(rest, ", ", |c| format!("{} = {}", c.name, dialect.value(c, &p(1), &p(2))));
            format!("UPDATE {} SET {set} WHERE {}", table.name(), is(table, 1))
        }
        Op::Delete { table, .. } => format!("DELETE FROM {} WHERE {}", table.name(), is(table, 1)),
        Op::Rekey { table, .. } => {
            let set = joined(table.columns(), ", ", |c| format!("{} = {}", c.name, dialect.value(c, &p(1), &p(2))));
            format!("UPDATE {} SET {set} WHERE {}", table.name(), is(table, 3))
        }
    };
    (sql, dialect.bound(numbers))
}

/// Lets the engine count.
pub(super) fn analyze(dialect: Dialect, table: Demo) -> String {
    let word = if dialect == Dialect::MySql { "ANALYZE TABLE" } else { "ANALYZE" };
    format!("{word} {}", table.name())
}

/// Every row's key as text, and its version.
pub(super) fn read(dialect: Dialect, table: Demo) -> String {
    let text = |name: &str| match dialect {
        Dialect::Postgres => format!("{name}::text"),
        Dialect::Sqlite => format!("CAST({name} AS TEXT)"),
        Dialect::MySql => format!("CAST({name} AS CHAR)"),
    };
    let key = joined(table.key_columns(), " || '/' || ", |c| text(c.name));
    format!("SELECT {key}, version FROM {}", table.name())
}
