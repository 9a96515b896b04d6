//! What the model is made of: two stores, two relays, a stream that may lose, repeat and reorder. Each step is one
//! transaction of the product, so whatever may come between two steps comes between two transactions.

use std::hash::{DefaultHasher, Hash, Hasher};

use migrate::entry as e;
use migrate::log::order::{Arrival, Course, Standing, Traces, confirmed, course, judge};

use crate::parts::{Dirty, Entry, KEEP, KEYS, Mark, Message, Pending, Relay, Rules, Source, Target, Values, What};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct World {
    pub source: Source,
    pub target: Target,
    pub relays: [Option<Relay>; 2],
    pub stream: Vec<Message>,
    /// What the applier reads next. It begins with the oldest whenever it begins.
    pub next: u8,
    pub restarts: u8,
    /// The last write of each key that its writer was told of.
    pub acknowledged: Values,
    pub backups: (Option<Box<Source>>, Option<Box<Target>>),
    /// How often each kind of thing has happened.
    pub writes: u8,
    pub fences: u8,
    pub wipes: u8,
    pub restores: u8,
    pub digests: u8,
    /// What must never be seen.
    pub wrong: Option<&'static str>,
    /// Both links stand still, and a person is asked.
    pub stopped: bool,
}

fn hash_of(prev: u64, mark: (u8, u8), epoch: u8, what: &What) -> u64 {
    let mut hasher = DefaultHasher::new();
    (prev, mark, epoch, what).hash(&mut hasher);
    hasher.finish()
}

impl World {
    /// Only the order of what is dirty matters: worlds that differ in nothing else are one.
    pub fn renumber(&mut self) {
        let mut all: Vec<&mut u8> = self.source.dirty.iter_mut().map(|d| &mut d.seq).collect();
        all.extend(self.source.pending.iter_mut().flat_map(|p| p.marks.iter_mut().map(|d| &mut d.seq)));
        let looked = self.relays.iter_mut().flatten().filter_map(|relay| relay.looked.as_mut()).flatten();
        all.extend(looked.map(|d| &mut d.seq));
        let mut order: Vec<u8> = all.iter().map(|seq| **seq).collect();
        order.sort_unstable();
        order.dedup();
        for seq in all {
            *seq = order.iter().position(|at| at == seq).map_or(0, |at| at as u8 + 1);
        }
        self.source.next_seq = order.len() as u8;
    }

    pub fn takes_writes_at_source(&self) -> bool {
        !self.source.fenced && !self.source.closed
    }

    // -- applications

    pub fn write_at_source(&mut self, keys: &[u8]) {
        self.writes += 1;
        for &key in keys {
            self.source.next_seq += 1;
            self.source.dirty.push(Dirty { seq: self.source.next_seq, key });
            self.source.rows[key as usize] = self.writes;
            self.acknowledged[key as usize] = self.writes;
        }
    }

    pub fn begin_write(&mut self, key: u8) {
        self.writes += 1;
        self.source.next_seq += 1;
        let marks = vec![Dirty { seq: self.source.next_seq, key }];
        self.source.pending = Some(Pending { marks, value: self.writes });
    }

    pub fn commit_write(&mut self, key: u8) {
        let Some(pending) = self.source.pending.take() else { return };
        self.source.dirty.extend(pending.marks);
        self.source.dirty.sort();
        self.source.rows[key as usize] = pending.value;
        self.acknowledged[key as usize] = pending.value;
    }

    pub fn write_at_target(&mut self, key: u8) {
        self.writes += 1;
        self.target.rows[key as usize] = self.writes;
        self.acknowledged[key as usize] = self.writes;
    }

    // -- relays

    pub fn take_lease(&mut self, r: usize) {
        self.source.epoch = self.source.epoch.max(self.relays[r].as_ref().map_or(0, |old| old.epoch)) + 1;
        let epoch = self.source.epoch;
        self.relays[r] = Some(Relay { epoch, ..Relay::default() });
        self.stream.push(Message::Announced(epoch));
    }

