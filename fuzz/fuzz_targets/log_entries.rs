#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlance_redis::fuzz::log_entries(data));
