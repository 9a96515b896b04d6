//! What can be wrong at a target, each fault with the keys that `verify` must name for it.

use super::data::{Cells, Data, FIRST_ID, KINDS, PAIRS, STEP, Table, UUIDS, WORDS, kinds_row};
use crate::support::product::Place;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::BTreeSet;

/// (table, key as it is shown, what).
pub type Named = BTreeSet<(String, String, String)>;

#[derive(Debug, Clone)]
pub struct Fault {
    pub about: String,
    /// For the target.
    pub sql: String,
    pub named: Named,
    /// Of a changed row.
    pub column: Option<&'static str>,
    /// Values that stand in it: none of them may be seen where values are masked.
    pub values: Vec<String>,
}

/// As `--show-values` shows it: text in quotes, everything else bare.
fn shown(table: &Table, row: &Cells) -> String {
    let names: Vec<&str> = table.cols[..table.key].iter().map(|c| c.name).collect();
    let text = |name: &str| matches!((table.name, name), ("pairs", "b") | ("words", "word"));
    let value = |i: usize| {
        let value = row[i].clone().expect("a key");
        if text(names[i]) { format!("{value:?}") } else { value }
    };
    format!("{} = {}", names.join(", "), (0..table.key).map(value).collect::<Vec<_>>().join(", "))
}

fn named(table: &Table, rows: &[&Cells], what: &str) -> Named {
    rows.iter().map(|row| (table.name.to_owned(), shown(table, row), what.to_owned())).collect()
}

/// Long enough that it stands in an output only if it was shown. The numbers of a report are shorter.
fn telling<'a>(values: impl IntoIterator<Item = &'a Option<String>>) -> Vec<String> {
    values.into_iter().flatten().filter(|v| v.len() >= 9).cloned().collect()
}

fn changed(place: &Place, table: &Table, row: &Cells, column: &'static str, new: Option<&str>) -> Fault {
    let at = table.at(column);
    let new = new.map(str::to_owned);
    assert_ne!(row[at], new, "{column} must change");
    let about = format!("{}.{column} of {}: {:?} -> {new:?}", table.name, shown(table, row), row[at]);
    let values = telling(row.iter().chain([&new]));
    let (sql, named) = (table.update(place, row, at, &new), named(table, &[row], "changed"));
    Fault { about, sql, named, column: Some(column), values }
}

fn missing(place: &Place, table: &Table, row: &Cells) -> Fault {
    let (sql, named) = (table.delete(place, row), named(table, &[row], "missing"));
    Fault { about: format!("deleted {}", shown(table, row)), sql, named, column: None, values: telling(row) }
}

fn extra(place: &Place, table: &Table, row: Cells) -> Fault {
    let sql = table.insert(place, std::slice::from_ref(&row));
    let about = format!("extra {}", shown(table, &row));
    Fault { about, sql, named: named(table, &[&row], "extra"), column: None, values: telling(&row) }
}

fn swapped(place: &Place, table: &Table, one: &Cells, two: &Cells, column: &'static str) -> Fault {
    let at = table.at(column);
    assert_ne!(one[at], two[at]);
    let sql = table.update(place, one, at, &two[at]) + &table.update(place, two, at, &one[at]);
    let about = format!("{}.{column} swapped between {} and {}", table.name, shown(table, one), shown(table, two));
    let values = telling(one.iter().chain(two));
    Fault { about, sql, named: named(table, &[one, two], "changed"), column: Some(column), values }
}

/// The last digit goes up by one.
fn last_digit_up(text: &str) -> String {
    let (head, tail) = text.split_at(text.len() - 1);
    let digit: u32 = tail.parse().expect("a digit");
    assert!(digit < 9, "{text}");
    format!("{head}{}", digit + 1)
}

/// One unit, bit, letter or blank in a row's column.
fn by_one(column: &'static str, row: &Cells) -> Option<String> {
    let old = row[KINDS.at(column)].clone().expect("a value");
    Some(match column {
        "i" | "d" | "big" | "ts" | "day" | "clock" | "f" => last_digit_up(&old),
        "tz" => old.replace(":03.4", ":04.4"),
        "t" => old.replace("-x", "-y"),
        "s" => return None,
        "b" => {
            let last = u32::from_str_radix(&old[old.len() - 1..], 16).expect("hex") ^ 1;
            format!("{}{last:x}", &old[..old.len() - 1])
        }
        "flag" => if old == "TRUE" { "FALSE" } else { "TRUE" }.into(),
        "u" => format!("{}{}", &old[..35], if old.ends_with('0') { '1' } else { '0' }),
        "j" => last_digit_up(old.trim_end_matches('}')) + "}",
        other => panic!("no such column: {other}"),
    })
}