    fn is_ours(&self, rules: &Rules, relay: &Relay) -> bool {
        !rules.lease_is_proven || self.source.epoch == relay.epoch && self.source.head == relay.head
    }

    pub fn take_over(&mut self, rules: &Rules, r: usize) {
        let Some(mut relay) = self.relays[r].take() else { return };
        let report = self.target.mark;
        let traces = self.traces(&report);
        relay = Relay { epoch: relay.epoch, head: self.source.head, ready: true, ..Relay::default() };
        match course(&self.source.head.real(), &report.real(), traces) {
            Course::Continue => {}
            Course::RewindTo(mark) => self.rewind(&mut relay, Mark::of(&mark)),
            Course::BeginAgain => {
                let start = Mark { generation: self.source.head.generation, ..Mark::default() };
                self.rewind(&mut relay, start);
                self.begin(&mut relay, report.generation);
            }
            Course::NewGeneration if self.source.closed && rules.no_new_generation_behind_a_decision => {
                self.stopped = true;
            }
            Course::NewGeneration => self.begin(&mut relay, report.generation),
        }
        // What was decided is told again, whoever decided it, behind all that was undone.
        relay.to_tell = self.source.closed && !self.stopped;
        self.relays[r] = Some(relay);
    }

    fn traces(&self, report: &Mark) -> Traces {
        let head = self.source.head;
        let begun = |generation| self.source.log.iter().any(|(m, _)| m.generation == generation && m.position == 1);
        let known = match report.position {
            0 => head.generation == report.generation && begun(report.generation),
            _ => self.source.log.iter().any(|(m, _)| m == report),
        };
        Traces { known, unheard: self.source.confirmed == 0 && head.generation > 0 && begun(head.generation) }
    }

    fn rewind(&mut self, relay: &mut Relay, to: Mark) {
        let behind = |m: &Mark| m.generation == to.generation && m.position > to.position;
        let undone: Vec<What> =
            self.source.log.iter().filter(|(m, _)| behind(m)).map(|(_, what)| what.clone()).collect();
        for what in undone {
            match what {
                What::Changes(keys) => {
                    for (key, _) in keys {
                        self.source.next_seq += 1;
                        self.source.dirty.push(Dirty { seq: self.source.next_seq, key });
                    }
                }
                What::Chunk(_) => self.source.reached = false,
                _ => {}
            }
        }
        self.source.log.retain(|(m, _)| !behind(m));
        self.source.head = to;
        relay.head = to;
    }

    fn begin(&mut self, relay: &mut Relay, theirs: u8) {
        let generation = self.source.head.generation.max(theirs) + 1;
        self.source.reached = false;
        self.source.log.clear();
        self.source.confirmed = 0;
        self.source.head = Mark { generation, ..Mark::default() };
        relay.head = self.source.head;
        self.append(relay, What::Begin, true);
    }

    fn append(&mut self, relay: &mut Relay, what: What, drained: bool) {
        let before = relay.head;
        let position = before.position + 1;
        let hash = hash_of(before.hash, (before.generation, position), relay.epoch, &what);
        let mark = Mark { generation: before.generation, position, hash };
        let ghost = self.source.rows;
        self.source.log.push((mark, what.clone()));
        self.source.head = mark;
        relay.head = mark;
        relay.in_flight.push((position, drained));
        relay.unsent.push(Entry { mark, prev: before.hash, epoch: relay.epoch, drained, what, ghost });
    }

