//! Progress as a person at a terminal sees it: a bar per table at work, a line for the stream, the rest above.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::progress::{Progress, stage_name};
use super::table::{count, counted, lag};
use super::term::{disarm, escape};
use crate::event::{Event, Reporter, Stage};

const TABLE: &str = "  {prefix:<24!} {wide_bar} {human_pos}/~{human_len}  {rate}  ETA {eta}";

pub struct Bars {
    multi: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Option<(String, String)>,
    tables: HashMap<(Stage, String), ProgressBar>,
    done: HashMap<(Stage, String), u64>,
    stream: Option<ProgressBar>,
}

impl Bars {
    pub fn new() -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { multi, state: Mutex::new(State::default()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that stays, above the bars.
    fn line(&self, text: &str) {
        let _ = self.multi.println(disarm(text));
    }

    fn table(&self, table: &str, stage: Stage, rows: u64, total: u64, done: bool) {
        let mut state = self.state();
        let key = (stage, table.to_owned());
        if done {
            if let Some(bar) = state.tables.remove(&key) {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
            if state.done.insert(key, rows) != Some(rows) {
                let rows = if stage == Stage::Index { "done".to_owned() } else { counted(rows, "row") };
                self.line(&format!("  {} {}: {rows}", stage_name(stage), escape(table)));
            }
            return;
        }
        state.done.remove(&key);
        let bar = state.tables.entry(key).or_insert_with(|| self.new_bar(table, rows));
        bar.set_length(total.max(rows));
        bar.set_position(rows);
    }

    /// Rate and ETA count from where it stands: a resumed table was not copied in the first second.
    fn new_bar(&self, table: &str, rows: u64) -> ProgressBar {
        let bar = ProgressBar::new(0).with_prefix(escape(table)).with_position(rows);
        let bar = self.multi.insert(0, bar);
        bar.set_style(style(TABLE));
        bar.reset_eta();
        bar
    }

    fn stream(&self, text: String) {
        let mut state = self.state();
        let bar = state.stream.get_or_insert_with(|| {
            let bar = self.multi.add(ProgressBar::new_spinner());
            bar.set_style(style("  {wide_msg}"));
            bar
        });
        bar.set_message(text);
    }
}

fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{} rows/s", count(state.per_sec() as u64));
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", rate).progress_chars("━╸─")
}

impl Reporter for Bars {
    fn event(&self, event: &Event) {
        match event {
            Event::Phase { name, detail } => {
                let phase = (escape(name), escape(detail));
                let mut state = self.state();
                if state.phase.as_ref() != Some(&phase) {
                    let separator = if phase.1.is_empty() { "" } else { ": " };
                    self.line(&format!("{}{separator}{}", phase.0, phase.1));
                    state.phase = Some(phase);
                }
            }
            Event::Table { table, stage, rows, rows_total, done } => {
                self.table(table, *stage, *rows, *rows_total, *done);
            }
            Event::Stream { position, in_flight, lag_ms, .. } => {
                let (position, in_flight) = (count(*position), count(*in_flight));
                self.stream(format!("stream  position {position}  lag {}  in flight {in_flight}", lag(*lag_ms)));
            }
            Event::Note(text) => self.line(&format!("  {}", escape(text))),
            Event::Warning(text) => self.line(&format!("  warning: {}", escape(text))),
        }
    }
}

impl Progress for Bars {
    /// Draws again, so that rates and ETA sink while nothing comes.
    fn beat(&self) {
        for bar in self.state().tables.values() {
            bar.tick();
        }
    }

    fn finish(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        for bar in state.tables.drain().map(|(_, bar)| bar).chain(state.stream.take()) {
            bar.finish_and_clear();
        }
        let _ = self.multi.clear();
    }
}
