//! Refresh tokens, and what the presented one means for its login.
//!
//! A login is one row for as long as a device stays signed in, so its refresh tokens need none of their own:
//! a token is the login's id and counter under a MAC of the login's own key. Each refresh moves the counter
//! by one. A token that was replaced long ago can only be a stolen one (or its thief's victim's), so it ends
//! the login.
//!
//! Three exceptions, or people are signed out for nothing: the token just before the current one (the answer
//! that carried the current one was lost), any token within [`GRACE_MS`] of a rotation (several tabs
//! refresh at once), and one that comes after the current one (the database was restored to an earlier time). All
//! are answered with the current token. This is laxer than strict rotation: a thief
//! who always refreshes in turn with the owner is not noticed, though the thirty days still end him.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use enfilade_proto::LoginId;
use enfilade_store::LoginRow;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::mac;

pub(super) const GRACE_MS: u64 = 10_000;
/// A device that was not used for so long has to sign in again.
pub(super) const IDLE_MS: u64 = 14 * DAY_MS;
/// And every device after so long.
pub(super) const LIFE_MS: u64 = 30 * DAY_MS;
/// Devices of one person; signing in on one more ends the oldest.
pub(super) const MOST: u32 = 50;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const VERSION: u8 = 1;
const BODY: usize = 1 + 16 + 8;
/// Half of SHA-256 is as hard to guess as anything.
const MAC: usize = 16;

/// A refresh token as it was presented; it proves nothing until it is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RefreshToken {
    login: LoginId,
    counter: u64,
    mac: [u8; MAC],
}

/// What to do with whoever presents a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The current one: move the counter and answer with the next.
    Rotate,
    /// A recent one: answer with the current one, change nothing.
    Current,
    /// One that was replaced long ago: end the login.
    Reused,
    /// The login is past its time: end it.
    Expired,
    /// Not made by this login.
    Forged,
}

impl RefreshToken {
    /// The current token of a login.
    #[must_use]
    pub(super) fn of(login: &LoginRow) -> Self {
        let mac = sign(login, login.counter).finalize().into_bytes();
        let mut truncated = [0; MAC];
        truncated.copy_from_slice(&mac[..MAC]);
        Self { login: login.id, counter: login.counter, mac: truncated }
    }

    /// None if the text is no refresh token of this version.
    #[must_use]
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; BODY + MAC];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let rest = bytes[..length].strip_prefix(&[VERSION])?;
        let (login, rest) = rest.split_first_chunk::<16>()?;
        let (counter, mac) = rest.split_first_chunk::<8>()?;
        let login = LoginId(Uuid::from_bytes(*login));
        Some(Self { login, counter: u64::from_be_bytes(*counter), mac: mac.try_into().ok()? })
    }

    #[must_use]
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([&body(self.login, self.counter)[..], &self.mac].concat())
    }

    /// The login that the token names, to look it up; whoever presents it need not be its owner.
    #[must_use]
    pub(super) fn login(&self) -> LoginId {
        self.login
    }

    /// Whether this login made the token, now or ever.
    #[must_use]
    pub(super) fn is_of(&self, login: &LoginRow) -> bool {
        self.login == login.id && sign(login, self.counter).verify_truncated_left(&self.mac).is_ok()
    }
}

/// Judges a token by its login's row.
#[must_use]
pub(super) fn judge(login: &LoginRow, token: &RefreshToken, now_ms: u64) -> Verdict {
    let since_rotation = now_ms.saturating_sub(login.rotated_ms);
    if !token.is_of(login) {
        Verdict::Forged
    } else if now_ms >= login.expires_ms || since_rotation >= IDLE_MS {
        Verdict::Expired
    } else if token.counter == login.counter {
        Verdict::Rotate
    } else if token.counter.saturating_add(1) >= login.counter || since_rotation < GRACE_MS {
        Verdict::Current
    } else {
        Verdict::Reused
    }
}

fn body(login: LoginId, counter: u64) -> [u8; BODY] {
    let mut body = [VERSION; BODY];
    body[1..17].copy_from_slice(login.0.as_bytes());
    body[17..].copy_from_slice(&counter.to_be_bytes());
    body
}

