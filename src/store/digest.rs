//! Digests: how each side computes them, and what the target makes of the source's.
//!
//! Both sides hash the same canonical bytes of the rows that the one read path gives. A comparison happens inside the
//! transaction that applies the entry, so at the one position where both must agree.

use std::collections::{HashMap, HashSet};

use crate::entry::{Check, Compare, Difference, Finding, Range, bucket};
use crate::error::Result;
use crate::mapping::{Layout, TableMap};
use crate::value::{Digest, Key, Row, Value, hash128, is_near};

use super::engine::Engine;
use super::read::{Reader, Which};
use super::{Side, Task, TaskKind};

/// Differing keys that one verdict names; the rest is counted.
pub const NAMED_MAX: usize = 10_000;

/// What the source says of one task, and where its range ended.
pub async fn ask<E: Engine>(r: &Reader<'_, E>, tx: &mut E::Tx, task: &Task) -> Result<(Check, Option<Key>, u64)> {
    let mut end = None;
    let mut rows_read = 0;
    let what = match &task.what {
        TaskKind::RangeAfter { after, max_rows } => {
            let (digest, keys) = page(r, tx, after.as_ref(), *max_rows).await?;
            rows_read = digest.rows;
            end = if digest.rows < *max_rows { None } else { keys.last().cloned() };
            let range = Range { after: after.clone(), upto: end.clone() };
            let named = (!r.map.ordered_alike).then_some(keys);
            Compare::Range { range, named, digest }
        }
        TaskKind::Rows { range } if !r.map.tolerance.is_empty() => {
            let mut rows = Vec::new();
            let which = Which::Range { after: range.after.as_ref(), upto: range.upto.as_ref(), limit: None };
            let mut scratch = Vec::new();
            let mut each = |row: Row| {
                let key = r.map.key_of(&row);
                let (rest, numbers) = split(r.map, row, &mut scratch);
                rows.push((key, rest, numbers));
                Ok(true)
            };
            r.rows(tx, which, &mut each).await?;
            Compare::Near { range: range.clone(), closed: r.map.ordered_alike, rows }
        }
        TaskKind::Rows { range } => {
            let mut rows = Vec::new();
            let which = Which::Range { after: range.after.as_ref(), upto: range.upto.as_ref(), limit: None };
            let mut scratch = Vec::new();
            let mut each = |row: Row| {
                rows.push((r.map.key_of(&row), hash128(&row, &mut scratch)));
                Ok(true)
            };
            r.rows(tx, which, &mut each).await?;
            Compare::Rows { range: range.clone(), closed: r.map.ordered_alike, rows }
        }
        TaskKind::Named { keys } => {
            let rows = r.look_up(tx, keys).await?;
            rows_read = keys.len() as u64;
            if r.map.tolerance.is_empty() {
                Compare::Range { range: Range::default(), named: Some(keys.clone()), digest: digest_of(&rows) }
            } else {
                let mut scratch = Vec::new();
                let near = |row: Row| {
                    let key = r.map.key_of(&row);
                    let (rest, numbers) = split(r.map, row, &mut scratch);
                    (key, rest, numbers)
                };
                let rows = rows.into_iter().flatten().map(near).collect();
                Compare::Near { range: Range::default(), closed: false, rows }
            }
        }
        TaskKind::KeySet { buckets } => Compare::KeySet { buckets: key_set(r, tx, *buckets).await? },
        TaskKind::Keys { of, buckets } => {
            let keys = keys_in(r, tx, *of, buckets).await?;
            Compare::Keys { of: *of, buckets: buckets.clone(), keys }
        }
    };
    Ok((Check { id: task.id, table: task.table, what }, end, rows_read))
}

async fn page<E: Engine>(
    r: &Reader<'_, E>,
    tx: &mut E::Tx,
    after: Option<&Key>,
    max: u64,
) -> Result<(Digest, Vec<Key>)> {
    let (mut digest, mut keys, mut scratch) = (Digest::default(), Vec::new(), Vec::new());
    let mut each = |row: Row| {
        digest.add(&row, &mut scratch);
        if r.map.ordered_alike {
            keys.clear();
        }
        keys.push(r.map.key_of(&row));
        Ok(true)
    };
    r.rows(tx, Which::Range { after, upto: None, limit: Some(max) }, &mut each).await?;
    Ok((digest, keys))
}

