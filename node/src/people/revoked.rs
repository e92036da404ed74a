//! Logins that were ended while access tokens of theirs are still good on paper.
//!
//! A token cannot be taken back, so everyone who reads tokens looks here. An entry lives as long as the
//! youngest token of its login can. The set belongs to the process: after a restart, a token of a login that
//! was ended shortly before it works for the rest of its ten minutes (refreshing it does not).

use std::collections::{HashSet, VecDeque};

use enfilade_proto::LoginId;

use super::token::ACCESS_LIFE_MS;

/// How long to remember: an access token's life, and a minute for one that was being made while its login
/// ended.
const MEMORY_MS: u64 = ACCESS_LIFE_MS + 60_000;

/// Ended logins to remember. Beyond it the oldest is forgotten early, at worst one access token's life too
/// early; so many people signing out within ten minutes have other sorrows.
pub(super) const MOST: usize = 100_000;

/// The set. Time is handed in and may repeat.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    logins: HashSet<LoginId>,
    /// In the order in which they were ended, with the time at which to forget them.
    ends: VecDeque<(u64, LoginId)>,
}

impl Revoked {
    pub(super) fn insert(&mut self, login: LoginId, now_ms: u64) {
        self.forget(now_ms);
        if !self.logins.insert(login) {
            return;
        }
        self.ends.push_back((now_ms + MEMORY_MS, login));
        if self.ends.len() > MOST {
            self.drop_oldest();
        }
    }

    #[must_use]
    pub(super) fn contains(&self, login: LoginId) -> bool {
        self.logins.contains(&login)
    }

    fn forget(&mut self, now_ms: u64) {
        while self.ends.front().is_some_and(|&(end, _)| end < now_ms) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, login)) = self.ends.pop_front() {
            self.logins.remove(&login);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn login(number: u128) -> LoginId {
        LoginId(Uuid::from_u128(number))
    }

    #[test]
    fn a_login_stays_revoked_for_as_long_as_its_tokens_could_live() {
        let mut revoked = Revoked::default();
        revoked.insert(login(1), 1_000);
        revoked.insert(login(2), 1_000 + MEMORY_MS);
        assert!(revoked.contains(login(1)));
        revoked.insert(login(3), 1_001 + MEMORY_MS);
        assert!(!revoked.contains(login(1)));
        assert!(revoked.contains(login(2)));
        assert!(!revoked.contains(login(4)));
    }

    #[test]
    fn the_set_has_a_bound_and_drops_the_oldest_first() {
        let mut revoked = Revoked::default();
        for number in 0..=MOST {
            revoked.insert(login(number as u128), 5);
            revoked.insert(login(number as u128), 5);
        }
        assert_eq!(revoked.logins.len(), MOST);
        assert_eq!(revoked.ends.len(), MOST);
        assert!(!revoked.contains(login(0)));
        assert!(revoked.contains(login(1)));
    }
}
