//! Which name means which across conventions: `InvoiceLine` and `invoice_line`, `orders` and `Order`. Pure.

/// What a name consists of: `InvoiceLineID` is `invoice`, `line`, `id`.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|b| chars.get(b));
        let after = chars.get(i + 1);
        let begins =
            c.is_uppercase() && before.is_some_and(|b| !b.is_uppercase() || after.is_some_and(|a| a.is_lowercase()));
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// One of many: `categories` is `category`.
fn singular(word: &str) -> String {
    let ended = |end: &str, put: &str| word.strip_suffix(end).filter(|w| w.len() > 1).map(|w| format!("{w}{put}"));
    let is = |end: &str| word.ends_with(end);
    let found = if is("ies") {
        ended("ies", "y")
    } else if ["sses", "xes", "ches", "shes"].iter().any(|e| is(e)) {
        ended("es", "")
    } else if is("s") && !is("ss") && !is("us") && !is("is") {
        ended("s", "")
    } else {
        None
    };
    found.unwrap_or_else(|| word.to_owned())
}

/// How a name is read, from the strictest to the loosest; equal readings are one name.
fn reading(name: &str, tier: usize) -> String {
    match tier {
        0 => name.to_owned(),
        1 => name.to_lowercase(),
        2 => words(name).concat(),
        _ => {
            let mut words = words(name);
            if let Some(last) = words.last_mut() {
                *last = singular(last);
            }
            words.concat()
        }
    }
}

const TIERS: usize = 4;

/// For each source name the place of the target name that it becomes. A strict likeness comes before a loose one, and
/// what two could be is nobody's.
pub(super) fn matched(source: &[&str], target: &[&str]) -> Vec<Option<usize>> {
    let mut found: Vec<Option<usize>> = vec![None; source.len()];
    for tier in 0..TIERS {
        let of = |name: &str| reading(name, tier);
        let open: Vec<usize> = (0..source.len()).filter(|&i| found[i].is_none()).collect();
        let free: Vec<usize> = (0..target.len()).filter(|t| !found.contains(&Some(*t))).collect();
        for &i in &open {
            let name = of(source[i]);
            let mut like = free.iter().filter(|&&t| of(target[t]) == name && !name.is_empty());
            let rivals = open.iter().filter(|&&o| of(source[o]) == name).count();
            if let (Some(&only), None, 1) = (like.next(), like.next(), rivals) {
                found[i] = Some(only);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_where_people_see_words() {
        for (name, expected) in [
            ("InvoiceLine", "invoice line"),
            ("invoice_line", "invoice line"),
            ("invoiceLineID", "invoice line id"),
            ("HTTPServer2Log", "http server2 log"),
            ("first name", "first name"),
            ("__x__", "x"),
            ("Ärger", "ärger"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), expected, "{name}");
        }
        for (many, one) in [("categories", "category"), ("boxes", "box"), ("address", "address"), ("status", "status")]
        {
            assert_eq!(singular(many), one);
        }
    }

    #[test]
    fn a_strict_likeness_wins_and_a_doubtful_one_is_none() {
        let names = |s: &str| s.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (source, target, expected) in [
            ("InvoiceLine Name", "name invoice_line", vec![Some(1), Some(0)]),
            ("id ID", "ID id", vec![Some(1), Some(0)]),
            ("Orders", "order orders", vec![Some(1)]),
            ("customer", "Customers", vec![Some(0)]),
            ("A_B AB", "a_b ab", vec![Some(0), Some(1)]),
            ("user_name userName", "UserName", vec![None, Some(0)]),
            ("user_name", "UserName USER_NAME_ x", vec![None]),
            ("x", "y", vec![None]),
        ] {
            let (source, target) = (names(source), names(target));
            let refs = |v: &[String]| v.iter().map(String::clone).collect::<Vec<_>>();
            let (s, t) = (refs(&source), refs(&target));
            let s: Vec<&str> = s.iter().map(String::as_str).collect();
            let t: Vec<&str> = t.iter().map(String::as_str).collect();
            assert_eq!(matched(&s, &t), expected, "{source:?} {target:?}");
        }
    }
}
