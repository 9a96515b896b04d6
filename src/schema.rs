//! What a store's catalogue says, in words that every engine shares.

use std::fmt;

use crate::check::Obstacle;

/// What a column holds. `None` where the engine sets no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int {
        bits: u8,
    },
    Decimal {
        precision: Option<u32>,
        scale: Option<u32>,
    },
    Float {
        bits: u8,
    },
    Text {
        max_chars: Option<u32>,
    },
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    /// A type that only the same engine understands; its name is the engine's own.
    Opaque(String),
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Self::Bool => "bool",
            Self::Int { .. } => "integer",
            Self::Decimal { .. } => "decimal",
            Self::Float { .. } => "float",
            Self::Text { .. } => "text",
            Self::Bytes => "bytes",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamp with zone",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Opaque(name) => name,
        }
    }
}

/// The characters of a text column that can't hold all of Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharSet {
    /// Up to U+FFFF.
    Plane0,
    Ascii,
    /// cp1252 and, in its five gaps, the control characters of ISO 8859-1: MySQL's `latin1`.
    Latin1,
}

impl CharSet {
    /// By the name of a collation of MySQL's. `None`: every character, or a set of which nothing is known here.
    pub fn of_collation(collation: &str) -> Option<Self> {
        match collation.split('_').next().unwrap_or_default() {
            "utf8" | "utf8mb3" | "ucs2" => Some(Self::Plane0),
            "ascii" => Some(Self::Ascii),
            "latin1" => Some(Self::Latin1),
            _ => None,
        }
    }

    pub fn holds(self, c: char) -> bool {
        c == '\0' || self.ranges().iter().any(|(first, last)| (*first..=*last).contains(&c))
    }

    /// First and last characters; U+0000, which is in all of them, is left out.
    pub fn ranges(self) -> &'static [(char, char)] {
        match self {
            Self::Plane0 => &[('\u{1}', '\u{ffff}')],
            Self::Ascii => &[('\u{1}', '\u{7f}')],
            Self::Latin1 => LATIN1,
        }
    }
}

/// What an `enum` or `set` column of MySQL's takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    pub names: Vec<String>,
    /// Any of them, in their order, joined by commas.
    pub many: bool,
}

impl Members {
    /// By the type's spelling, `enum('a','b''c')`.
    pub fn of(type_name: &str) -> Option<Self> {
        let (word, rest) = type_name.split_once('(')?;
        // How a server spells a backslash depends on its mode.
        if rest.contains('\\') {
            return None;
        }
        let many = match word.to_ascii_lowercase().as_str() {
            "enum" => false,
            "set" => true,
            _ => return None,
        };
        let (mut names, mut rest) = (Vec::new(), rest);
        while let Some(inside) = rest.trim_start_matches(',').strip_prefix('\'') {
            let mut name = String::new();
            let mut chars = inside.char_indices().peekable();
            let end = loop {
                match chars.next()? {
                    (_, '\'') if chars.next_if(|(_, c)| *c == '\'').is_some() => name.push('\''),
                    (at, '\'') => break at,
                    (_, c) => name.push(c),
                }
            };
            names.push(name);
            rest = &inside[end + 1..];
        }
        Some(Self { names, many })
    }

    pub fn hold(&self, text: &str) -> bool {
        if !self.many {
            return self.names.iter().any(|n| n == text);
        }
        let places: Vec<_> = text.split(',').map(|part| self.names.iter().position(|n| n == part)).collect();
        text.is_empty() || places.iter().all(Option::is_some) && places.is_sorted_by(|a, b| a < b)
    }
}

static LATIN1: &[(char, char)] = &[
    ('\u{1}', '\u{7f}'),
    ('\u{81}', '\u{81}'),
    ('\u{8d}', '\u{8d}'),
    ('\u{8f}', '\u{90}'),
    ('\u{9d}', '\u{9d}'),
    ('\u{a0}', '\u{ff}'),
    ('Œ', 'œ'),
    ('Š', 'š'),
    ('Ÿ', 'Ÿ'),
    ('Ž', 'ž'),
    ('ƒ', 'ƒ'),
    ('ˆ', 'ˆ'),
    ('˜', '˜'),
    ('–', '—'),
    ('‘', '‚'),
    ('“', '„'),
    ('†', '•'),
    ('…', '…'),
    ('‰', '‰'),
    ('‹', '›'),
    ('€', '€'),
    ('™', '™'),
];

/// A store's engine. Chosen at run time by the URL's scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineName {
    Postgres,
    MySql,
    Sqlite,
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        })
    }
}

