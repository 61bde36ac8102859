//! Limits that are part of the protocol. Configurable ones are the defaults.

/// Longest conversation id, in bytes.
pub const CONVERSATION_ID_BYTES: usize = 128;
/// Longest user id (`sub`), in bytes.
pub const USER_ID_BYTES: usize = 128;
/// Longest `local_id`, in bytes.
pub const LOCAL_ID_BYTES: usize = 128;
/// Longest message content, in bytes of UTF-8.
pub const CONTENT_BYTES: usize = 16_384;
/// Longest frame and longest message, in bytes.
pub const FRAME_BYTES: usize = 65_536;
/// Longest action name that an error echoes, in bytes.
pub const ACTION_NAME_BYTES: usize = 64;
/// Longest `request_id` of a `fetch_messages`, in bytes.
pub const REQUEST_ID_BYTES: usize = 128;
/// Most ids in one `read`.
pub const READ_IDS: usize = 500;
/// Page size when `fetch_messages` names none.
pub const PAGE_DEFAULT: u8 = 20;
/// Largest page.
pub const PAGE_MAX: u8 = 100;
/// Shown name in `typing`, in characters.
pub const USERNAME_CHARS: usize = 64;
/// Ids and JSON integers stay below this (2^53), so that any client can hold them.
pub const ID_BOUND: u64 = 1 << 53;
/// Shortest wait of a client before it reconnects, in milliseconds.
pub const BACKOFF_MIN_MS: u64 = 500;
/// Most that chance adds to it, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 20_000;
/// A connection that held for so long, in milliseconds, starts the backoff anew.
pub const STABLE_MS: u64 = 5_000;
