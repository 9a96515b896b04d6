//! The loop guard, shown on any engine: what the applier of a migration writes in its own transactions is left alone by
//! that migration's capture, and nothing else ever is.

use migrate::mapping::Layout;
use migrate::store::engine::{Engine, Mode, Statement};
use migrate::value::Value;

/// Keys in the first table's marks, after which there are none.
async fn taken<E: Engine>(run: &E, layout: &Layout) -> Vec<i128> {
    let dirty = run.control(&layout.migration, "dirty_1");
    let mut tx = run.begin(Mode::Control).await.expect("a transaction");
    let mut keys = Vec::new();
    let read = Statement { sql: format!("SELECT k1 FROM {dirty} ORDER BY seq"), args: vec![] };
    let mut each = |row: Vec<Value>| {
        keys.extend(row.iter().filter_map(|v| if let Value::Int(i) = v { Some(*i) } else { None }));
        Ok(true)
    };
    run.query(&mut tx, &read, &[], &mut each).await.expect("the marks");
    let clear = Statement { sql: format!("DELETE FROM {dirty}"), args: vec![] };
    run.execute(&mut tx, &clear).await.expect("cleared");
    run.commit(tx).await.expect("committed");
    keys
}

/// For two migrations that capture the same table `t (id, …)`. Every connection of the pool is used again.
pub async fn is_left_alone<E: Engine>(run: &E, ours: &Layout, other: &Layout) {
    let (m, insert) = (ours.migration.as_str(), |n: i64| format!("INSERT INTO t (id) VALUES ({n})"));
    let plain = async |n: i64| {
        for i in 0..3 {
            let mut tx = run.begin(Mode::Control).await.expect("a transaction");
            run.script(&mut tx, &insert(n + i)).await.expect("a row");
            run.commit(tx).await.expect("committed");
        }
    };
    for backfill in [false, true] {
        let at = if backfill { 1000 } else { 0 };
        let apply = async || {
            let mut tx = run.begin(Mode::Apply { layout: ours, backfill }).await.expect("a transaction");
            run.mark_applier(&mut tx, m).await.expect("marked");
            tx
        };
        // Committed, with a part of it taken back.
        let mut tx = apply().await;
        run.script(&mut tx, &insert(at + 1)).await.expect("a row");
        run.savepoint(&mut tx).await.expect("a savepoint");
        run.script(&mut tx, &insert(at + 2)).await.expect("a row");
        run.rollback_to_savepoint(&mut tx).await.expect("taken back");
        run.script(&mut tx, &format!("UPDATE t SET id = {} WHERE id = {}", at + 3, at + 1)).await.expect("moved");
        run.unmark_applier(&mut tx, m).await.expect("unmarked");
        run.commit(tx).await.expect("committed");
        assert!(taken(run, ours).await.is_empty(), "what came over one link would go back over the other");
        assert!(!taken(run, other).await.is_empty(), "another migration takes it like any write");
        plain(at + 10).await;
        assert_eq!(taken(run, ours).await.len(), 3, "the mark has outlived a commit");
        // Rolled back, dropped, failed.
        drop(apply().await);
        let mut failed = apply().await;
        run.script(&mut failed, &insert(at + 3)).await.expect_err("twice the same key");
        drop(failed);
        plain(at + 20).await;
        assert_eq!(taken(run, ours).await.len(), 3, "the mark has outlived a transaction that failed");
        // The applier of another migration is an application to us.
        let mut tx = run.begin(Mode::Apply { layout: other, backfill }).await.expect("a transaction");
        run.mark_applier(&mut tx, &other.migration).await.expect("marked");
        run.script(&mut tx, &insert(at + 30)).await.expect("a row");
        run.unmark_applier(&mut tx, &other.migration).await.expect("unmarked");
        run.commit(tx).await.expect("committed");
        assert_eq!(taken(run, ours).await, [i128::from(at) + 30]);
        taken(run, other).await;
    }
}
