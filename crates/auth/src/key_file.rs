//! A file of keys that is read again when it changes.
//!
//! The whole content is compared and not a time stamp: a file is small, and a mounted secret may be
//! swapped for another without any stamp moving forward.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use crate::{jwks, key::Key, pem};

/// Far above any real set of keys.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    Pem,
    Jwks,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the key file {}: {reason}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{0}")]
    Unreadable(io::ErrorKind),
    #[error("{0}")]
    Pem(#[from] pem::PemError),
    #[error("{0}")]
    Jwks(#[from] jwks::JwksError),
}

pub(crate) struct KeyFile {
    path: PathBuf,
    format: Format,
    /// What the last look found, good or bad.
    seen: Mutex<Content>,
    /// What the last good look found.
    keys: ArcSwap<Vec<Key>>,
}

type Content = Result<Vec<u8>, io::ErrorKind>;

impl KeyFile {
    /// # Errors
    /// [`KeyFileError`].
    pub(crate) fn open(path: PathBuf, format: Format) -> Result<Self, KeyFileError> {
        let content = read(&path);
        let keys = parse(&path, format, &content)?;
        Ok(Self {
            path,
            format,
            seen: Mutex::new(content),
            keys: ArcSwap::from_pointee(keys),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keys(&self) -> Arc<Vec<Key>> {
        self.keys.load_full()
    }

    /// The number of keys after a change, `None` without one. An unusable content keeps the keys
    /// as they were and is told once, until the file changes again. Blocks on the disk.
    pub(crate) fn reload_if_changed(&self) -> Option<Result<usize, KeyFileError>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let content = read(&self.path);
        if *seen == content {
            return None;
        }
        let parsed = parse(&self.path, self.format, &content);
        *seen = content;
        Some(parsed.map(|keys| {
            let count = keys.len();
            self.keys.store(Arc::new(keys));
            count
        }))
    }
}

fn read(path: &Path) -> Content {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| error.kind())?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge);
    }
    Ok(content)
}

fn parse(path: &Path, format: Format, content: &Content) -> Result<Vec<Key>, KeyFileError> {
    keys_of(format, content).map_err(|reason| KeyFileError {
        path: path.to_owned(),
        reason,
    })
}

fn keys_of(format: Format, content: &Content) -> Result<Vec<Key>, Reason> {
    let content = content.as_ref().map_err(|kind| Reason::Unreadable(*kind))?;
    match format {
        Format::Pem => Ok(vec![pem::parse(content)?]),
        Format::Jwks => Ok(jwks::parse(content)?),
    }
}