async fn key_set<E: Engine>(r: &Reader<'_, E>, tx: &mut E::Tx, of: u32) -> Result<Vec<Digest>> {
    let (mut set, mut scratch) = (vec![Digest::default(); of.max(1) as usize], Vec::new());
    let mut each = |key: Row| {
        let hash = hash128(&key, &mut scratch);
        let slot = &mut set[bucket(hash, of.max(1)) as usize];
        slot.rows += 1;
        slot.sum = slot.sum.wrapping_add(hash);
        Ok(true)
    };
    r.keys(tx, ALL, &mut each).await?;
    Ok(set)
}

async fn keys_in<E: Engine>(r: &Reader<'_, E>, tx: &mut E::Tx, of: u32, buckets: &[u32]) -> Result<Vec<Key>> {
    let (wanted, mut keys, mut scratch) = (buckets.iter().collect::<HashSet<_>>(), Vec::new(), Vec::new());
    let mut each = |key: Row| {
        if wanted.contains(&bucket(hash128(&key, &mut scratch), of.max(1))) {
            keys.push(Key(key));
        }
        Ok(true)
    };
    r.keys(tx, ALL, &mut each).await?;
    Ok(keys)
}

const ALL: Which<'static> = Which::Range { after: None, upto: None, limit: None };

/// The target's finding for one check.
pub async fn judge<E: Engine>(e: &E, tx: &mut E::Tx, layout: &Layout, check: &Check) -> Result<Finding> {
    let Some(map) = layout.table(check.table) else {
        return Err(crate::error::Error::changed("a digest is of a table that this plan does not have"));
    };
    let r = Reader::new(e, &layout.migration, map, Side::Target);
    match &check.what {
        Compare::Range { range, named, digest } => {
            let ours = match named {
                Some(keys) => digest_of(&r.look_up(tx, keys).await?),
                None => range_digest(&r, tx, range).await?,
            };
            Ok(if ours == *digest { Finding::Equal } else { Finding::Differs { target_rows: ours.rows } })
        }
        Compare::Rows { range, closed, rows } => compare_rows(&r, tx, range, *closed, rows).await,
        Compare::Near { range, closed, rows } => compare_near(&r, tx, range, *closed, rows).await,
        Compare::KeySet { buckets } => {
            let ours = key_set(&r, tx, buckets.len() as u32).await?;
            let differ = (0..).zip(buckets.iter().zip(&ours)).filter(|(_, (a, b))| a != b).map(|(i, _)| i);
            let differ: Vec<u32> = differ.collect();
            Ok(if differ.is_empty() { Finding::Equal } else { Finding::Buckets(differ) })
        }
        Compare::Keys { of, buckets, keys } => {
            let ours = keys_in(&r, tx, *of, buckets).await?;
            Ok(named(set_difference(keys, &ours)))
        }
    }
}

fn digest_of(rows: &[Option<Row>]) -> Digest {
    let (mut digest, mut scratch) = (Digest::default(), Vec::new());
    rows.iter().flatten().for_each(|row| digest.add(row, &mut scratch));
    digest
}

async fn range_digest<E: Engine>(r: &Reader<'_, E>, tx: &mut E::Tx, range: &Range) -> Result<Digest> {
    let (mut digest, mut scratch) = (Digest::default(), Vec::new());
    let which = Which::Range { after: range.after.as_ref(), upto: range.upto.as_ref(), limit: None };
    let mut each = |row: Row| {
        digest.add(&row, &mut scratch);
        Ok(true)
    };
    r.rows(tx, which, &mut each).await?;
    Ok(digest)
}

