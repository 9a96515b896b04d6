//! A password is in no output, no control table, no stream, and no list of processes.

use super::{database, sqlite};
use crate::support::postgres::CANARY;
use crate::support::product::{Place, Product, Ran};
use crate::support::{Nats, NatsOptions, NatsVersion, mysql_query_text, query_text, sqlite_query_text};

const PLAN: &str = "create_tables: true\ntables:\n  - from: t\nlease: { ttl: 2s }\n";

fn assert_clean(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "{what} holds a password:\n{text}");
}

fn clean(what: &str, ran: &Ran) {
    assert_clean(what, &format!("{}{}", ran.stdout, ran.stderr));
}

/// Everything in our own tables, as text.
async fn control_tables(place: &Place) -> String {
    let mut all = String::new();
    match place {
        Place::Postgres(db) => {
            let list = "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname LIKE '\\_migrate%' AND c.relkind = 'r'";
            for table in query_text(&db.owner_url, list).await {
                let table = table[0].clone().expect("a name");
                let rows = query_text(&db.superuser_url, &format!("SELECT x::text FROM {table} x")).await;
                all += &format!("{table}: {rows:?}\n");
            }
        }
        Place::MariaDb(db) => {
            let list = "SELECT TABLE_NAME FROM information_schema.TABLES
                WHERE TABLE_SCHEMA = DATABASE() AND LEFT(TABLE_NAME, 9) = '_migrate_'";
            for table in mysql_query_text(&db.owner_url, list).await {
                let table = table[0].clone().expect("a name");
                let columns = format!(
                    "SELECT concat('hex(`', COLUMN_NAME, '`), CONVERT(`', COLUMN_NAME, '` USING latin1)') FROM information_schema.COLUMNS \
                     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
                );
                let columns = mysql_query_text(&db.owner_url, &columns).await;
                let columns: Vec<String> = columns.into_iter().flatten().flatten().collect();
                let sql = format!("SELECT {} FROM `{table}`", columns.join(", "));
                all += &format!("{table}: {:?}\n", mysql_query_text(&db.superuser_url, &sql).await);
            }
        }
        Place::Sqlite(path) => {
            let list = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '\\_migrate%' ESCAPE '\\'";
            for table in sqlite_query_text(path, list).await {
                let table = table[0].clone().expect("a name");
                let columns = sqlite_query_text(path, &format!("SELECT name FROM pragma_table_info('{table}')")).await;
                let columns = columns
                    .iter()
                    .flatten()
                    .flatten()
                    .map(|c| format!("quote(\"{c}\") || quote(CAST(\"{c}\" AS BLOB))"));
                let sql = format!("SELECT {} FROM \"{table}\"", columns.collect::<Vec<_>>().join(", "));
                let rows = sqlite_query_text(path, &sql).await;
                all += &format!("{table}: {rows:?}\n");
            }
        }
    }
    assert!(all.contains("_migrate_secret"), "no control tables: {all}");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_stays_where_it_belongs() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Place::Postgres(database("secret").await);
    let target = sqlite(&dir, "b.db");
    source.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')").await;
    let user = Some(("mover".to_owned(), format!("{CANARY}nats")));
    let nats = Nats::start_with(NatsVersion::Current, NatsOptions { user, ..Default::default() });
    let mut product = Product::new("secret", &source, &target, Some(&nats), PLAN);
    clean("plan", &product.run(&["plan"]).await.expect(0));
    clean("plan", &product.run(&["plan", "--json"]).await.expect(0));
    clean("apply", &product.run(&["apply", "--output", "json", "--heartbeat", "50ms"]).await.expect(0));

    let mut host = product.start(&["apply", "--follow", "--heartbeat", "50ms"]);
    host.says("follow").await;
    for file in ["cmdline", "comm", "status"] {
        let text = std::fs::read(format!("/proc/{}/{file}", host.pid())).expect("a process");
        assert_clean(file, &String::from_utf8_lossy(&text));
    }
    clean("a second apply", &product.run(&["apply"]).await.expect(5));
    for args in [&["status"][..], &["status", "--json"], &["verify"], &["verify", "--output", "json"]] {
        clean("status, verify", &product.run(args).await.expect(0));
    }
    assert_clean("the source's tables", &control_tables(&source).await);
    assert_clean("the target's tables", &control_tables(&target).await);

    // The broker goes away and comes back: what is told of it holds no password either.
    let (url, own) = (nats.bare_url(), nats.url());
    drop(nats);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    host.signal("TERM");
    let code = host.wait().await;
    assert!(code == 143 || code == 1, "{code}: {}", host.stderr());
    assert_clean("a lost broker", &format!("{}{}", host.stdout(), host.stderr()));
    for (name, value) in [("EVENTS", own.as_str()), ("EVENTS", url.as_str())] {
        product.set(name, value);
        clean("no broker", &product.run(&["apply"]).await.expect(1));
    }
    clean("abort without a broker", &product.run(&["abort"]).await);
}
