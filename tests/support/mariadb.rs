//! Private MariaDB servers, and a fresh database with least-right accounts for each test.

use super::postgres::CANARY;
use super::process::{Server, User, free_port, missing, private_dir, run, temporary_dir};
use super::sql::{TextRow, value_text};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const SERVER: &str = "/usr/sbin/mariadbd";

pub struct MariaDb {
    server: Server,
    port: u16,
}

impl MariaDb {
    /// The server that all tests of this binary share: make a `database` of your own in it, and never kill it.
    pub fn shared() -> &'static MariaDb {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| MariaDb::start(&[]))
    }

    /// A server of one's own, with more options.
    pub fn start(options: &[&str]) -> MariaDb {
        let user = User::for_servers();
        if !Path::new(SERVER).exists() {
            missing("MariaDB (/usr/sbin/mariadbd)");
        }
        let template = template(user);
        let mut error = String::new();
        for _ in 0..3 {
            let (dir, port) = (private_dir("maria", user), free_port());
            run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(dir.join("data")));
            let mut server = Server::new("MariaDB", user, dir.clone(), &argv(&dir, port, options));
            match server.start(is_ready) {
                Ok(()) => return MariaDb { server, port },
                Err(e) => error = e, // perhaps another process took the port: try another one
            }
        }
        panic!("{error}")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Kills the server at once.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.server.end("TERM");
        self.server.start(is_ready).unwrap_or_else(|e| panic!("{e}"));
    }

    /// For a test's set-up only.
    pub fn superuser_url(&self, database: &str) -> String {
        self.url("tester", database)
    }

    fn url(&self, account: &str, database: &str) -> String {
        format!("mysql://{account}:{CANARY}{account}@127.0.0.1:{}/{database}", self.port)
    }

    /// A fresh database with three accounts of its own.
    pub async fn database(&self, hint: &str) -> MyDatabase {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{hint}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (owner, app, run) = (format!("{name}_owner"), format!("{name}_app"), format!("{name}_run"));
        let mut sql = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;");
        for account in [&owner, &app, &run] {
            sql += &format!("CREATE USER '{account}'@'%' IDENTIFIED BY '{CANARY}{account}';");
        }
        // In grants a `_` of a database's name would stand for any character.
        let pattern = name.replace('_', "\\_");
        sql += &format!(
            "GRANT ALL PRIVILEGES ON `{pattern}`.* TO '{owner}'@'%' WITH GRANT OPTION;
             GRANT PROCESS ON *.* TO '{owner}'@'%';
             GRANT SELECT, INSERT, UPDATE, DELETE ON `{pattern}`.* TO '{app}'@'%';
             GRANT SELECT ON `{pattern}`.* TO '{run}'@'%';"
        );
        mysql_exec(&self.superuser_url("mysql"), &sql).await;
        MyDatabase {
            superuser_url: self.superuser_url(&name),
            owner_url: self.url(&owner, &name),
            app_url: self.url(&app, &name),
            run_url: self.url(&run, &name),
            name,
            owner,
            app,
            run,
        }
    }
}

/// A database and its accounts; each password is `CANARY` and the account's name.
#[derive(Debug, Clone)]
pub struct MyDatabase {
    pub name: String,
    pub owner: String,
    pub app: String,
    pub run: String,
    /// Only for a test's set-up.
    pub superuser_url: String,
    /// May do everything in the database: the product's `admin_url`.
    pub owner_url: String,
    /// The application: reads and writes.
    pub app_url: String,
    /// The product's `url`: reads; writes after `grant_target_rights`.
    pub run_url: String,
}

impl MyDatabase {
    /// Lets the product's `url` write the tables.
    pub async fn grant_target_rights(&self) {
        let pattern = self.name.replace('_', "\\_");
        let sql = format!("GRANT INSERT, UPDATE, DELETE ON `{pattern}`.* TO '{}'@'%'", self.run);
        mysql_exec(&self.superuser_url, &sql).await;
    }

