//! Resume tokens: say `hello` again for the same person, on any node, without signing in and without a row
//! anywhere.
//!
//! For a guest it is the only thing that keeps their id. It is opaque to clients: base64url of `MAC (32) ·
//! version (1) · user (16) · login (16, zero for a guest) · expiry (8) · name`, under a key of the cluster.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use enfilade_proto::{DisplayName, LoginId, User, UserId};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::mac;
use super::principal::{Principal, SignedIn};

/// How long a guest may be away.
pub(super) const GUEST_LIFE_MS: u64 = 24 * 60 * 60 * 1_000;

const VERSION: u8 = 1;
/// The longest name has 64 characters of 4 bytes; base64 adds a third.
const LONGEST: usize = (32 + 1 + 16 + 16 + 8 + DisplayName::MAX_CHARS * 4).div_ceil(3) * 4;

/// Seals and opens.
pub(super) struct ResumeTokens {
    mac: Hmac<Sha256>,
}

impl ResumeTokens {
    #[must_use]
    pub(super) fn new(key: &[u8]) -> Self {
        Self { mac: mac::keyed(key) }
    }

    /// A token that says `hello` for this person: as long as the access token was good, or a day for a guest.
    #[must_use]
    pub(super) fn seal(&self, principal: &Principal, now_ms: u64) -> String {
        let (login, expires_ms) = match &principal.signed_in {
            Some(signed_in) => (signed_in.login.0, signed_in.expires_ms),
            None => (Uuid::nil(), now_ms + GUEST_LIFE_MS),
        };
        let mut body = vec![VERSION];
        body.extend_from_slice(principal.user.id.0.as_bytes());
        body.extend_from_slice(login.as_bytes());
        body.extend_from_slice(&expires_ms.to_be_bytes());
        body.extend_from_slice(principal.user.name.as_str().as_bytes());
        let mac = self.mac.clone().chain_update(&body).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&mac[..], &body].concat())
    }

    /// None if it was not sealed under this key, or has expired.
    #[must_use]
    pub(super) fn open(&self, token: &str, now_ms: u64) -> Option<Principal> {
        if token.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (mac, body) = bytes.split_first_chunk::<32>()?;
        self.mac.clone().chain_update(body).verify_slice(mac).ok()?;
        read(body).filter(|&(_, expires_ms)| now_ms < expires_ms).map(|(principal, _)| principal)
    }
}

/// Reads what was sealed; None if it has another form, that of a later version for instance.
fn read(body: &[u8]) -> Option<(Principal, u64)> {
    let rest = body.strip_prefix(&[VERSION])?;
    let (user, rest) = rest.split_first_chunk::<16>()?;
    let (login, rest) = rest.split_first_chunk::<16>()?;
    let (expires, name) = rest.split_first_chunk::<8>()?;
    let expires_ms = u64::from_be_bytes(*expires);
    let login = LoginId(Uuid::from_bytes(*login));
    let signed_in = (!login.0.is_nil()).then_some(SignedIn { login, expires_ms });
    let name = DisplayName::new(str::from_utf8(name).ok()?).ok()?;
    let user = User { id: UserId(Uuid::from_bytes(*user)), name, guest: signed_in.is_none() };
    Some((Principal { user, signed_in }, expires_ms))
}

impl std::fmt::Debug for ResumeTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResumeTokens")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn tokens() -> ResumeTokens {
        ResumeTokens::new(&[3; 32])
    }

    fn guest(name: &str) -> Principal {
        let user =
            User { id: UserId(Uuid::from_u128(5)), name: DisplayName::new(name).unwrap(), guest: true };
        Principal { user, signed_in: None }
    }

    fn signed_in(expires_ms: u64) -> Principal {
        let mut person = guest("Ada");
        person.user.guest = false;
        person.signed_in = Some(SignedIn { login: LoginId(Uuid::from_u128(9)), expires_ms });
        person
    }

    #[test]
    fn a_guest_comes_back_within_a_day() {
        let token = tokens().seal(&guest("Ada"), NOW);
        assert_eq!(tokens().open(&token, NOW + GUEST_LIFE_MS - 1), Some(guest("Ada")));
        assert_eq!(tokens().open(&token, NOW + GUEST_LIFE_MS), None);
    }

    #[test]
    fn a_signed_in_person_comes_back_as_long_as_the_access_token_lives() {
        let person = signed_in(NOW + 60_000);
        let token = tokens().seal(&person, NOW);
        assert_eq!(tokens().open(&token, NOW + 59_999), Some(person));
        assert_eq!(tokens().open(&token, NOW + 60_000), None);
    }

    #[test]
    fn the_longest_name_still_fits() {
        let person = guest(&"\u{1F3A8}".repeat(DisplayName::MAX_CHARS));
        assert_eq!(tokens().open(&tokens().seal(&person, NOW), NOW), Some(person));
    }

    #[test]
    fn a_token_of_another_cluster_opens_nothing() {
        let token = ResumeTokens::new(&[4; 32]).seal(&guest("Ada"), NOW);
        assert_eq!(tokens().open(&token, NOW), None);
    }

    proptest! {
        #[test]
        fn a_changed_token_opens_nothing(position in 0usize..200, byte in 0u8..128) {
            let mut bytes = tokens().seal(&signed_in(NOW + 1_000), NOW).into_bytes();
            let position = position % bytes.len();
            prop_assume!(bytes[position] != byte);
            bytes[position] = byte;
            prop_assert_eq!(tokens().open(&String::from_utf8(bytes).unwrap(), NOW), None);
        }

        #[test]
        fn any_text_opens_nothing(text in "[A-Za-z0-9_=-]{0,600}") {
            prop_assert_eq!(tokens().open(&text, NOW), None);
        }
    }
}
