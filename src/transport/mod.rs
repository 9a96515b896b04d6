//! The contract of a transport: it carries one link's messages in order, and remembers nothing that counts.
//!
//! What is sent may be lost, may come twice, may come from a relay that lost its lease. The receiver's chain check
//! and the databases' own state make that harmless; a transport only has to say *when it is in doubt*. All messages
//! are opaque bytes here (the log's codec makes them).

pub mod direct;
pub mod nats;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::entry::{Epoch, Position};
use crate::error::Result;
use crate::finding::Finding;

/// The relay's end.
#[async_trait]
pub trait Sender: Send {
    /// Creates what is missing (stream with its limits), then announces the epoch and returns when the broker has
    /// acknowledged it durably in order. Anything sent before by anyone is ahead of it. Must be called before `send`,
    /// and again after every error: until then the sender is in doubt and refuses to send. Take a new epoch for each
    /// announcement, else nobody can tell from a report which of them the target has read.
    async fn announce(&mut self, epoch: Epoch, message: Bytes) -> Result<()>;

    /// Sends one entry behind the last. Returns as soon as it is on its way; waits while too many bytes are not yet
    /// acknowledged. While the stream is full (of what the target has not confirmed) it keeps the entry and returns;
    /// [`Sender::has_room`] is false until the backlog is gone. An error of kind `Retry` means doubt: the entry may or
    /// may not be in the stream, or another relay wrote behind us.
    async fn send(&mut self, position: Position, message: Bytes) -> Result<()>;

    /// Collects acknowledgements that have arrived and sends again what a full stream refused; does not wait for the
    /// network longer than needed to look. An error means doubt.
    async fn settle(&mut self) -> Result<()>;

    /// Whether another entry may be sent now.
    fn has_room(&self) -> bool;

    /// The target, having recorded `epoch` with its checkpoint, has confirmed everything up to `position` (of the
    /// generation that we send) for good: the transport drops it. Once `epoch` is the announced one, everything before
    /// that announcement is dropped too, so call this for every report, even if the position is an old one: a stream
    /// that another relay left full gets room by nothing else.
    async fn confirmed(&mut self, epoch: Epoch, position: Position) -> Result<()>;

    /// The latest report since the last call, waiting up to `wait` for one. Older ones are skipped.
    async fn report(&mut self, wait: Duration) -> Result<Option<Bytes>>;
}

/// What arrives at the applier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Announced(Bytes),
    /// All bytes of one entry; entries whose parts are incomplete never arrive.
    Entry(Bytes),
}

/// The applier's end. Begins with the oldest message that the transport still has.
#[async_trait]
pub trait Receiver: Send {
    /// The next message in order, waiting up to `wait`. `None`: nothing came. A missing stream is waited for; one that
    /// was removed and made again is read from its beginning. Dropping the future loses nothing.
    async fn next(&mut self, wait: Duration) -> Result<Option<Incoming>>;

    /// Tells the relay where we stand. May be lost: it is sent again every second.
    async fn report(&mut self, message: Bytes) -> Result<()>;
}

/// One migration's link over some carrier.
#[async_trait]
pub trait Transport: Send + Sync {
    /// For messages: `direct`, or the broker's address without secrets.
    fn name(&self) -> String;

    /// Connects and looks, changing nothing: is it reachable, does it have what we need (JetStream, limits against
    /// `largest_entry` bytes)? Warnings come back as findings; an error bears
    /// the id of its check.
    async fn probe(&self, largest_entry: u64) -> Result<Vec<Finding>>;

    async fn sender(&self) -> Result<Box<dyn Sender>>;

    async fn receiver(&self) -> Result<Box<dyn Receiver>>;

    /// Tells applications who takes the migration's writes; `epoch` counts the changes of owner, and a later one that was
    /// told already stays. Here: nobody listens.
    async fn publish_route(&self, _migration: &str, _epoch: u64, _route: &str) -> Result<()> {
        Ok(())
    }

    /// Forgets the route. Says whether there was one.
    async fn remove_route(&self, _migration: &str) -> Result<bool> {
        Ok(false)
    }

    /// Removes the stream and everything else of this link; what isn't there is fine. Says whether anything was.
    async fn remove(&self) -> Result<bool>;
}
