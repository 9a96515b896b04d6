//! Approvals: a gate that people open.

use crate::{Pair, bank};

/// Runs what a closed gate says opens it.
async fn obey(pair: &Pair, stderr: &str, gate: &str) {
    let line = stderr.lines().find(|l| l.contains("closed") && l.contains(gate)).unwrap_or_else(|| panic!("{stderr}"));
    let (_, command) = line.split_once("opened by: migrate ").expect("a command");
    let words: Vec<&str> =
        command.split_whitespace().filter(|w| *w != pair.product.plan.display().to_string()).collect();
    pair.run(&words).await.expect(0);
}

fn assert_line(stderr: &str, line: &str) {
    assert!(stderr.lines().any(|l| l.trim_start().starts_with(line)), "{line:?} is not in\n{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_gate_says_what_opens_it_and_a_changed_plan_voids_what_was_given() {
    let cutover = "max_write_pause: 30s, max_lag: 30s, approvals: [crm, marketing]";
    let pair = Pair::sqlite("approved", cutover, "").await;
    let ran = pair.run(&["cutover"]).await.expect(4);
    assert!(ran.stderr.contains("2 of 7 gates are closed"), "{}", ran.stderr);
    for line in [
        "open    whole tables:",
        "open    way back:",
        "open    verified:",
        "open    rehearsed: the way back works",
        "closed  approval of crm: not given   opened by: migrate approve",
        "closed  approval of marketing: not given   opened by: migrate approve",
    ] {
        assert_line(&ran.stderr, line);
    }
    pair.assert_untouched().await;
    let ran = pair.run(&["approve", "--team", "sales"]).await.expect(64);
    assert!(ran.stderr.contains("\"sales\"") && ran.stderr.contains("crm, marketing"), "{}", ran.stderr);
    let ran = pair.run(&["cutover"]).await.expect(4);
    obey(&pair, &ran.stderr, "approval of crm").await;
    let ran = pair.run(&["cutover"]).await.expect(4);
    assert!(ran.stderr.contains("1 of 7 gates are closed"), "{}", ran.stderr);
    assert_line(&ran.stderr, "open    approval of crm: given");
    obey(&pair, &ran.stderr, "approval of marketing").await;
    pair.run(&["cutover", "--dry-run"]).await.expect(0);
    pair.assert_untouched().await;
    // Not what it was: the other side's name, which is part of what was approved.
    pair.replan("team: marketing", "team: growth");
    let ran = pair.run(&["cutover"]).await.expect(4);
    assert!(ran.stderr.contains("2 of 7 gates are closed"), "{}", ran.stderr);
    assert_line(&ran.stderr, "closed  approval of crm: void: the plan was changed since");
    // As it was, and only tuned: that was approved.
    pair.replan("team: growth", "team: marketing");
    pair.replan("max_lag: 30s", "max_lag: 20s");
    pair.run(&["cutover"]).await.expect(0);
    pair.assert_moved().await;
    // On the way back nobody waits for papers.
    pair.replan("team: marketing", "team: growth");
    pair.run(&["rollback"]).await.expect(0);
    pair.assert_untouched().await;
    bank::assert_same(&pair.source, &pair.target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_rehearsed_is_not_cut_over() {
    let pair = Pair::sqlite("papers", "max_write_pause: 30s, max_lag: 30s, verified_within: 1s", "").await;
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    let ran = pair.run(&["cutover"]).await.expect(4);
    assert_line(&ran.stderr, "closed  verified:");
    obey(&pair, &ran.stderr, "verified").await;
    pair.replan("verified_within: 1s", "verified_within: 1h");
    pair.source.exec("DELETE FROM _migrate_papers_setting_source WHERE name = 'rehearsed'").await;
    let ran = pair.run(&["cutover"]).await.expect(4);
    assert_line(&ran.stderr, "closed  rehearsed: never   opened by: migrate rehearse");
    pair.assert_untouched().await;
    obey(&pair, &ran.stderr, "rehearsed").await;
    pair.run(&["cutover"]).await.expect(0);
}
