//! Secrets of share links: 128 random bits behind the `#` of a URL. Only their hash is ever stored.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use enfilade_store::LinkHash;
use sha2::{Digest, Sha256};

/// The secret of a new link: 22 characters, shown once to whoever made it.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret(String);

impl LinkSecret {
    #[must_use]
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()))
    }

    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn hash(&self) -> LinkHash {
        hash(&self.0)
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(…)")
    }
}

/// The hash of a secret as a person presents it: the bare secret, or the whole URL that it ends.
///
/// Text that is no secret at all has a hash too: one that no link has.
#[must_use]
pub fn hash(presented: &str) -> LinkHash {
    let secret = presented.rsplit('#').next().unwrap_or(presented).trim();
    LinkHash(Sha256::digest(secret.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_has_128_bits_and_never_comes_twice() {
        let secrets: HashSet<String> = (0..1_000).map(|_| LinkSecret::random().0).collect();
        assert_eq!(secrets.len(), 1_000);
        for secret in secrets {
            assert_eq!(secret.len(), 22);
            assert_eq!(URL_SAFE_NO_PAD.decode(&secret).unwrap().len(), 16);
        }
    }

    #[test]
    fn a_whole_url_is_as_good_as_its_secret() {
        let secret = LinkSecret::random();
        let url = format!("https://example.org/b/7d1e#{}", secret.reveal());
        assert_eq!(hash(&url), secret.hash());
        assert_eq!(hash(&format!("  {}\n", secret.reveal())), secret.hash());
        assert_eq!(hash(&format!("https://example.org/#/b/7d1e#{}", secret.reveal())), secret.hash());
        assert_ne!(hash("https://example.org/b/7d1e"), secret.hash());
        assert_ne!(hash(&secret.reveal()[..21]), secret.hash());
    }

    #[test]
    fn a_secret_does_not_appear_in_logs() {
        let secret = LinkSecret::random();
        assert!(!format!("{secret:?}").contains(secret.reveal()));
    }

    proptest! {
        #[test]
        fn any_text_can_be_presented(text in ".{0,200}") {
            prop_assert_ne!(hash(&text), LinkSecret::random().hash());
        }
    }
}
