//! Hashes of what a plan means, over a rendering that does not change with the program or with mere tuning.

use super::model::{ColumnSource, OnExisting, Plan};
use crate::entry::Hash;
use crate::mapping::{Layout, Origin, TableMap};
use crate::schema::Kind;
use crate::value::Value;

/// Of the table pairs: what travels, in which form, to where. What a catalogue may say differently once a table has
/// been made (type spellings, defaults, order of keys) is not in it.
pub fn mapping_hash(layout: &Layout) -> Hash {
    let mut out = Render::new("migrate mapping 1");
    out.text(&layout.migration);
    let mut tables: Vec<_> = layout.tables.iter().collect();
    tables.sort_by_key(|t| t.id);
    out.count(tables.len());
    tables.into_iter().for_each(|table| render_table(&mut out, table));
    out.hash()
}

fn render_table(out: &mut Render, table: &TableMap) {
    out.count(usize::from(table.id.0));
    out.text(&table.source.to_string());
    out.text(&table.target.to_string());
    out.count(table.columns.len());
    for column in &table.columns {
        match &column.origin {
            Origin::Column(name) => out.pair("column", name),
            Origin::Sql(sql) => out.pair("sql", sql),
        }
        render_kind(out, &column.wire);
        out.text(&column.target.name);
    }
    out.count(table.key.len());
    table.key.iter().for_each(|&i| out.count(i));
    out.count(table.constants.len());
    for (column, value) in &table.constants {
        out.text(&column.name);
        let mut bytes = Vec::new();
        Value::canonical(value, &mut bytes);
        out.bytes(&bytes);
    }
    out.option(table.filter.as_deref());
    if let Some(owned) = &table.owned {
        out.pair("owns", owned);
    }
    if let Some(scope) = table.scope {
        out.text("scope");
        out.count(scope);
    }
    if let Some(ranged) = table.ranged {
        out.text("ranged");
        out.count(ranged);
    }
}

/// As far as it decides about a value's form: bounds only decide what is refused.
fn render_kind(out: &mut Render, kind: &Kind) {
    match kind {
        Kind::Decimal { scale, .. } => out.pair("decimal", &scale.map_or(String::new(), |s| s.to_string())),
        Kind::Float { bits } => out.pair("float", &bits.to_string()),
        Kind::Opaque(name) => out.pair("opaque", name),
        other => out.text(other.name()),
    }
}

/// Of what a plan asks for. URLs, sizes, limits and the transport may change while a migration runs, and are not in
/// it; nor is any secret.
pub fn plan_hash(plan: &Plan) -> Hash {
    let mut out = Render::new("migrate plan 1");
    out.text(&plan.migration);
    for side in [&plan.source, &plan.target] {
        out.text(&side.team);
        out.text(&side.engine.to_string());
    }
    out.text(if plan.create_tables { "create" } else { "" });
    out.text(if plan.on_existing == OnExisting::Replace { "replace" } else { "" });
    out.count(plan.tables.len());
    for table in &plan.tables {
        out.text(&table.from);
        out.option(table.to.as_ref().map(|to| to.as_str()));
        out.count(table.key.as_ref().map_or(0, |k| k.len()));
        table.key.iter().flat_map(|k| k.iter()).for_each(|name| out.text(name));
        out.count(table.columns.as_ref().map_or(0, |c| c.len()));
        for column in table.columns.iter().flat_map(|c| c.iter()) {
            out.text(&column.target);
            out.text(if column.accept_lossy { "lossy" } else { "" });
            match &column.source.value {
                ColumnSource::Column(name) => out.pair("column", name),
                ColumnSource::Cast { column, to } => {
                    out.pair("cast", column);
                    out.text(to);
                }
                ColumnSource::Sql(sql) => out.pair("sql", sql),
                ColumnSource::Const(value) => {
                    out.pair("const", super::consts::text_of(value, &column.source.shown));
                    out.text(if value.is_string() { "text" } else { "" });
                }
            }
        }
        out.count(table.skip.len());
        table.skip.iter().for_each(|name| out.text(name));
        out.option(table.filter.as_ref().map(|f| f.as_str()));
        if let Some(owned) = &table.owned {
            out.pair("owns", owned);
        }
        let own = table.columns.iter().flat_map(|c| c.iter());
        for (name, sql) in own.filter_map(|c| Some((&c.target, c.reverse.as_ref()?))) {
            out.text("reverse of");
            out.pair(name, sql);
        }
        for (name, sql) in &table.reverse {
            out.text("reverse");
            out.pair(name, sql);
        }
        for (name, tolerance) in &table.tolerance {
            out.text("tolerance");
            out.pair(name, tolerance.value.as_str());
        }
        if let Some(scope) = table.scope_by.as_ref().or(plan.cutover.scope_by.as_ref()) {
            out.pair("scope", scope);
        }
    }
    out.hash()
}

/// Bytes in which each part bears its length, so that no two renderings meet.
struct Render(Vec<u8>);

impl Render {
    fn new(what: &str) -> Self {
        let mut render = Self(Vec::new());
        render.text(what);
        render
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn pair(&mut self, what: &str, text: &str) {
        self.text(what);
        self.text(text);
    }

    fn option(&mut self, text: Option<&str>) {
        self.count(usize::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn hash(self) -> Hash {
        Hash(*blake3::hash(&self.0).as_bytes())
    }
}
