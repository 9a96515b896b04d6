//! Foreign keys of existing targets hold throughout: parents and children, a table that refers to itself across chunks,
//! ON DELETE CASCADE and SET NULL, and unique values that are swapped, while writers re-parent, swap and delete.

use super::{database, sqlite};
use crate::support::compare::{assert_same, rows};
use crate::support::live::App;
use crate::support::product::{Place, Product};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PEOPLE: i64 = 120;
const PLAN: &str = "tables:\n  - from: track\n  - from: album\n  - from: person\nbackfill: { chunk_rows: 15 }\n";

/// A person's mentor may have any id, so it lies in another chunk.
const SOURCE: &str = "CREATE TABLE person (id BIGINT NOT NULL PRIMARY KEY, mentor BIGINT REFERENCES person (id)
       ON DELETE SET NULL, name VARCHAR(40) NOT NULL UNIQUE);
     CREATE TABLE album (id BIGINT NOT NULL PRIMARY KEY, person BIGINT NOT NULL REFERENCES person (id)
       ON DELETE CASCADE, title VARCHAR(40) NOT NULL UNIQUE);
     CREATE TABLE track (id BIGINT NOT NULL PRIMARY KEY, album BIGINT NOT NULL REFERENCES album (id)
       ON DELETE CASCADE, follows BIGINT REFERENCES track (id) ON DELETE SET NULL, n INTEGER);";

/// The same keys at the target, where nothing may happen by itself: what the source did arrives.
fn target_schema() -> String {
    SOURCE.replace("ON DELETE SET NULL", "").replace("ON DELETE CASCADE", "")
}

fn fill(rng: &mut StdRng) -> String {
    let mut people = Vec::new();
    let mut mentors = String::new();
    let (mut albums, mut tracks) = (Vec::new(), Vec::new());
    for id in 1..=PEOPLE {
        people.push(format!("({id}, NULL, 'person {id}')"));
        mentors += &format!("UPDATE person SET mentor = {} WHERE id = {id};", rng.random_range(1..=PEOPLE));
        albums.push(format!("({id}, {}, 'album {id}')", rng.random_range(1..=PEOPLE)));
        tracks.extend((0..3).map(|n| format!("({}, {id}, NULL, {n})", id * 10 + n)));
    }
    let (people, albums, tracks) = (people.join(", "), albums.join(", "), tracks.join(", "));
    format!(
        "INSERT INTO person VALUES {people}; {mentors} INSERT INTO album VALUES {albums}; INSERT INTO track VALUES {tracks};
         UPDATE track SET follows = {} - id WHERE n = 1 AND album <> {};",
        (PEOPLE + 1) * 10 + 2,
        PEOPLE + 1,
    )
}

/// One transaction of the application. What breaks a foreign key at the source is its own business.
fn change(rng: &mut StdRng, fresh: i64) -> String {
    let mut id = || rng.random_range(1..=PEOPLE);
    let (a, b, c) = (id(), id(), id());
    match rng.random_range(0..8) {
        0 => format!("UPDATE person SET mentor = {b} WHERE id = {a}"),
        1 => format!("UPDATE album SET person = {b} WHERE id = {a}"),
        2 => format!("UPDATE track SET album = {b} WHERE album = {a}"),
        // Unique values change hands.
        3 => format!(
            "UPDATE album SET title = '~' WHERE id = {a}; UPDATE album SET title = 'album {a}.{fresh}' WHERE id = {b};
             UPDATE album SET title = 'album {b}.{fresh}' WHERE id = {a}"
        ),
        4 => format!(
            "UPDATE album SET title = CASE id WHEN {a} THEN 'x {fresh}' ELSE title END WHERE id IN ({a}, {b});
             UPDATE album SET title = (SELECT 'was ' || title FROM album WHERE id = {a}) WHERE id = {b};
             UPDATE album SET title = 'y {fresh}' WHERE id = {a}; UPDATE album SET title = 'x {fresh}' WHERE id = {b}"
        ),
        5 => format!(
            "DELETE FROM person WHERE id = {a}; INSERT INTO person VALUES ({a}, NULL, 'again {fresh}');
             INSERT INTO album VALUES ({fresh}, {a}, 'album {fresh}'); INSERT INTO track VALUES ({fresh}, {fresh}, NULL, {c})"
        ),
        6 => format!("INSERT INTO track SELECT {fresh}, id, (SELECT max(id) FROM track), 9 FROM album WHERE id = {b}"),
        _ => format!("DELETE FROM album WHERE id = {a}; INSERT INTO album VALUES ({a}, {b}, 'new {fresh}')"),
    }
}

struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u64>,
}

impl Writer {
    fn start(place: &Place, seed: u64) -> Self {
        let (stop, place) = (Arc::new(AtomicBool::new(false)), place.clone());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut app, mut rng) = (App::connect(&place).await, StdRng::seed_from_u64(seed));
            if matches!(place, Place::Sqlite(_)) {
                app.exec("PRAGMA foreign_keys = ON").await.expect("foreign keys");
            }
            let begin = if matches!(place, Place::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
            let (mut done, mut fresh) = (0, 100_000);
            while !stopped.load(Ordering::Relaxed) {
                fresh += 1;
                match app.exec(&format!("{begin}; {}; COMMIT", change(&mut rng, fresh))).await {
                    Ok(()) => done += 1,
                    Err(_) => drop(app.exec("ROLLBACK").await),
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            done
        });
        Self { stop, task }
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a writer")
    }
}

async fn agree(source: &Place, target: &Place) {
    for (table, sql) in [
        ("person", "SELECT CAST(id AS TEXT), CAST(mentor AS TEXT), name FROM person"),
        ("album", "SELECT CAST(id AS TEXT), CAST(person AS TEXT), title FROM album"),
        ("track", "SELECT CAST(id AS TEXT), CAST(album AS TEXT), CAST(follows AS TEXT), CAST(n AS TEXT) FROM track"),
    ] {
        assert_same(table, &rows(&source.store_ref(), sql).await, &rows(&target.store_ref(), sql).await);
    }
    if let Place::Sqlite(path) = target {
        let broken = "SELECT \"table\", CAST(rowid AS TEXT) FROM pragma_foreign_key_check";
        assert!(crate::support::sqlite_query_text(path, broken).await.is_empty(), "a foreign key is broken");
    }
}

