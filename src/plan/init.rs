//! A whole plan from both catalogues, for `migrate init`: names matched across conventions, and a `decide:` comment
//! wherever a person has to. Pure. What it writes is read by [`super::load`] and holds no secret: URLs are variables.

mod names;

use std::fmt::Write as _;

use super::columns::by_affinity;
use super::derive;
use crate::mapping::{Misfit, wire_kind};
use crate::schema::{Column, EngineName, Kind, Table, TableName};

/// One store, as the plan shall name it.
#[derive(Debug, Clone)]
pub struct Store {
    pub engine: EngineName,
    /// Where nobody said: `None`.
    pub team: Option<String>,
    /// Stands for the team and in the migration's name where nobody said.
    pub database: String,
    /// The variable that brings the URL, and the one that may bring the owner's.
    pub url: String,
    pub admin_url: String,
    pub tables: Vec<Table>,
}

/// A plan's text, and how many decisions it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub text: String,
    pub decisions: usize,
}

/// Writes the plan.
pub fn draft(migration: Option<&str>, source: &Store, target: &Store) -> Draft {
    let mut out = Writer { text: String::new(), decisions: 0 };
    let name = match migration {
        Some(name) => name.to_owned(),
        None => slug(&format!("{}-to-{}", source.database, target.database)),
    };
    out.line(
        "# Written by `migrate init` from both catalogues, and yours from here on: where a comment says \"decide:\",",
    );
    out.line("# look before you run `migrate plan`, which changes nothing and names whatever is still wrong.");
    out.line("version: 1");
    out.line(&format!("migration: {}", value(&name)));
    side(&mut out, "source", source);
    side(&mut out, "target", target);
    out.line("# With a broker both sides may run apart: events: { url: \"${NATS_URL:-nats://127.0.0.1:4222}\" }");
    let from: Vec<&str> = source.tables.iter().map(|t| t.name.name.as_str()).collect();
    let to: Vec<&str> = target.tables.iter().map(|t| t.name.name.as_str()).collect();
    let matched = names::matched(&from, &to);
    let pairs: Vec<(&Table, Option<&Table>)> =
        source.tables.iter().zip(&matched).map(|(t, to)| (t, to.and_then(|i| target.tables.get(i)))).collect();
    if pairs.iter().any(|(from, to)| to.is_none() && why_not(from).is_none()) {
        out.line("create_tables: true # what the target lacks is made from the source's definition");
    }
    out.line("tables:");
    for (from, to) in pairs {
        let mut pair = PairWriter { out: &mut out, source: source.engine, target: target.engine };
        pair.table(from, to);
    }
    Draft { text: out.text, decisions: out.decisions }
}

/// `[a-z0-9-]{1,48}`
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.truncate(48);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "migration".to_owned() } else { slug.to_owned() }
}

struct Writer {
    text: String,
    decisions: usize,
}

impl Writer {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    /// On a line of its own, so that no name can end the comment.
    fn decide(&mut self, indent: usize, what: &str) {
        self.decisions += 1;
        self.line(&format!("{:indent$}# decide: {}", "", tame(what)));
    }
}

fn side(out: &mut Writer, name: &str, store: &Store) {
    out.line(&format!("{name}:"));
    match &store.team {
        Some(team) => out.line(&format!("  team: {}", value(team))),
        None => {
            out.line("  # decide: who owns this store");
            out.line(&format!("  team: {}", value(&store.database)));
        }
    }
    out.line(&format!("  url: \"${{{}:?the URL of the {name}}}\" # {}", store.url, store.engine));
    out.line(&format!("  admin_url: \"${{{}:-}}\" # the tables' owner, where that is another login", store.admin_url));
}

/// Why a table can't be in a plan.
fn why_not(table: &Table) -> Option<String> {
    if let Some(obstacle) = table.obstacles.first() {
        return Some(obstacle.to_string());
    }
    key_of(table).is_none().then(|| "has no primary key and no unique index over columns that are NOT NULL".to_owned())
}

fn key_of(table: &Table) -> Option<&[String]> {
    let all =
        std::iter::once(&table.primary_key).chain(table.uniques.iter().filter(|u| !u.partial).map(|u| &u.columns));
    all.map(Vec::as_slice).find(|key| !key.is_empty() && table.is_key(key))
}

struct PairWriter<'a> {
    out: &'a mut Writer,
    source: EngineName,
    target: EngineName,
}

