//! `migrate init`: a plan from both catalogues. Chinook needs no edit, whichever two of its three shapes meet.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::chinook;
use support::product::{Place, Product};
use support::{MariaDb, Postgres};

#[derive(Debug, Clone, Copy)]
enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

/// With the rows where it is the source, with the tables alone where it is the target.
async fn shape(engine: Engine, dir: &Path, name: &str, filled: bool) -> Place {
    match engine {
        Engine::Sqlite => {
            let path = dir.join(format!("{name}.db"));
            if filled {
                chinook::load_sqlite(&path).await
            } else {
                chinook::create_sqlite(&path).await
            }
            Place::Sqlite(path)
        }
        Engine::Postgres => {
            let db = Postgres::shared().database(&format!("init_{name}")).await;
            db.grant_target_rights().await;
            if filled {
                chinook::load_postgres(&db).await
            } else {
                chinook::create_postgres(&db).await
            }
            Place::Postgres(db)
        }
        Engine::MariaDb => {
            let db = MariaDb::shared().database(&format!("init_{name}")).await;
            db.grant_target_rights().await;
            if filled {
                chinook::load_mariadb(&db).await
            } else {
                chinook::create_mariadb(&db).await
            }
            Place::MariaDb(db)
        }
    }
}

fn init(args: &[&str], env: &[(&str, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
    command.arg("init").args(args).envs(env.iter().map(|(k, v)| (*k, v.clone())));
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The plan that `init` writes for two stores, ready to run.
fn planned(source: &Place, target: &Place, out: PathBuf) -> Product {
    let (from, to, path) = (source.url(), target.url(), out.display().to_string());
    let ran = init(&["--source", &from, "--target", &to, "--out", &path], &[]);
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    assert!(said.contains("MIGRATE_SOURCE_URL") && said.contains("MIGRATE_TARGET_URL"), "{said}");
    let plan = std::fs::read_to_string(&out).expect("a plan");
    for url in [&from, &to] {
        assert!(!plan.contains(url.as_str()) && !said.contains(url.as_str()), "{plan}");
    }
    Product::with_plan(
        &out,
        &[
            ("MIGRATE_SOURCE_URL", from),
            ("MIGRATE_SOURCE_ADMIN_URL", source.admin_url()),
            ("MIGRATE_TARGET_URL", to),
            ("MIGRATE_TARGET_ADMIN_URL", target.admin_url()),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn chinook_needs_no_edit_in_any_of_the_nine_pairs() {
    use Engine::{MariaDb, Postgres, Sqlite};
    let dir = tempfile::tempdir().expect("a directory");
    for from in [Sqlite, Postgres, MariaDb] {
        let source = shape(from, dir.path(), &format!("{from:?}_from").to_lowercase(), true).await;
        for to in [Sqlite, Postgres, MariaDb] {
            let name = format!("{from:?}_{to:?}").to_lowercase();
            let target = shape(to, dir.path(), &name, false).await;
            let out = dir.path().join(format!("{name}.yaml"));
            let product = planned(&source, &target, out.clone());
            let ran = product.run(&["plan", "--json"]).await;
            let plan = std::fs::read_to_string(&out).expect("a plan");
            assert_eq!(ran.code, 0, "{name}\n{plan}\n{}", ran.stderr);
            let report = ran.json();
            assert_eq!(report["tables"].as_array().map(Vec::len), Some(11), "{name}");
            let decisions = plan.lines().filter(|l| l.contains("# decide:") && !l.contains("who owns")).count();
            assert_eq!(decisions, 0, "{name}\n{plan}");
        }
    }
}

async fn moves(from: Engine, to: Engine) {
    let dir = tempfile::tempdir().expect("a directory");
    let name = format!("m_{from:?}_{to:?}").to_lowercase();
    let source = shape(from, dir.path(), &format!("{name}_a"), true).await;
    let target = shape(to, dir.path(), &format!("{name}_b"), false).await;
    let product = planned(&source, &target, dir.path().join("plan.yaml"));
    let applied = product.run(&["apply"]).await.expect(0);
    assert!(applied.stdout.contains("in sync"), "{}", applied.stdout);
    chinook::assert_chinook_same(&source.store_ref(), &target.store_ref()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_moves_chinook_from_sqlite_to_postgresql() {
    moves(Engine::Sqlite, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_moves_chinook_from_postgresql_to_mariadb() {
    moves(Engine::Postgres, Engine::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_moves_chinook_from_mariadb_to_sqlite() {
    moves(Engine::MariaDb, Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_and_refuses() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = shape(Engine::Sqlite, dir.path(), "a", true).await;
    let empty = dir.path().join("b.db");
    std::fs::File::create(&empty).expect("a file");
    let (from, to) = (source.url(), format!("sqlite://{}", empty.display()));
    let out = dir.path().join("plan.yaml").display().to_string();

    let ran = init(&["--source", "${HERE}", "--target", &to, "--tables", "artist,Genre"], &[("HERE", from.clone())]);
    let plan = text(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    for part in
        ["${HERE:?", "${HERE_ADMIN:-}", "from: Artist\n", "from: Genre\n", "create_tables: true", "migration: a-to-b"]
    {
        assert!(plan.contains(part), "no {part:?} in\n{plan}");
    }
    assert!(!plan.contains("Album"), "{plan}");

    let args = ["--source", &from, "--target", &to, "--out", &out, "--migration", "m-1", "--source-team", "crm: a"];
    assert_eq!(init(&args, &[]).status.code(), Some(0));
    let again = init(&args, &[]);
    assert_eq!(again.status.code(), Some(64), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert_eq!(init(&[&args[..], &["--force"]].concat(), &[]).status.code(), Some(0));
    let plan = std::fs::read_to_string(&out).expect("a plan");
    assert!(plan.contains("migration: m-1\n") && plan.contains("team: \"crm: a\"\n"), "{plan}");

    for (args, code, says) in [
        (vec!["--source", &from, "--target", &to, "--tables", "nope"], 65, "nope"),
        (vec!["--source", "${NOT_SET_AT_ALL}", "--target", &to], 64, "NOT_SET_AT_ALL"),
        (vec!["--source", &from, "--target", &to, "--migration", "A b"], 64, "a-z"),
        (vec!["--source", &from], 64, "--target"),
    ] {
        let ran = init(&args, &[]);
        assert_eq!(ran.status.code(), Some(code), "{args:?}: {}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains(says), "{args:?}: {}", text(&ran.stderr));
    }
    let secret = init(&["--source", "postgres://u:hunter2@127.0.0.1:1/x", "--target", &to], &[]);
    assert_ne!(secret.status.code(), Some(0));
    assert!(!text(&secret.stderr).contains("hunter2") && !text(&secret.stdout).contains("hunter2"));
}
