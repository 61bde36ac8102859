#![no_main]

// A program has no library that could be called, so its module is taken as it stands.
#[expect(dead_code, reason = "only what reads a configuration is called")]
#[path = "../../crates/parlance/src/config/mod.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::fuzz::config(data));