/// One column pair, or what stands in its way.
enum Fate<'a> {
    Mapped(&'a Column),
    /// Values would change, for this reason.
    Lossy(&'a Column, String),
    Skipped(String),
}

impl PairWriter<'_> {
    fn table(&mut self, from: &Table, to: Option<&Table>) {
        if let Some(why) = why_not(from) {
            self.out.decide(2, &format!("\"{}\" {why}; without it:", from.name));
            self.out.line(&format!("  # - from: {}", tame(&value(&written(self.source, &from.name)))));
            return;
        }
        self.out.line(&format!("  - from: {}", value(&written(self.source, &from.name))));
        let Some(to) = to else { return self.made(from) };
        self.out.line(&format!("    to: {}", value(&written(self.target, &to.name))));
        if let Some(obstacle) = to.obstacles.first() {
            self.out.decide(4, &format!("the target's table {obstacle}"));
        }
        self.key(from);
        let fates = self.fates(from, to);
        let wanting = wanting(to, &fates);
        let mapped = from.columns.iter().zip(&fates).filter(|(_, f)| !matches!(f, Fate::Skipped(_)));
        let same = mapped.clone().all(|(c, f)| matches!(f, Fate::Mapped(t) if t.name == c.name));
        if !same || !wanting.is_empty() {
            self.out.line("    columns:");
        }
        for (column, fate) in mapped.filter(|_| !same || !wanting.is_empty()) {
            let (Fate::Mapped(target) | Fate::Lossy(target, _)) = fate else { continue };
            if let Fate::Lossy(_, why) = fate {
                self.out.decide(6, &format!("{why}; if that may be: {{ from: …, accept: lossy }}"));
            }
            self.out.line(&format!("      {}: {}", key(&target.name), value(&column.name)));
        }
        for column in wanting {
            self.out.decide(6, &format!("\"{}\" must have a value ({}):", column.name, column.type_name));
            let constant = format!("{}: {{ const: {} }}", key(&column.name), example(&column.kind));
            self.out.line(&format!("      # {}", tame(&constant)));
        }
        let skipped = from.columns.iter().zip(&fates).filter_map(|(c, f)| match f {
            Fate::Skipped(why) => Some((c, why.as_str())),
            _ => None,
        });
        self.skip(skipped.collect());
    }

    /// The target's table is to be made.
    fn made(&mut self, from: &Table) {
        self.key(from);
        let held = |c: &&Column| self.source != self.target && derive::type_name(self.target, &c.kind).is_none();
        let skipped: Vec<_> =
            from.columns.iter().filter(held).map(|c| (c, "nothing at the target holds its type")).collect();
        self.skip(skipped);
    }

    fn key(&mut self, from: &Table) {
        let Some(found) = key_of(from) else { return };
        if found != from.primary_key.as_slice() {
            let list: Vec<_> = found.iter().map(|c| value(c)).collect();
            self.out.line(&format!("    key: [{}]", list.join(", ")));
        }
    }

    fn skip(&mut self, skipped: Vec<(&Column, &str)>) {
        if skipped.is_empty() {
            return;
        }
        self.out.line("    skip:");
        for (column, why) in skipped {
            self.out.decide(6, &format!("\"{}\" ({}) stays behind: {why}", column.name, column.type_name));
            self.out.line(&format!("      - {}", value(&column.name)));
        }
    }

    fn fates<'b>(&self, from: &Table, to: &'b Table) -> Vec<Fate<'b>> {
        let source: Vec<&str> = from.columns.iter().map(|c| c.name.as_str()).collect();
        let target: Vec<&str> = to.columns.iter().map(|c| c.name.as_str()).collect();
        let fate = |(column, matched): (&Column, Option<usize>)| match matched.and_then(|i| to.columns.get(i)) {
            None => Fate::Skipped("the target has no such column".to_owned()),
            Some(t) if t.generated => Fate::Skipped(format!("the target computes \"{}\" itself", t.name)),
            Some(t) => {
                let held = by_affinity(self.target, &column.kind, t);
                match wire_kind(self.source, &column.kind, self.target, &held) {
                    Ok(_) => Fate::Mapped(t),
                    Err(Misfit::Lossy(why)) => Fate::Lossy(t, why),
                    Err(Misfit::Unsupported) => {
                        Fate::Skipped(format!("it has no meaning in \"{}\" ({}) but by an sql", t.name, t.type_name))
                    }
                }
            }
        };
        from.columns.iter().zip(names::matched(&source, &target)).map(fate).collect()
    }
}

/// Columns of the target that must have a value, and get none.
fn wanting<'a>(to: &'a Table, fates: &[Fate]) -> Vec<&'a Column> {
    let is_given =
        |c: &Column| fates.iter().any(|f| matches!(f, Fate::Mapped(t) | Fate::Lossy(t, _) if t.name == c.name));
    let needs = |c: &&Column| !c.nullable && !c.has_default && !c.generated && !c.identity_always && !is_given(c);
    to.columns.iter().filter(needs).collect()
}

