//! What the network servers share: how one is reached, and packets that leave at once.
//!
//! sqlx 0.9.0 leaves Nagle's algorithm on (its issue 4335): the last packet of a longer statement then waits some 40 ms
//! for an acknowledgement. It offers no way to its socket, so the option is set on this process's own TCP sockets that
//! lead to the server's port, right after a connection is made.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection};

use crate::error::{Error, Result};

/// Sets TCP_NODELAY on every socket of ours that leads to this port. Another one that happens to lead there is not
/// harmed. What can't be set stays slow, not wrong.
#[cfg(unix)]
pub fn send_at_once(port: u16) {
    use std::os::fd::BorrowedFd;

    let Ok(open) = std::fs::read_dir("/dev/fd") else { return };
    let numbers: Vec<i32> = open.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in numbers.into_iter().filter(|fd| *fd >= 0) {
        // SAFETY: the number is not -1, and was open a moment ago. Should another thread close it meanwhile, the calls
        // below fail, or set this harmless option on a newer socket with the same peer port; nothing is read, written
        // or closed.
        #[allow(unsafe_code)]
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let socket = socket2::SockRef::from(&borrowed);
        let peer = socket.peer_addr().ok().and_then(|a| a.as_socket());
        if peer.is_some_and(|a| a.port() == port) {
            let _ = socket.set_tcp_nodelay(true);
        }
    }
}

#[cfg(not(unix))]
pub fn send_at_once(_port: u16) {}

/// Whether a server's host is this machine.
pub fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A pool waits silently while nobody answers; one plain attempt says at once what is wrong.
pub async fn probe<O>(options: &O, patience: Duration, of: fn(sqlx::Error) -> Error) -> Result<()>
where
    O: ConnectOptions,
    O::Connection: Sized,
{
    let attempt = async {
        let conn = options.connect().await?;
        conn.close().await
    };
    match tokio::time::timeout(patience, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(sqlx::Error::Io(e))) => Err(Error::retry(format!("the server does not answer: {e}"))
            .hint("check host and port in the url, and that the server runs")),
        Ok(Err(e)) => Err(of(e)),
        Err(_) => Err(Error::retry(format!("the server does not answer within {} s", patience.as_secs()))
            .hint("check host and port in the url, and the network between")),
    }
}