    /// What is dirty, at the most so many keys; then, if nothing is left, the range; then, if asked, a digest.
    pub fn seal(&mut self, rules: &Rules, r: usize, max: usize, digest: bool) {
        let Some(mut relay) = self.relays[r].take() else { return };
        if relay.ready && self.is_ours(rules, &relay) {
            let seen = relay.looked.take().unwrap_or_else(|| self.source.dirty.clone());
            let taken: Vec<Dirty> = seen.iter().take(max).copied().collect();
            let mut keys: Vec<u8> = taken.iter().map(|d| d.key).collect();
            keys.sort_unstable();
            keys.dedup();
            let drained = taken.len() == seen.len() && relay.in_flight.iter().all(|(_, drained)| *drained);
            let changes: Vec<(u8, u8)> = keys.iter().map(|&k| (k, self.source.rows[k as usize])).collect();
            self.forget_dirty(rules, &taken);
            if self.source.reached && !changes.is_empty() {
                self.append(&mut relay, What::Changes(changes), drained);
            }
            if drained && !self.source.reached {
                if digest && !rules.digest_behind_its_chunk {
                    self.digest(&mut relay);
                } else {
                    self.source.reached = true;
                    self.append(&mut relay, What::Chunk(self.source.rows), true);
                }
            } else if drained && relay.to_tell {
                relay.to_tell = false;
                self.append(&mut relay, What::Open, true);
            } else if drained && digest && !self.source.closed {
                self.digest(&mut relay);
            }
        }
        self.relays[r] = Some(relay);
    }

    fn digest(&mut self, relay: &mut Relay) {
        self.digests += 1;
        self.append(relay, What::Digest(self.source.rows), true);
    }

    fn forget_dirty(&mut self, rules: &Rules, taken: &[Dirty]) {
        if rules.delete_what_was_read {
            return self.source.dirty.retain(|d| !taken.contains(d));
        }
        let upto = taken.iter().map(|d| d.seq).max().unwrap_or_default();
        self.source.dirty.retain(|d| d.seq > upto);
        if let Some(pending) = &mut self.source.pending {
            pending.marks.retain(|d| d.seq > upto);
        }
    }

    pub fn send(&mut self, r: usize) {
        let Some(relay) = &mut self.relays[r] else { return };
        self.stream.extend(relay.unsent.drain(..).map(Message::Sealed));
    }

    pub fn confirm(&mut self, rules: &Rules, r: usize) {
        let standing = self.standing();
        let Some(relay) = self.relays[r].as_mut().filter(|relay| relay.ready) else { return };
        let mut heard = confirmed(e::Epoch(relay.epoch.into()), e::Generation(relay.head.generation.into()), &standing);
        if !rules.confirm_after_commit {
            // Told before it was committed, and then the target's process died.
            let next = self.stream.iter().filter_map(|m| match m {
                Message::Sealed(entry) if judged(rules, &standing, entry) != Arrival::Break => {
                    Some(entry.mark.position)
                }
                _ => None,
            });
            heard = heard.map(|at| at.max(e::Position(next.max().unwrap_or_default().into())));
        }
        let Some(position) = heard.map(|p| p.0 as u8) else { return };
        relay.in_flight.retain(|(at, _)| *at > position);
        if self.source.epoch == relay.epoch && position > self.source.confirmed {
            self.source.confirmed = position;
            self.source.log.retain(|(m, _)| m.position + KEEP > position);
        }
    }

    // -- the change of owner

    pub fn fence(&mut self) {
        self.fences += 1;
        self.source.fenced = true;
    }

    pub fn seal_fence(&mut self, rules: &Rules, r: usize) {
        let Some(mut relay) = self.relays[r].take() else { return };
        let quiet = self.source.dirty.is_empty() || !rules.decide_only_clean;
        if relay.ready && self.is_ours(rules, &relay) && self.source.reached && quiet {
            self.append(&mut relay, What::Fence, true);
            relay.fence = Some(relay.head);
        }
        self.relays[r] = Some(relay);
    }

    pub fn decide(&mut self, rules: &Rules, r: usize) {
        let Some(mut relay) = self.relays[r].take() else { return };
        let heard = relay.fence.is_some_and(|at| !relay.in_flight.iter().any(|(p, _)| *p <= at.position));
        let clean = self.source.dirty.is_empty() && relay.fence == Some(relay.head) || !rules.decide_only_clean;
        let fenced = self.source.fenced || !rules.decide_behind_the_fence;
        if relay.ready && self.is_ours(rules, &relay) && heard && clean && fenced {
            self.source.closed = true;
            self.append(&mut relay, What::Open, true);
        }
        self.relays[r] = Some(relay);
    }

