//! Judges the engine's journal before the engine opens it.
//!
//! The journal holds what is not in a table yet. The engine itself is too lenient with it: at the
//! first byte that makes no sense it cuts the file, acknowledged events behind that included, and
//! says so nowhere. And too strict: a batch that is whole in form but wrong in checksum, as a
//! power cut can leave it, stops it for good. So this module reads the same form and decides:
//!
//! - The committer waits for each batch to be on the disk before it writes the next one. So a
//!   crash can spoil only the last batch of the last file, and nobody was told that it is safe.
//!   It is cut, with a warning.
//! - Anything else is damage: a valid batch after the bad place, a bad place in an earlier file, or
//!   a last batch that was written to its end without a hole. It is reported and left as it is.
//!
//! Form, in fjall 3: a batch is `1`, count (u32), sequence number (u64); then its items, `2`, kind,
//! compression, table (u64), key length (u16), value length (u32), stored length (u32), key, value,
//! or `4`, table (u64); then `3`, the XXH3 of all items (u64), a trailer. Little-endian. Zeros
//! after the last batch are space that was reserved.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use crate::OpenError;

const TRAILER: &[u8] = b"FJL\x03";

/// The unit in which a disk writes or does not write.
const SECTOR: usize = 512;

/// Checks all journal files in `dir` and repairs a torn end.
pub(crate) fn check(dir: &Path) -> Result<(), OpenError> {
    let mut files = journals(dir).map_err(|source| io("listing the journals in", dir, source))?;
    files.sort_by_key(|(number, _)| *number);
    if let Some(missing) = missing(&files) {
        return Err(OpenError::Corrupt {
            file: dir.join(format!("{missing}.jnl")),
            what: "it is missing".into(),
        });
    }
    for (index, (_, file)) in files.iter().enumerate() {
        let bytes = std::fs::read(file).map_err(|e| io("reading", file, e))?;
        let is_last = index + 1 == files.len();
        match judge(&bytes) {
            Verdict::Whole => {}
            Verdict::Torn { valid, cut } if is_last => {
                tracing::warn!(
                    "cut an unfinished write of {cut} bytes at byte {valid} of {}; nothing in it \
                     was acknowledged",
                    file.display()
                );
                truncate(file, valid).map_err(|e| io("repairing", file, e))?;
            }
            Verdict::Torn { valid, .. } | Verdict::Damaged { valid } => {
                return Err(OpenError::Corrupt {
                    file: file.clone(),
                    what: format!(
                        "what stands at byte {valid} is not what was written (`truncate -s {valid}` \
                         would give up all that was acknowledged after it)"
                    ),
                });
            }
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Whole,
    /// The last batch, which starts at `valid`, was not written to its end.
    Torn {
        valid: usize,
        cut: usize,
    },
    /// What starts at `valid` was written and has changed since.
    Damaged {
        valid: usize,
    },
}

fn judge(bytes: &[u8]) -> Verdict {
    let (mut valid, mut last) = (0, None);
    while let Some(batch) = batch(&bytes[valid..])
        && last.is_none_or(|last| last < batch.number)
    {
        valid += batch.length;
        last = Some(batch.number);
    }
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let end = bytes.len() - zeros;
    if end <= valid {
        return Verdict::Whole;
    }
    let rest = &bytes[valid..end];
    let later = (1..rest.len()).any(|at| rest[at] == 1 && batch(&rest[at..]).is_some());
    let written_to_its_end = rest.ends_with(TRAILER) && !has_hole(bytes, valid, end);
    if later || written_to_its_end {
        return Verdict::Damaged { valid };
    }
    let cut = rest.len();
    Verdict::Torn { valid, cut }
}

/// Whether a sector that lies wholly in `valid..end` is all zero: it never reached the disk.
fn has_hole(bytes: &[u8], valid: usize, end: usize) -> bool {
    let first = valid.next_multiple_of(SECTOR);
    let sectors = bytes.get(first..end).unwrap_or_default();
    let mut sectors = sectors.chunks_exact(SECTOR);
    sectors.any(|sector| sector.iter().all(|byte| *byte == 0))
}

struct Batch {
    length: usize,
    /// Grows from batch to batch. The only part that the sum does not cover.
    number: u64,
}

/// The batch that `bytes` starts with, if it is one, whole and with the right sum.
fn batch(bytes: &[u8]) -> Option<Batch> {
    let mut input = Input { bytes, at: 0 };
    if input.u8()? != 1 {
        return None;
    }
    let count = input.u32()?;
    let number = input.u64()?;
    let items_start = input.at;
    for _ in 0..count {
        item(&mut input)?;
    }
    let items = &bytes[items_start..input.at];
    if input.u8()? != 3 {
        return None;
    }
    let expected = input.u64()?;
    let mut hasher = Xxh3::new();
    hasher.update(items);
    let whole = hasher.digest() == expected && input.take(TRAILER.len())? == TRAILER;
    let length = input.at;
    whole.then_some(Batch { length, number })
}

fn item(input: &mut Input<'_>) -> Option<()> {
    match input.u8()? {
        2 => {
            input.take(2 + 8)?;
            let key = input.take(2)?.try_into().map(u16::from_le_bytes).ok()?;
            input.take(4)?;
            let stored = input.u32()?;
            input.take(usize::from(key))?;
            input.take(stored as usize)?;
        }
        4 => {
            input.take(8)?;
        }
        _ => return None,
    }
    Some(())
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().map(u32::from_le_bytes).ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().map(u64::from_le_bytes).ok()
    }
}

fn journals(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if is_journal && let Some(number) = stem.and_then(|stem| stem.parse().ok()) {
            found.push((number, path));
        }
    }
    Ok(found)
}