async fn compare_rows<E: Engine>(
    r: &Reader<'_, E>,
    tx: &mut E::Tx,
    range: &Range,
    closed: bool,
    theirs: &[(Key, u128)],
) -> Result<Finding> {
    let mut ours: HashMap<Vec<u8>, (Key, u128)> = HashMap::new();
    let mut scratch = Vec::new();
    let mut keep = |row: Row| {
        let key = r.map.key_of(&row);
        ours.insert(key.canonical(), (key, hash128(&row, &mut scratch)));
        Ok(true)
    };
    if closed {
        let which = Which::Range { after: range.after.as_ref(), upto: range.upto.as_ref(), limit: None };
        r.rows(tx, which, &mut keep).await?;
    } else {
        let keys: Vec<Key> = theirs.iter().map(|(k, _)| k.clone()).collect();
        for row in r.look_up(tx, &keys).await?.into_iter().flatten() {
            keep(row)?;
        }
    }
    let mut differences = Vec::new();
    for (key, hash) in theirs {
        match ours.remove(&key.canonical()) {
            None => differences.push((key.clone(), Difference::Missing)),
            Some((_, other)) if other != *hash => differences.push((key.clone(), Difference::Changed)),
            Some(_) => {}
        }
    }
    differences.extend(ours.into_values().map(|(key, _)| (key, Difference::Extra)));
    Ok(named(differences))
}

/// The numbers that may lie apart, and the hash of everything else.
fn split(map: &TableMap, mut row: Row, scratch: &mut Vec<u8>) -> (u128, Row) {
    let take = |(i, _): &(usize, _)| row.get_mut(*i).map_or(Value::Null, |v| std::mem::replace(v, Value::Null));
    let numbers = map.tolerance.iter().map(take).collect();
    (hash128(&row, scratch), numbers)
}

/// Row by row, as [`compare_rows`]; a row is equal where its numbers lie within their tolerances and all else is exact.
async fn compare_near<E: Engine>(
    r: &Reader<'_, E>,
    tx: &mut E::Tx,
    range: &Range,
    closed: bool,
    theirs: &[(Key, u128, Row)],
) -> Result<Finding> {
    let mut ours: HashMap<Vec<u8>, (Key, u128, Row)> = HashMap::new();
    let mut scratch = Vec::new();
    let mut keep = |row: Row| {
        let key = r.map.key_of(&row);
        let (rest, numbers) = split(r.map, row, &mut scratch);
        ours.insert(key.canonical(), (key, rest, numbers));
        Ok(true)
    };
    if closed {
        let which = Which::Range { after: range.after.as_ref(), upto: range.upto.as_ref(), limit: None };
        r.rows(tx, which, &mut keep).await?;
    } else {
        let keys: Vec<Key> = theirs.iter().map(|(k, ..)| k.clone()).collect();
        for row in r.look_up(tx, &keys).await?.into_iter().flatten() {
            keep(row)?;
        }
    }
    let (mut differences, mut near) = (Vec::new(), 0);
    let canonical = |row: &Row| Key(row.clone()).canonical();
    for (key, hash, numbers) in theirs {
        let within = |others: &Row| {
            let mut pairs = numbers.iter().zip(others).zip(&r.map.tolerance);
            numbers.len() == others.len() && pairs.all(|((a, b), (_, tolerance))| is_near(a, b, tolerance))
        };
        match ours.remove(&key.canonical()) {
            None => differences.push((key.clone(), Difference::Missing)),
            Some((_, other, others)) if other != *hash || !within(&others) => {
                differences.push((key.clone(), Difference::Changed));
            }
            Some((.., others)) => near += u64::from(canonical(numbers) != canonical(&others)),
        }
    }
    differences.extend(ours.into_values().map(|(key, ..)| (key, Difference::Extra)));
    Ok(match named(differences) {
        Finding::Keys { keys, more } => Finding::Near { near, keys, more },
        _ => Finding::Near { near, keys: Vec::new(), more: 0 },
    })
}

fn set_difference(theirs: &[Key], ours: &[Key]) -> Vec<(Key, Difference)> {
    let set = |keys: &[Key]| keys.iter().map(Key::canonical).collect::<HashSet<_>>();
    let (source, target) = (set(theirs), set(ours));
    let missing = theirs.iter().filter(|k| !target.contains(&k.canonical())).map(|k| (k.clone(), Difference::Missing));
    let extra = ours.iter().filter(|k| !source.contains(&k.canonical())).map(|k| (k.clone(), Difference::Extra));
    missing.chain(extra).collect()
}

fn named(mut keys: Vec<(Key, Difference)>) -> Finding {
    if keys.is_empty() {
        return Finding::Equal;
    }
    let more = keys.len().saturating_sub(NAMED_MAX) as u64;
    keys.truncate(NAMED_MAX);
    Finding::Keys { keys, more }
}
