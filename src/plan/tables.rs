//! The `tables` section of a plan.

use super::model::{At, ColumnPlan, ColumnSource, TablePlan};
use super::read::{Fields, Reader};
use super::tree::{Item, Name, Node};
use crate::value::Decimal;

/// As many as fit a [`crate::entry::TableId`] with room to spare; sorting them by foreign keys is quadratic.
const MAX_TABLES: usize = 4096;
const KEYS: [&str; 10] = ["from", "to", "key", "columns", "skip", "where", "owns", "reverse", "verify", "scope_by"];

pub(super) fn tables(reader: &mut Reader, node: &Node) -> Option<Vec<TablePlan>> {
    let nodes = reader.list(node, "tables", "tables: [{ from: customers }]")?;
    if nodes.is_empty() || nodes.len() > MAX_TABLES {
        let message = if nodes.is_empty() { "tables is empty" } else { "tables has more than 4096 entries" };
        reader.wrong(node, message, "tables: [{ from: customers }], one to 4096 of them");
        return None;
    }
    let tables: Vec<_> = nodes.iter().filter_map(|node| table(reader, node)).collect();
    let mut seen = std::collections::HashMap::new();
    for table in &tables {
        let (name, known) = (table.to_or_from(), has_constant(table));
        // What the constants are worth is known once both catalogues are.
        let (line, both) = *seen.entry((table.to.is_some(), name.value.clone())).or_insert((0, known));
        if line > 0 && !(both && known) {
            let message = format!("the target table \"{}\" stands twice, first in line {line}", name.shown);
            let hint = "each needs a target of its own, or a constant in the target's key that tells its rows apart";
            reader.problem(reader.text.problem(name.span, &name.shown, message).hint(hint));
        }
        seen.insert(
            (table.to.is_some(), name.value.clone()),
            (if line > 0 { line } else { name.span.line }, both && known),
        );
    }
    Some(tables)
}

fn has_constant(table: &TablePlan) -> bool {
    table.columns.iter().flat_map(|c| c.iter()).any(|c| matches!(c.source.value, ColumnSource::Const(_)))
}

fn table(reader: &mut Reader, node: &Node) -> Option<TablePlan> {
    let fields = reader.fields(node, "a table", &KEYS)?;
    let from = reader.required(&fields, "from", "customers").and_then(|n| reader.text(n, "from"));
    let to = fields.get("to").and_then(|n| reader.text(n, "to"));
    let key = fields.get("key").and_then(|n| {
        let names = reader.names(n, "key")?;
        if names.is_empty() {
            reader.wrong(n, "key is empty", "key: [id], or leave it out for the primary key");
        }
        Some(At { value: names, span: n.span, shown: String::new() })
    });
    let columns = fields.get("columns").and_then(|n| columns(reader, n));
    let skip = fields.get("skip").and_then(|n| reader.names(n, "skip")).unwrap_or_default();
    let filter = fields.get("where").and_then(|n| reader.text(n, "where"));
    let owned = fields.get("owns").and_then(|n| reader.text(n, "owns"));
    let reverse = fields.get("reverse").map(|n| reverse(reader, n)).unwrap_or_default();
    let tolerance = fields.get("verify").map(|n| tolerance(reader, n)).unwrap_or_default();
    let scope_by = fields.get("scope_by").and_then(|n| reader.text(n, "scope_by"));
    let table = TablePlan { from: from?, to, key, columns, skip, filter, owned, reverse, tolerance, scope_by };
    used_once(reader, &table);
    Some(table)
}

fn columns(reader: &mut Reader, node: &Node) -> Option<At<Vec<ColumnPlan>>> {
    let Item::Map(entries) = &node.item else {
        let message = format!("columns must be a map from target to source, not {}", node.type_name());
        reader.wrong(node, message, "columns: { contact_id: id }");
        return None;
    };
    if entries.is_empty() {
        reader.wrong(node, "columns is empty", "columns: { contact_id: id }, or leave it out for every column");
    }
    let columns = entries
        .iter()
        .filter_map(|(name, node)| {
            let target = At { value: name.text.clone(), span: name.span, shown: name.text.clone() };
            column(reader, node, target)
        })
        .collect();
    Some(At { value: columns, span: node.span, shown: String::new() })
}

fn column(reader: &mut Reader, node: &Node, name: At<String>) -> Option<ColumnPlan> {
    let target = name.value.as_str();
    if !matches!(node.item, Item::Map(_)) {
        if matches!(node.type_name(), "a number" | "true or false") {
            let message = format!("the source of \"{target}\" must be a column's name, not {}", node.type_name());
            reader.wrong(node, message, format!("{target}: {{ const: {} }}", node.shown()));
            return None;
        }
        let source = reader.text(node, &format!("the source of \"{target}\""))?.map(ColumnSource::Column);
        return Some(ColumnPlan { target: name, source, accept_lossy: false, reverse: None });
    }
    let what = format!("the source of \"{target}\"");
    let fields = reader.fields(node, &what, &["from", "cast", "sql", "const", "accept", "reverse"])?;
    let accept = fields.get("accept").and_then(|n| reader.word(n, "accept", &["lossy"])).is_some();
    let given: Vec<_> = ["from", "sql", "const"].into_iter().filter(|k| fields.get(k).is_some()).collect();
    let [kind] = given[..] else {
        let message = format!("{what} must be one of \"from\", \"sql\" and \"const\"");
        reader.wrong(node, message, format!("{target}: {{ sql: \"lower(email)\" }}"));
        return None;
    };
    let source = match kind {
        "from" => column_or_cast(reader, &fields)?,
        "sql" => reader.text(fields.get(kind)?, kind)?.map(ColumnSource::Sql),
        _ => constant(reader, &fields, target)?,
    };
    if let Some(cast) = fields.name("cast").filter(|_| kind != "from") {
        let problem = reader.text.problem(cast.span, "cast", format!("a cast is of a column, not of a \"{kind}\""));
        reader.problem(problem.hint(format!("{target}: {{ from: price, cast: \"numeric(10,2)\" }}")));
    }
    let reverse = fields.get("reverse").and_then(|n| reader.text(n, "reverse"));
    Some(ColumnPlan { target: name, source, accept_lossy: accept, reverse })
}

