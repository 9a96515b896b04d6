//! Private PostgreSQL servers, and a fresh database with least-right roles for each test.

use super::process::{Server, User, free_port, missing, private_dir, run, temporary_dir};
use super::sql::exec;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Every password begins with this, so a test can look for leaks in whatever the product writes.
pub const CANARY: &str = "s3cret-canary-";

#[derive(Debug, Clone, Default)]
pub struct PgOptions {
    /// Off unless asked for: a killed process loses nothing by it, only a power cut would.
    pub fsync: bool,
    /// More settings, `name = value`.
    pub settings: Vec<(String, String)>,
}

pub struct Postgres {
    server: Server,
    port: u16,
}

impl Postgres {
    /// The server that all tests of this binary share: make a `database` of your own in it, and never kill it.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// A server of one's own, to be killed and restarted.
    pub fn start() -> Postgres {
        Self::start_with(PgOptions::default())
    }

    pub fn start_with(options: PgOptions) -> Postgres {
        let user = User::for_servers();
        let bin = bin_dir();
        let template = template(&bin, user);
        let mut error = String::new();
        for _ in 0..3 {
            let (dir, port) = (private_dir("pg", user), free_port());
            run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(dir.join("data")));
            let mut server = Server::new("PostgreSQL", user, dir.clone(), &argv(&bin, &dir, port, &options));
            match server.start(is_ready) {
                Ok(()) => return Postgres { server, port },
                Err(e) => error = e, // perhaps another process took the port: try another one
            }
        }
        panic!("{error}")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    pub fn dir(&self) -> &Path {
        self.server.dir()
    }

    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Kills the server and all its backends at one instant.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// A fast shutdown: sessions are cut, transactions roll back, a checkpoint is written.
    pub fn stop(&mut self) {
        self.server.end("INT");
    }

    /// Starts it again on the same port, after `kill9` or `stop`, or stops it first.
    pub fn restart(&mut self) {
        self.stop();
        self.server.start(is_ready).unwrap_or_else(|e| panic!("{e}"));
    }

    /// As any superuser; for a test's set-up only.
    pub fn superuser_url(&self, database: &str) -> String {
        self.url("postgres", database)
    }

    fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{CANARY}{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// A fresh database with three roles of its own.
    pub async fn database(&self, hint: &str) -> PgDatabase {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{hint}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (owner, app, run) = (format!("{name}_owner"), format!("{name}_app"), format!("{name}_run"));
        let mut roles = String::new();
        for role in [&owner, &app, &run] {
            roles += &format!("CREATE ROLE \"{role}\" LOGIN NOSUPERUSER PASSWORD '{CANARY}{role}';");
        }
        let admin = self.superuser_url("postgres");
        exec(&admin, &roles).await;
        exec(&admin, &format!("CREATE DATABASE \"{name}\" OWNER \"{owner}\"")).await;
        let database = PgDatabase {
            superuser_url: self.superuser_url(&name),
            owner_url: self.url(&owner, &name),
            app_url: self.url(&app, &name),
            run_url: self.url(&run, &name),
            name,
            owner,
            app,
            run,
        };
        exec(&database.superuser_url, &database.grants()).await;
        database
    }
}

/// A database and its roles. All have LOGIN and nothing more; each password is `CANARY` and the role's name.
#[derive(Debug, Clone)]
pub struct PgDatabase {
    pub name: String,
    pub owner: String,
    pub app: String,
    pub run: String,
    /// Only for a test's set-up.
    pub superuser_url: String,
    /// Owns the database: the product's `admin_url`.
    pub owner_url: String,
    /// The application: reads and writes the tables that the owner makes in `public`.
    pub app_url: String,
    /// The product's `url`: reads them; writes after `grant_target_rights`.
    pub run_url: String,
}

impl PgDatabase {
    /// Only in `public`: what the product makes in a schema of its own, it must grant itself.
    fn grants(&self) -> String {
        let Self { name, owner, app, run, .. } = self;
        let default = format!("ALTER DEFAULT PRIVILEGES FOR ROLE \"{owner}\" IN SCHEMA public GRANT");
        format!(
            "REVOKE ALL ON DATABASE \"{name}\" FROM PUBLIC;
             GRANT CONNECT ON DATABASE \"{name}\" TO \"{app}\", \"{run}\";
             {default} SELECT, INSERT, UPDATE, DELETE ON TABLES TO \"{app}\";
             {default} USAGE, SELECT ON SEQUENCES TO \"{app}\";
             {default} SELECT ON TABLES TO \"{run}\";"
        )
    }

