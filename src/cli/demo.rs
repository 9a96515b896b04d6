//! `migrate demo`: the main job on a store of its own, from the first copy to the last change of owner, with writers that
//! keep a ledger, and the proof from that ledger.

mod ledger;
mod owners;
mod place;
mod writers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::Demo as Args;
use super::table::{bytes, count, counted, millis};
use super::{Context, exit, hint};
use crate::error::{Context as _, Error, Kind, Result};
use crate::event::Event;
use crate::phases::report::{ApplyReport, VerifyReport};
use crate::phases::{OldTables, Sides, Until};
use crate::store::playground::{Demo, Playground};
use crate::task::Stop;
use ledger::{Filled, Found, Ledger};
use place::{Place, Store};
use writers::Writers;

/// From these a demo's plan takes the URLs of stores that are not its own.
pub const SOURCE_VARIABLE: &str = "MIGRATE_DEMO_SOURCE_URL";
pub const TARGET_VARIABLE: &str = "MIGRATE_DEMO_TARGET_URL";
pub const NATS_VARIABLE: &str = "MIGRATE_DEMO_NATS_URL";

/// Rows of one fill statement.
const FILL_ROWS: i64 = 50_000;

/// See [`super::environment`].
pub fn environment(args: &Args) -> Vec<(&'static str, String)> {
    let given = [(SOURCE_VARIABLE, &args.source), (TARGET_VARIABLE, &args.target), (NATS_VARIABLE, &args.nats)];
    given.into_iter().filter_map(|(name, url)| Some((name, url.clone()?))).collect()
}

/// What a demo came to.
#[derive(Debug, Clone, Serialize, Default)]
struct DemoReport {
    rows: u64,
    writes_acknowledged: u64,
    writes_lost: u64,
    digests: u64,
    mismatches: u64,
    /// How long writes were refused at each change of owner.
    pauses: Vec<owners::Pause>,
    wall_ms: u64,
    /// `ok` or `failed`.
    result: &'static str,
    #[serde(skip)]
    told: Told,
}

/// What only the text tells.
#[derive(Debug, Clone, Default)]
struct Told {
    bytes: u64,
    positions: u64,
    transactions: u64,
    rolled_back: u64,
    in_doubt: u64,
    refused: u64,
    writers: u64,
    rows_target: u64,
    named: Vec<String>,
}

/// What the product itself said, summed up.
#[derive(Default)]
pub(super) struct Said {
    rows: u64,
    bytes: u64,
    digests: u64,
    positions: u64,
    mismatches: u64,
    pauses: Vec<owners::Pause>,
}

impl Said {
    fn apply(&mut self, report: &ApplyReport) {
        self.rows = self.rows.max(report.rows);
        self.bytes = self.bytes.max(report.bytes);
        if let Some(verify) = &report.verify {
            self.verify(verify);
        }
    }

    fn verify(&mut self, report: &VerifyReport) {
        self.digests += report.digests;
        self.positions += report.positions;
        self.mismatches += report.mismatches;
    }
}

pub async fn run(context: &Context, args: &Args) -> Result<i32> {
    let began = Instant::now();
    let place = Place::make(args)?;
    let stores = match Stores::open(&place, args).await {
        Ok(stores) => stores,
        Err(error) => {
            place.remove();
            return Err(error);
        }
    };
    let outcome = demonstrate(context, args, &place, &stores).await;
    let clean = match &outcome {
        // Where something is lost or differs, all stays as it is, to be looked at.
        Ok(report) if report.result != "ok" => Ok(()),
        _ => clean_up(context, &place, &stores).await,
    };
    stores.close().await;
    let mut report = match outcome {
        Ok(report) => report,
        Err(error) => return Err(with_place(error, &place, clean.err())),
    };
    clean.context("the demo went well, but not its removal")?;
    report.wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    context.result(args.json, &report, || text(&report, &place))?;
    Ok(if report.result == "ok" { exit::DONE } else { exit::DIFFERS })
}

