//! Values as JSON text, for [`crate::ServerFrame::encode`] alone.
//!
//! Writes byte for byte what `serde_json` does. That looks at each byte of a text, field names
//! included, which was half of what encoding an event costs; this one looks at eight at a time,
//! and at field names not at all. It knows what frames are made of and refuses the rest: fractions,
//! bytes, tuples, variants with content (tagged ones come as structs). Reading is left to
//! `serde_json`.

use std::fmt::{self, Write as _};

use serde::{
    Serialize, Serializer,
    ser::{Impossible, SerializeMap, SerializeSeq, SerializeStruct},
};

/// What `serde_json` calls a struct whose only field is JSON text already: its `RawValue`.
const VERBATIM: &str = "$serde_json::private::RawValue";

/// Appends `value` to `text`. Fails for what no frame is made of; `text` then holds a part of it.
pub(crate) fn write(text: &mut String, value: &impl Serialize) -> fmt::Result {
    value.serialize(Writer(text))
}

/// Where the text goes.
struct Writer<'a>(&'a mut String);

/// A list, map or struct whose beginning is written.
struct Open<'a> {
    text: &'a mut String,
    is_empty: bool,
    end: char,
}

impl<'a> Open<'a> {
    fn new(text: &'a mut String, [begin, end]: [char; 2]) -> Self {
        text.push(begin);
        Self {
            text,
            is_empty: true,
            end,
        }
    }

    /// Goes to the next element.
    fn next(&mut self) -> Writer<'_> {
        if !self.is_empty {
            self.text.push(',');
        }
        self.is_empty = false;
        Writer(self.text)
    }

    fn close(self) {
        self.text.push(self.end);
    }
}

/// A struct, or what stands for JSON text.
enum Fields<'a> {
    Object(Open<'a>),
    Verbatim(&'a mut String),
}

macro_rules! whole_numbers {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> fmt::Result {
            self.0.push_str(itoa::Buffer::new().format(value));
            Ok(())
        }
    )*};
}

macro_rules! refused {
    ($($method:ident($($type:ty),*) -> $result:ty;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$result, fmt::Error> {
            Err(fmt::Error)
        }
    )*};
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Open<'a>;
    type SerializeMap = Open<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeTuple = Impossible<(), fmt::Error>;
    type SerializeTupleStruct = Impossible<(), fmt::Error>;
    type SerializeTupleVariant = Impossible<(), fmt::Error>;
    type SerializeStructVariant = Impossible<(), fmt::Error>;

    fn serialize_str(self, value: &str) -> fmt::Result {
        self.0.push('"');
        escape(self.0, value);
        self.0.push('"');
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> fmt::Result {
        self.0.push('"');
        write!(Escaping(self.0), "{value}")?;
        self.0.push('"');
        Ok(())
    }

    fn serialize_char(self, value: char) -> fmt::Result {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_bool(self, value: bool) -> fmt::Result {
        self.0.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    whole_numbers!(
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64
    );

    fn serialize_none(self) -> fmt::Result {
        self.0.push_str("null");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> fmt::Result {
        value.serialize(self)
    }

    /// Names of variants are written in the code, and none needs an escape.
    fn serialize_unit_variant(self, _: &str, _: u32, variant: &'static str) -> fmt::Result {
        self.0.push('"');
        self.0.push_str(variant);
        self.0.push('"');
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &str, value: &T) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'a>, fmt::Error> {
        Ok(Open::new(self.0, ['[', ']']))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'a>, fmt::Error> {
        Ok(Open::new(self.0, ['{', '}']))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'a>, fmt::Error> {
        Ok(match name {
            VERBATIM => Fields::Verbatim(self.0),
            _ => Fields::Object(Open::new(self.0, ['{', '}'])),
        })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> fmt::Result {
        Err(fmt::Error)
    }

    refused! {
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeStructVariant;
    }
}

impl SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        value.serialize(self.next())
    }

    fn end(self) -> fmt::Result {
        self.close();
        Ok(())
    }
}

/// Keys of frames are texts: a number would be written without quotes.
impl SerializeMap for Open<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> fmt::Result {
        key.serialize(self.next())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        self.text.push(':');
        value.serialize(Writer(self.text))
    }

    fn end(self) -> fmt::Result {
        self.close();
        Ok(())
    }
}

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = fmt::Error;

    /// Names of fields are written in the code, and none needs an escape.
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> fmt::Result {
        match self {
            Self::Object(open) => {
                let Writer(text) = open.next();
                text.push('"');
                text.push_str(name);
                text.push_str("\":");
                value.serialize(Writer(text))
            }
            Self::Verbatim(text) => write!(text, "{}", fmt::from_fn(|f| value.serialize(f))),
        }
    }

    fn end(self) -> fmt::Result {
        match self {
            Self::Object(open) => open.close(),
            Self::Verbatim(_) => {}
        }
        Ok(())
    }
}

