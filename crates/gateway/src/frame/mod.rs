//! WebSocket frames (RFC 6455) for the server's side: a strict incremental [`FrameReader`], and
//! [`FrameWriter`], which joins frames for one `write`.
//!
//! Sans-IO: the shard reads and writes the sockets. Own code and not a library's, because what is
//! wanted here is rare together: no buffer per idle connection, no future that may not be dropped
//! half way, every limit checked before anything is reserved, and text judged as it arrives.
//!
//! With the feature `echo`, which only the conformance tests of `tests/autobahn` turn on, binary
//! messages are read too, and messages may be long and slow. Nothing else differs.

#[cfg(all(any(fuzzing, test), not(feature = "echo")))]
pub(crate) mod fuzz;
mod header;
mod mask;
mod partial;
mod reader;
#[cfg(all(test, not(feature = "echo")))]
mod tests;
mod violation;
mod writer;

pub use reader::{Event, FrameReader};
pub use violation::Violation;
pub use writer::FrameWriter;

/// Most fragments of one message. A client library splits by its buffer, so a message of 64 KiB
/// comes in far fewer. The echo takes messages of many MiB in tiny pieces.
const FRAGMENTS: u32 = if cfg!(feature = "echo") { 1 << 20 } else { 64 };

/// Most control frames in one second.
const CONTROLS_PER_SECOND: u8 = 100;

/// Longest payload of a control frame, in bytes.
const CONTROL_BYTES: usize = 125;

/// How long a started frame or message may take, in milliseconds.
pub const FRAME_MS: u64 = if cfg!(feature = "echo") {
    100_000
} else {
    10_000
};
