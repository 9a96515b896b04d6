//! Frames: one message of ours as one or more broker messages, and back.
//!
//! A server refuses messages above its payload limit, so an entry travels in parts. Each part names its entry
//! (epoch, position, and a nonce drawn when the entry was sent), its index and their number. Parts of two sendings can
//! therefore never become one entry, and an entry whose parts are not all there, in order and next to each other,
//! never arrives: its relay died, or another one wrote between.

use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::{BufMut, Bytes, BytesMut};

use crate::entry::{Epoch, Position};
use crate::error::{Error, Result};

/// What one entry may measure at most: a bound on what the receiver gathers before it can judge.
pub const MAX_MESSAGE_BYTES: u64 = 1024 * 1024 * 1024;

pub const HEADER_BYTES: usize = 44;

const MAGIC: [u8; 2] = *b"ml";
const VERSION: u8 = 1;
/// Room that is taken before the bytes are there; a header alone must not make us take a gigabyte.
const MAX_TRUSTED_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Announce = 1,
    Entry = 2,
    Report = 3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    kind: Kind,
    epoch: Epoch,
    position: Position,
    index: u32,
    count: u32,
    total_bytes: u64,
    nonce: u64,
}

/// Cuts `message` into payloads of at most `part_bytes` plus [`HEADER_BYTES`], one at a time.
pub fn split(
    kind: Kind,
    epoch: Epoch,
    position: Position,
    message: &Bytes,
    part_bytes: usize,
) -> impl Iterator<Item = Bytes> + Send {
    let (nonce, total_bytes, part_bytes) = (nonce(), message.len() as u64, part_bytes.max(1));
    let count = message.len().div_ceil(part_bytes).max(1) as u32;
    let message = message.clone();
    (0..count).map(move |index| {
        let start = index as usize * part_bytes;
        let end = start.saturating_add(part_bytes).min(message.len());
        write(Head { kind, epoch, position, index, count, total_bytes, nonce }, &message[start..end])
    })
}

/// Differs between sendings, also between processes.
fn nonce() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn write(head: Head, part: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + part.len());
    out.put_slice(&MAGIC);
    out.put_u8(VERSION);
    out.put_u8(head.kind as u8);
    out.put_u64(head.epoch.0);
    out.put_u64(head.position.0);
    out.put_u32(head.index);
    out.put_u32(head.count);
    out.put_u64(head.total_bytes);
    out.put_u64(head.nonce);
    out.put_slice(part);
    out.freeze()
}

/// `None`: not a message of ours.
fn read(payload: &[u8]) -> Result<Option<Head>> {
    let Some(header) = payload.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    if header[..2] != MAGIC {
        return Ok(None);
    }
    if header[2] != VERSION {
        return Err(Error::give_up(format!("the stream holds messages of format {}, known is {VERSION}", header[2]))
            .hint("run the same version of migrate on both sides"));
    }
    let kind = match header[3] {
        1 => Kind::Announce,
        2 => Kind::Entry,
        3 => Kind::Report,
        _ => return Ok(None),
    };
    let number = |at: usize, len: usize| header[at..at + len].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    Ok(Some(Head {
        kind,
        epoch: Epoch(number(4, 8)),
        position: Position(number(12, 8)),
        index: number(20, 4) as u32,
        count: number(24, 4) as u32,
        total_bytes: number(28, 8),
        nonce: number(36, 8),
    }))
}

/// Puts parts together, strictly in order.
#[derive(Default)]
pub struct Assembler {
    partial: Option<(Head, BytesMut)>,
}

impl Assembler {
    /// Forgets an incomplete message.
    pub fn clear(&mut self) {
        self.partial = None;
    }

