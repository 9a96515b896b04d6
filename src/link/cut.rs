//! Handing over: how a relay brings the last changes behind a fence, and tells the receiver that it owns the data.
//!
//! [`Handover`] is pure: it says what to seal next and hears what became of it. First everything that is dirty; then a
//! digest of each key that changed since the last comparison of everything, so that no key is handed over on trust; then
//! the `fence` entry. When the receiver has confirmed that one and every digest was equal, the sender may decide.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::entry::{Control, Finding, Link, Mark, Position, TableId, TableKeys, Turn, Verdict};
use crate::error::{Error, Kind, Result};
use crate::store::{Decided, Sealed, Side, Task, TaskKind, Work};
use crate::task::failpoint;
use crate::value::Key;

use super::relay::Relay;

/// Keys that changed since the last full comparison, at the most; beyond it another one must be made.
pub const RECENT_MAX: usize = 50_000;
/// Keys in one digest.
const NAMED_KEYS: usize = 2_000;
/// So many are left for the time behind the fence.
const FEW_KEYS: usize = 50;
/// Under writes it never ends by itself.
const ROUNDS: u32 = 6;
/// Above any id that a pass gives out.
const FIRST_ID: u64 = 1 << 48;

type Changed = BTreeMap<TableId, HashMap<Vec<u8>, (Key, Position)>>;

/// What changed since a comparison of everything began that found no difference: each key, and where it was last sealed.
#[derive(Debug, Default)]
pub struct Recent {
    /// Since the pass that is running began.
    collecting: Option<Changed>,
    /// Since the last clean one began.
    since: Option<Changed>,
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

    pub fn changed(&mut self, tables: &[TableKeys], at: Position) {
        for kept in [&mut self.collecting, &mut self.since] {
            let Some(all) = kept else { continue };
            for t in tables {
                let keys = all.entry(t.table).or_default();
                keys.extend(t.keys.iter().map(|(key, _)| (key.canonical(), (key.clone(), at))));
            }
            if all.values().map(HashMap::len).sum::<usize>() > RECENT_MAX {
                *kept = None;
            }
        }
    }

    /// These keys were equal at a position: what has not changed behind it need not be compared again.
    fn equal(&mut self, table: TableId, keys: &[Key], at: Position) {
        let Some(changed) = self.since.as_mut().and_then(|all| all.get_mut(&table)) else { return };
        for key in keys {
            let bytes = key.canonical();
            if changed.get(&bytes).is_some_and(|(_, last)| *last <= at) {
                changed.remove(&bytes);
            }
        }
    }

    /// Whether everything was compared, and few enough keys changed since.
    pub fn is_known(&self) -> bool {
        self.since.is_some()
    }

    fn len(&self) -> usize {
        self.since.iter().flat_map(BTreeMap::values).map(HashMap::len).sum()
    }

    fn tasks(&self) -> Option<VecDeque<Task>> {
        let mut tasks = VecDeque::new();
        for (&table, keys) in self.since.as_ref()? {
            let keys: Vec<Key> = keys.values().map(|(key, _)| key.clone()).collect();
            for page in keys.chunks(NAMED_KEYS) {
                let id = FIRST_ID + tasks.len() as u64;
                tasks.push_back(Task { id, table, what: TaskKind::Named { keys: page.to_vec() } });
            }
        }
        Some(tasks)
    }
}

/// Before the fence: what changed since everything was compared is compared, again and again, until little is left for
/// the time in which nobody writes.
pub struct Settling {
    tasks: VecDeque<Task>,
    /// Digests under way, and where they were sealed.
    open: HashMap<u64, (Task, Position)>,
    rounds: u32,
    next_id: u64,
    reply: Option<oneshot::Sender<Result<()>>>,
}

impl Settling {
    pub fn new(reply: oneshot::Sender<Result<()>>) -> Self {
        Self { tasks: VecDeque::new(), open: HashMap::new(), rounds: 0, next_id: 2 * FIRST_ID, reply: Some(reply) }
    }

    pub fn is_done(&self) -> bool {
        self.reply.is_none()
    }

    pub fn work(&mut self, recent: &Recent) -> Work {
        if self.tasks.is_empty() && self.open.is_empty() {
            if recent.len() <= FEW_KEYS || self.rounds >= ROUNDS {
                self.answer(Ok(()));
                return Work::Nothing;
            }
            self.rounds += 1;
            self.tasks = recent.tasks().unwrap_or_default();
            for task in &mut self.tasks {
                (task.id, self.next_id) = (self.next_id, self.next_id + 1);
            }
        }
        self.tasks.front().map_or(Work::Nothing, |task| Work::Compare(vec![task.clone()]))
    }

    pub fn sealed(&mut self, work: &Work, sealed: &Sealed) {
        let Work::Compare(asked) = work else { return };
        let Some(entry) = sealed.entries.iter().find(|e| e.name == "digest") else { return };
        if self.tasks.front().is_some_and(|task| asked.first().is_some_and(|a| a.id == task.id))
            && let Some(task) = self.tasks.pop_front()
        {
            self.open.insert(task.id, (task, entry.mark.position));
        }
    }

