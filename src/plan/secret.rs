//! Text that must not reach a log: URLs with passwords, tokens; and the masking of plan text that may hold one.

use std::fmt;
use std::ops::Range;

/// A text that neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the driver alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `scheme://user@host:port/db`, for messages: no password, no query. Servers of a list are shown one by one.
    pub fn redacted(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for url in self.0.split(',') {
            // A comma inside a password: whatever bears no scheme belongs to the URL before it.
            match parts.last_mut() {
                Some(last) if !url.contains("://") => {
                    last.push(',');
                    last.push_str(url);
                }
                _ => parts.push(url.to_owned()),
            }
        }
        parts.iter().map(|url| redact_url(url)).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

fn redact_url(url: &str) -> String {
    let without_query = |text: &str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
    let Some((scheme, rest)) = url.split_once("://") else {
        // `sqlite:path` names a file; anything else is not known to be harmless.
        return if url.starts_with("sqlite:") { without_query(url) } else { "<secret>".to_owned() };
    };
    match userinfo(rest) {
        None => format!("{scheme}://{}", without_query(rest)),
        Some((user, password, at)) => {
            let user = if password.is_none() && is_nats(scheme) { "<secret>" } else { user };
            format!("{scheme}://{user}@{}", without_query(&rest[at + 1..]))
        }
    }
}

/// User, password and the place of the `@` in what follows `://`. A password may hold any character, so the last
/// `@` counts: what is shown may then be too little, never too much.
pub(super) fn userinfo(rest: &str) -> Option<(&str, Option<&str>, usize)> {
    let at = rest.rfind('@')?;
    let (user, password) = match rest[..at].split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (&rest[..at], None),
    };
    (!user.contains(['/', '?', '#'])).then_some((user, password, at))
}

/// In these URLs a user without a password is a token.
pub(super) fn is_nats(scheme: &str) -> bool {
    ["nats", "tls", "ws", "wss"].iter().any(|s| scheme.ends_with(s))
}

const MASK: &str = "***";

/// Plan text for a message, with whatever may be a literal secret masked. `column` (from 0, in characters) moves
/// along with what is behind a mask.
pub(super) fn mask(text: &str, column: usize) -> (String, usize) {
    let mut ranges = url_secrets(text);
    ranges.extend(named_secrets(text));
    ranges.sort_by_key(|r| r.start);
    let at = text.char_indices().nth(column).map_or(text.len(), |(i, _)| i);
    let (mut out, mut done, mut moved) = (String::with_capacity(text.len()), 0, column);
    for range in ranges {
        if range.start < done {
            continue;
        }
        out.push_str(&text[done..range.start]);
        out.push_str(MASK);
        if range.end <= at {
            moved = (moved + MASK.len()).saturating_sub(text[range.clone()].chars().count());
        }
        done = range.end;
    }
    out.push_str(&text[done..]);
    (out, moved)
}

fn url_secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (colon, _) in text.match_indices("://") {
        let start = colon + 3;
        let rest = &text[start..];
        let rest = &rest[..rest.find([' ', '\t', '"', '\'']).unwrap_or(rest.len())];
        let Some(at) = rest.rfind('@') else { continue };
        let secret = match rest[..at].find(':') {
            Some(i) => start + i + 1..start + at,
            None if is_nats(&text[..colon]) => start..start + at,
            None => continue,
        };
        if !is_reference(&text[secret.clone()]) {
            found.push(secret);
        }
    }
    found
}

/// Values behind `password:`, `token:`, `password=` and the like.
fn named_secrets(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, name) in ["password", "token", "passwd", "pwd"].iter().flat_map(|n| lower.match_indices(n)) {
        let mut rest = text[at + name.len()..].trim_start_matches(['"', '\'']).trim_start();
        let Some(value) = rest.strip_prefix([':', '=']) else { continue };
        let quote = value.trim_start().starts_with(['"', '\'']);
        rest = value.trim_start().trim_start_matches(['"', '\'']);
        let start = text.len() - rest.len();
        // The brace that closes a reference is not the one that closes a map.
        let reference = if rest.starts_with("${") { rest.find('}').map_or(0, |i| i + 1) } else { 0 };
        let ends: &[char] = if quote { &['"', '\''] } else { &[',', '}', '&', '"'] };
        let end = rest[reference..].find(ends).map_or(rest.len(), |i| reference + i);
        let value = rest[..end].trim_end();
        if !value.is_empty() && !is_reference(value) {
            found.push(start..start + value.len());
        }
    }
    found
}

/// One `${VAR}` that brings no text of its own.
fn is_reference(text: &str) -> bool {
    text.starts_with("${") && text.ends_with('}') && !text.contains(":-") && text.matches('}').count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_expose_alone() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "<secret> <secret>");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_redacted_url_has_neither_password_nor_query() {
        for (url, shown) in [
            ("postgres://crm:pw@db:5432/crm?sslmode=require", "postgres://crm@db:5432/crm"),
            ("postgres://db/crm?password=pw", "postgres://db/crm"),
            ("postgres://u:p@ss/w:rd?x@db/crm", "postgres://u@db/crm"),
            ("sqlite:///tmp/a.db?mode=rw", "sqlite:///tmp/a.db"),
            ("sqlite:a.db", "sqlite:a.db"),
            ("nats://u:p,w@a:4222,nats://token@b", "nats://u@a:4222,nats://<secret>@b"),
            ("nonsense pw", "<secret>"),
        ] {
            assert_eq!(Secret::new(url).redacted(), shown, "{url}");
        }
    }

    #[test]
    fn literal_secrets_in_plan_text_are_masked() {
        for (text, shown) in [
            ("url: postgres://u:pw@h/db", "url: postgres://u:***@h/db"),
            ("url: postgres://u:${PW}@h/db", "url: postgres://u:${PW}@h/db"),
            ("url: \"${X:-postgres://u:pw@h/db}\"", "url: \"${X:-postgres://u:***@h/db}\""),
            ("url: nats://tok@h", "url: nats://***@h"),
            ("{ user: a, password: pw, x: 1 }", "{ user: a, password: ***, x: 1 }"),
            ("password: \"p, w\"", "password: \"***\""),
            ("token: ${TOKEN}", "token: ${TOKEN}"),
            ("url: postgres://h/db?password=pw&x=1", "url: postgres://h/db?password=***&x=1"),
            ("skip: [password_hash]", "skip: [password_hash]"),
        ] {
            assert_eq!(mask(text, 0).0, shown);
        }
    }

    #[test]
    fn a_column_behind_a_mask_moves_with_it() {
        let text = "a://u:secret@h foo";
        let (shown, column) = mask(text, text.find("foo").unwrap());
        assert_eq!(&shown[column..], "foo");
    }
}