async fn holds(name: &str, source: Place, target: Place) {
    let seed = rand::random();
    println!("{name}: seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    source.exec(&format!("{SOURCE} {}", fill(&mut rng))).await;
    target.exec(&target_schema()).await;
    let before = (source.catalogue().await, target.catalogue().await);
    let product = Product::new(name, &source, &target, None, PLAN);
    let writer = Writer::start(&source, seed);
    product.run(&["apply"]).await.expect(0);
    assert_eq!(constraints(&target).await, constraints_in(&before.1), "apply has put back what it relaxed");
    let mut host = product.start(&["apply", "--follow"]);
    host.says("follow").await;
    for _ in 0..3 {
        product.run(&["verify", "--show-values"]).await.expect(0);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let done = writer.stop().await;
    assert!(done > 50, "{done} changes");
    product.run(&["verify", "--show-values"]).await.expect(0);
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    agree(&source, &target).await;
    product.run(&["abort"]).await.expect(0);
    assert_eq!((source.catalogue().await, target.catalogue().await), before);
}

fn constraints_in(catalogue: &[Vec<Option<String>>]) -> Vec<Vec<Option<String>>> {
    let ours = |row: &&Vec<Option<String>>| {
        row[0].as_deref() == Some("constraint") && !row[1].as_deref().unwrap_or_default().contains("_migrate_")
    };
    catalogue.iter().filter(ours).cloned().collect()
}

async fn constraints(place: &Place) -> Vec<Vec<Option<String>>> {
    constraints_in(&place.catalogue().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_postgres() {
    let (from, to) = (database("family_from").await, database("family_to").await);
    to.grant_target_rights().await;
    holds("family-p-p", Place::Postgres(from), Place::Postgres(to)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    holds("family-s-s", sqlite(&dir, "a.db"), sqlite(&dir, "b.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_postgres() {
    let dir = tempfile::tempdir().expect("a directory");
    let to = database("family_s_p").await;
    to.grant_target_rights().await;
    holds("family-s-p", sqlite(&dir, "a.db"), Place::Postgres(to)).await;
}

/// Two unique values swapped in one transaction, of rows that others refer to.
#[tokio::test(flavor = "multi_thread")]
async fn a_swap_of_parents_keeps_their_children() {
    let (from, to) = (database("swap_from").await, database("swap_to").await);
    to.grant_target_rights().await;
    let dir = tempfile::tempdir().expect("a directory");
    for (source, target) in [(Place::Postgres(from), Place::Postgres(to)), (sqlite(&dir, "a.db"), sqlite(&dir, "b.db"))]
    {
        source.exec(&format!("{SOURCE} {}", fill(&mut StdRng::seed_from_u64(1)))).await;
        target.exec(&target_schema()).await;
        let product = Product::new("swap", &source, &target, None, PLAN);
        product.run(&["apply"]).await.expect(0);
        source
            .exec(
                "BEGIN; UPDATE album SET title = '~' WHERE id = 3; UPDATE album SET title = 'album 3' WHERE id = 4;
                 UPDATE album SET title = 'album 4' WHERE id = 3; UPDATE person SET name = '~' WHERE id = 5;
                 UPDATE person SET name = 'person 5' WHERE id = 6; UPDATE person SET name = 'person 6' WHERE id = 5; COMMIT",
            )
            .await;
        product.run(&["apply"]).await.expect(0);
        agree(&source, &target).await;
    }
}

/// What would happen by itself at the target is refused: its own CASCADE would take children that nobody sends again.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_acts_by_itself_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (database("acts_from").await, database("acts_to").await);
    to.grant_target_rights().await;
    for (source, target) in [(Place::Postgres(from), Place::Postgres(to)), (sqlite(&dir, "a.db"), sqlite(&dir, "b.db"))]
    {
        source.exec(SOURCE).await;
        target.exec(SOURCE).await;
        let before = target.catalogue().await;
        let product = Product::new("acts", &source, &target, None, PLAN);
        for verb in ["plan", "apply"] {
            let ran = product.run(&[verb]).await.expect(65);
            assert!(ran.stderr.contains("make it NO ACTION until the migration is finished"), "{}", ran.stderr);
        }
        assert_eq!(target.catalogue().await, before);
    }
}

/// While the backfill runs, rows that it has passed are changed, and all refer to the very last one.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_may_refer_to_one_that_is_not_copied_yet() {
    const LAST: i64 = 1_500;
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (database("ahead_from").await, database("ahead_to").await);
    to.grant_target_rights().await;
    for (source, target) in [(sqlite(&dir, "a.db"), sqlite(&dir, "b.db")), (Place::Postgres(from), Place::Postgres(to))]
    {
        let ddl = "CREATE TABLE node (id BIGINT NOT NULL PRIMARY KEY, next BIGINT REFERENCES node (id), n BIGINT)";
        let nodes: Vec<String> = (1..=LAST).map(|id| format!("({id}, {LAST}, 0)")).collect();
        source.exec(&format!("{ddl}; INSERT INTO node VALUES {}", nodes.join(", "))).await;
        target.exec(ddl).await;
        let plan = "tables:\n  - from: node\nbackfill: { chunk_rows: 20 }\n";
        let product = Product::new("ahead", &source, &target, None, plan);
        let mut running = product.start(&["apply"]);
        let mut app = App::connect(&source).await;
        let mut done = 0;
        while running.is_running() {
            let sql = format!("UPDATE node SET n = n + 1 WHERE id IN (1, 2, {})", 3 + done % 90);
            app.exec(&sql).await.expect("a write");
            done += 1;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(running.wait().await, 0, "{}", running.stderr());
        assert!(done > 20, "{done} changes");
        product.run(&["apply"]).await.expect(0);
        let sql = "SELECT CAST(id AS TEXT), CAST(next AS TEXT), CAST(n AS TEXT) FROM node";
        assert_same("node", &rows(&source.store_ref(), sql).await, &rows(&target.store_ref(), sql).await);
    }
}

/// What the source does not forbid and the target does is refused, whatever engine: nothing that breaks a key is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_without_a_parent_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (database("orphan_from").await, database("orphan_to").await);
    to.grant_target_rights().await;
    for (source, target) in [(sqlite(&dir, "a.db"), sqlite(&dir, "b.db")), (Place::Postgres(from), Place::Postgres(to))]
    {
        let plain = "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY); CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, p BIGINT)";
        source.exec(&format!("{plain}; INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1)")).await;
        target.exec(&format!("{} ", plain.replace("p BIGINT)", "p BIGINT REFERENCES p (id))"))).await;
        let product =
            Product::new("orphan", &source, &target, None, "on_error: stop\ntables:\n  - from: c\n  - from: p\n");
        let refused = async |says: &str| {
            let ran = product.run(&["apply"]).await.expect(1);
            println!("{}", ran.stderr);
            let text = ran.stderr.to_lowercase();
            assert!(text.contains("refuses a row of table") && text.contains("foreign key"), "{}", ran.stderr);
            assert!(text.contains(says) && !text.contains("700000001"), "{}", ran.stderr);
        };
        // One that were there before would be counted by preflight.
        product.run(&["apply", "--until", "dual-write"]).await.expect(0);
        source.exec("INSERT INTO c VALUES (700000001, 5)").await;
        // While it is being filled SQLite's keys don't count; in the end they are checked, table by table.
        refused(if matches!(target, Place::Sqlite(_)) { "foreign_key_check" } else { "= ***" }).await;
        source.exec("DELETE FROM c WHERE p = 5").await;
        product.run(&["apply"]).await.expect(0);
        source.exec("INSERT INTO c VALUES (700000001, 6)").await;
        refused("= ***").await;
        source.exec("INSERT INTO p VALUES (6)").await;
        product.run(&["apply"]).await.expect(0);
        product.run(&["verify"]).await.expect(0);
        let sql = "SELECT CAST(id AS TEXT), CAST(p AS TEXT) FROM c";
        assert_same("c", &rows(&source.store_ref(), sql).await, &rows(&target.store_ref(), sql).await);
    }
}

/// Rows of an older history at the target refer to each other, too: parents can't go before their children.
#[tokio::test(flavor = "multi_thread")]
async fn a_family_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (database("replaced_from").await, database("replaced_to").await);
    to.grant_target_rights().await;
    for (source, target) in [(sqlite(&dir, "a.db"), sqlite(&dir, "b.db")), (Place::Postgres(from), Place::Postgres(to))]
    {
        let ddl = "CREATE TABLE p (id BIGINT NOT NULL PRIMARY KEY, boss BIGINT REFERENCES p (id));
            CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, p BIGINT NOT NULL REFERENCES p (id));";
        source
            .exec(&format!("{ddl} INSERT INTO p VALUES (2, NULL), (4, 2); INSERT INTO c VALUES (1, 2), (2, 4)"))
            .await;
        let old =
            "INSERT INTO p VALUES (1, NULL), (2, 1), (3, 2), (9, NULL); INSERT INTO c VALUES (1, 1), (3, 3), (8, 9)";
        target.exec(&format!("{ddl} {old}")).await;
        let product = Product::new(
            "replaced",
            &source,
            &target,
            None,
            "on_existing: replace\ntables:\n  - from: c\n  - from: p\n",
        );
        product.run(&["apply"]).await.expect(0);
        for sql in
            ["SELECT CAST(id AS TEXT), CAST(p AS TEXT) FROM c", "SELECT CAST(id AS TEXT), CAST(boss AS TEXT) FROM p"]
        {
            assert_same(sql, &rows(&source.store_ref(), sql).await, &rows(&target.store_ref(), sql).await);
        }
        product.run(&["verify"]).await.expect(0);
    }
}
