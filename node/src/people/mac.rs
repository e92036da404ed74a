//! HMAC-SHA256, as all our tokens use it.

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

/// A MAC under a key.
#[must_use]
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC is defined for keys of every length")]
    Hmac::new_from_slice(key).expect("a key of any length")
}
