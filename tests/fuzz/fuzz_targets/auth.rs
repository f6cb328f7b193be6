#![no_main]
//! The target `auth` for libFuzzer.

#[path = "../../it/hostile/forge.rs"]
mod forge;
#[path = "../targets.rs"]
#[allow(dead_code, reason = "one of them is used here")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::auth(data));
