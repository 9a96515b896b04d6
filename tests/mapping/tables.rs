//! Two source tables in one target table, and one source table in two.

use super::*;

const LEASE: &str = "backfill: { chunk_rows: 50 }\nlease: { ttl: 1s }\n";
const ROWS: i64 = 1_500;

const BOTH: &str = "tables:
  - from: people
    to: contacts
    columns: { contact_id: id, email: email, grade: grade, system: { const: crm } }
  - from: persons
    to: contacts
    columns: { contact_id: no, email: { sql: 'lower(mail)' }, grade: grade, system: { const: erp } }
";

const SOURCES: &str = "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(60) NOT NULL, grade INTEGER);
    CREATE TABLE persons (no BIGINT NOT NULL PRIMARY KEY, mail VARCHAR(60) NOT NULL, grade INTEGER);";

/// The target folds case where its engine does by itself: another system's name in capitals is another system.
const CONTACTS: &str =
    "CREATE TABLE contacts (system VARCHAR(20) NOT NULL, contact_id BIGINT NOT NULL, email VARCHAR(60) NOT NULL,
    grade INTEGER, note VARCHAR(20) DEFAULT 'none', PRIMARY KEY (system, contact_id));";

fn fill(table: &str) -> String {
    let row = |i: i64| {
        format!("({i}, '{table}{i}@Example.org', {})", if i % 5 == 0 { "NULL".into() } else { (i % 90).to_string() })
    };
    (1..ROWS)
        .step_by(500)
        .map(|first| {
            let rows = (first..(first + 500).min(ROWS)).map(row).collect::<Vec<_>>().join(", ");
            format!("INSERT INTO {table} VALUES {rows};")
        })
        .collect()
}

fn change(rng: &mut StdRng) -> String {
    let (table, key, mail) = [("people", "id", "email"), ("persons", "no", "mail")][rng.random_range(0..2)];
    let (id, grade) = (rng.random_range(1..ROWS * 2), rng.random_range(0..99));
    match rng.random_range(0..8) {
        0 => format!("DELETE FROM {table} WHERE {key} = {id}"),
        1 => format!("UPDATE {table} SET {key} = {key} + 100000 WHERE {key} = {id} AND {key} < {ROWS}"),
        2..4 => format!("UPDATE {table} SET {mail} = 'New{id}@x' WHERE {key} = {id}"),
        4..6 => format!("UPDATE {table} SET grade = {grade} WHERE {key} = {id}"),
        _ => format!(
            "INSERT INTO {table} SELECT {id}, 'in{id}@x', {grade} WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {key} = {id})"
        ),
    }
}

async fn both_arrived(source: &Place, target: &Place) {
    for (wanted, from, system) in
        [(["id", "email", "grade"], "people", "crm"), (["no", "lower(mail)", "grade"], "persons", "erp")]
    {
        let wanted = texts(source, &wanted, from).await;
        let ours = format!("contacts WHERE system = '{system}' AND contact_id < 200000");
        support::compare::assert_same(system, &wanted, &texts(target, &["contact_id", "email", "grade"], &ours).await);
        assert!(wanted.count() > 500);
    }
}

async fn theirs(target: &Place) -> Rows {
    let foreign = "contacts WHERE system NOT IN ('crm', 'erp') OR contact_id >= 200000";
    texts(target, &["system", "contact_id", "email", "grade", "note"], foreign).await
}

