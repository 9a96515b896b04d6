//! The transport inside one process: no broker, nothing to install, and the same contract.
//!
//! It holds a bounded queue of messages one way and the latest report the other way. A new announcement takes the
//! queue over from the sender before it: what that one had sent is ahead, and whatever it sends later is refused.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::{Incoming, Receiver, Sender, Transport};
use crate::entry::{Epoch, Position};
use crate::error::{Error, Result};

/// Bytes that may wait for the receiver before `has_room` says no.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// Cheap to clone: all clones are one link.
#[derive(Clone)]
pub struct Direct {
    link: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    arrived: Notify,
    report: watch::Sender<Option<Bytes>>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Incoming>,
    queued_bytes: usize,
    epoch: Epoch,
    /// Which announcement owns the queue; counts them.
    owner: u64,
    /// Which receiver reads; counts them.
    reader: u64,
}

impl State {
    fn push(&mut self, incoming: Incoming) {
        self.queued_bytes += bytes_of(&incoming);
        self.queue.push_back(incoming);
    }

    fn pop(&mut self) -> Option<Incoming> {
        let incoming = self.queue.pop_front()?;
        self.queued_bytes -= bytes_of(&incoming);
        Some(incoming)
    }
}

fn bytes_of(incoming: &Incoming) -> usize {
    match incoming {
        Incoming::Announced(message) | Incoming::Entry(message) => message.len(),
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Direct {
    pub fn new(link: impl Into<String>) -> Self {
        let shared = Shared { state: Mutex::default(), arrived: Notify::new(), report: watch::Sender::new(None) };
        Self { link: link.into(), shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Transport for Direct {
    fn name(&self) -> String {
        format!("direct ({})", self.link)
    }

    async fn probe(&self, _largest_entry: u64) -> Result<Vec<crate::finding::Finding>> {
        Ok(Vec::new())
    }

    async fn sender(&self) -> Result<Box<dyn Sender>> {
        let mut reports = self.shared.report.subscribe();
        reports.mark_changed();
        Ok(Box::new(DirectSender { shared: self.shared.clone(), reports, owner: None }))
    }

    async fn receiver(&self) -> Result<Box<dyn Receiver>> {
        let mut state = self.shared.state();
        state.reader += 1;
        let reader = state.reader;
        drop(state);
        self.shared.arrived.notify_waiters();
        Ok(Box::new(DirectReceiver { shared: self.shared.clone(), reader }))
    }

    async fn remove(&self) -> Result<bool> {
        let mut state = self.shared.state();
        let was = !state.queue.is_empty() || state.owner > 0;
        *state = State { owner: state.owner + 1, reader: state.reader, ..State::default() };
        Ok(was)
    }
}

struct DirectSender {
    shared: Arc<Shared>,
    reports: watch::Receiver<Option<Bytes>>,
    owner: Option<u64>,
}

impl DirectSender {
    /// The state, if our announcement still owns the queue.
    fn owned(&mut self) -> Result<MutexGuard<'_, State>> {
        let state = self.shared.state();
        match self.owner {
            Some(owner) if owner == state.owner => Ok(state),
            Some(_) => {
                self.owner = None;
                Err(Error::retry(format!("another relay announced epoch {} on the direct link", state.epoch)))
            }
            None => Err(Error::retry("the relay has not announced its epoch on the direct link")),
        }
    }
}

#[async_trait]
impl Sender for DirectSender {
    async fn announce(&mut self, epoch: Epoch, message: Bytes) -> Result<()> {
        let mut state = self.shared.state();
        self.owner = None;
        if epoch < state.epoch {
            let newer = state.epoch;
            return Err(Error::retry(format!("another relay announced epoch {newer}, ours is {epoch}")));
        }
        state.epoch = epoch;
        state.owner += 1;
        self.owner = Some(state.owner);
        state.push(Incoming::Announced(message));
        drop(state);
        self.shared.arrived.notify_waiters();
        Ok(())
    }

    async fn send(&mut self, _position: Position, message: Bytes) -> Result<()> {
        self.owned()?.push(Incoming::Entry(message));
        self.shared.arrived.notify_waiters();
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        self.owned().map(|_| ())
    }

    fn has_room(&self) -> bool {
        let state = self.shared.state();
        self.owner == Some(state.owner) && state.queued_bytes < MAX_QUEUED_BYTES
    }

    async fn confirmed(&mut self, _epoch: Epoch, _position: Position) -> Result<()> {
        Ok(())
    }

    async fn report(&mut self, wait: Duration) -> Result<Option<Bytes>> {
        match tokio::time::timeout(wait, self.reports.changed()).await {
            Ok(Ok(())) => Ok(self.reports.borrow_and_update().clone()),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }
}

struct DirectReceiver {
    shared: Arc<Shared>,
    reader: u64,
}

impl DirectReceiver {
    fn take(&self) -> Result<Option<Incoming>> {
        let mut state = self.shared.state();
        if state.reader != self.reader {
            return Err(Error::retry("another applier reads the direct link"));
        }
        Ok(state.pop())
    }
}

#[async_trait]
impl Receiver for DirectReceiver {
    async fn next(&mut self, wait: Duration) -> Result<Option<Incoming>> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let arrived = self.shared.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(incoming) = self.take()? {
                return Ok(Some(incoming));
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return self.take();
            }
        }
    }

    async fn report(&mut self, message: Bytes) -> Result<()> {
        self.shared.report.send_replace(Some(message));
        Ok(())
    }
}
