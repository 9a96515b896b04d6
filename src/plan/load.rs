//! From a plan's text to a [`Plan`], or to all its problems at once, in order of line.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cutover;
use super::env::{ELSEWHERE, Template};
use super::model::{At, Backfill, Events, OnExisting, Plan, Side};
use super::problem::{Problem, Span, Text};
use super::read::{Fields, Reader};
use super::secret::{Secret, is_nats, userinfo};
use super::suggest::did_you_mean;
use super::tables;
use super::tree::{self, Node};
use crate::schema::EngineName;

/// Looks up an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

const MAX_BYTES: u64 = 1 << 20;
const KEYS: [&str; 16] = [
    "version",
    "migration",
    "source",
    "target",
    "events",
    "create_tables",
    "on_existing",
    "tables",
    "backfill",
    "backlog_limit",
    "lease",
    "cutover",
    "hooks",
    "guard_target",
    "on_error",
    "max_parked",
];
const EVENTS_KEYS: [&str; 12] =
    ["url", "user", "password", "token", "creds", "nkey", "ca", "cert", "key", "tls", "max_bytes", "replicas"];

/// Reads a plan file.
pub fn load(path: &Path, env: Lookup) -> Result<Plan, Vec<Problem>> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let hint = "give the path of a plan file; plans/first.yaml is one to start from";
        return Err(whole(&name, &format!("can't read the plan: {error}"), hint));
    }
    // One byte too many may cut a character in two: the size comes first.
    check_size(&name, bytes.len())?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => load_text(&name, text, env),
        Err(_) => Err(whole(&name, "the plan is not UTF-8 text", "save it as UTF-8")),
    }
}

/// A problem of the file as a whole.
fn whole(name: &str, message: &str, hint: &str) -> Vec<Problem> {
    vec![Text::new(name, "").problem(Span::default(), name, message).hint(hint)]
}

fn check_size(name: &str, bytes: usize) -> Result<(), Vec<Problem>> {
    match bytes as u64 > MAX_BYTES {
        true => Err(whole(name, "the plan is larger than 1 MiB", "split it into several migrations")),
        false => Ok(()),
    }
}

/// Reads a plan's text; `name` is the file's name in messages.
pub fn load_text(name: &str, source: &str, env: Lookup) -> Result<Plan, Vec<Problem>> {
    check_size(name, source.len())?;
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let text = Text::new(name, source);
    let (root, problems) = tree::parse(source, &text);
    let mut reader = Reader { text: &text, env, problems };
    let plan = match root {
        Some(root) => read_plan(&mut reader, &root),
        None => None,
    };
    let mut problems = reader.problems;
    match plan {
        Some(plan) if problems.is_empty() => Ok(Plan { text: Arc::new(text), ..plan }),
        _ => {
            if problems.is_empty() {
                problems.extend(whole(name, "the plan is empty", "start from plans/first.yaml"));
            }
            problems.sort_by_key(|p| p.span);
            Err(problems)
        }
    }
}

/// Reads every section, whatever is wrong with the others.
fn read_plan(reader: &mut Reader, root: &Node) -> Option<Plan> {
    let fields = reader.fields(root, "the plan", &KEYS)?;
    let version = reader.required(&fields, "version", "1").and_then(|node| version(reader, node));
    let migration = reader.required(&fields, "migration", "crm-to-marketing").and_then(|n| migration(reader, n));
    let example = "{ team: …, url: \"${…}\" }";
    let source = reader.required(&fields, "source", example).and_then(|n| side(reader, n, "source"));
    let target = reader.required(&fields, "target", example).and_then(|n| side(reader, n, "target"));
    let events = fields.get("events").map(|node| events(reader, node));
    let create_tables = fields.get("create_tables").and_then(|n| reader.flag(n, "create_tables"));
    let on_existing = fields.get("on_existing").and_then(|n| reader.word(n, "on_existing", &["refuse", "replace"]));
    let tables = reader.required(&fields, "tables", "[{ from: … }]").and_then(|n| tables::tables(reader, n));
    let backfill = fields.get("backfill").map(|node| backfill(reader, node));
    let backlog_limit = fields.get("backlog_limit").and_then(|n| reader.count(n, "backlog_limit", 1..=i64::MAX as u64));
    let lease = fields.get("lease").and_then(|node| lease(reader, node));
    let cutover = fields.get("cutover").and_then(|node| cutover::cutover(reader, node));
    let hooks = fields.get("hooks").and_then(|node| cutover::hooks(reader, node));
    let guard_target = fields.get("guard_target").and_then(|n| reader.flag(n, "guard_target"));
    let stops = fields.get("on_error").and_then(|n| reader.word(n, "on_error", &["park", "stop"])) == Some("stop");
    let max_parked = fields.get("max_parked").and_then(|n| reader.count(n, "max_parked", 1..=100_000));
    if let (true, Some(node)) = (stops, fields.get("max_parked")) {
        reader.wrong(node, "\"on_error: stop\" parks no row", "leave one of the two out");
    }
    Some(Plan {
        version: version?,
        migration: migration?,
        source: source?,
        target: target?,
        events: events.flatten(),
        create_tables: create_tables.unwrap_or(false),
        on_existing: if on_existing == Some("replace") { OnExisting::Replace } else { OnExisting::Refuse },
        tables: tables?,
        backfill: backfill.flatten().unwrap_or(Backfill { chunk_rows: 20_000, chunk_bytes: 8 << 20 }),
        backlog_limit: backlog_limit.unwrap_or(10_000_000),
        max_parked: if stops { 0 } else { max_parked.unwrap_or(1_000) },
        lease_ttl_ms: lease.unwrap_or(10_000),
        cutover: cutover.unwrap_or_default(),
        hooks: hooks.unwrap_or_default(),
        guard_target: guard_target.unwrap_or(true),
        text: Arc::default(),
    })
}

