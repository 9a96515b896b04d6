//! `--output json`: stdout is JSON lines. The first says `{"version":1,"command":…}`, the last is the result or the
//! error; between them each event, those of tables and of the stream thinned out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::progress::{Progress, stage_name};
use super::term::json_line;
use crate::event::{Event, Reporter};

/// Grows when a line's meaning changes; new keys and new events do not count.
pub const VERSION: u32 = 1;

pub fn first_line(command: &str) -> Value {
    json!({ "version": VERSION, "command": command })
}

pub fn line(event: &Event) -> Value {
    match event {
        Event::Phase { name, detail } => json!({ "event": "phase", "name": name, "detail": detail }),
        Event::Table { table, stage, rows, rows_total, done } => json!({
            "event": "table", "table": table, "stage": stage_name(*stage),
            "rows": rows, "rows_total": rows_total, "done": done,
        }),
        Event::Stream { position, confirmed, in_flight, lag_ms } => json!({
            "event": "stream", "position": position, "confirmed": confirmed, "in_flight": in_flight, "lag_ms": lag_ms,
        }),
        Event::Note(text) => json!({ "event": "note", "text": text }),
        Event::Warning(text) => json!({ "event": "warning", "text": text }),
    }
}

pub struct JsonLines {
    every: Duration,
    told: Mutex<HashMap<String, Told>>,
}

struct Told {
    at: Instant,
    done: bool,
}

impl JsonLines {
    pub fn new(every: Duration) -> Self {
        Self { every, told: Mutex::new(HashMap::new()) }
    }

    /// Whether an event is told: each change of state is, a mere step forward only now and then.
    fn is_due(&self, event: &Event, now: Instant) -> bool {
        let (key, done) = match event {
            Event::Table { table, stage, done, .. } => (format!("{} {table}", stage_name(*stage)), *done),
            Event::Stream { .. } => (String::new(), false),
            _ => return true,
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.get(&key).is_none_or(|last| last.done != done || now.duration_since(last.at) >= self.every);
        if due {
            told.insert(key, Told { at: now, done });
        }
        due
    }
}

impl Reporter for JsonLines {
    fn event(&self, event: &Event) {
        if self.is_due(event, Instant::now()) {
            json_line(&line(event).to_string());
        }
    }
}

impl Progress for JsonLines {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Stage;

    #[test]
    fn each_event_is_one_line() {
        let table = |rows, done| Event::Table { table: "a\nb".into(), stage: Stage::Verify, rows, rows_total: 9, done };
        let lines = [
            (
                table(3, true),
                r#"{"event":"table","table":"a\nb","stage":"verify","rows":3,"rows_total":9,"done":true}"#,
            ),
            (Event::Note("Zoë".into()), r#"{"event":"note","text":"Zoë"}"#),
            (
                Event::Phase { name: "backfill".into(), detail: String::new() },
                r#"{"event":"phase","name":"backfill","detail":""}"#,
            ),
            (
                Event::Stream { position: 4, confirmed: 2, in_flight: 2, lag_ms: 7 },
                r#"{"event":"stream","position":4,"confirmed":2,"in_flight":2,"lag_ms":7}"#,
            ),
        ];
        for (event, expected) in lines {
            assert_eq!(line(&event).to_string(), expected);
        }
        assert_eq!(first_line("apply").to_string(), r#"{"version":1,"command":"apply"}"#);

        let (json, now) = (JsonLines::new(Duration::from_secs(1)), Instant::now());
        assert!(json.is_due(&table(1, false), now));
        assert!(!json.is_due(&table(2, false), now + Duration::from_millis(999)));
        assert!(json.is_due(&table(3, false), now + Duration::from_secs(1)));
        assert!(json.is_due(&table(9, true), now + Duration::from_secs(1)));
        assert!(!json.is_due(&table(9, true), now + Duration::from_secs(1)));
        assert!(json.is_due(&Event::Note("x".into()), now));
    }
}
