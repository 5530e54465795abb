//! Aligned columns.
//!
//! Hazard: an id cut off at the edge of a narrow terminal names no backup. Nothing is ever cut: a table that does not
//! fit is shown row by row instead.

use super::output::{Look, plain};

const GAP: &str = "  ";

/// What a cell says about its backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something is lost.
    Bad,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell that says something about its backup.
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: plain(text.as_ref()).into_owned(), tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// The text; escape sequences take no columns.
    pub fn painted(&self, look: &Look) -> String {
        match (look.colour, self.tone) {
            (false, _) | (true, Tone::Plain) => self.text.clone(),
            (true, Tone::Good) => format!("\x1b[32m{}\x1b[0m", self.text),
            (true, Tone::Bad) => format!("\x1b[31m{}\x1b[0m", self.text),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text.into(), Tone::Plain)
    }
}

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under headers.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// An empty table with these headers.
    pub fn new(columns: [(&'static str, Align); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// The table as text that ends with a line break; nothing if it has no rows. Columns without a cell are left out.
    pub fn render(&self, look: &Look) -> String {
        let widths = self.widths();
        let used: Vec<usize> = widths.iter().flatten().copied().collect();
        let total = used.iter().sum::<usize>() + GAP.len() * used.len().saturating_sub(1);
        match look.width {
            _ if self.rows.is_empty() => String::new(),
            Some(columns) if columns < total => {
                self.rows.iter().map(|row| self.stacked(row, columns, look)).collect::<String>()
            }
            _ => self.aligned(&widths, look),
        }
    }

    /// The width of each column that has a cell with text.
    fn widths(&self) -> [Option<usize>; N] {
        std::array::from_fn(|at| {
            let widest = self.rows.iter().map(|row| row[at].width()).max().filter(|width| *width > 0);
            widest.map(|width| width.max(self.columns[at].0.chars().count()))
        })
    }

    fn aligned(&self, widths: &[Option<usize>; N], look: &Look) -> String {
        let headers = self.columns.map(|(header, _)| Cell::from(header));
        let headed = headers.iter().any(|header| header.width() > 0);
        let lines = headed.then_some(&headers).into_iter().chain(&self.rows);
        lines.map(|row| self.aligned_line(row, widths, look)).collect()
    }

    fn aligned_line(&self, row: &[Cell; N], widths: &[Option<usize>; N], look: &Look) -> String {
        let cells = (0..N).filter_map(|at| {
            let pad = " ".repeat(widths[at]? - row[at].width().min(widths[at]?));
            let text = row[at].painted(look);
            Some(if self.columns[at].1 == Align::Left { text + &pad } else { pad + &text })
        });
        let line = cells.collect::<Vec<_>>().join(GAP);
        format!("{}\n", line.trim_end())
    }

    /// A row on several lines: its first cell, then the others, each after the name of its column.
    fn stacked(&self, row: &[Cell; N], columns: usize, look: &Look) -> String {
        let mut text = String::new();
        let mut taken = 0;
        for (at, cell) in row.iter().enumerate().filter(|(_, cell)| cell.width() > 0) {
            let label = match self.columns[at].0 {
                "" => String::new(),
                _ if at == 0 => String::new(),
                header => header.to_lowercase() + " ",
            };
            let width = label.chars().count() + cell.width();
            if at == 0 {
                text += &cell.painted(look);
                taken = columns;
                continue;
            }
            if taken + GAP.len() + width > columns {
                text.push('\n');
                taken = 0;
            }
            text += GAP;
            text += &label;
            text += &cell.painted(look);
            taken += GAP.len() + width;
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::look;

    fn table() -> Table<4> {
        let mut table = Table::new([
            ("BACKUP", Align::Left),
            ("STATE", Align::Left),
            ("SIZE", Align::Right),
            ("NOTE", Align::Left),
        ]);
        table.row(["one".into(), Cell::toned("good", Tone::Good), "1.2 MiB".into(), "".into()]);
        table.row(["second".into(), Cell::toned("damaged", Tone::Bad), "9 B".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let expected = "\
BACKUP  STATE       SIZE
one     good     1.2 MiB
second  damaged      9 B
";
        assert_eq!(table().render(&look()), expected);
    }

    #[test]
    fn colour_changes_no_alignment() {
        let painted = table().render(&Look { colour: true, ..look() });
        assert!(painted.contains("\x1b[32mgood\x1b[0m     1.2 MiB"), "{painted:?}");
        let bare = painted.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!(bare, table().render(&look()));
    }

    #[test]
    fn a_table_that_does_not_fit_is_shown_row_by_row_and_nothing_is_cut() {
        let narrow = table().render(&Look { width: Some(16), ..look() });
        let expected = "\
one
  state good
  size 1.2 MiB
second
  state damaged
  size 9 B
";
        assert_eq!(narrow, expected);
    }

    #[test]
    fn a_table_that_just_fits_is_a_table() {
        let fits = table().render(&Look { width: Some(24), ..look() });
        assert_eq!(fits, table().render(&look()));
        assert_ne!(table().render(&Look { width: Some(23), ..look() }), fits);
    }
}
