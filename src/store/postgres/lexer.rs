//! Tokens of an SQL expression: enough to know that it can't leave the parentheses that it is put in, and which names
//! it uses. The server parses it for real.

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A bare word, in lower case as the server folds it.
    Word(String),
    Quoted(String),
    Text,
    Number,
    Operator(String),
    Open,
    Close,
    Comma,
    Dot,
    Bracket,
}

const OPERATOR: &str = "+-*/<>=~!@#%^&|`?:";

/// Refuses what has no place in an expression over one row: several statements, comments, parameters, a parenthesis
/// that closes one which isn't its own.
pub fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let mut rest = sql.trim_start();
    let (mut tokens, mut depth) = (Vec::new(), 0_u32);
    while let Some(c) = rest.chars().next() {
        let (token, length) = one(c, rest)?;
        match token {
            Token::Open => depth += 1,
            Token::Close if depth == 0 => return Err("closes a parenthesis that it did not open".to_owned()),
            Token::Close => depth -= 1,
            _ => {}
        }
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    if depth > 0 {
        return Err("does not close a parenthesis".to_owned());
    }
    if tokens.is_empty() {
        return Err("is empty".to_owned());
    }
    let subquery = tokens.iter().any(|t| matches!(t, Token::Word(w) if w == "select"));
    if subquery { Err("has a subquery; it may look at its own row only".to_owned()) } else { Ok(tokens) }
}

fn one(c: char, rest: &str) -> Result<(Token, usize), String> {
    if rest.starts_with("--") || rest.starts_with("/*") {
        return Err("has a comment".to_owned());
    }
    let next = rest[c.len_utf8()..].chars().next();
    Ok(match c {
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        ',' => (Token::Comma, 1),
        '[' | ']' => (Token::Bracket, 1),
        '\'' => (Token::Text, quoted(rest, '\'', false)?),
        'e' | 'E' if next == Some('\'') => (Token::Text, 1 + quoted(&rest[1..], '\'', true)?),
        'b' | 'B' | 'x' | 'X' | 'n' | 'N' if next == Some('\'') => (Token::Text, 1 + quoted(&rest[1..], '\'', false)?),
        'u' | 'U' if next == Some('&') => return Err("has a U& constant; write the character itself".to_owned()),
        '"' => {
            let length = quoted(rest, '"', false)?;
            (Token::Quoted(rest[1..length - 1].replace("\"\"", "\"")), length)
        }
        '.' if !next.is_some_and(|n| n.is_ascii_digit()) => (Token::Dot, 1),
        c if c.is_ascii_digit() || c == '.' => (Token::Number, number(rest)),
        c if c.is_alphabetic() || c == '_' => {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            (Token::Word(rest[..length].to_lowercase()), length)
        }
        c if OPERATOR.contains(c) => {
            let length = operator(rest);
            (Token::Operator(rest[..length].to_owned()), length)
        }
        ';' => return Err("has a semicolon".to_owned()),
        '$' => return Err("has a parameter or dollar quote".to_owned()),
        other => return Err(format!("has the character {other:?}")),
    })
}

/// The length of a quoted piece, quotes included; a doubled quote stands for one.
fn quoted(text: &str, quote: char, backslash: bool) -> Result<usize, String> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if backslash && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => drop(chars.next()),
                _ => return Ok(at + 1),
            }
        }
    }
    Err("does not close a quote".to_owned())
}

fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let exponent_sign = matches!(bytes[at], b'+' | b'-') && at > 0 && matches!(bytes[at - 1], b'e' | b'E');
        if !(bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'_') || exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

/// An operator ends where a comment would begin.
fn operator(text: &str) -> usize {
    let end = text.find(|c: char| !OPERATOR.contains(c)).unwrap_or(text.len());
    [text[..end].find("--"), text[..end].find("/*")].into_iter().flatten().min().unwrap_or(end).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_cannot_leave_its_parentheses() {
        for sql in [
            "1) FROM x; DROP TABLE y; --",
            "a) FROM t, (SELECT 1",
            "a -- comment",
            "a /* comment */",
            "a;b",
            "(a",
            "'open",
            "E'it\\'s open",
            "\"open",
            "$1",
            "$$x$$",
            "U&'\\0061'",
            "",
            "(SELECT max(id) FROM t)",
            "a+--b\n1",
        ] {
            assert!(tokens(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn ordinary_expressions_pass() {
        for sql in [
            "lower(email)",
            "a || ' ' || \"We\"\"ird\"",
            "'it''s (not) a paren;'",
            "E'a\\'b)'",
            "x::numeric(10,2) * 1.5e-3",
            "t.id >= -1 AND data->>'a' IS NOT NULL",
            "tags[1]",
        ] {
            assert!(tokens(sql).is_ok(), "{sql}: {:?}", tokens(sql));
        }
        assert_eq!(tokens("A->>'x'").unwrap()[..2], [Token::Word("a".into()), Token::Operator("->>".into())]);
    }
}
