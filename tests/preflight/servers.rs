//! What is wrong with a server or a login, each under its own id.

use std::collections::BTreeSet;

use super::support::product::{Place, Product};
use super::support::{Postgres, exec, try_exec};
use super::{findings, ids, safe_database, safe_server};

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text)";
const TABLES: &str = "tables:\n  - from: t\n";

struct Pair {
    source: Place,
    target: Place,
    product: Product,
}

async fn pair(hint: &str) -> Pair {
    let source = Place::Postgres(safe_database(&format!("{hint}_from")).await);
    let target = Place::Postgres(safe_database(&format!("{hint}_to")).await);
    source.exec(TABLE).await;
    target.exec(TABLE).await;
    let product = Product::new("servers", &source, &target, None, TABLES);
    Pair { source, target, product }
}

fn only(id: &str) -> BTreeSet<String> {
    BTreeSet::from([id.to_owned()])
}

/// As a superuser, in one side's database.
async fn as_superuser(place: &Place, sql: &str) {
    let Place::Postgres(db) = place else { unreachable!() };
    exec(&db.superuser_url, sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_and_event_triggers_are_told() {
    let pair = pair("things").await;
    as_superuser(&pair.source, "CREATE PUBLICATION everything FOR ALL TABLES").await;
    let found = findings(&pair.product, 0).await;
    assert_eq!(ids(&found), only("MG0216"), "{found:#?}");
    assert!(found[0]["message"].as_str().is_some_and(|m| m.contains("everything") && m.starts_with("the source: ")));
    as_superuser(&pair.source, "DROP PUBLICATION everything; CREATE PUBLICATION one FOR TABLE t").await;
    let watch = "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
        CREATE EVENT TRIGGER watched ON ddl_command_end EXECUTE FUNCTION watch()";
    as_superuser(&pair.target, watch).await;
    assert_eq!(ids(&findings(&pair.product, 0).await), only("MG0410"));
}

/// A subscription that fills the target's table, made without a connection to its publisher.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_told() {
    let pair = pair("subscribed").await;
    as_superuser(&pair.source, "CREATE PUBLICATION one FOR TABLE t").await;
    let Place::Postgres(db) = &pair.source else { unreachable!() };
    let connection = format!(
        "host=127.0.0.1 port={} user=postgres password={}postgres dbname={}",
        safe_server().port(),
        super::support::postgres::CANARY,
        db.name
    );
    let sql = format!(
        "CREATE SUBSCRIPTION s CONNECTION '{connection}' PUBLICATION one
           WITH (create_slot = false, enabled = false, slot_name = NONE)"
    );
    let Place::Postgres(to) = &pair.target else { unreachable!() };
    try_exec(&to.superuser_url, &sql).await.expect("a subscription");
    let found = findings(&pair.product, 0).await;
    assert_eq!(ids(&found), only("MG0217"), "{found:#?}");
    assert!(!format!("{found:?}").contains(super::support::postgres::CANARY));
    as_superuser(&pair.target, "DROP SUBSCRIPTION s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_told() {
    let pair = pair("prepared").await;
    pair.source.exec("BEGIN; INSERT INTO t VALUES (1, 'row-canary'); PREPARE TRANSACTION 'forgotten_one'").await;
    let found = findings(&pair.product, 0).await;
    assert_eq!(ids(&found), only("MG0411"), "{found:#?}");
    pair.source.exec("ROLLBACK PREPARED 'forgotten_one'").await;
    assert!(findings(&pair.product, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_is_refused() {
    let pair = pair("readonly").await;
    let Place::Postgres(db) = &pair.target else { unreachable!() };
    let set = format!("ALTER DATABASE \"{}\" SET default_transaction_read_only = on", db.name);
    exec(&safe_server().superuser_url("postgres"), &set).await;
    assert_eq!(ids(&findings(&pair.product, 65).await), only("MG0403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_is_told() {
    let mut pair = pair("superuser").await;
    let Place::Postgres(db) = &pair.source else { unreachable!() };
    pair.product.set("SOURCE", &db.superuser_url);
    assert_eq!(ids(&findings(&pair.product, 0).await), only("MG0409"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_not_moved_into_itself() {
    let mut pair = pair("itself").await;
    pair.product.set("TARGET", &pair.source.url().replace("127.0.0.1", "localhost"));
    pair.product.set("TARGET_ADMIN", &pair.source.admin_url());
    let Place::Postgres(db) = &pair.source else { unreachable!() };
    db.grant_target_rights().await;
    assert_eq!(ids(&findings(&pair.product, 65).await), only("MG0220"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_that_lacks_characters_is_refused() {
    let mut pair = pair("encoding").await;
    let server = safe_server();
    let make = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    exec(&server.superuser_url("postgres"), make).await;
    let Place::Postgres(db) = &pair.target else { unreachable!() };
    let there = |url: &str| format!("{}/latin", url.rsplit_once('/').expect("a database").0);
    let sql = format!(
        "GRANT ALL ON DATABASE latin TO \"{0}\"; GRANT ALL ON SCHEMA public TO \"{0}\"; {TABLE};
         ALTER TABLE t OWNER TO \"{0}\"; GRANT SELECT, INSERT, UPDATE, DELETE ON t TO \"{1}\"",
        db.owner, db.run
    );
    exec(&there(&db.superuser_url), &sql).await;
    pair.product.set("TARGET", &there(&db.run_url));
    pair.product.set("TARGET_ADMIN", &there(&db.owner_url));
    assert_eq!(ids(&findings(&pair.product, 65).await), only("MG0404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_is_told() {
    let mut pair = pair("unsafe").await;
    let db = Postgres::shared().database("forgetful").await;
    db.grant_target_rights().await;
    let place = Place::Postgres(db);
    place.exec(TABLE).await;
    pair.product.set("TARGET", &place.url());
    pair.product.set("TARGET_ADMIN", &place.admin_url());
    let found = findings(&pair.product, 0).await;
    assert_eq!(ids(&found), only("MG0405"), "{found:#?}");
    assert!(found[0]["message"].as_str().is_some_and(|m| m.contains("fsync and full_page_writes")));
}

/// What is missing is told together with everything else, and what `grants` prints is enough.
#[tokio::test(flavor = "multi_thread")]
async fn rights_are_told_with_everything_else() {
    let pair = pair("rights").await;
    let (Place::Postgres(from), Place::Postgres(to)) = (&pair.source, &pair.target) else { unreachable!() };
    exec(&from.owner_url, &format!("REVOKE SELECT ON t FROM \"{}\"", from.run)).await;
    exec(&to.owner_url, &format!("REVOKE INSERT, DELETE ON t FROM \"{}\"", to.run)).await;
    as_superuser(&pair.source, "CREATE PUBLICATION everything FOR ALL TABLES").await;
    let found = findings(&pair.product, 65).await;
    assert_eq!(ids(&found), BTreeSet::from(["MG0216".to_owned(), "MG0401".to_owned()]), "{found:#?}");
    let granted = pair.product.run(&["grants"]).await.expect(0).stdout;
    for (side, line) in [
        ("source", format!("GRANT SELECT ON \"public\".\"t\" TO \"{}\";", from.run)),
        ("target", format!("GRANT SELECT, INSERT, UPDATE, DELETE ON \"public\".\"t\" TO \"{}\";", to.run)),
        ("source", format!("GRANT CONNECT ON DATABASE \"{}\" TO \"{}\";", from.name, from.run)),
        ("target", format!("GRANT USAGE ON SCHEMA \"public\" TO \"{}\";", to.run)),
        ("source", format!("GRANT CREATE ON DATABASE \"{}\" TO \"{}\";", from.name, from.owner)),
    ] {
        assert!(granted.lines().any(|l| l == line), "no {side} {line}:\n{granted}");
    }
    // As it stands, each side's part is a script.
    for (url, side, database) in [(&from.superuser_url, "source", from), (&to.superuser_url, "target", to)] {
        let mut ours = false;
        let mut script = String::new();
        for line in granted.lines() {
            ours = if line.starts_with("-- ") { line.starts_with(&format!("-- {side}")) } else { ours };
            script += &if ours { format!("{line}\n") } else { String::new() };
        }
        assert!(script.contains(&database.run), "{script}");
        exec(url, &script).await;
    }
    assert_eq!(ids(&findings(&pair.product, 0).await), only("MG0216"));
}