/// A table's name as the catalogue spells it. Quoted by the engine's rules wherever it meets SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// `None` where the engine has no schemas (SQLite).
    pub schema: Option<String>,
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// How a store gives a column the next number by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbered {
    #[default]
    No,
    /// It counts (a sequence, upwards): what is written with a number of its own does not move it.
    Counts,
    /// Behind the greatest that was ever there (`AUTO_INCREMENT`, `AUTOINCREMENT`), and it can be moved up.
    BehindGreatest,
    /// Behind the greatest that is there now (SQLite's rowid without `AUTOINCREMENT`).
    BehindPresent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// The engine's own spelling of the type, as DDL takes it (`character varying(160)`, `NVARCHAR(160)`).
    pub type_name: String,
    pub nullable: bool,
    pub has_default: bool,
    /// Computed by the store from other columns: can be read, not written.
    pub generated: bool,
    /// Identity ALWAYS: takes a given value only when the statement says so.
    pub identity_always: bool,
    pub numbered: Numbered,
    /// Text that orders by its bytes (`C`, `BINARY`); true for kinds without a collation.
    pub binary_order: bool,
    /// The collation's name, quoted, as DDL takes it; `None` for the default or for kinds without one.
    pub collation: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub references: TableName,
    pub referenced_columns: Vec<String>,
    pub on_delete_cascades: bool,
    pub deferrable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    pub name: String,
    pub columns: Vec<String>,
    /// Partial or over expressions: cannot serve as a key.
    pub partial: bool,
}

/// One table as its catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: TableName,
    pub columns: Vec<Column>,
    /// In key order; empty where there is none.
    pub primary_key: Vec<String>,
    pub uniques: Vec<Unique>,
    pub foreign_keys: Vec<ForeignKey>,
    /// What this engine cannot capture or write right for this table, each a reason to refuse at `plan`
    /// (`is a view`, `inherits from "a"`, `has row security`, `is a WITHOUT ROWID table …`).
    pub obstacles: Vec<Obstacle>,
}

/// What a table's definition has beyond [`Table`]: asked for only where `create_tables` makes its counterpart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// A column and its default, as the engine's SQL spells it.
    pub defaults: Vec<(String, String)>,
    /// Columns to which the store gives numbers by itself (identity, serial, AUTO_INCREMENT, the rowid).
    pub numbered: Vec<String>,
    /// All but the primary key's.
    pub indexes: Vec<Index>,
    pub foreign_keys: Vec<ForeignKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub name: String,
    pub columns: Vec<String>,
    pub unique: bool,
    /// Why it has no counterpart elsewhere (`is partial`, `is over an expression`).
    pub unfit: Option<String>,
}

/// A table that the target lacks and `create_tables` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTable {
    pub name: TableName,
    /// With `type_name` in the target engine's DDL.
    pub columns: Vec<Column>,
    pub primary_key: Vec<String>,
    /// A column and its default, in the target engine's SQL.
    pub defaults: Vec<(String, String)>,
    /// Columns to which the target gives numbers where a row brings none.
    pub numbered: Vec<String>,
    /// Only where the engine takes them at no other time (SQLite): the foreign keys, and what they refer to.
    pub uniques: Vec<Vec<String>>,
    pub foreign_keys: Vec<ForeignKey>,
}

impl NewTable {
    /// Columns and a key, nothing else.
    pub fn plain(name: TableName, columns: Vec<Column>, primary_key: Vec<String>) -> Self {
        let (defaults, numbered, uniques, foreign_keys) = (vec![], vec![], vec![], vec![]);
        Self { name, columns, primary_key, defaults, numbered, uniques, foreign_keys }
    }

    pub fn default_of(&self, column: &str) -> Option<&str> {
        self.defaults.iter().find(|(name, _)| name == column).map(|(_, text)| text.as_str())
    }
}

/// What a made table gets once it is filled: an index, or a foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    pub table: TableName,
    /// Wished for; another one is taken where it is in use.
    pub name: String,
    pub columns: Vec<String>,
    pub what: Added,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    Index { unique: bool },
    ForeignKey { references: TableName, referenced_columns: Vec<String> },
}

impl Addition {
    /// Whether a table's definition has it, whatever it is called there.
    pub fn is_in(&self, definition: &Definition) -> bool {
        match &self.what {
            Added::Index { unique } => {
                let same = |i: &Index| i.columns == self.columns && i.unique == *unique && i.unfit.is_none();
                definition.indexes.iter().any(same)
            }
            Added::ForeignKey { references, referenced_columns } => definition.foreign_keys.iter().any(|k| {
                k.columns == self.columns && k.references == *references && k.referenced_columns == *referenced_columns
            }),
        }
    }

    /// A name that nobody else will have, for where the plain one is in use.
    pub fn other_name(&self) -> String {
        let text = format!("{self:?}");
        let begin: String = self.name.chars().take(12).collect();
        format!("{begin}_{}", &blake3::hash(text.as_bytes()).to_hex().as_str()[..12])
    }
}

impl fmt::Display for Addition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.join(", ");
        match &self.what {
            Added::Index { unique: true } => write!(f, "unique index on \"{}\" ({columns})", self.table),
            Added::Index { unique: false } => write!(f, "index on \"{}\" ({columns})", self.table),
            Added::ForeignKey { references, .. } => {
                write!(f, "foreign key of \"{}\" ({columns}) to \"{references}\"", self.table)
            }
        }
    }
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Whether these columns, in any order, are the primary key or a whole unique index over not-null columns.
    pub fn is_key(&self, columns: &[String]) -> bool {
        let same = |other: &[String]| other.len() == columns.len() && other.iter().all(|c| columns.contains(c));
        let not_null = columns.iter().all(|c| self.column(c).is_some_and(|c| !c.nullable));
        not_null && (same(&self.primary_key) || self.uniques.iter().any(|u| !u.partial && same(&u.columns)))
    }
}
