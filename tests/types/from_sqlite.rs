//! What SQLite has.

use super::Engine;
use super::corpus::Class::{Bool, Bytes, Decimal, Float, Int, Shown, Text, Time, Uuid, Zoned};
use super::corpus::{Case, PLANES, case};

pub static SQLITE: &[Case] = &[
    case("INTEGER", "INTEGER", Int, &["1", "-9223372036854775808", "9223372036854775807"], "2"),
    case("BOOLEAN", "BOOLEAN", Bool, &["1", "0", "NULL"], "0"),
    case("NUMERIC(10,2)", "NUMERIC(10,2)", Decimal, &["1", "-99999999.99", "0.1", "0"], "1.01"),
    case("NUMERIC(10,2) that was computed", "NUMERIC(10,2)", Decimal, &["1", "13.860000000000001"], "1.01"),
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
        &["'a'", "''", "NULL", "'a  '", "char(9, 10, 92, 39)", "'é'", "'e\u{301}'", "'🦀 𝒳 \u{10FFFF}'", PLANES],
        "b",
    ),
    case("TEXT: NUL byte", "TEXT", Text, &["'a'", "'x' || char(0) || 'y'"], "b"),
    case("TEXT beyond U+FFFF, into utf8mb3", "TEXT", Text, &["'a'", "'🦀'"], "b")
        .into(Engine::MariaDb, "varchar(20) CHARACTER SET utf8mb3"),
    case("TEXT beyond latin1, into latin1", "TEXT", Text, &["'a'", "'ł'"], "b")
        .into(Engine::MariaDb, "varchar(20) CHARACTER SET latin1"),
    case("VARCHAR(20)", "VARCHAR(20)", Text, &["'a'", "''", "'A '"], "b"),
    case("BLOB", "BLOB", Bytes, &["x'00'", "x''", "x'00ff27225c0a0d1a'", "zeroblob(200000)"], "0000"),
    case("BLOB of 5 MiB, all bytes", "BLOB", Bytes, &["x'00'", "zeroblob(5242880)", ALL_BYTES], "0000"),
    case("DATE", "DATE", Time, &["'2024-02-29'", "'0001-01-01'", "'9999-12-31'"], "2024-02-28"),
    case("DATE that is none", "DATE", Time, &["'2024-02-29'", "'someday'"], "2024-02-28"),
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
        "UUID in 16 bytes",
        "UUID",
        Uuid,
        &["x'10000000000000000000000000000001'"],
        "20000000-0000-0000-0000-000000000001",
    ),
    case("UUID that is none", "UUID", Uuid, &["'10000000-0000-0000-0000-000000000001'", "'x'"], "1"),
    case("TIME that is none", "TIME", Time, &["'12:00:00'", "'noon'"], "12:00:01"),
    case(
        "DATETIME of February 30",
        "DATETIME",
        Time,
        &["'2024-03-31 02:30:00'", "'2024-02-30 00:00:00'"],
        "2024-03-31 02:30:01",
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
    case("generated column", "INTEGER GENERATED ALWAYS AS (id * 2) STORED", Int, &["", "", ""], "7"),
    case("default", "TEXT NOT NULL DEFAULT 'it''s'", Text, &["'a'", ""], "b"),
    case("names with quotes and spaces", "TEXT", Text, &["'a'", "'é'"], "b")
        .named("My \"odd\" `table`", "it's `a` \"col\" 100%"),
    case("names that are reserved words", "TEXT", Text, &["'a'", "'é'"], "b").named("select", "order"),
    case("names in mixed case", "TEXT", Text, &["'a'", "'é'"], "b").named("MixedCase", "camelCase"),
    case("names of 64 characters", "TEXT", Text, &["'a'", "'é'"], "b").named(
        "t234567890123456789012345678901234567890123456789012345678901xx4",
        "c234567890123456789012345678901234567890123456789012345678901xx4",
    ),
];

const ALL_BYTES: &str = "x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
    808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff'";
