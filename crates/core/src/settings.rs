//! What can be tuned in the core. Every field has the default of the documentation.

use parlance_protocol::limits;

/// The tunables of rooms and sessions. `0` means "no limit" for every rate and count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Longest content of a message, in bytes.
    pub content_bytes: usize,
    /// Longest frame, in bytes; only told in `hello`.
    pub frame_bytes: usize,
    /// Actions per second and connection.
    pub actions_per_second: u32,
    /// How many actions a connection may send at once.
    pub actions_burst: u32,
    /// How many missed events a resume replays.
    pub resume_events: u64,
    /// How many recent events a room keeps encoded.
    pub ring_entries: usize,
    /// How many bytes of recent events a room keeps encoded.
    pub ring_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            content_bytes: limits::CONTENT_BYTES,
            frame_bytes: limits::FRAME_BYTES,
            actions_per_second: 20,
            actions_burst: 40,
            resume_events: 5_000,
            ring_entries: 256,
            ring_bytes: 256 * 1024,
        }
    }
}