    pub fn heard(&mut self, verdict: &Verdict, recent: &mut Recent) {
        let Some((task, at)) = self.open.remove(&verdict.check) else { return };
        let TaskKind::Named { keys } = &task.what else { return };
        if is_equal(&verdict.finding) {
            recent.equal(task.table, keys, at);
        } else {
            self.answer(Err(differs()));
        }
    }

    pub fn answer(&mut self, result: Result<()>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(result);
        }
    }
}

fn is_equal(finding: &Finding) -> bool {
    match finding {
        Finding::Equal => true,
        Finding::Near { keys, more, .. } => keys.is_empty() && *more == 0,
        _ => false,
    }
}

fn differs() -> Error {
    let text = "a key that changed since everything was compared differs between the stores";
    Error::changed(text).hint("`migrate verify PLAN` names it, `--repair` mends it")
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// What is dirty comes first.
    Draining,
    Comparing(VecDeque<Task>),
    Fencing,
    /// Sealed; to be confirmed.
    Fenced(Mark),
    /// A write of what is fenced came behind it: nothing is decided.
    Breached,
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
            Stage::Draining | Stage::Fenced(_) | Stage::Breached => Work::Nothing,
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

    /// A write of what is fenced came after the fence's entry.
    pub fn breached(&mut self) {
        if let Stage::Fenced(_) = self.stage {
            self.stage = Stage::Breached;
            self.fail(Error::new(Kind::Gate, "a write was accepted after the fence"));
        }
    }

    pub fn heard(&mut self, verdict: &Verdict) {
        let was = self.open.len();
        self.open.retain(|id| *id != verdict.check);
        if self.open.len() < was && !is_equal(&verdict.finding) {
            self.fail(differs());
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub turns: Vec<Turn>,
    /// Of the `open` entry: when it is confirmed, the receiver takes writes.
    pub position: Position,
}

impl Relay {
    /// Gives the data up, if all that was proven still holds. `Gate` where it does not.
    pub(super) async fn decide(&mut self, cut: u64) -> Result<Opened> {
        let fence = self.handover.as_ref().filter(|h| h.cut == cut).and_then(Handover::fence);
        // Where only a part is handed over others write on, and the store has told of each write that is of that part.
        if fence.is_none() || !self.ends.layout.is_scoped() && fence != Some(self.head) {
            return Err(Error::new(Kind::Gate, "a write was accepted after the fence, or the fence is not sealed"));
        }
        let request = self.terms().request(&self.ends, &self.lease, &Work::Nothing, &[]);
        match self.ends.store.decide(request, cut).await? {
            Decided::No(why) => Err(Error::new(Kind::Gate, why)),
            Decided::Open { turns, sealed } => {
                // Decided, and nobody has heard of it.
                failpoint("cutover.committed");
                self.handover = None;
                let opened = Opened { turns, position: sealed.head.position };
                self.telling = Some(opened.clone());
                self.note_sealed(&sealed, &Work::Nothing);
                self.send_unsent().await?;
                Ok(opened)
            }
        }
    }

    /// After a take-over: a sender that has given the data up tells so until it is confirmed, whoever decided it.
    pub(super) async fn remember_decision(&mut self) -> Result<()> {
        let gate = self.ends.store.gate(&self.ends.layout, Side::Source).await?;
        let given = u64::from(self.ends.layout.link() == Link::Forward);
        // What it never owned it did not give.
        let mine = gate.parts().filter(|p| p.closed && p.turn > 0 && p.turn % 2 == given);
        let turns: Vec<Turn> = mine.map(|p| p.at(p.turn)).collect();
        self.to_tell = (!turns.is_empty()).then_some(Control::Open { turns });
        Ok(())
    }

    /// Whether the data ever changed its owner: then no generation begins by itself, since it could overwrite what only
    /// the other side has.
    pub(super) async fn refuse_to_begin_anew(&mut self, why: &str) -> Result<()> {
        let gate = self.ends.store.gate(&self.ends.layout, Side::Source).await?;
        if gate.turns() == 0 && gate.is_open() {
            return Ok(());
        }
        let text = format!("nothing is copied anew by itself after a cut over: {why}");
        Err(Error::changed(text)
            .hint("both links stand still and nothing was overwritten: `migrate survive PLAN --side source` (or target) compares \
                   them, and names the side that counts"))
    }

    pub(super) fn told(&mut self, work: &Work, sealed: &Sealed) {
        let Work::Tell(control) = work else { return };
        let Some(entry) = sealed.entries.iter().find(|e| e.name == "control") else { return };
        self.to_tell = None;
        if let Some((at, _)) = &mut self.pinged {
            *at = Some(entry.mark.position);
        }
        if let Control::Open { turns } = control {
            self.telling = Some(Opened { turns: turns.clone(), position: entry.mark.position });
        }
    }
}
