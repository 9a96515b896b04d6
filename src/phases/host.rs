//! The host of a link: this process runs the relay and the applier, and answers requests that others leave in the
//! source's control tables.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::entry::{Mark, TableId};
use crate::error::{Error, Result};
use crate::link::command::Command;
use crate::link::compare::PassResult;
use crate::link::cut::Opened;
use crate::link::relay::{Bounds, Start};
use crate::link::{Ends, Pulse, applier, relay};
use crate::task::{Stop, Task, spawn};
use crate::value::Key;

use super::session::Session;
use super::way::Way;

/// How often a host looks for requests.
pub const REQUEST_EVERY: Duration = Duration::from_millis(200);
/// How often a relay that begins again is asked the same.
const ASKED_AGAIN: u32 = 20;

pub struct Host {
    /// Relay and applier; `None` once its end has been seen.
    ends: [Option<Task<()>>; 2],
    commands: mpsc::Sender<Command>,
    pulse: watch::Receiver<Pulse>,
    halt: Stop,
}

impl Host {
    /// Starts both ends. They take their leases first; who holds one already is an error of `until`.
    pub fn start(session: &Session, way: &Way, begin_anew: bool, totals: Vec<(TableId, u64)>) -> Self {
        let (commands, inbox) = mpsc::channel(16);
        let (pulse_in, pulse) = watch::channel(Pulse::default());
        let halt = Stop::new();
        let ends = |store: &Arc<dyn crate::store::Store>| Ends {
            store: store.clone(),
            layout: way.layout.clone(),
            mapping: way.mapping,
            holder: session.holder.clone(),
            lease_ttl_ms: i64::try_from(session.plan.lease_ttl_ms).unwrap_or(10_000),
            reporter: session.reporter.clone(),
        };
        let backfill = session.plan.backfill;
        let bounds = Bounds { chunk_rows: backfill.chunk_rows, chunk_bytes: backfill.chunk_bytes };
        // Of two processes the one that has the relay's lease gets the applier's too: neither keeps the other from both.
        let (leased, relay_leads) = oneshot::channel();
        let start =
            Start { ends: ends(&way.sender), bounds, begin_anew, totals, pulse: pulse_in, leased: Some(leased) };
        let (transport, stop) = (way.transport.clone(), halt.clone());
        let relay = spawn("relay", async move { relay::run(start, transport.as_ref(), inbox, &stop).await });
        let (transport, stop, end) = (way.transport.clone(), halt.clone(), ends(&way.receiver));
        let applier = spawn("applier", async move {
            match relay_leads.await {
                Ok(()) => applier::run(end, transport.as_ref(), &stop).await,
                // The relay's own error says why there is nothing to apply.
                Err(_) => {
                    stop.wait().await;
                    Ok(())
                }
            }
        });
        Self { ends: [Some(relay), Some(applier)], commands, pulse, halt }
    }

    pub fn pulse(&self) -> Pulse {
        self.pulse.borrow().clone()
    }

    /// Waits for the links to reach a state; ends early with their error, or when a signal asks us to stop.
    pub async fn until(&mut self, session: &Session, reached: impl Fn(&Pulse) -> bool) -> Result<()> {
        loop {
            if reached(&self.pulse.borrow()) {
                return Ok(());
            }
            session.check_stop()?;
            tokio::select! {
                _ = self.pulse.changed() => {}
                () = session.stop.sleep(Duration::from_millis(200)) => {}
            }
            self.check().await?;
        }
    }

    /// The error of an end that has ended; told once, and from then on that it has.
    pub async fn check(&mut self) -> Result<()> {
        for end in &mut self.ends {
            if end.is_none() {
                return Err(Error::retry("one end of the link has ended"));
            }
            if let Some(task) = end.take_if(|task| task.is_finished()) {
                task.await?;
                return Err(Error::retry("one end of the link ended by itself"));
            }
        }
        Ok(())
    }

    /// One pass over everything. Waits for its result, however long.
    pub async fn verify(&mut self, session: &Session) -> Result<PassResult> {
        let (reply, answer) = oneshot::channel();
        self.send(session, Command::Verify(reply)).await?;
        self.answer(session, answer).await
    }

