//! Handing over: how a relay brings the last changes behind a fence, and tells the receiver that it owns the data.
//!
//! [`Handover`] is pure: it says what to seal next and hears what became of it. First everything that is dirty; then a
//! digest of each key that changed since the last comparison of everything, so that no key is handed over on trust; then
//! the `fence` entry. When the receiver has confirmed that one and every digest was equal, the sender may decide.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::entry::{Control, Finding, Mark, Position, TableId, TableKeys, Verdict};
use crate::error::{Error, Kind, Result};
use crate::store::{Decided, Sealed, Side, Task, TaskKind, Work};
use crate::value::Key;

use super::relay::Relay;

/// Keys that changed since the last full comparison, at the most; beyond it another one must be made.
pub const RECENT_MAX: usize = 50_000;
/// Keys in one digest.
const NAMED_KEYS: usize = 2_000;
/// Above any id that a pass gives out.
const FIRST_ID: u64 = 1 << 48;

/// What changed since a comparison of everything began that found no difference.
#[derive(Debug, Default)]
pub struct Recent {
    /// Since the pass that is running began.
    collecting: Option<BTreeMap<TableId, HashMap<Vec<u8>, Key>>>,
    /// Since the last clean one began.
    since: Option<BTreeMap<TableId, HashMap<Vec<u8>, Key>>>,
}

impl Recent {
    pub fn pass_begins(&mut self) {
        self.collecting = Some(BTreeMap::new());
    }

    pub fn pass_ends(&mut self, is_clean: bool) {
        let collected = self.collecting.take();
        self.since = if is_clean { collected } else { None };
    }

    /// Both stores were just found equal, key by key, and nobody has written since.
    pub fn begins_equal(&mut self) {
        self.since = Some(BTreeMap::new());
    }

    pub fn forget(&mut self) {
        *self = Self::default();
    }

    pub fn changed(&mut self, tables: &[TableKeys]) {
        for kept in [&mut self.collecting, &mut self.since] {
            let Some(all) = kept else { continue };
            for t in tables {
                let keys = all.entry(t.table).or_default();
                keys.extend(t.keys.iter().map(|(key, _)| (key.canonical(), key.clone())));
            }
            if all.values().map(HashMap::len).sum::<usize>() > RECENT_MAX {
                *kept = None;
            }
        }
    }

    /// Whether everything was compared, and few enough keys changed since.
    pub fn is_known(&self) -> bool {
        self.since.is_some()
    }

    fn tasks(&self) -> Option<VecDeque<Task>> {
        let mut tasks = VecDeque::new();
        for (&table, keys) in self.since.as_ref()? {
            let keys: Vec<Key> = keys.values().cloned().collect();
            for page in keys.chunks(NAMED_KEYS) {
                let id = FIRST_ID + tasks.len() as u64;
                tasks.push_back(Task { id, table, what: TaskKind::Named { keys: page.to_vec() } });
            }
        }
        Some(tasks)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// What is dirty comes first.
    Draining,
    Comparing(VecDeque<Task>),
    Fencing,
    /// Sealed; to be confirmed.
    Fenced(Mark),
}

/// One attempt, from the fence to the decision.
pub struct Handover {
    pub cut: u64,
    stage: Stage,
    /// Digests whose verdict is missing.
    open: Vec<u64>,
    reply: Option<oneshot::Sender<Result<Mark>>>,
}

impl Handover {
    pub fn new(cut: u64, reply: oneshot::Sender<Result<Mark>>) -> Self {
        Self { cut, stage: Stage::Draining, open: vec![], reply: Some(reply) }
    }

    pub fn is_draining(&self) -> bool {
        self.stage == Stage::Draining
    }

    /// What to seal next. `caught_up`: nothing was dirty in a snapshot that was taken behind the fence.
    pub fn work(&mut self, caught_up: bool, recent: &Recent) -> Work {
        if self.stage == Stage::Draining && caught_up {
            match recent.tasks() {
                Some(tasks) => self.stage = Stage::Comparing(tasks),
                None => {
                    let text = "too many keys changed since everything was compared, or it never was";
                    self.fail(Error::new(Kind::Gate, text).hint("`migrate verify PLAN`, then again"));
                    return Work::Nothing;
                }
            }
        }
        match &self.stage {
            Stage::Comparing(tasks) => match tasks.front() {
                Some(task) => Work::Compare(vec![task.clone()]),
                None => {
                    self.stage = Stage::Fencing;
                    Work::Fence { cut: self.cut }
                }
            },
            Stage::Fencing => Work::Fence { cut: self.cut },
            Stage::Draining | Stage::Fenced(_) => Work::Nothing,
        }
    }

