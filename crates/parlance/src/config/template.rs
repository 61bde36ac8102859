//! A file with every setting, its default and its reason, to start a configuration from.
//!
//! Lines that start with `#` and no blank are settings at their defaults, or examples of those that
//! have none: taking the `#` away sets them.

use super::{
    layers::variable,
    settings::{Fallback, KEYS, Key},
};

const HEAD: &str = "\
# The configuration of parlance, every setting at its default.
# To set one, remove the # in front of it. A setting can also be given as the variable that is named
# beside it, which counts more than this file; lists are separated by commas there.
# Secrets can be read from files: name the file by the key or variable with _file or _FILE at its end.
";

/// The text of the file.
pub(crate) fn template() -> String {
    let mut file = HEAD.to_owned();
    // A key after a `[section]` belongs to it, so those without one come first.
    for key in KEYS.iter().filter(|key| section(key).is_none()) {
        file.push_str(&entry(key));
    }
    let mut current = None;
    for key in KEYS.iter().filter(|key| section(key).is_some()) {
        if section(key) != current {
            current = section(key);
            file.push_str(&format!("\n[{}]\n", current.unwrap_or_default()));
        }
        file.push_str(&entry(key));
    }
    file
}

fn section(key: &Key) -> Option<&'static str> {
    key.path.split_once('.').map(|(section, _)| section)
}

fn entry(key: &Key) -> String {
    let name = key.path.rsplit('.').next().unwrap_or(key.path);
    let help: String = key.help.iter().map(|line| format!("# {line}\n")).collect();
    let (note, value) = match key.fallback {
        Fallback::Value(text) => (String::new(), text),
        Fallback::Unset { meaning, example } => (format!("# Not set: {meaning}.\n"), example),
    };
    let value = (key.to_toml)(value);
    format!("\n{help}{note}# {}\n#{name} = {value}\n", variable(key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Config, Loaded, Sources};

    fn read(text: &str) -> (Config, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("parlance.toml");
        fs::write(&path, text).unwrap();
        let file = Some(path);
        let sources = Sources {
            file,
            ..Sources::default()
        };
        let (loaded, problems) = Loaded::read_layers(&sources);
        (
            loaded.config,
            problems.iter().map(ToString::to_string).collect(),
        )
    }

    fn defaults() -> Config {
        Loaded::read_layers(&Sources::default()).0.config
    }

    #[test]
    fn the_template_as_it_is_changes_nothing() {
        assert_eq!(read(&template()), (defaults(), Vec::new()));
    }

    #[test]
    fn every_line_of_the_template_taken_in_gives_the_defaults_and_refuses_example_secrets() {
        let enabled: String = template()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
                Some(_) | None => format!("{line}\n"),
            })
            .collect();

        let (config, problems) = read(&enabled);

        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(
            problems
                .iter()
                .all(|problem| problem.contains("is no usable secret"))
        );
        let shown = config.to_toml();
        let defaults = defaults().to_toml();
        for ((key, value), (_, default)) in shown.iter().zip(&defaults) {
            match key.fallback {
                Fallback::Value(_) => assert_eq!(value, default, "{}", key.path),
                Fallback::Unset { .. } => assert!(key.secret || value.is_some(), "{}", key.path),
            }
        }
    }
}
