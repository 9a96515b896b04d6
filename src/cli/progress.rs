//! Progress on stderr: bars where a person watches a terminal, plain lines where a log is kept.

use std::collections::{BTreeMap, HashMap};
use std::io::{Write, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::args::{Global, Output};
use super::bars::Bars;
use super::json::JsonLines;
use super::table::{count, counted, duration, lag};
use super::term::{disarm, escape, stderr_is_terminal};
use crate::error::Result;
use crate::event::{Event, Reporter, Stage};
use crate::task::{Task, spawn};

/// A reporter that is asked to leave the terminal to the result.
pub trait Progress: Reporter {
    /// Something that is due although nothing happened.
    fn beat(&self) {}
    fn finish(&self) {}
}

/// The reporter for this command line, and the task that keeps its heart beating.
pub fn start(global: &Global) -> (Arc<dyn Progress>, Task<()>) {
    let progress: Arc<dyn Progress> = match global.output {
        Output::Json => Arc::new(JsonLines::new(Duration::from_secs(1))),
        Output::Text if stderr_is_terminal() => Arc::new(Bars::new()),
        Output::Text => Arc::new(Heartbeat::new(stderr())),
    };
    let beating = progress.clone();
    let every = if stderr_is_terminal() { Duration::from_millis(250) } else { global.heartbeat };
    let task = spawn("heartbeat", async move { beat(beating, every).await });
    (progress, task)
}

async fn beat(progress: Arc<dyn Progress>, every: Duration) -> Result<()> {
    loop {
        tokio::time::sleep(every).await;
        progress.beat();
    }
}

pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Backfill => "backfill",
        Stage::Index => "build",
        Stage::Verify => "verify",
    }
}

/// Plain lines: one at each change of state, one at each beat.
pub struct Heartbeat<W: Write + Send> {
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    began: Instant,
    finished: bool,
    phase: Option<(String, String)>,
    stage: Option<Pace>,
    tables: BTreeMap<String, TableState>,
    /// Told already, with so many rows; each command that resumes reports them again.
    done: HashMap<(Stage, String), u64>,
    stream: Option<(u64, i64, u64)>,
}

/// Since when one stage runs, and how many rows were done before.
struct Pace {
    stage: Stage,
    since: Instant,
    rows_before: u64,
}

#[derive(Clone, Copy)]
struct TableState {
    rows: u64,
    total: u64,
    done: bool,
}

