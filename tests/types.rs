//! Every type of every engine to every engine: exact, or refused by name. What it finds is docs/types.md.
//!
//! For each pair one migration has a table for each type. Half of the rows come by chunk, half by change. They are
//! compared by the test's own SQL; then one cell of each table is changed at the target by one unit, and `verify` must
//! name exactly those.
//!
//! Takes some minutes, so it runs by name: `tests/run --test types -- --ignored`. With `MIGRATE_BLESS=1` it writes
//! docs/types.md anew; without, it fails where that page says something else.

mod support;

#[path = "types/cells.rs"]
mod cells;
#[path = "types/corpus.rs"]
mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use corpus::Case;
use support::compare::{Rows, rows};
use support::product::{Place, Product, Ran};
use support::{MariaDb, Postgres};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    Postgres,
    MariaDb,
    Sqlite,
}

impl Engine {
    const ALL: [Engine; 3] = [Engine::Postgres, Engine::MariaDb, Engine::Sqlite];

    fn name(self) -> &'static str {
        match self {
            Engine::Postgres => "PostgreSQL",
            Engine::MariaDb => "MariaDB",
            Engine::Sqlite => "SQLite",
        }
    }

    async fn place(self, dir: &Path, hint: &str) -> Place {
        match self {
            Engine::Postgres => {
                let db = Postgres::shared().database(hint).await;
                db.grant_target_rights().await;
                Place::Postgres(db)
            }
            Engine::MariaDb => {
                let db = MariaDb::shared().database(hint).await;
                db.grant_target_rights().await;
                Place::MariaDb(db)
            }
            Engine::Sqlite => {
                let path = dir.join(format!("{hint}.db"));
                std::fs::File::create(&path).expect("a file");
                Place::Sqlite(path)
            }
        }
    }
}

/// What became of a type at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Exact,
    /// By `plan`; what it says.
    Refused(String),
    /// By `apply`, when it came to the value; what it says.
    Stopped(String),
}

fn table(case: usize) -> String {
    format!("k{case}")
}

/// Rows `from`, `from` + 2 … of a table: `id` is the value's place in the corpus.
fn insert(case: usize, c: &Case, odd: bool) -> String {
    let each = c.values.iter().enumerate().filter(|(i, _)| (i % 2 == 1) == odd);
    each.map(|(i, v)| format!("INSERT INTO {} (id, v) VALUES ({i}, {v});", table(case))).collect()
}

struct Pair {
    source: Engine,
    target: Engine,
    from: Place,
    to: Place,
    /// Of SQLite files; removed at the end.
    _dir: tempfile::TempDir,
}

