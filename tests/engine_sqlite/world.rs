//! A file, the application that uses it, and a layout over its tables.

use migrate::entry::TableId;
use migrate::error::Result;
use migrate::mapping::{Layout, Origin, TableMap, WireColumn};
use migrate::schema::TableName;
use migrate::store::engine::{Engine, Out, Statement};
use migrate::store::sqlite::Sqlite;
use migrate::value::{Row, Value};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row as _, SqliteConnection};

pub const MIGRATION: &str = "crm-to-x";

pub struct World {
    pub dir: tempfile::TempDir,
    pub engine: Sqlite,
    /// The application's own connection: foreign keys off, recursive triggers off, as SQLite has it.
    pub app: SqliteConnection,
}

pub fn name(table: &str) -> TableName {
    TableName { schema: None, name: table.into() }
}

/// An application's connection that waits `wait_ms` for the lock.
pub async fn connect(path: &std::path::Path, wait_ms: u64) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(false);
    options.busy_timeout(std::time::Duration::from_millis(wait_ms)).connect().await.unwrap()
}

impl World {
    pub async fn new(ddl: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let app = connect(&path, 5000).await;
        let engine = Sqlite::connect(&format!("sqlite://{}", path.display())).unwrap();
        let mut world = Self { dir, engine, app };
        world.sql(ddl).await;
        world
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("app.db")
    }

    /// As the application.
    pub async fn sql(&mut self, sql: &str) {
        self.try_sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    pub async fn try_sql(&mut self, sql: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.app).await.map(|_| ())
    }

    pub async fn rows(&mut self, sql: &str) -> Vec<SqliteRow> {
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.app).await.unwrap()
    }

    /// One column as SQL literals.
    pub async fn quoted(&mut self, sql: &str) -> Vec<String> {
        self.rows(sql).await.iter().map(|r| r.get_unchecked(0)).collect()
    }

    pub async fn map(&self, id: u16, table: &str) -> TableMap {
        let t = self.engine.describe(&name(table)).await.unwrap().expect("described");
        let wire = |c: &migrate::schema::Column| WireColumn {
            origin: Origin::Column(c.name.clone()),
            source_kind: c.kind.clone(),
            wire: c.kind.clone(),
            target: c.clone(),
        };
        TableMap {
            tolerance: vec![],
            owned: None,
            id: TableId(id),
            source: t.name.clone(),
            target: t.name.clone(),
            columns: t.columns.iter().filter(|c| !c.generated).map(wire).collect(),
            key: t.primary_key.iter().map(|k| t.columns.iter().position(|c| c.name == *k).unwrap()).collect(),
            source_key: t.primary_key.iter().map(|k| t.column(k).unwrap().clone()).collect(),
            target_unique: t.primary_key.clone(),
            constants: vec![],
            filter: None,
            scope: None,
            ranged: None,
            within: None,
            ordered_alike: true,
        }
    }

    pub async fn layout(&self, tables: &[&str], backlog_limit: u64) -> Layout {
        let mut maps = Vec::new();
        for (id, table) in (1..).zip(tables) {
            maps.push(self.map(id, table).await);
        }
        Layout { migration: MIGRATION.into(), tables: maps, backlog_limit, max_parked: 0 }
    }

    /// Installs capture of all tables.
    pub async fn install(&self, tables: &[&str], backlog_limit: u64) -> Layout {
        let layout = self.layout(tables, backlog_limit).await;
        self.engine.create_home(MIGRATION, "").await.unwrap();
        for map in &layout.tables {
            self.engine.capture(&layout, map, "").await.unwrap();
        }
        layout
    }

    /// Keys marked since the last call, as SQL literals, sorted and without repetition.
    pub async fn marked(&mut self, id: u16) -> Vec<String> {
        let dirty = format!("\"_migrate_{MIGRATION}_dirty_{id}\"");
        let columns: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT count(*) - 1 FROM pragma_table_info('_migrate_{MIGRATION}_dirty_{id}')"
        )))
        .fetch_one(&mut self.app)
        .await
        .unwrap();
        let keys: Vec<String> = (1..=columns).map(|i| format!("quote(k{i})")).collect();
        let sql = format!("SELECT DISTINCT {} FROM {dirty} ORDER BY 1 COLLATE BINARY", keys.join(" || ',' || "));
        let found = self.quoted(&sql).await;
        self.sql(&format!("DELETE FROM {dirty}")).await;
        found
    }

    /// Marks that one statement makes.
    pub async fn marks(&mut self, sql: &str) -> Vec<String> {
        self.sql(sql).await;
        self.marked(1).await
    }

    /// All columns of all rows by the engine, in wire form.
    pub async fn read(&self, map: &TableMap, exact: bool) -> Result<Vec<Row>> {
        let mut tx = self.engine.begin(migrate::store::engine::Mode::Look).await?;
        let outs: Vec<Out> =
            map.columns.iter().map(|c| Out { held: c.source_kind.clone(), wire: c.wire.clone(), exact }).collect();
        let columns = map.columns.iter().map(|c| self.engine.quote(&c.target.name)).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {columns} FROM {} ORDER BY 1", self.engine.table(&map.source));
        query(&self.engine, &mut tx, &Statement { sql, args: vec![] }, &outs).await
    }
}

pub async fn query(e: &Sqlite, tx: &mut <Sqlite as Engine>::Tx, s: &Statement, outs: &[Out]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut each = |row| {
        rows.push(row);
        Ok(true)
    };
    e.query(tx, s, outs, &mut each).await?;
    Ok(rows)
}

pub async fn ints(e: &Sqlite, tx: &mut <Sqlite as Engine>::Tx, sql: &str) -> Vec<i128> {
    let rows = query(e, tx, &Statement { sql: sql.into(), args: vec![] }, &[]).await.unwrap();
    rows.iter().map(|r| if let Value::Int(i) = r[0] { i } else { panic!("no integer") }).collect()
}
