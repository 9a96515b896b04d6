//! A generation that was begun and never arrived: killed between the seal that begins it and its delivery, again and again,
//! and also where writes were sealed behind it. The next run begins it anew in the way that it was begun.

use crate::support::product::{Copied, Place, Ran, Running, postgres};
use crate::{Pair, bank};

const BOUNDS: &str = "max_write_pause: 30s, max_lag: 30s";
/// Between the seal and its delivery.
const BEGUN: &str = "link.begun";

/// The dead one's runs out.
const LEASE_HELD: i32 = 5;

async fn run_when_free(pair: &Pair, args: &[&str]) -> Ran {
    let mut ran = pair.run(args).await;
    while ran.code == LEASE_HELD {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        ran = pair.run(args).await;
    }
    ran
}

async fn done(pair: &Pair, args: &[&str]) -> String {
    run_when_free(pair, args).await.expect(0).stdout
}

/// The command dies there.
async fn killed(pair: &mut Pair, args: &[&str]) {
    pair.product.set("MIGRATE_FAILPOINT", BEGUN);
    let ran = run_when_free(pair, args).await;
    assert_eq!(ran.code, -1, "{}{}", ran.stdout, ran.stderr);
    pair.product.set("MIGRATE_FAILPOINT", "");
}

async fn write(place: &Place, amount: i64) {
    place.exec(&format!("UPDATE account SET balance = balance + {amount} WHERE tenant = 1 AND id = 2")).await;
}

/// Everything that the new owner took arrives at the old one, whichever start of the way back was killed.
async fn back_again(mut pair: Pair) {
    pair.run(&["cutover"]).await.expect(0);
    for amount in 1..4 {
        write(&pair.target, amount).await;
        killed(&mut pair, &["apply"]).await;
    }
    let said = done(&pair, &["apply"]).await;
    assert!(said.contains("moved     0 rows"), "the stores were equal, so nothing is copied: {said}");
    bank::assert_same(&pair.source, &pair.target).await;
    write(&pair.target, 5).await;
    pair.run(&["rollback"]).await.expect(0);
    pair.run(&["verify"]).await.expect(0);
    bank::assert_same(&pair.source, &pair.target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_the_way_back_on_sqlite() {
    back_again(Pair::sqlite("co-begun", "", "lease: { ttl: 1s }\n").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_the_way_back_on_postgres() {
    let (source, target) = (postgres("co_begun_s").await, postgres("co_begun_t").await);
    let dir = tempfile::tempdir().expect("a directory");
    back_again(Pair::of("co-begun-p", dir, source, target, None, BOUNDS, "lease: { ttl: 1s }\n").await).await;
}

/// One that had arrived, and is gone: the old store came back from before it. Nothing goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_heard_of_does_not_begin_again() {
    let pair = Pair::sqlite("co-heard", "", "lease: { ttl: 1s }\n").await;
    pair.run(&["cutover"]).await.expect(0);
    let backup = Copied::of(&pair.source);
    write(&pair.target, 3).await;
    done(&pair, &["apply"]).await;
    backup.put_back();
    let ran = pair.run(&["apply"]).await.expect(6);
    assert!(ran.stderr.contains("nothing was overwritten"), "{}", ran.stderr);
}

/// The forward link's, and those that a person's decision orders, in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn what_survive_ordered() {
    let mut pair = Pair::sqlite("co-ordered", "", "lease: { ttl: 1s }\n").await;
    pair.run(&["cutover"]).await.expect(0);
    done(&pair, &["apply"]).await;
    write(&pair.target, 7).await;
    for (side, verb) in [("target", "rollback"), ("source", "cutover")] {
        for _ in 0..2 {
            killed(&mut pair, &["survive", "--side", side, "--yes"]).await;
        }
        killed(&mut pair, &["apply"]).await;
        done(&pair, &["apply"]).await;
        assert_eq!(pair.status().await["owner"], side);
        bank::assert_same(&pair.source, &pair.target).await;
        pair.run(&[verb]).await.expect(0);
        // The other link was ordered to begin, too.
        killed(&mut pair, &["apply"]).await;
        done(&pair, &["apply"]).await;
        bank::assert_same(&pair.source, &pair.target).await;
        pair.run(&[if verb == "cutover" { "rollback" } else { "cutover" }]).await.expect(0);
        pair.run(&["rollback"]).await.expect(0);
    }
    pair.run(&["verify"]).await.expect(0);
}

/// Ends the host's sessions that are in the middle of something: the relay's above all, which never rests.
async fn end_sessions(place: &Place, host: u32) -> usize {
    let Place::Postgres(db) = place else { unreachable!("PostgreSQL only") };
    let sql = format!(
        "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = '{}' AND usename = '{}' \
         AND application_name LIKE 'migrate pid {host} %' AND state <> 'idle'",
        db.name, db.run
    );
    let url = crate::support::compare::StoreRef::Postgres(db.superuser_url.clone());
    crate::support::compare::text_rows(&url, &sql).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_begins_again_under_a_cut_over() {
    let (source, target) = (postgres("co_again_s").await, postgres("co_again_t").await);
    let dir = tempfile::tempdir().expect("a directory");
    let pair = Pair::of("co-again", dir, source, target, None, BOUNDS, "").await;
    let mut host: Running = pair.product.start(&["apply", "--follow", "--heartbeat", "1s"]);
    host.says("follow").await;
    let (mut ended, pid) = (0, host.pid());
    for round in 0..6 {
        let (verb, giver) = if round % 2 == 0 { ("cutover", &pair.source) } else { ("rollback", &pair.target) };
        let asked = [verb];
        write(giver, round).await;
        let ends = async {
            // As often as it takes to meet one at work; three times at the most.
            let mut met = 0;
            for _ in 0..40 {
                tokio::time::sleep(std::time::Duration::from_millis(15)).await;
                met += usize::from(end_sessions(giver, pid).await > 0);
                if met == 3 {
                    break;
                }
            }
            met
        };
        let (ran, met) = tokio::join!(pair.run(&asked), ends);
        assert_eq!(ran.code, 0, "{verb}: {}{}\nthe host:\n{}", ran.stdout, ran.stderr, host.stderr());
        ended += met;
    }
    assert!(ended > 0, "no session was ended: {}", host.stderr());
    println!("{ended} times, and the relay began again {} times", host.stderr().matches("side begins again").count());
    host.signal("TERM");
    assert_eq!(host.wait().await, 143, "{}", host.stderr());
    bank::assert_same(&pair.source, &pair.target).await;
}
