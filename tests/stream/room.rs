//! A bounded stream: what is full waits, what is confirmed makes room, and no order is lost over it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use migrate::entry::{Epoch, Position};
use migrate::error::Kind;
use migrate::transport::{Incoming, Receiver, Sender};

use crate::rig::{
    LONG, Rig, SHORT, STREAM, SUBJECT, announced, announcement, calm, doubt, entry, entry_incoming, expect, next, send,
    shown,
};

const MIB: u64 = 1024 * 1024;

fn size(position: u64) -> usize {
    [50, 4_000, 256 * 1024, 700_000, 1_000][position as usize % 5]
}

/// The relay's half of the loop: sends up to `last` while there is room, and passes on what is confirmed.
async fn relay(sender: &mut Box<dyn Sender>, epoch: u64, last: u64) {
    let (mut position, mut confirmed) = (0, 0);
    let begun = Instant::now();
    while confirmed < last {
        assert!(begun.elapsed() < 4 * LONG, "sent {position}, confirmed {confirmed}");
        while position < last && sender.has_room() {
            position += 1;
            send(sender, position, size(position)).await;
        }
        sender.settle().await.unwrap();
        if let Some(report) = sender.report(Duration::from_millis(5)).await.unwrap() {
            confirmed = String::from_utf8(report.to_vec()).unwrap().parse().unwrap();
            sender.confirmed(Epoch(epoch), Position(confirmed)).await.unwrap();
        }
    }
}

async fn apply(receiver: &mut Box<dyn Receiver>, last: u64) {
    for position in 1..=last {
        expect(receiver, entry_incoming(position, size(position))).await;
        receiver.report(Bytes::from(position.to_string())).await.unwrap();
    }
}

