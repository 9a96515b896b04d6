//! Enough of Rust's syntax to judge a source file as text: what is code, what is test code, where a function ends.

use std::ops::Range;

/// A file's text, and the same text with comments, strings and characters blanked (every byte keeps its place).
pub struct Source<'a> {
    pub path: &'a str,
    pub text: &'a str,
    pub code: String,
}

impl<'a> Source<'a> {
    pub fn new(path: &'a str, text: &'a str) -> Self {
        Self { path, text, code: blank(text) }
    }

    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Where `pattern` stands in the code, not as a part of a longer word.
    pub fn find(&self, pattern: &str) -> Vec<usize> {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let (first, last) = (pattern.chars().next(), pattern.chars().last());
        let alone = |at: &usize| {
            let (before, after) = (self.code[..*at].chars().last(), self.code[*at + pattern.len()..].chars().next());
            !(word(first) && word(before) || word(last) && word(after))
        };
        self.code.match_indices(pattern).map(|(at, _)| at).filter(alone).collect()
    }

    /// The items under `#[cfg(test)]`.
    pub fn test_ranges(&self) -> Vec<Range<usize>> {
        let starts = self.find("#[cfg(test)]").into_iter().chain(self.find("#[cfg(all(test"));
        starts.map(|at| at..self.item_end(at)).collect()
    }

    /// The names of the modules `mod x;` under `#[cfg(test)]`: their files are tests.
    pub fn test_modules(&self) -> Vec<String> {
        let name = |range: Range<usize>| {
            let (_, rest) = self.code[range].split_once("mod ")?;
            rest.strip_suffix(';').map(|name| name.trim().to_string())
        };
        self.test_ranges().into_iter().filter_map(name).collect()
    }

    /// The inner parts of `mod x { ... }`.
    pub fn inline_modules(&self) -> Vec<Range<usize>> {
        let found = self.find("mod").into_iter().map(|at| at..self.item_end(at));
        found.filter(|range| self.code[range.clone()].ends_with('}')).collect()
    }

    /// Every `fn name`, to its closing brace; those without a body are left out.
    pub fn functions(&self) -> Vec<(String, Range<usize>)> {
        let mut functions = Vec::new();
        for at in self.find("fn") {
            let rest = self.code[at + 2..].trim_start();
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let end = self.item_end(at);
            if !name.is_empty() && self.code[at..end].ends_with('}') {
                functions.push((name, at..end));
            }
        }
        functions
    }

    /// The end of the item that starts at `at`: its `;`, or the brace that closes its first block.
    fn item_end(&self, at: usize) -> usize {
        let (mut round, mut curly) = (0i32, 0i32);
        for (offset, c) in self.code[at..].char_indices() {
            match c {
                '(' | '[' => round += 1,
                ')' | ']' => round -= 1,
                '{' => curly += 1,
                '}' => curly -= 1,
                ';' => {}
                _ => continue,
            }
            if (c == '}' || c == ';') && curly <= 0 && round <= 0 {
                return at + offset + 1;
            }
        }
        self.code.len()
    }
}

/// Replaces what is not code by spaces; line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match not_code(text, at) {
            Some(end) => end.min(bytes.len()),
            None => {
                at += 1;
                continue;
            }
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// The end of the comment, string or character that starts at `at`, if one does.
fn not_code(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    match rest[0] {
        b'/' if rest.starts_with(b"//") => Some(rest.iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n)),
        b'/' if rest.starts_with(b"/*") => Some(block_comment_end(bytes, at)),
        b'"' => Some(string_end(bytes, at + 1)),
        b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at),
        b'\'' => character_end(text, at),
        _ => None,
    }
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    // `br"` and `cr"` are raw strings too.
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let before = |n: usize| at.checked_sub(n).map(|i| bytes[i]);
    match before(1) {
        Some(b'b' | b'c') => before(2).is_some_and(word),
        other => other.is_some_and(word),
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|b| **b == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    let body = &bytes[open + 1..];
    Some(body.windows(close.len()).position(|w| w == close).map_or(bytes.len(), |n| open + 1 + n + close.len()))
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn character_end(text: &str, start: usize) -> Option<usize> {
    let mut chars = text[start + 1..].char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?; // the escaped character may itself be a quote
        return chars.find(|(_, c)| *c == '\'').map(|(n, _)| start + 1 + n + 1);
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(n, _)| start + 1 + n + 1)
}
