//! The plan's YAML as a tree in which everything has its place.
//!
//! `serde_yaml` decides what is YAML and how a scalar is typed, but keeps neither places nor doubled keys; so a
//! second parser gives the tree and the places, and the two must agree on the shape. Anchors, aliases, merge keys
//! and tags are refused: what a plan says must stand where it is read.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_yaml::Value;

use super::problem::{Problem, Span, Text};

pub(super) const MAX_DEPTH: usize = 64;

#[derive(Debug)]
pub(super) struct Node {
    pub span: Span,
    pub item: Item,
}

#[derive(Debug)]
pub(super) enum Item {
    /// `value` is YAML's typing of it.
    Scalar {
        raw: String,
        value: Value,
    },
    List(Vec<Node>),
    Map(Vec<(Name, Node)>),
}

/// A key of a map.
#[derive(Debug)]
pub(super) struct Name {
    pub text: String,
    pub span: Span,
}

impl Node {
    /// The plan's text of a scalar; nothing of what has parts.
    pub fn shown(&self) -> &str {
        match &self.item {
            Item::Scalar { raw, .. } => raw,
            _ => "",
        }
    }

    pub fn type_name(&self) -> &'static str {
        match &self.item {
            Item::List(_) => "a list",
            Item::Map(_) => "a map",
            Item::Scalar { value, .. } => match value {
                Value::Null => "nothing",
                Value::Bool(_) => "true or false",
                Value::Number(_) => "a number",
                _ => "text",
            },
        }
    }
}

/// The document's tree (`None` where its shape is unknown or it is empty), and what is wrong with its form.
pub(super) fn parse(source: &str, text: &Text) -> (Option<Node>, Vec<Problem>) {
    if let Err(error) = serde_yaml::from_str::<serde::de::IgnoredAny>(source) {
        return (None, vec![syntax(text, &error)]);
    }
    let mut builder = Builder { text, parser: Parser::new_from_str(source), problems: Vec::new() };
    let mut root = builder.document();
    let mut problems = builder.problems;
    if let (Some(node), true) = (&mut root, problems.is_empty()) {
        let agreed = match serde_yaml::from_str::<Value>(source) {
            Ok(value) => type_scalars(node, value),
            Err(error) => {
                problems.push(syntax(text, &error));
                true
            }
        };
        if !agreed {
            problems.push(text.problem(node.span, "", "this YAML can be read in two ways").hint("quote its values"));
        }
    }
    (root, problems)
}

fn syntax(text: &Text, error: &serde_yaml::Error) -> Problem {
    let span = error.location().map_or(Span::default(), |l| Span { line: l.line(), column: l.column() });
    let message = error.to_string();
    not_yaml(text, span, message.split(" at line ").next().unwrap_or(&message))
}

fn not_yaml(text: &Text, span: Span, cause: &str) -> Problem {
    let line = span.line.checked_sub(1).and_then(|i| text.lines.get(i)).map_or("", String::as_str);
    let hint = match (line.contains("${"), line.contains('\t')) {
        (true, _) => "quote what holds a variable: \"${NAME}\"",
        (_, true) => "indent by spaces, not by tabs",
        _ => "look at indentation, quotes and brackets here and in the line before",
    };
    text.problem(span, "", format!("not YAML: {cause}")).hint(hint)
}

/// Takes each scalar's type from the authoritative parse. False where the two trees differ.
fn type_scalars(node: &mut Node, value: Value) -> bool {
    match (&mut node.item, value) {
        (Item::List(nodes), Value::Sequence(values)) => {
            nodes.len() == values.len() && nodes.iter_mut().zip(values).all(|(n, v)| type_scalars(n, v))
        }
        (Item::Map(entries), Value::Mapping(map)) => {
            entries.len() == map.len() && entries.iter_mut().zip(map).all(|((_, n), (_, v))| type_scalars(n, v))
        }
        (Item::Scalar { value: typed, raw }, value) => {
            let agreed = match &value {
                Value::String(s) => s == raw,
                Value::Null | Value::Bool(_) | Value::Number(_) => true,
                _ => false,
            };
            *typed = value;
            agreed
        }
        _ => false,
    }
}

