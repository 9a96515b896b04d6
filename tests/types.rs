//! Every type of every engine to every engine: exact, or refused by name. What it finds is docs/types.md.
//!
//! For each pair one migration has a table for each type. Half of the rows come by chunk, half by change. They are
//! compared by the test's own SQL; then one cell of each table is changed at the target by one unit, and `verify` must
//! name exactly those.
//!
//! The pairs run side by side, and the servers' data is in memory: most of the time went into files that MariaDB syncs
//! for each DDL. With `MIGRATE_BLESS=1` it writes docs/types.md anew; without, it fails where that page says something
//! else.

mod support;

#[path = "types/cells.rs"]
mod cells;
#[path = "types/corpus.rs"]
mod corpus;
#[path = "types/from_mariadb.rs"]
mod from_mariadb;
#[path = "types/from_postgres.rs"]
mod from_postgres;
#[path = "types/from_sqlite.rs"]
mod from_sqlite;
#[path = "types/page.rs"]
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use corpus::{Case, Class};
use support::compare::{Rows, StoreRef, text_rows};
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
                let place = Place::Postgres(db.clone());
                // Sessions that don't say otherwise are far from UTC, and have summer time.
                place.exec(&format!("GRANT TEMPORARY ON DATABASE \"{}\" TO \"{}\"", db.name, db.run)).await;
                place.exec(&format!("ALTER DATABASE \"{}\" SET timezone = 'America/St_Johns'", db.name)).await;
                place
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
    /// The same value, which the other engine spells in another way: which.
    Canonical(&'static str),
    /// By `plan`; what it says.
    Refused(String),
    /// By `apply`, when it came to the value; what it says.
    Stopped(String),
}

/// A table's name: the case's own, or one by its place.
fn table(engine: Engine, case: usize) -> String {
    corpus::of(engine)[case].table.map_or_else(|| format!("k{case}"), str::to_owned)
}

fn quoted(engine: Engine, name: &str) -> String {
    let quote = if engine == Engine::MariaDb { '`' } else { '"' };
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}

/// What each session of the test itself says first, where it writes: times are in UTC, and zero dates are let in.
fn mode(engine: Engine) -> &'static str {
    if engine == Engine::MariaDb { "SET sql_mode = ''; SET time_zone = '+00:00';" } else { "" }
}

/// Every other row of a table: `id` is the value's place in the corpus. No value: the table gives one itself.
fn insert(engine: Engine, case: usize, odd: bool) -> String {
    let c = &corpus::of(engine)[case];
    let (name, column) = (quoted(engine, &table(engine, case)), quoted(engine, c.column));
    let each = c.values.iter().enumerate().filter(|(i, _)| (i % 2 == 1) == odd);
    each.map(|(i, v)| match *v {
        "" => format!("INSERT INTO {name} (id) VALUES ({i});"),
        v => format!("INSERT INTO {name} (id, {column}) VALUES ({i}, {v});"),
    })
    .collect()
}

