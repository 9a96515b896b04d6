//! Entries, announcements and reports as bytes: compact, versioned, self-delimiting, and chained.
//!
//! Layout of an entry: `version, header, refs, rows-hash, rows`. Its hash is BLAKE3 over everything before the rows,
//! so over header, references and the hash of the rows. A reader checks the rows against their hash, so a flipped bit
//! anywhere is an error. An unknown version or a length that does not fit is an error before anything is allocated.

mod read;
mod write;

use bytes::Bytes;

use crate::entry::{Codec, Hash, Header, Refs, Verdict};
use crate::error::Result;
use crate::value::{Key, Row};

pub use read::{read_announcement, read_entry, read_key, read_refs, read_report, read_verdict};
pub use write::{seal, write_announcement, write_key, write_refs, write_report, write_verdict};

/// Bumped when the layout changes; a reader refuses what it does not know.
pub const VERSION: u8 = 1;

/// The codec of this version, for those who take one without knowing the format.
pub struct Wire;

impl Codec for Wire {
    fn seal(&self, header: &Header, refs: &Refs, rows: &[Row]) -> (Hash, Bytes) {
        seal(header, refs, rows)
    }

    fn write_refs(&self, refs: &Refs) -> Vec<u8> {
        written(|out| write_refs(out, refs))
    }

    fn read_refs(&self, bytes: &[u8]) -> Result<Refs> {
        read_refs(bytes)
    }

    fn write_key(&self, key: &Key) -> Vec<u8> {
        written(|out| write_key(out, key))
    }

    fn read_key(&self, bytes: &[u8]) -> Result<Key> {
        read_key(bytes)
    }

    fn write_verdict(&self, verdict: &Verdict) -> Vec<u8> {
        written(|out| write_verdict(out, verdict))
    }

    fn read_verdict(&self, bytes: &[u8]) -> Result<Verdict> {
        read_verdict(bytes)
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::*;
    use crate::value::{Digest, Key, Value};
    use proptest::prelude::*;

    fn key(i: i64) -> Key {
        Key(vec![Value::Int(i.into()), Value::Text(format!("k{i}"))])
    }

    fn header(position: u64) -> Header {
        Header {
            migration: "crm-to-marketing".into(),
            link: Link::Forward,
            generation: Generation(2),
            position: Position(position),
            epoch: Epoch(7),
            prev: Hash([9; 32]),
            drained: true,
            settled: false,
            heard: Position(3),
            sealed_ms: 1_700_000_000_000,
            owned: Some(Scopes { rest: true, except: vec!["7".into(), String::new()] }),
        }
    }

    fn all_refs() -> Vec<(Refs, Vec<Vec<Value>>)> {
        let row = vec![Value::Int(1), Value::Null, Value::Text("ä\0\u{10ffff}".into())];
        let range = Range { after: Some(key(1)), upto: None };
        let digest = Digest { rows: 4, sum: u128::MAX - 1 };
        let checks = vec![
            Compare::Range { range: range.clone(), named: None, digest },
            Compare::Range { range: range.clone(), named: Some(vec![key(2), key(3)]), digest },
            Compare::Rows { range: range.clone(), closed: true, rows: vec![(key(4), 5)] },
            Compare::Near {
                range: range.clone(),
                closed: false,
                rows: vec![(key(4), 5, vec![Value::Int(3), Value::Null])],
            },
            Compare::KeySet { buckets: vec![digest, Digest::default()] },
            Compare::Keys { of: 16, buckets: vec![3, 4], keys: vec![key(9)] },
        ];
        let checks = checks.into_iter().enumerate().map(|(id, what)| Check { id: id as u64, table: TableId(1), what });
        vec![
            (
                Refs::Changes(vec![TableKeys { table: TableId(1), keys: vec![(key(1), true), (key(2), false)] }]),
                vec![row.clone()],
            ),
            (Refs::Chunk { table: TableId(2), range, fresh: true }, vec![row.clone(), row]),
            (Refs::Digest(checks.collect()), vec![]),
            (Refs::Control(Control::Begin { mapping: Hash([3; 32]) }), vec![]),
        ]
    }

    #[test]
    fn every_kind_of_entry_comes_back() {
        for (i, (refs, rows)) in all_refs().into_iter().enumerate() {
            let (hash, bytes) = seal(&header(i as u64 + 1), &refs, &rows);
            let back = read_entry(&bytes).unwrap();
            assert_eq!(back, Entry { header: header(i as u64 + 1), refs: refs.clone(), rows, hash });
            let mut kept = Vec::new();
            write_refs(&mut kept, &refs);
            assert_eq!(read_refs(&kept).unwrap(), refs);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused_or_another_hash() {
        for (refs, rows) in all_refs() {
            let (hash, bytes) = seal(&header(1), &refs, &rows);
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(read_entry(&bad).map_or(true, |e| e.hash != hash), "bit {bit}");
            }
        }
    }

    #[test]
    fn reports_and_announcements_come_back() {
        let findings = vec![
            Finding::Equal,
            Finding::Differs { target_rows: 5 },
            Finding::Buckets(vec![1, 2]),
            Finding::Keys { keys: vec![(key(1), Difference::Extra)], more: 3 },
            Finding::Returned(vec![key(5)]),
            Finding::Near { near: 7, keys: vec![(key(2), Difference::Changed)], more: 1 },
        ];
        let verdicts =
            findings.into_iter().map(|finding| Verdict { position: Position(8), check: 1, table: TableId(1), finding });
        let report = Report {
            mark: Mark { generation: Generation(1), position: Position(9), hash: Hash([1; 32]) },
            epoch: Epoch(4),
            broken: true,
            verdicts: verdicts.collect(),
            refusal: Some(Refusal {
                position: Position(10),
                table: TableId(2),
                key: key(8),
                reason: "too long".into(),
            }),
            parked: 3,
            lag_ms: -5,
        };
        assert_eq!(read_report(&write_report(&report)).unwrap(), report);
        let announcement = Announcement { migration: "m".into(), link: Link::Forward, epoch: Epoch(3) };
        assert_eq!(read_announcement(&write_announcement(&announcement)).unwrap(), announcement);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_never_a_panic(mut bytes: Vec<u8>, version: bool) {
            if version && !bytes.is_empty() { bytes[0] = VERSION; }
            let _ = read_entry(&bytes);
            let _ = read_report(&bytes);
            let _ = read_refs(&bytes);
            let _ = read_announcement(&bytes);
        }
    }
}
