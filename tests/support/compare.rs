//! A comparison of two stores that shares no code with the product: plain SELECTs, and multisets of text.

use super::sql::{TextRow, query_text, sqlite_query_text};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub enum StoreRef {
    /// A URL; of a role that may read the tables.
    Postgres(String),
    MariaDb(String),
    Sqlite(PathBuf),
}

/// Rows and how often each occurs; their order in the store does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows(BTreeMap<TextRow, usize>);

impl Rows {
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// The first cell of each row, without the padding of a CHAR.
    pub fn cells(&self) -> Vec<String> {
        let first = |row: &TextRow| row.first().cloned().flatten().unwrap_or_default().trim().to_owned();
        self.0.iter().flat_map(|(row, n)| std::iter::repeat_n(first(row), *n)).collect()
    }

    /// Each cell that isn't NULL, given its column's place, as something else.
    pub fn map_cells(self, each: impl Fn(usize, &str) -> String) -> Self {
        let cell = |(i, cell): (usize, Option<String>)| cell.map(|text| each(i, &text));
        let row = |row: TextRow| row.into_iter().enumerate().map(cell).collect::<TextRow>();
        let copies = |(r, n): (TextRow, usize)| std::iter::repeat_n(row(r), n).collect::<Vec<_>>();
        self.0.into_iter().flat_map(copies).collect()
    }

    /// Rows that are here more often than there, and by how much.
    fn beyond<'a>(&'a self, other: &'a Rows) -> impl Iterator<Item = (&'a TextRow, usize)> {
        self.0.iter().filter_map(|(row, n)| {
            let more = n.saturating_sub(other.0.get(row).copied().unwrap_or(0));
            (more > 0).then_some((row, more))
        })
    }
}

impl FromIterator<TextRow> for Rows {
    fn from_iter<I: IntoIterator<Item = TextRow>>(rows: I) -> Self {
        let mut counted = BTreeMap::new();
        for row in rows {
            *counted.entry(row).or_insert(0) += 1;
        }
        Self(counted)
    }
}

/// What a SELECT yields; for SQLite its columns must be text already.
pub async fn rows(store: &StoreRef, sql: &str) -> Rows {
    text_rows(store, sql).await.into_iter().collect()
}

/// The same of one SELECT or several, in the order in which they come.
pub async fn text_rows(store: &StoreRef, sql: &str) -> Vec<TextRow> {
    match store {
        StoreRef::Postgres(url) => query_text(url, sql).await,
        StoreRef::MariaDb(url) => super::mysql_query_text(url, sql).await,
        StoreRef::Sqlite(path) => sqlite_query_text(path, sql).await,
    }
}

/// Up to ten rows that only one side has; nothing if both are the same.
pub fn difference(name: &str, left: &Rows, right: &Rows) -> Option<String> {
    if left == right {
        return None;
    }
    let (only_left, only_right): (Vec<_>, Vec<_>) = (left.beyond(right).collect(), right.beyond(left).collect());
    let mut text = format!("{name} differs: {} rows on the left, {} on the right", left.count(), right.count());
    for (side, only) in [("left", &only_left), ("right", &only_right)] {
        let _ = write!(text, "\n  {} different rows only on the {side}", only.len());
        for (row, n) in only.iter().take(5) {
            let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
            let _ = write!(text, "\n    {n} x {}", cells.join(" | "));
        }
    }
    Some(text)
}

#[track_caller]
pub fn assert_same(name: &str, left: &Rows, right: &Rows) {
    if let Some(text) = difference(name, left, right) {
        panic!("{text}");
    }
}