/// So many types move by one migration: what each sealing costs grows with its tables.
const TOGETHER: usize = 15;

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
        let dir = support::process::scratch("files");
        let from = source.place(dir.path(), "from").await;
        let to = target.place(dir.path(), "to").await;
        for place in [&from, &to].into_iter().take(if source == target { 2 } else { 1 }) {
            if source == Engine::Postgres {
                place.exec(corpus::POSTGRES_TYPES).await;
            }
        }
        let pair = Self { source, target, from, to, _dir: dir };
        // One session each: opening one takes longer than all that is said in it.
        let (mut source_sql, mut target_sql) = (String::new(), String::new());
        for (i, c) in pair.cases().iter().enumerate() {
            let made = |engine: Engine, ddl: &str| {
                let (name, column) = (quoted(engine, &table(source, i)), quoted(engine, c.column));
                format!("{}CREATE TABLE {name} (id integer NOT NULL PRIMARY KEY, {column} {ddl});", mode(engine))
            };
            source_sql += &format!("{}{}{}", made(source, c.ddl), insert(source, i, false), insert(source, i, true));
            if let Some((_, ddl)) = c.into.filter(|(engine, _)| *engine == target) {
                target_sql += &made(target, ddl);
            }
        }
        pair.from.exec(&source_sql).await;
        if !target_sql.is_empty() {
            pair.to.exec(&target_sql).await;
        }
        pair
    }

    fn cases(&self) -> &'static [Case] {
        corpus::of(self.source)
    }

    fn name(&self, case: usize) -> String {
        table(self.source, case)
    }

    fn product(&self, wanted: &BTreeSet<usize>) -> Product {
        let name = |i: &usize| serde_json::Value::from(self.name(*i)).to_string();
        let tables: String = wanted.iter().map(|i| format!("  - from: {}\n", name(i))).collect();
        let migration = format!("types-{}", wanted.first().unwrap_or(&0) / TOGETHER);
        Product::new(
            &migration,
            &self.from,
            &self.to,
            None,
            &format!("guard_target: false\ncreate_tables: true\ntables:\n{tables}"),
        )
    }

    /// Takes the types out that `plan` refuses.
    async fn planned(&self, wanted: &mut BTreeSet<usize>, outcomes: &mut BTreeMap<usize, Outcome>) {
        let product = self.product(wanted);
        let plan = product.run(&["plan", "--json"]).await;
        // It has seen all values; half of them come later.
        self.without_late_rows(wanted).await;
        if plan.code == 0 {
            return;
        }
        assert_eq!(plan.code, 65, "{}", plan.stderr);
        for (name, message) in problems(&plan) {
            let place = wanted.iter().copied().chain(outcomes.keys().copied()).find(|i| self.name(*i) == name);
            let place = place.unwrap_or_else(|| panic!("whose? {name}: {message}"));
            wanted.remove(&place);
            outcomes.entry(place).or_insert(Outcome::Refused(message));
        }
    }

    /// Chunk, then change, until nothing is left that stops it.
    async fn moved(&self, wanted: &mut BTreeSet<usize>, outcomes: &mut BTreeMap<usize, Outcome>) -> Option<Product> {
        while !wanted.is_empty() {
            let product = self.product(wanted);
            let mut ran = product.run(&["apply", "--until", "backfill"]).await;
            if ran.code == 0 {
                let late: String = wanted.iter().map(|i| insert(self.source, *i, true)).collect();
                self.from.exec(&format!("{}{late}", mode(self.source))).await;
                ran = product.run(&["apply"]).await;
            }
            if ran.code == 0 {
                assert!(ran.stdout.contains("in sync"), "{}", ran.stdout);
                return Some(product);
            }
            assert_eq!(ran.code, 1, "{}\n{}\n{}", ran.stdout, ran.stderr, MariaDb::shared().log());
            let place = self.stopped_at(&ran, wanted);
            println!("{} to {}: {}", self.source.name(), self.target.name(), last_error(&ran));
            outcomes.insert(place, Outcome::Stopped(last_error(&ran)));
            wanted.remove(&place);
            product.run(&["abort", "--drop-created"]).await.expect(0);
            self.without_late_rows(wanted).await;
        }
        None
    }

    /// The table that an ended run names.
    fn stopped_at(&self, ran: &Ran, wanted: &BTreeSet<usize>) -> usize {
        let named = |i: &&usize| ran.stderr.contains(&format!("{}\"", self.name(**i)));
        *wanted.iter().rev().find(named).unwrap_or_else(|| panic!("it names no table: {}", ran.stderr))
    }

    async fn without_late_rows(&self, wanted: &BTreeSet<usize>) {
        let name = |i: &usize| quoted(self.source, &self.name(*i));
        let undo: String = wanted.iter().map(|i| format!("DELETE FROM {} WHERE id % 2 = 1;", name(i))).collect();
        self.from.exec(&undo).await;
    }

    /// As the engine shows them, by the place of their case.
    async fn cells(&self, place: &Place, engine: Engine, cases: &BTreeSet<usize>) -> BTreeMap<usize, Rows> {
        let id = if engine == Engine::Sqlite { "CAST(id AS TEXT)" } else { "id" };
        let select = |case: &usize| {
            let c = &self.cases()[*case];
            let shown = cells::shown(engine, c.class).replace("{v}", &quoted(engine, c.column));
            format!("SELECT '{case}', {id}, {shown} FROM {};", quoted(engine, &self.name(*case)))
        };
        let sql: String = cases.iter().map(select).collect();
        let found = match place.store_ref() {
            // Types that only PostgreSQL has travel as the text that such a session gives.
            StoreRef::Postgres(url) => {
                let and = if url.contains('?') { '&' } else { '?' };
                let options = "options=-c%20TimeZone%3DUTC%20-c%20IntervalStyle%3Diso_8601";
                text_rows(&StoreRef::Postgres(format!("{url}{and}{options}")), &sql).await
            }
            store => text_rows(&store, &sql).await,
        };
        let of = |case: &usize| {
            let name = case.to_string();
            let own = found.iter().filter(|row| row[0].as_deref() == Some(&name));
            (*case, own.map(|row| row[1..].to_vec()).collect())
        };
        cases.iter().map(of).collect()
    }

    async fn check(&self) -> BTreeMap<usize, Outcome> {
        let mut outcomes = BTreeMap::new();
        let all: Vec<usize> = (0..self.cases().len()).collect();
        for some in all.chunks(TOGETHER) {
            outcomes.extend(self.check_some(some.iter().copied().collect()).await);
        }
        self.ways_out(&outcomes).await;
        outcomes
    }

    /// Where `plan` gave an expression, that is taken at its word: the table moves by it.
    async fn ways_out(&self, outcomes: &BTreeMap<usize, Outcome>) {
        let expression = |(case, outcome): (&usize, &Outcome)| match outcome {
            Outcome::Refused(why) if why.contains("convert it: ") && !why.contains("into a text column") => {
                let (_, rest) = why.split_once("convert it: ")?;
                Some(format!(
                    "  - from: {}\n    columns: {{ id: id, {} }}\n",
                    self.name(*case),
                    rest.split_once(" }")?.0.to_owned() + " }"
                ))
            }
            _ => None,
        };
        let tables: String = outcomes.iter().filter_map(expression).collect();
        if tables.is_empty() {
            return;
        }
        let body = format!("guard_target: false\ncreate_tables: true\ntables:\n{tables}");
        let product = Product::new("ways-out", &self.from, &self.to, None, &body);
        let ran = product.run(&["apply"]).await.expect(0);
        assert!(ran.stdout.contains("in sync"), "{}", ran.stdout);
        product.run(&["abort"]).await.expect(0);
    }

    async fn check_some(&self, mut wanted: BTreeSet<usize>) -> BTreeMap<usize, Outcome> {
        let what = format!("{} to {}", self.source.name(), self.target.name());
        let (began, mut outcomes) = (std::time::Instant::now(), BTreeMap::new());
        self.planned(&mut wanted, &mut outcomes).await;
        let Some(product) = self.moved(&mut wanted, &mut outcomes).await else { return outcomes };
        let mut lefts = self.cells(&self.from, self.source, &wanted).await;
        let mut rights = self.cells(&self.to, self.target, &wanted).await;
        for &case in &wanted {
            let c = &self.cases()[case];
            let name = format!("{what}: {}", c.name);
            let (left, right) = (lefts.remove(&case).unwrap_or_default(), rights.remove(&case).unwrap_or_default());
            assert_eq!(left.count(), c.values.len(), "{name}");
            let form = match c.class {
                Class::Shown if self.source != self.target => Some("as its text"),
                class => cells::form(class).filter(|_| left != right),
            };
            let normal = |found: Rows| {
                found.map_cells(|i, cell| if i == 1 { cells::normal(c.class, cell) } else { cell.to_owned() })
            };
            support::compare::assert_same(&name, &normal(left), &normal(right));
            outcomes.insert(case, form.map_or(Outcome::Exact, Outcome::Canonical));
        }
        self.one_unit(&what, &product, &wanted).await;
        product.run(&["abort"]).await.expect(0);
        println!("{what}: {} of {} moved after {:?}", wanted.len(), outcomes.len(), began.elapsed());
        outcomes
    }

    /// Each cell that is changed by one unit is found, and nothing else. (That nothing is found before, `apply` said: it
    /// ends with the same comparison.)
    async fn one_unit(&self, what: &str, product: &Product, wanted: &BTreeSet<usize>) {
        let mut sql = String::from(if self.target == Engine::MariaDb { "SET time_zone = '+00:00';" } else { "" });
        for &case in wanted {
            let c = &self.cases()[case];
            let literal = cells::literal(self.target, c.class, c.unit);
            let (name, column) = (quoted(self.target, &self.name(case)), quoted(self.target, c.column));
            sql += &format!("UPDATE {name} SET {column} = {literal} WHERE id = 0;");
        }
        self.to.exec(&sql).await;
        let verified = product.run(&["verify", "--output", "json"]).await.expect(3);
        let last: serde_json::Value =
            serde_json::from_str(verified.stdout.lines().last().unwrap_or_default()).expect("JSON");
        let found = differing(&last);
        let expected: BTreeMap<String, u64> = wanted.iter().map(|case| (self.name(*case), 1)).collect();
        let unseen: Vec<_> = wanted.iter().filter(|c| !found.contains_key(&self.name(**c))).collect();
        let unseen: Vec<_> = unseen.into_iter().map(|c| self.cases()[*c].name).collect();
        assert!(found == expected, "{what}: not seen: {unseen:?}; found {found:?}");
    }
}

