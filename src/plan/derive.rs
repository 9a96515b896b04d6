//! Tables that the target lacks, derived from the source's definition.

use crate::mapping::has_text;
use crate::schema::{Column, EngineName, Kind, Numbered};

/// Digits that SQLite's numbers keep; a longer decimal is kept as text there.
const SQLITE_DIGITS: u32 = 15;

/// A kind's spelling in an engine's DDL. SQLite's gives the affinity that keeps values exact, and its catalogue reads
/// the same kind back from it. `None`: the engine has nothing that holds it.
pub fn type_name(engine: EngineName, kind: &Kind) -> Option<String> {
    match engine {
        EngineName::Postgres => postgres(kind),
        EngineName::MySql => mysql(kind),
        EngineName::Sqlite => sqlite(kind),
    }
}

/// Whether a new table or column keeps this name.
pub(super) fn can_be_named(engine: EngineName, name: &str) -> bool {
    match engine {
        EngineName::Postgres => name.len() <= 63,
        EngineName::MySql => {
            name.chars().count() <= 64 && name.chars().all(|c| c <= '\u{ffff}') && !name.ends_with(' ')
        }
        EngineName::Sqlite => true,
    }
}

/// The collation of new text columns: the only one that tells all texts apart that other engines tell apart.
const MYSQL_BINARY: &str = "utf8mb4_nopad_bin";
/// Characters of a text that is kept within its row; all of a row together have 65,535 bytes.
const MYSQL_CHARS: u32 = 2000;
const MYSQL_TOO_MANY: u32 = MYSQL_CHARS + 1;
/// Of a text or bytes as a key: an index takes 3,072 bytes.
const MYSQL_KEY: u32 = 255;

fn mysql(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Bool => "tinyint(1)".to_owned(),
        Kind::Int { bits: ..=8 } => "tinyint".to_owned(),
        Kind::Int { bits: ..=16 } => "smallint".to_owned(),
        Kind::Int { bits: ..=32 } => "int".to_owned(),
        Kind::Int { bits: ..=64 } => "bigint".to_owned(),
        Kind::Int { .. } => "bigint unsigned".to_owned(),
        Kind::Decimal { precision: Some(p @ 1..=65), scale: Some(s @ 0..=30) } if s <= p => format!("decimal({p},{s})"),
        Kind::Decimal { .. } => "decimal(65,30)".to_owned(),
        Kind::Float { bits: ..=32 } => "float".to_owned(),
        Kind::Float { .. } => "double".to_owned(),
        Kind::Text { max_chars: Some(n @ 1..=MYSQL_CHARS) } => format!("varchar({n})"),
        Kind::Text { .. } | Kind::Json => "longtext".to_owned(),
        Kind::Bytes => "longblob".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Time => "time(6)".to_owned(),
        Kind::Timestamp => "datetime(6)".to_owned(),
        Kind::TimestampTz => "timestamp(6)".to_owned(),
        Kind::Uuid => "char(36)".to_owned(),
        Kind::Opaque(_) => return None,
    })
}

/// A new column that is part of a key, where the engine can't index one without a bound.
pub(super) fn bound_key(column: &mut Column, engine: EngineName) {
    if engine != EngineName::MySql {
        return;
    }
    match &column.kind {
        Kind::Text { max_chars } if max_chars.is_none_or(|n| n > MYSQL_KEY) && column.type_name == "longtext" => {
            column.kind = Kind::Text { max_chars: Some(MYSQL_KEY) };
            column.type_name = format!("varchar({MYSQL_KEY})");
        }
        Kind::Bytes if column.type_name == "longblob" => column.type_name = format!("varbinary({MYSQL_KEY})"),
        _ => {}
    }
}

