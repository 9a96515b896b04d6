//! Stores that are not there, do not let us in, or do not give us the rights: the message lists what is missing.

use super::{World, assert_refusal, postgres};
use crate::support::exec;
use crate::support::process::free_port;
use crate::support::product::Place;

const BODY: &str = "create_tables: true\ntables:\n  - from: customers\n";
const CUSTOMERS: &str = "CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, email TEXT)";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_store() {
    let mut world = World::sqlite(BODY).await;
    world.source.exec(CUSTOMERS).await;
    let Place::Sqlite(source) = world.source.clone() else { unreachable!() };
    for side in ["SOURCE", "TARGET"] {
        let missing = source.with_file_name("not-there.db");
        world.product.set(side, &format!("sqlite://{}", missing.display()));
        world.product.set(&format!("{side}_ADMIN"), &format!("sqlite://{}", missing.display()));
        world.is_refused("missing", 65, &["there is no file", "not-there.db", "mode=rwc"]).await;
        assert!(!missing.exists(), "it was made");

        let text = source.with_file_name("text.db");
        std::fs::write(&text, "this is a letter, and no database at all. ".repeat(100)).expect("write");
        world.product.set(side, &format!("sqlite://{}", text.display()));
        world.product.set(&format!("{side}_ADMIN"), &format!("sqlite://{}", text.display()));
        world.is_refused("no database", 65, &["is not a SQLite database", "text.db"]).await;
        assert!(std::fs::read_to_string(&text).expect("text").starts_with("this is"));

        world.product.set(side, "sqlite:///tmp");
        world.product.set(&format!("{side}_ADMIN"), "sqlite:///tmp");
        world.is_refused("a directory", 65, &["is a directory"]).await;
        let place = if side == "SOURCE" { &world.source } else { &world.target };
        let url = place.url();
        world.product.set(side, &url);
        world.product.set(&format!("{side}_ADMIN"), &url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_or_refuses_the_login() {
    let mut world = World::postgres("login", BODY).await;
    world.source.exec(CUSTOMERS).await;
    let Place::Postgres(db) = world.source.clone() else { unreachable!() };
    let closed = free_port();
    for side in ["SOURCE", "TARGET"] {
        let own = if side == "SOURCE" { world.source.url() } else { world.target.url() };
        world.product.set(side, &format!("postgres://{}:s3cret-canary-x@127.0.0.1:{closed}/{}", db.run, db.name));
        let port = closed.to_string();
        let name = side.to_lowercase();
        world.is_refused("nobody there", 1, &["does not answer", &name, &port, "check host and port"]).await;
        world.product.set(side, &own.replace("s3cret-canary-", "s3cret-canary-wrong-"));
        world.is_refused("wrong password", 65, &["refused the login", &name, "check user and password"]).await;
        let (head, _) = own.rsplit_once('/').expect("a database");
        world.product.set(side, &format!("{head}/nowhere"));
        world.is_refused("no such database", 65, &["nowhere", &name, "check the database's name"]).await;
        world.product.set(side, &own);
    }
    // The same for the login that installs.
    let own = world.source.admin_url();
    world.product.set("SOURCE_ADMIN", &own.replace("s3cret-canary-", "s3cret-canary-wrong-"));
    world.is_refused("wrong password of admin_url", 65, &["refused the login", "admin_url"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_listed_as_grants() {
    let source = postgres("few_from").await;
    let Place::Postgres(target_db) = postgres("few_to").await else { unreachable!() };
    let Place::Postgres(db) = source.clone() else { unreachable!() };
    source.exec(CUSTOMERS).await;
    source.exec("CREATE TABLE orders (id BIGINT PRIMARY KEY)").await;
    exec(&db.owner_url, &format!("REVOKE SELECT ON customers FROM \"{}\"", db.run)).await;
    exec(&target_db.owner_url, "CREATE TABLE customers (id BIGINT PRIMARY KEY, email TEXT)").await;
    exec(&target_db.owner_url, &format!("REVOKE INSERT, DELETE ON customers FROM \"{}\"", target_db.run)).await;
    let body = "create_tables: true\ntables:\n  - from: customers\n  - from: orders\n";
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = World::of(source, Place::Postgres(target_db.clone()), dir, body);
    // The application's role may neither create a schema nor a table, and owns nothing.
    world.product.set("SOURCE_ADMIN", &db.app_url);
    world.product.set("TARGET_ADMIN", &target_db.app_url);
    let grants = [
        format!("source (url): GRANT SELECT ON \"public\".\"customers\" TO \"{}\"", db.run),
        format!("source (admin_url): GRANT CREATE ON DATABASE \"{}\" TO \"{}\"", db.name, db.app),
        format!("source (admin_url): GRANT \"{}\" TO \"{}\"", db.owner, db.app),
        format!("target (url): GRANT INSERT, DELETE ON \"public\".\"customers\" TO \"{}\"", target_db.run),
        format!("target (admin_url): GRANT CREATE ON DATABASE \"{}\" TO \"{}\"", target_db.name, target_db.app),
        format!("target (admin_url): GRANT CREATE ON SCHEMA \"public\" TO \"{}\"", target_db.app),
    ];
    let says: Vec<&str> = grants.iter().map(String::as_str).collect();
    world.is_refused("rights", 65, &says).await;

    // What the message lists is enough: run exactly those, as the owner of each database (a role by a superuser).
    let said = world.product.run(&["plan"]).await.stderr;
    for line in said.lines().filter_map(|line| line.trim().split_once("): ")) {
        let url = if line.0.starts_with("source") { &db.superuser_url } else { &target_db.superuser_url };
        exec(url, line.1).await;
    }
    world.product.run(&["plan"]).await.expect(0);
    world.product.run(&["apply"]).await.expect(0);
    world.product.run(&["abort", "--drop-created", "--yes"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::sqlite(BODY).await;
    world.source.exec(CUSTOMERS).await;
    let Place::Sqlite(path) = &world.source else { unreachable!() };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444)).expect("chmod");
    let ran = world.product.run(&["apply"]).await;
    // Whoever runs as root may write it all the same.
    if ran.code != 0 {
        assert_refusal(&ran, "read only", 65, &["source (url): chmod u+rw", "source.db"]);
    }
}
