//! Large rows and large tables: a row of 5 MiB over both brokers, and memory that does not grow with the table.

use std::process::Stdio;
use std::time::Duration;

use crate::rig::{Engine, World, shared_nats, text};
use crate::support::product::Place;
use crate::support::{Nats, NatsVersion};

const MIB: usize = 1 << 20;

fn docs(place: &Place) -> &'static str {
    match place {
        Place::Postgres(_) => "CREATE TABLE docs (id BIGINT PRIMARY KEY, body BYTEA, note TEXT)",
        Place::MariaDb(_) => "CREATE TABLE docs (id BIGINT PRIMARY KEY, body LONGBLOB, note LONGTEXT)",
        Place::Sqlite(_) => "CREATE TABLE docs (id BIGINT NOT NULL PRIMARY KEY, body BLOB, note TEXT)",
    }
}

/// `id`, so many bytes, and a text of so many characters.
fn row(place: &Place, id: i64, bytes: usize, chars: usize) -> String {
    let blob = match place {
        Place::Postgres(_) => format!("convert_to(repeat(md5('{id}'), {}), 'UTF8')", bytes / 32),
        Place::MariaDb(_) => format!("repeat(md5('{id}'), {})", bytes / 32),
        Place::Sqlite(_) => format!("randomblob({bytes})"),
    };
    let note = match place {
        Place::Postgres(_) | Place::MariaDb(_) => format!("repeat('ü{id}', {})", chars / 2),
        Place::Sqlite(_) => format!("replace(hex(zeroblob({})), '00', 'ü{id}')", chars / 2),
    };
    format!("({id}, {blob}, {note})")
}

/// Sizes and a hash that both engines can compute: of the bytes' ends and the text's length.
async fn seen(place: &Place) -> String {
    let sql = match place {
        Place::Postgres(_) => {
            "SELECT string_agg(id || ':' || length(body) || ':' || encode(substr(body, 1, 40), 'hex') || ':' || \
             encode(substr(body, length(body) - 40), 'hex') || ':' || length(note) || ':' || right(note, 9), ' ' ORDER BY id) FROM docs"
        }
        Place::MariaDb(_) => {
            "SELECT group_concat(concat_ws(':', id, length(body), lower(hex(substr(body, 1, 40))), \
             lower(hex(substr(body, length(body) - 40))), char_length(note), right(note, 9)) ORDER BY id SEPARATOR ' ') FROM docs"
        }
        Place::Sqlite(_) => {
            "SELECT group_concat(line, ' ') FROM (SELECT id || ':' || length(body) || ':' || lower(hex(substr(body, 1, 40))) || ':' \
             || lower(hex(substr(body, length(body) - 40))) || ':' || length(note) || ':' || substr(note, -9) AS line FROM docs ORDER BY id)"
        }
    };
    text(place, sql).await
}

async fn large_row(name: &str, version: NatsVersion, from: Engine, to: Engine) {
    let nats = Nats::start(version);
    let body = "create_tables: true\ntables: [{ from: docs }]\nlease: { ttl: 1s }\n";
    let world = World::new(name, from, to, Some(&nats), 1, body).await;
    world.source.exec(docs(&world.source)).await;
    let insert = |id, bytes, chars| format!("INSERT INTO docs VALUES {}", row(&world.source, id, bytes, chars));
    for (id, bytes, chars) in [(1, 100, 10), (2, 5 * MIB, 10), (3, 64, 5 * MIB), (4, 64, 64)] {
        world.source.exec(&insert(id, bytes, chars)).await;
    }
    world.product.run(&["apply"]).await.expect(0);
    assert_eq!(seen(&world.source).await, seen(&world.target).await);
    // As a change, too.
    world.source.exec("DELETE FROM docs WHERE id < 3").await;
    world.source.exec(&insert(2, 5 * MIB, 5 * MIB)).await;
    let ran = world.product.run(&["apply"]).await.expect(0);
    assert!(ran.stdout.contains("in sync"), "{}", ran.stdout);
    assert_eq!(seen(&world.source).await, seen(&world.target).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_5_mib_goes_over_debians_broker() {
    large_row("large-debian", NatsVersion::Debian, Engine::Postgres, Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_5_mib_goes_over_a_current_broker() {
    large_row("large-current", NatsVersion::Current, Engine::Sqlite, Engine::Postgres).await;
}

/// The peak of resident memory in KiB, as the kernel has it.
async fn peak_of(world: &World) -> (u64, i32) {
    let mut command = world.product.command(&["apply"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary");
    let file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(&file).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|l| l.trim().split(' ').next()?.parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("a status") {
            return (peak, status.code().unwrap_or(-1));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A table of so many rows of so many bytes, then as many changes: at most 100 MiB and three of the largest row.
async fn memory(name: &str, from: Engine, to: Engine, nats: Option<&Nats>, rows: usize, bytes: usize) {
    let body = "create_tables: true\ntables: [{ from: docs }]\nlease: { ttl: 5s }\n";
    let world = World::new(name, from, to, nats, 1, body).await;
    world.source.exec(docs(&world.source)).await;
    for first in (0..rows).step_by(100) {
        let values: Vec<_> = (first..rows.min(first + 100)).map(|i| row(&world.source, i as i64, bytes, 64)).collect();
        world.source.exec(&format!("INSERT INTO docs VALUES {}", values.join(","))).await;
    }
    let limit = (100 * MIB + 3 * bytes) as u64 / 1024;
    let (copied, code) = peak_of(&world).await;
    assert_eq!(code, 0);
    world.source.exec("UPDATE docs SET note = 'changed'").await;
    let (changed, code) = peak_of(&world).await;
    assert_eq!(code, 0);
    println!(
        "{name}: {} MB, peak {copied} KiB copying, {changed} KiB carrying changes, limit {limit}",
        rows * bytes / 1_000_000
    );
    assert!(copied < limit, "{copied} KiB while copying");
    assert!(changed < limit, "{changed} KiB while carrying changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    memory("memory-s-s", Engine::Sqlite, Engine::Sqlite, Some(shared_nats()), 3_000, 20_000).await;
}

/// 300 MB on each pair, in minutes: `cargo test --test resume -- --ignored memory_is_bounded_for_300_mb --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes"]
async fn memory_is_bounded_for_300_mb() {
    let nats = Some(shared_nats());
    memory("mem-s-s", Engine::Sqlite, Engine::Sqlite, None, 15_000, 20_000).await;
    memory("mem-s-p", Engine::Sqlite, Engine::Postgres, nats, 300, MIB).await;
    memory("mem-p-p", Engine::Postgres, Engine::Postgres, nats, 15_000, 20_000).await;
    memory("mem-p-s", Engine::Postgres, Engine::Sqlite, nats, 60, 5 * MIB).await;
}
