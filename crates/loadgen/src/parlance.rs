//! The product's own dialect.
//!
//! Names of messages are `local_id`s that begin with a word of this run, so that what an earlier run
//! or somebody else said in the same conversation is not taken for ours. Frames are recognised by how
//! the server begins them; a frame whose fields come in another order is found all the same, only
//! more slowly.

use crate::dialect::{
    Dialect, Heard, PageAt, Seat, Upgrade, find, number, push_number, string_behind,
};

/// Which of the two layers the clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layer {
    /// Extended (`v=1`): a member is in its room when `live` came.
    #[default]
    Extended,
    /// Base: a member is in its room when its first `fetch_messages` was answered.
    Base,
}

/// Speaks to a gateway. `path` gives the path of a seat, its token in the query:
/// `/conversations/<id>/?token=<token>`.
pub struct Parlance<P> {
    layer: Layer,
    /// Before the number in each `local_id`.
    prefix: String,
    path: P,
}

impl<P: Fn(Seat) -> String> Parlance<P> {
    /// `run` tells this run from others; letters and digits.
    pub fn new(layer: Layer, run: &str, path: P) -> Self {
        let prefix = format!("{run}-");
        Self {
            layer,
            prefix,
            path,
        }
    }

    fn name(&self, local_id: &[u8]) -> Option<u64> {
        let digits = local_id.strip_prefix(self.prefix.as_bytes())?;
        match number(digits)? {
            (name, [b'"', ..]) => Some(name),
            _ => None,
        }
    }

    /// The name and the id of a message whose fields come in the server's usual order.
    fn usual(&self, text: &[u8]) -> Option<(u64, u64)> {
        let (id, rest) = number(text.strip_prefix(MESSAGE)?)?;
        let name = self.name(rest.strip_prefix(LOCAL_ID_BEHIND)?)?;
        Some((name, id))
    }

    fn unusual(&self, text: &[u8]) -> Option<(u64, u64)> {
        let name = self.name(&text[find(text, LOCAL_ID)? + LOCAL_ID.len()..])?;
        let id = number(&text[find(text, ID)? + ID.len()..])?.0;
        Some((name, id))
    }

    fn refused(&self, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        let code = string_behind(text, CODE).unwrap_or("unknown");
        let name =
            find(text, LOCAL_ID).and_then(|place| self.name(&text[place + LOCAL_ID.len()..]));
        match name {
            Some(name) => on(Heard::Refused {
                name,
                code,
                unknown: matches!(code, "unavailable" | "internal"),
            }),
            None => on(Heard::Error { code }),
        }
    }

    fn page_came(&self, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        match string_behind(text, REQUEST_ID) {
            Some(JOINING) => on(Heard::Joined),
            Some(request) => {
                let Ok(request) = request.parse() else { return };
                let page = read_page(text);
                on(Heard::Page {
                    request,
                    rows: page.rows,
                    in_order: page.in_order,
                    ids: (page.newest, page.oldest),
                });
            }
            None => {}
        }
    }
}

const TYPE: &[u8] = br#"{"type":""#;
const MESSAGE: &[u8] = br#"{"type":"chat_message","message":{"id":""#;
const LOCAL_ID_BEHIND: &[u8] = br#"","local_id":""#;
const LOCAL_ID: &[u8] = br#""local_id":""#;
const ID: &[u8] = br#""id":""#;
const CODE: &[u8] = br#""code":""#;
const REQUEST_ID: &[u8] = br#""request_id":""#;
/// The `request_id` of the fetch that shows that a base client has joined.
const JOINING: &str = "joining";

impl<P: Fn(Seat) -> String> Dialect for Parlance<P> {
    fn upgrade(&self, seat: Seat, since: Option<u64>) -> Upgrade {
        let mut path = (self.path)(seat);
        if self.layer == Layer::Extended {
            path.push_str("&v=1");
        }
        if let Some(id) = since {
            path.push_str(&format!("&since={id}"));
        }
        path.into()
    }

