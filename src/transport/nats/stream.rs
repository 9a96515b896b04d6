//! The stream itself: its limits, its creation, what fits into it, and what its refusals mean.
//!
//! `discard: new` makes a full stream refuse instead of forgetting, so that a slow target holds the relay back. Purging
//! is the relay's alone and must stay allowed; nothing else removes a message.

use async_nats::jetstream::context::{
    CreateStreamErrorKind, DeleteStreamErrorKind, GetStreamErrorKind, PublishErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, PurgeErrorKind, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode, context::PublishError};

use super::{Nats, framing};
use crate::error::{Error, Kind, Result};

/// Headers that a publish bears: `Nats-Expected-Last-Sequence` and its number.
const PUBLISH_HEADER_BYTES: usize = 64;
/// What the server adds to each stored message: lengths, sequence, time, checksum.
const RECORD_BYTES: usize = 34;
/// Kept free, so that estimates may be a little off.
pub const SLACK_BYTES: u64 = 1024;
/// What a full stream's limit is raised by, so that an announcement gets in.
const ANNOUNCE_RESERVE_BYTES: u64 = 64 * 1024;
/// Parts are no larger, even where the server would take more: fast on both server versions, and easy on slow links.
pub const MAX_PART_BYTES: usize = 256 * 1024;
/// What the description of error 10077 says under `discard: new`; a full disk has the same code with another text.
const FULL: &str = "maximum bytes exceeded";

impl Nats {
    /// An upper bound of what one payload takes in the stream.
    pub fn stored_bytes(&self, payload_bytes: usize) -> u64 {
        (payload_bytes + PUBLISH_HEADER_BYTES + RECORD_BYTES + self.log_subject.len()) as u64
    }

    /// The same for an entry of this size, in parts of the usual size.
    pub fn stored_bytes_of(&self, entry_bytes: u64) -> u64 {
        let parts = entry_bytes.div_ceil(MAX_PART_BYTES as u64).max(1);
        entry_bytes + parts * self.stored_bytes(framing::HEADER_BYTES) + SLACK_BYTES
    }

    pub fn does_not_fit(&self, kind: Kind, what: &str, limit: u64) -> Error {
        Error::new(kind, format!("{what}, and the stream {:?} holds at most {limit}", self.stream))
            .hint("raise `events.max_bytes`, or lower `backfill.chunk_bytes`")
    }

    fn config(&self) -> Config {
        Config {
            name: self.stream.clone(),
            description: Some("ordered log of `migrate`; only its relay may purge".into()),
            subjects: vec![self.log_subject.clone()],
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            max_bytes: self.max_bytes().min(i64::MAX as u64) as i64,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            max_message_size: -1,
            num_replicas: self.options.replicas.max(1),
            allow_direct: false,
            ..Config::default()
        }
    }
}

/// The stream as it is, or `None` where there is none.
pub async fn look(nats: &Nats, context: &Context) -> Result<Option<Info>> {
    match context.get_stream(&nats.stream).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            _ => Err(nats.failed("look at the stream", error)),
        },
    }
}

/// Creates the stream or adjusts its limits.
pub async fn ensure(nats: &Nats, context: &Context) -> Result<Info> {
    let wanted = nats.config();
    let Some(found) = look(nats, context).await? else {
        let created = context.create_stream(wanted).await.map_err(|e| refused(nats, "create", e.kind(), &e))?;
        return Ok(created.cached_info().clone());
    };
    let config = &found.config;
    if config.retention != wanted.retention || config.subjects != wanted.subjects || config.sealed {
        let (stream, address) = (&nats.stream, nats.options.address());
        return Err(Error::plan(format!("the stream {stream:?} at {address} was not made by migrate"))
            .hint(format!("remove it with `nats stream rm {stream}`, or name the migration otherwise")));
    }
    let fits = config.max_bytes == wanted.max_bytes
        && config.discard == wanted.discard
        && config.max_messages == wanted.max_messages
        && config.max_age == wanted.max_age;
    if fits {
        return Ok(found);
    }
    let adjusted = Config {
        max_bytes: wanted.max_bytes,
        discard: wanted.discard,
        max_messages: wanted.max_messages,
        max_age: wanted.max_age,
        ..found.config
    };
    context.update_stream(&adjusted).await.map_err(|e| refused(nats, "adjust", e.kind(), &e))
}