/// The application's connections to both stores.
struct Stores {
    source: Arc<Playground>,
    target: Arc<Playground>,
}

impl Stores {
    /// Connects, and refuses stores where tables of these names stand already.
    async fn open(place: &Place, args: &Args) -> Result<Self> {
        let connect = async |store: &Store, what: &str, most: u32| {
            Playground::connect(&store.url, most).await.context(format!("the demo's {what}"))
        };
        let source = connect(&place.source, "source", u32::from(args.writers)).await?;
        let target = connect(&place.target, "target", u32::from(args.writers)).await?;
        for (store, what) in [(&source, "source"), (&target, "target")] {
            let existing = store.existing().await.context(format!("the demo's {what}"))?;
            if !existing.is_empty() {
                let names: Vec<_> = existing.into_iter().map(Demo::name).collect();
                let names = names.join(", ");
                let error = Error::new(Kind::Gate, format!("the {what} has tables of the demo's names: {names}"));
                return Err(error.hint(format!("if an earlier demo left them: DROP TABLE {names}")));
            }
        }
        Ok(Self { source: Arc::new(source), target: Arc::new(target) })
    }

    async fn close(&self) {
        self.source.close().await;
        self.target.close().await;
    }
}

async fn demonstrate(context: &Context, args: &Args, place: &Place, stores: &Stores) -> Result<DemoReport> {
    let filled = Filled { rows: args.rows };
    let note = |text: String| context.progress.event(&Event::Note(text));
    fill(context, stores, filled).await?;
    place.write_plan()?;
    note(format!("the plan: {}", place.plan.display()));
    let writers = Writers::start(&[stores.source.clone(), stores.target.clone()], filled, args.writers);
    let detail = format!("{} at work from now on", counted(u64::from(args.writers), "writer"));
    context.progress.event(&Event::Phase { name: "write".to_owned(), detail });

    let mut said = Said::default();
    let moved = migrate(context, place, &mut said).await;
    // Whatever came of it, the writers end their transactions and hand over their books.
    note(format!("{} were acknowledged meanwhile; the writers stop", counted(writers.acknowledged(), "write")));
    let ledger = writers.stop().await;
    moved?;
    prove(context, stores, &ledger?, said, args).await
}

async fn fill(context: &Context, stores: &Stores, filled: Filled) -> Result<()> {
    let detail = format!("{} in {} tables at the source", counted(filled.rows, "row"), Demo::ALL.len());
    context.progress.event(&Event::Phase { name: "fill".to_owned(), detail });
    stores.source.create_tables().await?;
    for table in Demo::ALL {
        let last = filled.last(table);
        let mut from = 1;
        while from <= last {
            context.stop.check()?;
            let to = last.min(from + FILL_ROWS - 1);
            stores.source.fill(table, from, to).await?;
            from = to + 1;
        }
    }
    stores.source.analyze().await
}

/// What a person would type: plan, apply, verify once more, and the changes of owner, all while the writers write.
async fn migrate(context: &Context, place: &Place, said: &mut Said) -> Result<()> {
    // Some writes come before the migration knows of the store.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let session = context.open(&place.plan).await?;
    let plan = session.plan().await.context("migrate plan")?;
    let rows = plan.tables.iter().map(|table| table.rows_estimate).sum();
    let tables = counted(plan.tables.len() as u64, "table");
    context.progress.event(&Event::Note(format!("migrate plan: {tables}, ~{} to move", counted(rows, "row"))));
    let applied = session.apply(Until::Verify, false).await.context("migrate apply")?;
    said.apply(&applied);
    drop(session);
    let session = context.open(&place.plan).await?;
    said.verify(&session.verify(false, false).await.context("migrate verify")?);
    drop(session);
    owners::change(context, place, said).await
}