fn postgres(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Bool => "boolean".to_owned(),
        Kind::Int { bits: ..=16 } => "smallint".to_owned(),
        Kind::Int { bits: ..=32 } => "integer".to_owned(),
        Kind::Int { bits: ..=64 } => "bigint".to_owned(),
        Kind::Int { .. } => "numeric".to_owned(),
        // numeric(p) would mean a scale of 0, and PostgreSQL before 15 knows no scale beyond the precision.
        Kind::Decimal { precision: Some(p @ 1..=1000), scale: Some(s) } if s <= p => format!("numeric({p},{s})"),
        Kind::Decimal { .. } => "numeric".to_owned(),
        Kind::Float { bits: ..=32 } => "real".to_owned(),
        Kind::Float { .. } => "double precision".to_owned(),
        Kind::Text { max_chars: Some(n @ 1..=10_485_760) } => format!("character varying({n})"),
        Kind::Text { .. } => "text".to_owned(),
        Kind::Bytes => "bytea".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Time => "time without time zone".to_owned(),
        Kind::Timestamp => "timestamp without time zone".to_owned(),
        Kind::TimestampTz => "timestamp with time zone".to_owned(),
        Kind::Uuid => "uuid".to_owned(),
        // Not jsonb: that would drop doubled keys and refuse \u0000.
        Kind::Json => "json".to_owned(),
        Kind::Opaque(_) => return None,
    })
}

fn sqlite(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Bool => "BOOLEAN".to_owned(),
        Kind::Int { bits: ..=64 } => "INTEGER".to_owned(),
        Kind::Int { .. } | Kind::Decimal { precision: None, .. } | Kind::Decimal { scale: None, .. } => {
            "DECIMAL_TEXT".to_owned()
        }
        Kind::Decimal { precision: Some(p), scale: Some(s) } if *p <= SQLITE_DIGITS => format!("NUMERIC({p},{s})"),
        Kind::Decimal { precision: Some(p), scale: Some(s) } => format!("DECIMAL_TEXT({p},{s})"),
        Kind::Float { .. } => "REAL".to_owned(),
        Kind::Text { max_chars: Some(n) } => format!("VARCHAR({n})"),
        Kind::Text { max_chars: None } => "TEXT".to_owned(),
        Kind::Bytes => "BLOB".to_owned(),
        Kind::Date => "DATE".to_owned(),
        Kind::Time => "TIME".to_owned(),
        Kind::Timestamp => "DATETIME".to_owned(),
        Kind::TimestampTz => "TIMESTAMPTZ".to_owned(),
        Kind::Uuid => "UUID".to_owned(),
        Kind::Json => "JSON_TEXT".to_owned(),
        Kind::Opaque(_) => return None,
    })
}

/// The kind that the engine's catalogue will read back from [`type_name`]'s spelling, so that a plan means the same
/// before and after its tables were made.
pub(super) fn held(engine: EngineName, kind: &Kind) -> Kind {
    match (engine, kind) {
        (EngineName::Sqlite, Kind::Int { bits: ..=64 }) => Kind::Int { bits: 64 },
        (EngineName::Postgres, Kind::Int { bits: ..=16 }) => Kind::Int { bits: 16 },
        (EngineName::Postgres | EngineName::MySql, Kind::Int { bits: 17..=32 }) => Kind::Int { bits: 32 },
        (EngineName::Postgres | EngineName::MySql, Kind::Int { bits: 33..=64 }) => Kind::Int { bits: 64 },
        (EngineName::MySql, Kind::Int { bits: 9..=16 }) => Kind::Int { bits: 16 },
        (EngineName::MySql, Kind::Bool | Kind::Int { bits: ..=8 }) => Kind::Int { bits: 8 },
        (EngineName::MySql, Kind::Int { bits: 65.. }) => Kind::Int { bits: 65 },
        (EngineName::MySql, Kind::Decimal { precision: Some(p @ 1..=65), scale: Some(s @ 0..=30) }) if s <= p => {
            kind.clone()
        }
        (EngineName::MySql, Kind::Decimal { .. }) => Kind::Decimal { precision: Some(65), scale: Some(30) },
        (EngineName::MySql, Kind::Text { max_chars: None | Some(0) | Some(MYSQL_TOO_MANY..) } | Kind::Json) => {
            Kind::Text { max_chars: None }
        }
        (EngineName::MySql, Kind::Uuid) => Kind::Text { max_chars: Some(36) },
        (_, Kind::Int { bits: 65.. }) => Kind::Decimal { precision: None, scale: None },
        (EngineName::Sqlite, Kind::Float { .. }) => Kind::Float { bits: 64 },
        (EngineName::Sqlite, Kind::Decimal { precision: None, .. } | Kind::Decimal { scale: None, .. }) => {
            Kind::Decimal { precision: None, scale: None }
        }
        _ => kind.clone(),
    }
}

