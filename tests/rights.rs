//! Least rights: daily work with SELECT at the source and the four rights at the target, installing by the owner, no
//! superuser anywhere, no new grant for the application. Nobody waits for us, no secret and no row's value is told, and
//! foreign keys hold.

mod support;

#[path = "rights/alone.rs"]
mod alone;
#[path = "rights/family.rs"]
mod family;
#[path = "rights/locks.rs"]
mod locks;
#[path = "rights/refusals.rs"]
mod refusals;
#[path = "rights/secrets.rs"]
mod secrets;

use std::time::Duration;
use support::live::{self, Writers};
use support::product::{Place, Product, sqlite};
use support::{Nats, NatsVersion, PgDatabase, Postgres, exec, query_text, try_exec};

async fn database(hint: &str) -> PgDatabase {
    Postgres::shared().database(hint).await
}

/// What a role may do with our schema: nothing, if it is the application's.
async fn rights_of(db: &PgDatabase, role: &str) -> Vec<Vec<Option<String>>> {
    let sql = format!(
        "SELECT n.nspname::text, has_schema_privilege('{role}', n.oid, 'USAGE')::text, count(c.oid)::text
           FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'S')
             AND has_table_privilege('{role}', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
          WHERE n.nspname LIKE '\\_migrate%' GROUP BY n.oid, n.nspname"
    );
    query_text(&db.superuser_url, &sql).await
}

/// Every role of these databases but the test's own superuser.
async fn no_superuser(db: &PgDatabase) {
    let sql = format!(
        "SELECT rolname::text FROM pg_roles WHERE (rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls)
           AND rolname IN ('{}', '{}', '{}')",
        db.owner, db.app, db.run
    );
    assert!(query_text(&db.superuser_url, &sql).await.is_empty());
}

/// Only what the docs say, on tables that exist already at both sides; the whole way from plan to abort.
#[tokio::test(flavor = "multi_thread")]
async fn daily_work_needs_no_more_than_the_docs_say() {
    let (from, to) = (database("least_from").await, database("least_to").await);
    let (source, target) = (Place::Postgres(from.clone()), Place::Postgres(to.clone()));
    live::fill(&source, 500, 7).await;
    target.exec(&live::schema(&target)).await;
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON customers, orders TO \"{}\"", to.run);
    exec(&to.owner_url, &grant).await;
    let nats = Nats::start(NatsVersion::Current);
    let tables = "tables:\n  - from: customers\n  - from: orders\nbackfill: { chunk_rows: 100 }\n";
    let product = Product::new("least", &source, &target, Some(&nats), tables);
    let before = (source.catalogue().await, target.catalogue().await);

    let writers = Writers::start(&source, 2, 500, 7, Duration::from_millis(5));
    product.run(&["plan"]).await.expect(0);
    product.run(&["apply"]).await.expect(0);
    for (db, role) in [(&from, &from.app), (&to, &to.app)] {
        let rights = rights_of(db, role).await;
        let none = [[Some("_migrate_least".to_owned()), Some("false".to_owned()), Some("0".to_owned())]];
        assert_eq!(rights, none, "{role} was given rights on our schema");
        no_superuser(db).await;
    }
    // Whom we granted nothing can't look into the control tables, nor mark keys, nor stop capture.
    for sql in [
        "SELECT * FROM _migrate_least.log",
        "DELETE FROM _migrate_least.dirty_1",
        "SELECT * FROM _migrate_least.link_source",
        "ALTER TABLE customers DISABLE TRIGGER ALL",
        "DROP SCHEMA _migrate_least CASCADE",
    ] {
        assert!(try_exec(&from.app_url, sql).await.is_err(), "the application may {sql}");
    }
    let ledger = writers.stop().await;
    product.run(&["apply"]).await.expect(0);
    product.run(&["verify"]).await.expect(0);
    product.run(&["status"]).await.expect(0);
    live::assert_nothing_lost(&source, &target, &ledger).await;
    product.run(&["abort"]).await.expect(0);
    assert_eq!((source.catalogue().await, target.catalogue().await), before);
}

/// Capture can't be led astray by what an application's session has in its path, or in its settings.
#[tokio::test(flavor = "multi_thread")]
async fn an_applications_session_can_not_lead_capture_astray() {
    let (from, to) = (database("astray_from").await, database("astray_to").await);
    to.grant_target_rights().await;
    let (source, target) = (Place::Postgres(from.clone()), Place::Postgres(to.clone()));
    source
        .exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT, at TIMESTAMPTZ); INSERT INTO t VALUES (1, 'a', now())")
        .await;
    let own = format!(
        "CREATE SCHEMA mine AUTHORIZATION \"{0}\"; GRANT TEMPORARY ON DATABASE \"{1}\" TO \"{0}\"",
        from.app, from.name
    );
    exec(&from.superuser_url, &own).await;
    let product = Product::new("astray", &source, &target, None, "create_tables: true\ntables:\n  - from: t\n");
    product.run(&["apply"]).await.expect(0);
    for (i, set) in [
        "CREATE TABLE mine.dirty_1 (k1 text, x int); SET search_path = mine, _migrate_astray, public",
        "CREATE TEMP TABLE t (id int); CREATE TEMP TABLE dirty_1 (id int); SET search_path = pg_temp, public",
        "CREATE FUNCTION mine.int8eq(bigint, bigint) RETURNS bool LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR mine.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = mine.int8eq);
         SET search_path = mine, pg_catalog, public",
        "SET DateStyle = 'German'; SET TimeZone = 'Asia/Kathmandu'; SET bytea_output = escape; SET extra_float_digits = 0",
        "SET standard_conforming_strings = off; SET row_security = on; SET check_function_bodies = off",
    ]
    .iter()
    .enumerate()
    {
        let n = 10 + i;
        let sql = format!(
            "{set}; INSERT INTO public.t VALUES ({n}, 'new', now()); UPDATE public.t SET v = 'changed {n}' WHERE id = 1;
             UPDATE public.t SET id = {n} + 100 WHERE id = {n}"
        );
        exec(&from.app_url, &sql).await;
        product.run(&["apply"]).await.expect(0);
        let sql = "SELECT id::text, v, extract(epoch FROM at)::text FROM public.t";
        let left = support::compare::rows(&source.store_ref(), sql).await;
        support::compare::assert_same(set, &left, &support::compare::rows(&target.store_ref(), sql).await);
        assert_eq!(left.count(), i + 2);
    }
    product.run(&["verify"]).await.expect(0);
}
