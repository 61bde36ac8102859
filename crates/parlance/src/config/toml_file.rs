//! The TOML file: its settings with their lines.

use std::path::{Path, PathBuf};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{Origin, Problem, value::Raw};

/// A value of the file, not yet judged.
pub(super) struct Given {
    /// `section.name`.
    pub(super) path: String,
    pub(super) raw: Raw,
    pub(super) line: usize,
}

/// All values of the file at `path`, tables taken apart, and what is wrong with its form.
///
/// Messages name lines but do not quote them, since a line may hold a secret.
pub(super) fn read(path: &Path) -> (Vec<Given>, Vec<Problem>) {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) => {
            let what = format!("cannot read the configuration file: {error}");
            (Vec::new(), vec![problem(path, 1, what)])
        }
    }
}

fn parse(path: &Path, text: &str) -> (Vec<Given>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut given = Vec::new();
    // What the parser makes of a broken file may be anything, pieces of a secret too.
    if errors.is_empty() {
        take_apart(table.get_ref(), "", text, &mut given);
    }
    let problems = errors.iter().map(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        problem(path, line, format!("is no TOML: {}", error.message()))
    });
    (given, problems.collect())
}

fn take_apart(table: &DeTable<'_>, prefix: &str, text: &str, given: &mut Vec<Given>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            take_apart(inner, &format!("{path}."), text, given);
            continue;
        }
        given.push(Given {
            path,
            raw: raw(value.get_ref()),
            line: line_of(text, key.span().start),
        });
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(integer) => decimal(integer),
        DeValue::Array(list) => Raw::List(list.iter().map(Spanned::get_ref).map(raw).collect()),
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

/// `0x…`, `0o…` and `0b…` become decimal, as everything after this reads it.
fn decimal(integer: &DeInteger<'_>) -> Raw {
    let parsed = i128::from_str_radix(integer.as_str(), integer.radix());
    Raw::Integer(parsed.map_or_else(|_| integer.to_string(), |number| number.to_string()))
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn problem(path: &Path, line: usize, what: String) -> Problem {
    let path = PathBuf::from(path);
    Problem {
        origin: Origin::File { path, line },
        what,
    }
}
