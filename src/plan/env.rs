//! `${VAR}` in plan values. What is put in is data: it is not read again, neither as YAML nor for further `${`.

/// A value's text, parsed.
#[derive(Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Var { name: String, or: Or },
}

#[derive(Debug, PartialEq)]
enum Or {
    Fail,
    Default(Template),
    Message(String),
}

/// Why a variable gave no text.
#[derive(Debug, PartialEq)]
pub(super) struct Undefined {
    pub name: String,
    pub message: Option<String>,
}

/// Stands for a variable in [`Template::literal`]; no plan text holds it.
pub(super) const ELSEWHERE: char = '\u{0}';

const DEPTH: usize = 8;

impl Template {
    /// `Err`: what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let template = template(&mut rest, 0)?;
        Ok(template)
    }

    /// No variable in it.
    pub fn is_plain(&self) -> bool {
        self.0.iter().all(|p| matches!(p, Part::Text(_)))
    }

    pub fn expand(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Undefined> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Var { name, or } => match (env(name), or) {
                    (Some(value), Or::Fail) => out.push_str(&value),
                    (Some(value), _) if !value.is_empty() => out.push_str(&value),
                    (_, Or::Default(default)) => out.push_str(&default.expand(env)?),
                    (_, Or::Message(m)) => return Err(Undefined { name: name.clone(), message: Some(m.clone()) }),
                    (None, Or::Fail) => return Err(Undefined { name: name.clone(), message: None }),
                },
            }
        }
        Ok(out)
    }

    /// What the plan itself says, defaults included; [`ELSEWHERE`] in place of what comes from outside.
    pub fn literal(&self) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Var { or: Or::Default(default), .. } => default.literal(),
                Part::Var { .. } => ELSEWHERE.to_string(),
            })
            .collect()
    }
}

/// Reads up to the end, or, inside a default, up to its `}`, which is left in `rest`.
fn template(rest: &mut &str, depth: usize) -> Result<Template, String> {
    if depth > DEPTH {
        return Err("\"${\" is nested too deep".to_owned());
    }
    let mut parts = Vec::new();
    let mut text = String::new();
    while let Some(c) = rest.chars().next() {
        if depth > 0 && c == '}' {
            break;
        }
        if let Some(after) = rest.strip_prefix("$$") {
            text.push('$');
            *rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            *rest = after;
            parts.push(variable(rest, depth)?);
        } else {
            text.push(c);
            *rest = &rest[c.len_utf8()..];
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(Template(parts))
}

/// Behind `${`, up to and with its `}`.
fn variable(rest: &mut &str, depth: usize) -> Result<Part, String> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let name = rest[..end].to_owned();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("no variable's name behind \"${\"".to_owned());
    }
    *rest = &rest[end..];
    let or = if let Some(after) = rest.strip_prefix(":-") {
        *rest = after;
        Or::Default(template(rest, depth + 1)?)
    } else if let Some(after) = rest.strip_prefix(":?") {
        let end = after.find('}').unwrap_or(after.len());
        *rest = &after[end..];
        Or::Message(after[..end].to_owned())
    } else {
        Or::Fail
    };
    *rest = rest.strip_prefix('}').ok_or_else(|| format!("\"${{{name}\" is not closed by \"}}\""))?;
    Ok(Part::Var { name, or })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${SET} }\": [".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expected) in [
            ("a ${SET} b", "a value b"),
            ("${UNSET:-x}", "x"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${UNSET:-}", ""),
            ("${UNSET:-${SET}/y}", "value/y"),
            ("${TRICKY}", "${SET} }\": ["),
            ("$$ $${SET} $1 ^a$", "$ ${SET} $1 ^a$"),
            ("${SET:?needed}", "value"),
        ] {
            assert_eq!(Template::parse(text).unwrap().expand(&env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_value_is_named() {
        let undefined = |text: &str| Template::parse(text).unwrap().expand(&env).unwrap_err();
        assert_eq!(undefined("${UNSET}"), Undefined { name: "UNSET".into(), message: None });
        assert_eq!(undefined("${EMPTY:?set it}"), Undefined { name: "EMPTY".into(), message: Some("set it".into()) });
        assert_eq!(undefined("${A:-${UNSET}}").name, "UNSET");
    }

    #[test]
    fn broken_references_are_errors() {
        for text in ["${", "${}", "${1}", "${A", "${A B}", "${A:-", "${A:x}", &"${A:-".repeat(20)] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails(text: String) {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.expand(&env);
            }
        }

        #[test]
        fn text_without_a_dollar_is_itself(text in "[^$]*") {
            let template = Template::parse(&text).unwrap();
            prop_assert!(template.is_plain());
            prop_assert_eq!(template.literal(), text);
        }
    }
}
