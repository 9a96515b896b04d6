//! Two private stores of one engine, made by plain DDL, with the rights that the product really has; and the layout
//! that joins their tables, built from both catalogues without the plan's help.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use migrate::entry::TableId;
use migrate::log::codec::Wire;
use migrate::mapping::{Layout, Origin, TableMap, WireColumn, wire_kind};
use migrate::schema::{EngineName, Kind, TableName};
use migrate::store::{Side, Store, connect};
use migrate::value::Value;

use crate::app::App;
use crate::support::{MariaDb, MyDatabase, PgDatabase, Postgres};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
    MariaDb,
}

impl On {
    pub fn name(self) -> EngineName {
        match self {
            On::Sqlite => EngineName::Sqlite,
            On::Postgres => EngineName::Postgres,
            On::MariaDb => EngineName::MySql,
        }
    }

    /// What makes `{fold}` known.
    pub fn folding(self) -> &'static str {
        match self {
            On::Sqlite | On::MariaDb => "",
            On::Postgres => {
                "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
            }
        }
    }

    /// DDL for this engine: `{int}`, `{text}` and `{long}` (ordered by bytes), `{bytes}`, `{fold}` (a text that an engine folds).
    pub fn ddl(self, sql: &str) -> String {
        let [int, text, long, bytes, fold] = match self {
            On::Sqlite => ["INTEGER", "TEXT", "TEXT", "BLOB", "TEXT COLLATE NOCASE"],
            On::Postgres => ["bigint", "text COLLATE \"C\"", "text COLLATE \"C\"", "bytea", "text COLLATE folding"],
            On::MariaDb => [
                "bigint",
                "varchar(200) COLLATE utf8mb4_nopad_bin",
                "longtext COLLATE utf8mb4_nopad_bin",
                "varbinary(200)",
                "varchar(200) COLLATE utf8mb4_general_nopad_ci",
            ],
        };
        let sql = sql.replace("{long}", long);
        sql.replace("{int}", int).replace("{text}", text).replace("{bytes}", bytes).replace("{fold}", fold)
    }
}

/// One store: as the owner, as daily work, and as the application.
pub struct End {
    pub on: On,
    pub admin: Arc<dyn Store>,
    pub store: Arc<dyn Store>,
    pg: Option<PgDatabase>,
    pub maria: Option<MyDatabase>,
    path: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

impl End {
    pub async fn new(on: On, name: &str, ddl: &str) -> Self {
        let end = match on {
            On::Postgres => {
                let pg = Postgres::shared().database(name).await;
                pg.grant_target_rights().await;
                let store = |url| connect(url, &Wire).unwrap();
                let (admin, store) = (store(&pg.owner_url), store(&pg.run_url));
                End { on, admin, store, pg: Some(pg), maria: None, path: PathBuf::new(), _dir: None }
            }
            On::MariaDb => {
                let maria = MariaDb::shared().database(name).await;
                maria.grant_target_rights().await;
                let store = |url| connect(url, &Wire).unwrap();
                let (admin, store) = (store(&maria.owner_url), store(&maria.run_url));
                End { on, admin, store, pg: None, maria: Some(maria), path: PathBuf::new(), _dir: None }
            }
            On::Sqlite => {
                // In memory, where the system has such a place: what is tested here is not the disk.
                let memory = std::path::Path::new("/dev/shm");
                let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
                let dir = tempfile::tempdir_in(place).unwrap();
                let path = dir.path().join(format!("{name}.db"));
                App::sqlite(&path).await.run("PRAGMA journal_mode").await;
                let url = format!("sqlite://{}", path.display());
                let store = connect(&url, &Wire).unwrap();
                End { on, admin: store.clone(), store, pg: None, maria: None, path, _dir: Some(dir) }
            }
        };
        end.owner().await.run(&on.ddl(ddl)).await;
        end
    }

    /// The application.
    pub async fn app(&self) -> App {
        match (&self.pg, &self.maria) {
            (Some(pg), _) => App::postgres(&pg.app_url).await,
            (_, Some(maria)) => App::mariadb(&maria.app_url).await,
            _ => App::sqlite(&self.path).await,
        }
    }