const CHANGED: [&str; 14] = ["i", "d", "big", "t", "s", "b", "ts", "tz", "day", "clock", "f", "flag", "u", "j"];

/// Hands out rows, none twice.
struct Deck<'a>(Vec<&'a Cells>);

impl<'a> Deck<'a> {
    fn new(rows: &'a [Cells], rng: &mut StdRng) -> Self {
        let mut rows: Vec<&Cells> = rows.iter().collect();
        rows.shuffle(rng);
        Self(rows)
    }

    fn draw(&mut self) -> &'a Cells {
        self.0.pop().expect("enough rows")
    }

    fn draw_if(&mut self, wanted: impl Fn(&Cells) -> bool) -> &'a Cells {
        let at = self.0.iter().position(|row| wanted(row)).expect("such a row");
        self.0.swap_remove(at)
    }
}

fn in_kinds(place: &Place, data: &Data, rng: &mut StdRng) -> Vec<Fault> {
    let rows = &data["kinds"];
    let last = FIRST_ID + STEP * rows.len() as i64;
    let mut deck = Deck::new(rows, rng);
    let mut faults: Vec<Fault> = CHANGED
        .iter()
        .map(|column| {
            let row = deck.draw_if(|row| row[KINDS.at("s")] != Some(String::new()));
            changed(place, &KINDS, row, column, by_one(column, row).as_deref())
        })
        .collect();
    let t = |row: &Cells| row[KINDS.at("t")].clone().expect("text");
    for change in [|t: &str| t.replace("canary", "Canary"), |t: &str| format!("{t} "), |t: &str| format!(" {t}")] {
        let row = deck.draw();
        faults.push(changed(place, &KINDS, row, "t", Some(&change(&t(row)))));
    }
    // A letter in another form of Unicode, which looks the same.
    let row = deck.draw();
    faults.push(changed(place, &KINDS, row, "t", Some(&t(row).replace('ë', "e\u{308}"))));
    let empty = deck.draw_if(|row| row[KINDS.at("s")] == Some(String::new()));
    faults.push(changed(place, &KINDS, empty, "s", None));
    let full = deck.draw_if(|row| row[KINDS.at("s")] != Some(String::new()));
    faults.push(changed(place, &KINDS, full, "s", Some("")));
    for _ in 0..2 {
        faults.push(missing(place, &KINDS, deck.draw()));
    }
    for id in [FIRST_ID + STEP * 7 + 3, FIRST_ID - 1, -5_000_000_000, last, last + 5_000_000_000] {
        faults.push(extra(place, &KINDS, kinds_row(id, rng)));
    }
    for column in ["i", "t", "b", "big"] {
        faults.push(swapped(place, &KINDS, deck.draw(), deck.draw(), column));
    }
    faults
}

fn in_keys(place: &Place, data: &Data, rng: &mut StdRng) -> Vec<Fault> {
    let some = |t: &str| Some(t.to_owned());
    let mut faults = Vec::new();
    for (table, column, value) in [(&PAIRS, "v", "canary-pair-other"), (&WORDS, "v", "77"), (&UUIDS, "v", "78")] {
        let mut deck = Deck::new(&data[table.name], rng);
        faults.push(missing(place, table, deck.draw()));
        faults.push(changed(place, table, deck.draw(), column, Some(value)));
        faults.push(changed(place, table, deck.draw(), column, None));
        faults.push(swapped(place, table, deck.draw(), deck.draw(), column));
    }
    let inside = data["pairs"][3][0].clone();
    for a in [inside, some("-4000000000"), some("4000000000")] {
        faults.push(extra(place, &PAIRS, vec![a, some("Pair-e-nobody"), some("canary-pair-extra")]));
    }
    for word in ["", "apfel900000001", "zzzzzzzzzz", "\u{10fffd}nobody's"] {
        faults.push(extra(place, &WORDS, vec![some(word), some("700000001")]));
    }
    for u in ["00000000-0000-0000-0000-000000000000", "80000000-0000-4000-8000-000000000001"] {
        faults.push(extra(place, &UUIDS, vec![some(u), some("700000002")]));
    }
    faults.push(extra(place, &UUIDS, vec![some("ffffffff-ffff-ffff-ffff-ffffffffffff"), None]));
    faults
}

/// No two of them touch the same row.
pub fn all(place: &Place, data: &Data, rng: &mut StdRng) -> Vec<Fault> {
    let mut faults = in_kinds(place, data, rng);
    faults.extend(in_keys(place, data, rng));
    faults
}
