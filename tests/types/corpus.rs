//! The corpus: for each engine its types, each with a first plain value, what one unit beside it is, and its extremes.
//!
//! A type whose extremes some other engine can't hold stands twice: with what all can hold, and with what they can't.

use super::Engine;

/// How a test reads and compares a cell, by its own SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Int,
    Decimal,
    Float,
    Text,
    /// Shown by the engine's own text form.
    Shown,
    Bytes,
    /// Dates, times and timestamps: zeros at the end of a fraction mean nothing.
    Time,
    /// As an instant.
    Zoned,
    Uuid,
    Bool,
}

/// One table of the corpus.
pub struct Case {
    /// As docs/types.md names it; unique per engine.
    pub name: &'static str,
    pub ddl: &'static str,
    pub class: Class,
    /// SQL literals; the first is the plain one.
    pub values: &'static [&'static str],
    /// What the target's first row is changed to: text that any engine takes for this type.
    pub unit: &'static str,
}

const fn case(
    name: &'static str,
    ddl: &'static str,
    class: Class,
    values: &'static [&'static str],
    unit: &'static str,
) -> Case {
    Case { name, ddl, class, values, unit }
}

pub fn of(engine: Engine) -> &'static [Case] {
    match engine {
        Engine::Postgres => POSTGRES,
        Engine::MariaDb => MARIADB,
        Engine::Sqlite => SQLITE,
    }
}

/// Types of an engine that tables of it need.
pub fn prelude(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "CREATE TYPE mood AS ENUM ('sad', 'o''k', '');
             CREATE TYPE pair AS (a int, b text);
             CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);"
        }
        _ => "",
    }
}

use Class::{Bool, Bytes, Decimal, Float, Int, Shown, Text, Time, Uuid, Zoned};

