//! Black-box tests of the parlance binary live in `tests/`.
