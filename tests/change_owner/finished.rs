//! `finish`: what carried the data goes, and what becomes of the old tables.

use crate::{Pair, bank};

async fn cut_over(name: &str) -> Pair {
    let pair = Pair::sqlite(name, "", "").await;
    let refused = pair.run(&["finish"]).await.expect(4);
    assert!(refused.stderr.contains("the target does not own"), "{}", refused.stderr);
    pair.run(&["cutover"]).await.expect(0);
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_tables_stay_fenced_until_they_are_released_or_dropped() {
    for end in ["--release-source", "--drop-source"] {
        let pair = cut_over(&format!("f-later{}", end.len())).await;
        let finished = pair.run(&["finish", "--json"]).await.expect(0).json();
        assert!(finished["kept"][0].as_str().is_some_and(|k| k.contains("which refuse writes")), "{finished}");
        assert_eq!(pair.target.catalogue().await, pair.before[1], "nothing of ours is left at the target");
        bank::assert_refused(&pair.source).await;
        bank::assert_taken(&pair.target).await;
        pair.run(&["rollback"]).await.expect(4);
        bank::assert_same(&pair.source, &pair.target).await;
        pair.run(&["finish"]).await.expect(0);
        bank::assert_refused(&pair.source).await;
        pair.run(&["finish", end]).await.expect(0);
        assert_ended(&pair, end).await;
        let nothing = pair.run(&["finish"]).await.expect(4);
        assert!(nothing.stderr.contains("is not there"), "{}", nothing.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_can_be_released_or_dropped_at_once() {
    for end in ["--release-source", "--drop-source"] {
        let pair = cut_over("f-once").await;
        pair.run(&["finish", end]).await.expect(0);
        assert_ended(&pair, end).await;
    }
}

async fn assert_ended(pair: &Pair, end: &str) {
    assert_eq!(pair.target.catalogue().await, pair.before[1], "nothing of ours is left at the target");
    bank::assert_taken(&pair.target).await;
    if end == "--release-source" {
        assert_eq!(pair.source.catalogue().await, pair.before[0], "the source is as it was");
        bank::assert_taken(&pair.source).await;
    } else {
        assert!(pair.source.catalogue().await.is_empty(), "{:?}", pair.source.catalogue().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_at_once_is_a_mistake() {
    let pair = cut_over("f-both").await;
    pair.run(&["finish", "--release-source", "--drop-source"]).await.expect(64);
    pair.assert_moved().await;
}