static POSTGRES: &[Case] = &[
    case("smallint", "smallint", Int, &["1", "-32768", "32767", "0"], "2"),
    case("integer", "integer", Int, &["1", "-2147483648", "2147483647"], "2"),
    case("bigint", "bigint", Int, &["1", "-9223372036854775808", "9223372036854775807"], "2"),
    case("numeric(10,2)", "numeric(10,2)", Decimal, &["1", "-99999999.99", "0.10", "-0.00"], "1.01"),
    case(
        "numeric(65,30)",
        "numeric(65,30)",
        Decimal,
        &[
            "1",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
        ],
        "1.000000000000000000000000000001",
    ),
    case("numeric", "numeric", Decimal, &["1", "1.10", "-12345678901234567890.123456789"], "1.000000000000000001"),
    case("numeric beyond 65 digits, NaN", "numeric", Decimal, &["1", "1e100", "'NaN'", "1e-40"], "1.01"),
    case("real", "real", Float, &["1", "-3.4028235e38", "1.17549435e-38", "0.1", "16777217"], "1.0000001"),
    case(
        "double precision",
        "double precision",
        Float,
        &["1", "1.7976931348623157e308", "-2.2250738585072014e-308", "0.1", "9007199254740993"],
        "1.0000000000000002",
    ),
    case("double: denormal", "double precision", Float, &["1", "5e-324"], "1.0000000000000002"),
    case("double: negative zero", "double precision", Float, &["1", "'-0'"], "1.0000000000000002"),
    case("double: infinity", "double precision", Float, &["1", "'infinity'", "'-infinity'"], "1.0000000000000002"),
    case("double: NaN", "double precision", Float, &["1", "'NaN'"], "1.0000000000000002"),
    case(
        "text",
        "text",
        Text,
        &[
            "'a'",
            "''",
            "NULL",
            "'a  '",
            "E'\\t\\n\\\\\\''",
            "'é'",
            "U&'e\\0301'",
            "'🦀 𝒳 \u{10FFFF}'",
            "repeat('ü', 70000)",
        ],
        "a ",
    ),
    case("varchar(20)", "varchar(20)", Text, &["'a'", "''", "'A '", "repeat('🦀', 20)"], "a "),
    case("char(5)", "char(5)", Text, &["'a'", "''", "'a b'", "'äöüß€'"], "b"),
    case("name (type)", "name", Text, &["'a'", "'B c'"], "b"),
    case(
        "bytea",
        "bytea",
        Bytes,
        &["'\\x00'", "''", "'\\x00ff27225c0a0d1a'", "decode(repeat('00ff', 100000), 'hex')"],
        "0000",
    ),
    case("date", "date", Time, &["'2024-02-29'", "'0001-01-01'", "'9999-12-31'", "'1970-01-01'"], "2024-02-28"),
    case(
        "date: BC, infinity",
        "date",
        Time,
        &["'2024-02-29'", "'0044-03-15 BC'", "'infinity'", "'-infinity'"],
        "2024-02-28",
    ),
    case("time", "time", Time, &["'12:00:00'", "'00:00:00'", "'23:59:59.999999'", "'24:00:00'"], "12:00:00.000001"),
    case("time with time zone", "timetz", Shown, &["'12:00:00+02'"], "12:00:01+02"),
    case(
        "timestamp",
        "timestamp",
        Time,
        &[
            "'2024-03-31 02:30:00'",
            "'0001-01-01 00:00:00.000001'",
            "'9999-12-31 23:59:59.999999'",
            "'1969-12-31 23:59:59.5'",
        ],
        "2024-03-31 02:30:00.000001",
    ),
    case(
        "timestamp: BC, infinity",
        "timestamp",
        Time,
        &["'2024-03-31 02:30:00'", "'0044-03-15 12:00 BC'", "'infinity'"],
        "2024-03-31 02:30:00.000001",
    ),
    case(
        "timestamptz",
        "timestamptz",
        Zoned,
        &[
            "'2024-03-31 01:30:00+00'",
            "'2024-10-27 02:30:00 Europe/Rome'",
            "'2024-03-31 02:30:00 Europe/Rome'",
            "'2038-01-19 03:14:07.999999+00'",
            "'1970-01-01 00:00:01+00'",
        ],
        "2024-03-31 01:30:00.000001+00:00",
    ),
    case(
        "timestamptz: before 1970, after 2038",
        "timestamptz",
        Zoned,
        &["'2024-03-31 01:30:00+00'", "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'"],
        "2024-03-31 01:30:00.000001+00:00",
    ),
    case(
        "uuid",
        "uuid",
        Uuid,
        &["'00000000-0000-0000-0000-000000000001'", "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'"],
        "00000000-0000-0000-0000-000000000002",
    ),
    case("boolean", "boolean", Bool, &["true", "false", "NULL"], "0"),
    case(
        "json",
        "json",
        Text,
        &[
            "'{\"a\": 1}'",
            "'{\"b\": 1, \"a\": 12345678901234567890.10, \"a\": \"\\u00e9\\ud83e\\udd80\"}'",
            "'[ ]'",
            "'null'",
        ],
        "{\"a\":1}",
    ),
    case(
        "jsonb",
        "jsonb",
        Text,
        &["'{\"a\": 1}'", "'{\"b\": 1, \"a\": 12345678901234567890.10}'", "'null'"],
        "{\"a\": 2}",
    ),
    case("enum", "mood", Text, &["'sad'", "'o''k'", "''"], "o'k"),
    case("integer[]", "integer[]", Shown, &["'{1,2}'", "'{}'", "'{{1,NULL},{3,4}}'", "'[0:1]={5,6}'"], "{1,3}"),
    case("int4range", "int4range", Shown, &["'[1,5)'", "'empty'", "'(,5]'"], "[1,6)"),
    case("inet", "inet", Shown, &["'10.0.0.1/8'", "'2001:db8::1'"], "10.0.0.2/8"),
    case(
        "interval",
        "interval",
        Shown,
        &["'1 mon'", "'30 days'", "'-1 year 2 mons -3 days 04:05:06.000007'"],
        "30 days",
    ),
    case("domain", "percent", Decimal, &["1", "99.99"], "1.01"),
    case("composite", "pair", Shown, &["'(1,a)'", "'(,\"x,\"\"y\")'"], "(2,a)"),
    case("bit(8)", "bit(8)", Shown, &["B'00000001'", "B'11111111'"], "00000011"),
    case("money", "money", Shown, &["1.10"], "1.11"),
    case("xml", "xml", Shown, &["'<a>1</a>'"], "<a>2</a>"),
    case("tsvector", "tsvector", Shown, &["'a b'"], "a c"),
    case("point", "point", Shown, &["'(1,2)'"], "(1,3)"),
];

