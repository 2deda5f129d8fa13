//! A table that is read as well in a terminal as in Markdown, and what else reports of benchmarks share.

/// Rows of cells; the first row is the head. All columns but the first are figures.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows[0].len();
        let width = |i: usize| self.rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if i == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if number == 0 {
                for (i, width) in widths.iter().enumerate() {
                    let dashes =
                        "-".repeat(if i == 0 { *width } else { width.saturating_sub(1).max(1) });
                    write!(
                        f,
                        "{}",
                        if i == 0 { format!("| {dashes} |") } else { format!(" {dashes}: |") }
                    )?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// A figure that may be missing.
pub(crate) fn shown(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".into(), |f| format!("{f:.digits$}"))
}

/// The median of what was measured.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        n if n % 2 == 0 => Some(f64::midpoint(figures[middle - 1], figures[middle])),
        _ => Some(figures[middle]),
    }
}

/// What is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// What is aimed at, and whether it is there.
#[derive(Debug)]
pub(crate) struct Goals(Table);

impl Goals {
    pub(crate) fn new() -> Self {
        Self(Table::new(&["goal", "limit", "measured", "holds"]))
    }

    /// A ratio has the unit `x`.
    pub(crate) fn add(&mut self, what: &str, limit: Limit, unit: &str, measured: Option<f64>) {
        let (sign, bound, holds) = match limit {
            Limit::AtMost(bound) => ("≤", bound, measured.map(|m| m <= bound)),
            Limit::AtLeast(bound) => ("≥", bound, measured.map(|m| m >= bound)),
        };
        self.0.row(vec![
            what.into(),
            format!("{sign} {bound} {unit}").trim_end().into(),
            shown(
                measured,
                match unit {
                    "x" => 2,
                    "ms" => 1,
                    _ => 0,
                },
            ),
            match holds {
                Some(true) => "✓".into(),
                Some(false) => "✗".into(),
                None => "not measured".into(),
            },
        ]);
    }

    pub(crate) fn table(self) -> Table {
        self.0
    }
}

pub(crate) fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}

/// 12345.6 as 12,346.
pub(crate) fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    model.map_or("an unnamed processor", |(_, name)| name.trim()).to_owned()
}
