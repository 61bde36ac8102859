//! What a member hears and says, in the words of the protocol.
//!
//! Messages, refusals and upgrades are those of the other workloads' dialect; here is what only those who
//! stay listen to: requests to reconnect, statuses of users, and pages with what stands in their rows.
//! Texts are searched for some bytes, as everywhere in the generator.

use crate::{
    dialect::{Dialect, Heard, PageAt, Seat, Upgrade, find, number, string_behind},
    parlance::{Layer, Parlance},
};

/// Rows of a page: as many as the server gives at once.
pub(super) const PAGE_ROWS: u64 = 100;

/// What a text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// The greeting of the extended layer.
    Hello {
        resumed: bool,
    },
    /// The extended layer's replay is over.
    Live,
    Message {
        name: u64,
        id: u64,
    },
    /// What comes behind the id that it was asked with, the oldest first, each by its name and its id.
    Page {
        rows: Vec<(u64, u64)>,
        has_more: bool,
    },
    Refused {
        name: u64,
        code: Box<str>,
        is_retryable: bool,
    },
    Error {
        code: Box<str>,
    },
    /// Another socket is to be opened after so long.
    Reconnect {
        after_ms: u64,
    },
    /// This user is told to be away.
    Offline {
        user: Box<str>,
    },
}

/// Both layers of one run.
pub(super) struct Words<'a> {
    extended: Parlance<&'a dyn Fn(Seat) -> String>,
    base: Parlance<&'a dyn Fn(Seat) -> String>,
    /// What the content of each message begins with; its name follows.
    content_prefix: String,
}

impl<'a> Words<'a> {
    pub(super) fn new(run: &str, path: &'a dyn Fn(Seat) -> String) -> Self {
        Self {
            extended: Parlance::new(Layer::Extended, run, path),
            base: Parlance::new(Layer::Base, run, path),
            content_prefix: format!("{run}-"),
        }
    }

    /// Extended members resume behind what they have; base ones fetch it.
    pub(super) fn upgrade(&self, layer: Layer, seat: Seat, has: u64) -> Upgrade {
        match layer {
            Layer::Extended => self.extended.upgrade(seat, Some(has)),
            Layer::Base => self.base.upgrade(seat, None),
        }
    }

