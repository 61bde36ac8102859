//! The files of the demo, as `clients/demo` builds them. They are part of the program, so that it
//! needs nothing beside it, and are small, so they are not compressed.

use std::sync::LazyLock;

/// A file that is the same for everybody.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) bytes: &'static [u8],
    /// Strong: it stands for the bytes.
    pub(super) entity_tag: String,
}

/// A page, whose headers are not the same for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    /// Both phones, and what can be done to them.
    Phones,
    /// One of them.
    Phone,
    /// Why the demo is not shown.
    Elsewhere,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! embedded {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/", $name)
    };
}

static ASSETS: LazyLock<[Asset; 5]> = LazyLock::new(|| {
    [
        asset("page.js", SCRIPT, include_bytes!(embedded!("page.js"))),
        asset("page.css", STYLE, include_bytes!(embedded!("page.css"))),
        asset("phone.js", SCRIPT, include_bytes!(embedded!("phone.js"))),
        asset("phone.css", STYLE, include_bytes!(embedded!("phone.css"))),
        asset("icon.svg", PICTURE, include_bytes!(embedded!("icon.svg"))),
    ]
});

/// The file of this name.
pub(super) fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The page, as it was built.
pub(super) const fn text(document: Document) -> &'static str {
    match document {
        Document::Phones => include_str!(embedded!("page.html")),
        Document::Phone => include_str!(embedded!("phone.html")),
        Document::Elsewhere => include_str!(embedded!("elsewhere.html")),
    }
}

fn asset(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset {
        name,
        content_type,
        bytes,
        entity_tag: format!("\"{}\"", blake3::hash(bytes).to_hex()),
    }
}
