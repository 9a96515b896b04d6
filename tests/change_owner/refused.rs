//! A row that the target refuses behind the fence: nothing is cut over, and writes go on where they were.

use std::time::Duration;

use crate::Pair;
use crate::support::live::App;
use crate::support::product::postgres;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_target_refuses_at_the_last_moment_ends_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, target) = (postgres("o_check_s").await, postgres("o_check_t").await);
    let pair = Pair::of("checked", dir, source, target, None, "", "").await;
    pair.target.exec("ALTER TABLE transfer ADD CONSTRAINT small_amounts CHECK (amount < 1000)").await;
    // Open when the fence is asked for, which waits for it: what it wrote is sealed behind the fence.
    let mut app = App::connect(&pair.source).await;
    app.exec("BEGIN").await.expect("a transaction");
    app.exec("INSERT INTO transfer (id, tenant, debit, credit, amount) VALUES (4711, 3, 1, 2, 5000)")
        .await
        .expect("a row");
    let writer = async {
        while !pair.status().await["journal"].to_string().contains("fencing") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        app.exec("COMMIT").await.expect("committed");
    };
    let (cut, ()) = tokio::join!(pair.product.run(&["cutover", "--json"]), writer);
    println!("{}: {}", cut.code, cut.stderr);
    assert_eq!(cut.code, 4, "{}{}", cut.stdout, cut.stderr);
    assert!(cut.stderr.contains("not cut over, writes were given back"), "{}", cut.stderr);
    assert!(cut.stderr.contains("1 row is parked") && cut.stderr.contains("dead-letters list"), "{}", cut.stderr);
    let closed = pair.run(&["cutover"]).await.expect(4);
    assert!(closed.stderr.contains("closed  dead letters: 1 row is parked"), "{}", closed.stderr);
    pair.run(&["verify"]).await.expect(4);
    let listed = pair.product.words(&["dead-letters", "list"], &["--json"]).await.expect(0);
    let letters = listed.json();
    assert!(letters["letters"][0]["reason"].to_string().contains("small_amounts"), "{letters}");
    assert!(!listed.stdout.contains("4711") && !listed.stdout.contains("5000"), "no values: {letters}");
    pair.assert_untouched().await;
    // The way out: mend the row, and again.
    pair.source.exec("UPDATE transfer SET amount = 5 WHERE id = 4711").await;
    pair.run(&["apply"]).await.expect(0);
    pair.run(&["cutover"]).await.expect(0);
    pair.assert_moved().await;
}
