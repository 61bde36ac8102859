//! The data directory: whose it is, which format it has, and that only one process uses it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::OpenError;

/// Says that a directory is ours, and in which format.
const FORMAT_FILE: &str = "format";
const FORMAT_PREFIX: &str = "parlance data directory, format ";
const FORMAT: u32 = 1;

/// Follows the format until the engine's files were all made: what is missing then is not lost.
const UNFINISHED: &str = ", unfinished";

/// Locked while a process uses the directory; holds its process id.
const LOCK_FILE: &str = "lock";

/// Where the engine keeps its files.
const ENGINE_DIR: &str = "log";

/// A data directory that this process has for itself, until this is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    finished: bool,
    _lock: File,
}

impl Directory {
    /// Makes the directory if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |what, source| OpenError::Io {
            what,
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(path).map_err(|e| io("making the data directory", e))?;
        let ours = match std::fs::read_to_string(path.join(FORMAT_FILE)) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(io("reading the format of", e)),
        };
        let finished = match ours {
            Some(text) => check_format(path, &text)?,
            None if is_foreign(path).map_err(|e| io("listing", e))? => {
                return Err(OpenError::Foreign {
                    path: path.to_owned(),
                });
            }
            None => false,
        };
        let directory = Self {
            path: path.to_owned(),
            finished,
            _lock: lock(path)?,
        };
        if !finished {
            let text = format!("{FORMAT_PREFIX}{FORMAT}{UNFINISHED}\n");
            directory.write_format(&text)?;
        }
        Ok(directory)
    }

    /// Whether all of the engine's files were made by an earlier process.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// All of the engine's files are there: from here on none may be missing.
    pub(crate) fn finish(&self) -> Result<(), OpenError> {
        if self.finished {
            return Ok(());
        }
        self.write_format(&format!("{FORMAT_PREFIX}{FORMAT}\n"))
    }

    /// Written to a file aside and renamed: it is there whole or not at all.
    fn write_format(&self, text: &str) -> Result<(), OpenError> {
        let write = || {
            let aside = self.path.join(LOCK_FILE).with_extension("new");
            let mut file = File::create(&aside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&aside, self.path.join(FORMAT_FILE))?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| OpenError::Io {
            what: "writing the format of",
            path: self.path.clone(),
            source,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join(ENGINE_DIR)
    }
}

/// Whether the directory was finished.
fn check_format(path: &Path, text: &str) -> Result<bool, OpenError> {
    let found = text.strip_prefix(FORMAT_PREFIX).map(str::trim_end);
    let (number, finished) = match found.and_then(|text| text.strip_suffix(UNFINISHED)) {
        Some(number) => (Some(number), false),
        None => (found, true),
    };
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(FORMAT) => Ok(finished),
        Some(newer) if newer > FORMAT => Err(OpenError::Newer {
            path: path.to_owned(),
            found: newer,
            known: FORMAT,
        }),
        Some(_) | None => Err(OpenError::Corrupt {
            file: path.join(FORMAT_FILE),
            what: "it does not name a known format".into(),
        }),
    }
}

/// Whether there is anything but what an interrupted first start leaves.
fn is_foreign(path: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != Path::new(LOCK_FILE).with_extension("new").as_os_str() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io {
        what: "locking",
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path.join(LOCK_FILE))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Without the number the message is still true.
            let _ = file.read_to_string(&mut text);
            return Err(OpenError::InUse {
                path: path.to_owned(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}
