//! The real binary, run as a person runs it: with a plan file and an environment.

use super::compare::StoreRef;
use super::{MariaDb, MyDatabase, Nats, PgDatabase, Postgres};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A store of a test: how the product reaches it, and how the test does.
#[derive(Debug, Clone)]
pub enum Place {
    Postgres(PgDatabase),
    MariaDb(MyDatabase),
    Sqlite(PathBuf),
}

impl Place {
    pub fn url(&self) -> String {
        match self {
            Place::Postgres(db) => db.run_url.clone(),
            Place::MariaDb(db) => db.run_url.clone(),
            Place::Sqlite(path) => format!("sqlite://{}", path.display()),
        }
    }

    pub fn admin_url(&self) -> String {
        match self {
            Place::Postgres(db) => db.owner_url.clone(),
            Place::MariaDb(db) => db.owner_url.clone(),
            Place::Sqlite(_) => self.url(),
        }
    }

    /// For the test's own eyes.
    pub fn store_ref(&self) -> StoreRef {
        match self {
            Place::Postgres(db) => StoreRef::Postgres(db.owner_url.clone()),
            Place::MariaDb(db) => StoreRef::MariaDb(db.owner_url.clone()),
            Place::Sqlite(path) => StoreRef::Sqlite(path.clone()),
        }
    }

    /// As the owner.
    pub async fn exec(&self, sql: &str) {
        match self {
            Place::Postgres(db) => super::exec(&db.owner_url, sql).await,
            Place::MariaDb(db) => super::mysql_exec(&db.owner_url, sql).await,
            Place::Sqlite(path) => super::sqlite_exec(path, sql).await,
        }
    }

    /// Everything that the catalogue says, so that "as before" can be asserted.
    pub async fn catalogue(&self) -> Vec<super::sql::TextRow> {
        match self {
            Place::MariaDb(db) => db.catalogue().await,
            Place::Postgres(db) => {
                let sql = "SELECT 'schema', nspname, '' FROM pg_namespace WHERE nspname !~ '^pg_' \
                     UNION ALL SELECT 'relation', n.nspname || '.' || c.relname, c.relkind::text || coalesce(c.relacl::text, '') \
                       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^(pg_|information_schema)' \
                     UNION ALL SELECT 'column', attrelid::regclass::text || '.' || attname, format_type(atttypid, atttypmod) || attnotnull \
                       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                       WHERE attnum > 0 AND n.nspname !~ '^(pg_|information_schema)' \
                     UNION ALL SELECT 'trigger', tgname, tgrelid::regclass::text || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal \
                     UNION ALL SELECT 'function', p.proname, n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
                       WHERE n.nspname !~ '^(pg_|information_schema)' \
                     UNION ALL SELECT 'constraint', conname || conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint \
                       WHERE conrelid <> 0 \
                     ORDER BY 1, 2, 3";
                super::query_text(&db.superuser_url, sql).await
            }
            Place::Sqlite(path) => {
                let sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY 1, 2";
                super::sqlite_query_text(path, sql).await
            }
        }
    }
}

/// The files of a SQLite store, to be put back later.
pub struct Copied(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Copied {
    pub fn of(place: &Place) -> Self {
        let Place::Sqlite(path) = place else { panic!("not a file") };
        let files = ["", "-wal"].map(|end| PathBuf::from(format!("{}{end}", path.display())));
        let read = |p: PathBuf| (p.clone(), std::fs::read(&p).ok());
        Self(files.map(read).into())
    }

    pub fn put_back(self) {
        for (path, bytes) in self.0 {
            let _ = std::fs::remove_file(format!("{}-shm", path.display()));
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).expect("write"),
                None => drop(std::fs::remove_file(&path)),
            }
        }
    }
}

/// A database of its own on the shared server, whose logins may play either side's part.
pub async fn postgres(hint: &str) -> Place {
    let db = Postgres::shared().database(hint).await;
    db.grant_target_rights().await;
    Place::Postgres(db)
}

/// The same on MariaDB.
pub async fn mariadb(hint: &str) -> Place {
    let db = MariaDb::shared().database(hint).await;
    db.grant_target_rights().await;
    Place::MariaDb(db)
}

/// An empty file.
pub fn sqlite(dir: &tempfile::TempDir, name: &str) -> Place {
    let path = dir.path().join(name);
    std::fs::File::create(&path).expect("a file");
    Place::Sqlite(path)
}