fn version(reader: &mut Reader, node: &Node) -> Option<u64> {
    let version = reader.count(node, "version", 1..=u64::MAX)?;
    if version != 1 {
        reader.wrong(node, format!("version {version} is not known to this program"), "version: 1");
        return None;
    }
    Some(version)
}

fn migration(reader: &mut Reader, node: &Node) -> Option<String> {
    let name = reader.text(node, "migration")?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() > 48 || !name.chars().all(fits) {
        let hint = "1 to 48 of a-z, 0-9 and -, such as crm-to-marketing";
        reader.wrong(node, format!("\"{}\" can't name a migration", name.shown), hint);
        return None;
    }
    Some(name.value)
}

fn side(reader: &mut Reader, node: &Node, what: &str) -> Option<Side> {
    let fields = reader.fields(node, what, &["team", "url", "admin_url"])?;
    let team = reader.required(&fields, "team", "crm").and_then(|n| reader.text(n, "team"));
    let variable = format!("\"${{{}_DATABASE_URL}}\"", what.to_uppercase());
    let url = reader.required(&fields, "url", &variable).and_then(|n| {
        no_literal_secret(reader, n)?;
        let url = reader.text(n, "url")?;
        store_url(reader, n, url)
    });
    let admin = fields.get("admin_url").and_then(|n| {
        no_literal_secret(reader, n)?;
        let url = reader.maybe_empty(n, "admin_url")?;
        // An empty one (`${ADMIN_URL:-}`) is none.
        if url.is_empty() { None } else { Some((n, store_url(reader, n, url)?)) }
    });
    let (engine, url) = url?;
    if let Some((node, _)) = admin.as_ref().filter(|(_, (other, _))| *other != engine) {
        reader.wrong(
            node,
            format!("admin_url is of another engine than url, which is {engine}"),
            "name the same store",
        );
    }
    Some(Side { team: team?.value, engine, url, admin_url: admin.map(|(_, (_, url))| url) })
}

fn store_url(reader: &mut Reader, node: &Node, url: At<String>) -> Option<(EngineName, Secret)> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let engine = match scheme {
        "postgres" | "postgresql" => EngineName::Postgres,
        "mysql" | "mariadb" => EngineName::MySql,
        "sqlite" => EngineName::Sqlite,
        _ => {
            let shown = Template::parse(&url.shown).is_ok_and(|t| t.is_plain()).then_some(scheme);
            let hint = shown.and_then(|s| did_you_mean(s, ["postgres", "sqlite"]));
            let message = format!("\"{}\" is no URL of a store", url.shown);
            reader.wrong(
                node,
                message,
                hint.unwrap_or_else(|| "postgres://user@host/db, mysql://user@host/db or sqlite:///path".to_owned()),
            );
            return None;
        }
    };
    Some((engine, Secret::new(url.value)))
}

/// A password belongs into the environment: the plan is checked in and shown.
fn no_literal_secret(reader: &mut Reader, node: &Node) -> Option<()> {
    // What is no template has its own problem.
    let Ok(template) = Template::parse(node.shown()) else { return Some(()) };
    let literal = template.literal();
    let is_secret = |text: &str| text.chars().any(|c| c != ELSEWHERE);
    let in_url = literal.match_indices("://").any(|(at, _)| {
        let rest = &literal[at + 3..];
        match userinfo(rest) {
            Some((_, Some(password), _)) => is_secret(password),
            Some((token, None, _)) => is_nats(&literal[..at]) && is_secret(token),
            None => false,
        }
    });
    let query = literal.split_once('?').map_or("", |(_, query)| query);
    let in_query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .any(|(name, value)| name.to_ascii_lowercase().contains("password") && is_secret(value));
    if in_url || in_query {
        reader.wrong(node, "a password stands in the plan", "put the URL into the environment: \"${DATABASE_URL}\"");
        return None;
    }
    Some(())
}

