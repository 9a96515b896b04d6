//! Commands that meet: one wins, the other is told, and one side owns the data.

use crate::bank::Clients;
use crate::support::product::{Ran, Running};
use crate::{Pair, bank};

/// Whether it changed the owner, and to what turn; else it was told why not, in one of the ways that the docs name.
fn turn(ran: &Ran) -> Option<u64> {
    match ran.code {
        0 => {
            let report = ran.json();
            report["done"].as_bool().expect("done").then(|| report["turn"].as_u64().expect("a turn"))
        }
        4 | 5 => {
            let told = ["is held", "holds", "another process", "was decided", "gave", "given back", "runs this"];
            assert!(told.iter().any(|words| ran.stderr.contains(words)), "exit code {}: {}", ran.code, ran.stderr);
            None
        }
        code => panic!("exit code {code}: {}\n{}", ran.stdout, ran.stderr),
    }
}

/// Each change of owner has its own number, and who changed it last is who owns it.
async fn check(pair: &Pair, ran: [(&str, &Ran); 2]) {
    let mut turns: Vec<(u64, &str)> = ran.iter().filter_map(|(verb, ran)| Some((turn(ran)?, *verb))).collect();
    turns.sort();
    let status = pair.status().await;
    if let [(a, _), (b, _)] = turns[..] {
        assert_ne!(a, b, "two say that they made the same change: {:?}", ran.map(|(_, r)| r.stdout.clone()));
    }
    if let Some((last, verb)) = turns.last() {
        assert_eq!((&status["turn"], &status["owner"]), (&(*last).into(), &owner_after(verb).into()), "{status}");
    }
    assert!(status["owner"] == "source" || status["owner"] == "target", "{status}");
}

fn owner_after(verb: &str) -> &'static str {
    if verb == "cutover" { "target" } else { "source" }
}

async fn meet(pair: &Pair, rounds: usize, host: Option<&Running>) {
    for round in 0..rounds {
        let now = pair.status().await["owner"].as_str().expect("an owner").to_owned();
        let change = if now == "source" { "cutover" } else { "rollback" };
        let back = if change == "cutover" { "rollback" } else { "cutover" };
        let other = if round % 2 == 0 { change } else { back };
        let (first, second) = ([change, "--json"], [other, "--json"]);
        let (one, two) = tokio::join!(pair.run(&first), pair.run(&second));
        check(pair, [(change, &one), (other, &two)]).await;
        let changed = [&one, &two].into_iter().filter_map(turn).count();
        if round % 2 == 0 {
            let host = host.map(Running::stderr).unwrap_or_default();
            assert_eq!(changed, 1, "exactly one of two {change}s did it: {}{}\nhost: {host}", one.stderr, two.stderr);
        }
    }
}

async fn under_clients(name: &str, hosted: bool) {
    let seed = rand::random();
    println!("seed {seed}");
    let pair = Pair::sqlite(name, "", "").await;
    let clients = Clients::start(&pair.source, &pair.target, 2, seed);
    let mut host = match hosted {
        true => {
            let mut host = pair.product.start(&["apply", "--follow", "--heartbeat", "1s"]);
            host.says("follow").await;
            Some(host)
        }
        false => None,
    };
    meet(&pair, 4, host.as_ref()).await;
    clients.go_on(10).await;
    if let Some(host) = &mut host {
        assert!(host.is_running(), "the host is as before: {}", host.stderr());
        host.signal("TERM");
        host.wait().await;
    }
    let ledger = clients.stop().await;
    pair.run(&["apply"]).await.expect(0);
    bank::audit(&pair.source, &ledger).await;
    bank::audit(&pair.target, &ledger).await;
    bank::assert_same(&pair.source, &pair.target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone() {
    under_clients("meet", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_host_follows() {
    under_clients("meet-hosted", true).await;
}