    /// Who owns the tables, for a test's DDL.
    pub async fn owner(&self) -> App {
        match (&self.pg, &self.maria) {
            (Some(pg), _) => App::postgres(&pg.owner_url).await,
            (_, Some(maria)) => App::mariadb(&maria.owner_url).await,
            _ => App::sqlite(&self.path).await,
        }
    }

    pub async fn superuser(&self) -> App {
        match (&self.pg, &self.maria) {
            (Some(pg), _) => App::postgres(&pg.superuser_url).await,
            (_, Some(maria)) => App::mariadb(&maria.superuser_url).await,
            _ => App::sqlite(&self.path).await,
        }
    }

    pub async fn run(&self, sql: &str) {
        let mut app = self.app().await;
        app.run(sql).await;
        app.close().await;
    }

    /// `columns` of a table in that order, each row as one line of text.
    pub async fn rows(&self, table: &str, columns: &str) -> Vec<String> {
        let mut app = self.app().await;
        let rows = app.rows(table, columns).await;
        app.close().await;
        rows
    }

    pub fn table(&self, name: &str) -> TableName {
        let schema = (self.on == On::Postgres).then(|| "public".to_owned());
        TableName { schema, name: name.to_owned() }
    }

    /// A second, independent process's view of the same store.
    pub fn another(&self) -> Arc<dyn Store> {
        match (&self.pg, &self.maria) {
            (Some(pg), _) => connect(&pg.run_url, &Wire).unwrap(),
            (_, Some(maria)) => connect(&maria.run_url, &Wire).unwrap(),
            _ => connect(&format!("sqlite://{}", self.path.display()), &Wire).unwrap(),
        }
    }
}

/// A table pair to be: by default all columns that both sides have, under one name, by the source's primary key.
#[derive(Clone)]
pub struct Pair {
    from: &'static str,
    to: &'static str,
    renamed: Vec<(&'static str, Origin)>,
    skip: Vec<&'static str>,
    constants: Vec<(&'static str, Value)>,
    filter: Option<&'static str>,
    alike: bool,
}

pub fn pair(from: &'static str, to: &'static str) -> Pair {
    Pair { from, to, renamed: vec![], skip: vec![], constants: vec![], filter: None, alike: true }
}

impl Pair {
    /// The target's column comes from another one of the source.
    pub fn column(mut self, target: &'static str, source: &str) -> Self {
        self.renamed.push((target, Origin::Column(source.to_owned())));
        self
    }

    pub fn sql(mut self, target: &'static str, sql: &str) -> Self {
        self.renamed.push((target, Origin::Sql(sql.to_owned())));
        self
    }

    pub fn skip(mut self, target: &'static str) -> Self {
        self.skip.push(target);
        self
    }

    pub fn skip_if(self, condition: bool, target: &'static str) -> Self {
        if condition { self.skip(target) } else { self }
    }

    pub fn constant(mut self, target: &'static str, value: Value) -> Self {
        self.constants.push((target, value));
        self
    }

    pub fn filter(mut self, sql: &'static str) -> Self {
        self.filter = Some(sql);
        self
    }

    /// As if the two stores ordered the keys differently.
    pub fn unlike(mut self) -> Self {
        self.alike = false;
        self
    }

    async fn map(&self, id: u16, source: &End, target: &End) -> TableMap {
        let from = source.store.describe(&source.table(self.from)).await.unwrap().expect(self.from);
        let to = target.store.describe(&target.table(self.to)).await.unwrap().expect(self.to);
        let is_constant = |name: &str| self.constants.iter().any(|(n, _)| *n == name);
        let mut columns = Vec::new();
        for column in to.columns.iter().filter(|c| !self.skip.contains(&c.name.as_str()) && !is_constant(&c.name)) {
            let renamed = self.renamed.iter().find(|(name, _)| *name == column.name).map(|(_, o)| o.clone());
            let origin = renamed.unwrap_or_else(|| Origin::Column(column.name.clone()));
            let source_kind = match &origin {
                Origin::Column(name) => from.column(name).unwrap_or_else(|| panic!("no {name}")).kind.clone(),
                Origin::Sql(_) => column.kind.clone(),
            };
            let wire = wire_kind(source.on.name(), &source_kind, target.on.name(), &column.kind).unwrap();
            columns.push(WireColumn { origin, source_kind, wire, target: column.clone() });
        }
        let place = |key: &String| columns.iter().position(|c| c.origin == Origin::Column(key.clone())).unwrap();
        let key: Vec<usize> = from.primary_key.iter().map(place).collect();
        let source_key: Vec<_> = from.primary_key.iter().map(|k| from.column(k).unwrap().clone()).collect();
        let binary = |c: &migrate::schema::Column| c.binary_order || !matches!(c.kind, Kind::Text { .. });
        let alike = self.alike && source_key.iter().chain(key.iter().map(|&i| &columns[i].target)).all(binary);
        TableMap {
            tolerance: vec![],
            owned: None,
            id: TableId(id),
            source: from.name,
            target: to.name.clone(),
            source_key,
            key,
            target_unique: to.primary_key.clone(),
            constants: self.constants.iter().map(|(n, v)| (to.column(n).unwrap().clone(), v.clone())).collect(),
            filter: self.filter.map(str::to_owned),
            scope: None,
            ranged: None,
            within: None,
            ordered_alike: alike,
            columns,
        }
    }
}

/// Source, target and layout, control tables and capture in place.
pub struct Rig {
    pub on: On,
    pub source: End,
    pub target: End,
    pub layout: Layout,
}

impl Rig {
    /// Tables in parents-first order.
    pub async fn new(on: On, source_ddl: &str, target_ddl: &str, pairs: &[Pair]) -> Self {
        let rig = Self::bare(on, source_ddl, target_ddl, pairs).await;
        rig.install().await;
        rig
    }

    /// The same DDL on both sides.
    pub async fn same(on: On, ddl: &str, tables: &[&'static str]) -> Self {
        let pairs: Vec<Pair> = tables.iter().map(|t| pair(t, t)).collect();
        Self::new(on, ddl, ddl, &pairs).await
    }

    /// One table `t(id, v)`.
    pub async fn plain(on: On) -> Self {
        Self::same(on, "CREATE TABLE t(id {int} NOT NULL PRIMARY KEY, v {long})", &["t"]).await
    }

    /// Nothing is installed.
    pub async fn bare(on: On, source_ddl: &str, target_ddl: &str, pairs: &[Pair]) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let source = End::new(on, &format!("s{n}"), source_ddl).await;
        let target = End::new(on, &format!("t{n}"), target_ddl).await;
        let mut tables = Vec::new();
        for (i, pair) in pairs.iter().enumerate() {
            tables.push(pair.map(i as u16 + 1, &source, &target).await);
        }
        let layout = Layout { migration: "m-1".to_owned(), tables, backlog_limit: 1_000_000, max_parked: 0 };
        Rig { on, source, target, layout }
    }

    pub fn m(&self) -> &str {
        &self.layout.migration
    }

    pub async fn install(&self) {
        let (source, target) = (&self.source, &self.target);
        let login = source.store.who().await.unwrap();
        source.admin.install_control(&self.layout, Side::Source, &login).await.unwrap();
        for map in &self.layout.tables {
            source.admin.capture(&self.layout, map.id, &login).await.unwrap();
        }
        let login = target.store.who().await.unwrap();
        target.admin.install_control(&self.layout, Side::Target, &login).await.unwrap();
        self.remember_capture().await;
    }

    pub async fn remember_capture(&self) {
        let now = self.source.store.fingerprint(&self.layout).await.unwrap();
        self.source.store.put(self.m(), Side::Source, "fingerprint", &now).await.unwrap();
    }

    /// As a process sees them that was just started.
    pub async fn another_target_verdicts(&self) -> Vec<migrate::entry::Verdict> {
        self.target.another().verdicts(&self.layout, migrate::entry::Link::Forward).await.unwrap()
    }

    /// Both stores' rows of a table that has the same columns on both.
    #[track_caller]
    pub fn assert_same(&self, what: &str, source: &[String], target: &[String]) {
        let only =
            |a: &[String], b: &[String]| a.iter().filter(|r| !b.contains(r)).take(8).cloned().collect::<Vec<_>>();
        assert!(
            source == target,
            "{what}: {} rows and {}; only at the source {:?}, only at the target {:?}",
            source.len(),
            target.len(),
            only(source, target),
            only(target, source)
        );
    }

    pub async fn assert_equal(&self, table: &str, columns: &str) {
        let (source, target) = (self.source.rows(table, columns).await, self.target.rows(table, columns).await);
        self.assert_same(table, &source, &target);
    }
}
