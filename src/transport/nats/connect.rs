//! How to reach the broker: addresses, credentials and TLS, as the `nats` command names them.
//!
//! Secrets stay wrapped until they are handed to the client, and an address is only ever shown without what stands
//! before its `@`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::rustls;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr};

use crate::error::{Error, Result};

const PING_INTERVAL: Duration = Duration::from_secs(10);
/// For one answer of the broker.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);
/// Commands that wait in the client for the socket; bytes are bounded by the sender itself.
const CLIENT_CAPACITY: usize = 256;
const SUBSCRIPTION_CAPACITY: usize = 4096;

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to connect, and how large the stream may get. What stands in the URL is used where the fields are empty.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// `nats://[user:password@]host[:port]` or `tls://…`; several are separated by commas.
    pub url: Secret,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    pub creds_file: Option<PathBuf>,
    pub nkey_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub require_tls: bool,
    /// What the stream may hold on disk (`events.max_bytes`).
    pub max_bytes: Option<u64>,
    /// 0 counts as 1.
    pub replicas: usize,
}

/// One address of the list, taken apart.
struct Address {
    server: ServerAddr,
    user: Option<Secret>,
    password: Option<Secret>,
}

impl NatsOptions {
    /// The addresses without user, password or token.
    pub fn address(&self) -> String {
        let bare = |url: &str| {
            let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        };
        self.url.reveal().split(',').map(|url| bare(url.trim())).collect::<Vec<_>>().join(",")
    }

    fn addresses(&self) -> Result<Vec<Address>> {
        self.url.reveal().split(',').map(|url| address(url.trim(), &self.address())).collect()
    }
}

/// The client ignores what stands before `@`, so it is taken out and given as options.
fn address(url: &str, shown: &str) -> Result<Address> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
    // The parser's own message could quote the secret.
    let server: ServerAddr = format!("{scheme}://{host}").parse().map_err(|_| {
        Error::plan(format!("{shown:?} is not the address of a NATS server"))
            .hint("write `events.url` as nats://host:4222 or tls://host:4222")
    })?;
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (Some(decode(user)), (!password.is_empty()).then(|| decode(password))),
        None => (None, None),
    };
    Ok(Address { server, user, password })
}

/// Undoes `%40` and the like.
fn decode(text: &str) -> Secret {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => (out.push(byte), at += 3),
            None => (out.push(bytes[at]), at += 1),
        };
    }
    Secret(String::from_utf8_lossy(&out).into_owned())
}

