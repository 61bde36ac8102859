#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlance_scylla::fuzz::store_rows(data));
