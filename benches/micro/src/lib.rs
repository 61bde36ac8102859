//! The pieces of the live path, each alone, ready to be run again and again.
//!
//! Two programs run the same pieces: `benches/instructions.rs` counts what one run executes, which is
//! the same on a busy machine, and `benches/time.rs` measures how long it takes. What a piece leaves
//! out is the kernel and the log: bytes come from memory instead of a socket, and an append gets its
//! place at once. How much the whole costs is measured by `make bench`.
//!
//! Only what crates offer to others is called, so nothing is public for the sake of a bench. That
//! leaves out what the Redis adapter does between a socket and a room.

mod frames;
mod protocol;
mod rooms;
mod tokens;

pub use frames::{
    read_a_frame_in_two_reads, read_a_frame_of_64_kib, read_a_small_frame, read_joined_frames,
    write_frames,
};
pub use protocol::{
    encode_a_message, encode_a_page, encode_an_edit, parse_a_refused_action, parse_a_send,
    parse_an_edit, parse_the_longest_send,
};
pub use rooms::{append, fan_out, fan_out_joined, join_at_the_end, join_behind};
pub use tokens::verify_hs256;

/// A piece of the live path.
pub trait Piece {
    /// Does it once. The next run finds everything as this one did.
    fn run(&mut self);
}

/// A piece whose buffers have the size that they keep, and whose library code knows its processor.
fn warm(mut piece: impl Piece + 'static) -> Box<dyn Piece> {
    for _ in 0..3 {
        piece.run();
    }
    Box::new(piece)
}

/// A message of usual length.
const CONTENT: &str =
    "Shall we meet at eight, at the usual place? I can bring the tickets, and Bob has the keys.";

/// A sender's name for it.
const LOCAL_ID: &str = "b4f1c6de-7a52-4c1b-9d0e";

/// The frame of a client that sends it.
fn send() -> String {
    format!(r#"{{"action":"send_message","content":"{CONTENT}","local_id":"{LOCAL_ID}"}}"#)
}

/// 2027-01-15, in seconds since 1970. Nothing here reads a clock.
const NOW_SECS: u64 = 1_800_000_000;
