//! The user's commands around a change of owner.

use std::time::{Duration, Instant};

use crate::Pair;

/// Notes what it was told, and ends as the file `code` says.
const SCRIPT: &str = "echo \"$MIGRATE_MIGRATION $MIGRATE_OWNER $MIGRATE_HOOK $#:$1:$2\" >>said; exit $(cat code)\n";

impl Pair {
    async fn with_hooks(name: &str, hooks: &str) -> Self {
        let pair = Self::sqlite(name, "", hooks).await;
        std::fs::write(pair.product.dir.path().join("hook.sh"), SCRIPT).expect("a script");
        pair.hook_ends_with(0);
        pair
    }

    fn hook_ends_with(&self, code: i32) {
        std::fs::write(self.product.dir.path().join("code"), code.to_string()).expect("a code");
    }

    /// What hooks were told since this was asked last.
    fn told(&self) -> Vec<String> {
        let path = self.product.dir.path().join("said");
        let said = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        said.lines().map(str::to_owned).collect()
    }
}

const BEFORE: &str =
    "hooks: { before_cutover: { run: [\"sh\", \"hook.sh\", \"a b\", \"$HOME\"], on_failure: abort } }\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_before_stops_it_or_is_a_warning() {
    let pair = Pair::with_hooks("h-before", BEFORE).await;
    pair.hook_ends_with(7);
    let ran = pair.run(&["cutover"]).await.expect(4);
    let said = "the hook \"before_cutover\" failed: \"sh\" ended with exit code 7";
    assert!(ran.stderr.contains(said) && ran.stderr.contains("on_failure: warn"), "{}", ran.stderr);
    // No shell: words stay as they are.
    assert_eq!(pair.told(), ["h-before target before_cutover 2:a b:$HOME"]);
    pair.assert_untouched().await;
    pair.replan("on_failure: abort", "on_failure: warn");
    let ran = pair.run(&["cutover"]).await.expect(0);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(pair.told(), ["h-before target before_cutover 2:a b:$HOME"], "it runs again");
    pair.assert_moved().await;
    // Where there is nothing to do, nothing is run.
    pair.run(&["cutover"]).await.expect(0);
    assert!(pair.told().is_empty());
    pair.run(&["rollback"]).await.expect(0);
    assert_eq!(pair.told(), ["h-before source before_cutover 2:a b:$HOME"]);
    pair.assert_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_too_long_is_killed_and_one_that_is_missing_is_named() {
    let pair =
        Pair::with_hooks("h-late", "hooks: { before_cutover: { run: [\"sleep\", \"20\"], timeout: 200ms } }\n").await;
    let began = Instant::now();
    let ran = pair.run(&["cutover"]).await.expect(4);
    assert!(ran.stderr.contains("\"sleep\" was killed: it took longer than 200 ms"), "{}", ran.stderr);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    pair.assert_untouched().await;
    pair.replan("[\"sleep\", \"20\"]", "[\"./nowhere\"]");
    let ran = pair.run(&["cutover"]).await.expect(4);
    assert!(ran.stderr.contains("\"./nowhere\" can't be run"), "{}", ran.stderr);
    pair.assert_untouched().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_behind_runs_once_more_where_a_process_died() {
    let hooks = "hooks: { after_cutover: { run: [\"sh\", \"hook.sh\"] } }\n";
    let mut pair = Pair::with_hooks("h-after", &format!("{hooks}lease: {{ ttl: 1s }}\n")).await;
    pair.product.set("MIGRATE_FAILPOINT", "cutover.unfenced");
    assert_eq!(pair.run(&["cutover"]).await.code, -1);
    pair.product.set("MIGRATE_FAILPOINT", "");
    assert!(pair.told().is_empty(), "applications are told first");
    // The dead one's lease runs out.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    pair.hook_ends_with(9);
    let ran = pair.run(&["cutover", "--json"]).await.expect(0);
    assert!(
        ran.stderr.contains("the hook \"after_cutover\" failed"),
        "a warning where the plan is silent: {}",
        ran.stderr
    );
    assert_eq!(pair.told(), ["h-after target after_cutover 0::"]);
    pair.assert_moved().await;
    pair.hook_ends_with(0);
    pair.run(&["rollback"]).await.expect(0);
    assert_eq!(pair.told(), ["h-after source after_cutover 0::"]);
}
