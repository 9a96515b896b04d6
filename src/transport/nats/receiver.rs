//! The applier's end: reads the stream in order, from its first message, and keeps nothing at the broker that counts.
//!
//! An ephemeral pull consumer feeds us in small batches. Whenever there is a reason to mistrust it (the connection was
//! lost, a message was skipped, it went silent or away), it is thrown away and another one is made behind the last
//! message that we have seen, if the stream still is the one that we saw it in: same creation, and that very message
//! at that sequence, or purged. Otherwise the stream is read from its beginning.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::stream::{ConsumerErrorKind, Info, RawMessageErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, StatusCode, Subject, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::framing::{Assembler, HEADER_BYTES, Kind, split};
use super::stream::MAX_PART_BYTES;
use super::{Nats, connect::REQUEST_TIMEOUT, stream};
use crate::entry::{Epoch, Position};
use crate::error::Result;
use crate::transport::{Incoming, Receiver};

/// Messages asked for at once, and when to ask for more: 12 MiB on their way at most. A 2.9 server cuts off clients
/// that it believes to be slow.
const BATCH: usize = 32;
const LOW: usize = 16;
/// How long the server holds a request that nothing answers.
const PULL_EXPIRES: Duration = Duration::from_secs(4);
const SILENCE: Duration = Duration::from_secs(7);
const CONSUMER_IDLE: Duration = Duration::from_secs(30);
/// How often we look for a missing stream, and at the connection while nothing comes.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const PENDING_HEADER: &str = "Nats-Pending-Messages";

pub struct NatsReceiver {
    nats: Nats,
    client: Client,
    context: Context,
    feed: Option<Feed>,
    assembler: Assembler,
    created_ns: Option<i128>,
    seen: Option<Seen>,
}

/// The last message that we took from the stream.
struct Seen {
    sequence: u64,
    beginning: Bytes,
}

struct Feed {
    consumer: Consumer<Config>,
    inbox: Subject,
    messages: Subscriber,
    asked: usize,
    delivered: u64,
    heard: Instant,
    connects: u64,
}

impl NatsReceiver {
    pub fn new(nats: Nats, client: Client) -> Self {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(REQUEST_TIMEOUT);
        Self { nats, client, context, feed: None, assembler: Assembler::default(), created_ns: None, seen: None }
    }

    fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Makes a consumer behind what we have seen. False: there is no stream.
    async fn open(&mut self) -> Result<bool> {
        let connects = self.connects();
        let Some(info) = stream::look(&self.nats, &self.context).await? else { return Ok(false) };
        let next = if self.is_known(&info).await? { self.seen.as_ref().map_or(1, |seen| seen.sequence + 1) } else { 1 };
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next },
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_IDLE,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let consumer = match self.context.create_consumer_on_stream(config, &self.nats.stream).await {
            Ok(consumer) => consumer,
            Err(error) => match error.kind() {
                ConsumerErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => return Ok(false),
                _ => return Err(self.nats.failed("read the stream", error)),
            },
        };
        let inbox = Subject::from(self.client.new_inbox());
        let messages = self.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|e| self.nats.failed("read the stream", e))?;
        if next == 1 {
            self.assembler.clear();
            self.seen = None;
        }
        self.created_ns = Some(info.created.unix_timestamp_nanos());
        self.feed = Some(Feed { consumer, inbox, messages, asked: 0, delivered: 0, heard: Instant::now(), connects });
        Ok(true)
    }

    /// Whether the stream is still the one in which we saw our last message.
    async fn is_known(&self, info: &Info) -> Result<bool> {
        let Some(seen) = &self.seen else { return Ok(false) };
        if self.created_ns != Some(info.created.unix_timestamp_nanos()) || info.state.last_sequence < seen.sequence {
            return Ok(false);
        }
        if seen.sequence < info.state.first_sequence {
            return Ok(true);
        }
        let stream = self.context.get_stream_no_info(&self.nats.stream).await;
        let stream = stream.map_err(|e| self.nats.failed("read the stream", e))?;
        match stream.get_raw_message(seen.sequence).await {
            Ok(message) => Ok(message.payload.starts_with(&seen.beginning)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(true),
                RawMessageErrorKind::JetStream(e) if e.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(true),
                _ => Err(self.nats.failed("read the stream", error)),
            },
        }
    }

    /// One step: whatever the feed brings until `deadline`. An error is for the caller, silence is not.
    async fn step(&mut self, deadline: Instant) -> Result<Option<Incoming>> {
        let connects = self.connects();
        let Some(feed) = &mut self.feed else { return Ok(None) };
        if feed.connects != connects {
            self.feed = None;
            return Ok(None);
        }
        let arrived = match feed.messages.next().now_or_never() {
            Some(message) => Ok(message),
            None => {
                if feed.ask().await.is_err() {
                    self.feed = None;
                    return Ok(None);
                }
                let until = deadline.min(Instant::now() + LOOK_INTERVAL);
                tokio::time::timeout_at(until, feed.messages.next()).await
            }
        };
        match arrived {
            Ok(Some(message)) => self.take(message),
            Ok(None) => {
                self.feed = None;
                Ok(None)
            }
            Err(_) => {
                if feed.heard.elapsed() > SILENCE {
                    self.feed = None;
                }
                Ok(None)
            }
        }
    }

    fn take(&mut self, message: async_nats::Message) -> Result<Option<Incoming>> {
        let Some(feed) = &mut self.feed else { return Ok(None) };
        feed.heard = Instant::now();
        if let Some(status) = message.status.filter(|status| *status != StatusCode::OK) {
            if !feed.goes_on(status, &message) {
                self.feed = None;
            }
            return Ok(None);
        }
        let payload = message.payload.clone();
        let message = jetstream::Message { message, context: self.context.clone() };
        let sequences = message.info().ok().map(|info| (info.stream_sequence, info.consumer_sequence));
        let Some((sequence, delivered)) = sequences.filter(|(_, delivered)| *delivered == feed.delivered + 1) else {
            self.feed = None;
            return Ok(None);
        };
        feed.delivered = delivered;
        feed.asked = feed.asked.saturating_sub(1);
        self.seen =
            Some(Seen { sequence, beginning: Bytes::copy_from_slice(&payload[..payload.len().min(HEADER_BYTES)]) });
        Ok(match self.assembler.push(&payload)? {
            Some((Kind::Announce, message)) => Some(Incoming::Announced(message)),
            Some((Kind::Entry, message)) => Some(Incoming::Entry(message)),
            Some((Kind::Report, _)) | None => None,
        })
    }
}

impl Feed {
    async fn ask(&mut self) -> Result<(), ()> {
        if self.asked > LOW {
            return Ok(());
        }
        let batch = BatchConfig { batch: BATCH, expires: Some(PULL_EXPIRES), ..BatchConfig::default() };
        self.consumer.request_batch(batch, self.inbox.clone()).await.map_err(|_| ())?;
        self.asked += BATCH;
        Ok(())
    }

    /// A request ended. False: the consumer is of no more use.
    fn goes_on(&mut self, status: StatusCode, message: &async_nats::Message) -> bool {
        if status != StatusCode::TIMEOUT {
            return status == StatusCode::IDLE_HEARTBEAT;
        }
        let pending = message.headers.as_ref().and_then(|headers| headers.get(PENDING_HEADER));
        let pending = pending.and_then(|value| value.as_str().parse().ok()).unwrap_or(BATCH);
        self.asked = self.asked.saturating_sub(pending);
        true
    }
}

#[async_trait]
impl Receiver for NatsReceiver {
    async fn next(&mut self, wait: Duration) -> Result<Option<Incoming>> {
        let deadline = Instant::now() + wait;
        loop {
            if self.feed.is_none() {
                let connected = self.client.connection_state() == State::Connected;
                if !connected || !self.open().await? {
                    tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_INTERVAL)).await;
                }
                if !connected && Instant::now() >= deadline {
                    return Err(self.nats.failed("read the stream", "the connection is lost"));
                }
            }
            if let Some(incoming) = self.step(deadline).await? {
                return Ok(Some(incoming));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    async fn report(&mut self, message: Bytes) -> Result<()> {
        let payload_bytes = self.client.max_payload().saturating_sub(HEADER_BYTES).min(MAX_PART_BYTES);
        for payload in split(Kind::Report, Epoch::default(), Position::default(), &message, payload_bytes) {
            let sent = self.client.publish(self.nats.report_subject.clone(), payload);
            match tokio::time::timeout(REQUEST_TIMEOUT, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(self.nats.failed("report about", error)),
                Err(_) => return Err(self.nats.failed("report about", "the connection is lost")),
            }
        }
        Ok(())
    }
}
