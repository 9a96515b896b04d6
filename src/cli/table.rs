//! Tables and numbers as a person reads them.

use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::term::escape;

/// A table with a header. A column whose header begins with `>` is right-aligned. Cells are foreign text.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    // Borders are drawn so that no line begins with a value, wrapped or not.
    table.load_style(presets::UTF8_FULL_CONDENSED.with_rounded_corners());
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(|name| name.trim_start_matches('>')));
    for row in rows {
        table.add_row(row.map(|cell| escape(&cell)));
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `1234567` as `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `1,200 rows`.
pub fn counted(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let (mut size, mut unit) = (n as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

pub fn millis(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

/// Two units at most: `230 ms`, `9.8 s`, `3m 20s`, `5h 02m`, `12d 4h`.
pub fn duration(time: Duration) -> String {
    let (seconds, ms) = (time.as_secs(), time.as_millis());
    match seconds {
        0 => format!("{ms} ms"),
        1..=59 => format!("{:.1} s", (ms / 100) as f64 / 10.0),
        60..=3599 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A lag; below zero it is not known.
pub fn lag(ms: i64) -> String {
    u64::try_from(ms).map_or_else(|_| "not known".to_owned(), millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "row"), counted(2000, "key")], ["1 row", "2,000 keys"]);
        assert_eq!([12, 1536, 8 << 20, 3 << 40].map(bytes), ["12 B", "1.5 KiB", "8.0 MiB", "3.0 TiB"]);
        let times = [230, 9_860, 59_990, 200_000, 18_120_000, 1_051_200_000];
        assert_eq!(times.map(millis), ["230 ms", "9.8 s", "59.9 s", "3m 20s", "5h 02m", "12d 4h"]);
        assert_eq!([lag(-1), lag(4)], ["not known", "4 ms"]);
    }

    #[test]
    fn a_cell_can_break_neither_the_table_nor_the_terminal() {
        let shown = table(["table", ">rows"], [["::a\n\x1b[2J".to_owned(), "12".to_owned()]]);
        assert!(shown.contains("│ ::a\\n\\u{1b}[2J ┆   12 │"), "{shown}");
    }
}
