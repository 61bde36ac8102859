//! Masking, undone in place.

/// Applies `key` to `payload`, and answers with the key for what follows it.
pub(super) fn unmask(payload: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    let mut next = key;
    next.rotate_left(payload.len() % 4);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_unmasked_in_pieces_is_the_payload_unmasked_at_once() {
        let key = [0x11, 0x22, 0x44, 0x88];
        let masked: Vec<u8> = (0..=255).collect();
        let mut plain = masked.clone();
        for (at, byte) in plain.iter_mut().enumerate() {
            *byte ^= key[at % 4];
        }
        for cut in 0..=masked.len() {
            let mut pieces = masked.clone();
            let (first, second) = pieces.split_at_mut(cut);
            let key = unmask(first, key);
            unmask(second, key);
            assert_eq!(pieces, plain, "cut at {cut}");
        }
    }
}