fn example(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "false",
        Kind::Int { .. } | Kind::Decimal { .. } | Kind::Float { .. } => "0",
        Kind::Date => "\"2025-01-31\"",
        Kind::Time => "\"12:30:00\"",
        Kind::Timestamp => "\"2025-01-31 12:30:00\"",
        Kind::TimestampTz => "\"2025-01-31 12:30:00Z\"",
        Kind::Bytes => "\"\\\\x00\"",
        Kind::Uuid => "\"00000000-0000-0000-0000-000000000000\"",
        _ => "\"…\"",
    }
}

/// As a plan names it: `public` goes without saying.
fn written(engine: EngineName, name: &TableName) -> String {
    match &name.schema {
        Some(schema) if engine == EngineName::Postgres && schema == "public" => name.name.clone(),
        _ => name.to_string(),
    }
}

/// A text as YAML takes it for a value: a `$` would begin a variable.
fn value(text: &str) -> String {
    key(&text.replace('$', "$$"))
}

/// A text as YAML takes it for a key: plain where it can't be anything else.
fn key(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if plain && !reserved.iter().any(|r| text.eq_ignore_ascii_case(r)) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_unsafe(c) => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// For a comment: no name ends its line.
fn tame(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts, table};
    use super::super::{load_text, resolve};
    use super::*;
    use EngineName::{Postgres, Sqlite};
    use proptest::prelude::*;

    fn store(engine: EngineName, tables: Vec<Table>) -> Store {
        let variable = if engine == Postgres { "SOURCE" } else { "LITE" };
        Store {
            engine,
            team: None,
            database: "Crm $db".into(),
            url: variable.into(),
            admin_url: "NOBODY".into(),
            tables,
        }
    }

    fn resolves(source: Store, target: Store) -> Draft {
        let draft = draft(None, &source, &target);
        let plan = load_text("x.yaml", &draft.text, &super::super::testing::env);
        let plan = plan.unwrap_or_else(|p| panic!("{}\n{}", draft.text, super::super::testing::show(&p)));
        let facts = facts((source.engine, source.tables), (target.engine, target.tables));
        if let Err(problems) = resolve(&plan, &facts) {
            panic!("{}\n{}", draft.text, super::super::testing::show(&problems));
        }
        draft
    }

    #[test]
    fn names_meet_across_conventions_and_what_is_open_is_said() {
        let lite = table(Sqlite, "InvoiceLine", "InvoiceLineId int!;UnitPrice decimal(10,2)!;Note text");
        let there = table(Postgres, "invoice_line", "invoice_line_id int!;unit_price decimal(10,2)!;extra text");
        let draft = resolves(store(Sqlite, vec![lite]), store(Postgres, vec![there]));
        for part in
            ["from: InvoiceLine\n", "to: invoice_line\n", "unit_price: UnitPrice\n", "- Note\n", "decide: \"Note\""]
        {
            assert!(draft.text.contains(part), "no {part:?} in\n{}", draft.text);
        }
        assert_eq!(draft.decisions, 1);
        assert!(!draft.text.contains("create_tables"), "{}", draft.text);
    }

    #[test]
    fn a_table_that_is_missing_is_made_and_a_value_that_is_missing_is_asked_for() {
        let (a, b) = (table(Postgres, "a", "id int!;x point"), table(Postgres, "b", "id int!"));
        let b_there = table(Sqlite, "b", "id int!;tenant text!");
        let draft = draft(None, &store(Postgres, vec![a, b]), &store(Sqlite, vec![b_there]));
        for part in ["create_tables: true", "# tenant: { const: \"…\" }", "- x\n", "migration: crm-db-to-crm-db\n"] {
            assert!(draft.text.contains(part), "no {part:?} in\n{}", draft.text);
        }
        assert_eq!(draft.decisions, 2);
    }

    #[test]
    fn what_a_plan_can_t_have_is_left_out() {
        let mut view = table(Postgres, "v", "id int!");
        view.obstacles.push("is a view".into());
        let draft = draft(None, &store(Postgres, vec![view]), &store(Sqlite, vec![]));
        assert!(draft.text.contains("# - from: v\n") && draft.text.contains("is a view"), "{}", draft.text);
    }

    proptest! {
        #[test]
        fn any_names_come_back_as_they_were(table_name in "\\PC{1,12}", columns in proptest::collection::hash_set("[^\u{0}]{1,8}", 1..4)) {
            prop_assume!(!table_name.contains('.'));
            let mut source = table(Sqlite, "t", "id int!");
            source.name.name = table_name;
            for name in columns.iter().filter(|c| *c != "id") {
                source.columns.push(Column { name: name.clone(), ..super::super::testing::column("c text") });
            }
            let mut target = source.clone();
            target.columns.push(super::super::testing::column("other text"));
            resolves(store(Sqlite, vec![source.clone()]), store(Sqlite, vec![target]));
            resolves(store(Sqlite, vec![source]), store(Sqlite, vec![]));
        }
    }
}
