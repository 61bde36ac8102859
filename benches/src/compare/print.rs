//! The table as text, for a terminal and for the page.

use std::fmt::Write as _;

use super::{
    judge::Verdict,
    rows::{Form, Wanted},
};

/// A row's cells: what, the two medians, what is judged, must, stretch, mark, and how far rounds lie
/// apart.
pub(crate) fn cells(verdict: &Verdict) -> [String; 8] {
    let unit = verdict.row.measure.unit();
    let figure = |value: f64| format!("{} {unit}", rounded(value));
    let judged = |value: f64| match verdict.row.form {
        Form::Ratio(..) => format!("{value:.2}"),
        Form::Difference(..) | Form::Value(_) => figure(value),
    };
    let (must, stretch) = match verdict.row.wanted {
        Wanted::AtLeast { must, stretch } => (format!(">= {must}"), format!(">= {stretch}")),
        Wanted::AtMost { must, stretch } => (format!("<= {must}"), format!("<= {stretch}")),
        Wanted::Report => (String::new(), String::new()),
    };
    let (least, most) = verdict.spread;
    [
        verdict.row.name.clone(),
        figure(verdict.of),
        verdict.over.map(figure).unwrap_or_default(),
        judged(verdict.value),
        must,
        stretch,
        verdict.mark.word().to_owned(),
        format!("{} .. {}", judged(least), judged(most)),
    ]
}

/// The heads of the cells, when the second figure is that of `other`.
pub(crate) fn heads(other: &str) -> [String; 8] {
    let heads = [
        "workload", "parlance", other, "ratio", "must", "stretch", "mark", "rounds",
    ];
    heads.map(str::to_owned)
}

/// The table for a terminal.
pub(crate) fn table(other: &str, verdicts: &[Verdict]) -> String {
    let mut lines = vec![heads(other)];
    lines.extend(verdicts.iter().map(cells));
    let width = |column: usize| lines.iter().map(|cells| cells[column].len()).max();
    let widths: [usize; 8] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for cells in &lines {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            // Writing to a String does not fail.
            let _ = match index {
                0 | 6 | 7 => write!(line, "{cell:<width$}  "),
                _ => write!(line, "{cell:>width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Three significant digits, or whole thousands with their commas.
pub(crate) fn rounded(value: f64) -> String {
    if !value.is_finite() {
        return "none".to_owned();
    }
    let size = value.abs();
    if size < 10.0 {
        return format!("{value:.2}");
    }
    if size < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{size:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        text.insert(0, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_can_be_read() {
        let all = [0.123, 9.87, 17.26, 123.4, 1_234.5, 1_234_567.0, -1_500.0];
        let expected = [
            "0.12",
            "9.87",
            "17.3",
            "123",
            "1,234",
            "1,234,567",
            "-1,500",
        ];
        assert_eq!(all.map(rounded), expected);
        assert_eq!(rounded(f64::NAN), "none");
    }
}