/// A column as it is, or converted.
fn column_or_cast(reader: &mut Reader, fields: &Fields) -> Option<At<ColumnSource>> {
    let from = reader.text(fields.get("from")?, "from")?;
    let Some(node) = fields.get("cast") else { return Some(from.map(ColumnSource::Column)) };
    let to = reader.text(node, "cast")?;
    let is_type = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '(' | ')' | ',');
    if !to.value.starts_with(|c: char| c.is_ascii_alphabetic()) || !to.value.chars().all(is_type) {
        let hint = "a type of the source's engine, such as \"numeric(10,2)\"; anything else is an expression (sql)";
        reader.wrong(node, format!("\"{}\" is no type", to.shown), hint);
        return None;
    }
    Some(from.map(|column| ColumnSource::Cast { column, to: to.value }))
}

fn entries<'n>(reader: &mut Reader, node: &'n Node, what: &str, example: &str) -> Vec<(At<String>, &'n Node)> {
    let Item::Map(entries) = &node.item else {
        reader.wrong(node, format!("{what} must be a map, not {}", node.type_name()), example);
        return Vec::new();
    };
    let at = |name: &Name| At { value: name.text.clone(), span: name.span, shown: name.text.clone() };
    entries.iter().map(|(name, node)| (at(name), node)).collect()
}

fn reverse(reader: &mut Reader, node: &Node) -> Vec<(At<String>, At<String>)> {
    let entries =
        entries(reader, node, "reverse", "reverse: { email: \"email\" }, a source column and how it comes back");
    entries.into_iter().filter_map(|(name, node)| Some((name, reader.text(node, "reverse")?))).collect()
}

fn tolerance(reader: &mut Reader, node: &Node) -> Vec<(At<String>, At<Decimal>)> {
    let Some(fields) = reader.fields(node, "verify", &["tolerance"]) else { return Vec::new() };
    let Some(node) = fields.get("tolerance") else { return Vec::new() };
    let example = "tolerance: { price: \"0.001\" }";
    let mut found = Vec::new();
    for (name, node) in entries(reader, node, "tolerance", example) {
        let Some((text, _)) = reader.expanded(node, "a tolerance") else { continue };
        let is_plain = |c: char| c.is_ascii_digit() || c == '.';
        let number = Decimal::parse(&text).filter(|d| text.chars().all(is_plain) && d.canonical() != "0");
        match number {
            Some(number) => found.push((name, text.map(|_| number))),
            None => {
                let message = format!("a tolerance must be a number above 0, not \"{}\"", text.shown);
                reader.wrong(node, message, example);
            }
        }
    }
    found
}

fn constant(reader: &mut Reader, fields: &Fields, target: &str) -> Option<At<ColumnSource>> {
    if let Some(reverse) = fields.name("reverse") {
        let problem = reader.text.problem(reverse.span, "reverse", "a constant comes from no column to go back to");
        reader.problem(problem.hint("remove \"reverse\""));
    }
    if let Some(accept) = fields.name("accept") {
        let problem = reader.text.problem(accept.span, "accept", "a constant is never lossy");
        reader.problem(problem.hint("remove \"accept\""));
    }
    let node = fields.get("const")?;
    let (text, replaced) = reader.expanded(node, "const")?;
    let Item::Scalar { value, .. } = &node.item else { return None };
    if value.is_null() && !replaced {
        let message = format!("the constant of \"{target}\" can't be null: it bounds the rows that are ours");
        reader.wrong(node, message, format!("remove \"{target}\" to leave it null"));
        return None;
    }
    let value = if replaced { serde_yaml::Value::String(text.value.clone()) } else { value.clone() };
    Some(text.map(|_| ColumnSource::Const(value)))
}

/// A source column travels at most once under its own name, and not at all when it is skipped.
fn used_once(reader: &mut Reader, table: &TablePlan) {
    let mut seen = std::collections::HashMap::new();
    for column in table.columns.iter().flat_map(|c| c.iter()) {
        let ColumnSource::Column(name) = &column.source.value else { continue };
        let (span, shown) = (column.source.span, &column.source.shown);
        if let Some(line) = seen.insert(name.clone(), span.line) {
            let problem =
                reader.text.problem(span, shown, format!("\"{shown}\" is mapped twice, first in line {line}"));
            let sql = format!("{}: {{ sql: '{shown}' }} makes a copy of it", column.target.shown);
            reader.problem(problem.hint(sql));
        }
    }
    for skip in &table.skip {
        if let Some(line) = seen.get(&skip.value) {
            let message = format!("\"{}\" is skipped, but mapped in line {line}", skip.shown);
            let problem = reader.text.problem(skip.span, &skip.shown, message);
            reader.problem(problem.hint("remove one of the two"));
        }
    }
}
