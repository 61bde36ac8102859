//! The scripts, each with the common part before it, known to Redis by the hash of both.

use std::sync::LazyLock;

use sha1_smol::Sha1;

/// A script as it is called.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) source: String,
    pub(crate) hash: String,
}

macro_rules! scripts {
    ($($name:ident = $($file:literal),+;)+) => {
        $(pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(stringify!($name), concat!($(include_str!($file)),+)));)+

        /// All of them, to be loaded into a node before it is used.
        pub(crate) fn all() -> impl Iterator<Item = &'static Script> {
            [$(&*$name),+].into_iter()
        }
    };
}

scripts! {
    APPEND = "../lua/append.lua";
    MARK = "../lua/set_mark.lua", "../lua/mark.lua";
    OPENING = "../lua/set_mark.lua", "../lua/highest.lua", "../lua/opening.lua";
    HEAD = "../lua/head.lua";
    RANGE = "../lua/range.lua";
    CLAIM = "../lua/claim.lua";
    OPEN = "../lua/open.lua";
    PRESENCE = "../lua/presence.lua";
    HOLDERS = "../lua/holders.lua";
    LEASE = "../lua/lease.lua";
    TAKE = "../lua/take.lua";
    ADVANCE = "../lua/advance.lua";
    CURSORS = "../lua/highest.lua", "../lua/cursors.lua";
    CHANGES = "../lua/changes.lua";
    RECALL = "../lua/recall.lua";
    HOLD = "../lua/hold.lua";
    RELEASE = "../lua/release.lua";
    COMMIT = "../lua/commit.lua";
    SETTLE = "../lua/settle.lua";
    REQUEUE = "../lua/requeue.lua";
}

/// The line by which a script may be called when memory is full. Only what frees some is, and what
/// gateways have to say to live and to leave.
const WHEN_FULL: &str = "#!lua flags=allow-oom\n";

impl Script {
    fn new(name: &str, own: &str) -> Self {
        let flags = match name {
            "LEASE" | "TAKE" | "HOLD" | "RELEASE" | "COMMIT" | "SETTLE" => WHEN_FULL,
            _ => "",
        };
        let source = format!("{flags}{}{own}", include_str!("../lua/lib.lua"));
        let hash = Sha1::from(&source).digest().to_string();
        Self { source, hash }
    }
}
