//! One pass of comparison: every range of every table by digest, then each table's whole key set, while writes run.
//!
//! A digest is compared at one position, where both sides must agree exactly, so a difference is a difference: no lag
//! to wait for, nothing to check twice. A range that differs is asked again row by row, a key set bucket by bucket,
//! until the keys have names. This file is pure: the relay asks it what to seal next and tells it what came back.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::entry::{Difference, Finding, Position, Range, TableId, Verdict};
use crate::event::{Event, Stage};
use crate::mapping::{Layout, TableMap};
use crate::store::{Task, TaskKind};
use crate::value::{Decimal, Key, Value};

use super::Ends;

/// Digests under way at once: bounds what is lost when the relay must begin again.
const OPEN_MAX: usize = 16;
/// Buckets whose keys are asked for at once.
const BUCKETS_AT_ONCE: usize = 64;
/// Keys that a result names.
const NAMED_MAX: usize = 10_000;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableResult {
    pub rows: u64,
    pub digests: u64,
    pub differing: u64,
    /// Rows that are equal only by the plan's tolerances.
    pub near: u64,
    /// By which it was compared: column and tolerance. Whoever asks may have another plan by now.
    pub tolerances: Vec<(String, String)>,
}

/// What one pass found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PassResult {
    pub digests: u64,
    pub positions: u64,
    /// Digests that differed.
    pub mismatches: u64,
    pub tables: BTreeMap<TableId, TableResult>,
    pub differences: Vec<(TableId, Key, Difference)>,
    /// Differing keys that are not named.
    pub more: u64,
}

#[derive(Debug, Clone)]
struct Asked {
    task: Task,
    /// For a range: where it ended.
    end: Option<Key>,
}

#[derive(Debug, Clone)]
struct TableRun {
    table: TableId,
    after: Option<Key>,
    ranges_done: bool,
    set_asked: bool,
}

pub struct Pass {
    tables: Vec<TableId>,
    /// Those whose numbers may lie apart: a range of theirs that differs is judged row by row.
    tolerant: BTreeMap<TableId, Vec<(String, String)>>,
    chunk_rows: u64,
    todo: VecDeque<TableRun>,
    follow_up: VecDeque<(TableId, TaskKind)>,
    next_id: u64,
    open: HashMap<u64, Asked>,
    positions: HashSet<Position>,
    named: HashSet<(TableId, Vec<u8>)>,
    result: PassResult,
}

impl Pass {
    pub fn new(layout: &Layout, chunk_rows: u64) -> Self {
        let tables: Vec<TableId> = layout.tables.iter().map(|t| t.id).collect();
        let mut pass = Self {
            tables,
            tolerant: tolerances(layout),
            chunk_rows,
            todo: VecDeque::new(),
            follow_up: VecDeque::new(),
            next_id: 1,
            open: HashMap::new(),
            positions: HashSet::new(),
            named: HashSet::new(),
            result: PassResult::default(),
        };
        pass.restart();
        pass
    }

    /// Begins again: what was asked may never have been delivered. Ids go on, so that a late verdict finds nothing.
    pub fn restart(&mut self) {
        let run = |&table| TableRun { table, after: None, ranges_done: false, set_asked: false };
        self.todo = self.tables.iter().map(run).collect();
        self.follow_up.clear();
        self.open.clear();
        self.positions.clear();
        self.named.clear();
        self.result = PassResult::default();
    }

    /// What to compare next; empty where verdicts must come first, or all is asked.
    pub fn next_tasks(&mut self) -> Vec<Task> {
        if self.open.len() >= OPEN_MAX {
            return vec![];
        }
        if let Some((table, what)) = self.follow_up.pop_front() {
            return vec![self.task(table, what)];
        }
        let Some(run) = self.todo.front() else { return vec![] };
        let (table, after) = (run.table, run.after.clone());
        let what = if run.ranges_done {
            let rows = self.result.tables.get(&table).map_or(0, |t| t.rows);
            TaskKind::KeySet { buckets: buckets_for(rows) }
        } else {
            TaskKind::RangeAfter { after, max_rows: self.chunk_rows }
        };
        vec![self.task(table, what)]
    }

    fn task(&mut self, table: TableId, what: TaskKind) -> Task {
        self.next_id += 1;
        Task { id: self.next_id, table, what }
    }

