//! Reading: strict, bounded by the bytes at hand, never a panic. `GiveUp` errors: the bytes are not ours.

use super::VERSION;
use crate::entry::*;
use crate::error::{Error, Result};
use crate::value::{self, Digest, Key, Row};

struct Reader<'a>(&'a [u8]);

fn bad(what: &str) -> Error {
    Error::give_up(format!("a message from the log can't be read: {what}"))
}

/// Reads an entry, checks its rows against their hash, and computes the entry's own.
pub fn read_entry(bytes: &[u8]) -> Result<Entry> {
    let mut r = versioned(bytes)?;
    let header = r.header()?;
    let refs = r.refs()?;
    let rows = r.count()?;
    let rows_hash: [u8; 32] = r.array()?;
    let hash = Hash(*blake3::hash(&bytes[..bytes.len() - r.0.len()]).as_bytes());
    if *blake3::hash(r.0).as_bytes() != rows_hash {
        return Err(bad("its rows do not have the hash that its header gives"));
    }
    let rows = (0..rows).map(|_| r.row()).collect::<Result<_>>()?;
    r.end()?;
    Ok(Entry { header, refs, rows, hash })
}

pub fn read_announcement(bytes: &[u8]) -> Result<Announcement> {
    let mut r = versioned(bytes)?;
    let a = Announcement { migration: r.text()?, link: r.link()?, epoch: Epoch(r.number()?) };
    r.end().map(|()| a)
}

pub fn read_report(bytes: &[u8]) -> Result<Report> {
    let mut r = versioned(bytes)?;
    let mark = r.mark()?;
    let epoch = Epoch(r.number()?);
    let broken = r.flag()?;
    let lag_ms = r.number()? as i64;
    let parked = r.number()?;
    let verdicts = r.many(Reader::verdict)?;
    let refusal = match r.flag()? {
        false => None,
        true => Some(Refusal { position: Position(r.number()?), table: r.table()?, key: r.key()?, reason: r.text()? }),
    };
    r.end()?;
    Ok(Report { mark, epoch, broken, verdicts, refusal, parked, lag_ms })
}

pub fn read_refs(bytes: &[u8]) -> Result<Refs> {
    let mut r = Reader(bytes);
    let refs = r.refs()?;
    r.end().map(|()| refs)
}

pub fn read_verdict(bytes: &[u8]) -> Result<Verdict> {
    let mut r = Reader(bytes);
    let verdict = r.verdict()?;
    r.end().map(|()| verdict)
}

pub fn read_key(bytes: &[u8]) -> Result<Key> {
    let mut r = Reader(bytes);
    let key = r.key()?;
    r.end().map(|()| key)
}

