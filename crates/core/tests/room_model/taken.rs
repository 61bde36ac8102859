//! What a socket took. Used by the model test and by the fuzzing of a session.

use parlance_core::room::FrameSink;

#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) texts: Vec<Vec<u8>>,
    pub(crate) pings: Vec<[u8; 8]>,
    bytes: usize,
}

impl FrameSink for Taken {
    fn text(&mut self, payload: &[u8]) {
        self.bytes += payload.len();
        self.texts.push(payload.to_vec());
    }

    fn ping(&mut self, payload: [u8; 8]) {
        self.bytes += payload.len();
        self.pings.push(payload);
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
