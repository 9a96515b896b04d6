//! What surrounds a change of owner: hooks, approvals, the route, `finish`, commands that meet, a row that is refused at
//! the last moment, and a table that somebody holds.

mod support;

#[path = "cutover/bank.rs"]
mod bank;

#[path = "change_owner/approvals.rs"]
mod approvals;
#[path = "change_owner/begun.rs"]
mod begun;
#[path = "change_owner/finished.rs"]
mod finished;
#[path = "change_owner/held.rs"]
mod held;
#[path = "change_owner/hooks.rs"]
mod hooks;
#[path = "change_owner/meeting.rs"]
mod meeting;
#[path = "change_owner/pairs.rs"]
mod pairs;
#[path = "change_owner/refused.rs"]
mod refused;
#[path = "change_owner/routes.rs"]
mod routes;
#[path = "change_owner/scoped.rs"]
mod scoped;

use support::Nats;
use support::product::{Place, Product, Ran, sqlite};
use support::sql::TextRow;

/// A bank in two stores, copied, compared and rehearsed: what is missing is the cut over.
pub struct Pair {
    pub source: Place,
    pub target: Place,
    pub product: Product,
    /// The catalogues of source and target, before anything of ours was there.
    pub before: [Vec<TextRow>; 2],
    _dir: tempfile::TempDir,
}

impl Pair {
    pub async fn sqlite(name: &str, cutover: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (source, target) = (sqlite(&dir, "s.db"), sqlite(&dir, "t.db"));
        Self::of(name, dir, source, target, None, cutover, more).await
    }

    pub async fn of(
        name: &str,
        dir: tempfile::TempDir,
        source: Place,
        target: Place,
        nats: Option<&Nats>,
        cutover: &str,
        more: &str,
    ) -> Self {
        bank::open(&source, true).await;
        bank::open(&target, false).await;
        let before = [source.catalogue().await, target.catalogue().await];
        let product = Product::new(name, &source, &target, nats, &body(cutover, more));
        product.run(&["apply"]).await.expect(0);
        product.run(&["rehearse"]).await.expect(0);
        Self { source, target, product, before, _dir: dir }
    }

    /// Runs with another plan from now on.
    pub fn replan(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.product.plan).expect("a plan");
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(&self.product.plan, text.replace(from, to)).expect("a plan");
    }

    pub async fn run(&self, args: &[&str]) -> Ran {
        self.product.run(args).await
    }

    pub async fn status(&self) -> serde_json::Value {
        self.run(&["status", "--json"]).await.expect(0).json()
    }

    /// Nothing happened: the source takes writes, the target refuses them, and the product knows.
    pub async fn assert_untouched(&self) {
        assert_eq!(self.status().await["owner"], "source");
        bank::assert_taken(&self.source).await;
        bank::assert_refused(&self.target).await;
    }

    /// The other way round.
    pub async fn assert_moved(&self) {
        assert_eq!(self.status().await["owner"], "target");
        bank::assert_taken(&self.target).await;
        bank::assert_refused(&self.source).await;
    }
}

fn body(cutover: &str, more: &str) -> String {
    let cutover = if cutover.is_empty() { "max_write_pause: 30s, max_lag: 30s" } else { cutover };
    format!("cutover: {{ {cutover} }}\n{more}tables:\n  - from: account\n  - from: transfer\n")
}
