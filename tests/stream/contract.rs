//! What every carrier promises.

use std::time::Duration;

use bytes::Bytes;
use migrate::entry::{Epoch, Position};
use migrate::transport::Incoming;

use crate::rig::{
    LONG, Rig, SHORT, announced, announcement, calm, doubt, entry, entry_incoming, expect, expect_nothing, next, send,
};

pub async fn entries_arrive_in_order(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    for position in 1..=3000 {
        send(&mut sender, position, 100).await;
    }
    expect(&mut receiver, announced(1)).await;
    for position in 1..=3000 {
        expect(&mut receiver, entry_incoming(position, 100)).await;
    }
    calm(&mut sender).await;
    expect_nothing(&mut receiver).await;
}

pub async fn entries_of_any_size_arrive_whole(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    let part = 256 * 1024;
    let sizes = [5 << 20, 0, part - 1, part, part + 1, 17, 2 * part, (1 << 20) + 1, 5 << 20, 12 << 20, 1];
    expect(&mut receiver, announced(1)).await;
    for (position, bytes) in (1..).zip(sizes) {
        let message = if bytes == 0 { Bytes::new() } else { entry(position, bytes) };
        sender.send(Position(position), message.clone()).await.unwrap();
        expect(&mut receiver, Incoming::Entry(message)).await;
    }
    calm(&mut sender).await;
}

pub async fn an_announcement_fences_the_sender_before(rig: Rig) {
    let (mut old, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    send(&mut old, 1, 100).await;
    calm(&mut old).await;
    let mut new = rig.sender(2).await;
    let zombie = old.send(Position(2), entry(2, 100)).await;
    let error = match zombie {
        Err(error) => error,
        Ok(()) => doubt(&mut old).await,
    };
    assert!(error.is_retry(), "{error}");
    assert!(!old.has_room());
    assert!(old.send(Position(3), entry(3, 100)).await.unwrap_err().is_retry());
    assert!(old.settle().await.unwrap_err().is_retry());
    send(&mut new, 2, 200).await;
    calm(&mut new).await;
    for wanted in [announced(1), entry_incoming(1, 100), announced(2), entry_incoming(2, 200)] {
        expect(&mut receiver, wanted).await;
    }
    expect_nothing(&mut receiver).await;
}

pub async fn a_sender_must_announce(rig: Rig) {
    let mut sender = rig.transport.sender().await.unwrap();
    assert!(!sender.has_room());
    assert!(sender.send(Position(1), entry(1, 10)).await.unwrap_err().is_retry());
    assert!(sender.settle().await.unwrap_err().is_retry());
    sender.announce(Epoch(1), announcement(1)).await.unwrap();
    assert!(sender.has_room());
    sender.announce(Epoch(2), announcement(2)).await.unwrap();
    send(&mut sender, 1, 10).await;
    let mut receiver = rig.receiver().await;
    for wanted in [announced(1), announced(2), entry_incoming(1, 10)] {
        expect(&mut receiver, wanted).await;
    }
}

pub async fn reports_are_the_latest(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    assert_eq!(sender.report(Duration::ZERO).await.unwrap(), None);
    let (first, large, last) = (Bytes::from("first"), entry(7, 3 << 20), Bytes::from("last"));
    for report in [&first, &large, &last] {
        receiver.report(report.clone()).await.unwrap();
    }
    let begun = std::time::Instant::now();
    let mut heard = None;
    while heard != Some(last.clone()) {
        assert!(begun.elapsed() < LONG);
        if let Some(report) = sender.report(SHORT).await.unwrap() {
            assert!([&first, &large, &last].contains(&&report));
            heard = Some(report);
        }
    }
    receiver.report(large.clone()).await.unwrap();
    assert!(sender.report(LONG).await.unwrap() == Some(large));
    assert_eq!(sender.report(Duration::from_millis(20)).await.unwrap(), None);
}

pub async fn waiting_loses_nothing(rig: Rig) {
    let (mut sender, mut receiver) = (rig.sender(1).await, rig.receiver().await);
    let sending = async {
        for position in 1..=300 {
            send(&mut sender, position, if position % 20 == 0 { 700_000 } else { 50 }).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        calm(&mut sender).await;
    };
    let receiving = async {
        let (mut came, mut turns) = (Vec::new(), 0);
        while came.len() < 301 {
            turns += 1;
            let patience = Duration::from_micros(50 * (turns % 40));
            if let Ok(incoming) = tokio::time::timeout(patience, receiver.next(LONG)).await {
                came.push(incoming.unwrap().unwrap());
            }
        }
        came
    };
    let ((), came) = tokio::join!(sending, receiving);
    assert!(came[0] == announced(1));
    for (position, came) in (1..).zip(&came[1..]) {
        let bytes = if position % 20 == 0 { 700_000 } else { 50 };
        assert!(*came == entry_incoming(position, bytes), "{position}");
    }
}

pub async fn a_removed_link_begins_again(rig: Rig) {
    assert!(!rig.transport.remove().await.unwrap());
    let mut sender = rig.sender(1).await;
    send(&mut sender, 1, 100).await;
    calm(&mut sender).await;
    assert!(rig.transport.remove().await.unwrap());
    let sent = sender.send(Position(2), entry(2, 100)).await;
    assert!(sent.is_err() || doubt(&mut sender).await.is_retry());
    sender.announce(Epoch(2), announcement(2)).await.unwrap();
    let mut receiver = rig.receiver().await;
    assert!(next(&mut receiver).await == announced(2));
}
