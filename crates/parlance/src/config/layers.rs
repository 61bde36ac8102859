//! The layers, merged: for each setting the value of the highest layer that gives one.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Origin, Problem,
    settings::{Fallback, Field, KEYS, Key},
    toml_file,
    value::{Raw, Setting},
};

const PREFIX: &str = "PARLANCE_";
/// Read by the command line itself.
const NOT_SETTINGS: [&str; 2] = ["PARLANCE_CONFIG", "PARLANCE_LOG"];

/// Where the settings of a process come from, besides the defaults.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) file: Option<PathBuf>,
    /// The whole environment.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Path of the setting, name of the flag, value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
}

/// One given value of a setting.
struct Entry {
    origin: Origin,
    raw: Raw,
}

/// What is given, setting by setting, and what was wrong on the way.
pub(crate) struct Layers {
    entries: BTreeMap<&'static str, Entry>,
    origins: BTreeMap<&'static str, Origin>,
    problems: Vec<Problem>,
}

/// The name that stands for a setting, or for the file that holds its value.
#[derive(Clone, Copy)]
enum Name {
    Value(&'static Key),
    SecretFile(&'static Key),
}

impl Layers {
    pub(crate) fn read(sources: &Sources) -> Self {
        let mut layers = Self {
            entries: BTreeMap::new(),
            origins: BTreeMap::new(),
            problems: Vec::new(),
        };
        if let Some(path) = &sources.file {
            layers.read_file(path);
        }
        layers.read_variables(&sources.variables);
        for (path, flag, text) in &sources.flags {
            let entry = Entry {
                origin: Origin::Flag(flag),
                raw: Raw::Untyped(text.clone()),
            };
            layers.entries.insert(path, entry);
        }
        layers
    }

    /// The value in force. A wrong one becomes a problem, and the default is answered in its place.
    pub(super) fn take<F: Field>(&mut self, key: &'static Key) -> F {
        let given = self.entries.remove(key.path).and_then(|entry| {
            self.origins.insert(key.path, entry.origin.clone());
            let parsed = F::Value::parse(&entry.raw);
            let refused = |error| self.refuse(entry.origin, format!("`{}` {error}", key.path));
            parsed.map_err(refused).ok()
        });
        F::wrap(given.or_else(|| default(key)))
    }

    pub(super) fn finish(self) -> (BTreeMap<&'static str, Origin>, Vec<Problem>) {
        (self.origins, self.problems)
    }

    fn refuse(&mut self, origin: Origin, what: String) {
        self.problems.push(Problem { origin, what });
    }

    fn read_file(&mut self, file: &Path) {
        let (given, problems) = toml_file::read(file);
        self.problems.extend(problems);
        let mut layer = BTreeMap::new();
        for given in given {
            let origin = Origin::File {
                path: file.to_owned(),
                line: given.line,
            };
            match find(&given.path, "_file", |key| key.path.to_owned()) {
                Some(name) => self.put(&mut layer, name, origin, given.raw),
                None => self.refuse(origin, unknown("setting", &given.path, paths())),
            }
        }
        self.entries.extend(layer);
    }

    fn read_variables(&mut self, variables: &[(OsString, OsString)]) {
        let mut layer = BTreeMap::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| is_ours(name)) else {
                continue;
            };
            let origin = Origin::Variable(name.to_owned());
            let Some(text) = value.to_str() else {
                self.refuse(origin, "is not UTF-8".to_owned());
                continue;
            };
            match find(name, "_FILE", variable) {
                Some(found) => self.put(&mut layer, found, origin, Raw::Untyped(text.to_owned())),
                None => {
                    let known = KEYS.iter().map(variable).collect();
                    self.refuse(origin, unknown("variable", name, known));
                }
            }
        }
        self.entries.extend(layer);
    }