pub async fn any_amount_passes_a_bounded_stream(rig: Rig) {
    let rig = rig.with_max_bytes(4 * MIB);
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    expect(&mut receiver, announced(1)).await;
    let last = (20 * 4 * MIB / (961_194 / 5)) + 5; // the mean of `size`
    let watching = async {
        loop {
            assert!(rig.info().await.state.bytes <= 4 * MIB);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = async { tokio::join!(relay(&mut sender, 1, last), apply(&mut receiver, last)); } => {}
        () = watching => {}
    }
    calm(&mut sender).await;
    assert!(rig.info().await.state.bytes < MIB);
}

pub async fn a_full_stream_keeps_order_and_waits(rig: Rig) {
    let rig = rig.with_max_bytes(2 * MIB);
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for position in 1..=6 {
        send(&mut sender, position, 600_000).await;
    }
    calm(&mut sender).await;
    assert!(!sender.has_room());
    let stored = rig.info().await.state;
    assert!(stored.bytes <= 2 * MIB);
    expect(&mut receiver, announced(1)).await;
    for position in 1..=3 {
        expect(&mut receiver, entry_incoming(position, 600_000)).await;
    }
    assert_eq!(receiver.next(SHORT).await.unwrap(), None);
    calm(&mut sender).await;
    assert_eq!(rig.info().await.state.last_sequence, stored.last_sequence, "nothing was sent into a full stream");
    sender.confirmed(Epoch(1), Position(3)).await.unwrap();
    for position in 4..=6 {
        let begun = Instant::now();
        loop {
            sender.settle().await.unwrap();
            if let Some(came) = receiver.next(Duration::from_millis(50)).await.unwrap() {
                assert!(came == entry_incoming(position, 600_000), "came {}", shown(&came));
                break;
            }
            assert!(begun.elapsed() < LONG);
        }
        sender.confirmed(Epoch(1), Position(position)).await.unwrap();
    }
    calm(&mut sender).await;
    assert!(sender.has_room());
    assert_eq!(rig.info().await.state.messages, 0, "all is confirmed, the announcement too");
    send(&mut sender, 7, 100).await;
    expect(&mut receiver, entry_incoming(7, 100)).await;
}

pub async fn an_entry_larger_than_the_stream_is_refused(rig: Rig) {
    let rig = rig.with_max_bytes(2 * MIB);
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    let error = sender.send(Position(1), entry(1, 2 * MIB as usize)).await.unwrap_err();
    assert_eq!(error.kind, Kind::GiveUp);
    assert!(error.hint_text().unwrap().contains("`events.max_bytes`"), "{error:?}");
    // Almost as large passes, once everything before it is gone.
    let large = 2 * MIB as usize - 8 * 1024;
    send(&mut sender, 1, 100_000).await;
    sender.send(Position(2), entry(2, large)).await.unwrap();
    expect(&mut receiver, announced(1)).await;
    expect(&mut receiver, entry_incoming(1, 100_000)).await;
    calm(&mut sender).await;
    assert!(!sender.has_room());
    sender.confirmed(Epoch(1), Position(1)).await.unwrap();
    calm(&mut sender).await;
    expect(&mut receiver, entry_incoming(2, large)).await;
    assert!(sender.has_room());
    let error = rig.transport.probe(2 * MIB).await.unwrap_err();
    assert!(error.hint_text().unwrap().contains("`events.max_bytes`"), "{error:?}");
}

pub async fn a_full_stream_is_taken_over(rig: Rig) {
    let rig = rig.with_max_bytes(2 * MIB);
    let (mut old, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for position in 1..=30 {
        send(&mut old, position, 100_000).await;
    }
    calm(&mut old).await;
    assert!(!old.has_room());
    drop(old);
    let mut new = rig.sender(2).await;
    // Once more, as after a lost acknowledgement; the stream still is full.
    new.announce(Epoch(2), announcement(2)).await.unwrap();
    new.send(Position(50), entry(50, 100_000)).await.unwrap();
    calm(&mut new).await;
    // The target still reads what was there, and says so with the old epoch: that makes no room yet.
    expect(&mut receiver, announced(1)).await;
    expect(&mut receiver, entry_incoming(1, 100_000)).await;
    let messages = rig.info().await.state.messages;
    new.confirmed(Epoch(1), Position(1)).await.unwrap();
    calm(&mut new).await;
    assert_eq!(rig.info().await.state.messages, messages);
    let mut last = 1;
    loop {
        let came = next(&mut receiver).await;
        if came == announced(2) {
            break;
        }
        last += 1;
        assert!(came == entry_incoming(last, 100_000), "came {}", shown(&came));
    }
    assert!(last > 10);
    expect(&mut receiver, announced(2)).await;
    new.confirmed(Epoch(2), Position(last)).await.unwrap();
    calm(&mut new).await;
    expect(&mut receiver, entry_incoming(50, 100_000)).await;
    assert!(new.has_room());
}

/// The stream is made again by somebody, and ends at the very sequence that we expect.
pub async fn a_backlog_is_not_sent_behind_another_history(rig: Rig) {
    let rig = rig.with_max_bytes(2 * MIB);
    let mut sender = rig.sender(1).await;
    for position in 1..=20 {
        send(&mut sender, position, 200_000).await;
    }
    calm(&mut sender).await;
    assert!(!sender.has_room());
    let info = rig.info().await;
    let context = rig.context().await;
    context.delete_stream(STREAM).await.unwrap();
    context.create_stream(info.config.clone()).await.unwrap();
    for _ in 0..info.state.last_sequence {
        context.publish(SUBJECT, "x".into()).await.unwrap().await.unwrap();
    }
    doubt(&mut sender).await;
    let stream = context.get_stream(STREAM).await.unwrap();
    assert_eq!(stream.cached_info().state.last_sequence, info.state.last_sequence);
    // A foreign message behind the refused ones is doubt too.
    sender.announce(Epoch(2), announcement(2)).await.unwrap();
    for position in 1..=20 {
        send(&mut sender, position, 200_000).await;
    }
    calm(&mut sender).await;
    stream.purge().keep(3).await.unwrap();
    context.publish(SUBJECT, "x".into()).await.unwrap().await.unwrap();
    doubt(&mut sender).await;
    assert_eq!(stream.get_info().await.unwrap().state.messages, 4);
}

pub async fn the_limit_is_adjusted(rig: Rig) {
    let rig = rig.with_max_bytes(3 * MIB);
    let mut sender = rig.sender(1).await;
    send(&mut sender, 1, 100).await;
    calm(&mut sender).await;
    let before = rig.info().await;
    assert_eq!(before.config.max_bytes, 3 * MIB as i64);
    let rig = rig.with_max_bytes(5 * MIB);
    let _sender = rig.sender(2).await;
    let after = rig.info().await;
    assert_eq!((after.config.max_bytes, after.created), (5 * MIB as i64, before.created));
    let mut receiver = rig.receiver().await;
    for wanted in [announced(1), entry_incoming(1, 100), announced(2)] {
        expect(&mut receiver, wanted).await;
    }
    assert!(matches!(receiver.next(SHORT).await, Ok(None::<Incoming>)));
}

/// Not a test: `cargo test --release --test stream -- --ignored --nocapture throughput` prints MB/s.
pub async fn throughput(rig: Rig) {
    for (bytes, entries) in [(1_000, 100_000), (64 * 1024, 8_000), (4 << 20, 150)] {
        let rig = Rig::new(rig.carrier);
        let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
        expect(&mut receiver, announced(1)).await;
        let message = entry(1, bytes);
        let begun = Instant::now();
        let (came, seen) = tokio::sync::watch::channel(0);
        let sending = tokio::spawn(async move {
            for position in 1..=entries {
                sender.send(Position(position), message.clone()).await.unwrap();
                while position % 64 == 0 || !sender.has_room() {
                    let confirmed = *seen.borrow();
                    sender.confirmed(Epoch(1), Position(confirmed)).await.unwrap();
                    sender.settle().await.unwrap();
                    if sender.has_room() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            sender
        });
        for position in 1..=entries {
            next(&mut receiver).await;
            came.send_replace(position);
        }
        let rate = (bytes as u64 * entries) as f64 / 1e6 / begun.elapsed().as_secs_f64();
        println!("{}: {bytes} bytes an entry: {rate:.0} MB/s", rig.transport.name());
        drop(sending.await.unwrap());
    }
}
