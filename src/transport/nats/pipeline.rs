//! Pipelined publishing, each message expecting exactly the one before it.
//!
//! Sequences are known in advance, since after an announcement the next one can only be ours: a message that another
//! relay put between makes ours be refused, and any refusal, odd sequence or missing answer is doubt, which only a new
//! announcement ends. A full stream is no doubt: what it refused waits here and goes again, with the same expected
//! sequences, once the stream has room and is proved to end where we were.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{Context, context::PublishError, message::PublishMessage, stream::Info};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::Nats;
use super::framing::{HEADER_BYTES, Kind, split};
use super::stream::{self, Fate, MAX_PART_BYTES, SLACK_BYTES};
use crate::entry::{Epoch, Position};
use crate::error::{Error, Result};

const MAX_IN_FLIGHT_BYTES: usize = 8 * 1024 * 1024;
const MAX_IN_FLIGHT: usize = 1024;
/// Publish headers count against the server's payload limit.
const PAYLOAD_RESERVE_BYTES: usize = 256;
const PURGE_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const ANNOUNCE_ATTEMPTS: usize = 3;

/// The way to one stream.
pub struct Line {
    pub nats: Nats,
    pub context: Context,
}

/// What we know of the stream since our announcement.
pub struct Run {
    epoch: Epoch,
    created_ns: i128,
    connects: u64,
    pub limit_bytes: u64,
    pub part_bytes: usize,
    announced: u64,
    /// The sequence of the last message that we have cut, sent or not.
    last: u64,
    acknowledged: u64,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// What a full stream refused, in order.
    backlog: VecDeque<Frame>,
    looked: Option<Instant>,
    /// The last sequence of each position that is not confirmed.
    ends: VecDeque<(Position, u64)>,
    purge_upto: u64,
    purged: u64,
    purged_at: Option<Instant>,
}

struct Frame {
    sequence: u64,
    payload: Bytes,
}

struct InFlight {
    frame: Frame,
    answer: Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>,
}

impl Line {
    /// Creates or adjusts the stream, and begins a run behind everything that is in it.
    pub async fn begin(&self, epoch: Epoch, message: &Bytes) -> Result<Run> {
        let info = stream::ensure(&self.nats, &self.context).await?;
        let payload_bytes = self.context.client().max_payload().saturating_sub(PAYLOAD_RESERVE_BYTES + HEADER_BYTES);
        let connects = self.connects();
        let frame = split(Kind::Announce, epoch, Position::default(), message, usize::MAX).next();
        let announced = self.publish_announcement(frame.unwrap_or_default()).await?;
        Ok(Run {
            epoch,
            created_ns: info.created.unix_timestamp_nanos(),
            connects,
            limit_bytes: u64::try_from(info.config.max_bytes).unwrap_or(u64::MAX),
            part_bytes: payload_bytes.min(MAX_PART_BYTES),
            announced,
            last: announced,
            acknowledged: announced,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            backlog: VecDeque::new(),
            looked: None,
            ends: VecDeque::new(),
            purge_upto: 0,
            purged: 0,
            purged_at: None,
        })
    }

    pub fn doubt(&self) -> Error {
        self.nats.failed("go on in the stream", "another relay wrote to it, or an acknowledgement was lost")
    }

    /// Publishes without expectation, as only an announcement may, and returns its sequence.
    async fn publish_announcement(&self, payload: Bytes) -> Result<u64> {
        for _ in 0..ANNOUNCE_ATTEMPTS {
            let message = PublishMessage::build().payload(payload.clone());
            let sent = self.context.send_publish(self.nats.log_subject.clone(), message).await;
            let answer = match sent {
                Ok(answer) => answer.await,
                Err(error) => Err(error),
            };
            match stream::fate(&self.nats, answer) {
                Fate::Stored(sequence) => return Ok(sequence),
                Fate::Full => stream::make_room(&self.nats, &self.context).await?,
                Fate::Outrun => return Err(self.doubt()),
                Fate::Doubt(error) => return Err(error),
            }
        }
        Err(self.nats.failed("announce in the stream", "it is full"))
    }

    async fn publish(&self, run: &mut Run, frame: Frame) -> Result<()> {
        let message = PublishMessage::build().payload(frame.payload.clone()).expected_last_sequence(frame.sequence - 1);
        let answer = self.context.send_publish(self.nats.log_subject.clone(), message).await;
        let answer = Box::pin(answer.map_err(|e| self.nats.failed("publish to the stream", e))?.into_future());
        run.in_flight_bytes += frame.payload.len();
        run.in_flight.push_back(InFlight { frame, answer });
        Ok(())
    }

    fn connects(&self) -> u64 {
        self.context.client().statistics().connects.load(Ordering::Relaxed)
    }

