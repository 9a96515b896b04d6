//! What the stream tests stand on: a carrier with its own server, and a look at the stream past the product.

use std::time::Duration;

use async_nats::jetstream::{self, stream::Info};
use bytes::Bytes;
use migrate::entry::{Epoch, Position};
use migrate::transport::direct::Direct;
use migrate::transport::nats::{Nats, NatsOptions};
use migrate::transport::{Incoming, Receiver, Sender, Transport};

use crate::support;

pub const STREAM: &str = "MIGRATE_a-test_forward";
pub const SUBJECT: &str = "migrate.a-test.forward.log";
pub const SHORT: Duration = Duration::from_millis(300);
pub const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
pub enum Carrier {
    Direct,
    Nats(support::NatsVersion),
}

pub struct Rig {
    pub carrier: Carrier,
    server: Option<support::Nats>,
    pub transport: Box<dyn Transport>,
}

impl Rig {
    pub fn new(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Direct => Self { carrier, server: None, transport: Box::new(Direct::new("forward")) },
            Carrier::Nats(version) => Self::on(carrier, support::Nats::start(version), None),
        }
    }

    fn on(carrier: Carrier, server: support::Nats, max_bytes: Option<u64>) -> Self {
        let options = NatsOptions { url: server.url().into(), max_bytes, ..NatsOptions::default() };
        Self { carrier, server: Some(server), transport: Box::new(Nats::new(options, "a-test", "forward")) }
    }

    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self::on(self.carrier, self.server.unwrap(), Some(max_bytes))
    }

    pub fn version(&self) -> support::NatsVersion {
        match self.carrier {
            Carrier::Nats(version) => version,
            Carrier::Direct => panic!("the direct carrier has no server"),
        }
    }

    /// Another server of the same version, in place of ours.
    pub fn with_server(self, options: support::NatsOptions) -> Self {
        let server = support::Nats::start_with(self.version(), options);
        Self::on(self.carrier, server, None)
    }

    pub fn server(&mut self) -> &mut support::Nats {
        self.server.as_mut().unwrap()
    }

    pub async fn context(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.server.as_ref().unwrap().url()).await.unwrap())
    }

    pub async fn info(&self) -> Info {
        self.context().await.get_stream(STREAM).await.unwrap().cached_info().clone()
    }

    pub async fn sender(&self, epoch: u64) -> Box<dyn Sender> {
        let mut sender = self.transport.sender().await.unwrap();
        sender.announce(Epoch(epoch), announcement(epoch)).await.unwrap();
        sender
    }

    pub async fn receiver(&self) -> Box<dyn Receiver> {
        self.transport.receiver().await.unwrap()
    }
}

pub fn announcement(epoch: u64) -> Bytes {
    Bytes::from(format!("epoch {epoch}"))
}

/// Bytes that differ by position everywhere, and say it at their beginning.
pub fn entry(position: u64, bytes: usize) -> Bytes {
    let mut out = format!("entry {position} ").into_bytes();
    while out.len() < bytes {
        out.extend_from_slice(&(position * 1_000_003 + out.len() as u64).to_le_bytes());
    }
    out.truncate(bytes.max(16));
    out.resize(bytes.max(16), b'.');
    out.into()
}

pub fn entry_incoming(position: u64, bytes: usize) -> Incoming {
    Incoming::Entry(entry(position, bytes))
}

pub fn announced(epoch: u64) -> Incoming {
    Incoming::Announced(announcement(epoch))
}

/// Sends, and settles until all is acknowledged or refused for want of room.
pub async fn send(sender: &mut Box<dyn Sender>, position: u64, bytes: usize) {
    sender.send(Position(position), entry(position, bytes)).await.unwrap();
}

/// Settles for a while, and says whether an error came.
pub async fn doubt(sender: &mut Box<dyn Sender>) -> migrate::error::Error {
    let begun = std::time::Instant::now();
    loop {
        if let Err(error) = sender.settle().await {
            assert!(error.is_retry(), "{error}");
            return error;
        }
        assert!(begun.elapsed() < LONG, "no doubt came up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Settles until nothing comes any more; any doubt is a failure.
pub async fn calm(sender: &mut Box<dyn Sender>) {
    for _ in 0..30 {
        sender.settle().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn next(receiver: &mut Box<dyn Receiver>) -> Incoming {
    let begun = std::time::Instant::now();
    while begun.elapsed() < LONG {
        match receiver.next(SHORT).await {
            Ok(Some(incoming)) => return incoming,
            Ok(None) => {}
            Err(error) => assert!(error.is_retry(), "{error}"),
        }
    }
    panic!("nothing came");
}

pub async fn expect(receiver: &mut Box<dyn Receiver>, wanted: Incoming) {
    let came = next(receiver).await;
    assert!(came == wanted, "came {}, wanted {}", shown(&came), shown(&wanted));
}

pub async fn expect_nothing(receiver: &mut Box<dyn Receiver>) {
    if let Some(incoming) = receiver.next(SHORT).await.unwrap() {
        panic!("came {}", shown(&incoming));
    }
}

pub fn shown(incoming: &Incoming) -> String {
    let (kind, message) = match incoming {
        Incoming::Announced(message) => ("announced", message),
        Incoming::Entry(message) => ("entry", message),
    };
    format!("{kind} {:?} ({} bytes)", String::from_utf8_lossy(&message[..message.len().min(16)]), message.len())
}
