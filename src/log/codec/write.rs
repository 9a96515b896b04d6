//! Writing: the bytes that `read` takes.

use bytes::Bytes;

use super::VERSION;
use crate::entry::*;
use crate::value::{Digest, Key, Row};

/// What a value or a row has in front of its bytes, and an entry in front of its rows, about.
const VALUE_HEAD_BYTES: usize = 10;
const HEAD_BYTES: usize = 4096;

/// Encodes an entry and computes its hash.
pub fn seal(header: &Header, refs: &Refs, rows: &[Row]) -> (Hash, Bytes) {
    // Taken at once, and filled in place: rows may be many megabytes, and are held here a second time.
    let size: usize = rows.iter().flatten().map(|value| value.size() + VALUE_HEAD_BYTES).sum();
    let mut out = Vec::with_capacity(size + VALUE_HEAD_BYTES * rows.len() + HEAD_BYTES);
    out.push(VERSION);
    write_header(&mut out, header);
    write_refs(&mut out, refs);
    count(&mut out, rows.len());
    let rows_hash = out.len();
    out.extend_from_slice(&[0; 32]);
    let body = out.len();
    for row in rows {
        count(&mut out, row.len());
        row.iter().for_each(|v| v.encode(&mut out));
    }
    let hash = blake3::hash(&out[body..]);
    out[rows_hash..body].copy_from_slice(hash.as_bytes());
    let hash = Hash(*blake3::hash(&out[..body]).as_bytes());
    (hash, Bytes::from(out))
}

pub fn write_announcement(a: &Announcement) -> Bytes {
    let mut out = vec![VERSION];
    text(&mut out, &a.migration);
    text(&mut out, a.link.name());
    number(&mut out, a.epoch.0);
    Bytes::from(out)
}

pub fn write_report(r: &Report) -> Bytes {
    let mut out = vec![VERSION];
    write_mark(&mut out, &r.mark);
    number(&mut out, r.epoch.0);
    out.push(u8::from(r.broken));
    number(&mut out, r.lag_ms as u64);
    number(&mut out, r.parked);
    count(&mut out, r.verdicts.len());
    r.verdicts.iter().for_each(|v| write_verdict(&mut out, v));
    match &r.refusal {
        None => out.push(0),
        Some(refusal) => {
            out.push(1);
            number(&mut out, refusal.position.0);
            table(&mut out, refusal.table);
            write_key(&mut out, &refusal.key);
            text(&mut out, &refusal.reason);
        }
    }
    Bytes::from(out)
}

pub fn write_verdict(out: &mut Vec<u8>, v: &Verdict) {
    number(out, v.position.0);
    number(out, v.check);
    table(out, v.table);
    match &v.finding {
        Finding::Equal => out.push(0),
        Finding::Differs { target_rows } => {
            out.push(1);
            number(out, *target_rows);
        }
        Finding::Buckets(buckets) => {
            out.push(2);
            write_buckets(out, buckets);
        }
        Finding::Keys { keys, more } => {
            out.push(3);
            number(out, *more);
            write_differences(out, keys);
        }
        Finding::Near { near, keys, more } => {
            out.push(5);
            number(out, *near);
            number(out, *more);
            write_differences(out, keys);
        }
        Finding::Returned(keys) => {
            out.push(4);
            write_keys(out, keys);
        }
    }
}

fn write_differences(out: &mut Vec<u8>, keys: &[(Key, Difference)]) {
    count(out, keys.len());
    for (key, difference) in keys {
        write_key(out, key);
        out.push(match difference {
            Difference::Missing => 0,
            Difference::Extra => 1,
            Difference::Changed => 2,
        });
    }
}

fn write_header(out: &mut Vec<u8>, h: &Header) {
    text(out, &h.migration);
    text(out, h.link.name());
    write_mark(out, &Mark { generation: h.generation, position: h.position, hash: h.prev });
    number(out, h.epoch.0);
    out.push(u8::from(h.drained) | u8::from(h.settled) << 1 | u8::from(h.owned.is_some()) << 2);
    number(out, h.heard.0);
    number(out, h.sealed_ms as u64);
    if let Some(owned) = &h.owned {
        out.push(u8::from(owned.rest));
        count(out, owned.except.len());
        owned.except.iter().for_each(|scope| text(out, scope));
    }
}

