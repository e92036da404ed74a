//! Any bytes, in both codecs and both directions. Needs a nightly toolchain: `cargo +nightly fuzz run decode`.
#![no_main]

use enfilade_proto::{Codec, Points, Pressure};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for codec in Codec::ALL {
        // What can be read can be written and read again, and is the same.
        for incoming in codec.decode_requests(bytes).into_iter().flatten().flatten() {
            let written = codec.encode_request(incoming.id, &incoming.request);
            let again = codec.decode_requests(&written).expect("our own frame");
            assert_eq!(again, [Ok(incoming)]);
        }
        let _ = codec.decode_server(bytes);
    }
    let _ = Points::from_coded(bytes);
    let _ = Pressure::from_coded(bytes);
});