    /// Lets the product's `url` write the tables in `public`, those to come included.
    pub async fn grant_target_rights(&self) {
        let Self { owner, run, .. } = self;
        let sql = format!(
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"{owner}\" IN SCHEMA public
                 GRANT INSERT, UPDATE, DELETE ON TABLES TO \"{run}\";
             GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{run}\";"
        );
        exec(&self.superuser_url, &sql).await;
    }
}

/// The newest installed version, or the one that `MIGRATE_TEST_PG_BIN` names.
fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("MIGRATE_TEST_PG_BIN") {
        return PathBuf::from(dir);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists());
    if let Some((_, bin)) = debian.max() {
        return bin;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
        .unwrap_or_else(|| missing("PostgreSQL (initdb)"))
}

/// A data directory fresh from `initdb`, which takes seconds: made once per version and user, then copied.
fn template(bin: &Path, user: User) -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = run(Command::new(bin.join("postgres")).arg("--version"));
        let version = version.split(' ').nth(2).expect("postgres (PostgreSQL) VERSION").trim();
        let who = if user.is_other() { "root" } else { "self" };
        let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pg-template-{version}-{who}-1"));
        if !cached.exists() {
            make_template(bin, user, &cached);
        }
        cached
    })
}

fn make_template(bin: &Path, user: User, cached: &Path) {
    let dir = temporary_dir("initdb", user);
    let (data, password) = (dir.path().join("data"), dir.path().join("password"));
    fs::write(&password, format!("{CANARY}postgres\n")).expect("write");
    user.owns(&password);
    run(user
        .command(bin.join("initdb"))
        .args(["--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"])
        .args(["--wal-segsize=1", "--no-sync", "--no-instructions", "-D"])
        .arg(&data)
        .arg(format!("--pwfile={}", password.display())));
    // Into place under a name of our own, then renamed: another test process may be doing the same.
    fs::create_dir_all(cached.parent().expect("a parent")).expect("create target/tmp");
    let ours = PathBuf::from(format!("{}.{}", cached.display(), std::process::id()));
    run(Command::new("cp").arg("-a").arg(&data).arg(&ours));
    if let Err(e) = fs::rename(&ours, cached) {
        assert!(cached.exists(), "cannot make {}: {e}", cached.display());
        let _ = fs::remove_dir_all(&ours);
    }
}

fn argv(bin: &Path, dir: &Path, port: u16, options: &PgOptions) -> Vec<String> {
    let onoff = |on: bool| if on { "on" } else { "off" };
    // A socket's path has about a hundred bytes at most; TCP alone will do where it would not fit.
    let socket_dir = dir.join("data").display().to_string();
    let socket_dir = if socket_dir.len() < 85 { socket_dir } else { String::new() };
    let mut settings = vec![
        ("listen_addresses".to_string(), "127.0.0.1".to_string()),
        ("port".into(), port.to_string()),
        ("unix_socket_directories".into(), socket_dir),
        ("fsync".into(), onoff(options.fsync).into()),
        ("full_page_writes".into(), onoff(options.fsync).into()),
        ("max_connections".into(), "200".into()),
        ("max_prepared_transactions".into(), "10".into()),
        ("max_wal_size".into(), "1GB".into()),
        ("shared_buffers".into(), "32MB".into()),
        ("dynamic_shared_memory_type".into(), "mmap".into()), // in the data directory, so it goes with it
    ];
    settings.extend(options.settings.iter().cloned());
    let mut argv = vec![bin.join("postgres").display().to_string(), "-D".into()];
    argv.push(dir.join("data").display().to_string());
    argv.extend(settings.into_iter().map(|(name, value)| format!("--{name}={value}")));
    argv
}

/// The server's own lock file says when it takes connections, and whose it is.
fn is_ready(server: &Server) -> bool {
    let lock = fs::read_to_string(server.dir().join("data/postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = lock.lines().map(str::trim).collect();
    lines.first().and_then(|pid| pid.parse().ok()) == server.pid() && lines.get(7) == Some(&"ready")
}