    /// For what changes nothing: a relay that begins again (a deadlock, a lost connection) has dropped the question.
    async fn ask<T>(&mut self, session: &Session, question: impl Fn(oneshot::Sender<T>) -> Command) -> Result<T> {
        for _ in 0..ASKED_AGAIN {
            let (reply, answer) = oneshot::channel();
            self.send(session, question(reply)).await?;
            if let Some(answered) = self.heard(session, answer).await? {
                return Ok(answered);
            }
        }
        Err(Error::retry("the relay began again each time before it answered"))
    }

    async fn answer<T>(&mut self, session: &Session, answer: oneshot::Receiver<T>) -> Result<T> {
        match self.heard(session, answer).await? {
            Some(answered) => Ok(answered),
            None => self.given_up(session).await,
        }
    }

    /// `None`: the question was dropped.
    async fn heard<T>(&mut self, session: &Session, mut answer: oneshot::Receiver<T>) -> Result<Option<T>> {
        loop {
            tokio::select! {
                result = &mut answer => return Ok(result.ok()),
                () = session.stop.sleep(Duration::from_millis(200)) => {
                    session.check_stop()?;
                    self.check().await?;
                }
            }
        }
    }

    /// The relay dropped our question, so it is ending: its own error says why.
    async fn given_up<T>(&mut self, session: &Session) -> Result<T> {
        for _ in 0..50 {
            self.check().await?;
            session.stop.sleep(Duration::from_millis(100)).await;
        }
        Err(Error::retry("the relay ended before it answered"))
    }

    /// Compares what changed since everything was compared.
    pub async fn settle(&mut self, session: &Session) -> Result<()> {
        self.ask(session, Command::Settle).await?
    }

    /// Has the rest brought behind a fence, and waits until the receiver has confirmed it.
    pub async fn hand_over(&mut self, session: &Session, cut: u64) -> Result<Mark> {
        let (reply, answer) = oneshot::channel();
        self.send(session, Command::HandOver(cut, reply)).await?;
        self.answer(session, answer).await?
    }

    pub async fn decide(&mut self, session: &Session, cut: u64) -> Result<Opened> {
        let (reply, answer) = oneshot::channel();
        self.send(session, Command::Decide(cut, reply)).await?;
        self.answer(session, answer).await?
    }

    /// The fence is gone: the relay goes on as before.
    pub async fn release(&mut self, session: &Session) -> Result<()> {
        self.send(session, Command::Release).await
    }

    /// How long one entry takes from here to the receiver and back.
    pub async fn ping(&mut self, session: &Session) -> Result<Duration> {
        let began = std::time::Instant::now();
        self.ask(session, Command::Ping).await?;
        Ok(began.elapsed())
    }

    /// Until everything that was dirty when the relay began is at the receiver. Under writes nothing is ever in step, but
    /// an entry behind which nothing was left dirty comes all the time.
    pub async fn come_into_step(&mut self, session: &Session) -> Result<()> {
        self.until(session, |p| p.head.position.0 > 0).await?;
        let from = self.pulse().head.position;
        self.until(session, |p| p.in_sync || p.drained > from).await
    }

    /// Marks keys dirty, so that the next seals send what they are now.
    pub async fn repair(&mut self, session: &Session, keys: Vec<(TableId, Vec<Key>)>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(session, Command::Repair(keys, reply)).await?;
        self.answer(session, answer).await??;
        let from = self.pulse().head.position;
        // A drained entry that was sealed after the keys were marked has brought them all.
        self.until(session, |p| p.in_sync || p.drained > from).await
    }

    async fn send(&mut self, session: &Session, command: Command) -> Result<()> {
        if self.commands.send(command).await.is_err() {
            return self.given_up(session).await;
        }
        Ok(())
    }

    /// Lets both ends finish the entry in hand, save, and give their leases back.
    pub async fn shut_down(mut self) -> Result<()> {
        self.end().await
    }

    /// The same, for who goes on with another host in its place.
    pub async fn end(&mut self) -> Result<()> {
        self.halt.request(0);
        let mut result = Ok(());
        for task in &mut self.ends {
            if let Some(task) = task.take() {
                result = result.and(task.await);
            }
        }
        result
    }
}
