//! The relay's end: holds a [`Run`] from one announcement to the first doubt, and hears the reports.

use std::time::Duration;

use async_nats::{Client, Subscriber, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::framing::{Assembler, HEADER_BYTES, Kind, MAX_MESSAGE_BYTES, too_large};
use super::pipeline::{Line, Run};
use super::stream::SLACK_BYTES;
use super::{Nats, connect::REQUEST_TIMEOUT};
use crate::entry::{Epoch, Position};
use crate::error::{self, Result};
use crate::transport::Sender;

pub struct NatsSender {
    line: Line,
    reports: Subscriber,
    report_parts: Assembler,
    /// `None` while in doubt.
    run: Option<Run>,
}

impl NatsSender {
    pub async fn new(nats: Nats, client: Client) -> Result<Self> {
        let reports = client.subscribe(nats.report_subject.clone()).await;
        let reports = reports.map_err(|e| nats.failed("subscribe to the reports of", e))?;
        let mut context = jetstream::new(client);
        context.set_timeout(REQUEST_TIMEOUT);
        Ok(Self { line: Line { nats, context }, reports, report_parts: Assembler::default(), run: None })
    }
}

#[async_trait]
impl Sender for NatsSender {
    async fn announce(&mut self, epoch: Epoch, message: Bytes) -> Result<()> {
        self.run = None;
        self.run = Some(self.line.begin(epoch, &message).await?);
        Ok(())
    }

    async fn send(&mut self, position: Position, message: Bytes) -> Result<()> {
        let bytes = message.len() as u64;
        // Taken out, so that an error, or a caller that drops us half-way, leaves us in doubt.
        let Some(mut run) = self.run.take() else { return Err(self.line.doubt()) };
        if bytes > MAX_MESSAGE_BYTES {
            self.run = Some(run);
            return Err(too_large(position, bytes));
        }
        let parts = bytes.div_ceil(run.part_bytes as u64).max(1);
        if bytes + parts * self.line.nats.stored_bytes(HEADER_BYTES) + SLACK_BYTES > run.limit_bytes {
            let error = self.line.nats.does_not_fit(
                error::Kind::GiveUp,
                &format!("entry {position} has {bytes} bytes"),
                run.limit_bytes,
            );
            self.run = Some(run);
            return Err(error);
        }
        self.line.send(&mut run, position, &message).await?;
        self.run = Some(run);
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        let Some(mut run) = self.run.take() else { return Err(self.line.doubt()) };
        self.line.settle(&mut run).await?;
        self.run = Some(run);
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.run.as_ref().is_some_and(|run| !run.has_backlog())
    }

    async fn confirmed(&mut self, epoch: Epoch, position: Position) -> Result<()> {
        let Some(mut run) = self.run.take() else { return Ok(()) };
        run.confirm(epoch, position);
        let purged = self.line.purge(&mut run).await;
        self.run = Some(run);
        purged
    }

    async fn report(&mut self, wait: Duration) -> Result<Option<Bytes>> {
        let deadline = Instant::now() + wait;
        let mut latest = None;
        loop {
            let next = if latest.is_some() {
                self.reports.next().now_or_never()
            } else {
                tokio::time::timeout_at(deadline, self.reports.next()).await.ok()
            };
            match next {
                None => return Ok(latest),
                Some(None) => return Err(self.line.nats.failed("hear the reports of", "the subscription has ended")),
                Some(Some(message)) => {
                    if let Some((Kind::Report, report)) = self.report_parts.push(&message.payload)? {
                        latest = Some(report);
                    }
                }
            }
        }
    }
}
