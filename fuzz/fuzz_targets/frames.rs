#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlance_gateway::fuzz::frames(data));