    /// Puts a value into its layer. A secret and its file together are a contradiction there; in
    /// different layers the higher one counts.
    fn put(
        &mut self,
        layer: &mut BTreeMap<&'static str, Entry>,
        name: Name,
        origin: Origin,
        raw: Raw,
    ) {
        let (key, raw) = match name {
            Name::Value(key) => (key, Ok(raw)),
            Name::SecretFile(key) => (key, read_secret(&raw)),
        };
        if let Some(other) = layer.get(key.path) {
            let what = format!(
                "`{}` is given here and at {}; keep one",
                key.path, other.origin
            );
            return self.refuse(origin, what);
        }
        match raw {
            Ok(raw) => {
                layer.insert(key.path, Entry { origin, raw });
            }
            Err(error) => {
                self.origins.insert(key.path, origin.clone());
                self.refuse(origin, format!("the file of `{}` {error}", key.path));
            }
        }
    }
}

fn default<T: Setting>(key: &Key) -> Option<T> {
    match key.fallback {
        Fallback::Value(text) => {
            let raw = Raw::Untyped(text.to_owned());
            Some(T::parse(&raw).expect("defaults are valid values"))
        }
        Fallback::Unset { .. } => None,
    }
}

/// The setting that `name` stands for, or whose file it names.
fn find(name: &str, file_suffix: &str, spelling: impl Fn(&Key) -> String) -> Option<Name> {
    KEYS.iter().find_map(|key| {
        let own = spelling(key);
        if name == own {
            return Some(Name::Value(key));
        }
        let file = name.strip_suffix(file_suffix) == Some(&own);
        (key.secret && file).then_some(Name::SecretFile(key))
    })
}

/// The variable of a setting: `admin.listen` is `PARLANCE_ADMIN__LISTEN`.
pub(super) fn variable(key: &Key) -> String {
    format!("{PREFIX}{}", key.path.replace('.', "__").to_uppercase())
}

fn paths() -> Vec<String> {
    KEYS.iter().map(|key| key.path.to_owned()).collect()
}

/// Whether a variable is meant for us.
fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name) && !is_service_link(name)
}

/// Kubernetes sets such variables in every pod for each Service of the namespace, and a Service is
/// often called like what it leads to: `PARLANCE_SERVICE_HOST`, `PARLANCE_PORT_8080_TCP_ADDR`,
/// `PARLANCE_ADMIN_SERVICE_PORT_HTTP`. No setting looks like one.
fn is_service_link(name: &str) -> bool {
    let service = name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_");
    let port = name
        .rsplit_once("_PORT")
        .is_some_and(|(_, rest)| rest.is_empty())
        || ["_TCP", "_UDP", "_SCTP"]
            .iter()
            .any(|kind| name.contains(kind));
    !name.contains("__") && (service || (port && name.contains("_PORT")))
}

/// Names the nearest known one, if one is near.
fn unknown(kind: &str, name: &str, known: Vec<String>) -> String {
    let near = |other: &String| strsim::jaro_winkler(name, other);
    let best = known.into_iter().max_by(|a, b| near(a).total_cmp(&near(b)));
    match best.filter(|best| near(best) > 0.8) {
        Some(best) => format!("unknown {kind} `{name}`; did you mean `{best}`?"),
        None => format!("unknown {kind} `{name}`; `parlance config template` lists all"),
    }
}

/// The content of the file that `path` names, one newline at its end cut.
fn read_secret(path: &Raw) -> Result<Raw, String> {
    let path = PathBuf::parse(path)?;
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot be read: {}: {error}", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    Ok(Raw::Untyped(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_for_a_service_of_our_name_is_not_ours() {
        for name in [
            "PARLANCE_SERVICE_HOST",
            "PARLANCE_SERVICE_PORT",
            "PARLANCE_SERVICE_PORT_HTTP",
            "PARLANCE_PORT",
            "PARLANCE_PORT_8080_TCP",
            "PARLANCE_PORT_8080_TCP_ADDR",
            "PARLANCE_ADMIN_SERVICE_HOST",
            "PARLANCE_ADMIN_PORT_9090_TCP_PROTO",
        ] {
            assert!(!is_ours(name), "{name}");
        }
        for name in [
            "PARLANCE_LISTEN",
            "PARLANCE_ADMIN__LISTEN",
            "PARLANCE_LISTEM",
        ] {
            assert!(is_ours(name), "{name}");
        }
    }

    #[test]
    fn no_setting_looks_like_what_kubernetes_sets() {
        for key in KEYS {
            assert!(is_ours(&variable(key)), "{}", key.path);
        }
    }
}
