//! Kinds of columns that every engine can hold exactly: how each is declared, what values it has, how it is read back.

use rand::Rng;
use rand::rngs::StdRng;

use super::Engine;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Big,
    Decimal {
        digits: u32,
        scale: u32,
    },
    Double,
    Text,
    /// Of so many characters; may be a key.
    Short {
        length: usize,
    },
    Bytes,
    Bool,
    Date,
    Stamp,
}

impl Kind {
    pub fn any(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0 => Kind::Int,
            1 => Kind::Big,
            2 => {
                let digits = rng.random_range(1..=12);
                Kind::Decimal { digits, scale: rng.random_range(0..=digits.min(6)) }
            }
            3 => Kind::Double,
            4 => Kind::Text,
            5 => Kind::Short { length: rng.random_range(1..60) },
            6 => Kind::Bytes,
            7 => Kind::Bool,
            8 => Kind::Date,
            _ => Kind::Stamp,
        }
    }

    /// With so many values that a few hundred rows find theirs.
    pub fn of_key(rng: &mut StdRng) -> Self {
        match rng.random_range(0..5) {
            0 => Kind::Int,
            1 => Kind::Big,
            2 => Kind::Short { length: rng.random_range(12..40) },
            3 => Kind::Date,
            _ => Kind::Decimal { digits: 9, scale: 2 },
        }
    }

    pub fn declared(self, engine: Engine) -> String {
        use Engine::{MariaDb, Postgres, Sqlite};
        match (self, engine) {
            (Kind::Int, Postgres | MariaDb) => "integer".into(),
            (Kind::Int, Sqlite) => "INT".into(),
            (Kind::Big, _) => "bigint".into(),
            (Kind::Decimal { digits, scale }, MariaDb) => format!("decimal({digits},{scale})"),
            (Kind::Decimal { digits, scale }, _) => format!("numeric({digits},{scale})"),
            (Kind::Double, Postgres) => "double precision".into(),
            (Kind::Double, MariaDb) => "double".into(),
            (Kind::Double, Sqlite) => "REAL".into(),
            (Kind::Text, MariaDb) => "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin".into(),
            (Kind::Text, _) => "text".into(),
            (Kind::Short { length }, MariaDb) => {
                format!("varchar({length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin")
            }
            (Kind::Short { length }, _) => format!("varchar({length})"),
            (Kind::Bytes, Postgres) => "bytea".into(),
            (Kind::Bytes, MariaDb) => "longblob".into(),
            (Kind::Bytes, Sqlite) => "BLOB".into(),
            (Kind::Bool, _) => "boolean".into(),
            (Kind::Date, _) => "date".into(),
            (Kind::Stamp, Postgres) => "timestamp".into(),
            (Kind::Stamp, MariaDb) => "datetime(6)".into(),
            (Kind::Stamp, Sqlite) => "DATETIME".into(),
        }
    }

    /// A literal of this engine.
    pub fn literal(self, engine: Engine, rng: &mut StdRng) -> String {
        let quoted = |text: &str| {
            let text = text.replace('\'', "''");
            if engine == Engine::MariaDb { format!("'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
        };
        match self {
            Kind::Int => extreme(rng, i64::from(i32::MIN), i64::from(i32::MAX)).to_string(),
            Kind::Big => extreme(rng, i64::MIN + 1, i64::MAX).to_string(),
            Kind::Decimal { digits, scale } => {
                let all = 10_i64.pow(digits) - 1;
                let (n, unit) = (extreme(rng, -all, all), 10_i64.pow(scale));
                let sign = if n < 0 { "-" } else { "" };
                match scale {
                    0 => n.to_string(),
                    _ => format!("{sign}{}.{:0width$}", n.abs() / unit, n.abs() % unit, width = scale as usize),
                }
            }
            Kind::Double => {
                // Beyond, SQLite reads a literal as a neighbour of what it says.
                let power = if engine == Engine::Sqlite { 7 } else { 300 };
                let n = match rng.random_range(0..4) {
                    0 => f64::from(rng.random_range(-1000..1000)) / 8.0,
                    1 => rng.random_range(-1.0..1.0),
                    _ => rng.random_range(-1.0..1.0) * 10_f64.powi(rng.random_range(-power..power)),
                };
                // SQLite shows fifteen digits right, and no more.
                format!("{:.14e}", if n == 0.0 { 0.0 } else { n })
            }
            Kind::Text => {
                let length = rng.random_range(0..80);
                quoted(&text(rng, length))
            }
            Kind::Short { length } => {
                let length = rng.random_range(0..=length);
                quoted(&text(rng, length))
            }
            Kind::Bytes => {
                let hex: String = (0..rng.random_range(0..40)).map(|_| format!("{:02x}", rng.random::<u8>())).collect();
                if engine == Engine::Postgres { format!("'\\x{hex}'") } else { format!("x'{hex}'") }
            }
            Kind::Bool => if rng.random() { "TRUE" } else { "FALSE" }.into(),
            Kind::Date => format!("'{}'", date(rng)),
            Kind::Stamp => {
                let (h, m, s) = (rng.random_range(0..24), rng.random_range(0..60), rng.random_range(0..60));
                let micros = [0, 1, 999_999, 500_000, rng.random_range(0..1_000_000)][rng.random_range(0..5)];
                format!("'{} {h:02}:{m:02}:{s:02}.{micros:06}'", date(rng))
            }
        }
    }

    /// The column as text that is the same on every engine, up to [`Kind::normal`].
    pub fn shown(self, engine: Engine, column: &str) -> String {
        use Engine::{MariaDb, Postgres, Sqlite};
        match (self, engine) {
            (Kind::Bool, Postgres) => format!("{column}::int::text"),
            (Kind::Bool | Kind::Int | Kind::Big, MariaDb) => format!("CAST({column} + 0 AS CHAR)"),
            (Kind::Text | Kind::Short { .. }, Postgres) => format!("encode(convert_to({column}, 'UTF8'), 'hex')"),
            (Kind::Text | Kind::Short { .. }, MariaDb) => format!("lower(hex(CONVERT({column} USING utf8mb4)))"),
            (Kind::Bytes, Postgres) => format!("encode({column}, 'hex')"),
            (Kind::Bytes, MariaDb) => format!("lower(hex({column}))"),
            (Kind::Text | Kind::Short { .. } | Kind::Bytes, Sqlite) => {
                format!("CASE WHEN {column} IS NOT NULL THEN lower(hex({column})) END")
            }
            (Kind::Double, Sqlite) => format!("CASE WHEN {column} IS NOT NULL THEN printf('%!.15g', {column}) END"),
            // A number in a column of fractions is kept as a float.
            (Kind::Decimal { scale, .. }, Sqlite) => {
                format!("CASE WHEN {column} IS NOT NULL THEN printf('%.{scale}f', {column}) END")
            }
            (_, Postgres) => format!("{column}::text"),
            (_, MariaDb) => format!("CAST({column} AS CHAR)"),
            (_, Sqlite) => format!("CAST({column} AS TEXT)"),
        }
    }

    /// What the engines spell differently, in one spelling.
    pub fn normal(self, text: &str) -> String {
        match self {
            Kind::Double => format!("{:016x}", text.parse::<f64>().expect("a float").to_bits()),
            Kind::Decimal { .. } | Kind::Stamp if text.contains('.') => {
                let cut = text.trim_end_matches('0').trim_end_matches('.');
                if cut == "-0" { "0".into() } else { cut.into() }
            }
            Kind::Decimal { .. } if text == "-0" => "0".into(),
            _ => text.to_owned(),
        }
    }
}

fn extreme(rng: &mut StdRng, least: i64, greatest: i64) -> i64 {
    match rng.random_range(0..10) {
        0 => least,
        1 => greatest,
        2 => 0,
        3..=6 => rng.random_range(least.max(-1000)..=greatest.min(1000)),
        _ => rng.random_range(least..=greatest),
    }
}

fn date(rng: &mut StdRng) -> String {
    let year = [1000, 1582, 1900, 2000, 9999, rng.random_range(1000..9999)][rng.random_range(0..6)];
    format!("{year:04}-{:02}-{:02}", rng.random_range(1..=12), rng.random_range(1..=28))
}

/// Characters of every plane, quotes, spaces at the end, combining forms.
fn text(rng: &mut StdRng, length: usize) -> String {
    const ODD: [char; 16] =
        ['\'', '"', '\\', ' ', '%', '_', 'ß', 'é', '\u{301}', 'İ', '漢', '🦀', '\u{10FFFF}', '\n', '\t', '\u{7f}'];
    let one = |rng: &mut StdRng| match rng.random_range(0..4) {
        0 => ODD[rng.random_range(0..ODD.len())],
        1 => rng.random_range('A'..='Z'),
        _ => rng.random_range('a'..='z'),
    };
    (0..length).map(|_| one(rng)).collect()
}
