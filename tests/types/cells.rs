//! A cell's canonical text by plain SQL of each engine: what the product must not be needed for.

use super::Engine;
use super::corpus::Class;

/// An expression over the column `{v}`.
pub fn shown(engine: Engine, class: Class) -> &'static str {
    use Engine::{MariaDb, Postgres, Sqlite};
    match (engine, class) {
        (Postgres, Class::Float) => "{v}::double precision::text",
        (Postgres, Class::Text) => "encode(convert_to({v}::text, 'UTF8'), 'hex')",
        (Postgres, Class::Shown) => "encode(convert_to({v}::text, 'UTF8'), 'hex')",
        (Postgres, Class::Bytes) => "encode({v}, 'hex')",
        (Postgres, Class::Zoned) => "({v} AT TIME ZONE 'UTC')::text",
        (Postgres, Class::Bool) => "{v}::int::text",
        (Postgres, _) => "{v}::text",
        (MariaDb, Class::Float) => "CAST(CAST({v} AS DOUBLE) AS CHAR)",
        (MariaDb, Class::Int) => "CAST({v} + 0 AS CHAR)",
        (MariaDb, Class::Text) => "lower(hex(CONVERT({v} USING utf8mb4)))",
        (MariaDb, Class::Bytes) => "CASE WHEN {v} IS NOT NULL THEN lower(hex({v})) END",
        (MariaDb, Class::Zoned) => "CAST(CONVERT_TZ({v}, @@session.time_zone, '+00:00') AS CHAR)",
        (MariaDb, Class::Shown) => "lower(hex({v}))",
        (MariaDb, _) => "CAST({v} AS CHAR)",
        (Sqlite, Class::Float) => "printf('%!.17g', {v})",
        (Sqlite, Class::Text | Class::Bytes) => "CASE WHEN {v} IS NOT NULL THEN lower(hex({v})) END",
        (Sqlite, Class::Uuid) => "CASE typeof({v}) WHEN 'blob' THEN hex({v}) ELSE CAST({v} AS TEXT) END",
        (Sqlite, Class::Shown) => "CASE typeof({v}) WHEN 'text' THEN lower(hex({v})) ELSE quote({v}) END",
        (Sqlite, _) => "CAST({v} AS TEXT)",
    }
}

/// How one value may be spelled in two ways, where a class has such values.
pub fn form(class: Class) -> Option<&'static str> {
    match class {
        Class::Decimal => Some("as a number"),
        Class::Uuid => Some("in one spelling"),
        _ => None,
    }
}

/// Brings what the engines spell differently to one spelling; what differs in value stays different.
pub fn normal(class: Class, text: &str) -> String {
    match class {
        Class::Decimal if text.contains('.') => {
            let cut = text.trim_end_matches('0').trim_end_matches('.');
            if cut == "-0" { "0".to_owned() } else { cut.to_owned() }
        }
        Class::Float => {
            let float: f64 = match text {
                "Inf" | "Infinity" => f64::INFINITY,
                "-Inf" | "-Infinity" => f64::NEG_INFINITY,
                other => other.parse().unwrap_or_else(|_| panic!("no float: {other}")),
            };
            format!("{:016x}", float.to_bits())
        }
        Class::Time | Class::Zoned => {
            let plain = text.strip_suffix("+00:00").unwrap_or(text);
            match plain.rsplit_once('.') {
                Some((whole, fraction)) if fraction.bytes().all(|b| b == b'0') => whole.to_owned(),
                Some(_) => plain.trim_end_matches('0').to_owned(),
                None => plain.to_owned(),
            }
        }
        Class::Uuid => text.to_ascii_lowercase().replace('-', ""),
        _ => text.to_owned(),
    }
}

/// The literal of one unit beside the plain value, at this engine.
pub fn literal(engine: Engine, class: Class, unit: &str) -> String {
    match (engine, class) {
        (Engine::Postgres, Class::Bytes) => format!("'\\x{unit}'"),
        // Without a type: the column may be boolean or integer.
        (Engine::Postgres, Class::Bool) => format!("'{unit}'"),
        (_, Class::Bytes) => format!("x'{unit}'"),
        (_, Class::Int | Class::Bool) => unit.to_owned(),
        (Engine::Sqlite, Class::Zoned) => format!("'{}+00:00'", unit.trim_end_matches("+00:00")),
        (Engine::MariaDb, Class::Zoned) => format!("'{}'", unit.trim_end_matches("+00:00")),
        (Engine::MariaDb, Class::Shown) if unit.is_empty() => "ST_GeomFromText('POINT(1 3)')".to_owned(),
        _ => format!("'{}'", unit.replace('\'', "''")),
    }
}