    /// The text that sends this message.
    pub(super) fn send(&self, seat: Seat, name: u64, is_again: bool) -> Vec<u8> {
        let mut text = Vec::with_capacity(128);
        let content = format!("{}{name}", self.content_prefix);
        self.base.message(seat, name, &content, &mut text);
        if is_again {
            text.pop();
            text.extend_from_slice(br#","retry":true}"#);
        }
        text
    }

    /// The text that asks for what comes behind this id.
    pub(super) fn fetch(&self, seat: Seat, has: u64) -> Vec<u8> {
        let mut text = Vec::with_capacity(128);
        self.base
            .page(seat, has, PageAt::After(has), PAGE_ROWS, &mut text);
        text
    }

    /// What a text says, if it says anything to those who stay.
    pub(super) fn read(&self, seat: Seat, text: &[u8]) -> Option<Word> {
        match kind(text)? {
            b"hello" => Some(Word::Hello {
                resumed: find(text, br#""resumed":true"#).is_some(),
            }),
            b"reconnect" => {
                let at = find(text, AFTER_MS)? + AFTER_MS.len();
                let (after_ms, _) = number(&text[at..])?;
                Some(Word::Reconnect { after_ms })
            }
            b"user_status" => {
                find(text, br#""status":"offline""#)?;
                let user = string_behind(text, br#""user_id":""#)?.into();
                Some(Word::Offline { user })
            }
            b"messages_fetched" => Some(self.page(text)),
            _ => self.as_the_others(seat, text),
        }
    }

    fn as_the_others(&self, seat: Seat, text: &[u8]) -> Option<Word> {
        let mut word = None;
        self.base.hear(seat, text, &mut |heard| {
            word = match heard {
                Heard::Message { name, id } => Some(Word::Message { name, id }),
                Heard::Joined => Some(Word::Live),
                Heard::Refused {
                    name,
                    code,
                    unknown,
                } => Some(Word::Refused {
                    name,
                    code: code.into(),
                    is_retryable: unknown || code == "rate_limited",
                }),
                Heard::Error { code } => Some(Word::Error { code: code.into() }),
                Heard::Next | Heard::Acked { .. } | Heard::Page { .. } | Heard::Answer { .. } => {
                    None
                }
            };
        });
        word
    }

    /// A content holds no unescaped quotation mark, so what looks like a field is one.
    fn page(&self, text: &[u8]) -> Word {
        let mut rows = Vec::new();
        let mut rest = text;
        while let Some(at) = find(rest, ROW) {
            rest = &rest[at + ROW.len()..];
            let id = number(rest).map_or(0, |(id, _)| id);
            let content = string_behind(rest, CONTENT).unwrap_or_default();
            let name = content.strip_prefix(&self.content_prefix);
            let name = name.and_then(|name| name.parse().ok());
            rows.push((name.unwrap_or(u64::MAX), id));
        }
        rows.reverse();
        Word::Page {
            rows,
            has_more: find(text, br#""has_more":true"#).is_some(),
        }
    }
}

const TYPE: &[u8] = br#"{"type":""#;
const AFTER_MS: &[u8] = br#""after_ms":"#;
const ROW: &[u8] = br#"{"id":""#;
const CONTENT: &[u8] = br#""content":""#;
const RETRY_AFTER_MS: &[u8] = br#""retry_after_ms":"#;

fn kind(text: &[u8]) -> Option<&[u8]> {
    let kind = text.strip_prefix(TYPE)?;
    let end = kind.iter().position(|byte| *byte == b'"')?;
    Some(&kind[..end])
}

/// When the reason of a close says to come back.
pub(super) fn retry_after_ms(reason: &[u8]) -> Option<u64> {
    let at = find(reason, RETRY_AFTER_MS)? + RETRY_AFTER_MS.len();
    number(&reason[at..]).map(|(after_ms, _)| after_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAT: Seat = Seat { room: 0, member: 0 };

    fn read(text: &str) -> Option<Word> {
        Words::new("run7", &|_: Seat| String::new()).read(SEAT, text.as_bytes())
    }

    #[test]
    fn every_word_is_understood() {
        let hello = r#"{"type":"hello","epoch":0,"head_id":"4","resumed":true,"durable":false}"#;
        assert_eq!(read(hello), Some(Word::Hello { resumed: true }));
        assert_eq!(read(r#"{"type":"live","position":"4"}"#), Some(Word::Live));
        let message = r#"{"type":"chat_message","message":{"id":"7","local_id":"run7-3","sender_id":"a"},"position":"7"}"#;
        assert_eq!(read(message), Some(Word::Message { name: 3, id: 7 }));
        let asked = r#"{"type":"reconnect","after_ms":1500,"reason":"drain"}"#;
        assert_eq!(read(asked), Some(Word::Reconnect { after_ms: 1500 }));
        let away = r#"{"type":"user_status","user_id":"m-1","status":"offline","timestamp":"…"}"#;
        assert_eq!(read(away), Some(Word::Offline { user: "m-1".into() }));
        let here = r#"{"type":"user_status","user_id":"m-1","status":"online","timestamp":"…"}"#;
        assert_eq!(read(here), None);
        let refused = r#"{"type":"message.failed","local_id":"run7-5","error":"e","code":"unavailable","retryable":true}"#;
        let code = "unavailable".into();
        let expected = Word::Refused {
            name: 5,
            code,
            is_retryable: true,
        };
        assert_eq!(read(refused), Some(expected));
        assert_eq!(read(r#"{"type":"heartbeat"}"#), None);
    }

    #[test]
    fn a_page_is_read_the_oldest_first_and_what_is_none_of_ours_is_noticed() {
        let page = r#"{"type":"messages_fetched","conversation_id":"c","messages":[{"id":"9","sender_id":"a","content":"run7-6","status":"read","position":"9"},{"id":"8","sender_id":"a","content":"other","position":"8"}],"has_more":true,"request_id":"7"}"#;
        let expected = Word::Page {
            rows: vec![(u64::MAX, 8), (6, 9)],
            has_more: true,
        };
        assert_eq!(read(page), Some(expected));
    }

    #[test]
    fn what_is_sent_again_says_so() {
        let path = |_: Seat| String::new();
        let words = Words::new("run7", &path);
        let again = String::from_utf8(words.send(SEAT, 12, true)).unwrap();
        let expected =
            r#"{"action":"send_message","content":"run7-12","local_id":"run7-12","retry":true}"#;
        assert_eq!(again, expected);
        assert_eq!(retry_after_ms(br#"{"retry_after_ms":250}"#), Some(250));
    }
}
