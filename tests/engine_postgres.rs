//! PostgreSQL as `trait Engine` promises it, against a private server, with the roles that the product has: the owner
//! installs, `run` does the daily work, `app` writes. No product call is made as a superuser.

mod support;

#[path = "engine_postgres/capturing.rs"]
mod capturing;
#[path = "engine_postgres/catalogue.rs"]
mod catalogue;
#[path = "engine_postgres/connecting.rs"]
mod connecting;
#[path = "engine_postgres/gating.rs"]
mod gating;
#[path = "engine_postgres/installing.rs"]
mod installing;
#[path = "engine_postgres/kinds.rs"]
mod kinds;

use migrate::entry::TableId;
use migrate::error::Result;
use migrate::mapping::{Layout, Origin, TableMap, WireColumn};
use migrate::schema::{Table, TableName};
use migrate::store::engine::{Engine, Mode, Out, Statement};
use migrate::store::postgres::Postgres;
use migrate::value::{Row, Value};
use support::{PgDatabase, exec};

/// One database with its two product logins.
struct Place {
    db: PgDatabase,
    admin: Postgres,
    run: Postgres,
}

impl Place {
    /// `ddl` is run by the owner, so that the owner owns what it makes.
    async fn new(hint: &str, ddl: &str) -> Self {
        let db = support::Postgres::shared().database(hint).await;
        exec(&db.owner_url, ddl).await;
        let admin = Postgres::connect(&db.owner_url).unwrap();
        let run = Postgres::connect(&db.run_url).unwrap();
        Self { db, admin, run }
    }

    async fn describe(&self, table: &str) -> Table {
        self.run.describe(&named(table)).await.unwrap().unwrap_or_else(|| panic!("no table {table}"))
    }

    /// Every column to the same column of `to`, by the primary key.
    async fn map(&self, id: u16, from: &str, to: &str) -> TableMap {
        let (source, target) = (self.describe(from).await, self.describe(to).await);
        let columns: Vec<WireColumn> = source
            .columns
            .iter()
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
        self.admin.create_home(&layout.migration, &self.db.run).await.unwrap();
        for map in &layout.tables {
            self.admin.capture(layout, map, &self.db.run).await.unwrap();
        }
        let mut tx = self.admin.begin(Mode::Install).await.unwrap();
        self.admin.grant_home(&mut tx, &layout.migration, &self.db.run).await.unwrap();
        self.admin.commit(tx).await.unwrap();
    }

    async fn fingerprint(&self, layout: &Layout) -> String {
        let mut tx = self.run.begin(Mode::Seal(layout)).await.unwrap();
        self.run.fingerprint(&mut tx, layout).await.unwrap()
    }

    async fn overflowed(&self, layout: &Layout) -> bool {
        let mut tx = self.run.begin(Mode::Seal(layout)).await.unwrap();
        self.run.overflowed(&mut tx, layout).await.unwrap()
    }
}

fn named(table: &str) -> TableName {
    let (schema, name) = table.split_once('.').unwrap_or(("public", table));
    TableName { schema: Some(schema.to_owned()), name: name.to_owned() }
}

async fn collect(engine: &Postgres, tx: &mut <Postgres as Engine>::Tx, sql: &str, outs: &[Out]) -> Result<Vec<Row>> {
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

/// A control query of one number.
async fn number(engine: &Postgres, tx: &mut <Postgres as Engine>::Tx, sql: &str) -> i128 {
    match collect(engine, tx, sql, &[]).await.unwrap()[0][0] {
        Value::Int(i) => i,
        ref other => panic!("{other:?}"),
    }
}