/// A table's name without PostgreSQL's schema.
fn bare(name: &str) -> &str {
    name.strip_prefix("public.").unwrap_or(name)
}

/// Differing rows of each table at the target.
fn differing(report: &serde_json::Value) -> BTreeMap<String, u64> {
    let tables = report["result"]["tables"].as_array().unwrap_or_else(|| panic!("no tables: {report}"));
    let name = |t: &serde_json::Value| bare(t["target"].as_str().unwrap_or_default()).to_owned();
    let each = tables.iter().map(|t| (name(t), t["differing"].as_u64().unwrap_or(0)));
    each.filter(|(_, n)| *n > 0).collect()
}

/// The table of each error, and what is said of it: the message with its check, and the way out.
fn problems(ran: &Ran) -> Vec<(String, String)> {
    let report = ran.json();
    let findings = report["findings"].as_array().expect("findings");
    let of = |f: &serde_json::Value| {
        let text = |key: &str| f[key].as_str().unwrap_or_default().to_owned();
        assert!(!text("hint").is_empty(), "no way out: {f}");
        (bare(&text("table")).to_owned(), format!("{} [{}]; {}", text("message"), text("id"), text("hint")))
    };
    let found: Vec<_> = findings.iter().filter(|f| f["severity"] == "error").map(of).collect();
    assert!(!found.is_empty(), "no problem is named: {report}");
    found
}