impl Pair {
    async fn new(source: Engine, target: Engine) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let from = source.place(dir.path(), "from").await;
        let to = target.place(dir.path(), "to").await;
        let mode = if source == Engine::MariaDb { "SET sql_mode = ''; SET time_zone = '+00:00';" } else { "" };
        let mut sql = format!("{mode}{}", corpus::prelude(source));
        for (i, c) in corpus::of(source).iter().enumerate() {
            let _ = write!(
                sql,
                "CREATE TABLE {} (id integer NOT NULL PRIMARY KEY, v {});{}{}",
                table(i),
                c.ddl,
                insert(i, c, false),
                insert(i, c, true)
            );
        }
        from.exec(&sql).await;
        if source == target && !corpus::prelude(source).is_empty() {
            to.exec(corpus::prelude(source)).await;
        }
        Self { source, target, from, to, _dir: dir }
    }

    fn cases(&self) -> &'static [Case] {
        corpus::of(self.source)
    }

    fn product(&self, name: &str, wanted: &BTreeSet<usize>) -> Product {
        let tables: String = wanted.iter().map(|i| format!("  - from: {}\n", table(*i))).collect();
        Product::new(name, &self.from, &self.to, None, &format!("create_tables: true\ntables:\n{tables}"))
    }

    /// Takes the types out that `plan` refuses.
    async fn planned(&self, wanted: &mut BTreeSet<usize>, outcomes: &mut BTreeMap<usize, Outcome>) {
        let product = self.product("types", wanted);
        let plan = product.run(&["plan", "--json"]).await;
        // It has seen all values; half of them come later.
        self.without_late_rows(wanted).await;
        if plan.code == 0 {
            return;
        }
        assert_eq!(plan.code, 65, "{}", plan.stderr);
        for (place, message) in problems(&plan) {
            wanted.remove(&place);
            outcomes.entry(place).or_insert(Outcome::Refused(message));
        }
    }

    /// Chunk, then change, until nothing is left that stops it.
    async fn moved(&self, wanted: &mut BTreeSet<usize>, outcomes: &mut BTreeMap<usize, Outcome>) -> Product {
        loop {
            let product = self.product("types", wanted);
            let mut ran = product.run(&["apply", "--until", "backfill"]).await;
            if ran.code == 0 {
                let mode =
                    if self.source == Engine::MariaDb { "SET sql_mode = ''; SET time_zone = '+00:00';" } else { "" };
                let late: String = wanted.iter().map(|i| insert(*i, &self.cases()[*i], true)).collect();
                self.from.exec(&format!("{mode}{late}")).await;
                ran = product.run(&["apply"]).await;
            }
            if ran.code == 0 {
                assert!(ran.stdout.contains("in sync"), "{}", ran.stdout);
                return product;
            }
            let log = if [self.source, self.target].contains(&Engine::MariaDb) {
                MariaDb::shared().log()
            } else {
                String::new()
            };
            assert_eq!(ran.code, 1, "{}\n{}\n{log}", ran.stdout, ran.stderr);
            let place = stopped_at(&ran, wanted);
            println!("{} to {}: {}", self.source.name(), self.target.name(), last_error(&ran));
            outcomes.insert(place, Outcome::Stopped(last_error(&ran)));
            wanted.remove(&place);
            product.run(&["abort", "--drop-created"]).await.expect(0);
            self.without_late_rows(wanted).await;
        }
    }

    async fn without_late_rows(&self, wanted: &BTreeSet<usize>) {
        let undo: String = wanted.iter().map(|i| format!("DELETE FROM {} WHERE id % 2 = 1;", table(*i))).collect();
        self.from.exec(&undo).await;
    }

    async fn cells(&self, place: &Place, engine: Engine, case: usize) -> Rows {
        let class = self.cases()[case].class;
        let id = if engine == Engine::Sqlite { "CAST(id AS TEXT)" } else { "id" };
        let sql = format!("SELECT {id}, {} FROM {}", cells::shown(engine, class), table(case));
        let found = rows(&place.store_ref(), &sql).await;
        found.map_cells(|i, cell| if i == 1 { cells::normal(class, cell) } else { cell.to_owned() })
    }

    async fn check(&self) -> BTreeMap<usize, Outcome> {
        let what = format!("{} to {}", self.source.name(), self.target.name());
        let began = std::time::Instant::now();
        let (mut wanted, mut outcomes) = ((0..self.cases().len()).collect(), BTreeMap::new());
        self.planned(&mut wanted, &mut outcomes).await;
        println!("{what}: planned after {:?}", began.elapsed());
        let product = self.moved(&mut wanted, &mut outcomes).await;
        println!("{what}: moved after {:?}", began.elapsed());
        for &case in &wanted {
            let name = format!("{what}: {}", self.cases()[case].name);
            let (left, right) =
                (self.cells(&self.from, self.source, case).await, self.cells(&self.to, self.target, case).await);
            assert_eq!(left.count(), self.cases()[case].values.len(), "{name}");
            support::compare::assert_same(&name, &left, &right);
            outcomes.insert(case, Outcome::Exact);
        }
        self.one_unit(&what, &product, &wanted).await;
        println!("{what}: done after {:?}", began.elapsed());
        outcomes
    }

    /// Each cell that is changed by one unit is found, and nothing else.
    async fn one_unit(&self, what: &str, product: &Product, wanted: &BTreeSet<usize>) {
        product.run(&["verify"]).await.expect(0);
        for &case in wanted {
            let c = &self.cases()[case];
            let literal = cells::literal(self.target, c.class, c.unit);
            let mode = if self.target == Engine::MariaDb { "SET time_zone = '+00:00';" } else { "" };
            self.to.exec(&format!("{mode}UPDATE {} SET v = {literal} WHERE id = 0", table(case))).await;
        }
        let verified = product.run(&["verify", "--output", "json"]).await.expect(3);
        let last: serde_json::Value =
            serde_json::from_str(verified.stdout.lines().last().unwrap_or_default()).expect("JSON");
        let found = differing(&last);
        let expected = wanted.iter().map(|case| (table(*case), 1)).collect();
        let name = |table: &String| self.cases()[table[1..].parse::<usize>().expect("a number")].name;
        let unseen: Vec<_> = wanted.iter().map(|c| table(*c)).filter(|t| !found.contains_key(t)).collect();
        assert!(
            found == expected,
            "{what}: not seen: {:?}; found {found:?}",
            unseen.iter().map(name).collect::<Vec<_>>()
        );
    }
}

