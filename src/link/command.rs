//! What others may ask of a running relay.

use tokio::sync::oneshot;

use crate::entry::{Control, Mark, TableId};
use crate::error::{Error, Result};
use crate::value::Key;

use super::compare::{Pass, PassResult};
use super::cut::{Handover, Opened, Settling};
use super::relay::Relay;

pub enum Command {
    /// Compare everything once; the answer comes when every verdict is in.
    Verify(oneshot::Sender<PassResult>),
    /// Mark keys dirty: the next seals send what they are now.
    Repair(Vec<(TableId, Vec<Key>)>, oneshot::Sender<Result<()>>),
    /// Compare what changed since everything was compared, so that little is left to compare behind a fence.
    Settle(oneshot::Sender<Result<()>>),
    /// The sender is fenced: bring the rest, compare what was not compared, seal the fence. The answer comes when the
    /// receiver has confirmed all that.
    HandOver(u64, oneshot::Sender<Result<Mark>>),
    /// Decide, now.
    Decide(u64, oneshot::Sender<Result<Opened>>),
    /// The fence is gone again.
    Release,
    /// Send an entry that says nothing; the answer comes when it is confirmed.
    Ping(oneshot::Sender<()>),
}

impl Relay {
    pub(super) async fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Verify(reply) => {
                self.recent.pass_begins();
                self.pass = Some((Pass::new(&self.ends.layout, self.bounds.chunk_rows), reply));
            }
            Command::Settle(reply) => self.settling = Some(Settling::new(reply)),
            Command::HandOver(cut, reply) => {
                self.caught_up = false;
                self.handover = Some(Handover::new(cut, reply));
            }
            Command::Decide(cut, reply) => {
                let decided = self.decide(cut).await;
                let retry = decided.as_ref().err().filter(|e| e.is_retry()).map(|e| Error::retry(e.message()));
                let _ = reply.send(decided);
                // The outcome of a commit may be unknown: what is true is read again.
                return retry.map_or(Ok(()), Err);
            }
            Command::Ping(reply) => {
                self.to_tell = Some(Control::Abort { cut: 0 });
                self.pinged = Some((None, reply));
            }
            Command::Release => {
                if let Some(handover) = self.handover.take() {
                    self.to_tell = Some(Control::Abort { cut: handover.cut });
                }
            }
            Command::Repair(keys, reply) => {
                let mut result = Ok(());
                for (table, keys) in keys {
                    result = self.ends.store.mark_dirty(&self.ends.layout, table, &keys).await;
                    if result.is_err() {
                        break;
                    }
                }
                self.state.in_sync = false;
                self.publish();
                let _ = reply.send(result);
            }
        }
        Ok(())
    }
}