/// Takes a text in pieces.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        escape(self.0, piece);
        Ok(())
    }
}

/// Appends what stands between the quotes.
fn escape(text: &mut String, mut value: &str) {
    loop {
        // What needs an escape is ASCII: a character ends in front of it and behind it.
        let (plain, rest) = value.split_at(plain_bytes(value.as_bytes()));
        text.push_str(plain);
        let Some(&byte) = rest.as_bytes().first() else {
            return;
        };
        escape_byte(text, byte);
        value = &rest[1..];
    }
}

fn escape_byte(text: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    text.push('\\');
    match byte {
        b'"' | b'\\' => text.push(char::from(byte)),
        b'\n' => text.push('n'),
        b'\r' => text.push('r'),
        b'\t' => text.push('t'),
        0x08 => text.push('b'),
        0x0c => text.push('f'),
        other => {
            text.push_str("u00");
            text.push(char::from(HEX[usize::from(other >> 4)]));
            text.push(char::from(HEX[usize::from(other & 0xf)]));
        }
    }
}

/// How many bytes stand before the first one that needs an escape.
fn plain_bytes(text: &[u8]) -> usize {
    let Some(last) = text.last_chunk::<8>() else {
        let first = text.iter().position(|byte| needs_escape(*byte));
        return first.unwrap_or(text.len());
    };
    let (words, _) = text.as_chunks::<8>();
    let first_of = |word: &[u8; 8]| {
        let marks = marks(u64::from_le_bytes(*word));
        (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
    };
    for (index, word) in words.iter().enumerate() {
        if let Some(at) = first_of(word) {
            return index * 8 + at;
        }
    }
    // What is left, with bytes before it that are known to need none.
    first_of(last).map_or(text.len(), |at| text.len() - 8 + at)
}

const fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Zero if none of eight bytes needs an escape. Else the lowest bit that is set is the highest one of
/// the first byte that does; higher ones mean nothing, since a subtraction may borrow.
const fn marks(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    let below_space = bytes.wrapping_sub(ONES * b' ' as u64);
    let quotes = (bytes ^ QUOTES).wrapping_sub(ONES);
    let backslashes = (bytes ^ BACKSLASHES).wrapping_sub(ONES);
    // A byte above 127 is part of a longer character, and needs none.
    (below_space | quotes | backslashes) & !bytes & HIGHEST
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    /// Most bytes are such that a sum of them could be taken for what needs an escape.
    fn text() -> impl Strategy<Value = String> {
        let some = "\u{0}\u{1f} !\"#[\\]\u{7f}\u{80}\u{a2}\u{dc}a";
        let one = prop_oneof![
            8 => Just('a'),
            4 => proptest::sample::select(some.chars().collect::<Vec<_>>()),
            1 => proptest::char::range('\u{0}', '\u{1f}'),
            1 => any::<char>(),
        ];
        collection::vec(one, 0..60).prop_map(|chars| chars.into_iter().collect())
    }

    fn written(value: &impl Serialize) -> String {
        let mut json = String::new();
        write(&mut json, value).unwrap();
        json
    }

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_json_does(text in text()) {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn a_text_in_pieces_is_written_like_a_whole_one(pieces in collection::vec(text(), 0..4)) {
            let mut json = String::new();
            let display = fmt::from_fn(|f| pieces.iter().try_for_each(|piece| f.write_str(piece)));
            Writer(&mut json).collect_str(&display).unwrap();
            prop_assert_eq!(json, written(&pieces.concat()));
        }
    }

    #[test]
    fn each_byte_is_found_at_each_place_among_all_others() {
        for others in 0..=u8::MAX {
            for byte in (0..=u8::MAX).filter(|byte| needs_escape(*byte)) {
                for at in (0..17).filter(|_| !needs_escape(others)) {
                    let mut text = [others; 17];
                    text[at] = byte;
                    assert_eq!(plain_bytes(&text), at, "{byte} among {others}");
                }
            }
        }
    }

    #[test]
    fn what_no_frame_is_made_of_is_refused() {
        assert!(write(&mut String::new(), &0.5).is_err());
        assert!(write(&mut String::new(), &(1, 2)).is_err());
    }
}
