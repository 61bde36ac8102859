//! What `serve --dev` sets up: [pages] that show it working, and, for `token` and `chat` to find
//! again, a secret in the data directory.

mod assets;
pub(crate) mod pages;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use parlance_auth::HmacSecret;

use crate::config::Config;

/// Where `serve --dev` keeps its data unless told otherwise.
const DATA_DIR: &str = ".parlance";
const SECRET_FILE: &str = "dev-secret";

/// The data directory of `serve --dev`.
pub(crate) fn data_dir(config: &Config) -> PathBuf {
    config.data_dir.clone().unwrap_or_else(|| DATA_DIR.into())
}

/// The secret in `dir`, made if there is none.
pub(crate) fn make_secret(dir: &Path) -> anyhow::Result<HmacSecret> {
    if let Some(secret) = read_secret(dir)? {
        return Ok(secret);
    }
    let path = dir.join(SECRET_FILE);
    write_secret(&path).with_context(|| format!("cannot write {}", path.display()))?;
    read_secret(dir)?.context("the secret is gone as soon as it was written")
}

/// The secret that tokens are to be signed with: the configured one, or that of `serve --dev`.
pub(crate) fn signing_secret(config: &Config) -> anyhow::Result<Option<HmacSecret>> {
    match &config.auth_hmac_secret {
        Some(secret) => Ok(Some(secret.clone())),
        None => read_secret(&data_dir(config)),
    }
}

fn read_secret(dir: &Path) -> anyhow::Result<Option<HmacSecret>> {
    let path = dir.join(SECRET_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let secret = HmacSecret::new(text.trim_end());
    let secret = secret.with_context(|| format!("{} is damaged; remove it", path.display()))?;
    Ok(Some(secret))
}

/// Only this user can read it, and a crash leaves none or a whole one.
fn write_secret(path: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(hex.as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();

        let made = make_secret(dir.path()).unwrap();

        assert!(make_secret(dir.path()).unwrap() == made);
        let mode = fs::metadata(dir.path().join(SECRET_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn two_directories_have_two_secrets() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = dirs.map(|dir| make_secret(dir.path()).unwrap());
        assert!(a != b);
    }
}
