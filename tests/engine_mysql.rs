//! MariaDB as `trait Engine` promises it, against a private server, with the accounts that the product has: the owner
//! installs, `run` does the daily work, `app` writes. No product call is made as a superuser.

mod support;

#[path = "engine_mysql/capturing.rs"]
mod capturing;
#[path = "engine_mysql/catalogue.rs"]
mod catalogue;
#[path = "engine_mysql/connecting.rs"]
mod connecting;
#[path = "engine_mysql/gating.rs"]
mod gating;
#[path = "engine_mysql/kinds.rs"]
mod kinds;

use migrate::entry::TableId;
use migrate::error::Result;
use migrate::mapping::{Layout, Origin, TableMap, WireColumn};
use migrate::schema::{Table, TableName};
use migrate::store::engine::{Engine, Mode, Out, Statement};
use migrate::store::mysql::MySql;
use migrate::value::Row;
use support::{MariaDb, MyDatabase, mysql_exec, mysql_query_text};

/// One database with its two product logins.
struct Place {
    db: MyDatabase,
    admin: MySql,
    run: MySql,
}

impl Place {
    async fn new(hint: &str, ddl: &str) -> Self {
        let db = MariaDb::shared().database(hint).await;
        mysql_exec(&db.owner_url, ddl).await;
        let (admin, run) = (MySql::connect(&db.owner_url).unwrap(), MySql::connect(&db.run_url).unwrap());
        Self { db, admin, run }
    }

    async fn app(&self, sql: &str) {
        mysql_exec(&self.db.app_url, sql).await;
    }

    async fn describe(&self, table: &str) -> Table {
        self.run.describe(&named(table)).await.unwrap().unwrap_or_else(|| panic!("no table {table}"))
    }

    /// Every column to the same column of `to`, by the primary key.
    async fn map(&self, id: u16, from: &str, to: &str) -> TableMap {
        let (source, target) = (self.describe(from).await, self.describe(to).await);
        let writable = source.columns.iter().filter(|c| !c.generated);
        let columns: Vec<WireColumn> = writable
            .map(|c| WireColumn {
                origin: Origin::Column(c.name.clone()),
                source_kind: c.kind.clone(),
                wire: c.kind.clone(),
                target: target.column(&c.name).unwrap().clone(),
            })
            .collect();
        let at = |name: &String| columns.iter().position(|c| c.origin == Origin::Column(name.clone())).unwrap();
        TableMap {
            tolerance: vec![],
            owned: None,
            id: TableId(id),
            key: source.primary_key.iter().map(at).collect(),
            source_key: source.primary_key.iter().map(|k| source.column(k).unwrap().clone()).collect(),
            target_unique: target.primary_key.clone(),
            source: source.name,
            target: target.name,
            columns,
            constants: Vec::new(),
            filter: None,
            scope: None,
            ranged: None,
            within: None,
            ordered_alike: true,
        }
    }

    async fn layout(&self, migration: &str, tables: &[&str]) -> Layout {
        let mut maps = Vec::new();
        for (i, table) in tables.iter().enumerate() {
            maps.push(self.map(i as u16 + 1, table, table).await);
        }
        Layout { migration: migration.to_owned(), tables: maps, backlog_limit: 1_000, max_parked: 0 }
    }

    /// Home and capture for every table.
    async fn install(&self, layout: &Layout) {
        let who = self.run.who().await.unwrap();
        self.admin.create_home(&layout.migration, &who).await.unwrap();
        for map in &layout.tables {
            self.admin.capture(layout, map, &who).await.unwrap();
        }
        let mut tx = self.admin.begin(Mode::Install).await.unwrap();
        self.admin.grant_home(&mut tx, &layout.migration, &who).await.unwrap();
        self.admin.commit(tx).await.unwrap();
    }

    async fn fingerprint(&self, layout: &Layout) -> String {
        let mut tx = self.run.begin(Mode::Seal(layout)).await.unwrap();
        self.run.fingerprint(&mut tx, layout).await.unwrap()
    }

    /// What is dirty, as one line.
    async fn dirty(&self, layout: &Layout, columns: &str) -> String {
        let table = self.run.control(&layout.migration, "dirty_1");
        let sql = format!("SELECT {columns} FROM {table} ORDER BY seq");
        let rows = mysql_query_text(&self.db.superuser_url, &sql).await;
        let line =
            |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("/");
        rows.into_iter().map(line).collect::<Vec<_>>().join(" ")
    }

    async fn forget(&self, layout: &Layout) {
        let table = self.run.control(&layout.migration, "dirty_1");
        mysql_exec(&self.db.superuser_url, &format!("DELETE FROM {table}")).await;
    }
}

fn named(table: &str) -> TableName {
    TableName { schema: None, name: table.to_owned() }
}

async fn collect(engine: &MySql, tx: &mut <MySql as Engine>::Tx, sql: &str, outs: &[Out]) -> Result<Vec<Row>> {
    let statement = Statement { sql: sql.to_owned(), args: Vec::new() };
    let mut rows = Vec::new();
    engine
        .query(tx, &statement, outs, &mut |row| {
            rows.push(row);
            Ok(true)
        })
        .await?;
    Ok(rows)
}