struct Builder<'a> {
    text: &'a Text,
    parser: Parser<'a, StrInput<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Option<Node> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => return None,
                (event, span) => return self.node(event, span, 0),
            }
        }
    }

    /// The next event. `None` after an error, which is kept.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        match self.parser.next_event()? {
            Ok((event, span)) => Some((event, Span { line: span.start.line(), column: span.start.col() + 1 })),
            Err(error) => {
                let span = Span { line: error.marker().line(), column: error.marker().col() + 1 };
                self.problems.push(not_yaml(self.text, span, error.info()));
                None
            }
        }
    }

    fn refuse(&mut self, span: Span, offending: &str, what: &str, hint: &str) {
        self.problems.push(self.text.problem(span, offending, format!("{what} not allowed in a plan")).hint(hint));
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            let problem = self.text.problem(span, "", format!("nested deeper than {MAX_DEPTH} levels"));
            self.problems.push(problem.hint("a plan needs six levels"));
            return None;
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag),
            _ => (0, &None),
        };
        if anchor > 0 {
            self.refuse(span, "", "anchors are", "write the value out");
        }
        if tag.is_some() {
            self.refuse(span, "", "tags are", "write the value without \"!\"");
        }
        let item = match event {
            Event::Scalar(raw, style, ..) => scalar(raw.into_owned(), style),
            Event::SequenceStart(..) => Item::List(self.list(depth)?),
            Event::MappingStart(..) => Item::Map(self.map(depth)?),
            Event::Alias(_) => {
                self.refuse(span, "", "aliases are", "write the value out");
                scalar(String::new(), ScalarStyle::DoubleQuoted)
            }
            _ => return None,
        };
        Some(Node { span, item })
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(nodes),
                (event, span) => nodes.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Option<Vec<(Name, Node)>> {
        let mut entries: Vec<(Name, Node)> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Some(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            let Item::Scalar { raw: text, .. } = key.item else {
                let problem = self.text.problem(span, "", "a key must be plain text");
                self.problems.push(problem.hint("write name: value"));
                continue;
            };
            if text == "<<" {
                self.refuse(span, "<<", "merge keys are", "write the keys out");
            } else if let Some(first) = seen.insert(text.clone(), span) {
                let message = format!("\"{text}\" stands twice, first in line {}", first.line);
                self.problems.push(self.text.problem(span, &text, message).hint("remove one of the two"));
            } else {
                entries.push((Name { text, span }, value));
            }
        }
    }
}

/// Typed as text unless it is plainly nothing; the authoritative parse may say otherwise later.
fn scalar(raw: String, style: ScalarStyle) -> Item {
    let value = if style == ScalarStyle::Plain && raw == "~" { Value::Null } else { Value::String(raw.clone()) };
    Item::Scalar { raw, value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn problems(source: &str) -> Vec<String> {
        let (_, problems) = parse(source, &Text::new("x", source));
        problems.iter().map(|p| format!("{}:{} {}", p.span.line, p.span.column, p.message)).collect()
    }

    #[test]
    fn the_form_is_refused_where_it_hides_or_repeats_something() {
        let deep = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
        for (source, expected) in [
            ("a: 1\nb: 2\na: 3\n", "3:1 \"a\" stands twice, first in line 1"),
            ("a: &x 1\n", "anchors are not allowed"),
            ("a: &x 1\nb: *x\n", "2:4 aliases are not allowed"),
            ("a:\n  <<: {b: 1}\n", "2:3 merge keys are not allowed"),
            ("a: !secret 1\n", "tags are not allowed"),
            ("a: [1\nb: 2\n", "not YAML: "),
            ("a: 1\n---\nb: 1\n", "more than one document"),
            ("{[a]: 1}\n", "1:2 a key must be plain text"),
            (&deep, "nested deeper than 64 levels"),
        ] {
            let found = problems(source);
            assert!(found.iter().any(|p| p.contains(expected)), "{source}: {found:?}");
        }
    }

    #[test]
    fn everything_has_its_place_and_type() {
        let (root, problems) = parse("é: { ü: 1 }\nb:\n  - x\n  - \"2\"\n", &Text::default());
        assert!(problems.is_empty());
        let Some(Node { item: Item::Map(entries), .. }) = root else { panic!("no map") };
        let Item::Map(inner) = &entries[0].1.item else { panic!("no map") };
        assert_eq!((inner[0].0.span, inner[0].1.span), (Span { line: 1, column: 6 }, Span { line: 1, column: 9 }));
        assert_eq!(inner[0].1.type_name(), "a number");
        let Item::List(list) = &entries[1].1.item else { panic!("no list") };
        assert_eq!((list[1].span, list[1].type_name()), (Span { line: 4, column: 5 }, "text"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            parse(&text, &Text::new("x", &text));
        }

        #[test]
        fn text_that_looks_like_yaml_is_parsed_or_refused(text in "[-:a \\n{}\\[\\],&*!|>'\"%#?$<0~\\t]{0,60}") {
            parse(&text, &Text::new("x", &text));
        }
    }
}
