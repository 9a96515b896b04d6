//! `migrate init`: a plan from both catalogues. Chinook needs no edit, whichever two of its three shapes meet;
//! tests/chinook.rs runs those plans under live writes.

mod support;

use support::shapes::{Engine, init, planned, shape};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn chinook_needs_no_edit_in_any_of_the_nine_pairs() {
    use Engine::{MariaDb, Postgres, Sqlite};
    let dir = tempfile::tempdir().expect("a directory");
    for from in [Sqlite, Postgres, MariaDb] {
        let source = shape(from, dir.path(), &format!("{from:?}_from"), true).await;
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