/// Lets an announcement into a full stream: by a little more room, or, where the server grants none, by emptying it.
/// What is lost so is sent again.
pub async fn make_room(nats: &Nats, context: &Context) -> Result<()> {
    let Some(info) = look(nats, context).await? else { return Ok(()) };
    let raised = (info.state.bytes + ANNOUNCE_RESERVE_BYTES).min(i64::MAX as u64) as i64;
    let config = Config { max_bytes: raised.max(info.config.max_bytes), ..info.config };
    if context.update_stream(&config).await.is_ok() {
        return Ok(());
    }
    purge(nats, context, info.state.last_sequence).await
}

/// Removes everything up to and including this sequence.
pub async fn purge(nats: &Nats, context: &Context, upto: u64) -> Result<()> {
    let stream = context.get_stream_no_info(&nats.stream).await.map_err(|e| nats.failed("purge the stream", e))?;
    let Err(error) = stream.purge().sequence(upto + 1).await else { return Ok(()) };
    match error.kind() {
        PurgeErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(()),
        PurgeErrorKind::JetStream(e) if e.code() < 500 => {
            Err(Error::give_up(format!("the server refuses to purge the stream {:?}: {e}", nats.stream))
                .hint("the relay must be allowed to purge: without it the stream fills once and stops for ever"))
        }
        _ => Err(nats.failed("purge the stream", error)),
    }
}

/// Says whether there was one.
pub async fn remove(nats: &Nats, context: &Context) -> Result<bool> {
    match context.delete_stream(&nats.stream).await {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            DeleteStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(false),
            _ => Err(nats.failed("remove the stream", error)),
        },
    }
}

fn refused(nats: &Nats, doing: &str, kind: CreateStreamErrorKind, error: &impl std::fmt::Display) -> Error {
    let CreateStreamErrorKind::JetStream(cause) = kind else {
        return nats.failed(&format!("{doing} the stream"), error);
    };
    let said = format!("{} refuses to {doing} the stream {:?}: {cause}", nats.options.address(), nats.stream);
    match cause.error_code() {
        ErrorCode::STREAM_SUBJECT_OVERLAP => {
            Error::plan(said).hint("another stream takes `migrate.>`: exclude it there")
        }
        ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => Error::plan(said)
            .hint("lower `events.max_bytes`, or raise the server's `max_file_store` or the account's limits"),
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => Error::plan(said).hint("set `events.replicas` to 1"),
        _ if cause.code() < 500 => Error::plan(said).hint("check `events` in the plan against the server's limits"),
        _ => Error::retry(said),
    }
}

/// What became of one publish.
pub enum Fate {
    Stored(u64),
    /// The stream has no room; nothing was stored.
    Full,
    /// Another message is where we expected none; nothing was stored.
    Outrun,
    Doubt(Error),
}

pub fn fate(nats: &Nats, answer: Result<async_nats::jetstream::publish::PublishAck, PublishError>) -> Fate {
    let error = match answer {
        Ok(ack) => return Fate::Stored(ack.sequence),
        Err(error) => error,
    };
    match error.kind() {
        PublishErrorKind::WrongLastSequence => Fate::Outrun,
        PublishErrorKind::StreamNotFound => Fate::Doubt(nats.failed("publish to the stream", "it is gone")),
        _ if std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains(FULL)) => Fate::Full,
        _ => Fate::Doubt(nats.failed("publish to the stream", error)),
    }
}