    /// What became of tasks in a seal: `at` is `None` where something was dirty, so that nothing was compared.
    pub fn asked(&mut self, tasks: &[Task], at: Option<Position>, ends: &[(u64, Option<Key>, u64)]) {
        for task in tasks {
            let end = ends.iter().find(|(id, ..)| *id == task.id);
            let (Some(_), Some((_, end, rows))) = (at, end) else {
                self.put_back(task);
                continue;
            };
            self.step(task, end.clone(), *rows);
            self.open.insert(task.id, Asked { task: task.clone(), end: end.clone() });
        }
        self.positions.extend(at);
    }

    fn put_back(&mut self, task: &Task) {
        if matches!(task.what, TaskKind::Rows { .. } | TaskKind::Keys { .. }) {
            self.follow_up.push_front((task.table, task.what.clone()));
        }
    }

    fn step(&mut self, task: &Task, end: Option<Key>, rows: u64) {
        let Some(run) = self.todo.front_mut().filter(|run| run.table == task.table) else { return };
        match task.what {
            TaskKind::RangeAfter { .. } => {
                run.ranges_done = end.is_none();
                run.after = end;
                self.result.tables.entry(task.table).or_default().rows += rows;
            }
            TaskKind::KeySet { .. } => {
                run.set_asked = true;
                self.todo.pop_front();
            }
            TaskKind::Rows { .. } | TaskKind::Keys { .. } | TaskKind::Named { .. } => {}
        }
    }

    pub fn heard(&mut self, verdict: &Verdict) {
        let Some(Asked { task, end }) = self.open.remove(&verdict.check) else { return };
        let table = self.result.tables.entry(task.table).or_default();
        let first = matches!(task.what, TaskKind::RangeAfter { .. } | TaskKind::KeySet { .. });
        if first {
            table.digests += 1;
            self.result.digests += 1;
        }
        match &verdict.finding {
            Finding::Differs { .. } => {
                self.result.mismatches += u64::from(!self.tolerant.contains_key(&task.table));
                if let TaskKind::RangeAfter { after, .. } = task.what {
                    let range = Range { after, upto: end };
                    self.follow_up.push_back((task.table, TaskKind::Rows { range }));
                }
            }
            Finding::Buckets(differ) => {
                self.result.mismatches += 1;
                if let TaskKind::KeySet { buckets: of } = task.what {
                    let pages = differ.chunks(BUCKETS_AT_ONCE).map(|b| TaskKind::Keys { of, buckets: b.to_vec() });
                    self.follow_up.extend(pages.map(|what| (task.table, what)));
                }
            }
            Finding::Keys { keys, more } => {
                self.result.more += more;
                keys.iter().for_each(|(key, difference)| self.name(task.table, key, *difference));
            }
            Finding::Near { near, keys, more } => {
                table.near += near;
                // What no tolerance explains is a difference, also one that is gone by now.
                self.result.mismatches += u64::from(*near == 0 || !keys.is_empty());
                self.result.more += more;
                keys.iter().for_each(|(key, difference)| self.name(task.table, key, *difference));
            }
            Finding::Equal | Finding::Returned(_) => {}
        }
    }

    fn name(&mut self, table: TableId, key: &Key, difference: Difference) {
        if !self.named.insert((table, key.canonical())) {
            return;
        }
        self.result.tables.entry(table).or_default().differing += 1;
        if self.result.differences.len() < NAMED_MAX {
            self.result.differences.push((table, key.clone(), difference));
        } else {
            self.result.more += 1;
        }
    }

    pub fn is_done(&self) -> bool {
        self.todo.is_empty() && self.follow_up.is_empty() && self.open.is_empty()
    }

    pub fn result(mut self) -> PassResult {
        self.result.positions = self.positions.len() as u64;
        for (table, tolerances) in self.tolerant {
            self.result.tables.entry(table).or_default().tolerances = tolerances;
        }
        self.result
    }

    /// Tells how far each table is.
    pub fn tell(&self, ends: &Ends) {
        for (id, table) in &self.result.tables {
            let Some(map) = ends.layout.table(*id) else { continue };
            let done = !self.todo.iter().any(|run| run.table == *id);
            let (rows, name) = (table.rows, ends.layout.source_label(map));
            ends.reporter.event(&Event::Table { table: name, stage: Stage::Verify, rows, rows_total: 0, done });
        }
    }
}

fn tolerances(layout: &Layout) -> BTreeMap<TableId, Vec<(String, String)>> {
    let named = |t: &TableMap| {
        let one = |(i, far): &(usize, Decimal)| (t.columns[*i].target.name.clone(), far.as_str().to_owned());
        t.tolerance.iter().map(one).collect()
    };
    layout.tables.iter().filter(|t| !t.tolerance.is_empty()).map(|t| (t.id, named(t))).collect()
}