/// One migration of a test.
pub struct Product {
    pub dir: tempfile::TempDir,
    pub plan: PathBuf,
    env: Vec<(String, String)>,
}

pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.stdout))
    }
}

impl Product {
    /// A plan with the two stores' URLs in the environment; `body` follows (`create_tables`, `tables` …).
    pub fn new(name: &str, source: &Place, target: &Place, nats: Option<&Nats>, body: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let plan = dir.path().join("plan.yaml");
        let events = if nats.is_some() { "events: { url: \"${EVENTS}\" }\n" } else { "" };
        let text = format!(
            "version: 1\nmigration: {name}\n\
             source: {{ team: crm, url: \"${{SOURCE}}\", admin_url: \"${{SOURCE_ADMIN}}\" }}\n\
             target: {{ team: marketing, url: \"${{TARGET}}\", admin_url: \"${{TARGET_ADMIN}}\" }}\n{events}{body}"
        );
        std::fs::write(&plan, text).expect("a plan");
        let mut product = Self { dir, plan, env: vec![] };
        product.set("SOURCE", &source.url());
        product.set("SOURCE_ADMIN", &source.admin_url());
        product.set("TARGET", &target.url());
        product.set("TARGET_ADMIN", &target.admin_url());
        if let Some(nats) = nats {
            product.set("EVENTS", &nats.url());
        }
        product
    }

    /// A checked-in plan, with its own variables.
    pub fn with_plan(plan: &Path, env: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Self { dir, plan: plan.to_owned(), env }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
        let (verb, rest) = args.split_first().expect("a verb");
        command.arg(verb).arg(&self.plan).args(rest).current_dir(self.dir.path());
        command.envs(self.env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        command.stdin(Stdio::null());
        command
    }

    /// Of several words before the plan (`dead-letters list`).
    pub async fn words(&self, verb: &[&str], args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
        command.args(verb).arg(&self.plan).args(args).current_dir(self.dir.path());
        command.envs(self.env.iter().map(|(k, v)| (k.as_str(), v.as_str()))).stdin(Stdio::null());
        run_to_its_end(command, format!("{verb:?} {args:?}")).await
    }

    /// Runs to the end; a run of more than two minutes is a failure.
    pub async fn run(&self, args: &[&str]) -> Ran {
        run_to_its_end(self.command(args), format!("{args:?}")).await
    }

    /// Waits until nothing is dirty and nothing is on its way, half a minute at most.
    pub async fn wait_in_step(&self) {
        for _ in 0..300 {
            let status = self.run(&["status", "--json"]).await.expect(0).json();
            if status["backlog"]["keys"] == 0 && status["in_flight"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it does not come into step");
    }

    /// Starts it and lets it run; its output goes to files in the test's directory.
    pub fn start(&self, args: &[&str]) -> Running {
        let file = |name: &str| std::fs::File::create(self.dir.path().join(name)).expect("a file");
        let mut command = self.command(args);
        command.stdout(file("running.out")).stderr(file("running.err"));
        let child = command.spawn().expect("the binary");
        Running { child, err: self.dir.path().join("running.err"), out: self.dir.path().join("running.out") }
    }
}

async fn run_to_its_end(mut command: Command, what: String) -> Ran {
    let output = tokio::task::spawn_blocking(move || run_bounded(&mut command, &what)).await.expect("a run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run_bounded(command: &mut Command, what: &str) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    let pid = child.id();
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let what = what.to_owned();
    let watchdog = std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(120)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{what} hangs: killed");
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    });
    let _ = &mut child;
    let output = child.wait_with_output().expect("an end");
    let _ = done.send(());
    let _ = watchdog.join();
    output
}

/// A running product; killed when dropped.
pub struct Running {
    child: Child,
    err: PathBuf,
    out: PathBuf,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// Waits for the end, a minute at most.
    pub async fn wait(&mut self) -> i32 {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status.code().unwrap_or(-1);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not end:\n{}", self.stderr());
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap_or_default()
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Waits until stderr says so, a minute at most.
    pub async fn says(&mut self, text: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if self.stderr().contains(text) {
                return;
            }
            assert!(self.is_running(), "it ended before it said {text:?}:\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never says {text:?}:\n{}", self.stderr());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill9();
    }
}
