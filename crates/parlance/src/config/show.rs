//! The configuration in force, as a file that could be read again (but for the secrets).

use super::{
    Loaded,
    settings::{Fallback, Key},
};

/// One line per setting. `origins` adds where each value came from.
pub(crate) fn show(loaded: &Loaded, origins: bool) -> String {
    let settings = loaded.config.to_toml();
    let lines = settings
        .iter()
        .map(|(key, value)| line(loaded, key, value.as_deref(), origins));
    lines.collect()
}

fn line(loaded: &Loaded, key: &Key, value: Option<&str>, origins: bool) -> String {
    let path = key.path;
    match (value, key.fallback) {
        (Some(value), _) if origins => {
            format!("{path} = {value}  # {}\n", loaded.origin(path))
        }
        (Some(value), _) => format!("{path} = {value}\n"),
        (None, Fallback::Unset { meaning, .. }) => format!("# {path} is not set: {meaning}\n"),
        (None, Fallback::Value(_)) => unreachable!("a setting with a default has a value"),
    }
}
