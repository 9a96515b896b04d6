//! What a broker can do to a stream: lose it, forget its end, go away, let others in.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::AckPolicy;
use bytes::Bytes;
use futures_util::StreamExt;
use migrate::entry::{Epoch, Position};
use migrate::transport::{Incoming, Sender};

use crate::rig::{
    LONG, Rig, SHORT, STREAM, SUBJECT, announced, announcement, calm, doubt, entry, entry_incoming, expect,
    expect_nothing, next, send, shown,
};
use crate::support::NatsOptions;

/// The next send or settle must fail with doubt.
async fn send_into_doubt(sender: &mut Box<dyn Sender>, position: u64) {
    match sender.send(Position(position), entry(position, 100)).await {
        Ok(()) => drop(doubt(sender).await),
        Err(error) => assert!(error.is_retry(), "{error}"),
    }
    assert!(!sender.has_room());
}

/// As a relay does: again and again until the broker is there.
async fn announce(sender: &mut Box<dyn Sender>, epoch: u64) {
    let begun = Instant::now();
    while let Err(error) = sender.announce(Epoch(epoch), announcement(epoch)).await {
        assert!(error.is_retry() && begun.elapsed() < LONG, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn a_missing_stream_is_waited_for(rig: Rig) {
    let mut receiver = rig.receiver().await;
    let begun = Instant::now();
    expect_nothing(&mut receiver).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    let mut sender = rig.sender(1).await;
    send(&mut sender, 1, 100).await;
    expect(&mut receiver, announced(1)).await;
    expect(&mut receiver, entry_incoming(1, 100)).await;
}

pub async fn a_deleted_stream_is_doubt_and_begins_again(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    send(&mut sender, 1, 100).await;
    expect(&mut receiver, announced(1)).await;
    expect(&mut receiver, entry_incoming(1, 100)).await;
    rig.context().await.delete_stream(STREAM).await.unwrap();
    send_into_doubt(&mut sender, 2).await;
    announce(&mut sender, 2).await;
    send(&mut sender, 2, 100).await;
    expect(&mut receiver, announced(2)).await;
    expect(&mut receiver, entry_incoming(2, 100)).await;
}

pub async fn a_wiped_broker_is_doubt_and_begins_again(mut rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for position in 1..=50 {
        send(&mut sender, position, 1000).await;
    }
    expect(&mut receiver, announced(1)).await;
    for position in 1..=50 {
        expect(&mut receiver, entry_incoming(position, 1000)).await;
    }
    rig.server().wipe();
    send_into_doubt(&mut sender, 51).await;
    announce(&mut sender, 2).await;
    for position in 51..=53 {
        send(&mut sender, position, 1000).await;
    }
    expect(&mut receiver, announced(2)).await;
    for position in 51..=53 {
        expect(&mut receiver, entry_incoming(position, 1000)).await;
    }
}

pub async fn a_purged_stream_goes_on(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    expect(&mut receiver, announced(1)).await;
    send(&mut sender, 1, 2_000_000).await;
    calm(&mut sender).await;
    rig.context().await.get_stream(STREAM).await.unwrap().purge().await.unwrap();
    send(&mut sender, 2, 2_000_000).await;
    calm(&mut sender).await;
    // The first may have been read before the purge; then all of it was.
    let mut came = next(&mut receiver).await;
    if came == entry_incoming(1, 2_000_000) {
        came = next(&mut receiver).await;
    }
    assert!(came == entry_incoming(2, 2_000_000), "came {}", shown(&came));
}

pub async fn a_rewound_stream_is_read_from_its_beginning(mut rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for position in 1..=5 {
        send(&mut sender, position, 100).await;
    }
    calm(&mut sender).await;
    let store = rig.server().store_dir();
    let copy = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| assert!(std::process::Command::new("cp").args(args).status().unwrap().success());
    rig.server().stop();
    run(&["-a", store.to_str().unwrap(), copy.path().to_str().unwrap()]);
    rig.server().restart();
    announce(&mut sender, 2).await;
    for position in 6..=20 {
        send(&mut sender, position, 100).await;
    }
    expect(&mut receiver, announced(1)).await;
    for position in 1..=5 {
        expect(&mut receiver, entry_incoming(position, 100)).await;
    }
    expect(&mut receiver, announced(2)).await;
    for position in 6..=20 {
        expect(&mut receiver, entry_incoming(position, 100)).await;
    }
    // The tail is lost; what comes in its place is longer than what was there.
    rig.server().stop();
    std::fs::remove_dir_all(&store).unwrap();
    run(&["-a", copy.path().join("store").to_str().unwrap(), store.to_str().unwrap()]);
    rig.server().restart();
    send_into_doubt(&mut sender, 21).await;
    announce(&mut sender, 3).await;
    for position in 100..=140 {
        send(&mut sender, position, 100).await;
    }
    calm(&mut sender).await;
    expect(&mut receiver, announced(1)).await;
    for position in 1..=5 {
        expect(&mut receiver, entry_incoming(position, 100)).await;
    }
    expect(&mut receiver, announced(3)).await;
    for position in 100..=140 {
        expect(&mut receiver, entry_incoming(position, 100)).await;
    }
}

/// Each epoch sends its own positions, so that what arrives tells whose it is.
fn first_of(epoch: u64) -> u64 {
    epoch * 1_000_000
}

fn size(position: u64) -> usize {
    if position.is_multiple_of(7) { 600_000 } else { 5_000 }
}

/// Sends for a while, as a relay does; returns the last epoch and position.
async fn send_on(mut sender: Box<dyn Sender>) -> (u64, u64) {
    let (mut epoch, mut position) = (1, first_of(1));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        let sent = sender.send(Position(position), entry(position, size(position))).await;
        position += 1;
        if sent.is_err() || sender.settle().await.is_err() {
            epoch += 1;
            position = first_of(epoch);
            announce(&mut sender, epoch).await;
        }
        if position % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    calm(&mut sender).await;
    (epoch, position)
}

/// What arrives while the broker is killed: per epoch whole entries without a gap, and the last epoch's completely.
pub async fn a_killed_broker_loses_no_order(mut rig: Rig) {
    let (sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    let sending = tokio::spawn(send_on(sender));
    let (done, finished) = tokio::sync::watch::channel(false);
    let receiving = tokio::spawn(async move {
        let (mut epoch, mut position) = (0, 0);
        loop {
            let last = *finished.borrow();
            match receiver.next(SHORT).await {
                Ok(None) if last => break,
                Ok(None) => {}
                Ok(Some(Incoming::Announced(message))) => {
                    epoch = (epoch..).find(|epoch| message == announcement(*epoch)).unwrap();
                    position = first_of(epoch);
                }
                Ok(Some(came)) => {
                    assert!(came == entry_incoming(position, size(position)), "{position}: {}", shown(&came));
                    position += 1;
                }
                Err(error) => {
                    assert!(error.is_retry(), "{error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        (epoch, position)
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        rig.server().kill9();
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.server().restart();
    }
    let sent = sending.await.unwrap();
    done.send(true).unwrap();
    assert!(sent.0 > 1, "no kill was noticed");
    assert_eq!(receiving.await.unwrap(), sent);
}

pub async fn a_hung_broker_is_doubt(mut rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    expect(&mut receiver, announced(1)).await;
    rig.server().pause();
    tokio::time::sleep(Duration::from_millis(200)).await; // a signal takes its time
    let begun = Instant::now();
    send_into_doubt(&mut sender, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(12));
    let waited = tokio::time::timeout(Duration::from_secs(12), receiver.next(SHORT)).await;
    assert!(waited.is_ok_and(|next| next.map_or_else(|e| e.is_retry(), |next| next.is_none())));
    rig.server().resume();
    announce(&mut sender, 2).await;
    send(&mut sender, 2, 100).await;
    let mut came = next(&mut receiver).await;
    if came == entry_incoming(1, 100) {
        came = next(&mut receiver).await;
    }
    assert!(came == announced(2), "came {}", shown(&came));
    expect(&mut receiver, entry_incoming(2, 100)).await;
}

pub async fn a_foreign_message_is_doubt_and_never_arrives(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    send(&mut sender, 1, 100).await;
    calm(&mut sender).await;
    rig.context().await.publish(SUBJECT, "not ours".into()).await.unwrap().await.unwrap();
    send_into_doubt(&mut sender, 2).await;
    announce(&mut sender, 2).await;
    send(&mut sender, 2, 100).await;
    for wanted in [announced(1), entry_incoming(1, 100), announced(2), entry_incoming(2, 100)] {
        expect(&mut receiver, wanted).await;
    }
}

/// A relay that lost its lease gets nothing stored where it believes the end to be. Of what it has pipelined behind
/// that, a message may meet the sequence that it expects (a splice): then the new relay is in doubt too, and its next
/// announcement settles it.
pub async fn a_zombie_is_refused(rig: Rig) {
    let (mut old, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    send(&mut old, 1, 100).await;
    calm(&mut old).await;
    let mut new = rig.sender(2).await;
    send(&mut new, 2, 100).await;
    calm(&mut new).await;
    let before = rig.info().await.state.last_sequence;
    send_into_doubt(&mut old, 10).await;
    assert_eq!(rig.info().await.state.last_sequence, before);
    for wanted in [announced(1), entry_incoming(1, 100), announced(2), entry_incoming(2, 100)] {
        expect(&mut receiver, wanted).await;
    }
    expect_nothing(&mut receiver).await;
    let mut newer = rig.sender(3).await;
    let mut refused = false;
    for position in 10..40 {
        refused |= new.send(Position(position), entry(position, 300_000)).await.is_err();
    }
    assert!(refused || doubt(&mut new).await.is_retry());
    let mut spliced = newer.send(Position(3), entry(3, 100)).await.is_err();
    for _ in 0..30 {
        spliced |= newer.settle().await.is_err();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if spliced {
        announce(&mut newer, 4).await;
        send(&mut newer, 3, 100).await;
        calm(&mut newer).await;
    }
    expect(&mut receiver, announced(3)).await;
    let mut came = next(&mut receiver).await;
    while came != entry_incoming(3, 100) {
        came = next(&mut receiver).await;
    }
}

/// The first parts of one sending and the last of another, as a crash between them leaves it.
pub async fn parts_of_two_relays_never_mix(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for _ in 0..2 {
        send(&mut sender, 1, 1_000_000).await;
        calm(&mut sender).await;
        expect(&mut receiver, if rig.info().await.state.messages == 5 { announced(1) } else { announced(9) }).await;
        expect(&mut receiver, entry_incoming(1, 1_000_000)).await;
        announce(&mut sender, 9).await;
    }
    let context = rig.context().await;
    let stream = context.get_stream(STREAM).await.unwrap();
    let mut parts: Vec<Bytes> = Vec::new();
    for sequence in [2, 3, 4, 5, 7, 8, 9, 10] {
        parts.push(stream.get_raw_message(sequence).await.unwrap().payload);
    }
    let (first, second) = parts.split_at(4);
    expect(&mut receiver, announced(9)).await;
    for part in [&first[0], &first[1], &second[2], &second[3], &first[2], &first[3], &first[0], &second[1]] {
        context.publish(SUBJECT, part.clone()).await.unwrap().await.unwrap();
    }
    for part in second {
        context.publish(SUBJECT, part.clone()).await.unwrap().await.unwrap();
    }
    expect(&mut receiver, entry_incoming(1, 1_000_000)).await;
    expect_nothing(&mut receiver).await;
}

pub async fn nothing_is_deduplicated(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for epoch in 2..=4 {
        send(&mut sender, 1, 100).await;
        calm(&mut sender).await;
        sender.confirmed(Epoch(epoch), Position(1)).await.unwrap();
        sender.announce(Epoch(4), announcement(4)).await.unwrap();
        sender.announce(Epoch(4), announcement(4)).await.unwrap();
    }
    let mut entries = 0;
    while let Some(incoming) = receiver.next(SHORT).await.unwrap() {
        entries += usize::from(incoming == entry_incoming(1, 100));
    }
    // The last three announcements' entries were purged by their confirmation; sequences tell that all were stored.
    assert!(entries <= 1);
    assert_eq!(rig.info().await.state.last_sequence, 1 + 3 * 3);
}

pub async fn the_payload_limit_is_obeyed(rig: Rig) {
    let rig = rig.with_server(NatsOptions { max_payload: Some(16 * 1024), ..NatsOptions::default() });
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    send(&mut sender, 1, 5 << 20).await;
    expect(&mut receiver, announced(1)).await;
    expect(&mut receiver, entry_incoming(1, 5 << 20)).await;
    receiver.report(entry(1, 100_000)).await.unwrap();
    assert!(sender.report(LONG).await.unwrap() == Some(entry(1, 100_000)));
}

/// The server forgets an idle request after four seconds, and a consumer that nobody asks after thirty.
pub async fn an_idle_receiver_wakes(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    expect(&mut receiver, announced(1)).await;
    for _ in 0..9 {
        assert_eq!(receiver.next(Duration::from_secs(1)).await.unwrap(), None);
    }
    let begun = Instant::now();
    send(&mut sender, 1, 100).await;
    expect(&mut receiver, entry_incoming(1, 100)).await;
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    let stream = rig.context().await.get_stream(STREAM).await.unwrap();
    let consumers: Vec<_> = stream.consumers().collect().await;
    assert_eq!(consumers.len(), 1);
    for consumer in consumers {
        let consumer = consumer.unwrap();
        assert_eq!((consumer.config.durable_name, consumer.config.ack_policy), (None, AckPolicy::None));
        assert_eq!(consumer.config.inactive_threshold, Duration::from_secs(30));
        stream.delete_consumer(&consumer.name).await.unwrap();
    }
    send(&mut sender, 2, 100).await;
    expect(&mut receiver, entry_incoming(2, 100)).await;
    calm(&mut sender).await;
}

/// An emptied stream may come back with its sequences or without.
pub async fn a_broker_killed_when_all_was_purged_goes_on(mut rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for position in 1..=40 {
        send(&mut sender, position, 100_000).await;
    }
    expect(&mut receiver, announced(1)).await;
    for position in 1..=40 {
        expect(&mut receiver, entry_incoming(position, 100_000)).await;
    }
    calm(&mut sender).await;
    sender.confirmed(Epoch(1), Position(40)).await.unwrap();
    calm(&mut sender).await;
    assert_eq!(rig.info().await.state.messages, 0);
    rig.server().kill9();
    rig.server().restart();
    announce(&mut sender, 2).await;
    for position in 41..=60 {
        send(&mut sender, position, 100_000).await;
    }
    calm(&mut sender).await;
    expect(&mut receiver, announced(2)).await;
    for position in 41..=60 {
        expect(&mut receiver, entry_incoming(position, 100_000)).await;
    }
}