/// What another engine keeps a kind as: its text, where only the source's engine knows the type.
pub(super) fn as_text(from: EngineName, kind: &Kind) -> Kind {
    match kind {
        Kind::Opaque(name) if has_text(from, name) => Kind::Text { max_chars: None },
        other => other.clone(),
    }
}

/// A new target column for a source column that travels as it is.
pub(super) fn copied(name: &str, source: &Column, from: EngineName, to: EngineName) -> Option<Column> {
    if from != to {
        return made(name, &as_text(from, &source.kind), source.nullable, to);
    }
    let plain = Column { has_default: false, generated: false, identity_always: false, ..source.clone() };
    // The default collation is the target database's own, which may be another.
    let binary_order = source.binary_order && (to == EngineName::Sqlite || has_known_order(source));
    Some(Column { name: name.to_owned(), binary_order, ..plain })
}

fn has_known_order(column: &Column) -> bool {
    column.collation.is_some() || !matches!(column.kind, Kind::Text { .. })
}

/// A new target column for a kind.
pub(super) fn made(name: &str, kind: &Kind, nullable: bool, to: EngineName) -> Option<Column> {
    let type_name = type_name(to, kind)?;
    let kind = held(to, kind);
    let is_text = matches!(kind, Kind::Text { .. });
    let collation = (to == EngineName::MySql && is_text).then(|| MYSQL_BINARY.to_owned());
    let binary_order = to == EngineName::Sqlite || !is_text || collation.is_some();
    Some(Column {
        name: name.to_owned(),
        kind,
        type_name,
        nullable,
        has_default: false,
        generated: false,
        identity_always: false,
        numbered: Numbered::No,
        binary_order,
        collation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_spelling_that_keeps_it() {
        let decimal = |p, s| Kind::Decimal { precision: p, scale: s };
        let cases = [
            (Kind::Int { bits: 16 }, "smallint", "INTEGER"),
            (decimal(Some(10), Some(2)), "numeric(10,2)", "NUMERIC(10,2)"),
            (decimal(Some(30), Some(4)), "numeric(30,4)", "DECIMAL_TEXT(30,4)"),
            (decimal(None, None), "numeric", "DECIMAL_TEXT"),
            (decimal(Some(2), Some(5)), "numeric", "NUMERIC(2,5)"),
            (Kind::Float { bits: 32 }, "real", "REAL"),
            (Kind::Text { max_chars: Some(160) }, "character varying(160)", "VARCHAR(160)"),
            (Kind::Bytes, "bytea", "BLOB"),
            (Kind::Timestamp, "timestamp without time zone", "DATETIME"),
            (Kind::TimestampTz, "timestamp with time zone", "TIMESTAMPTZ"),
            (Kind::Json, "json", "JSON_TEXT"),
        ];
        for (kind, postgres, sqlite) in cases {
            assert_eq!(type_name(EngineName::Postgres, &kind).as_deref(), Some(postgres), "{kind:?}");
            assert_eq!(type_name(EngineName::Sqlite, &kind).as_deref(), Some(sqlite), "{kind:?}");
        }
        assert_eq!(type_name(EngineName::Sqlite, &Kind::Opaque("point".into())), None);
    }

    #[test]
    fn a_name_is_kept_or_refused() {
        use EngineName::{MySql, Postgres, Sqlite};
        let of = |n: usize| "é".repeat(n);
        assert!(can_be_named(Postgres, &of(31)) && !can_be_named(Postgres, &of(32)), "bytes");
        assert!(can_be_named(MySql, &of(64)) && !can_be_named(MySql, &of(65)), "characters");
        assert!(!can_be_named(MySql, "a ") && !can_be_named(MySql, "🦀") && can_be_named(Sqlite, &of(99)));
    }
}
