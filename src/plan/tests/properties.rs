//! What holds for any text and any environment.

use proptest::prelude::*;

use crate::plan::testing::*;
use crate::plan::{ColumnSource, load_text};

/// Lines that together are often nearly a plan.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("version: 1".to_owned()),
        Just("migration: m".to_owned()),
        Just("source: { team: a, url: \"${SOURCE}\" }".to_owned()),
        Just("target: { team: a, url: sqlite:x }".to_owned()),
        Just("tables:".to_owned()),
        Just("  - from: a".to_owned()),
        Just("    columns: { a: { sql: \"${X:-1}\" } }".to_owned()),
        "[ ]{0,4}[a-z]{1,6}: [\\[\\]{}$:\"'|>a-zé0-9, -]{0,12}",
        "\\PC{0,20}",
    ]
}

proptest! {
    #[test]
    fn any_text_loads_or_tells_why(text: String) {
        if let Err(problems) = load(&text) {
            prop_assert!(!problems.is_empty() && !show(&problems).is_empty());
        }
    }

    #[test]
    fn what_is_nearly_a_plan_loads_or_tells_why(lines in prop::collection::vec(line(), 0..12)) {
        if let Err(problems) = load(&lines.join("\n")) {
            prop_assert!(!problems.is_empty() && problems.is_sorted_by_key(|p| p.span));
            prop_assert!(!show(&problems).contains(CANARY));
        }
    }

    #[test]
    fn any_bytes_in_a_file_load_or_tell_why(bytes: Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let _ = crate::plan::load(file.path(), &env);
    }

    #[test]
    fn what_a_variable_brings_is_data(value in "[\\PC\n\"'{}\\[\\],:#&*!|>$-]{1,40}") {
        let source = around("tables: [{ from: a, columns: { x: { const: \"<${V}>\" }, y: { const: '${V}' } }, where: '${V}' }]");
        let look = |name: &str| if name == "V" { Some(value.clone()) } else { env(name) };
        let plan = load_text("x.yaml", &source, &look).unwrap();
        let columns = plan.tables[0].columns.as_ref().unwrap();
        prop_assert_eq!((plan.tables.len(), columns.len()), (1, 2));
        let constant = |text: String| ColumnSource::Const(serde_yaml::Value::String(text));
        prop_assert_eq!(&columns[0].source.value, &constant(format!("<{value}>")));
        prop_assert_eq!(&columns[1].source.value, &constant(value.clone()));
        prop_assert_eq!(&plan.tables[0].filter.as_ref().unwrap().value, &value);
    }
}

/// Text made to be slow or deep is refused soon.
#[test]
fn hostile_shapes_are_refused_quickly() {
    let size = 1 << 18;
    for piece in ["[", "{", "- ", "a: ", "? ", "${A:-", "&a [*a, ", "\n\t", "'", "|\n "] {
        let started = std::time::Instant::now();
        for text in [piece.repeat(size / piece.len()), around(&format!("events: \"{}\"", piece.repeat(1000)))] {
            let _ = load(&text).map_err(|problems| show(&problems).len());
        }
        assert!(started.elapsed().as_secs() < 10, "{piece:?} took {:?}", started.elapsed());
    }
}

#[test]
fn other_editors_line_ends_and_marks_change_nothing() {
    let lines = around("tables:\n  - from: a\n    columns: { x: z, y: z }\n");
    for text in [lines.clone(), lines.replace('\n', "\r\n"), format!("\u{feff}{lines}")] {
        assert_problem(&load(&text).unwrap_err(), ("\"z\" is mapped twice", 7, 25), &text);
    }
}
