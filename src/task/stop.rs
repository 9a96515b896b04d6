//! The one flag that asks work to end: raised by a signal, seen by whoever holds a clone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::spawn::{Task, spawn};
use crate::error::{Error, Kind, Result};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Signals so far; the first one counts as the reason.
#[derive(Debug, Clone, Copy, Default)]
struct Raised {
    first: Option<(i32, Instant)>,
    again: bool,
}

/// A signal this soon after the first is the same one: `timeout` and shells send it to the process and to its group.
const SAME: Duration = Duration::from_millis(500);

/// A shutdown flag. Clones share it; once raised it stays.
#[derive(Debug, Clone)]
pub struct Stop {
    raised: Arc<watch::Sender<Raised>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    pub fn new() -> Self {
        Self { raised: Arc::new(watch::Sender::new(Raised::default())) }
    }

    /// Asks everyone to end, as this signal would.
    pub fn request(&self, signal: i32) {
        self.request_at(signal, Instant::now());
    }

    fn request_at(&self, signal: i32, now: Instant) {
        self.raised.send_modify(|raised| {
            let (_, first) = *raised.first.get_or_insert((signal, now));
            raised.again |= now.duration_since(first) > SAME;
        });
    }

    /// The signal that asked us to end, if one did.
    pub fn requested(&self) -> Option<i32> {
        self.raised.borrow().first.map(|(signal, _)| signal)
    }

    /// `Stopped` once a signal came: for the top of a loop.
    pub fn check(&self) -> Result<()> {
        match self.requested() {
            Some(signal) => Err(stopped(signal)),
            None => Ok(()),
        }
    }

    /// Returns after `time`, or at once when asked to end.
    pub async fn sleep(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.wait()).await;
    }

    /// Returns once asked to end; for `select!`.
    pub async fn wait(&self) -> i32 {
        self.seen(|raised| raised.first.is_some()).await
    }

    /// Returns at the second signal: whoever sends it does not want to wait for the checkpoint.
    pub async fn wait_again(&self) -> i32 {
        self.seen(|raised| raised.again).await
    }

    async fn seen(&self, what: impl Fn(&Raised) -> bool) -> i32 {
        let mut raised = self.raised.subscribe();
        let seen = raised.wait_for(what).await.map(|raised| raised.first);
        match seen {
            Ok(first) => first.map_or(SIGTERM, |(signal, _)| signal),
            // We hold the sender, so it can't be gone.
            Err(_) => std::future::pending().await,
        }
    }

    /// Raises the flag on SIGINT and SIGTERM for as long as the returned task is held.
    pub fn listen_for_signals(&self) -> Result<Task<()>> {
        let listen = |kind: SignalKind, name: &str| -> Result<Signal> {
            signal(kind).map_err(|error| Error::give_up(format!("cannot listen for {name}: {error}")))
        };
        let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
        let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
        let stop = self.clone();
        Ok(spawn("signals", async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => stop.request(SIGINT),
                    _ = terminate.recv() => stop.request(SIGTERM),
                }
            }
        }))
    }
}

pub(super) fn stopped(signal: i32) -> Error {
    let name = match signal {
        SIGINT => "SIGINT".to_owned(),
        SIGTERM => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    };
    Error::new(Kind::Stopped(signal), format!("stopped by {name}, all is saved"))
        .hint("run the same command again: it resumes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_is_the_reason_and_stays() {
        let stop = Stop::new();
        assert_eq!(stop.requested(), None);
        assert!(stop.check().is_ok());
        let waiting = spawn("waiting", {
            let stop = stop.clone();
            async move { Ok(stop.wait().await) }
        });
        let now = Instant::now();
        stop.request_at(SIGTERM, now);
        stop.request_at(SIGINT, now + SAME);
        assert_eq!(waiting.join().await.unwrap(), SIGTERM);
        assert_eq!(stop.requested(), Some(SIGTERM));
        assert!(!stop.raised.borrow().again, "the same signal, sent twice");
        stop.request_at(SIGINT, now + 2 * SAME);
        assert_eq!(stop.wait_again().await, SIGTERM);
        assert_eq!(stop.check().unwrap_err().kind, Kind::Stopped(SIGTERM));
    }
}
