//! Counts the instructions of each piece, under Callgrind. `make bench-check` runs it and compares
//! the counts with `baseline.txt`; `docs/performance.md` says how to read them.
//!
//! Each piece runs once in a process of its own, after it was made and warmed outside the count.

use gungraun::prelude::*;
use parlance_micro::Piece;

#[library_benchmark]
#[bench::send(parlance_micro::parse_a_send())]
#[bench::edit(parlance_micro::parse_an_edit())]
#[bench::longest_send(parlance_micro::parse_the_longest_send())]
#[bench::refused(parlance_micro::parse_a_refused_action())]
fn parse(piece: Box<dyn Piece>) -> Box<dyn Piece> {
    once(piece)
}

#[library_benchmark]
#[bench::message(parlance_micro::encode_a_message())]
#[bench::edit(parlance_micro::encode_an_edit())]
#[bench::page_of_100(parlance_micro::encode_a_page())]
fn encode(piece: Box<dyn Piece>) -> Box<dyn Piece> {
    once(piece)
}

#[library_benchmark]
#[bench::small(parlance_micro::read_a_small_frame())]
#[bench::joined_100(parlance_micro::read_joined_frames())]
#[bench::of_64_kib(parlance_micro::read_a_frame_of_64_kib())]
#[bench::in_two_reads(parlance_micro::read_a_frame_in_two_reads())]
fn read_frame(piece: Box<dyn Piece>) -> Box<dyn Piece> {
    once(piece)
}

#[library_benchmark]
#[bench::joined_16(parlance_micro::write_frames(16))]
fn write_frame(piece: Box<dyn Piece>) -> Box<dyn Piece> {
    once(piece)
}

#[library_benchmark]
#[bench::append(parlance_micro::append(10))]
#[bench::fan_out_10(parlance_micro::fan_out(10))]
#[bench::fan_out_100(parlance_micro::fan_out(100))]
#[bench::fan_out_100_joined_16(parlance_micro::fan_out_joined(16, 100))]
#[bench::join(parlance_micro::join_at_the_end())]
#[bench::join_missed_20(parlance_micro::join_behind())]
fn room(piece: Box<dyn Piece>) -> Box<dyn Piece> {
    once(piece)
}

#[library_benchmark]
#[bench::verify_hs256(parlance_micro::verify_hs256())]
fn token(piece: Box<dyn Piece>) -> Box<dyn Piece> {
    once(piece)
}

/// The piece is given back, so that dropping it is not counted.
fn once(mut piece: Box<dyn Piece>) -> Box<dyn Piece> {
    piece.run();
    piece
}

// One group: pieces of different groups never run side by side.
library_benchmark_group!(
    name = pieces,
    benchmarks = [parse, encode, read_frame, write_frame, room, token]
);

main!(library_benchmark_groups = pieces);
