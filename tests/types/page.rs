//! docs/types.md, from what was found.

use super::{Engine, Outcome, corpus, table};
use std::collections::BTreeMap;
use std::fmt::Write;

pub fn page(matrix: &BTreeMap<(Engine, Engine), BTreeMap<usize, Outcome>>) -> String {
    let mut text = String::from(HEAD);
    let mut notes: Vec<String> = Vec::new();
    for source in Engine::ALL {
        let _ = write!(text, "\n## From {}\n\n| type |", source.name());
        Engine::ALL.iter().for_each(|t| text.push_str(&format!(" to {} |", t.name())));
        text.push_str("\n|---|---|---|---|\n");
        for (i, case) in corpus::of(source).iter().enumerate() {
            let _ = write!(text, "| {} |", case.name.replace('|', "\\|"));
            for target in Engine::ALL {
                let cell = match &matrix[&(source, target)][&i] {
                    Outcome::Exact => "exact".to_owned(),
                    Outcome::Canonical(form) => format!("exact, {form}"),
                    Outcome::Refused(why) => format!("refused [{}]", note(&mut notes, "plan", why, source, i)),
                    Outcome::Stopped(why) => format!("stopped [{}]", note(&mut notes, "apply", why, source, i)),
                };
                let _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
    }
    text.push_str("\n## What is said\n\n");
    for (i, why) in notes.iter().enumerate() {
        let _ = writeln!(text, "{}. {why}", i + 1);
    }
    text
}

/// The number of a message, without the names of the test's tables.
fn note(notes: &mut Vec<String>, verb: &str, why: &str, source: Engine, case: usize) -> usize {
    let name = table(source, case);
    let text = format!("`{verb}`: {}", why.replace(&format!("public.{name}"), "T").replace(&name, "T"));
    let at = notes.iter().position(|n| *n == text).unwrap_or_else(|| {
        notes.push(text);
        notes.len() - 1
    });
    at + 1
}

const HEAD: &str = "# Types\n\n\
Written by `tests/types.rs`, which moves each type with its extremes through every pair (half of the rows by chunk, half\n\
by change, into tables that `create_tables` made), compares by SQL of its own, and then changes one cell of each table by\n\
one unit, which `verify` must name. So a cell of these tables can't be wrong:\n\n\
- **exact**: every value arrives as it was, and a change of one unit is found. *As a number*: `1.10` may be spelled\n\
  `1.1`. *In one spelling*: 36 small characters. *As its text*: in a text column, as a session in UTC with ISO dates and\n\
  intervals shows it.\n\
- **refused**: `plan` names the check, the column and the way out. Each cast that it gives was tried.\n\
\nA value that `plan` counts and refuses may also be written later: then `apply` stops at it, names table and key, and\n\
changes nothing. A \"stopped\" in these tables would be one that `plan` did not count.\n\n\
What equals what: a decimal is its number (`1.10` is `1.1`, `-0` is `0`); a float its bits; a text its characters, of which\n\
the padding of a `char(n)` is none; a timestamp with zone its instant; JSON its text. More of SQLite's declared types stands\n\
in [types-sqlite.md](types-sqlite.md), of MySQL's in [types-mysql.md](types-mysql.md).\n";
