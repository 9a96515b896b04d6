//! One attempt at a change of owner, from the fence to the decision, and what gives the writes back where it fails.
//!
//! The fence runs out by itself, so that a process that dies here leaves nothing behind that refuses writes for good.

use std::time::{Duration, Instant};

use crate::entry::Turn;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::link::cut::Opened;
use crate::store::{Fence, Side};
use crate::task::failpoint;

use super::host::Host;
use super::report::CutReport;
use super::session::Session;
use super::way::Way;

/// Setting of the source: the last attempt's number.
const CUT: &str = "cut";
/// With less than this left another attempt is none.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// Where the pause goes.
struct Steps {
    began: Instant,
    /// The fence runs out then.
    limit: Duration,
    at: Instant,
    steps_ms: Vec<(String, u64)>,
}

impl Steps {
    fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self { began: now, limit, at: now, steps_ms: vec![] }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.elapsed())
    }

    /// For who wonders what took so long.
    fn so_far(&self) -> String {
        let done = self.steps_ms.iter().map(|(step, ms)| format!("{step} {ms} ms, "));
        format!("{}then {} ms", done.collect::<String>(), self.at.elapsed().as_millis())
    }

    fn done(&mut self, step: &str) {
        self.steps_ms.push((step.to_owned(), self.at.elapsed().as_millis() as u64));
        self.at = Instant::now();
    }
}

/// Nothing is decided.
struct Failed {
    error: Error,
    /// Writes were given back, and the reason may pass.
    may_pass: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, may_pass: false }
    }
}

impl Session {
    /// From the fence to the news of the decision. What fails for a moment's reason (a deadlock, a lost connection) is
    /// tried again after writes were given back, within what is left of `max_write_pause`.
    pub(super) async fn attempt(
        &self,
        way: &Way,
        host: &mut Host,
        scopes: Option<&[String]>,
        report: &mut CutReport,
    ) -> Result<Opened> {
        let mut left = Duration::from_millis(self.plan.cutover.max_write_pause_ms);
        loop {
            let mut steps = Steps::new(left);
            match self.fence_and_decide(way, host, scopes, &mut steps).await {
                Ok(opened) => {
                    report.pause_ms = steps.began.elapsed().as_millis() as u64;
                    report.steps_ms = steps.steps_ms;
                    return Ok(opened);
                }
                Err(Failed { error, may_pass }) => {
                    left = left.saturating_sub(steps.began.elapsed());
                    if !may_pass || left < LEAST_PAUSE {
                        return Err(error);
                    }
                    self.reporter.event(&Event::Warning(format!("{error}; once more")));
                    self.check_stop()?;
                    host.settle(self).await?;
                }
            }
        }
    }

    async fn fence_and_decide(
        &self,
        way: &Way,
        host: &mut Host,
        scopes: Option<&[String]>,
        steps: &mut Steps,
    ) -> std::result::Result<Opened, Failed> {
        let m = self.migration();
        let cut = self.patiently(|| self.next_cut()).await?;
        let text = format!("attempt {cut}, the {} gives", way.owner.name());
        self.patiently(|| self.source.journal(m, "cutover", "fencing", &text)).await?;
        failpoint("cutover.begun");
        let opened = match self.drain_and_decide(way, host, scopes, cut, steps).await {
            Ok(opened) => opened,
            Err(error) => match self.decided_after_all(way, cut).await? {
                Some(opened) => opened,
                None => {
                    let may_pass = error.is_retry();
                    return Err(Failed { error: self.give_back(way, host, cut, error, steps).await, may_pass });
                }
            },
        };
        failpoint("cutover.decided");
        let text = described(&opened.turns);
        self.patiently(|| self.source.journal(m, "cutover", "decided", &text)).await?;
        self.wait_until_told(host, &opened.turns).await?;
        steps.done("open");
        failpoint("cutover.told");
        Ok(opened)
    }

    /// Attempts are told apart, so that nothing of one is taken for another's.
    async fn next_cut(&self) -> Result<u64> {
        let m = self.migration();
        let last = self.source.get(m, Side::Source, CUT).await?.and_then(|text| text.parse::<u64>().ok());
        let cut = last.unwrap_or_default() + 1;
        self.source.put(m, Side::Source, CUT, &cut.to_string()).await?;
        Ok(cut)
    }

