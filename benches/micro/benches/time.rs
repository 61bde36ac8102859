//! Measures how long each piece takes, on this machine and as busy as it is: `make bench-micro`.
//! Nothing is judged by it. What is counted, and judged, is in `instructions.rs`.

use criterion::{Criterion, criterion_group, criterion_main};
use parlance_micro as micro;

fn pieces(criterion: &mut Criterion) {
    let pieces = [
        ("parse/send", micro::parse_a_send()),
        ("parse/edit", micro::parse_an_edit()),
        ("parse/longest_send", micro::parse_the_longest_send()),
        ("parse/refused", micro::parse_a_refused_action()),
        ("encode/message", micro::encode_a_message()),
        ("encode/edit", micro::encode_an_edit()),
        ("encode/page_of_100", micro::encode_a_page()),
        ("read_frame/small", micro::read_a_small_frame()),
        ("read_frame/joined_100", micro::read_joined_frames()),
        ("read_frame/of_64_kib", micro::read_a_frame_of_64_kib()),
        (
            "read_frame/in_two_reads",
            micro::read_a_frame_in_two_reads(),
        ),
        ("write_frame/joined_16", micro::write_frames(16)),
        ("room/append", micro::append(10)),
        ("room/fan_out_10", micro::fan_out(10)),
        ("room/fan_out_100", micro::fan_out(100)),
        ("room/fan_out_100_joined_16", micro::fan_out_joined(16, 100)),
        ("room/join", micro::join_at_the_end()),
        ("room/join_missed_20", micro::join_behind()),
        ("token/verify_hs256", micro::verify_hs256()),
    ];
    for (name, mut piece) in pieces {
        criterion.bench_function(name, |bencher| bencher.iter(|| piece.run()));
    }
}

criterion_group!(benches, pieces);
criterion_main!(benches);