fn versioned(bytes: &[u8]) -> Result<Reader<'_>> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(Reader(rest)),
        Some((other, _)) => Err(bad(&format!("it has version {other}, this program knows {VERSION}"))),
        None => Err(bad("it is empty")),
    }
}

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Result<&[u8]> {
        let (head, rest) = self.0.split_at_checked(n).ok_or_else(|| bad("it is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| bad("it is cut off"))
    }

    fn number(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A count of things that take a byte each at the least: never more than there are bytes left.
    fn count(&mut self) -> Result<usize> {
        let n = u32::from_be_bytes(self.array()?) as usize;
        if n > self.0.len() + 32 { Err(bad("a count is larger than the message")) } else { Ok(n) }
    }

    fn many<T>(&mut self, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let n = self.count()?;
        (0..n).map(|_| one(self)).collect()
    }

    fn flag(&mut self) -> Result<bool> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(bad("a flag is neither 0 nor 1")),
        }
    }

    fn text(&mut self) -> Result<String> {
        let n = self.count()?;
        String::from_utf8(self.take(n)?.to_vec()).map_err(|_| bad("a text is not UTF-8"))
    }

    fn link(&mut self) -> Result<Link> {
        match self.text()?.as_str() {
            "forward" => Ok(Link::Forward),
            "reverse" => Ok(Link::Reverse),
            _ => Err(bad("an unknown link")),
        }
    }

    fn mark(&mut self) -> Result<Mark> {
        Ok(Mark {
            generation: Generation(self.number()?),
            position: Position(self.number()?),
            hash: Hash(self.array()?),
        })
    }

    fn header(&mut self) -> Result<Header> {
        let (migration, link, mark) = (self.text()?, self.link()?, self.mark()?);
        let epoch = Epoch(self.number()?);
        let flags = self.take(1)?[0];
        if flags > 7 {
            return Err(bad("unknown flags"));
        }
        Ok(Header {
            migration,
            link,
            generation: mark.generation,
            position: mark.position,
            prev: mark.hash,
            epoch,
            drained: flags & 1 == 1,
            settled: flags & 2 == 2,
            heard: Position(self.number()?),
            sealed_ms: self.number()? as i64,
            owned: if flags & 4 == 4 { Some(self.scopes()?) } else { None },
        })
    }

    fn scopes(&mut self) -> Result<Scopes> {
        Ok(Scopes { rest: self.flag()?, except: self.many(Self::text)? })
    }

    fn turn(&mut self) -> Result<Turn> {
        let scope = if self.flag()? { Some(self.text()?) } else { None };
        Ok(Turn { scope, turn: self.number()? })
    }

    fn refs(&mut self) -> Result<Refs> {
        Ok(match self.take(1)?[0] {
            0 => Refs::Changes(
                self.many(|r| Ok(TableKeys { table: r.table()?, keys: r.many(|r| Ok((r.key()?, r.flag()?)))? }))?,
            ),
            1 => Refs::Chunk { table: self.table()?, range: self.range()?, fresh: self.flag()? },
            2 => Refs::Digest(self.many(Self::check)?),
            3 => match self.take(1)?[0] {
                0 => Refs::Control(Control::Begin { mapping: Hash(self.array()?) }),
                1 => Refs::Control(Control::Fence { cut: self.number()? }),
                2 => Refs::Control(Control::Open { turns: self.many(Self::turn)? }),
                3 => Refs::Control(Control::Abort { cut: self.number()? }),
                _ => return Err(bad("an unknown decision")),
            },
            _ => return Err(bad("an unknown kind of entry")),
        })
    }

    fn check(&mut self) -> Result<Check> {
        let (id, table) = (self.number()?, self.table()?);
        let what = match self.take(1)?[0] {
            0 => {
                let (range, digest) = (self.range()?, self.digest()?);
                let named = if self.flag()? { Some(self.many(Self::key)?) } else { None };
                Compare::Range { range, named, digest }
            }
            1 => {
                let (range, closed) = (self.range()?, self.flag()?);
                let rows = self.many(|r| Ok((r.key()?, u128::from_be_bytes(r.array()?))))?;
                Compare::Rows { range, closed, rows }
            }
            2 => Compare::KeySet { buckets: self.many(Self::digest)? },
            3 => Compare::Keys {
                of: u32::from_be_bytes(self.array()?),
                buckets: self.buckets()?,
                keys: self.many(Self::key)?,
            },
            4 => {
                let (range, closed) = (self.range()?, self.flag()?);
                let rows = self.many(|r| Ok((r.key()?, u128::from_be_bytes(r.array()?), r.row()?)))?;
                Compare::Near { range, closed, rows }
            }
            _ => return Err(bad("an unknown comparison")),
        };
        Ok(Check { id, table, what })
    }

    fn verdict(&mut self) -> Result<Verdict> {
        let (position, check, table) = (Position(self.number()?), self.number()?, self.table()?);
        let finding = match self.take(1)?[0] {
            0 => Finding::Equal,
            1 => Finding::Differs { target_rows: self.number()? },
            2 => Finding::Buckets(self.buckets()?),
            3 => {
                let more = self.number()?;
                Finding::Keys { keys: self.many(|r| Ok((r.key()?, r.difference()?)))?, more }
            }
            4 => Finding::Returned(self.many(Self::key)?),
            5 => {
                let (near, more) = (self.number()?, self.number()?);
                Finding::Near { near, keys: self.many(|r| Ok((r.key()?, r.difference()?)))?, more }
            }
            _ => return Err(bad("an unknown finding")),
        };
        Ok(Verdict { position, check, table, finding })
    }

    fn difference(&mut self) -> Result<Difference> {
        Ok(match self.take(1)?[0] {
            0 => Difference::Missing,
            1 => Difference::Extra,
            2 => Difference::Changed,
            _ => return Err(bad("an unknown difference")),
        })
    }

    fn range(&mut self) -> Result<Range> {
        let mut end = || if self.flag()? { self.key().map(Some) } else { Ok(None) };
        Ok(Range { after: end()?, upto: end()? })
    }

    fn digest(&mut self) -> Result<Digest> {
        Ok(Digest { rows: self.number()?, sum: u128::from_be_bytes(self.array()?) })
    }

    fn buckets(&mut self) -> Result<Vec<u32>> {
        self.many(|r| Ok(u32::from_be_bytes(r.array()?)))
    }

    fn key(&mut self) -> Result<Key> {
        let n = self.take(1)?[0];
        (0..n).map(|_| self.value()).collect::<Result<_>>().map(Key)
    }

    fn row(&mut self) -> Result<Row> {
        let n = self.count()?;
        (0..n).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<value::Value> {
        value::decode(&mut self.0).ok_or_else(|| bad("a value is malformed"))
    }

    fn table(&mut self) -> Result<TableId> {
        self.array().map(u16::from_be_bytes).map(TableId)
    }

    fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(bad("bytes are left over")) }
    }
}