/// Enough buckets that one holds few keys, few enough that the set is small.
fn buckets_for(rows: u64) -> u32 {
    (rows / 64).clamp(16, 4096) as u32
}

/// A key for people: its values, or `***` each.
pub fn show_key(key: &Key, reveal: bool) -> String {
    let show = |v: &Value| if reveal { show_value(v) } else { "***".to_owned() };
    key.0.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// A value for people, one line, without control characters. Only where they were asked for.
pub fn show_value(value: &Value) -> String {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Bytes(b) => format!("{} bytes", b.len()),
        Value::Float(f) => f.to_string(),
        Value::Text(t) => format!("{t:?}"),
        other => crate::store::text::render(other).unwrap_or_default(),
    };
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Origin, WireColumn};
    use crate::schema::{Column, Kind, Numbered, TableName};

    fn layout(tolerances: &[&[&str]]) -> Layout {
        let column = |name: &str| Column {
            name: name.into(),
            kind: Kind::Int { bits: 64 },
            type_name: "bigint".into(),
            nullable: false,
            has_default: false,
            generated: false,
            identity_always: false,
            numbered: Numbered::No,
            binary_order: true,
            collation: None,
        };
        let wire = |name: &str| WireColumn {
            origin: Origin::Column(name.into()),
            source_kind: Kind::Int { bits: 64 },
            wire: Kind::Int { bits: 64 },
            target: column(name),
        };
        let table = |(i, tolerance): (usize, &&[&str])| TableMap {
            id: TableId(i as u16 + 1),
            source: TableName { schema: None, name: format!("t{i}") },
            target: TableName { schema: None, name: format!("t{i}") },
            columns: vec![wire("id"), wire("price")],
            key: vec![0],
            source_key: vec![column("id")],
            target_unique: vec!["id".into()],
            constants: vec![],
            filter: None,
            owned: None,
            scope: None,
            ranged: None,
            within: None,
            ordered_alike: true,
            tolerance: tolerance.iter().filter_map(|t| Some((1, Decimal::parse(t)?))).collect(),
        };
        let tables = tolerances.iter().enumerate().map(table).collect();
        Layout { migration: "m".into(), tables, backlog_limit: 1, max_parked: 0 }
    }

    /// Runs a pass to its end, with these findings for what is asked first and row by row.
    fn passed(tolerance: &[&str], first: Finding, by_rows: Finding) -> PassResult {
        let mut pass = Pass::new(&layout(&[tolerance]), 10);
        while !pass.is_done() {
            let tasks = pass.next_tasks();
            let ends: Vec<_> = tasks.iter().map(|t| (t.id, None, 5)).collect();
            pass.asked(&tasks, Some(Position(7)), &ends);
            for task in tasks {
                let finding = match task.what {
                    TaskKind::RangeAfter { .. } => first.clone(),
                    TaskKind::Rows { .. } => by_rows.clone(),
                    _ => Finding::Equal,
                };
                pass.heard(&Verdict { position: Position(7), check: task.id, table: task.table, finding });
            }
        }
        pass.result()
    }

    #[test]
    fn only_what_a_tolerance_explains_is_equal() {
        let (key, differs) = (Key(vec![Value::Int(1)]), Finding::Differs { target_rows: 5 });
        let near = |near, keys: &[&Key]| Finding::Near {
            near,
            keys: keys.iter().map(|k| ((*k).clone(), Difference::Changed)).collect(),
            more: 0,
        };
        let told = |r: &PassResult| (r.mismatches, r.tables[&TableId(1)].near, r.tables[&TableId(1)].differing);
        let equal = passed(&["0.1"], differs.clone(), near(3, &[]));
        assert_eq!(told(&equal), (0, 3, 0));
        assert_eq!(equal.tables[&TableId(1)].tolerances, [("price".to_owned(), "0.1".to_owned())]);
        assert_eq!(told(&passed(&["0.1"], differs.clone(), near(3, &[&key]))), (1, 3, 1));
        // It differed, and nothing that is there now tells why.
        assert_eq!(told(&passed(&["0.1"], differs.clone(), near(0, &[]))), (1, 0, 0));
        let keys = Finding::Keys { keys: vec![(key, Difference::Changed)], more: 0 };
        assert_eq!(told(&passed(&[], differs, keys)), (1, 0, 1));
        assert_eq!(told(&passed(&["0.1"], Finding::Equal, near(9, &[]))), (0, 0, 0));
    }
}