/// Reads the store that owns every row by now, row by row against the ledger, without the product.
async fn prove(context: &Context, stores: &Stores, ledger: &Ledger, said: Said, args: &Args) -> Result<DemoReport> {
    let detail = "each acknowledged write is looked for at the target".to_owned();
    context.progress.event(&Event::Phase { name: "prove".to_owned(), detail });
    let target = read(&stores.target, ledger).await?;
    let lost = target.lost + target.extra;
    // A proof of nothing is none: there must have been writes and digests.
    let proved = ledger.acknowledged > 0 && said.digests > 0;
    let ok = proved && lost == 0 && said.mismatches == 0;
    Ok(DemoReport {
        rows: said.rows,
        writes_acknowledged: ledger.acknowledged,
        writes_lost: lost,
        digests: said.digests,
        mismatches: said.mismatches,
        pauses: said.pauses,
        wall_ms: 0,
        result: if ok { "ok" } else { "failed" },
        told: Told {
            bytes: said.bytes,
            positions: said.positions,
            transactions: ledger.transactions,
            rolled_back: ledger.rolled_back,
            in_doubt: ledger.unknown,
            refused: ledger.refused,
            writers: u64::from(args.writers),
            rows_target: target.rows,
            named: target.named,
        },
    })
}

async fn read(store: &Playground, ledger: &Ledger) -> Result<Found> {
    let mut all = Found::default();
    for table in Demo::ALL {
        let mut check = ledger.check(table);
        store.rows(table, |key, version| check.row(key, version)).await.context(table.name())?;
        all.add(check.end());
    }
    Ok(all)
}

/// Stores that are not the demo's own are left as they were. Its own directory stays, with the migration in it.
async fn clean_up(context: &Context, place: &Place, stores: &Stores) -> Result<()> {
    if !place.external() {
        return Ok(());
    }
    // The tables go even where the migration can't be removed: they are the demo's own.
    let aborted = abort(context, place).await;
    for (store, playground) in [(&place.source, &*stores.source), (&place.target, &stores.target)] {
        if store.external {
            playground.drop_tables().await?;
        }
    }
    aborted
}

async fn abort(context: &Context, place: &Place) -> Result<()> {
    if !place.plan.exists() {
        return Ok(());
    }
    // A signal that ended the demo must not end this.
    let session = context.open_until(&place.plan, Stop::new()).await?;
    match session.abort(Sides::Both, true).await {
        // Cut over, or finished: the old tables go anyway.
        Err(e) if e.kind == Kind::Gate => session.finish(OldTables::Released).await.map(|_| ()),
        other => other.map(|_| ()),
    }
}

/// An error that says what is left, and where.
fn with_place(error: Error, place: &Place, unclean: Option<Error>) -> Error {
    let plan = hint::quoted(&place.plan);
    let mut left = format!("the demo's directory is {}", place.dir.display());
    if let Some(unclean) = unclean {
        left += &format!("\n      not everything could be removed ({unclean}): `migrate abort {plan}`");
    }
    match error.hint_text() {
        // Running a demo again begins a new one.
        Some(known) if !matches!(error.kind, Kind::Stopped(_)) => {
            let known = known.to_owned();
            error.hint(format!("{known}\n      {left}"))
        }
        _ => error.hint(left),
    }
}