impl<W: Write + Send> Heartbeat<W> {
    pub fn new(out: W) -> Self {
        let state = State {
            out,
            began: Instant::now(),
            finished: false,
            phase: None,
            stage: None,
            tables: BTreeMap::new(),
            done: HashMap::new(),
            stream: None,
        };
        Self { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + Send> Reporter for Heartbeat<W> {
    fn event(&self, event: &Event) {
        self.state().event(event);
    }
}

impl<W: Write + Send> Progress for Heartbeat<W> {
    fn beat(&self) {
        let mut state = self.state();
        if !state.finished {
            let line = state.pulse();
            state.line(&line);
        }
    }

    fn finish(&self) {
        self.state().finished = true;
    }
}

impl<W: Write> State<W> {
    fn line(&mut self, text: &str) {
        let line = format!("[{}] {text}", duration(self.began.elapsed()));
        // A log that can't be written is no reason to stop moving data.
        let _ = writeln!(self.out, "{}", disarm(&line)).and_then(|()| self.out.flush());
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Phase { name, detail } => {
                let phase = (escape(name), escape(detail));
                if self.phase.as_ref().is_none_or(|(name, _)| *name != phase.0) {
                    self.stage = None;
                }
                if self.phase.as_ref() != Some(&phase) {
                    self.line(&if phase.1.is_empty() { phase.0.clone() } else { format!("{}: {}", phase.0, phase.1) });
                    self.phase = Some(phase);
                }
            }
            Event::Table { table, stage, rows, rows_total, done } => {
                self.table(table, *stage, TableState { rows: *rows, total: *rows_total, done: *done });
            }
            Event::Stream { position, in_flight, lag_ms, .. } => self.stream = Some((*position, *lag_ms, *in_flight)),
            Event::Note(text) => self.line(&escape(text)),
            Event::Warning(text) => self.line(&format!("warning: {}", escape(text))),
        }
    }

    fn table(&mut self, name: &str, stage: Stage, now: TableState) {
        if self.stage.as_ref().is_none_or(|pace| pace.stage != stage) {
            self.tables.clear();
            self.stage = Some(Pace { stage, since: Instant::now(), rows_before: 0 });
        }
        let before = self.tables.insert(name.to_owned(), now);
        if let (None, Some(pace)) = (before, &mut self.stage) {
            pace.rows_before += now.rows;
        }
        let key = (stage, name.to_owned());
        if !now.done {
            self.done.remove(&key);
        } else if self.done.insert(key, now.rows) != Some(now.rows) {
            let rows = if stage == Stage::Index { String::new() } else { format!(", {}", counted(now.rows, "row")) };
            self.line(&format!("{}: {} done{rows}", stage_name(stage), escape(name)));
        }
    }

    /// Where everything stands, on one line.
    fn pulse(&self) -> String {
        let stage = self.stage.as_ref().map_or("working", |pace| stage_name(pace.stage));
        let phase = self.phase.as_ref().map_or(stage, |(name, _)| name);
        let mut parts: Vec<String> = Vec::new();
        if let Some(pace) = self.stage.as_ref().filter(|_| self.tables.values().any(|table| !table.done)) {
            let rows: u64 = self.tables.values().map(|table| table.rows).sum();
            let total: u64 = self.tables.values().map(|table| table.total.max(table.rows)).sum();
            let done = self.tables.values().filter(|table| table.done).count();
            let elapsed = pace.since.elapsed().as_secs_f64();
            let rate = rows.saturating_sub(pace.rows_before) as f64 / elapsed.max(0.001);
            parts.push(format!("{} of ~{} ({}%)", counted(rows, "row"), count(total), percent(rows, total)));
            if rate >= 1.0 {
                let left = Duration::from_secs_f64(((total - rows) as f64 / rate).min(1e9));
                parts.push(format!("{} rows/s, ~{} left", count(rate as u64), duration(left)));
            }
            parts.push(format!("{done} of {} done", counted(self.tables.len() as u64, "table")));
        }
        if let Some((position, lag_ms, in_flight)) = self.stream {
            parts.push(format!("position {}, lag {}, {} in flight", count(position), lag(lag_ms), count(in_flight)));
        }
        if parts.is_empty() { format!("{phase} …") } else { format!("{phase}: {}", parts.join("; ")) }
    }
}

pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 100 } else { (u128::from(part.min(whole)) * 100 / u128::from(whole)) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(heartbeat: &Heartbeat<Vec<u8>>) -> Vec<String> {
        let out = String::from_utf8(std::mem::take(&mut heartbeat.state().out)).unwrap();
        out.lines().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
    }

    fn table(name: &str, rows: u64, done: bool) -> Event {
        Event::Table { table: name.into(), stage: Stage::Backfill, rows, rows_total: 1000, done }
    }

    #[test]
    fn one_line_for_each_change_of_state_and_none_between() {
        let heartbeat = Heartbeat::new(Vec::new());
        let phase = Event::Phase { name: "backfill".into(), detail: "2 tables".into() };
        for event in [phase.clone(), phase, table("a", 10, false), table("a", 500, false), table("a", 990, true)] {
            heartbeat.event(&event);
        }
        // A stage between, as where one command follows another, makes it no news.
        heartbeat.event(&Event::Table { table: "a".into(), stage: Stage::Verify, rows: 1, rows_total: 9, done: false });
        heartbeat.event(&table("a", 990, true));
        heartbeat.event(&Event::Warning("lock on \"x\x1b[2J\"".into()));
        heartbeat.event(&Event::Note("::add-mask::x".into()));
        let lines = [
            "backfill: 2 tables",
            "backfill: a done, 990 rows",
            "warning: lock on \"x\\u{1b}[2J\"",
            "::add-mask::x", // behind the time, so that it begins no line
        ];
        assert_eq!(shown(&heartbeat), lines);
    }

    #[test]
    fn a_beat_says_where_all_stands() {
        let heartbeat = Heartbeat::new(Vec::new());
        heartbeat.beat();
        heartbeat.event(&Event::Phase { name: "backfill".into(), detail: String::new() });
        heartbeat.event(&table("a", 1000, true));
        heartbeat.event(&table("b", 500, false));
        heartbeat.event(&Event::Stream { position: 1234, confirmed: 1230, in_flight: 4, lag_ms: 12 });
        shown(&heartbeat).clear();
        heartbeat.beat();
        let stream = "position 1,234, lag 12 ms, 4 in flight";
        let line = format!("backfill: 1,500 rows of ~2,000 (75%); 1 of 2 tables done; {stream}");
        assert_eq!(shown(&heartbeat), [line]);
        heartbeat.finish();
        heartbeat.beat();
        assert_eq!(shown(&heartbeat), [""; 0]);
    }

    #[test]
    fn an_estimate_that_was_too_low_is_no_trouble() {
        let heartbeat = Heartbeat::new(Vec::new());
        heartbeat.event(&table("a", 5, false));
        heartbeat.event(&table("a", 5000, false));
        heartbeat.beat();
        let line = shown(&heartbeat).remove(0);
        assert!(line.starts_with("backfill: 5,000 rows of ~5,000 (100%); "), "{line}");
    }

    #[tokio::test]
    async fn the_heart_beats_by_itself() {
        struct Counter(std::sync::atomic::AtomicU32);
        impl Reporter for Counter {
            fn event(&self, _: &Event) {}
        }
        impl Progress for Counter {
            fn beat(&self) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let counter = Arc::new(Counter(0.into()));
        let task = spawn("heartbeat", beat(counter.clone(), Duration::from_millis(5)));
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(task);
        assert!(counter.0.load(std::sync::atomic::Ordering::SeqCst) >= 2);
    }
}
