//! Chinook in the shape of each engine, and the plan that `migrate init` writes for two of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::chinook;
use super::product::{Place, Product};
use super::{MariaDb, Postgres};

#[derive(Debug, Clone, Copy)]
pub enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

/// With the rows where it is the source, with the tables alone where it is the target.
pub async fn shape(engine: Engine, dir: &Path, name: &str, filled: bool) -> Place {
    let name = name.to_lowercase();
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
            let db = Postgres::shared().database(&format!("shape_{name}")).await;
            db.grant_target_rights().await;
            if filled {
                chinook::load_postgres(&db).await
            } else {
                chinook::create_postgres(&db).await
            }
            Place::Postgres(db)
        }
        Engine::MariaDb => {
            let db = MariaDb::shared().database(&format!("shape_{name}")).await;
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

pub fn init(args: &[&str], env: &[(&str, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
    command.arg("init").args(args).envs(env.iter().map(|(k, v)| (*k, v.clone())));
    command.output().expect("the binary runs")
}

/// The plan that `init` writes for two stores, ready to run.
pub fn planned(source: &Place, target: &Place, out: PathBuf) -> Product {
    let (from, to, path) = (source.url(), target.url(), out.display().to_string());
    let ran = init(&["--source", &from, "--target", &to, "--out", &path], &[]);
    let said = String::from_utf8_lossy(&ran.stderr);
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