    /// Everything that the catalogue says, grants on tables too.
    pub async fn catalogue(&self) -> Vec<TextRow> {
        let name = &self.name;
        let sql = format!(
            "SELECT 'table', TABLE_NAME, concat_ws(' ', TABLE_TYPE, ENGINE, TABLE_COLLATION) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{name}'
             UNION ALL SELECT 'column', concat(TABLE_NAME, '.', COLUMN_NAME), concat_ws(' ', COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME)
               FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{name}'
             UNION ALL SELECT 'index', concat(TABLE_NAME, '.', INDEX_NAME, '.', SEQ_IN_INDEX), COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = '{name}'
             UNION ALL SELECT 'trigger', TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{name}'
             UNION ALL SELECT 'routine', ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{name}'
             UNION ALL SELECT 'key', CONSTRAINT_NAME, concat(TABLE_NAME, DELETE_RULE) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = '{name}'
             UNION ALL SELECT 'grant', concat(User, '.', Table_name), Table_priv FROM mysql.tables_priv WHERE Db = '{name}'
             UNION ALL SELECT 'grant', concat(User, '.', Routine_name), Proc_priv FROM mysql.procs_priv WHERE Db = '{name}'
             ORDER BY 1, 2, 3"
        );
        mysql_query_text(&self.superuser_url, &sql).await
    }
}

pub async fn try_mysql_exec(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut conn = MySqlConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
    conn.close().await
}

pub async fn mysql_exec(url: &str, sql: &str) {
    try_mysql_exec(url, sql).await.unwrap_or_else(|e| panic!("{}: {e}", sql.chars().take(300).collect::<String>()));
}

/// All rows, each value as the server's own text.
pub async fn mysql_query_text(url: &str, sql: &str) -> Vec<TextRow> {
    let mut conn = MySqlConnection::connect(url).await.expect("a connection");
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut conn).await;
    let rows = rows.unwrap_or_else(|e| panic!("{}: {e}", sql.chars().take(300).collect::<String>()));
    conn.close().await.expect("close");
    rows.iter().map(|row| (0..row.len()).map(|i| value_text(row, i)).collect()).collect()
}

/// A data directory fresh from `mariadb-install-db`, which takes seconds: made once per version and user, then copied.
fn template(user: User) -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = run(Command::new(SERVER).arg("--version"));
        let version = version.split_whitespace().nth(2).expect("mariadbd Ver VERSION").to_owned();
        let who = if user.is_other() { "root" } else { "self" };
        let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("maria-template-{version}-{who}-2"));
        if !cached.exists() {
            make_template(user, &cached);
        }
        cached
    })
}

fn make_template(user: User, cached: &Path) {
    let dir = temporary_dir("maria-install", user);
    let data = dir.path().join("data");
    run(user
        .command("mariadb-install-db")
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
        .arg(format!("--datadir={}", data.display())));
    let ours = PathBuf::from(format!("{}.{}", cached.display(), std::process::id()));
    fs::create_dir_all(cached.parent().expect("a parent")).expect("create target/tmp");
    // The account of the tests, by lines that each start reads: a statement a line.
    let account = format!(
        "CREATE USER IF NOT EXISTS 'tester'@'%' IDENTIFIED BY '{CANARY}tester';\nGRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION;\n"
    );
    fs::write(data.join("init.sql"), account).expect("write");
    user.owns(&data.join("init.sql"));
    run(Command::new("cp").arg("-a").arg(&data).arg(&ours));
    if let Err(e) = fs::rename(&ours, cached) {
        assert!(cached.exists(), "cannot make {}: {e}", cached.display());
        let _ = fs::remove_dir_all(&ours);
    }
}

fn argv(dir: &Path, port: u16, options: &[&str]) -> Vec<String> {
    let data = dir.join("data");
    let mut argv = vec![SERVER.to_owned(), "--no-defaults".into(), format!("--datadir={}", data.display())];
    argv.extend([
        format!("--port={port}"),
        format!("--socket={}", data.join("s").display()),
        format!("--tmpdir={}", dir.display()),
        format!("--pid-file={}", data.join("pid").display()),
        format!("--init-file={}", data.join("init.sql").display()),
    ]);
    let settings = [
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-flush-method=nosync",
        "--innodb-buffer-pool-size=64M",
        "--performance-schema=OFF",
        "--innodb-print-all-deadlocks=ON",
        "--max-connections=300",
    ];
    argv.extend(settings.iter().chain(options).map(|s| (*s).to_owned()));
    argv
}

/// The server's own file says when it listens, and whose it is.
fn is_ready(server: &Server) -> bool {
    let pid = fs::read_to_string(server.dir().join("data/pid")).unwrap_or_default();
    pid.trim().parse().ok() == server.pid() && server.new_log().contains("ready for connections")
}