    fn greeting(&self, _: Seat, step: usize, to: &mut Vec<u8>) {
        match (self.layer, step) {
            (Layer::Base, 0) => {
                to.extend_from_slice(br#"{"action":"fetch_messages","limit":1,"request_id":""#);
                to.extend_from_slice(JOINING.as_bytes());
                to.extend_from_slice(br#""}"#);
            }
            (Layer::Base | Layer::Extended, _) => {}
        }
    }

    fn message(&self, _: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"action":"send_message","content":""#);
        to.extend_from_slice(content.as_bytes());
        to.extend_from_slice(br#"","local_id":""#);
        to.extend_from_slice(self.prefix.as_bytes());
        push_number(to, name);
        to.extend_from_slice(br#""}"#);
    }

    fn page(&self, _: Seat, request: u64, at: PageAt, rows: u64, to: &mut Vec<u8>) -> bool {
        to.extend_from_slice(br#"{"action":"fetch_messages""#);
        let anchor = match at {
            PageAt::Newest => None,
            PageAt::After(id) => Some(("after_id", id)),
            PageAt::Before(id) => Some(("before_id", id)),
        };
        if let Some((field, id)) = anchor {
            to.extend_from_slice(format!(r#","{field}":"{id}""#).as_bytes());
        }
        to.extend_from_slice(format!(r#","limit":{rows},"request_id":"{request}"}}"#).as_bytes());
        true
    }

    fn hear(&self, _: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        if let Some((name, id)) = self.usual(text) {
            return on(Heard::Message { name, id });
        }
        let Some(kind) = text.strip_prefix(TYPE) else {
            return;
        };
        let Some(end) = kind.iter().position(|byte| *byte == b'"') else {
            return;
        };
        match &kind[..end] {
            b"chat_message" => {
                if let Some((name, id)) = self.unusual(text) {
                    on(Heard::Message { name, id });
                }
            }
            b"live" => on(Heard::Joined),
            b"messages_fetched" => self.page_came(text, on),
            b"message.failed" => self.refused(text, on),
            b"error" => on(Heard::Error {
                code: string_behind(text, CODE).unwrap_or("unknown"),
            }),
            b"gap" => on(Heard::Error { code: "gap" }),
            b"resync" => on(Heard::Error { code: "resync" }),
            _ => {}
        }
    }
}

struct Page {
    rows: u64,
    in_order: bool,
    newest: u64,
    oldest: u64,
}

/// Each row begins with its id, and a content cannot hold an unescaped quotation mark, so what looks
/// like the beginning of a row is one. Rows come newest first.
fn read_page(text: &[u8]) -> Page {
    const ROW: &[u8] = br#"{"id":""#;
    let mut page = Page {
        rows: 0,
        in_order: true,
        newest: 0,
        oldest: 0,
    };
    let mut rest = text;
    while let Some(place) = find(rest, ROW) {
        rest = &rest[place + ROW.len()..];
        let Some((id, behind)) = number(rest) else {
            page.in_order = false;
            continue;
        };
        page.in_order &= page.rows == 0 || id < page.oldest;
        if page.rows == 0 {
            page.newest = id;
        }
        page.oldest = id;
        page.rows += 1;
        rest = behind;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(layer: Layer) -> Parlance<impl Fn(Seat) -> String> {
        Parlance::new(layer, "run7", |seat: Seat| {
            format!("/conversations/r{}/?token=t{}", seat.room, seat.member)
        })
    }

    const SEAT: Seat = Seat { room: 3, member: 1 };

    #[derive(Debug, PartialEq)]
    enum Said {
        Joined,
        Message(u64, u64),
        Refused(u64, String, bool),
        Error(String),
        Page(u64, u64, bool, (u64, u64)),
        Other,
    }

    fn heard(text: &str) -> Vec<Said> {
        let mut all = Vec::new();
        dialect(Layer::Extended).hear(SEAT, text.as_bytes(), &mut |heard| {
            all.push(match heard {
                Heard::Joined => Said::Joined,
                Heard::Message { name, id } => Said::Message(name, id),
                Heard::Refused {
                    name,
                    code,
                    unknown,
                } => Said::Refused(name, code.to_owned(), unknown),
                Heard::Error { code } => Said::Error(code.to_owned()),
                Heard::Page {
                    request,
                    rows,
                    in_order,
                    ids,
                } => Said::Page(request, rows, in_order, ids),
                Heard::Next | Heard::Acked { .. } | Heard::Answer { .. } => Said::Other,
            });
        });
        all
    }

    #[test]
    fn a_message_is_found_by_its_name_in_whatever_order_its_fields_come() {
        let usual = r#"{"type":"chat_message","message":{"id":"456","local_id":"run7-12","sender_id":"a"},"position":"456"}"#;
        assert_eq!(heard(usual), [Said::Message(12, 456)]);
        let other = r#"{"type":"chat_message","message":{"sender_id":"a","local_id":"run7-12","id":"456"}}"#;
        assert_eq!(heard(other), [Said::Message(12, 456)]);
    }

    #[test]
    fn messages_of_others_and_of_other_runs_are_none_of_ours() {
        for text in [
            r#"{"type":"chat_message","message":{"id":"456","local_id":"run8-12"}}"#,
            r#"{"type":"chat_message","message":{"id":"456","sender_id":"a"}}"#,
            r#"{"type":"message.status","message_id":"456","status":"delivered"}"#,
            r#"{"type":"heartbeat"}"#,
            "",
            "{",
        ] {
            assert_eq!(heard(text), [], "{text}");
        }
    }

    #[test]
    fn refusals_say_whether_it_may_have_happened() {
        let refused = |code: &str| {
            heard(&format!(
                r#"{{"type":"message.failed","local_id":"run7-5","error":"e","code":"{code}","retryable":true}}"#
            ))
        };
        let said = |unknown, code: &str| [Said::Refused(5, code.to_owned(), unknown)];
        assert_eq!(refused("rate_limited"), said(false, "rate_limited"));
        assert_eq!(refused("unavailable"), said(true, "unavailable"));
        let error = r#"{"type":"error","action":null,"error":"e","code":"invalid_json"}"#;
        assert_eq!(heard(error), [Said::Error("invalid_json".to_owned())]);
    }

    #[test]
    fn a_page_is_counted_and_its_order_checked() {
        let page = |ids: &[u64]| {
            let rows: Vec<String> = ids
                .iter()
                .map(|id| {
                    format!(r#"{{"id":"{id}","content":"{{\"id\":\"9\"","position":"{id}"}}"#)
                })
                .collect();
            let rows = rows.join(",");
            heard(&format!(
                r#"{{"type":"messages_fetched","conversation_id":"c","messages":[{rows}],"has_more":true,"request_id":"8"}}"#
            ))
        };
        assert_eq!(page(&[9, 8, 4]), [Said::Page(8, 3, true, (9, 4))]);
        assert_eq!(page(&[]), [Said::Page(8, 0, true, (0, 0))]);
        assert_eq!(page(&[9, 9]), [Said::Page(8, 2, false, (9, 9))]);
        assert_eq!(page(&[8, 9]), [Said::Page(8, 2, false, (8, 9))]);
    }

    #[test]
    fn what_is_sent_is_what_the_protocol_says() {
        let mut text = Vec::new();
        dialect(Layer::Base).message(SEAT, 12, "hi", &mut text);
        let expected = r#"{"action":"send_message","content":"hi","local_id":"run7-12"}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        let path = |layer, since| dialect(layer).upgrade(SEAT, since).path;
        assert_eq!(path(Layer::Base, None), "/conversations/r3/?token=t1");
        let resumed = "/conversations/r3/?token=t1&v=1&since=7";
        assert_eq!(path(Layer::Extended, Some(7)), resumed);
    }
}
