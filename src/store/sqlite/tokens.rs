//! Just enough of SQLite's lexical rules to look into an expression or an index definition without misreading a
//! string or a quoted name.

/// One token, borrowed from the text; `Word`s and `Quoted` names without their quotes' meaning resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword, a name or a number.
    Word(&'a str),
    /// `'…'`, with its quotes.
    Text(&'a str),
    /// A name in double quotes, backticks or brackets, with them.
    Quoted(&'a str),
    Comment,
    Mark(char),
    /// A quote or comment that does not end.
    Open,
}

impl Token<'_> {
    pub fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

/// The tokens, each with the byte at which it begins.
pub fn tokens(sql: &str) -> Vec<(usize, Token<'_>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (token, length) = match c {
            c if c.is_whitespace() => (None, c.len_utf8()),
            '\'' | '"' | '`' => quoted(rest, c),
            '[' => delimited(rest, 1, "]", Token::Quoted),
            '-' if rest.starts_with("--") => (Some(Token::Comment), rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => delimited(rest, 2, "*/", |_| Token::Comment),
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Some(Token::Word(&rest[..end])), end)
            }
            c => (Some(Token::Mark(c)), c.len_utf8()),
        };
        found.extend(token.map(|t| (at, t)));
        at += length;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

fn delimited<'a>(
    rest: &'a str,
    open: usize,
    close: &str,
    token: impl Fn(&'a str) -> Token<'a>,
) -> (Option<Token<'a>>, usize) {
    match rest[open..].find(close) {
        Some(end) => {
            let end = open + end + close.len();
            (Some(token(&rest[..end])), end)
        }
        None => (Some(Token::Open), rest.len()),
    }
}

/// A doubled quote stands for itself.
fn quoted(rest: &str, quote: char) -> (Option<Token<'_>>, usize) {
    let mut at = 1;
    while let Some(next) = rest[at..].find(quote) {
        at += next + 1;
        if !rest[at..].starts_with(quote) {
            let text = &rest[..at];
            return (Some(if quote == '\'' { Token::Text(text) } else { Token::Quoted(text) }), at);
        }
        at += 1;
    }
    (Some(Token::Open), rest.len())
}

/// The name inside its quotes.
pub fn unquote(token: &str) -> String {
    let Some(quote) = token.chars().next() else { return String::new() };
    let inside = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if quote == '[' { inside.to_owned() } else { inside.replace(&format!("{quote}{quote}"), &quote.to_string()) }
}

/// What stands between the parentheses of an index definition, cut at its commas, and the text behind `WHERE`.
pub fn index_parts(sql: &str) -> (Vec<&str>, Option<&str>) {
    let (mut parts, mut depth, mut begin, mut filter) = (Vec::new(), 0i32, None, None);
    let mut done = false;
    for (at, token) in tokens(sql) {
        match token {
            Token::Mark('(') => {
                depth += 1;
                if depth == 1 && !done {
                    begin = Some(at + 1);
                }
            }
            Token::Mark(c @ (')' | ',')) => {
                if let Some(from) = begin
                    && depth == 1
                    && !done
                {
                    parts.push(sql[from..at].trim());
                    begin = Some(at + 1);
                }
                if c == ')' {
                    depth -= 1;
                    done |= depth == 0;
                }
            }
            word if word.is("WHERE") && depth == 0 && done => {
                filter = Some(sql[at + "WHERE".len()..].trim());
                break;
            }
            _ => {}
        }
    }
    (parts.into_iter().map(bare).collect(), filter)
}

/// An indexed expression without its `COLLATE name`, `ASC` and `DESC`.
fn bare(part: &str) -> &str {
    let mut tokens = tokens(part);
    let mut end = part.len();
    if let Some((at, t)) = tokens.last()
        && (t.is("ASC") || t.is("DESC"))
    {
        end = *at;
        tokens.pop();
    }
    if let [.., (at, collate), _] = tokens.as_slice()
        && collate.is("COLLATE")
    {
        end = *at;
    }
    part[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_and_quoted_names_are_not_looked_into() {
        let found: Vec<_> = tokens("a'b''--'\"c\"\"d\"[e f]`g`--x\n/* y */1.5").into_iter().map(|(_, t)| t).collect();
        use Token::*;
        let expected = [
            Word("a"),
            Text("'b''--'"),
            Quoted("\"c\"\"d\""),
            Quoted("[e f]"),
            Quoted("`g`"),
            Comment,
            Comment,
            Word("1"),
            Mark('.'),
            Word("5"),
        ];
        assert_eq!(found, expected);
        assert_eq!(tokens("'x")[0].1, Open);
        assert_eq!(unquote("\"c\"\"d\""), "c\"d");
    }

    #[test]
    fn an_index_falls_into_its_parts() {
        let sql = "CREATE UNIQUE INDEX \"i(\" ON t (lower(a || ',') COLLATE NOCASE DESC, [b], c) WHERE d > '(' AND e";
        assert_eq!(index_parts(sql), (vec!["lower(a || ',')", "[b]", "c"], Some("d > '(' AND e")));
    }

    proptest! {
        #[test]
        fn any_text_has_tokens(text: String) {
            tokens(&text);
            index_parts(&text);
        }
    }
}