/// Files are begun one after another and dropped from the first on; one is always there.
fn missing(sorted: &[(u64, PathBuf)]) -> Option<u64> {
    let Some((first, _)) = sorted.first() else {
        return Some(0);
    };
    let present = sorted.iter().map(|(number, _)| *number);
    (*first..)
        .zip(present)
        .find(|(expected, found)| expected != found)
        .map(|(n, _)| n)
}

fn truncate(file: &Path, length: usize) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(file)?;
    file.set_len(length as u64)?;
    file.sync_all()
}

fn io(what: &'static str, path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_batch(number: u64, value: &[u8]) -> Vec<u8> {
        let mut items = vec![2, 0, 0];
        items.extend(1_u64.to_le_bytes());
        items.extend(1_u16.to_le_bytes());
        items.extend((value.len() as u32).to_le_bytes());
        items.extend((value.len() as u32).to_le_bytes());
        items.push(b'k');
        items.extend(value);
        let mut batch = vec![1];
        batch.extend(1_u32.to_le_bytes());
        batch.extend(number.to_le_bytes());
        batch.extend(&items);
        batch.push(3);
        let mut hasher = Xxh3::new();
        hasher.update(&items);
        batch.extend(hasher.digest().to_le_bytes());
        batch.extend(TRAILER);
        batch
    }

    #[test]
    fn a_file_cut_anywhere_in_its_last_batch_is_torn_there() {
        let (first, last) = (written_batch(8, b"first"), written_batch(9, b"last"));
        let file = [first.clone(), last].concat();

        for end in first.len() + 1..file.len() {
            let mut bytes = file[..end].to_vec();
            let cut = end - first.len();
            let zeros = bytes.iter().rev().take_while(|b| **b == 0).count();
            let expected = Verdict::Torn {
                valid: first.len(),
                cut: cut - zeros,
            };
            assert_eq!(judge(&bytes), expected, "cut at {end}");
            bytes.extend([0; 100]);
            assert_eq!(judge(&bytes), expected, "cut at {end}, zeros after it");
        }
    }

    #[test]
    fn a_changed_byte_before_another_batch_is_damage() {
        let first = written_batch(8, b"first");
        let file = [first.clone(), written_batch(9, b"last")].concat();

        for at in 0..first.len() {
            let mut bytes = file.clone();
            bytes[at] ^= 0x55;

            // A changed number shows at the batch after it.
            let number = 5..13;
            let valid = if number.contains(&at) { first.len() } else { 0 };
            assert_eq!(judge(&bytes), Verdict::Damaged { valid }, "byte {at}");
        }
    }

    #[test]
    fn a_changed_byte_in_a_last_batch_that_was_whole_is_damage() {
        let first = written_batch(8, b"first");
        let last = written_batch(9, b"last");
        let file = [first.clone(), last.clone()].concat();
        let valid = first.len();

        let number = 5..13;
        for at in (0..last.len() - TRAILER.len()).filter(|at| !number.contains(at)) {
            let mut bytes = file.clone();
            bytes[valid + at] ^= 0x55;

            assert_eq!(judge(&bytes), Verdict::Damaged { valid }, "byte {at}");
        }
    }

    #[test]
    fn a_last_batch_with_a_sector_that_was_never_written_is_torn() {
        let first = written_batch(8, b"first");
        let last = written_batch(9, &[b'x'; 2000]);
        let valid = first.len();
        let mut bytes = [first, last].concat();
        bytes[SECTOR..2 * SECTOR].fill(0);

        let cut = bytes.len() - valid;
        assert_eq!(judge(&bytes), Verdict::Torn { valid, cut });
    }

    #[test]
    fn reserved_space_after_the_last_batch_is_fine() {
        let mut bytes = written_batch(9, b"only");
        assert_eq!(judge(&bytes), Verdict::Whole);
        bytes.extend([0; 5000]);
        assert_eq!(judge(&bytes), Verdict::Whole);
        assert_eq!(judge(&[0; 5000]), Verdict::Whole);
    }
}
