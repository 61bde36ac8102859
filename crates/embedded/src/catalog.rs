//! Judges the engine's table files, before the engine opens them and when a read fails.
//!
//! The engine checks each block that it reads. But it takes a table whose list of files is missing
//! for a new one, deletes what is in its directory, and names no file when it refuses. So each list
//! is checked here before, and that the files on it exist; which file is the damaged one is found
//! by reading all of them, and therefore only when something failed.
//!
//! Form, in lsm-tree 3: `keyspaces/N/current` holds the number and the XXH3-128 of the list
//! `vNUMBER`; the list's section `tables` holds levels (u8) of runs (u8) of files (u32): number
//! (u64), kind of sum (u8), XXH3-128 of the file, sequence number (u64). Little-endian.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use crate::OpenError;

/// The engine's own tables and ours, see [`crate::tables`].
const KEYSPACES: u64 = 1 + 6;

/// The content of the engine's file `version`.
const ENGINE_VERSION: &[u8] = b"FJL\x03";

/// A damaged or missing file, and how that shows.
pub(crate) type Damage = (PathBuf, String);

/// Checks that all that belongs to an engine's directory is there.
pub(crate) fn check(engine: &Path) -> Result<(), OpenError> {
    let corrupt = |(file, what)| OpenError::Corrupt { file, what };
    let version = engine.join("version");
    let found = std::fs::read(&version).map_err(|e| corrupt(unreadable(&version, &e)))?;
    if found != ENGINE_VERSION {
        return Err(corrupt((
            version,
            "it names no version of the engine".into(),
        )));
    }
    for keyspace in keyspaces(engine) {
        for table in tables(&keyspace).map_err(corrupt)? {
            if let Err(e) = std::fs::metadata(&table.file) {
                return Err(corrupt(unreadable(&table.file, &e)));
            }
        }
    }
    Ok(())
}

/// The first damaged file of all tables, if there is one. Reads everything.
pub(crate) fn damage(engine: &Path) -> Option<Damage> {
    keyspaces(engine).find_map(|keyspace| damage_of(&keyspace))
}

/// The first damaged file of one table. A file that is missing may have been compacted away while
/// this looked.
pub(crate) fn damage_of(keyspace: &Path) -> Option<Damage> {
    let tables = match tables(keyspace) {
        Ok(tables) => tables,
        Err(damage) => return Some(damage),
    };
    tables.into_iter().find_map(|table| match sum(&table.file) {
        Ok(found) if found == table.sum => None,
        Ok(_) => Some((
            table.file,
            "its checksum is not that of what was written".into(),
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => Some(unreadable(&table.file, &e)),
    })
}

struct Listed {
    file: PathBuf,
    sum: u128,
}

fn keyspaces(engine: &Path) -> impl Iterator<Item = PathBuf> {
    (0..KEYSPACES).map(|number| engine.join("keyspaces").join(number.to_string()))
}

/// The files of one table.
fn tables(keyspace: &Path) -> Result<Vec<Listed>, Damage> {
    let current = keyspace.join("current");
    let bytes = std::fs::read(&current).map_err(|e| unreadable(&current, &e))?;
    let unknown = |file: &Path| (file.to_owned(), "it is of no known form".to_owned());
    let mut input = &bytes[..];
    let number = take(&mut input).map(u64::from_le_bytes);
    let listed_sum = take(&mut input).map(u128::from_le_bytes);
    let (Some(number), Some(listed_sum), [0]) = (number, listed_sum, input) else {
        return Err(unknown(&current));
    };
    let list = keyspace.join(format!("v{number}"));
    let found = sum(&list).map_err(|e| {
        let what = format!("{} names it, but it cannot be read: {e}", current.display());
        (list.clone(), what)
    })?;
    if found != listed_sum {
        let what = format!("its checksum is not the one in {}", current.display());
        return Err((list, what));
    }
    let section = section(&list).map_err(|e| unreadable(&list, &e))?;
    let tables = parse(&section, &keyspace.join("tables"));
    tables.ok_or_else(|| unknown(&list))
}

fn section(list: &Path) -> std::io::Result<Vec<u8>> {
    let reader = sfa::Reader::new(list).map_err(std::io::Error::other)?;
    let section = reader.toc().section(b"tables");
    let section = section.ok_or_else(|| std::io::Error::other("it lists no tables"))?;
    let mut bytes = Vec::new();
    section.buf_reader(list)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(mut input: &[u8], dir: &Path) -> Option<Vec<Listed>> {
    let mut listed = Vec::new();
    let [levels] = take(&mut input)?;
    for _ in 0..levels {
        let [runs] = take(&mut input)?;
        for _ in 0..runs {
            let files = u32::from_le_bytes(take(&mut input)?);
            for _ in 0..files {
                let number = u64::from_le_bytes(take(&mut input)?);
                let [0] = take(&mut input)? else {
                    return None;
                };
                let sum = u128::from_le_bytes(take(&mut input)?);
                let _sequence_number: [u8; 8] = take(&mut input)?;
                let file = dir.join(number.to_string());
                listed.push(Listed { file, sum });
            }
        }
    }
    Some(listed)
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*head)
}

fn sum(file: &Path) -> std::io::Result<u128> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(file)?);
    let mut hasher = Xxh3::new();
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hasher.digest128());
        }
        hasher.update(bytes);
        let count = bytes.len();
        reader.consume(count);
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Damage {
    (file.to_owned(), format!("it cannot be read: {error}"))
}
