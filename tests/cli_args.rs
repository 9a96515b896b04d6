//! The command line as a script sees it: exit codes, what stands on stdout and what on stderr.

use std::path::Path;
use std::process::{Command, Output};

fn migrate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
    command.args(args).env("NO_COLOR", "1");
    command.env_remove("MIGRATE_DEMO_SOURCE_URL").env_remove("MIGRATE_DEMO_TARGET_URL");
    command.output().expect("the binary runs")
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(args: &[&str]) -> Said {
    let output = migrate(args);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_wrong_command_line_exits_64_and_says_what_is_wrong() {
    for (args, expected) in [
        (&[][..], "Usage: migrate"),
        (&["aply", "plan.yaml"], "apply"),
        (&["apply"], "<PLAN>"),
        (&["apply", "p.yaml", "--untill", "verify"], "--until"),
        (&["apply", "p.yaml", "--until", "cutover"], "dual-write"),
        (&["apply", "p.yaml", "--until", "verify", "--follow"], "cannot be used with"),
        (&["status", "p.yaml", "--heartbeat", "often"], "write it as 10s"),
        (&["abort", "p.yaml", "--side", "left"], "source, target, both"),
        (&["demo", "--rows", "0"], "--rows"),
        (&["demo", "--writers", "1000"], "--writers"),
        (&["plan", "p.yaml", "--output", "xml"], "text, json"),
    ] {
        let said = said(args);
        assert_eq!(said.code, Some(64), "{args:?}: {}", said.err);
        assert!(said.err.contains(expected), "{args:?}: {}", said.err);
        assert_eq!(said.out, "", "{args:?}");
    }
}

#[test]
fn help_goes_to_stdout_and_lists_the_exit_codes() {
    for args in [&["--help"][..], &["apply", "--help"], &["demo", "--help"]] {
        let said = said(args);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}");
        for code in ["0  done", "1  failed", "2  ", "3  ", "4  ", "5  ", "6  ", "64  ", "65  ", "130  ", "143  "] {
            assert!(
                said.out.lines().any(|line| line.trim_start().starts_with(code)),
                "{args:?}: no {code}:\n{}",
                said.out
            );
        }
    }
    let all = said(&["--help"]).out;
    for verb in ["plan", "apply", "verify", "status", "abort", "grants", "explain", "demo"] {
        assert!(all.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}:\n{all}");
    }
    let version = said(&["--version"]);
    assert_eq!((version.code, version.out), (Some(0), format!("migrate {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn help_shows_no_url_from_the_environment() {
    let output = Command::new(env!("CARGO_BIN_EXE_migrate"))
        .args(["demo", "--help"])
        .env("MIGRATE_DEMO_SOURCE_URL", "postgres://u:s3cret@h/d")
        .output()
        .expect("the binary runs");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(out.contains("MIGRATE_DEMO_SOURCE_URL") && !out.contains("s3cret"), "{out}");
}

#[test]
fn a_plan_that_is_not_there_exits_65_and_is_named() {
    for verb in ["plan", "apply", "verify", "status", "abort", "grants"] {
        let said = said(&[verb, "no/such plan\x1b[2J.yaml"]);
        assert_eq!(said.code, Some(65), "{verb}: {}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains("no/such plan"), "{verb}: {}", said.err);
        assert!(!said.err.contains('\x1b'), "{verb}: {}", said.err);
        assert_eq!(said.out, "", "{verb}");
    }
}

#[test]
fn with_json_output_stdout_is_lines_and_the_last_is_the_error() {
    let said = said(&["apply", "no-such.yaml", "--output", "json"]);
    assert_eq!(said.code, Some(65));
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(said.out.lines().next(), Some(r#"{"version":1,"command":"apply"}"#));
    let last = lines.last().expect("a line");
    assert_eq!((&last["event"], &last["kind"], &last["exit_code"]), (&"error".into(), &"plan".into(), &65.into()));
    assert!(said.err.starts_with("error: "), "{}", said.err);
}

#[test]
fn a_demo_refuses_what_it_cannot_use_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("new").display().to_string();
    for (url, code) in [("oracle://root:s3cret@localhost/x", 64), ("postgres://u:s3cret@127.0.0.1:1/x", 1)] {
        let said = said(&["demo", "--dir", &missing, "--source", url]);
        assert_eq!(said.code, Some(code), "{}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains("\nhint: "), "{}", said.err);
        assert!(!said.err.contains("s3cret") && said.out.is_empty(), "{}", said.err);
        assert!(!Path::new(&missing).exists(), "{url}");
    }
    std::fs::write(dir.path().join("precious"), "x").expect("write");
    let said = said(&["demo", "--dir", &dir.path().display().to_string()]);
    assert_eq!(said.code, Some(64), "{}", said.err);
    assert!(said.err.contains("is not empty"), "{}", said.err);
}
