//! The only place that writes: results to standard output, everything else to standard error.

use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Writes a line of the result.
///
/// # Errors
/// When nobody can read it.
pub fn say(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Writes a result for programs: one JSON document.
///
/// # Errors
/// When nobody can read it.
pub fn document(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Tells the user something that is not the result. That nobody reads it is no failure.
pub fn note(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Whether results go to a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether notes may have colours: a terminal, and a user who did not say no.
pub fn notes_have_colour(no_colour: bool) -> bool {
    !no_colour && io::stderr().is_terminal()
}

/// Lays out rows in columns, two spaces apart; the last column is not padded. Widths are counted in
/// characters, so text in wide scripts belongs in the last column.
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let mut text = String::new();
        for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(cell);
            if place + 1 < row.len() {
                let pad = width - cell.chars().count() + 2;
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_the_last_one_is_not_padded() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = columns(&[row(["id", "state", "name"]), row(["7", "queued", "测试"])]);
        assert_eq!(lines, ["id  state   name", "7   queued  测试"]);
    }
}
