//! What has to hold for any text that stands in the log or travels over pub/sub, called by the target in
//! `fuzz/` and, with its committed corpus, by the test below. Not part of a build.

use parlance_core::ports::Heard;

use crate::wire::{self, Read};

/// An entry is read into what is written as the same again, or is garbled; whatever is pushed is heard
/// piece by piece.
pub fn log_entries(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let _ = wire::entry(text);
    if let Ok(read) = wire::published(text) {
        check(&read);
    }
    let mut heard = Vec::new();
    let pushed = wire::push(text, |piece| heard.push(piece));
    if pushed.is_ok() {
        assert!(heard.len() <= text.split('\n').count());
    }
    if let (Ok(()), Some(prev)) = (&pushed, wire::last_prev(text)) {
        match heard.last() {
            Some(Heard::Entry(entry)) => assert_eq!(entry.prev, prev),
            Some(Heard::Doubt) => {}
            other => panic!("{other:?} does not follow {prev}"),
        }
    }
    for piece in heard {
        if let Heard::Ephemeral(ephemeral) = piece {
            let again = wire::ephemeral(&ephemeral);
            let mut twice = Vec::new();
            assert_eq!(wire::push(&again, |piece| twice.push(piece)), Ok(()));
            assert_eq!(twice, [Heard::Ephemeral(ephemeral)], "{again}");
        }
    }
}

fn check(read: &Read) {
    match read {
        Read::Event(logged) if logged.lost_from.is_none() => {
            let again = wire::event_text(&logged.entry, logged.count);
            assert_eq!(wire::published(&again).as_ref(), Ok(read), "{again}");
            let at = wire::stream_id(logged.entry.position);
            assert_eq!(wire::entry(&format!("{at} {again}")).as_ref(), Ok(read));
        }
        Read::Event(_) => {}
        Read::Mark(mark) => {
            let again = wire::mark_text(mark);
            assert_eq!(wire::published(&again).as_ref(), Ok(read), "{again}");
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("log_entries", super::log_entries);
    }
}
