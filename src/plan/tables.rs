//! The `tables` section of a plan.

use super::model::{At, ColumnPlan, ColumnSource, TablePlan};
use super::read::{Fields, Reader};
use super::tree::{Item, Node};

/// As many as fit a [`crate::entry::TableId`] with room to spare; sorting them by foreign keys is quadratic.
const MAX_TABLES: usize = 4096;

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
    let fields = reader.fields(node, "a table", &["from", "to", "key", "columns", "skip", "where"])?;
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
    let table = TablePlan { from: from?, to, key, columns, skip, filter };
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
            let (source, accept_lossy) = column(reader, node, &name.text)?;
            let target = At { value: name.text.clone(), span: name.span, shown: name.text.clone() };
            Some(ColumnPlan { target, source, accept_lossy })
        })
        .collect();
    Some(At { value: columns, span: node.span, shown: String::new() })
}

fn column(reader: &mut Reader, node: &Node, target: &str) -> Option<(At<ColumnSource>, bool)> {
    if !matches!(node.item, Item::Map(_)) {
        if matches!(node.type_name(), "a number" | "true or false") {
            let message = format!("the source of \"{target}\" must be a column's name, not {}", node.type_name());
            reader.wrong(node, message, format!("{target}: {{ const: {} }}", node.shown()));
            return None;
        }
        let name = reader.text(node, &format!("the source of \"{target}\""))?;
        return Some((name.map(ColumnSource::Column), false));
    }
    let what = format!("the source of \"{target}\"");
    let fields = reader.fields(node, &what, &["from", "sql", "const", "accept"])?;
    let accept = fields.get("accept").and_then(|n| reader.word(n, "accept", &["lossy"])).is_some();
    let given: Vec<_> = ["from", "sql", "const"].into_iter().filter(|k| fields.get(k).is_some()).collect();
    let [kind] = given[..] else {
        let message = format!("{what} must be one of \"from\", \"sql\" and \"const\"");
        reader.wrong(node, message, format!("{target}: {{ sql: \"lower(email)\" }}"));
        return None;
    };
    let source = match kind {
        "from" => reader.text(fields.get(kind)?, kind)?.map(ColumnSource::Column),
        "sql" => reader.text(fields.get(kind)?, kind)?.map(ColumnSource::Sql),
        _ => constant(reader, &fields, target)?,
    };
    Some((source, accept))
}

fn constant(reader: &mut Reader, fields: &Fields, target: &str) -> Option<At<ColumnSource>> {
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