pub fn write_refs(out: &mut Vec<u8>, refs: &Refs) {
    match refs {
        Refs::Changes(tables) => {
            out.push(0);
            count(out, tables.len());
            for t in tables {
                table(out, t.table);
                count(out, t.keys.len());
                for (key, present) in &t.keys {
                    write_key(out, key);
                    out.push(u8::from(*present));
                }
            }
        }
        Refs::Chunk { table: id, range, fresh } => {
            out.push(1);
            table(out, *id);
            write_range(out, range);
            out.push(u8::from(*fresh));
        }
        Refs::Digest(checks) => {
            out.push(2);
            count(out, checks.len());
            checks.iter().for_each(|c| write_check(out, c));
        }
        Refs::Control(control) => {
            out.push(3);
            write_control(out, control);
        }
    }
}

fn write_control(out: &mut Vec<u8>, control: &Control) {
    match control {
        Control::Begin { mapping } => {
            out.push(0);
            out.extend_from_slice(&mapping.0);
        }
        Control::Fence { cut } => {
            out.push(1);
            number(out, *cut);
        }
        Control::Open { turns } => {
            out.push(2);
            count(out, turns.len());
            for Turn { scope, turn } in turns {
                out.push(u8::from(scope.is_some()));
                scope.iter().for_each(|scope| text(out, scope));
                number(out, *turn);
            }
        }
        Control::Abort { cut } => {
            out.push(3);
            number(out, *cut);
        }
    }
}

fn write_check(out: &mut Vec<u8>, check: &Check) {
    number(out, check.id);
    table(out, check.table);
    match &check.what {
        Compare::Range { range, named, digest } => {
            out.push(0);
            write_range(out, range);
            write_digest(out, digest);
            match named {
                None => out.push(0),
                Some(keys) => {
                    out.push(1);
                    write_keys(out, keys);
                }
            }
        }
        Compare::Rows { range, closed, rows } => {
            out.push(1);
            write_range(out, range);
            out.push(u8::from(*closed));
            count(out, rows.len());
            for (key, hash) in rows {
                write_key(out, key);
                out.extend_from_slice(&hash.to_be_bytes());
            }
        }
        Compare::Near { range, closed, rows } => {
            out.push(4);
            write_range(out, range);
            out.push(u8::from(*closed));
            count(out, rows.len());
            for (key, hash, numbers) in rows {
                write_key(out, key);
                out.extend_from_slice(&hash.to_be_bytes());
                count(out, numbers.len());
                numbers.iter().for_each(|v| v.encode(out));
            }
        }
        Compare::KeySet { buckets } => {
            out.push(2);
            count(out, buckets.len());
            buckets.iter().for_each(|d| write_digest(out, d));
        }
        Compare::Keys { of, buckets, keys } => {
            out.push(3);
            out.extend_from_slice(&of.to_be_bytes());
            write_buckets(out, buckets);
            write_keys(out, keys);
        }
    }
}

fn write_mark(out: &mut Vec<u8>, mark: &Mark) {
    number(out, mark.generation.0);
    number(out, mark.position.0);
    out.extend_from_slice(&mark.hash.0);
}

fn write_range(out: &mut Vec<u8>, range: &Range) {
    for end in [&range.after, &range.upto] {
        match end {
            None => out.push(0),
            Some(key) => {
                out.push(1);
                write_key(out, key);
            }
        }
    }
}

fn write_digest(out: &mut Vec<u8>, digest: &Digest) {
    number(out, digest.rows);
    out.extend_from_slice(&digest.sum.to_be_bytes());
}

fn write_keys(out: &mut Vec<u8>, keys: &[Key]) {
    count(out, keys.len());
    keys.iter().for_each(|k| write_key(out, k));
}

fn write_buckets(out: &mut Vec<u8>, buckets: &[u32]) {
    count(out, buckets.len());
    buckets.iter().for_each(|b| out.extend_from_slice(&b.to_be_bytes()));
}

pub fn write_key(out: &mut Vec<u8>, key: &Key) {
    out.push(key.0.len() as u8);
    key.0.iter().for_each(|v| v.encode(out));
}

fn table(out: &mut Vec<u8>, id: TableId) {
    out.extend_from_slice(&id.0.to_be_bytes());
}

fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_be_bytes());
}

fn count(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&(n as u32).to_be_bytes());
}

fn text(out: &mut Vec<u8>, t: &str) {
    count(out, t.len());
    out.extend_from_slice(t.as_bytes());
}