    /// Takes the answers that are there, and waits for more only while too much is on its way.
    async fn collect(&self, run: &mut Run) -> Result<()> {
        let connects = self.connects();
        if run.connects != connects && !run.in_flight.is_empty() {
            return Err(self.nats.failed("go on in the stream", "the connection was lost before all was acknowledged"));
        }
        run.connects = connects;
        loop {
            let crowded = run.in_flight_bytes > MAX_IN_FLIGHT_BYTES || run.in_flight.len() > MAX_IN_FLIGHT;
            let Some(InFlight { answer, .. }) = run.in_flight.front_mut() else { return Ok(()) };
            let answer = if crowded { Some(answer.as_mut().await) } else { answer.as_mut().now_or_never() };
            let Some(answer) = answer else { return Ok(()) };
            let Some(InFlight { frame, .. }) = run.in_flight.pop_front() else { return Ok(()) };
            run.in_flight_bytes -= frame.payload.len();
            match stream::fate(&self.nats, answer) {
                Fate::Stored(sequence) if sequence == frame.sequence => run.acknowledged = sequence,
                Fate::Stored(_) | Fate::Outrun => return Err(self.doubt()),
                Fate::Full => self.set_back(run, frame).await?,
                Fate::Doubt(error) => return Err(error),
            }
        }
    }

    /// The stream is full: this frame and all behind it were refused, or something is wrong.
    async fn set_back(&self, run: &mut Run, first: Frame) -> Result<()> {
        let mut refused = VecDeque::from([first]);
        for InFlight { frame, answer } in run.in_flight.drain(..) {
            match stream::fate(&self.nats, answer.await) {
                Fate::Full | Fate::Outrun => refused.push_back(frame),
                Fate::Stored(_) => return Err(self.doubt()),
                Fate::Doubt(error) => return Err(error),
            }
        }
        run.in_flight_bytes = 0;
        refused.append(&mut run.backlog);
        run.backlog = refused;
        run.looked = Some(Instant::now());
        Ok(())
    }

    /// Sends as much of the backlog as the stream has room for, after proof that it ends where we were.
    async fn send_backlog(&self, run: &mut Run) -> Result<()> {
        let looked_lately = run.looked.is_some_and(|at| at.elapsed() < LOOK_INTERVAL);
        if run.backlog.is_empty() || !run.in_flight.is_empty() || looked_lately {
            return Ok(());
        }
        let Some(info) = stream::look(&self.nats, &self.context).await? else { return Err(self.doubt()) };
        run.looked = Some(Instant::now());
        if !run.ends_where_we_were(&info) {
            return Err(self.doubt());
        }
        let mut room =
            u64::try_from(info.config.max_bytes).map_or(u64::MAX, |limit| limit.saturating_sub(info.state.bytes));
        while let Some(frame) = run.backlog.front() {
            let stored = self.nats.stored_bytes(frame.payload.len());
            if stored + SLACK_BYTES > room || run.in_flight_bytes > MAX_IN_FLIGHT_BYTES {
                break;
            }
            room -= stored;
            let Some(frame) = run.backlog.pop_front() else { break };
            self.publish(run, frame).await?;
            run.looked = None;
        }
        Ok(())
    }

    pub async fn purge(&self, run: &mut Run) -> Result<()> {
        let lately = run.purged_at.is_some_and(|at| at.elapsed() < PURGE_INTERVAL);
        if run.purge_upto <= run.purged || (lately && run.backlog.is_empty()) {
            return Ok(());
        }
        stream::purge(&self.nats, &self.context, run.purge_upto).await?;
        run.purged = run.purge_upto;
        run.purged_at = Some(Instant::now());
        run.looked = None;
        Ok(())
    }

    pub async fn settle(&self, run: &mut Run) -> Result<()> {
        self.collect(run).await?;
        self.purge(run).await?;
        self.send_backlog(run).await
    }

    pub async fn send(&self, run: &mut Run, position: Position, message: &Bytes) -> Result<()> {
        let parts = split(Kind::Entry, run.epoch, position, message, run.part_bytes);
        for payload in parts {
            run.last += 1;
            let frame = Frame { sequence: run.last, payload };
            if run.backlog.is_empty() {
                self.publish(run, frame).await?;
                self.collect(run).await?;
            } else {
                run.backlog.push_back(frame);
            }
        }
        run.remember(position);
        Ok(())
    }
}

impl Run {
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn ends_where_we_were(&self, info: &Info) -> bool {
        info.created.unix_timestamp_nanos() == self.created_ns && info.state.last_sequence == self.acknowledged
    }

    fn remember(&mut self, position: Position) {
        // A generation began: positions start again, and those of the one before need no confirmation.
        if self.ends.back().is_some_and(|(last, _)| position <= *last) {
            self.ends.clear();
        }
        self.ends.push_back((position, self.last));
    }

    pub fn confirm(&mut self, epoch: Epoch, position: Position) {
        if epoch < self.epoch {
            return;
        }
        self.purge_upto = self.purge_upto.max(self.announced);
        while let Some((_, sequence)) = self.ends.pop_front_if(|(end, _)| *end <= position) {
            self.purge_upto = self.purge_upto.max(sequence);
        }
    }
}
