//! Aligned columns.
//!
//! Hazard: an id cut off at the edge of a narrow terminal names no backup. Nothing is ever cut: a table that does not
//! fit does without the columns that can be spared, then lets its last one go on below itself, and is shown row by row
//! where that does not help either.

use super::fold::broken;
use super::output::Look;
use crate::core::printable::plain;

const GAP: &str = "  ";

/// A last column that is narrower than this, and than what is in it, is no place for sentences.
const NARROWEST: usize = 24;

/// What a cell says about its backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something is to be looked at.
    Doubtful,
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
        self.tone.paint(&self.text, look)
    }
}

impl Tone {
    fn paint(self, text: &str, look: &Look) -> String {
        match (look.colour, self) {
            (false, _) | (true, Self::Plain) => text.to_owned(),
            (true, Self::Good) => format!("\x1b[32m{text}\x1b[0m"),
            (true, Self::Doubtful) => format!("\x1b[33m{text}\x1b[0m"),
            (true, Self::Bad) => format!("\x1b[31m{text}\x1b[0m"),
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
    /// A column that says nothing that is not said by another one, too.
    spare: Option<usize>,
}

/// How wide each column is that is shown.
type Widths<const N: usize> = [Option<usize>; N];

impl<const N: usize> Table<N> {
    /// An empty table with these headers.
    pub fn new(columns: [(&'static str, Align); N]) -> Self {
        Self { columns, rows: Vec::new(), spare: None }
    }

    /// The same; where there is no room for all, it does without this column.
    pub fn sparing(self, column: &str) -> Self {
        let spare = self.columns.iter().position(|(header, _)| *header == column);
        Self { spare, ..self }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// The table as text that ends with a line break; nothing if it has no rows. Columns without a cell are left out.
    pub fn render(&self, look: &Look) -> String {
        let widths = self.widths();
        let Some(columns) = look.width else { return self.aligned(&widths, look) };
        let spared = std::array::from_fn(|at| widths[at].filter(|_| self.spare != Some(at)));
        let fitting = [Some(widths), Some(spared), self.with_last_broken(&widths, columns)];
        let fitting = fitting.into_iter().chain([self.with_last_broken(&spared, columns)]).flatten();
        match fitting.into_iter().find(|widths| total(widths) <= columns) {
            Some(widths) => self.aligned(&widths, look),
            None => self.rows.iter().map(|row| self.stacked(row, columns, look)).collect(),
        }
    }

    /// Whether it is shown with every row on a line.
    pub fn fits(&self, look: &Look) -> bool {
        look.width.is_none_or(|columns| total(&self.widths()) <= columns)
    }

    /// The width of each column that has a cell with text.
    fn widths(&self) -> Widths<N> {
        std::array::from_fn(|at| {
            let widest = self.rows.iter().map(|row| row[at].width()).max().filter(|width| *width > 0);
            widest.map(|width| width.max(self.columns[at].0.chars().count()))
        })
    }

    /// The widths with no more for the last column than is left for it, if that is enough for its words.
    fn with_last_broken(&self, widths: &Widths<N>, columns: usize) -> Option<Widths<N>> {
        let last = (0..N).rev().find(|at| widths[*at].is_some())?;
        let is_words = self.columns[last].1 == Align::Left && last > 0;
        let mut narrowed = *widths;
        narrowed[last] = Some(0);
        let left = columns.checked_sub(total(&narrowed))?;
        let word = |cell: &Cell| cell.text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        let widest_word = self.rows.iter().map(|row| word(&row[last])).max()?;
        narrowed[last] = Some(left);
        (is_words && left >= widest_word.max(NARROWEST)).then_some(narrowed)
    }

    fn aligned(&self, widths: &Widths<N>, look: &Look) -> String {
        let headers = self.columns.map(|(header, _)| Cell::from(header));
        let headed = !self.rows.is_empty() && headers.iter().any(|header| header.width() > 0);
        let lines = headed.then_some(&headers).into_iter().chain(&self.rows);
        lines.map(|row| self.aligned_line(row, widths, look)).collect()
    }

    fn aligned_line(&self, row: &[Cell; N], widths: &Widths<N>, look: &Look) -> String {
        let used: Vec<(usize, usize)> = (0..N).filter_map(|at| Some((at, widths[at]?))).collect();
        let Some(((last, last_width), others)) = used.split_last() else { return String::new() };
        let mut line = String::new();
        for (at, width) in others {
            let pad = " ".repeat(width.saturating_sub(row[*at].width()));
            let text = row[*at].painted(look);
            line += &if self.columns[*at].1 == Align::Left { text + &pad } else { pad + &text };
            line += GAP;
        }
        let start: usize = others.iter().map(|(_, width)| width + GAP.len()).sum();
        if self.columns[*last].1 == Align::Right {
            line += &" ".repeat(last_width.saturating_sub(row[*last].width()));
        }
        let parts = broken(&row[*last].text, *last_width);
        let parts: Vec<String> = parts.iter().map(|part| row[*last].tone.paint(part, look)).collect();
        line += &parts.join(&format!("\n{}", " ".repeat(start)));
        format!("{}\n", line.trim_end())
    }

    /// A row on several lines: its first cell, then the others, each after the name of its column. Numbers and ages, which
    /// are longer or shorter at the next look, have lines of their own, so that nothing else moves.
    fn stacked(&self, row: &[Cell; N], columns: usize, look: &Look) -> String {
        let mut text = String::new();
        let mut taken = 0;
        for (at, cell) in row.iter().enumerate().filter(|(_, cell)| cell.width() > 0) {
            let label = match self.columns[at].0 {
                "" => String::new(),
                _ if at == 0 => String::new(),
                header => header.trim_start().to_lowercase() + " ",
            };
            let width = label.chars().count() + cell.width();
            if at == 0 {
                text += &cell.painted(look);
                taken = columns;
                continue;
            }
            let is_alone = self.columns[at].1 == Align::Right && !label.is_empty();
            if is_alone || taken + GAP.len() + width > columns {
                text.push('\n');
                taken = 0;
            }
            text += GAP;
            text += &label;
            text += &cell.painted(look);
            taken = if is_alone { columns } else { taken + GAP.len() + width };
        }
        text.push('\n');
        text
    }
}

fn total<const N: usize>(widths: &Widths<N>) -> usize {
    let used = widths.iter().flatten();
    used.clone().sum::<usize>() + GAP.len() * used.count().saturating_sub(1)
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
    fn what_can_be_spared_is_left_out_before_the_table_is() {
        let mut table =
            Table::new([("ID", Align::Left), ("MADE", Align::Left), ("SIZE", Align::Right)]).sparing("MADE");
        table.row(["20261123T101500Z".into(), "2026-11-23".into(), "9 B".into()]);
        let at = |columns| table.render(&Look { width: Some(columns), ..look() });
        assert_eq!(at(34), "ID                MADE        SIZE\n20261123T101500Z  2026-11-23   9 B\n");
        assert_eq!(at(33), "ID                SIZE\n20261123T101500Z   9 B\n");
        assert_eq!(at(21), "20261123T101500Z\n  made 2026-11-23\n  size 9 B\n");
    }

    #[test]
    fn the_last_column_goes_on_below_itself_where_there_is_room_for_sentences() {
        let mut table = Table::new([("ID", Align::Left), ("NOTE", Align::Left)]);
        table.row(["one".into(), Cell::toned("its manifest is absent, and no replica has it", Tone::Bad)]);
        table.row(["second".into(), "pinned".into()]);
        let expected = "\
ID      NOTE
one     <its manifest is absent,>
        <and no replica has it>
second  pinned
";
        let painted = table.render(&Look { width: Some(33), colour: true, ..look() });
        assert_eq!(painted.replace("\x1b[31m", "<").replace("\x1b[0m", ">"), expected);
        let stacked = table.render(&Look { width: Some(31), ..look() });
        assert!(stacked.starts_with("one\n  note its manifest"), "{stacked}");
    }

    #[test]
    fn an_age_that_grows_moves_nothing_else_on_a_narrow_terminal() {
        let lines = |age: &str| {
            let columns = [("SET", Align::Left), ("KIND", Align::Left), ("AGE", Align::Right), ("NOTE", Align::Left)];
            let mut table = Table::new(columns);
            table.row(["security".into(), "manual".into(), age.into(), "pinned".into()]);
            table.render(&Look { width: Some(24), ..look() })
        };
        assert_eq!(lines("now"), "security\n  kind manual\n  age now\n  note pinned\n");
        assert_eq!(lines("59 min ago"), lines("now").replace("now", "59 min ago"));
    }

    #[test]
    fn a_table_that_just_fits_is_a_table() {
        let fits = table().render(&Look { width: Some(24), ..look() });
        assert_eq!(fits, table().render(&look()));
        assert_ne!(table().render(&Look { width: Some(23), ..look() }), fits);
    }
}
