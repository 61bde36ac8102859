//! The frame writer: joins the frames of one connection for one `write`.

use parlance_core::room::FrameSink;

use super::CONTROL_BYTES;

const FIN: u8 = 0x80;

/// Frames in a row, as they go on the wire. One per shard, used for one connection at a time.
#[derive(Debug, Default)]
pub struct FrameWriter {
    bytes: Vec<u8>,
    texts: u64,
}

impl FrameWriter {
    /// What is in it.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// How many text frames are in it.
    #[must_use]
    pub const fn texts(&self) -> u64 {
        self.texts
    }

    /// Empties it, and gives memory back beyond `keep_bytes`.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(keep_bytes);
        self.texts = 0;
    }

    /// A pong; `payload` is the ping's.
    pub fn pong(&mut self, payload: &[u8]) {
        debug_assert!(
            payload.len() <= CONTROL_BYTES,
            "the reader refuses longer pings"
        );
        self.frame(0xa, payload);
    }

    /// A message that is no text.
    #[cfg(feature = "echo")]
    pub fn binary(&mut self, payload: &[u8]) {
        self.frame(0x2, payload);
    }

    /// Frames that another writer put together, behind those of this one.
    pub fn append(&mut self, other: &Self) {
        self.texts += other.texts;
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// A close frame. The reason is cut to what fits. Without a code it is empty.
    pub fn close(&mut self, code: Option<u16>, reason: &str) {
        let Some(code) = code else {
            return self.frame(0x8, &[]);
        };
        let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES - 2)];
        self.header(0x8, 2 + reason.len());
        self.bytes.extend_from_slice(&code.to_be_bytes());
        self.bytes.extend_from_slice(reason.as_bytes());
    }

    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.header(opcode, payload.len());
        self.bytes.extend_from_slice(payload);
    }

    fn header(&mut self, opcode: u8, payload_bytes: usize) {
        self.bytes.push(FIN | opcode);
        match payload_bytes {
            0..=125 => self.bytes.push(payload_bytes as u8),
            126..=0xffff => {
                self.bytes.push(126);
                self.bytes
                    .extend_from_slice(&(payload_bytes as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(127);
                self.bytes
                    .extend_from_slice(&(payload_bytes as u64).to_be_bytes());
            }
        }
    }
}

impl FrameSink for FrameWriter {
    fn text(&mut self, payload: &[u8]) {
        self.texts += 1;
        self.frame(0x1, payload);
    }

    fn ping(&mut self, payload: [u8; 8]) {
        self.frame(0x9, &payload);
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_in_the_fewest_bytes() {
        for (payload_bytes, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut writer = FrameWriter::default();
            writer.text(&vec![b'x'; payload_bytes]);
            assert_eq!(writer.as_slice()[..header.len()], header, "{payload_bytes}");
            assert_eq!(writer.bytes(), header.len() + payload_bytes);
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character_so_that_the_frame_stays_a_control_frame() {
        let mut writer = FrameWriter::default();
        writer.close(Some(1008), &"ä".repeat(80));
        assert_eq!(writer.as_slice()[..4], [0x88, 2 + 122, 0x03, 0xf0]);
        assert_eq!(
            str::from_utf8(&writer.as_slice()[4..]),
            Ok(&*"ä".repeat(61))
        );
    }

    #[test]
    fn control_frames_carry_their_payload() {
        let mut writer = FrameWriter::default();
        writer.ping(*b"12345678");
        writer.pong(b"p");
        writer.close(None, "");
        assert_eq!(writer.as_slice(), b"\x89\x0812345678\x8a\x01p\x88\x00");
        assert_eq!(writer.texts(), 0);
    }

    #[test]
    fn a_cleared_writer_gives_the_memory_of_a_huge_frame_back() {
        let mut writer = FrameWriter::default();
        writer.text(&vec![b'x'; 1 << 20]);
        writer.clear(4096);
        assert!(writer.as_slice().is_empty());
        assert!(writer.bytes.capacity() <= 4096);
    }
}
