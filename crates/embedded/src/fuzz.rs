//! What has to hold for any bytes that stand in a table, called by the target in `fuzz/` and, with its
//! committed corpus, by the test below. Not part of a build.

use parlance_protocol::{MessageId, Position};

use crate::values::{self, Change, Name, Stored};

/// A value is read into what is written as the same value again, or is none.
pub fn table_values(data: &[u8]) {
    let position = Position {
        id: MessageId::ZERO,
        k: 3,
    };
    if let Some(stored) = Stored::decode(position, data) {
        let again = Stored::encode(&stored.entry, stored.count);
        assert_eq!(Stored::decode(position, &again), Some(stored));
    }
    if let Some(change) = Change::decode(data) {
        assert_eq!(change.encode(), data);
    }
    if let Some(name) = Name::decode(data) {
        assert_eq!(name.encode(), data);
    }
    if let Some(cursor) = values::decode_cursor(data) {
        let again = values::encode_cursor(cursor);
        assert_eq!(values::decode_cursor(&again), Some(cursor));
    }
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("table_values", super::table_values);
    }
}
