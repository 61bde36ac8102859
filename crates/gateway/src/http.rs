//! What the public and the admin listener have in common as HTTP servers: the limits of a request,
//! and plain-text answers.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
};
use hyper_util::rt::TokioTimer;

/// A longer head of a request is answered 431.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;

/// An answer whose body is known.
pub type Answer = Response<Full<Bytes>>;

/// HTTP/1 with a deadline for each request's head (idle connections too) and bounded buffers.
pub(crate) fn server(header_deadline: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(header_deadline)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(HEAD_BYTES);
    server
}

/// A text that no browser takes for anything else.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