fn last_error(ran: &Ran) -> String {
    let line = ran.stderr.lines().rev().find(|l| l.contains("error") || l.contains("refuse")).unwrap_or_default();
    line.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_exact_or_refused_by_name() {
    support::process::keep_in_memory();
    let server = MariaDb::shared().superuser_url("mysql");
    support::mysql_exec(&server, "SET GLOBAL time_zone = '+05:45'").await;
    let pairs = Engine::ALL.into_iter().flat_map(|source| Engine::ALL.map(|target| (source, target)));
    let checks = pairs.map(|(source, target)| {
        tokio::spawn(async move {
            let wanted = is_wanted(source, target);
            let outcomes = if wanted { Pair::new(source, target).await.check().await } else { BTreeMap::new() };
            ((source, target), outcomes)
        })
    });
    let checks: Vec<_> = checks.collect();
    let mut matrix = BTreeMap::new();
    for check in checks {
        let (pair, outcomes) = check.await.expect("a pair");
        matrix.insert(pair, outcomes);
    }
    if std::env::var_os("MIGRATE_TYPES").is_some() {
        return;
    }
    let text = page::page(&matrix);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/types.md");
    if std::env::var_os("MIGRATE_BLESS").is_some() {
        std::fs::write(&path, &text).expect("docs/types.md");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/types.md is not what was found: MIGRATE_BLESS=1 tests/run --test types\n{text}");
}

/// `MIGRATE_TYPES='SQLite to'` tries only the pairs of such names, and writes nothing.
fn is_wanted(source: Engine, target: Engine) -> bool {
    let name = format!("{} to {}", source.name(), target.name());
    std::env::var("MIGRATE_TYPES").map_or(true, |wanted| name.contains(&wanted))
}
