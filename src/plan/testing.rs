//! What the tests of this module share: an environment, catalogues in short form, and cases that name a place.

use std::collections::BTreeMap;

use super::problem::Problem;
use super::resolve::{Facts, Resolved, resolve, table_name};
use super::{Plan, load_text};
use crate::schema::{Column, EngineName, ForeignKey, Kind, Numbered, Table, Unique};

pub const CANARY: &str = "hunter2";

/// Every variable the tests' plans name; passwords in them are [`CANARY`].
pub fn env(name: &str) -> Option<String> {
    let value = match name {
        "SOURCE" | "CHINOOK_TARGET_URL" | "CRM_DATABASE_URL" | "MARKETING_DATABASE_URL" => {
            "postgres://crm:hunter2@db/crm?sslmode=require"
        }
        "MARIA" => "mariadb://crm:hunter2@db/crm",
        "CHINOOK_SOURCE_URL" | "LITE" => "sqlite:///tmp/chinook.db",
        "PASSWORD" => CANARY,
        "ROWS" => "500",
        _ => return None,
    };
    Some(value.to_owned())
}

/// A whole plan around some lines; they begin at line 5.
pub fn around(lines: &str) -> String {
    plan_of("SOURCE", "SOURCE", lines)
}

pub fn plan_of(source: &str, target: &str, lines: &str) -> String {
    let tables = if lines.contains("tables:") { "" } else { "tables: [{ from: customers }]\n" };
    format!(
        "version: 1\nmigration: m\nsource: {{ team: a, url: \"${{{source}}}\" }}\n\
         target: {{ team: b, url: \"${{{target}}}\" }}\n{lines}\n{tables}"
    )
}

pub fn load(source: &str) -> Result<Plan, Vec<Problem>> {
    load_text("x.yaml", source, &env)
}

pub fn plan(source: &str) -> Plan {
    load(source).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

pub fn show(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

/// That one of the problems is at this place and says this.
pub fn assert_problem(problems: &[Problem], (message, line, column): (&str, usize, usize), source: &str) {
    let shown = show(problems);
    let at = |p: &Problem| (p.span.line, p.span.column) == (line, column) && p.message.contains(message);
    assert!(problems.iter().any(at), "no {message:?} at {line}:{column} in\n{source}\nbut\n{shown}");
    assert!(problems.iter().all(|p| p.hint.is_some()), "no way out: {shown}");
    assert!(problems.is_sorted_by_key(|p| p.span), "{shown}");
    assert!(!shown.contains(CANARY), "{shown}");
}

/// `id int!` (not null), `name text`, `total decimal(10,2)`, `x int! =` (default), `x int ^` (generated), `x text @name`
/// (collation).
pub fn column(text: &str) -> Column {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let spelled = words.next().unwrap();
    let type_name = spelled.trim_end_matches('!').to_owned();
    let flags: Vec<_> = words.collect();
    let named = flags.iter().find_map(|f| f.strip_prefix('@')).map(str::to_owned);
    Column {
        name,
        kind: kind(&type_name),
        nullable: !spelled.ends_with('!'),
        has_default: flags.contains(&"="),
        generated: flags.contains(&"^"),
        identity_always: false,
        numbered: Numbered::No,
        binary_order: !type_name.starts_with("text") || flags.contains(&"C"),
        collation: named.or(flags.contains(&"C").then(|| "\"C\"".to_owned())),
        type_name,
    }
}

fn kind(text: &str) -> Kind {
    let (name, bounds) = text.trim_end_matches(')').split_once('(').unwrap_or((text, ""));
    let bounds: Vec<u32> = bounds.split(',').filter_map(|b| b.parse().ok()).collect();
    match name {
        "bool" => Kind::Bool,
        "int" => Kind::Int { bits: 32 },
        "bigint" => Kind::Int { bits: 64 },
        "decimal" | "DECIMAL_TEXT" => {
            Kind::Decimal { precision: bounds.first().copied(), scale: bounds.get(1).copied() }
        }
        "float" => Kind::Float { bits: 64 },
        "text" | "NVARCHAR" => Kind::Text { max_chars: bounds.first().copied() },
        "char" | "enum" | "set" => Kind::Text { max_chars: bounds.first().copied() },
        "bytes" | "binary" | "blob" => Kind::Bytes,
        "date" => Kind::Date,
        "timestamp" => Kind::Timestamp,
        "uuid" => Kind::Uuid,
        "json" => Kind::Json,
        other => Kind::Opaque(other.to_owned()),
    }
}

/// A table in short form; its first column is the primary key unless `key` says otherwise.
pub fn table(engine: EngineName, name: &str, columns: &str) -> Table {
    let columns: Vec<_> = columns.split(';').map(column).collect();
    Table {
        name: table_name(engine, name),
        primary_key: vec![columns[0].name.clone()],
        columns,
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        obstacles: Vec::new(),
    }
}

impl Table {
    pub fn keyed(mut self, key: &[&str]) -> Self {
        self.primary_key = key.iter().map(|k| (*k).to_owned()).collect();
        self
    }

    pub fn unique(mut self, columns: &[&str], partial: bool) -> Self {
        let columns = columns.iter().map(|k| (*k).to_owned()).collect();
        self.uniques.push(Unique { name: "u".into(), columns, partial });
        self
    }

    pub fn child_of(mut self, engine: EngineName, parent: &str) -> Self {
        self.foreign_keys.push(ForeignKey {
            name: "fk".into(),
            columns: vec!["p".into()],
            references: table_name(engine, parent),
            referenced_columns: vec!["id".into()],
            on_delete_cascades: false,
            deferrable: false,
        });
        self
    }

    pub fn with_obstacle(mut self, obstacle: &str) -> Self {
        self.obstacles.push(obstacle.into());
        self
    }
}

pub fn facts(source: (EngineName, Vec<Table>), target: (EngineName, Vec<Table>)) -> Facts {
    let map = |tables: Vec<Table>| tables.into_iter().map(|t| (t.name.clone(), t)).collect();
    Facts {
        source_engine: source.0,
        target_engine: target.0,
        source: map(source.1),
        target: map(target.1),
        expressions: BTreeMap::new(),
        reverses: BTreeMap::new(),
    }
}

impl Facts {
    pub fn saying(mut self, from: &str, sql: &str, answer: Result<Option<Kind>, &str>) -> Self {
        self.expressions.insert((from.to_owned(), sql.to_owned()), answer.map_err(str::to_owned));
        self
    }
}

impl Facts {
    pub fn answering(mut self, to: &str, sql: &str, answer: Result<Option<Kind>, &str>) -> Self {
        self.reverses.insert((to.to_owned(), sql.to_owned()), answer.map_err(str::to_owned));
        self
    }
}

pub fn resolved(source: &str, facts: &Facts) -> Resolved {
    resolve(&plan(source), facts).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}