    pub fn sealed(&mut self, work: &Work, sealed: &Sealed) {
        match (work, &mut self.stage) {
            (Work::Compare(asked), Stage::Comparing(tasks)) if sealed.entries.iter().any(|e| e.name == "digest") => {
                self.open.extend(asked.iter().map(|t| t.id));
                tasks.pop_front();
            }
            (Work::Fence { .. }, Stage::Fencing) => {
                if let Some(entry) = sealed.entries.iter().find(|e| e.name == "control") {
                    self.stage = Stage::Fenced(entry.mark);
                }
            }
            _ => {}
        }
    }

    pub fn heard(&mut self, verdict: &Verdict) {
        let was = self.open.len();
        self.open.retain(|id| *id != verdict.check);
        let equal = match &verdict.finding {
            Finding::Equal => true,
            Finding::Near { keys, more, .. } => keys.is_empty() && *more == 0,
            _ => false,
        };
        if self.open.len() < was && !equal {
            let text = "a key that changed since everything was compared differs between the stores";
            self.fail(Error::changed(text).hint("`migrate verify PLAN` names it, `--repair` mends it"));
        }
    }

    pub fn confirmed(&mut self, position: Position) {
        if let Stage::Fenced(mark) = self.stage
            && mark.position <= position
            && self.open.is_empty()
            && let Some(reply) = self.reply.take()
        {
            let _ = reply.send(Ok(mark));
        }
    }

    /// Where the fence entry is, once the receiver has it and everything was equal.
    pub fn fence(&self) -> Option<Mark> {
        match (&self.stage, &self.reply) {
            (Stage::Fenced(mark), None) if self.open.is_empty() => Some(*mark),
            _ => None,
        }
    }

    pub fn fail(&mut self, error: Error) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(error));
        }
    }
}

/// What a decision came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    pub turn: u64,
    /// Of the `open` entry: when it is confirmed, the receiver takes writes.
    pub position: Position,
}

impl Relay {
    /// Gives the data up, if all that was proven still holds. `Gate` where it does not.
    pub(super) async fn decide(&mut self, cut: u64) -> Result<Opened> {
        let fence = self.handover.as_ref().filter(|h| h.cut == cut).and_then(Handover::fence);
        if fence != Some(self.head) {
            return Err(Error::new(Kind::Gate, "a write was accepted after the fence, or the fence is not sealed"));
        }
        let request = self.terms().request(&self.ends, &self.lease, &Work::Nothing, &[]);
        match self.ends.store.decide(request, cut).await? {
            Decided::No(why) => Err(Error::new(Kind::Gate, why)),
            Decided::Open { turn, sealed } => {
                self.handover = None;
                self.telling = Some(Opened { turn, position: sealed.head.position });
                self.note_sealed(&sealed, &Work::Nothing);
                self.send_unsent().await?;
                Ok(Opened { turn, position: sealed.head.position })
            }
        }
    }

    /// After a take-over: a sender that has given the data up tells so until it is confirmed, whoever decided it.
    pub(super) async fn remember_decision(&mut self) -> Result<()> {
        let gate = self.ends.store.gate(&self.ends.layout, Side::Source).await?;
        self.to_tell = gate.closed.then_some(Control::Open { turn: gate.turn });
        Ok(())
    }

    /// Whether the data ever changed its owner: then no generation begins by itself, since it could overwrite what only
    /// the other side has.
    pub(super) async fn refuse_to_begin_anew(&mut self, why: &str) -> Result<()> {
        let gate = self.ends.store.gate(&self.ends.layout, Side::Source).await?;
        if gate.turn == 0 && !gate.closed {
            return Ok(());
        }
        let text = format!("nothing is copied anew by itself after a cut over: {why}");
        Err(Error::changed(text)
            .hint("both links stand still and nothing was overwritten: `migrate status PLAN` shows both sides"))
    }

    pub(super) fn told(&mut self, work: &Work, sealed: &Sealed) {
        let Work::Tell(control) = work else { return };
        let Some(entry) = sealed.entries.iter().find(|e| e.name == "control") else { return };
        self.to_tell = None;
        if let Some((at, _)) = &mut self.pinged {
            *at = Some(entry.mark.position);
        }
        if let Control::Open { turn } = control {
            self.telling = Some(Opened { turn: *turn, position: entry.mark.position });
        }
    }
}
