//! The simplest relay and applier there can be: seals, decodes, judges by the pure rules of `log::order`, applies.
//! Nothing is lost on the way unless a test loses it.

use std::collections::BTreeMap;

use bytes::Bytes;
use migrate::entry::{Difference, Entry, Finding, Generation, Hash, Link, Mark, Position, TableId, Verdict};
use migrate::error::{Error, Result};
use migrate::log::codec::read_entry;
use migrate::log::order::{Arrival, Standing, judge};
use migrate::store::{Applied, Lease, SealRequest, Sealed, Side, Task, TaskKind, Work};
use migrate::value::Key;

use crate::rig::Rig;

pub const MAPPING: Hash = Hash([7; 32]);
const TTL_MS: i64 = 60_000;

/// Both ends' leases, and where they stand.
pub struct Wire<'a> {
    pub rig: &'a Rig,
    pub lease: Lease,
    pub applier: Lease,
    pub head: Mark,
    pub at: Standing,
    pub max_keys: u64,
    pub max_bytes: u64,
    pub chunk_rows: u64,
    pub chunk_bytes: u64,
    /// As the relay says once the backfill is done; before, a refused row goes back.
    pub settled: bool,
    pub returned: Vec<(TableId, Vec<Key>)>,
    pub heard: Position,
    /// All that was ever sealed, by generation and position; a rewound tail is overwritten.
    pub log: BTreeMap<(u64, u64), Bytes>,
    /// How each applied entry was called and whether it was drained.
    pub applied: Vec<(String, bool)>,
    next_task: u64,
}

pub fn decode(bytes: &Bytes) -> Entry {
    read_entry(bytes).unwrap()
}

impl<'a> Wire<'a> {
    pub async fn take(rig: &'a Rig) -> Self {
        let take = async |end: &crate::rig::End, side| {
            end.store.take_lease(rig.m(), Link::Forward, side, "test", TTL_MS).await.unwrap()
        };
        let (lease, applier) = (take(&rig.source, Side::Source).await, take(&rig.target, Side::Target).await);
        let head = rig.source.store.link_state(rig.m(), Link::Forward, Side::Source).await.unwrap().mark;
        let state = rig.target.store.link_state(rig.m(), Link::Forward, Side::Target).await.unwrap();
        Wire {
            rig,
            lease,
            applier,
            head,
            at: Standing { mark: state.mark, epoch: state.epoch },
            max_keys: 1_000,
            max_bytes: 1 << 20,
            chunk_rows: 1_000,
            chunk_bytes: 1 << 20,
            settled: true,
            returned: vec![],
            heard: Position(0),
            log: BTreeMap::new(),
            applied: vec![],
            next_task: 1,
        }
    }

    /// Takes the leases and begins generation 1 on both sides.
    pub async fn open(rig: &'a Rig) -> Self {
        let mut wire = Self::take(rig).await;
        wire.begin(1).await;
        wire
    }

    pub async fn begin(&mut self, generation: u64) {
        let work = Work::Begin { generation: Generation(generation), mapping: MAPPING, copied: false };
        let sealed = self.seal(work).await.unwrap();
        self.deliver(&sealed).await;
    }

    /// The whole way: opened, backfilled, and nothing dirty.
    pub async fn synced(rig: &'a Rig) -> Self {
        let mut wire = Self::open(rig).await;
        wire.backfill().await;
        wire.drain().await;
        wire
    }