/// Differing rows of each table at the target.
fn differing(report: &serde_json::Value) -> BTreeMap<String, u64> {
    let tables = report["result"]["tables"].as_array().unwrap_or_else(|| panic!("no tables: {report}"));
    let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let each =
        tables.iter().map(|t| (bare(t["target"].as_str().unwrap_or_default()), t["differing"].as_u64().unwrap_or(0)));
    each.filter(|(_, n)| *n > 0).collect()
}

/// The table of each error, and what is said of it: the message with its check, and the way out.
fn problems(ran: &Ran) -> Vec<(usize, String)> {
    let report = ran.json();
    let findings = report["findings"].as_array().expect("findings");
    let of = |f: &serde_json::Value| {
        let text = |key: &str| f[key].as_str().unwrap_or_default().to_owned();
        let name = text("table");
        let place = name.rsplit('.').next().and_then(|n| n.strip_prefix('k')?.parse().ok());
        let place = place.unwrap_or_else(|| panic!("whose? {f}"));
        assert!(!text("hint").is_empty(), "no way out: {f}");
        (place, format!("{} [{}]; {}", text("message"), text("id"), text("hint")))
    };
    let found: Vec<_> = findings.iter().filter(|f| f["severity"] == "error").map(of).collect();
    assert!(!found.is_empty(), "no problem is named: {report}");
    found
}

fn last_error(ran: &Ran) -> String {
    let line = ran.stderr.lines().rev().find(|l| l.contains("error") || l.contains("refuse")).unwrap_or_default();
    line.trim().to_owned()
}

/// The table that an ended run names.
fn stopped_at(ran: &Ran, wanted: &BTreeSet<usize>) -> usize {
    let named = |i: &&usize| {
        let name = table(**i);
        ran.stderr.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name)
    };
    *wanted.iter().rev().find(named).unwrap_or_else(|| panic!("it names no table: {}", ran.stderr))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "some minutes: MIGRATE_BLESS=1 tests/run --test types -- --ignored writes docs/types.md"]
async fn every_type_is_exact_or_refused_by_name() {
    let mut matrix = BTreeMap::new();
    for source in Engine::ALL {
        let pairs = Engine::ALL.map(|target| async move {
            if is_wanted(source, target) { Pair::new(source, target).await.check().await } else { BTreeMap::new() }
        });
        let [a, b, c] = pairs;
        let (a, b, c) = tokio::join!(a, b, c);
        for (target, outcomes) in Engine::ALL.into_iter().zip([a, b, c]) {
            matrix.insert((source, target), outcomes);
        }
    }
    if std::env::var_os("MIGRATE_TYPES").is_some() {
        return;
    }
    let text = page(&matrix);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/types.md");
    if std::env::var_os("MIGRATE_BLESS").is_some() {
        std::fs::write(&path, &text).expect("docs/types.md");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/types.md is not what was found: MIGRATE_BLESS=1 tests/run --test types -- --ignored\n{text}"
    );
}

/// `MIGRATE_TYPES='SQLite to'` tries only the pairs of such names, and writes nothing.
fn is_wanted(source: Engine, target: Engine) -> bool {
    let name = format!("{} to {}", source.name(), target.name());
    std::env::var("MIGRATE_TYPES").map_or(true, |wanted| name.contains(&wanted))
}

fn page(matrix: &BTreeMap<(Engine, Engine), BTreeMap<usize, Outcome>>) -> String {
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
                    Outcome::Refused(why) => format!("refused [{}]", note(&mut notes, "plan", why, i)),
                    Outcome::Stopped(why) => format!("stopped [{}]", note(&mut notes, "apply", why, i)),
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
fn note(notes: &mut Vec<String>, verb: &str, why: &str, case: usize) -> usize {
    let name = table(case);
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
- **exact**: every value arrives as it was, and a change of one unit is found.\n\
- **refused**: `plan` names the column and the way out.\n\
- **stopped**: the type alone does not tell; `apply` stops at the first such value, names table and key, and changes nothing.\n\n\
What equals what: a decimal is its number (`1.10` is `1.1`, `-0` is `0`); a float its bits; a text its characters, of which\n\
the padding of a `char(n)` is none; a timestamp with zone its instant; JSON its text. More of SQLite's declared types stands\n\
in [types-sqlite.md](types-sqlite.md), of MySQL's in [types-mysql.md](types-mysql.md).\n";
