//! The pairs of engines that `tests/cutover.rs` leaves out: there and back under clients, without a broker.

use crate::bank::Clients;
use crate::routes::{assert_route, told_by};
use crate::support::product::{Place, mariadb, postgres, sqlite};
use crate::{Pair, bank};

async fn there_and_back(name: &str, dir: tempfile::TempDir, source: Place, target: Place) {
    let seed = rand::random();
    println!("seed {seed}");
    let pair = Pair::of(name, dir, source, target, None, "", "").await;
    let clients = Clients::start(&pair.source, &pair.target, 3, seed);
    for (verb, owner, epoch) in [("cutover", "target", 1), ("rollback", "source", 2), ("cutover", "target", 3)] {
        clients.go_on(10).await;
        let cut = pair.run(&[verb, "--json"]).await.expect(0).json();
        assert_eq!((&cut["done"], &cut["owner"]), (&true.into(), &owner.into()), "{cut}");
        assert_route(&told_by(&pair.source, name, "source").await, owner, epoch);
        assert_route(&told_by(&pair.target, name, "target").await, owner, epoch);
        clients.go_on(10).await;
    }
    let ledger = clients.stop().await;
    pair.run(&["apply"]).await.expect(0);
    pair.assert_moved().await;
    bank::audit(&pair.target, &ledger).await;
    pair.run(&["apply"]).await.expect(0);
    bank::assert_same(&pair.source, &pair.target).await;
    pair.run(&["finish", "--release-source"]).await.expect(0);
    assert_eq!([pair.source.catalogue().await, pair.target.catalogue().await], pair.before);
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_sqlite() {
    let dir = dir();
    let target = sqlite(&dir, "t.db");
    there_and_back("o-ps", dir, postgres("o_ps").await, target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_to_postgres() {
    there_and_back("o-mp", dir(), mariadb("o_mp_s").await, postgres("o_mp_t").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_mariadb() {
    let dir = dir();
    let source = sqlite(&dir, "s.db");
    there_and_back("o-sm", dir, source, mariadb("o_sm").await).await;
}
