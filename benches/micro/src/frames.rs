//! WebSocket frames: what a client sent is taken apart, what it is sent is put together.

use std::hint::black_box;

use bytes::Bytes;
use parlance_core::{clock::Mono, room::FrameSink};
use parlance_gateway::frame::{Event, FrameReader, FrameWriter};
use parlance_protocol::limits;

use crate::{CONTENT, Piece, warm};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// What reads of a socket brought, one after the other. They are copied to a buffer first, as a read
/// does, since the reader unmasks in place.
struct Read {
    reads: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    reader: FrameReader,
    /// How many came out so far.
    texts: usize,
}

impl Piece for Read {
    fn run(&mut self) {
        for read in &self.reads {
            let buffer = &mut self.buffer[..read.len()];
            buffer.copy_from_slice(read);
            let mut input = black_box(buffer);
            while let Some(event) = self
                .reader
                .next(&mut input, limits::FRAME_BYTES, Mono(1))
                .expect("only legal frames are read")
            {
                self.texts += usize::from(matches!(black_box(&event), Event::Text(_)));
            }
        }
    }
}

fn read(reads: Vec<Vec<u8>>, texts: usize) -> Box<dyn Piece> {
    let longest = reads.iter().map(Vec::len).max().unwrap_or_default();
    let mut piece = Read {
        reads,
        buffer: vec![0; longest],
        reader: FrameReader::default(),
        texts: 0,
    };
    piece.run();
    assert_eq!(piece.texts, texts, "not all was read");
    warm(piece)
}

/// One frame, as a quiet client sends it.
#[must_use]
pub fn read_a_small_frame() -> Box<dyn Piece> {
    read(vec![masked(CONTENT)], 1)
}

/// A hundred frames in one read, as a busy client's pile up.
#[must_use]
pub fn read_joined_frames() -> Box<dyn Piece> {
    read(vec![masked(CONTENT).repeat(100)], 100)
}

/// The longest frame, in one read.
#[must_use]
pub fn read_a_frame_of_64_kib() -> Box<dyn Piece> {
    read(vec![masked(&"a".repeat(limits::FRAME_BYTES))], 1)
}

/// One frame that comes in two reads.
#[must_use]
pub fn read_a_frame_in_two_reads() -> Box<dyn Piece> {
    let mut first = masked(CONTENT);
    let second = first.split_off(first.len() / 2);
    read(vec![first, second], 1)
}

/// A whole text message as a client sends it.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        bytes @ 0..=125 => frame.push(0x80 | bytes as u8),
        bytes @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((bytes as u16).to_be_bytes());
        }
        bytes => {
            frame.push(0x80 | 127);
            frame.extend((bytes as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(
        text.bytes()
            .zip(KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// Frames that are joined for one write.
struct Write {
    text: Bytes,
    count: usize,
    writer: FrameWriter,
}

impl Piece for Write {
    fn run(&mut self) {
        self.writer.clear(64 * 1024);
        for _ in 0..self.count {
            self.writer.text(black_box(&self.text));
        }
        black_box(self.writer.as_slice());
    }
}

/// So many frames of usual length, for one write.
#[must_use]
pub fn write_frames(count: usize) -> Box<dyn Piece> {
    let mut piece = Write {
        text: Bytes::from(CONTENT.repeat(2)),
        count,
        writer: FrameWriter::default(),
    };
    piece.run();
    assert_eq!(piece.writer.texts(), count as u64, "not all was written");
    warm(piece)
}