    // -- the target

    fn standing(&self) -> Standing {
        Standing { mark: self.target.mark.real(), epoch: e::Epoch(self.target.epoch.into()) }
    }

    pub fn deliver(&mut self, rules: &Rules) {
        let Some(message) = self.stream.get(self.next as usize).cloned() else { return };
        self.next += 1;
        let entry = match message {
            Message::Announced(epoch) => {
                self.target.epoch = self.target.epoch.max(epoch);
                return;
            }
            Message::Sealed(entry) => entry,
        };
        match judged(rules, &self.standing(), &entry) {
            Arrival::Extends | Arrival::Begins => self.apply(entry),
            Arrival::Skip | Arrival::Break => {}
        }
    }

    fn apply(&mut self, entry: Entry) {
        let target = &mut self.target;
        let was_open = target.open;
        (target.mark, target.epoch) = (entry.mark, target.epoch.max(entry.epoch));
        match &entry.what {
            What::Begin => target.covered = false,
            What::Changes(changes) => changes.iter().for_each(|(key, value)| target.rows[*key as usize] = *value),
            What::Chunk(rows) => (target.rows, target.covered) = (*rows, true),
            What::Digest(rows) if *rows != target.rows => {
                self.wrong = Some("a digest differs, and nobody has tampered")
            }
            What::Digest(_) | What::Fence => {}
            What::Open => target.open = true,
        }
        if entry.drained && self.target.covered && !was_open && self.target.rows != entry.ghost && self.wrong.is_none()
        {
            self.wrong = Some("behind a drained entry the target is not the source's snapshot");
        }
    }

    // -- the end

    /// With no more faults: a relay takes over, everything is sealed, sent, applied and heard of. Whether both stores are
    /// then equal and somebody takes writes.
    pub fn ends_well(&self, rules: &Rules) -> bool {
        let mut world = self.clone();
        world.commit_write(1);
        if !world.source.closed {
            world.source.fenced = false;
        }
        world.relays = [None, None];
        for _ in 0..3 {
            (world.stream, world.next) = (vec![], 0);
            world.source.epoch = world.source.epoch.max(world.target.epoch);
            world.take_lease(0);
            world.deliver(rules);
            world.take_over(rules, 0);
            if world.stopped {
                return self.restores > 0;
            }
            for _ in 0..6 {
                world.seal(rules, 0, KEYS * 4, false);
                world.send(0);
                while (world.next as usize) < world.stream.len() {
                    world.deliver(rules);
                }
                world.confirm(rules, 0);
                if world.is_at_rest() && world.wrong == self.wrong {
                    return true;
                }
            }
        }
        false
    }

    fn is_at_rest(&self) -> bool {
        let told = self.target.open == self.source.closed;
        let equal = match self.target.open {
            true => self.target.rows == self.acknowledged,
            false => self.target.covered && self.target.rows == self.source.rows,
        };
        told && equal && self.source.dirty.is_empty()
    }
}

fn judged(rules: &Rules, standing: &Standing, entry: &Entry) -> Arrival {
    let m = entry.mark.real();
    let mut prev = Mark { hash: entry.prev, ..Mark::default() }.real().hash;
    if !rules.chain && entry.mark.position > 1 {
        prev = standing.mark.hash;
    }
    let header = e::Header {
        migration: String::new(),
        link: e::Link::Forward,
        generation: m.generation,
        position: m.position,
        epoch: e::Epoch(entry.epoch.into()),
        prev,
        drained: entry.drained,
        settled: true,
        heard: e::Position(0),
        sealed_ms: 0,
        owned: None,
    };
    let refs = match entry.what {
        What::Begin => e::Refs::Control(e::Control::Begin { mapping: e::Hash::default() }),
        _ => e::Refs::Changes(vec![]),
    };
    judge(standing, &header, &refs)
}