fn events(reader: &mut Reader, node: &Node) -> Option<Events> {
    let fields = reader.fields(node, "events", &EVENTS_KEYS)?;
    let text = |reader: &mut Reader, key: &str| fields.get(key).and_then(|n| reader.text(n, key));
    let (user, creds, nkey) = (text(reader, "user"), text(reader, "creds"), text(reader, "nkey"));
    let (ca, cert, key) = (text(reader, "ca"), text(reader, "cert"), text(reader, "key"));
    let password = secret_field(reader, &fields, "password", "NATS_PASSWORD");
    let token = secret_field(reader, &fields, "token", "NATS_TOKEN");
    let url = events_url(reader, &fields);
    let tls = fields.get("tls").and_then(|n| reader.flag(n, "tls"));
    let max_bytes = fields.get("max_bytes").and_then(|n| reader.size(n, "max_bytes", 1 << 20..=1 << 50));
    let replicas = fields.get("replicas").and_then(|n| reader.count(n, "replicas", 1..=5));

    let env = |name: &str| (reader.env)(name).filter(|v| !v.is_empty());
    let path = |given: Option<At<String>>, name: &str| given.map(|p| p.value).or_else(|| env(name)).map(PathBuf::from);
    // One login: whoever names one in the plan does not get another from the environment.
    let named = ["user", "token", "creds", "nkey"].iter().any(|k| fields.get(k).is_some());
    let login = |name: &str| if named { None } else { env(name) };
    let mut user = user.map(|u| u.value).or_else(|| login("NATS_USER"));
    let password = password.or_else(|| user.is_some().then(|| env("NATS_PASSWORD").map(Secret::new)).flatten());
    let mut token = token.or_else(|| login("NATS_TOKEN").map(Secret::new));
    if password.is_none() && token.is_none() && !named {
        // As with the `nats` CLI: a user without a password is a token.
        token = user.take().map(Secret::new);
    }
    let creds = creds.map(|p| p.value).or_else(|| login("NATS_CREDS")).map(PathBuf::from);
    let nkey = nkey.map(|p| p.value).or_else(|| login("NATS_NKEY")).map(PathBuf::from);
    let (ca, cert, key) = (path(ca, "NATS_CA"), path(cert, "NATS_CERT"), path(key, "NATS_KEY"));
    if cert.is_some() != key.is_some() {
        let message = "a client certificate needs both \"cert\" and \"key\"";
        reader.problem(reader.text.problem(fields.span(), "", message).hint("name both files, or neither"));
    }
    Some(Events {
        url: url?,
        user,
        password,
        token,
        creds,
        nkey,
        ca,
        cert,
        key,
        tls: tls.unwrap_or(false),
        max_bytes,
        replicas: replicas.unwrap_or(1) as u8,
    })
}

fn events_url(reader: &mut Reader, fields: &Fields) -> Option<Secret> {
    let Some(node) = fields.get("url") else {
        let url = (reader.env)("NATS_URL").filter(|url| !url.is_empty());
        if url.is_none() {
            reader.required(fields, "url", "\"${NATS_URL:-nats://127.0.0.1:4222}\", or export NATS_URL");
        }
        return url.map(Secret::new);
    };
    no_literal_secret(reader, node)?;
    let url = reader.text(node, "url")?;
    let known = |server: &str| match server.trim().split_once("://") {
        Some((scheme, host)) => !host.is_empty() && ["nats", "tls", "ws", "wss"].contains(&scheme),
        None => false,
    };
    if !url.split(',').any(known) {
        reader.wrong(
            node,
            format!("\"{}\" is no URL of a NATS server", url.shown),
            "nats://host:4222 or tls://host:4222",
        );
        return None;
    }
    Some(Secret::new(url.value))
}

fn secret_field(reader: &mut Reader, fields: &Fields, key: &str, variable: &str) -> Option<Secret> {
    let node = fields.get(key)?;
    // Nothing of a literal one may be shown, not even as the wrong type.
    if Template::parse(node.shown()).is_ok_and(|t| t.literal().chars().any(|c| c != ELSEWHERE)) {
        let problem = reader.text.problem(node.span, "", format!("a {key} stands in the plan"));
        reader.problem(problem.hint(format!("{key}: \"${{{variable}}}\"")));
        return None;
    }
    reader.text(node, key).map(|text| Secret::new(text.value))
}

fn backfill(reader: &mut Reader, node: &Node) -> Option<Backfill> {
    let fields = reader.fields(node, "backfill", &["chunk_rows", "chunk_bytes"])?;
    let rows = fields.get("chunk_rows").and_then(|n| reader.count(n, "chunk_rows", 1..=10_000_000));
    let bytes = fields.get("chunk_bytes").and_then(|n| reader.size(n, "chunk_bytes", 1 << 10..=1 << 30));
    Some(Backfill { chunk_rows: rows.unwrap_or(20_000), chunk_bytes: bytes.unwrap_or(8 << 20) })
}

fn lease(reader: &mut Reader, node: &Node) -> Option<u64> {
    let fields = reader.fields(node, "lease", &["ttl"])?;
    fields.get("ttl").and_then(|n| reader.millis(n, "ttl", 1000..=3_600_000))
}