/// Connects once; after that the client reconnects by itself for ever.
pub async fn connect(options: &NatsOptions, timeout: Duration) -> Result<Client> {
    let addresses = options.addresses()?;
    let mut connect = authenticate(ConnectOptions::new(), options, &addresses).await?;
    connect = encrypt(connect, options)?
        .name("migrate")
        .connection_timeout(timeout)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .client_capacity(CLIENT_CAPACITY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(|attempts| {
            let exponent = attempts.min(10) as u32;
            RECONNECT_DELAY_MAX.min(Duration::from_millis(10) * 2u32.pow(exponent))
        });
    let servers: Vec<ServerAddr> = addresses.into_iter().map(|address| address.server).collect();
    connect.connect(servers).await.map_err(|error| explain(&error, options))
}

async fn authenticate(connect: ConnectOptions, options: &NatsOptions, urls: &[Address]) -> Result<ConnectOptions> {
    let in_url = urls.iter().find(|address| address.user.is_some());
    let url_user = in_url.and_then(|address| address.user.clone());
    let url_password = in_url.and_then(|address| address.password.clone());
    if let Some(file) = &options.creds_file {
        return connect
            .credentials_file(file)
            .await
            .map_err(|_| unreadable("events.creds", file, "a credentials file"));
    }
    if let Some(file) = &options.nkey_file {
        let text = tokio::fs::read_to_string(file).await.map_err(|_| unreadable("events.nkey", file, "a file"))?;
        let seed = text.lines().map(str::trim).find(|line| line.starts_with('S'));
        let seed = seed.ok_or_else(|| unreadable("events.nkey", file, "an nkey seed"))?;
        return Ok(connect.nkey(seed.to_owned()));
    }
    if let Some(token) = &options.token {
        return Ok(connect.token(token.reveal().to_owned()));
    }
    let user = options.user.clone().or(url_user.as_ref().map(|user| user.reveal().to_owned()));
    match (user, options.password.clone().or(url_password)) {
        (Some(user), Some(password)) => Ok(connect.user_and_password(user, password.0)),
        // As the `nats` command does it: a lone user in the URL is a token.
        (Some(token), None) if options.user.is_none() => Ok(connect.token(token)),
        (Some(user), None) => Ok(connect.user_and_password(user, String::new())),
        (None, _) => Ok(connect),
    }
}

fn encrypt(mut connect: ConnectOptions, options: &NatsOptions) -> Result<ConnectOptions> {
    for (key, file) in
        [("events.ca", &options.ca_file), ("events.cert", &options.cert_file), ("events.key", &options.key_file)]
    {
        if let Some(file) = file.as_deref().filter(|file| !file.is_file()) {
            return Err(unreadable(key, file, "a file"));
        }
    }
    if let Some(ca) = &options.ca_file {
        connect = connect.add_root_certificates(ca.clone());
    }
    connect = match (&options.cert_file, &options.key_file) {
        (Some(cert), Some(key)) => connect.add_client_certificate(cert.clone(), key.clone()),
        (None, None) => connect,
        _ => {
            return Err(Error::plan("a client certificate needs both its certificate and its key")
                .hint("give both `events.cert` and `events.key`, or neither"));
        }
    };
    let wants_tls = options.require_tls || options.ca_file.is_some() || options.cert_file.is_some();
    Ok(connect.require_tls(wants_tls))
}

fn unreadable(key: &str, file: &Path, what: &str) -> Error {
    Error::plan(format!("`{key}` names {}, which is not {what} that can be read", file.display()))
        .hint(format!("correct `{key}` or the file's permissions"))
}

fn explain(error: &ConnectError, options: &NatsOptions) -> Error {
    let address = options.address();
    let cause = std::error::Error::source(error);
    let text = cause.map_or_else(|| error.kind().to_string(), root_cause);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => Error::plan(format!("{address} refuses our credentials"))
            .hint("check user and password, token, creds or nkey of `events`"),
        ConnectErrorKind::Authentication => {
            Error::plan(format!("cannot sign in at {address} with the nkey or creds that were given"))
                .hint("check `events.nkey` or `events.creds`")
        }
        ConnectErrorKind::Tls => encryption(&address, &text),
        ConnectErrorKind::Io if cause.is_some_and(is_tls) => encryption(&address, &text),
        ConnectErrorKind::Dns => {
            Error::retry(format!("cannot resolve {address}: {text}")).hint("check the host name in `events.url`")
        }
        _ => Error::retry(format!("cannot reach {address}: {text}"))
            .hint("check that nats-server runs there and that `events.url` is its address"),
    }
}

fn encryption(address: &str, text: &str) -> Error {
    Error::plan(format!("no encrypted connection to {address}: {text}")).hint(
        "check that the server speaks TLS, `events.ca` for its certificate, \
         and `events.cert` and `events.key` if it asks for ours",
    )
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

fn root_cause(mut error: Cause<'_>) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn is_tls(error: Cause<'_>) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(|e| e.get_ref());
    inner.is_some_and(|e| e.is::<rustls::Error>()) || error.is::<rustls::Error>() || error.source().is_some_and(is_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_debug_show_no_secret() {
        let options = NatsOptions {
            url: "nats://ann:s3cr%40t@one:4222, tls://t0ken@two".into(),
            password: Some("hunter2".into()),
            ..NatsOptions::default()
        };
        assert_eq!(options.address(), "nats://one:4222,tls://two");
        let shown = format!("{options:?}");
        assert!(!["s3cr", "t0ken", "hunter2"].iter().any(|secret| shown.contains(secret)), "{shown}");
        let parsed = options.addresses().unwrap();
        assert_eq!(parsed[0].user.as_ref().map(Secret::reveal), Some("ann"));
        assert_eq!(parsed[0].password.as_ref().map(Secret::reveal), Some("s3cr@t"));
        assert_eq!(parsed[1].user.as_ref().map(Secret::reveal), Some("t0ken"));
    }

    #[test]
    fn a_wrong_address_is_quoted_without_its_secret() {
        let options = NatsOptions { url: "http://ann:s3cret@host".into(), ..NatsOptions::default() };
        let error = options.addresses().err().unwrap();
        assert_eq!(error.message(), "\"http://host\" is not the address of a NATS server");
    }
}
