//! Bad input: each with a clear error, its exit code and a way out, and nothing touched: neither catalogue, no stream,
//! nothing on stdout but what was asked for, and no secret anywhere.

mod support;

#[path = "bad_input/brokers.rs"]
mod brokers;
#[path = "bad_input/changed.rs"]
mod changed;
#[path = "bad_input/existing.rs"]
mod existing;
#[path = "bad_input/mapped.rs"]
mod mapped;
#[path = "bad_input/names.rs"]
mod names;
#[path = "bad_input/plans.rs"]
mod plans;
#[path = "bad_input/stores.rs"]
mod stores;
#[path = "bad_input/tables.rs"]
mod tables;

use support::postgres::CANARY;
use support::product::{Place, Product, Ran, postgres};

/// Two stores, a plan, and the directory of whatever is a file.
struct World {
    source: Place,
    target: Place,
    product: Product,
    _dir: tempfile::TempDir,
}

impl World {
    async fn sqlite(body: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let place = |name: &str| {
            let path = dir.path().join(name);
            std::fs::File::create(&path).expect("a file");
            Place::Sqlite(path)
        };
        Self::of(place("source.db"), place("target.db"), dir, body)
    }

    async fn postgres(hint: &str, body: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::of(postgres(&format!("{hint}_from")).await, postgres(&format!("{hint}_to")).await, dir, body)
    }

    fn of(source: Place, target: Place, dir: tempfile::TempDir, body: &str) -> Self {
        let product = Product::new("bad", &source, &target, None, body);
        Self { source, target, product, _dir: dir }
    }

    /// The lines after the two stores, anew.
    fn set_body(&mut self, body: &str) {
        let text = std::fs::read_to_string(&self.product.plan).expect("the plan");
        let head: Vec<&str> = text.lines().take(4).collect();
        std::fs::write(&self.product.plan, format!("{}\n{body}", head.join("\n"))).expect("write");
    }

    fn set_text(&self, text: &str) {
        std::fs::write(&self.product.plan, text).expect("write");
    }

    /// `plan` and `apply` end with this code and say all of this, as text and as JSON.
    async fn is_refused(&self, about: &str, code: i32, says: &[&str]) {
        let before = (self.source.catalogue().await, self.target.catalogue().await);
        self.says_no(about, code, says).await;
        assert_eq!(self.source.catalogue().await, before.0, "{about}: the source was touched");
        assert_eq!(self.target.catalogue().await, before.1, "{about}: the target was touched");
    }

    /// Without a look at the stores, of which one may not be there.
    async fn says_no(&self, about: &str, code: i32, says: &[&str]) {
        for verb in ["plan", "apply"] {
            let ran = self.product.run(&[verb]).await;
            println!("--- {about}: {verb}\n{}", ran.stderr);
            assert_refusal(&ran, &format!("{about}: {verb}"), code, says);
            assert_eq!(ran.stdout, "", "{about}: {verb}");
        }
        let ran = self.product.run(&["apply", "--output", "json"]).await;
        let last: serde_json::Value =
            serde_json::from_str(ran.stdout.lines().last().unwrap_or_default()).expect("JSON");
        assert_eq!((&last["event"], &last["exit_code"]), (&"error".into(), &code.into()), "{about}: {}", ran.stdout);
        assert!(!ran.stdout.contains(CANARY), "{about}: {}", ran.stdout);
    }
}

#[track_caller]
fn assert_refusal(ran: &Ran, about: &str, code: i32, says: &[&str]) {
    assert_eq!(ran.code, code, "{about}\n{}\n{}", ran.stdout, ran.stderr);
    for text in says {
        assert!(ran.stderr.contains(text), "{about} does not say {text:?}:\n{}", ran.stderr);
    }
    let way_out = |line: &str| line.starts_with("hint: ") || line.trim_start().starts_with("= ");
    assert!(ran.stderr.lines().any(way_out), "{about} has no way out:\n{}", ran.stderr);
    assert_quiet(ran, about);
}

/// No secret, nothing that a terminal or a CI runner obeys.
#[track_caller]
fn assert_quiet(ran: &Ran, about: &str) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(CANARY), "{about} shows a secret:\n{text}");
        let harmful = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
        assert!(!text.contains(harmful), "{about} writes control characters: {text:?}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("::")), "{about} commands the runner:\n{text}");
        assert!(!text.contains("##["), "{about} commands the runner:\n{text}");
    }
}