fn text(report: &DemoReport, place: &Place) -> String {
    let (told, ok) = (&report.told, report.result == "ok");
    let over = if place.nats { "NATS JetStream" } else { "the direct transport" };
    let differed = match report.mismatches {
        0 => "none differed".to_owned(),
        n => format!("{} differed", count(n)),
    };
    let lost = match report.writes_lost {
        0 => "none lost".to_owned(),
        n => format!("{} LOST", count(n)),
    };
    let doubt = if told.in_doubt > 0 { format!(", {} in doubt", count(told.in_doubt)) } else { String::new() };
    let moved = if told.bytes > 0 { format!(" ({})", bytes(told.bytes)) } else { String::new() };
    let digests = format!("{} at {}", count(report.digests), counted(told.positions, "position"));
    let mut lines = vec![
        format!("migrate demo: {}", if ok { "nothing lost, nothing differs" } else { "FAILED" }),
        String::new(),
        format!(
            "  moved      {}{moved}, {} -> {} over {over}",
            counted(report.rows, "row"),
            place.source.engine,
            place.target.engine
        ),
        format!(
            "  meanwhile  {} acknowledged to {}, in {}{doubt}; {} rolled back, {} refused and done again",
            counted(report.writes_acknowledged, "write"),
            counted(told.writers, "writer"),
            counted(told.transactions, "transaction"),
            count(told.rolled_back),
            count(told.refused)
        ),
        format!("  digests    {digests}, in two passes while they wrote: {differed}"),
    ];
    lines.extend(report.pauses.iter().map(|pause| format!("  {:<10} {}", pause.step, pause.text())));
    lines.push(format!(
        "  ledger     {} looked for on the target, which owns the data now: {lost}; {}",
        counted(report.writes_acknowledged, "write"),
        counted(told.rows_target, "row")
    ));
    lines.push(format!("  time       {}", millis(report.wall_ms)));
    if !told.named.is_empty() {
        lines.push(String::new());
        lines.extend(told.named.iter().map(|name| format!("  lost: {}", super::term::escape(name))));
    }
    lines.push(String::new());
    lines.extend(what_next(place, ok));
    lines.join("\n")
}

fn what_next(place: &Place, ok: bool) -> Vec<String> {
    let (plan, dir) = (hint::quoted(&place.plan), hint::quoted(&place.dir));
    let mut lines = vec![format!("  the plan   {plan}")];
    if place.external() && ok {
        lines.push("  the stores are as they were before; nothing of the demo is left in them".to_owned());
    } else {
        if !place.variables().is_empty() {
            lines.push(format!("  needs      {} in the environment", place.variables().join(", ")));
        }
        lines.push(format!("  look       migrate status {plan}"));
    }
    lines.push("  read       README.md: your own first plan".to_owned());
    lines.push(format!("  remove     rm -r {dir}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn place(external: bool) -> Place {
        let store = || Store { url: String::new(), engine: "SQLite".into(), external };
        let dir = PathBuf::from("/tmp/d");
        Place { plan: dir.join("demo.yaml"), dir, source: store(), target: store(), nats: false }
    }

    #[test]
    fn the_object_has_exactly_these_keys() {
        let report = DemoReport { result: "ok", ..Default::default() };
        let expected = r#"{"rows":0,"writes_acknowledged":0,"writes_lost":0,"digests":0,"mismatches":0,"pauses":[],"wall_ms":0,"result":"ok"}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), expected);
    }

    #[test]
    fn one_screen_says_it_all() {
        let told = Told { positions: 3, writers: 4, transactions: 50, ..Default::default() };
        let mut report =
            DemoReport { rows: 1000, writes_acknowledged: 120, digests: 9, result: "ok", told, ..Default::default() };
        let shown = text(&report, &place(false));
        assert!(shown.starts_with("migrate demo: nothing lost, nothing differs\n"), "{shown}");
        assert!(shown.contains("1,000 rows, SQLite -> SQLite over the direct transport"), "{shown}");
        assert!(shown.contains("9 at 3 positions, in two passes while they wrote: none differed"), "{shown}");
        assert!(shown.contains("migrate status /tmp/d/demo.yaml") && shown.ends_with("rm -r /tmp/d"), "{shown}");
        assert!(shown.lines().count() < 24 && shown.lines().all(|line| line.len() <= 110), "{shown}");
        assert!(text(&report, &place(true)).contains("nothing of the demo is left"));
        (report.writes_lost, report.result) = (2, "failed");
        report.told.named = vec!["demo_notes x: it is absent".into()];
        let shown = text(&report, &place(true));
        assert!(shown.contains("2 LOST") && shown.contains("lost: demo_notes x") && !shown.contains("as they were"));
    }

    #[test]
    fn an_error_says_what_is_left() {
        let error = with_place(Error::retry("no server").hint("start it"), &place(true), Some(Error::retry("gone")));
        let hint = error.hint_text().unwrap();
        assert!(hint.starts_with("start it\n") && hint.contains("/tmp/d") && hint.contains("migrate abort"), "{hint}");
    }
}