    /// The whole message that this payload completes. What is not ours is dropped, and so is an incomplete message
    /// that anything else follows.
    pub fn push(&mut self, payload: &Bytes) -> Result<Option<(Kind, Bytes)>> {
        let partial = self.partial.take();
        let Some(head) = read(payload)? else { return Ok(None) };
        if head.total_bytes > MAX_MESSAGE_BYTES {
            return Err(too_large(head.position, head.total_bytes));
        }
        let part = payload.slice(HEADER_BYTES..);
        if (head.index, head.count) == (0, 1) {
            return Ok((part.len() as u64 == head.total_bytes).then_some((head.kind, part)));
        }
        let mut whole = match partial {
            None if head.index == 0 => BytesMut::with_capacity(head.total_bytes.min(MAX_TRUSTED_BYTES) as usize),
            Some(_) if head.index == 0 => BytesMut::new(),
            Some((last, bytes)) if head == (Head { index: last.index + 1, ..last }) => bytes,
            _ => return Ok(None),
        };
        if (whole.len() + part.len()) as u64 > head.total_bytes {
            return Ok(None);
        }
        if whole.capacity() < whole.len() + part.len() {
            // Nobody fakes what has already come.
            let rest = head.total_bytes as usize - whole.len();
            whole.reserve(if whole.len() as u64 >= MAX_TRUSTED_BYTES { rest } else { part.len() });
        }
        whole.extend_from_slice(&part);
        if head.index + 1 < head.count {
            self.partial = Some((head, whole));
            return Ok(None);
        }
        Ok((whole.len() as u64 == head.total_bytes).then(|| (head.kind, whole.freeze())))
    }
}

pub fn too_large(position: Position, bytes: u64) -> Error {
    Error::give_up(format!("entry {position} has {bytes} bytes, at most {MAX_MESSAGE_BYTES} can travel"))
        .hint("lower `backfill.chunk_bytes`; a single row of that size can't be moved over a stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(kind: Kind, position: u64, message: &[u8]) -> Vec<Bytes> {
        split(kind, Epoch(7), Position(position), &Bytes::copy_from_slice(message), 4).collect()
    }

    fn feed<'a>(payloads: impl IntoIterator<Item = &'a Bytes>) -> Vec<Bytes> {
        let mut assembler = Assembler::default();
        payloads.into_iter().filter_map(|p| assembler.push(p).unwrap()).map(|(_, message)| message).collect()
    }

    #[test]
    fn whole_messages_come_back() {
        for message in ["", "abc", "abcd", "abcde", "abcdefghijkl"] {
            let parts = parts(Kind::Entry, 1, message.as_bytes());
            assert_eq!(feed(&parts), [message]);
        }
    }

    #[test]
    fn an_incomplete_message_never_arrives() {
        let (a, b) = (parts(Kind::Entry, 1, b"aaaabbbbcccc"), parts(Kind::Entry, 2, b"dddd"));
        assert_eq!(feed([&a[0], &a[1], &b[0]]), ["dddd"]);
        assert_eq!(feed([&a[0], &a[2]]), [""; 0]);
        assert_eq!(feed([&a[1], &a[2]]), [""; 0]);
        assert_eq!(feed([&a[0], &a[1], &a[1], &a[2]]), [""; 0]);
        assert_eq!(feed([&a[0], &a[1], &b[0], &a[2]]), ["dddd"]);
        let foreign = Bytes::from_static(b"not ours");
        assert_eq!(feed([&a[0], &a[1], &foreign, &a[2], &a[0], &a[1], &a[2]]), ["aaaabbbbcccc"]);
    }

    #[test]
    fn parts_of_two_sendings_do_not_mix() {
        let (a, b) = (parts(Kind::Entry, 1, b"aaaabbbb"), parts(Kind::Entry, 1, b"ccccdddd"));
        assert_eq!(feed([&a[0], &b[1]]), [""; 0]);
        assert_eq!(feed([&a[0], &b[0], &b[1]]), ["ccccdddd"]);
    }

    #[test]
    fn what_is_too_large_or_newer_is_refused_loudly() {
        let head = Head {
            kind: Kind::Entry,
            epoch: Epoch(1),
            position: Position(9),
            index: 0,
            count: 9000,
            total_bytes: MAX_MESSAGE_BYTES + 1,
            nonce: 1,
        };
        let error = Assembler::default().push(&write(head, b"x")).unwrap_err();
        assert!(error.message().contains("entry 9 has 1073741825 bytes"), "{error}");
        let mut newer = write(head, b"x").to_vec();
        newer[2] = 2;
        assert!(Assembler::default().push(&newer.into()).unwrap_err().message().contains("format 2"));
    }
}
