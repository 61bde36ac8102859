//! The client's half of WebSocket framing, able to say what no library would.
//!
//! Used by [`crate::client`]. Not a general codec: it holds no limits, joins no fragments and masks
//! with a constant key, because a test must be able to send exactly the bytes it means.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Opcodes of RFC 6455.
pub mod opcode {
    /// The rest of a fragmented message.
    pub const CONTINUATION: u8 = 0x0;
    /// UTF-8 text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// The last frame of a side.
    pub const CLOSE: u8 = 0x8;
    /// Asks for a pong.
    pub const PING: u8 = 0x9;
    /// Answers a ping.
    pub const PONG: u8 = 0xA;
}

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// One frame, as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The last of its message.
    pub fin: bool,
    /// The three reserved bits, as a number 0–7.
    pub rsv: u8,
    /// See [`opcode`]; 0–15.
    pub opcode: u8,
    /// Unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message or control frame.
    #[must_use]
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
            payload: payload.into(),
        }
    }

    /// A whole text message.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(opcode::TEXT, text.as_bytes())
    }

    /// A close frame.
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Self::new(opcode::CLOSE, payload)
    }

    /// The same frame as a fragment that others follow.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The bytes of a well-behaved client: masked.
    #[must_use]
    pub fn masked(&self) -> Vec<u8> {
        let mut bytes = self.header(0x80);
        bytes.extend_from_slice(&MASK);
        let body = self.payload.iter().zip(MASK.iter().cycle());
        bytes.extend(body.map(|(byte, key)| byte ^ key));
        bytes
    }

    /// The bytes that only a server may send.
    #[must_use]
    pub fn unmasked(&self) -> Vec<u8> {
        let mut bytes = self.header(0);
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    fn header(&self, mask_bit: u8) -> Vec<u8> {
        let first = (u8::from(self.fin) << 7) | (self.rsv << 4) | self.opcode;
        let len = self.payload.len();
        if let Ok(len) = u8::try_from(len)
            && len < 126
        {
            vec![first, mask_bit | len]
        } else if let Ok(len) = u16::try_from(len) {
            let mut header = vec![first, mask_bit | 126];
            header.extend_from_slice(&len.to_be_bytes());
            header
        } else {
            let mut header = vec![first, mask_bit | 127];
            header.extend_from_slice(&(len as u64).to_be_bytes());
            header
        }
    }

    /// Code and reason of a close frame; 1005 when it names none.
    #[must_use]
    pub fn close_reason(&self) -> (u16, String) {
        match self.payload.split_first_chunk() {
            Some((code, reason)) => (
                u16::from_be_bytes(*code),
                String::from_utf8_lossy(reason).into_owned(),
            ),
            None => (1005, String::new()),
        }
    }
}

/// Reads the next frame of a server. Not cancel-safe.
///
/// # Errors
/// When the stream ends (`UnexpectedEof`) or fails, and when the frame is masked (`InvalidData`).
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    if head[1] & 0x80 != 0 {
        let what = "a server must not mask its frames";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let len = match head[1] {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).await?;
    Ok(Frame {
        fin: head[0] & 0x80 != 0,
        rsv: (head[0] >> 4) & 0x7,
        opcode: head[0] & 0xF,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_of_each_length_form_is_read_as_it_was_written() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = Frame::new(opcode::BINARY, vec![7; len]).unfinished();
            let bytes = frame.unmasked();
            assert_eq!(read(&mut bytes.as_slice()).await.unwrap(), frame);
        }
    }

    #[test]
    fn a_masked_frame_is_the_example_of_the_rfc() {
        let bytes = Frame::text("Hello").masked();
        assert_eq!(
            bytes,
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
    }
}
