//! The configuration of a node: defaults < TOML file < environment < flags.
//!
//! [`settings`] is the one list of what can be set; everything else follows from it: reading
//! ([`layers`], [`value`]), judging settings against each other ([`checks`]), and what `parlance
//! config` prints ([`mod@show`], [`mod@template`], [`mod@schema`]).
//!
//! Errors are collected, so that one run names all of them, and each says where it stands: the
//! line of the file, the variable or the flag. The layers are merged by hand and not by a library,
//! because those lose the line, stop at the first error, or print the line of a secret.

mod checks;
mod collector_url;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod layers;
mod redis_urls;
mod schema;
mod settings;
mod show;
mod store;
mod template;
mod toml_file;
mod units;
mod value;
mod words;

use std::{collections::BTreeMap, fmt, path::PathBuf};

pub(crate) use checks::{DescriptorLimit, Purpose, Surroundings};
pub(crate) use layers::Sources;
pub(crate) use schema::schema;
pub(crate) use settings::Config;
pub(crate) use show::show;
pub(crate) use template::template;
pub(crate) use units::{Millis, parse_duration};
pub(crate) use words::RedisDurability;

/// A configuration that is valid in itself, and where each setting came from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

/// Where a value was given; in the order in which problems are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(&'static str),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Something wrong in the configuration: where, which key, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) origin: Origin,
    pub(crate) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str(&self.what),
            origin @ (Origin::File { .. } | Origin::Variable(_) | Origin::Flag(_)) => {
                write!(f, "{origin}: {}", self.what)
            }
        }
    }
}

/// All that is wrong, in the order of [`Origin`].
#[derive(Debug)]
pub(crate) struct ConfigError(pub(crate) Vec<Problem>);

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration is not valid: {only}"),
            several => {
                write!(
                    f,
                    "the configuration is not valid in {} places:",
                    several.len()
                )?;
                several
                    .iter()
                    .try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl Loaded {
    /// Reads all layers and judges the settings against each other and their `surroundings`.
    pub(crate) fn read(sources: &Sources, surroundings: Surroundings) -> Result<Self, ConfigError> {
        let (loaded, mut problems) = Self::read_layers(sources);
        problems.extend(checks::check(&loaded, surroundings));
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(ConfigError(problems))
        }
    }

    /// Where the setting at `path` was given.
    pub(crate) fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    /// Whether any layer gave the setting at `path`, rightly or wrongly.
    fn is_given(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    /// Settings that are wrong have their defaults in the result.
    fn read_layers(sources: &Sources) -> (Self, Vec<Problem>) {
        let mut layers = layers::Layers::read(sources);
        let config = Config::take(&mut layers);
        let (origins, problems) = layers.finish();
        (Self { config, origins }, problems)
    }
}
