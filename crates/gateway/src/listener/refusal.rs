//! Why a request is answered by HTTP alone, and that answer.

use hyper::{
    StatusCode,
    header::{
        ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};

use crate::http::{Answer, text};

/// Where a close code would help nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A cap of the node is reached, or the node is leaving.
    #[error("this node takes no connections at present, try again later")]
    Busy,
    /// No conversation has this path.
    #[error("nothing is here, conversations are under /conversations/")]
    NotFound,
    /// Not a GET.
    #[error("a conversation is opened by GET")]
    MethodNotAllowed,
    /// Not an upgrade to the version of WebSocket that is spoken here.
    #[error("a conversation is a WebSocket of version 13 over HTTP/1.1, ask for an upgrade")]
    UpgradeRequired,
    /// The request contradicts itself or the protocol.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// A page that may not connect.
    #[error("pages of this origin may not connect")]
    ForeignOrigin,
}

impl Refusal {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
        }
    }

    /// The whole answer. It ends the connection: who was refused once has nothing more to ask.
    pub(crate) fn answer(self) -> Answer {
        let mut answer = text(self.status(), format!("{self}\n"));
        for (name, value) in self.headers() {
            answer.headers_mut().insert(name, value);
        }
        answer
    }

    fn headers(self) -> Vec<(HeaderName, HeaderValue)> {
        const CLOSE: HeaderValue = HeaderValue::from_static("close");
        match self {
            Self::Busy => vec![
                (RETRY_AFTER, HeaderValue::from(retry_after_secs())),
                (CONNECTION, CLOSE),
            ],
            Self::MethodNotAllowed => {
                vec![
                    (ALLOW, HeaderValue::from_static("GET")),
                    (CONNECTION, CLOSE),
                ]
            }
            Self::UpgradeRequired => vec![
                (UPGRADE, HeaderValue::from_static("websocket")),
                (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
                (CONNECTION, HeaderValue::from_static("upgrade, close")),
            ],
            Self::NotFound | Self::Malformed(_) | Self::ForeignOrigin => {
                vec![(CONNECTION, CLOSE)]
            }
        }
    }
}

/// The answer to a connection that is not even asked what it wants.
pub(super) fn busy_unasked() -> String {
    let body = format!("{}\n", Refusal::Busy);
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {}\r\n\
         content-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        retry_after_secs(),
        body.len(),
    )
}

/// Between 1 and 5, by chance, so that the refused do not return all at once.
fn retry_after_secs() -> u64 {
    crate::random_in(1..6)
}