async fn two_tables_become_one(name: &str, source: Place, target: Place) {
    let seed = rand::random();
    source.exec(&format!("{SOURCES} {} {}", fill("people"), fill("persons"))).await;
    let row = |i: i64| format!("('web', {i}, 'Web{i}@x', 5, 'theirs')");
    let web =
        (1..300).map(row).chain(["('CRM', 900001, 'Loud@x', 1, 'theirs')".to_owned()]).collect::<Vec<_>>().join(", ");
    target.exec(&format!("{CONTACTS} INSERT INTO contacts VALUES {web};")).await;
    let foreign = theirs(&target).await;
    assert_eq!(foreign.count(), 300);
    let (before_source, before_target) = (source.catalogue().await, target.catalogue().await);
    let product = Product::new(name, &source, &target, None, &format!("{BOTH}{LEASE}"));
    product.run(&["plan"]).await.expect(0);

    let writers: Vec<_> = (0..2).map(|i| Writer::start(&source, seed ^ i, change)).collect();
    killed_and_run_again(&product, &mut StdRng::seed_from_u64(seed)).await;
    let mut written = 0;
    for writer in writers {
        written += writer.stop().await;
    }
    assert!(written > 50, "{written}");
    apply(&product).await;
    both_arrived(&source, &target).await;
    assert_eq!(theirs(&target).await, foreign, "another system's rows");

    // One byte of one row, and one row that nobody sent, each under its own table.
    target.exec("UPDATE contacts SET email = 'qew7@x' WHERE system = 'erp' AND contact_id = (SELECT m FROM (SELECT min(contact_id) AS m FROM contacts WHERE system = 'erp') x)").await;
    target.exec("INSERT INTO contacts VALUES ('crm', 150000, 'nobody@x', 1, 'n')").await;
    let found = verified(&product, 3).await;
    let named: Vec<_> = found["differences"]
        .as_array()
        .expect("differences")
        .iter()
        .map(|d| (d["table"].clone(), d["what"].clone()))
        .collect();
    let of = |from: &str| {
        found["tables"]
            .as_array()
            .expect("tables")
            .iter()
            .find(|t| t["source"].as_str().expect("a name").ends_with(from))
            .expect("a table")["differing"]
            .clone()
    };
    assert_eq!((named.len(), of("people"), of("persons")), (2, 1.into(), 1.into()), "{found}");
    assert!(
        named.iter().any(|(t, w)| t.as_str().is_some_and(|t| t.contains("persons")) && w == "changed"),
        "{named:?}"
    );
    product.run(&["verify", "--repair"]).await.expect(3);
    product.run(&["verify"]).await.expect(0);
    both_arrived(&source, &target).await;
    assert_eq!(theirs(&target).await, foreign);

    product.run(&["abort"]).await.expect(0);
    assert_eq!((source.catalogue().await, target.catalogue().await), (before_source, before_target));
    assert_eq!(theirs(&target).await, foreign);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tables_become_one_on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    two_tables_become_one("two-ss", sqlite(&dir, "a.db"), sqlite(&dir, "b.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tables_become_one_from_postgres_to_mariadb() {
    two_tables_become_one("two-pm", postgres("two_pm").await, mariadb("two_pm").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tables_become_one_from_mariadb_to_postgres() {
    two_tables_become_one("two-mp", mariadb("two_mp").await, postgres("two_mp").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_is_made_for_both() {
    let dir = tempfile::tempdir().expect("a directory");
    for (i, (source, target)) in
        [(sqlite(&dir, "a.db"), mariadb("made_both").await), (postgres("made_both").await, sqlite(&dir, "b.db"))]
            .into_iter()
            .enumerate()
    {
        source.exec(&format!("{SOURCES} {} {}", fill("people"), fill("persons"))).await;
        let before = target.catalogue().await;
        let product =
            Product::new(&format!("made-{i}"), &source, &target, None, &format!("create_tables: true\n{BOTH}{LEASE}"));
        let planned = product.run(&["plan"]).await.expect(0);
        assert!(planned.stdout.contains("filled from several tables"), "{}", planned.stdout);
        apply(&product).await;
        both_arrived(&source, &target).await;
        product.run(&["apply"]).await.expect(0);
        product.run(&["abort", "--drop-created", "--yes"]).await.expect(0);
        assert_eq!(target.catalogue().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_whose_rows_could_meet_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (sqlite(&dir, "a.db"), sqlite(&dir, "b.db"));
    source.exec(&format!("{SOURCES} {}", fill("people"))).await;
    for (ddl, body, says) in [
        (CONTACTS, BOTH.replace("const: erp", "const: crm"), "[MG0114]"),
        (
            "CREATE TABLE contacts (system VARCHAR(20) NOT NULL, contact_id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(60) NOT NULL, grade INTEGER);",
            BOTH.to_owned(),
            "no constant in its key",
        ),
        (CONTACTS, BOTH.replace(", system: { const: erp }", ""), "stands twice"),
    ] {
        target.exec(&format!("DROP TABLE IF EXISTS contacts; {ddl}")).await;
        let product = Product::new("meet", &source, &target, None, &body);
        for verb in ["plan", "apply"] {
            let ran = product.run(&[verb]).await.expect(65);
            assert!(ran.stderr.contains(says) && ran.stderr.contains("= "), "{}", ran.stderr);
        }
    }
    // Unique values that both bring are counted.
    source.exec("INSERT INTO persons VALUES (1, 'people7@Example.org', 1)").await;
    target.exec(&format!("DROP TABLE contacts; {CONTACTS} CREATE UNIQUE INDEX mail ON contacts(email)")).await;
    let body = BOTH.replace("{ sql: 'lower(mail)' }", "mail");
    let ran = Product::new("meet", &source, &target, None, &body).run(&["plan"]).await.expect(65);
    assert!(ran.stderr.contains("what a row of another table brings too"), "{}", ran.stderr);
}

const SPLIT: &str = "guard_target: false
tables:
  - { from: people, to: young, where: \"grade < 50\" }
  - { from: people, to: rest, where: \"grade >= 50 OR grade IS NULL\" }
  - { from: people, to: graded, where: \"grade IS NOT NULL\" }
";

async fn one_table_becomes_three(name: &str, source: Place, target: Place) {
    let seed = rand::random();
    source.exec(&format!("{SOURCES} {}", fill("people"))).await;
    let table = |t: &str| {
        format!("CREATE TABLE {t} (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(60) NOT NULL, grade INTEGER);")
    };
    target.exec(&["young", "rest", "graded"].map(table).concat()).await;
    let (before_source, before_target) = (source.catalogue().await, target.catalogue().await);
    let product = Product::new(name, &source, &target, None, &format!("{SPLIT}{LEASE}"));
    product.run(&["plan"]).await.expect(0);
    let writers: Vec<_> = (0..2).map(|i| Writer::start(&source, seed ^ i, change)).collect();
    killed_and_run_again(&product, &mut StdRng::seed_from_u64(seed)).await;
    for writer in writers {
        writer.stop().await;
    }
    // Rows that go from one filter to the other.
    source
        .exec("UPDATE people SET grade = CASE WHEN grade < 50 THEN 77 WHEN grade < 80 THEN 3 END WHERE id % 3 = 0")
        .await;
    apply(&product).await;
    let columns = ["id", "email", "grade"];
    for (to, filter) in
        [("young", "grade < 50"), ("rest", "grade >= 50 OR grade IS NULL"), ("graded", "grade IS NOT NULL")]
    {
        let wanted = texts(&source, &columns, &format!("people WHERE {filter}")).await;
        support::compare::assert_same(to, &wanted, &texts(&target, &columns, to).await);
        assert!(wanted.count() > 100, "{to}");
    }
    target.exec("UPDATE rest SET email = 'x' WHERE id = (SELECT m FROM (SELECT min(id) AS m FROM rest) x)").await;
    let found = verified(&product, 3).await;
    assert_eq!(
        (&found["differences"][0]["table"], found["differences"].as_array().map(Vec::len)),
        (&found["tables"][1]["target"], Some(1)),
        "{found}"
    );
    product.run(&["abort"]).await.expect(0);
    assert_eq!((source.catalogue().await, target.catalogue().await), (before_source, before_target));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_becomes_three_on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    one_table_becomes_three("split-ss", sqlite(&dir, "a.db"), sqlite(&dir, "b.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_becomes_three_from_postgres_to_mariadb() {
    one_table_becomes_three("split-pm", postgres("split_pm").await, mariadb("split_pm").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_becomes_three_from_mariadb_to_postgres() {
    one_table_becomes_three("split-mp", mariadb("split_mp").await, postgres("split_mp").await).await;
}

const OWNED: &str = "tables:
  - from: people
    to: contacts
    columns: { contact_id: id, email: email, grade: grade, system: { sql: \"substr(email, 1, 2)\" } }
    where: \"grade < 50\"
    owns: \"grade < 50 AND note = 'none'\"
";

/// Another filter's rows, among ours by their keys, with no constant that would tell them apart.
async fn the_rows_of_another_filter_stay(name: &str, source: Place, target: Place) {
    let seed = rand::random();
    source.exec(&format!("{SOURCES} {}", fill("people"))).await;
    let row = |i: i64| {
        format!(
            "('x', {}, 'Other{i}@x', {}, {})",
            i * 1_000 + 999_500,
            if i % 2 == 0 { 77 } else { 3 },
            if i % 2 == 0 { "'none'" } else { "'theirs'" }
        )
    };
    let others = (-900..900).map(row).collect::<Vec<_>>().join(", ");
    let ddl = CONTACTS.replace("PRIMARY KEY (system, contact_id)", "PRIMARY KEY (contact_id)");
    target.exec(&format!("{ddl} INSERT INTO contacts VALUES {others};")).await;
    let theirs =
        || texts(&target, &["system", "contact_id", "email", "grade", "note"], "contacts WHERE email LIKE 'Other%'");
    let foreign = theirs().await;
    assert_eq!(foreign.count(), 1_800);
    let product = Product::new(name, &source, &target, None, &format!("{OWNED}{LEASE}"));
    product.run(&["plan"]).await.expect(0);
    let writer = Writer::start(&source, seed, change);
    killed_and_run_again(&product, &mut StdRng::seed_from_u64(seed)).await;
    writer.stop().await;
    apply(&product).await;
    let wanted = texts(&source, &["id", "email", "grade"], "people WHERE grade < 50").await;
    let ours = texts(&target, &["contact_id", "email", "grade"], "contacts WHERE email NOT LIKE 'Other%'").await;
    support::compare::assert_same("ours", &wanted, &ours);
    assert_eq!(theirs().await, foreign);
    // One of ours that nobody sent is found and removed; theirs are nobody's concern.
    target
        .exec("INSERT INTO contacts VALUES ('x', 170001, 'Lost@x', 7, 'none'), ('x', 170002, 'Other@x', 7, 'theirs')")
        .await;
    let foreign = theirs().await;
    assert_eq!(verified(&product, 3).await["tables"][0]["differing"], 1);
    product.run(&["verify", "--repair"]).await.expect(3);
    product.run(&["verify"]).await.expect(0);
    assert_eq!(theirs().await, foreign);
    // One of theirs under a key that ours get: it stays, and ours waits.
    target.exec("INSERT INTO contacts VALUES ('x', 170003, 'Other@y', 60, 'none')").await;
    source.exec("INSERT INTO people VALUES (170003, 'mine@x', 6)").await;
    let foreign = theirs().await;
    product.run(&["apply"]).await.expect(4);
    let letters = product.words(&["dead-letters", "list"], &[]).await.expect(0);
    assert!(letters.stdout.contains("does not own"), "{}", letters.stdout);
    assert_eq!(theirs().await, foreign);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_another_filter_stay_on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    the_rows_of_another_filter_stay("owns-ss", sqlite(&dir, "a.db"), sqlite(&dir, "b.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_another_filter_stay_from_postgres_to_mariadb() {
    the_rows_of_another_filter_stay("owns-pm", postgres("owns_pm").await, mariadb("owns_pm").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_another_filter_stay_from_mariadb_to_postgres() {
    the_rows_of_another_filter_stay("owns-mp", mariadb("owns_mp").await, postgres("owns_mp").await).await;
}