fn sign(login: &LoginRow, counter: u64) -> Hmac<Sha256> {
    mac::keyed(&login.key).chain_update(body(login.id, counter))
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RefreshToken({}, {})", self.login, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::UserId;
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_767_225_600_000;

    fn row() -> LoginRow {
        LoginRow {
            id: LoginId(Uuid::from_u128(11)),
            user: UserId(Uuid::from_u128(12)),
            key: [5; 32],
            counter: 0,
            rotated_ms: START,
            created_ms: START,
            expires_ms: START + LIFE_MS,
            device: String::new(),
        }
    }

    fn token_at(counter: u64) -> RefreshToken {
        RefreshToken::of(&LoginRow { counter, ..row() })
    }

    #[test]
    fn a_token_survives_its_text() {
        let token = token_at(u64::MAX - 1);
        assert_eq!(RefreshToken::parse(&token.text()), Some(token));
        assert_eq!(token.text().len(), 55);
    }

    #[test]
    fn the_current_token_rotates() {
        let login = LoginRow { counter: 7, ..row() };
        assert_eq!(judge(&login, &token_at(7), START + 60_000), Verdict::Rotate);
    }

    #[test]
    fn a_lost_answer_does_not_sign_anybody_out() {
        let login = LoginRow { counter: 7, ..row() };
        assert_eq!(judge(&login, &token_at(6), START + DAY_MS), Verdict::Current);
    }

    #[test]
    fn tabs_that_refresh_at_once_all_get_the_current_token() {
        let login = LoginRow { counter: 7, ..row() };
        for counter in 0..7 {
            assert_eq!(judge(&login, &token_at(counter), START + GRACE_MS - 1), Verdict::Current);
        }
        assert_eq!(judge(&login, &token_at(5), START + GRACE_MS), Verdict::Reused);
    }

    #[test]
    fn a_login_ends_when_idle_and_in_any_case_after_its_life() {
        assert_eq!(judge(&row(), &token_at(0), START + IDLE_MS - 1), Verdict::Rotate);
        assert_eq!(judge(&row(), &token_at(0), START + IDLE_MS), Verdict::Expired);
        let busy = LoginRow { rotated_ms: START + LIFE_MS - 5, ..row() };
        assert_eq!(judge(&busy, &token_at(0), START + LIFE_MS - 1), Verdict::Rotate);
        assert_eq!(judge(&busy, &token_at(0), START + LIFE_MS), Verdict::Expired);
    }

    #[test]
    fn a_token_of_another_login_is_forged() {
        let other = LoginRow { key: [6; 32], ..row() };
        assert_eq!(judge(&row(), &RefreshToken::of(&other), START), Verdict::Forged);
        let other = LoginRow { id: LoginId(Uuid::from_u128(99)), ..row() };
        assert_eq!(judge(&row(), &RefreshToken::of(&other), START), Verdict::Forged);
    }

    proptest! {
        /// One login under any order of refreshes, old tokens and pauses: it never accepts what it has not
        /// issued, never hands out anything but the current token, and ends exactly when an old token comes
        /// late.
        #[test]
        fn a_login_is_ended_by_old_tokens_and_by_nothing_else(
            steps in prop::collection::vec((0u64..12, 0u64..30_000), 1..80),
        ) {
            let mut login = row();
            let mut now = START;
            for (back, pause) in steps {
                now += pause;
                let counter = login.counter.saturating_sub(back);
                let late = now - login.rotated_ms >= GRACE_MS;
                match judge(&login, &token_at(counter), now) {
                    Verdict::Rotate => {
                        prop_assert_eq!(counter, login.counter);
                        login = LoginRow { counter: login.counter + 1, rotated_ms: now, ..login };
                    }
                    Verdict::Current => {
                        prop_assert!(counter < login.counter);
                        prop_assert!(counter + 1 == login.counter || !late);
                    }
                    Verdict::Reused => {
                        prop_assert!(counter + 1 < login.counter && late);
                        break;
                    }
                    verdict => prop_assert!(false, "{verdict:?}"),
                }
            }
        }

        #[test]
        fn a_token_of_a_time_that_a_restore_undid_keeps_its_login(ahead in 1u64..u64::MAX, now in START..START + IDLE_MS) {
            prop_assert_eq!(judge(&row(), &token_at(ahead), now), Verdict::Current);
            prop_assert_eq!(judge(&row(), &token_at(ahead), now + IDLE_MS), Verdict::Expired);
        }

        #[test]
        fn a_changed_token_is_forged_or_no_token(position in 0usize..55, byte in 0u8..128) {
            let mut bytes = token_at(0).text().into_bytes();
            prop_assume!(bytes[position] != byte);
            bytes[position] = byte;
            if let Some(token) = RefreshToken::parse(&String::from_utf8(bytes).unwrap()) {
                prop_assert_eq!(judge(&row(), &token, START), Verdict::Forged);
            }
        }

        #[test]
        fn any_text_may_be_presented(text in "\\PC{0,80}") {
            if let Some(token) = RefreshToken::parse(&text) {
                prop_assert_eq!(judge(&row(), &token, START), Verdict::Forged);
            }
        }
    }
}