static MARIADB: &[Case] = &[
    case("tinyint", "tinyint", Int, &["1", "-128", "127"], "2"),
    case("tinyint(1)", "tinyint(1)", Int, &["1", "0", "NULL"], "0"),
    case("smallint unsigned", "smallint unsigned", Int, &["1", "0", "65535"], "2"),
    case("mediumint", "mediumint", Int, &["1", "-8388608", "8388607"], "2"),
    case("int", "int", Int, &["1", "-2147483648", "2147483647"], "2"),
    case("int unsigned", "int unsigned", Int, &["1", "4294967295"], "2"),
    case("bigint", "bigint", Int, &["1", "-9223372036854775808", "9223372036854775807"], "2"),
    case("bigint unsigned", "bigint unsigned", Int, &["1", "0", "18446744073709551615"], "2"),
    case("decimal(10,2)", "decimal(10,2)", Decimal, &["1", "-99999999.99", "0.10", "-0.00"], "1.01"),
    case(
        "decimal(65,30)",
        "decimal(65,30)",
        Decimal,
        &[
            "1",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
        ],
        "1.000000000000000000000000000001",
    ),
    case("float", "float", Float, &["1", "-3.4028234e38", "1.17549e-38", "0.1", "16777217"], "1.0000001"),
    case(
        "double",
        "double",
        Float,
        &["1", "1.7976931348623157e308", "-2.2250738585072014e-308", "0.1"],
        "1.0000000000000002",
    ),
    case("double: negative zero", "double", Float, &["1", "-0e0"], "1.0000000000000002"),
    case("char(5)", "char(5)", Text, &["'a'", "''", "'a b'", "'äöüß€'"], "b"),
    case("varchar(20)", "varchar(20)", Text, &["'a'", "''", "'a '", "repeat('🦀', 20)"], "b"),
    case("varchar, latin1", "varchar(20) CHARACTER SET latin1", Text, &["'a'", "'é€ß'"], "b"),
    case("varchar, utf8mb3", "varchar(20) CHARACTER SET utf8mb3", Text, &["'a'", "'é\u{FFFD}€'"], "b"),
    case(
        "longtext",
        "longtext",
        Text,
        &[
            "'a'",
            "''",
            "NULL",
            "'a  '",
            "'\\t\\n\\\\'''",
            "'é'",
            "'e\u{301}'",
            "'🦀 𝒳 \u{10FFFF}'",
            "repeat('ü', 70000)",
        ],
        "b",
    ),
    case("text: NUL byte", "text", Text, &["'a'", "'\\0'"], "b"),
    case("binary(4)", "binary(4)", Bytes, &["x'00'", "x'00ff0000'", "'ab'"], "00000001"),
    case("varbinary(9)", "varbinary(9)", Bytes, &["x'00'", "''", "x'ff00'"], "0000"),
    case("longblob", "longblob", Bytes, &["x'00'", "''", "x'00ff27225c0a0d1a'", "repeat(x'00ff', 100000)"], "0000"),
    case("date", "date", Time, &["'2024-02-29'", "'0001-01-01'", "'9999-12-31'"], "2024-02-28"),
    case(
        "date: zero, partial",
        "date",
        Time,
        &["'2024-02-29'", "'0000-00-00'", "'2024-00-00'", "'2024-02-00'"],
        "2024-02-28",
    ),
    case("time(6)", "time(6)", Time, &["'12:00:00'", "'00:00:00'", "'23:59:59.999999'"], "12:00:00.000001"),
    case("time: negative, beyond 24 h", "time", Time, &["'12:00:00'", "'-00:00:01'", "'838:59:59'"], "12:00:01"),
    case(
        "datetime(6)",
        "datetime(6)",
        Time,
        &["'2024-03-31 02:30:00'", "'0001-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"],
        "2024-03-31 02:30:00.000001",
    ),
    case(
        "datetime: zero",
        "datetime",
        Time,
        &["'2024-03-31 02:30:00'", "'0000-00-00 00:00:00'"],
        "2024-03-31 02:30:01",
    ),
    case(
        "timestamp(6)",
        "timestamp(6) NULL",
        Zoned,
        &["'2024-03-31 01:30:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999999'"],
        "2024-03-31 01:30:00.000001",
    ),
    case("year", "year", Int, &["2024", "1901", "2155", "0"], "2025"),
    case("bit(1)", "bit(1)", Int, &["b'1'", "b'0'"], "0"),
    case("bit(64)", "bit(64)", Int, &["1", "18446744073709551615"], "2"),
    case("enum", "enum('a','b''c')", Text, &["'a'", "'b''c'"], "b'c"),
    case("set", "set('x','y')", Text, &["'x'", "''", "'x,y'"], "x,y"),
    case(
        "json",
        "json",
        Text,
        &["'{\"a\": 1}'", "'{\"b\": 1, \"a\": 12345678901234567890.10, \"a\": \"\\\\u00e9\"}'", "'[ ]'", "'null'"],
        "{\"a\": 2}",
    ),
    case(
        "uuid",
        "uuid",
        Uuid,
        &["'10000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
        "10000000-0000-0000-0000-000000000002",
    ),
    case("inet6", "inet6", Shown, &["'2001:db8::1'"], "2001:db8::2"),
    case("point", "point", Shown, &["ST_GeomFromText('POINT(1 2)')"], ""),
    case(
        "default, ON UPDATE",
        "timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)",
        Zoned,
        &["'2024-03-31 01:30:00'", "'2001-01-01 00:00:00'"],
        "2024-03-31 01:30:00.000001",
    ),
];

static SQLITE: &[Case] = &[
    case("INTEGER", "INTEGER", Int, &["1", "-9223372036854775808", "9223372036854775807"], "2"),
    case("BOOLEAN", "BOOLEAN", Bool, &["1", "0", "NULL"], "0"),
    case("NUMERIC(10,2)", "NUMERIC(10,2)", Decimal, &["1", "-99999999.99", "0.1", "0"], "1.01"),
    case("DECIMAL", "DECIMAL", Decimal, &["1", "-0.1", "12345678.9012345"], "1.01"),
    case(
        "DECIMAL_TEXT(65,30)",
        "DECIMAL_TEXT(65,30)",
        Decimal,
        &["'1'", "'-99999999999999999999999999999999999.999999999999999999999999999999'"],
        "1.000000000000000000000000000001",
    ),
    case(
        "REAL",
        "REAL",
        Float,
        &["1.0", "1.7976931348623157e308", "-2.2250738585072014e-308", "0.1"],
        "1.0000000000000002",
    ),
    case("REAL: denormal", "REAL", Float, &["1.0", "5e-324"], "1.0000000000000002"),
    case("REAL: infinity", "REAL", Float, &["1.0", "9e999", "-9e999"], "1.0000000000000002"),
    case(
        "TEXT",
        "TEXT",
        Text,
        &["'a'", "''", "NULL", "'a  '", "char(9, 10, 92, 39)", "'é'", "'e\u{301}'", "'🦀 𝒳 \u{10FFFF}'"],
        "b",
    ),
    case("TEXT: NUL byte", "TEXT", Text, &["'a'", "'x' || char(0) || 'y'"], "b"),
    case("VARCHAR(20)", "VARCHAR(20)", Text, &["'a'", "''", "'A '"], "b"),
    case("BLOB", "BLOB", Bytes, &["x'00'", "x''", "x'00ff27225c0a0d1a'", "zeroblob(200000)"], "0000"),
    case("DATE", "DATE", Time, &["'2024-02-29'", "'0001-01-01'", "'9999-12-31'"], "2024-02-28"),
    case("TIME", "TIME", Time, &["'12:00:00'", "'00:00:00'", "'23:59:59.999999'"], "12:00:00.000001"),
    case(
        "DATETIME",
        "DATETIME",
        Time,
        &["'2024-03-31 02:30:00'", "'0001-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"],
        "2024-03-31 02:30:00.000001",
    ),
    case(
        "TIMESTAMPTZ",
        "TIMESTAMPTZ",
        Zoned,
        &["'2024-03-31 01:30:00+00:00'", "'2038-01-19 03:14:07.999999+00:00'"],
        "2024-03-31 01:30:00.000001+00:00",
    ),
    case(
        "UUID",
        "UUID",
        Uuid,
        &["'00000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
        "00000000-0000-0000-0000-000000000002",
    ),
    case(
        "JSON_TEXT",
        "JSON_TEXT",
        Text,
        &["'{\"a\": 1}'", "'{\"b\": 1, \"a\": 12345678901234567890.10, \"a\": \"\\u00e9\"}'", "'[ ]'", "'null'"],
        "{\"a\": 2}",
    ),
    case("no type", "", Shown, &["'a'", "1", "1.5", "x'00'"], "b"),
    case("INTEGER that holds text", "INTEGER", Shown, &["1", "'abc'"], "2"),
];
