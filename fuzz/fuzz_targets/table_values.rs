#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlance_embedded::fuzz::table_values(data));