    pub fn request<'r>(&'r self, work: Work, may_drain: bool) -> SealRequest<'r> {
        SealRequest {
            layout: &self.rig.layout,
            lease: &self.lease,
            head: self.head,
            max_keys: self.max_keys,
            max_bytes: self.max_bytes,
            may_drain,
            settled: self.settled,
            heard: self.heard,
            work,
            returned: &self.returned,
        }
    }

    /// Seals once; everything before must have been delivered.
    pub async fn seal(&mut self, work: Work) -> Result<Sealed> {
        self.seal_as(work, true).await
    }

    pub async fn seal_as(&mut self, work: Work, may_drain: bool) -> Result<Sealed> {
        let sealed = self.rig.source.store.seal(self.request(work, may_drain)).await?;
        self.returned.clear();
        self.head = sealed.head;
        for entry in &sealed.entries {
            let place = (entry.mark.generation.0, entry.mark.position.0);
            self.log.insert(place, entry.bytes.clone());
        }
        Ok(sealed)
    }

    /// What the last seal made, decoded.
    pub fn entries(&self, sealed: &Sealed) -> Vec<Entry> {
        sealed.entries.iter().map(|e| decode(&e.bytes)).collect()
    }

    /// As an applier would: judged first, then applied each by itself.
    pub async fn offer(&mut self, entry: &Entry) -> Result<Option<Applied>> {
        match judge(&self.at, &entry.header, &entry.refs) {
            Arrival::Extends | Arrival::Begins => self.apply(std::slice::from_ref(entry)).await.map(Some),
            Arrival::Skip | Arrival::Break => Ok(None),
        }
    }

    pub async fn apply(&mut self, entries: &[Entry]) -> Result<Applied> {
        let (target, layout) = (&self.rig.target.store, &self.rig.layout);
        let done = target.apply(layout, &self.applier, self.at.mark, entries).await?;
        if let Applied::Done { verdicts, .. } = &done {
            let last = entries.last().unwrap();
            self.at = Standing { mark: last.mark(), epoch: last.header.epoch };
            self.applied.extend(entries.iter().map(|e| (e.refs.name().to_owned(), e.header.drained)));
            for verdict in verdicts {
                if let Finding::Returned(keys) = &verdict.finding {
                    self.returned.push((verdict.table, keys.clone()));
                }
            }
        }
        Ok(done)
    }

    /// Delivers what was sealed, confirms it, and gives the verdicts.
    pub async fn deliver(&mut self, sealed: &Sealed) -> Vec<Verdict> {
        self.try_deliver(sealed).await.unwrap()
    }

    pub async fn try_deliver(&mut self, sealed: &Sealed) -> Result<Vec<Verdict>> {
        let mut all = Vec::new();
        for entry in self.entries(sealed) {
            match self.offer(&entry).await? {
                Some(Applied::Done { verdicts, .. }) => all.extend(verdicts),
                Some(Applied::Refused(r)) => return Err(Error::give_up(format!("refused: {}", r.reason))),
                other => return Err(Error::give_up(format!("{other:?} at {}", entry.header.position))),
            }
        }
        if !sealed.entries.is_empty() {
            let (source, layout) = (&self.rig.source.store, &self.rig.layout);
            source.confirm(layout, &self.lease, self.at.mark.position, 1_000).await?;
            self.heard = self.at.mark.position;
        }
        Ok(all)
    }

    /// Seals and delivers until nothing is dirty. How many entries that took.
    pub async fn drain(&mut self) -> usize {
        self.try_drain().await.unwrap()
    }

    pub async fn try_drain(&mut self) -> Result<usize> {
        for entries in 0..500 {
            let sealed = self.seal(Work::Nothing).await?;
            if sealed.entries.is_empty() && self.returned.is_empty() {
                assert!(sealed.drained);
                return Ok(entries);
            }
            self.try_deliver(&sealed).await?;
        }
        panic!("it does not end");
    }

    pub async fn chunk(&mut self, table: u16) -> Sealed {
        let work = Work::Chunk { table: TableId(table), max_rows: self.chunk_rows, max_bytes: self.chunk_bytes };
        let sealed = self.seal(work).await.unwrap();
        self.deliver(&sealed).await;
        sealed
    }

    /// All tables, to their ends. The chunks' row counts.
    pub async fn backfill(&mut self) -> Vec<u64> {
        let mut chunks = Vec::new();
        while let Some(table) = self.pending().await {
            let sealed = self.chunk(table).await;
            chunks.extend(sealed.entries.iter().filter(|e| e.name == "chunk").map(|e| e.rows));
            assert!(chunks.len() < 5_000, "the backfill does not end");
        }
        chunks
    }

    /// The first table whose backfill is not at its end.
    pub async fn pending(&self) -> Option<u16> {
        let progress = self.rig.source.store.progress(&self.rig.layout).await.unwrap();
        progress.iter().find(|(_, p)| !p.done).map(|(t, _)| t.0)
    }

    pub fn task(&mut self, table: u16, what: TaskKind) -> Task {
        self.next_task += 1;
        Task { id: self.next_task, table: TableId(table), what }
    }

    /// Seals one comparison with whatever is dirty and gives the target's finding.
    pub async fn compare(&mut self, table: u16, what: TaskKind) -> Finding {
        self.compare_to_end(table, what).await.0
    }

    /// The finding, and the key that the next page begins behind.
    async fn compare_to_end(&mut self, table: u16, what: TaskKind) -> (Finding, Option<Key>) {
        self.drain().await;
        let task = self.task(table, what);
        let mut sealed = self.seal(Work::Compare(vec![task.clone()])).await.unwrap();
        assert_eq!(sealed.ends.len(), 1);
        let verdicts = self.deliver(&sealed).await;
        let verdict = verdicts.into_iter().find(|v| v.check == task.id).expect("a verdict");
        (verdict.finding, sealed.ends.pop().and_then(|(_, end, _)| end))
    }

    /// Page by page, in the source's order.
    pub async fn pages(&mut self, table: u16, max_rows: u64) -> Vec<Finding> {
        let (mut findings, mut after) = (Vec::new(), None);
        loop {
            let (finding, end) = self.compare_to_end(table, TaskKind::RangeAfter { after, max_rows }).await;
            findings.push(finding);
            if end.is_none() {
                return findings;
            }
            after = end;
        }
    }

    pub async fn whole(&mut self, table: u16) -> Finding {
        self.compare(table, TaskKind::RangeAfter { after: None, max_rows: 1_000_000 }).await
    }

    pub async fn assert_digests_equal(&mut self) {
        for table in self.rig.layout.tables.iter().map(|t| t.id.0).collect::<Vec<_>>() {
            assert_eq!(self.whole(table).await, Finding::Equal, "rows of table {table}");
            let pages = self.pages(table, 3).await;
            assert!(pages.iter().all(|f| *f == Finding::Equal), "pages of table {table}: {pages:?}");
            assert_eq!(self.compare(table, TaskKind::KeySet { buckets: 8 }).await, Finding::Equal, "keys of {table}");
        }
    }

    /// Keys that only the target has; any other difference is none that a test expects.
    pub async fn extra_keys(&mut self, table: u16) -> Vec<Key> {
        match self.compare(table, TaskKind::Keys { of: 1, buckets: vec![0] }).await {
            Finding::Equal => vec![],
            Finding::Keys { keys, more: 0 } => {
                assert!(keys.iter().all(|(_, d)| *d == Difference::Extra), "{keys:?}");
                keys.into_iter().map(|(k, _)| k).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// After an error in passing: what of the last seal is in the log is not known, so the target decides.
    pub async fn take_over_from_itself(&mut self) {
        let state = self.rig.source.store.link_state(self.rig.m(), Link::Forward, Side::Source).await.unwrap();
        self.head = state.mark;
        for _ in 0..100 {
            match self.rewind_to_target().await {
                Ok(()) => return,
                Err(e) => assert!(e.is_retry(), "{e}"),
            }
        }
        panic!("it never gets through");
    }

    /// As a relay that takes over: undo what the target does not have.
    pub async fn rewind_to_target(&mut self) -> Result<()> {
        let (source, layout) = (&self.rig.source.store, &self.rig.layout);
        source.rewind(layout, &self.lease, self.head, self.at.mark).await?;
        self.head = self.at.mark;
        self.returned.clear();
        Ok(())
    }
}
