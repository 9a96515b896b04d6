//! Reading the tree strictly: every reader takes a node, gives a value or notes a problem, and goes on.

use super::env::{Template, Undefined};
use super::load::Lookup;
use super::model::At;
use super::problem::{Problem, Span, Text};
use super::suggest::did_you_mean;
use super::tree::{Item, Name, Node};

pub(super) struct Reader<'a> {
    pub text: &'a Text,
    pub env: Lookup<'a>,
    pub problems: Vec<Problem>,
}

/// A map whose keys are all known ones.
pub(super) struct Fields<'n> {
    what: String,
    span: Span,
    entries: &'n [(Name, Node)],
}

impl<'n> Fields<'n> {
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    pub fn name(&self, key: &str) -> Option<&'n Name> {
        self.entries.iter().find(|(name, _)| name.text == key).map(|(name, _)| name)
    }

    pub fn span(&self) -> Span {
        self.span
    }
}

const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

impl Reader<'_> {
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes that a node is not what it should be.
    pub fn wrong(&mut self, node: &Node, message: impl AsRef<str>, hint: impl Into<String>) {
        self.problems.push(self.text.problem(node.span, node.shown(), message).hint(hint));
    }

    pub fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let Item::Map(entries) = &node.item else {
            let keys = known.join(", ");
            self.wrong(node, format!("{what} must be a map, not {}", node.type_name()), format!("its keys: {keys}"));
            return None;
        };
        for (name, _) in entries.iter().filter(|(name, _)| !known.contains(&name.text.as_str())) {
            let hint = did_you_mean(&name.text, known.iter().copied())
                .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
            let message = format!("unknown key \"{}\"", name.text);
            self.problems.push(self.text.problem(name.span, &name.text, message).hint(hint));
        }
        Some(Fields { what: what.to_owned(), span: node.span, entries })
    }

    pub fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, example: &str) -> Option<&'n Node> {
        let node = fields.get(key);
        if node.is_none() {
            let message = format!("{} has no \"{key}\"", fields.what);
            self.problems.push(self.text.problem(fields.span, "", message).hint(format!("add {key}: {example}")));
        }
        node
    }

    /// A scalar's text with its variables replaced; the flag tells whether there were any.
    pub fn expanded(&mut self, node: &Node, what: &str) -> Option<(At<String>, bool)> {
        let Item::Scalar { raw, .. } = &node.item else {
            self.wrong(node, format!("{what} must be one value, not {}", node.type_name()), format!("{what}: …"));
            return None;
        };
        let template = match Template::parse(raw) {
            Ok(template) => template,
            Err(why) => {
                self.wrong(node, why, "write ${NAME}, ${NAME:-default} or ${NAME:?message}; $$ is a plain $");
                return None;
            }
        };
        match template.expand(self.env) {
            Ok(value) => Some((At { value, span: node.span, shown: raw.clone() }, !template.is_plain())),
            Err(Undefined { name, message }) => {
                let why = message.filter(|m| !m.is_empty()).map_or(String::new(), |m| format!(": {m}"));
                let hint = format!("export {name}=…, or give a default: ${{{name}:-…}}");
                self.wrong(node, format!("the variable \"{name}\" is not set{why}"), hint);
                None
            }
        }
    }

    /// Text that is there: not empty, not a number, not nothing.
    pub fn text(&mut self, node: &Node, what: &str) -> Option<At<String>> {
        let text = self.maybe_empty(node, what)?;
        if text.is_empty() {
            self.wrong(node, format!("{what} is empty"), "give it a value, or leave the key out");
            return None;
        }
        Some(text)
    }

    pub fn maybe_empty(&mut self, node: &Node, what: &str) -> Option<At<String>> {
        let (text, replaced) = self.expanded(node, what)?;
        if !replaced && node.type_name() != "text" {
            let hint = match node.type_name() {
                "nothing" => "give it a value, or leave the key out".to_owned(),
                _ => format!("quote it: \"{}\"", text.shown),
            };
            self.wrong(node, format!("{what} must be text, not {}", node.type_name()), hint);
            return None;
        }
        Some(text)
    }

    pub fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        let (text, replaced) = self.expanded(node, what)?;
        match text.as_str() {
            "true" if replaced || node.type_name() == "true or false" => Some(true),
            "false" if replaced || node.type_name() == "true or false" => Some(false),
            _ => {
                self.wrong(node, format!("{what} must be true or false, not \"{}\"", text.shown), "true or false");
                None
            }
        }
    }

    pub fn count(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let (text, replaced) = self.expanded(node, what)?;
        let number = text.value.parse().ok().filter(|_| replaced || node.type_name() == "a number");
        self.within(node, what, number, range, &[("", 1)])
    }

    /// `8MiB`, `64KiB`, or plain bytes.
    pub fn size(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let (text, _) = self.expanded(node, what)?;
        let number = text.parse().ok().or_else(|| with_unit(&text, &SIZES));
        self.within(node, what, number, range, &SIZES)
    }

    /// `300ms`, `10s`, `15m`, in milliseconds.
    pub fn millis(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let (text, _) = self.expanded(node, what)?;
        let number = with_unit(&text, &TIMES);
        self.within(node, what, number, range, &TIMES)
    }

    fn within(
        &mut self,
        node: &Node,
        what: &str,
        number: Option<u64>,
        range: std::ops::RangeInclusive<u64>,
        units: &[(&str, u64)],
    ) -> Option<u64> {
        if let Some(number) = number.filter(|n| range.contains(n)) {
            return Some(number);
        }
        let form = match units[0].0 {
            "" => "a whole number",
            "ms" => "a time such as 300ms, 10s or 15m",
            _ => "a size such as 64KiB, 8MiB or 1GiB",
        };
        let bounds = format!("from {} to {}", spell(*range.start(), units), spell(*range.end(), units));
        let shown = node.shown();
        let message = match number {
            Some(_) => format!("{what} is out of bounds: \"{shown}\""),
            None => format!("{what} must be {form}, not \"{shown}\""),
        };
        self.wrong(node, message, format!("{form}, {bounds}"));
        None
    }

    pub fn list<'n>(&mut self, node: &'n Node, what: &str, example: &str) -> Option<&'n [Node]> {
        match &node.item {
            Item::List(nodes) => Some(nodes),
            _ => {
                self.wrong(node, format!("{what} must be a list, not {}", node.type_name()), example);
                None
            }
        }
    }

    /// A list of different names.
    pub fn names(&mut self, node: &Node, what: &str) -> Option<Vec<At<String>>> {
        let example = format!("{what}: [{}]", if node.shown().is_empty() { "a, b" } else { node.shown() });
        let mut names: Vec<At<String>> = Vec::new();
        for item in self.list(node, what, &example)? {
            let Some(name) = self.text(item, &format!("a name in {what}")) else { continue };
            if names.iter().any(|n| n.value == name.value) {
                self.wrong(item, format!("\"{}\" stands twice in {what}", name.shown), "remove one of the two");
            } else {
                names.push(name);
            }
        }
        Some(names)
    }

    /// One of some words.
    pub fn word<'w>(&mut self, node: &Node, what: &str, known: &[&'w str]) -> Option<&'w str> {
        let (text, _) = self.expanded(node, what)?;
        let found = known.iter().find(|word| **word == text.as_str()).copied();
        if found.is_none() {
            let hint = did_you_mean(&text.shown, known.iter().copied()).unwrap_or_else(|| known.join(" or "));
            self.wrong(node, format!("{what} can't be \"{}\"", text.shown), hint);
        }
        found
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = text[digits..].trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*factor)
}

fn spell(number: u64, units: &[(&str, u64)]) -> String {
    match units.iter().rev().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_exact() {
        assert_eq!(with_unit("8MiB", &SIZES), Some(8 << 20));
        assert_eq!(with_unit("8 MiB", &SIZES), Some(8 << 20));
        assert_eq!(with_unit("15m", &TIMES), Some(900_000));
        for text in ["MiB", "8mb", "-8MiB", "8.5MiB", "99999999999999999999MiB", "99999999999TiB", "é"] {
            assert_eq!(with_unit(text, &SIZES), None, "{text}");
        }
        assert_eq!(spell(1 << 30, &SIZES), "1GiB");
        assert_eq!(spell(1500, &TIMES), "1500ms");
    }
}
