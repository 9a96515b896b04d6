//! The catalogue is whole: ids are unique and in order, each is explained, and docs/checks.md is this very catalogue.

use super::*;

const DOC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/checks.md");

#[test]
fn ids_and_names_are_unique_and_in_order() {
    let ids: Vec<&str> = all().map(|c| c.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert!(ids.len() > 60 && ids.iter().all(|id| id.len() == 6 && id.starts_with("MG0")), "{ids:?}");
    let mut names: Vec<&str> = all().map(|c| c.name).collect();
    assert!(names.iter().all(|n| n.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ids.len());
}

#[test]
fn each_check_says_what_it_means_and_the_way_out() {
    for check in all() {
        let text = check.text();
        assert!(check.title.len() < 90 && !check.title.ends_with('.'), "{text}");
        assert!(check.means.len() > 60 && check.means.ends_with(['.', ')']), "{text}");
        assert!(check.way_out.len() > 20 && check.way_out.ends_with('.'), "{text}");
        assert!(text.contains("\nWay out: ") && text.lines().all(|l| l.chars().count() <= 90), "{text}");
        assert_eq!(find(&check.id.to_lowercase()), Some(check));
        assert_eq!(find(check.name), Some(check));
    }
    assert_eq!(find("MG9999"), None);
}

fn document() -> String {
    let mut text = "# Checks\n\n\
        Everything that `migrate plan` can find, and `migrate apply` before it installs anything. All checks are made in \
        one run,\nand none of them writes. An error ends the run with exit code 65; a warning is shown. `migrate explain \
        ID` prints one of\nthese; an id never changes its meaning. (`UPDATE_DOCS=1 cargo test --lib check` writes this \
        page from the catalogue.)\n\n| id | name | |\n|---|---|---|\n"
        .to_owned();
    for Check { id, name, severity, title, .. } in all() {
        text += &format!("| [{id}](#{}) | {name} | {}: {title} |\n", id.to_lowercase(), severity.name());
    }
    for Check { id, name, severity, title, means, way_out } in all() {
        text += &format!("\n## {id}\n\n**{title}** ({name}, {})\n\n", severity.name());
        text += &format!("{}\n\n{}\n", wrapped(means, 120), wrapped(&format!("Way out: {way_out}"), 120));
    }
    text
}

#[test]
fn the_page_is_the_catalogue() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(DOC, document()).unwrap();
    }
    let page = std::fs::read_to_string(DOC).unwrap_or_default();
    assert!(page == document(), "docs/checks.md is not the catalogue: run `UPDATE_DOCS=1 cargo test --lib check`");
}