    /// Tries again as long as there is time: each try waits for a lock no longer than the plan says.
    async fn fence(&self, way: &Way, scopes: Option<&[String]>, cut: u64, steps: &Steps) -> Result<()> {
        let grantee = way.sender.who().await?;
        let lock_timeout_ms = i64::try_from(self.plan.cutover.lock_timeout_ms).unwrap_or(300);
        let mut pause = Duration::from_millis(5);
        loop {
            let left = steps.left();
            let pause_ms = i64::try_from(left.as_millis()).unwrap_or(0);
            let lock_timeout_ms = lock_timeout_ms.min(pause_ms.max(1));
            let fence = Fence { pause_ms, lock_timeout_ms, cut, grantee: &grantee, scopes };
            match way.sender_admin.fence(&way.layout, Side::Source, &fence).await {
                Ok(_) => return Ok(()),
                Err(e) if e.is_retry() && pause < steps.left() => {
                    self.check_stop()?;
                    self.stop.sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Err(e) => return Err(e.context("the fence")),
            }
        }
    }

    async fn drain_and_decide(
        &self,
        way: &Way,
        host: &mut Host,
        scopes: Option<&[String]>,
        cut: u64,
        steps: &mut Steps,
    ) -> Result<Opened> {
        let parted = match scopes {
            Some(_) => self.use_ranges(&way.layout).await?,
            None => self.are_numbers_parted(&way.layout).await?,
        };
        self.fence(way, scopes, cut, steps).await?;
        steps.done("fence");
        failpoint("cutover.fenced");
        let left = steps.left();
        let late = || Error::new(Kind::Gate, "the rest was not at the taker within \"max_write_pause\"");
        // Behind the fence nothing is given out any more: the numbers can go with the rest.
        let numbered = async {
            let carried = self.carry_numbers(way, parted).await;
            failpoint("cutover.numbered");
            carried
        };
        let drained = tokio::time::timeout(left, host.hand_over(self, cut));
        let (drained, numbered) = tokio::join!(drained, numbered);
        drained.map_err(|_| late())??;
        numbered?;
        steps.done("drain");
        failpoint("cutover.drained");
        let decided = host.decide(self, cut).await;
        steps.done("decide");
        decided
    }

    /// The commit of a decision may have been lost on its way to us: the gate says what is true.
    async fn decided_after_all(&self, way: &Way, cut: u64) -> Result<Option<Opened>> {
        let gate = self.patiently(|| way.sender.gate(&way.layout, Side::Source)).await?;
        let turns: Vec<Turn> = gate.parts().filter(|p| p.covered && p.closed).map(|p| p.at(p.turn)).collect();
        Ok((gate.cut == cut && !turns.is_empty()).then(|| Opened { turns, position: Default::default() }))
    }

    /// Nothing happened: writes are taken again, at the latest when the fence runs out.
    async fn give_back(&self, way: &Way, host: &mut Host, cut: u64, error: Error, steps: &Steps) -> Error {
        // What never was fenced is not waited for again: who held it may hold it for long.
        let unfenced = match way.sender.gate(&way.layout, Side::Source).await {
            Ok(gate) if gate.cut != cut => Ok(()),
            _ => self.unfence_in_time(way, steps).await,
        };
        let _ = host.release(self).await;
        // Best effort: the fence runs out by itself.
        let _ = self.source.journal(self.migration(), "cutover", "aborted", &format!("attempt {cut}: {error}")).await;
        if let Err(e) = unfenced {
            self.reporter
                .event(&Event::Warning(format!("the fence could not be taken away, it runs out by itself: {e}")));
        }
        let kind = if error.is_retry() { Kind::Gate } else { error.kind };
        let hint = error.hint_text().unwrap_or("try again").to_owned();
        let text = format!("not cut over, writes were given back ({}): {}", steps.so_far(), error.message());
        Error::new(kind, text).hint(hint)
    }

    /// No longer than the fence lasts: it runs out by itself then.
    async fn unfence_in_time(&self, way: &Way, steps: &Steps) -> Result<()> {
        loop {
            match way.sender_admin.unfence(&way.layout, Side::Source).await {
                Err(e) if e.is_retry() && !steps.left().is_zero() => self.stop.sleep(Duration::from_millis(50)).await,
                done => return done,
            }
        }
    }
}

fn described(turns: &[Turn]) -> String {
    let one = |t: &Turn| match &t.scope {
        Some(scope) => format!("turn {} of {scope}", t.turn),
        None => format!("turn {}", t.turn),
    };
    turns.iter().map(one).collect::<Vec<_>>().join(", ")
}
