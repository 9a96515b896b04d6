//! The plan file itself: not there, not YAML, keys, names and variables that do not exist.

use super::World;

const CUSTOMERS: &str = "CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, email TEXT, phone TEXT)";

async fn world() -> World {
    let world = World::sqlite("create_tables: true\ntables:\n  - from: customers\n").await;
    world.source.exec(CUSTOMERS).await;
    world.source.exec("INSERT INTO customers VALUES (1, 'a@b', NULL)").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_can_not_be_read() {
    let mut world = world().await;
    let there = world.product.plan.clone();
    for (name, says) in [("nowhere.yaml", "nowhere.yaml"), (".", "directory")] {
        world.product.plan = there.with_file_name(name);
        world.is_refused(name, 65, &[says]).await;
    }
    world.product.plan = there.clone();
    std::fs::write(&there, b"version: 1\nmigration: \xff\xfe\n").expect("write");
    world.is_refused("no UTF-8", 65, &["UTF-8"]).await;
    world.set_text("");
    world.is_refused("nothing", 65, &["plan.yaml"]).await;
    world.set_text("version: 1\nmigration: [x\nsource: }\n");
    world.is_refused("no YAML", 65, &["plan.yaml:3:"]).await;
    world.set_text(&format!("version: 1\n# {}\n", "x".repeat(2 << 20)));
    world.is_refused("too long", 65, &["1 MiB"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_tables_and_columns_that_do_not_exist() {
    let mut world = world().await;
    for (about, body, says) in [
        (
            "a key",
            "create_tables: true\ntabels:\n  - from: customers\n",
            &[":6:1: unknown key \"tabels\"", "did you mean \"tables\"?"][..],
        ),
        (
            "a key of a table",
            "create_tables: true\ntables:\n  - from: customers\n    colums: { id: id }\n",
            &[":8:5: unknown key \"colums\"", "did you mean \"columns\"?"],
        ),
        (
            "a table",
            "create_tables: true\ntables:\n  - from: custmers\n",
            &[":7:11: the source has no table \"custmers\"", "did you mean \"customers\"?"],
        ),
        (
            "a column",
            "create_tables: true\ntables:\n  - from: customers\n    columns: { id: id, email: emial, phone: phone }\n",
            &["\"customers\" has no column \"emial\"", "did you mean \"email\"?"],
        ),
        (
            "a key column",
            "create_tables: true\ntables:\n  - from: customers\n    key: [ids]\n",
            &["\"customers\" has no column \"ids\"", "did you mean \"id\"?"],
        ),
        (
            "a skipped column",
            "create_tables: true\ntables:\n  - from: customers\n    skip: [phon]\n",
            &["no column \"phon\" to skip", "did you mean \"phone\"?"],
        ),
        (
            "a column that nobody thought of",
            "create_tables: true\ntables:\n  - from: customers\n    columns: { id: id, email: email }\n",
            &["\"phone\" of \"customers\" is neither mapped nor skipped", "skip: [phone]"],
        ),
        (
            "a target table",
            "tables:\n  - from: customers\n",
            &["the target has no table \"customers\"", "create_tables: true"],
        ),
        (
            "two at once",
            "crate_tables: true\ntables:\n  - form: customers\n",
            &[":5:1: unknown key \"crate_tables\"", ":7:5: unknown key \"form\"", "did you mean \"from\"?"],
        ),
    ] {
        world.set_body(body);
        world.is_refused(about, 65, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_secrets() {
    let world = world().await;
    let with = |url: &str| {
        world.set_text(&format!(
            "version: 1\nmigration: bad\nsource: {{ team: a, url: \"{url}\" }}\n\
             target: {{ team: b, url: \"${{TARGET}}\" }}\ncreate_tables: true\ntables: [{{ from: customers }}]\n"
        ));
    };
    with("${SOURCE_URL}");
    world.is_refused("undefined", 65, &[":3:", "the variable \"SOURCE_URL\" is not set"]).await;
    with("${NOBODY:?ask the CRM team}");
    world.is_refused("undefined with a message", 65, &["ask the CRM team"]).await;
    with("${SOURCE");
    world.is_refused("not closed", 65, &["is not closed"]).await;
    with("postgres://crm:s3cret-canary-in-the-plan@localhost/crm");
    world.is_refused("a literal password", 65, &["password"]).await;
    with("${NOBODY:-postgres://crm:s3cret-canary-in-the-plan@localhost/crm}");
    world.is_refused("a literal password in a default", 65, &["password"]).await;
    with("oracle://localhost/crm");
    world.is_refused("another engine", 65, &["postgres://"]).await;
}
