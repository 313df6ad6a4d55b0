#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| paceline::cli::fuzz::stream(bytes));
