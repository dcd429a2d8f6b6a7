//! Rows as a Markdown table: columns are the fields present.

use serde_json::Value;

use super::Fields;
use crate::output;

/// A table of rows. What all of them have in common stands above it.
pub(super) fn markdown(rows: &[&Fields]) -> String {
    let columns = columns(rows);
    let (common, columns): (Vec<_>, Vec<_>) =
        columns.into_iter().filter(|&name| name != "bench").partition(|&name| {
            rows.len() > 1 && rows.iter().all(|row| row.get(name) == rows[0].get(name))
        });
    let mut text = String::new();
    if !common.is_empty() {
        let words = common.iter().map(|&name| format!("{name} {}", cell(&rows[0][name])));
        text += &format!("All rows: {}.\n\n", words.collect::<Vec<_>>().join(", "));
    }
    text += &format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for row in rows {
        let cells = columns.iter().map(|&name| row.get(name).map_or(String::new(), cell));
        text += &format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// The value as people read it.
pub(super) fn cell(value: &Value) -> String {
    output::cell(value).replace('|', "\\|")
}

/// All fields of the rows, each after the one that it follows in its row.
fn columns<'a>(rows: &[&'a Fields]) -> Vec<&'a str> {
    let mut columns: Vec<&str> = Vec::new();
    for row in rows {
        let mut place = 0;
        for name in row.keys() {
            match columns.iter().position(|column| column == name) {
                Some(at) => place = at + 1,
                None => {
                    columns.insert(place, name);
                    place += 1;
                }
            }
        }
    }
    columns
}
