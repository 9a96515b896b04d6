//! Who this process is: the name under which it holds leases, and the one that its sessions bear.
//!
//! A process that hangs with a statement half sent keeps its locks for as long as it hangs: a server's limit on idle
//! transactions counts only between statements. Who takes over from it must therefore find its sessions and end them.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

const PID: &str = " pid ";

/// `HOST pid PID #SALT`. Unique to this process: a lease is never taken over from a namesake.
pub fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let host = std::env::var("HOSTNAME").ok().or_else(|| {
            std::fs::read_to_string("/etc/hostname").ok().map(|h| h.trim().to_owned()).filter(|h| !h.is_empty())
        });
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        format!("{}{PID}{} #{nanos:x}", host.as_deref().unwrap_or("localhost"), std::process::id())
    })
}

/// What a server calls the sessions of a holder: `migrate pid PID #SALT`, of at most 63 bytes, which PostgreSQL keeps.
/// `None` for a name that is not of our making.
pub fn session_name(holder: &str) -> Option<String> {
    let (_, own) = holder.rsplit_once(PID)?;
    let (pid, salt) = own.split_once(" #")?;
    let ours = !pid.is_empty()
        && !salt.is_empty()
        && pid.bytes().all(|b| b.is_ascii_digit())
        && salt.bytes().all(|b| b.is_ascii_hexdigit());
    (ours && own.len() <= 40).then(|| format!("migrate{PID}{own}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_bears_its_holders_name() {
        assert_eq!(session_name("db pid 7.example pid 31 #a4f"), Some("migrate pid 31 #a4f".to_owned()));
        assert!(session_name(name()).is_some_and(|name| name.len() <= 63));
    }

    #[test]
    fn a_strangers_name_means_no_session() {
        for holder in ["", "test", "a pid ", "a pid 3", "a pid 3 #", "a pid x #1", "a pid 3 #%"] {
            assert_eq!(session_name(holder), None, "{holder}");
        }
    }
}
