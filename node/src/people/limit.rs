//! How often somebody may try: token buckets, one for each account or address.
//!
//! A bucket is a single number, the time at which it will be full again (the generic cell rate algorithm), so
//! a full one need not be kept at all. They belong to this process; behind n nodes a person has n times as
//! many tries.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use enfilade_proto::{ErrorCode, UserId, Username};

use super::refusal::Refusal;
use crate::rate::Rate;

/// Buckets that one limit keeps. A key costs about 200 bytes.
pub(super) const KEYS: usize = 50_000;

/// The limits of a node. Each is a setting of about that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    pub sign_in_per_account: Rate,
    pub sign_in_per_address: Rate,
    pub sign_up_per_address: Rate,
    pub refresh_per_address: Rate,
    /// A snapshot may be large.
    pub snapshots_per_address: Rate,
    /// Of a signed-in person, or of an address for guests.
    pub rooms_per_person: Rate,
    /// Requests with an `Idempotency-Key`, each of which is remembered for a day.
    pub keys_per_person: Rate,
}

/// Generous: a class of pupils behind one address signs up in a minute, and nobody guesses passwords.
impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            sign_in_per_account: Rate::per_minute(10),
            sign_in_per_address: Rate::per_minute(60),
            sign_up_per_address: Rate::per_minute(6).with_burst(60),
            refresh_per_address: Rate::per_second(10).with_burst(600),
            snapshots_per_address: Rate::per_second(20).with_burst(600),
            rooms_per_person: Rate::per_hour(1_000).with_burst(300),
            keys_per_person: Rate::per_second(1).with_burst(1_000),
        }
    }
}

/// Whom an address stands for: itself, or the /64 that a household gets in IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AddressKey(IpAddr);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

/// Who makes things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Maker {
    Person(UserId),
    Address(AddressKey),
}

impl Maker {
    pub(super) fn of(user: Option<UserId>, address: IpAddr) -> Self {
        user.map_or_else(|| Self::Address(address.into()), Self::Person)
    }
}

/// Token buckets under one rate. Pure: the time is handed in and may stand still.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    most: usize,
    /// When each bucket is full again, in microseconds, and the same the other way round to find the fullest.
    full_at: HashMap<K, u64>,
    fullest: BTreeSet<(u64, K)>,
}

impl<K: Copy + Eq + Hash + Ord> Buckets<K> {
    #[must_use]
    pub(super) fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, full_at: HashMap::new(), fullest: BTreeSet::new() }
    }

    /// Takes one token out of a bucket.
    ///
    /// # Errors
    /// How many milliseconds to wait, when the bucket is empty.
    pub(super) fn take(&mut self, key: K, now_ms: u64) -> Result<(), u64> {
        let now_us = now_ms.saturating_mul(1_000);
        self.forget_full(now_us);
        let full_at = self.full_at.get(&key).copied().unwrap_or(now_us).max(now_us);
        let slack_us = self.rate.every_us() * u64::from(self.rate.burst() - 1);
        let wait_us = (full_at - now_us).saturating_sub(slack_us);
        if wait_us > 0 {
            return Err(wait_us.div_ceil(1_000));
        }
        self.put(key, full_at + self.rate.every_us());
        Ok(())
    }

    fn put(&mut self, key: K, full_at: u64) {
        if let Some(before) = self.full_at.insert(key, full_at) {
            self.fullest.remove(&(before, key));
        }
        self.fullest.insert((full_at, key));
        // The fullest bucket is the one whose owner gains least by having it forgotten.
        if self.fullest.len() > self.most {
            self.forget_fullest();
        }
    }

    fn forget_full(&mut self, now_us: u64) {
        while self.fullest.first().is_some_and(|&(full_at, _)| full_at <= now_us) {
            self.forget_fullest();
        }
    }

    fn forget_fullest(&mut self) {
        if let Some((_, key)) = self.fullest.pop_first() {
            self.full_at.remove(&key);
        }
    }
}

/// All limits of a node.
#[derive(Debug)]
pub(super) struct Limits {
    sign_in_by_account: Mutex<Buckets<AccountKey>>,
    sign_in_by_address: Mutex<Buckets<AddressKey>>,
    sign_up: Mutex<Buckets<AddressKey>>,
    refresh: Mutex<Buckets<AddressKey>>,
    snapshots: Mutex<Buckets<AddressKey>>,
    rooms: Mutex<Buckets<Maker>>,
    keys: Mutex<Buckets<Maker>>,
}

/// A username, in a form that is as large as the largest and no larger.
type AccountKey = [u8; 32];

impl Limits {
    #[must_use]
    pub(super) fn new(settings: &LimitSettings) -> Self {
        Self {
            sign_in_by_account: Mutex::new(Buckets::new(settings.sign_in_per_account, KEYS)),
            sign_in_by_address: Mutex::new(Buckets::new(settings.sign_in_per_address, KEYS)),
            sign_up: Mutex::new(Buckets::new(settings.sign_up_per_address, KEYS)),
            refresh: Mutex::new(Buckets::new(settings.refresh_per_address, KEYS)),
            snapshots: Mutex::new(Buckets::new(settings.snapshots_per_address, KEYS)),
            rooms: Mutex::new(Buckets::new(settings.rooms_per_person, KEYS)),
            keys: Mutex::new(Buckets::new(settings.keys_per_person, KEYS)),
        }
    }

    /// The address is asked first, so that one address alone cannot lock an account's owner out.
    ///
    /// # Errors
    /// `rate_limited`, like the others here.
    pub(super) fn sign_in(
        &self,
        account: Option<&Username>,
        from: AddressKey,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        take(&self.sign_in_by_address, from, now_ms, "too many sign-ins from your network")?;
        let Some(account) = account else { return Ok(()) };
        let mut key = AccountKey::default();
        for (to, from) in key.iter_mut().zip(account.as_str().bytes()) {
            *to = from;
        }
        take(&self.sign_in_by_account, key, now_ms, "too many sign-ins to this account")
    }

    pub(super) fn sign_up(&self, from: AddressKey, now_ms: u64) -> Result<(), Refusal> {
        take(&self.sign_up, from, now_ms, "too many sign-ups from your network")
    }

    pub(super) fn refresh(&self, from: AddressKey, now_ms: u64) -> Result<(), Refusal> {
        take(&self.refresh, from, now_ms, "too many refreshes from your network")
    }

    pub(super) fn snapshot(&self, from: AddressKey, now_ms: u64) -> Result<(), Refusal> {
        take(&self.snapshots, from, now_ms, "too many snapshots for your network")
    }

    pub(super) fn room(&self, maker: Maker, now_ms: u64) -> Result<(), Refusal> {
        take(&self.rooms, maker, now_ms, "too many new rooms")
    }

    pub(super) fn key(&self, maker: Maker, now_ms: u64) -> Result<(), Refusal> {
        take(&self.keys, maker, now_ms, "too many requests with an Idempotency-Key")
    }
}

fn take<K: Copy + Eq + Hash + Ord>(
    buckets: &Mutex<Buckets<K>>,
    key: K,
    now_ms: u64,
    message: &str,
) -> Result<(), Refusal> {
    let taken = buckets.lock().unwrap_or_else(PoisonError::into_inner).take(key, now_ms);
    taken.map_err(|wait_ms| Refusal::new(ErrorCode::RateLimited, message).after(wait_ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One a second, and three at once.
    fn rate() -> Rate {
        Rate::per_second(1).with_burst(3)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_at_a_time() {
        let mut buckets = Buckets::new(rate(), 10);
        for _ in 0..3 {
            assert_eq!(buckets.take("ada", 5_000), Ok(()));
        }
        assert_eq!(buckets.take("ada", 5_000), Err(1_000));
        assert_eq!(buckets.take("ada", 5_400), Err(600));
        assert_eq!(buckets.take("bob", 5_400), Ok(()));
        assert_eq!(buckets.take("ada", 6_000), Ok(()));
        assert_eq!(buckets.take("ada", 6_001), Err(999));
    }

    #[test]
    fn many_in_a_second_are_not_rounded_to_more() {
        let mut buckets = Buckets::new(Rate::per_second(600).with_burst(1), 10);
        let taken = (0..1_000).filter(|now_ms| buckets.take("ada", *now_ms).is_ok()).count();
        // One each 1.67 ms, asked for each millisecond: at 0, 2, 4, …
        assert_eq!(taken, 500);
        let mut buckets = Buckets::new(Rate::per_second(600).with_burst(2), 10);
        let taken = (0..1_000).filter(|now_ms| buckets.take("ada", *now_ms).is_ok()).count();
        assert!((600..=602).contains(&taken), "{taken}");
    }

    #[test]
    fn a_full_bucket_is_not_kept() {
        let mut buckets = Buckets::new(rate(), 10);
        assert_eq!(buckets.take("ada", 0), Ok(()));
        assert_eq!(buckets.take("bob", 1_000), Ok(()));
        assert_eq!(buckets.full_at.len(), 1);
        assert_eq!(buckets.fullest.len(), 1);
    }

    #[test]
    fn strangers_cannot_make_an_empty_bucket_forgotten() {
        let mut buckets = Buckets::new(rate(), 10);
        for _ in 0..3 {
            assert_eq!(buckets.take(0, 0), Ok(()));
        }
        for stranger in 1..1_000 {
            assert_eq!(buckets.take(stranger, 0), Ok(()));
        }
        assert_eq!(buckets.take(0, 0), Err(1_000));
        assert_eq!(buckets.full_at.len(), 10);
    }

    #[test]
    fn a_household_has_one_bucket_whatever_its_addresses() {
        let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::7"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn an_account_is_protected_from_many_addresses() {
        let limits = Limits::new(&LimitSettings::default());
        let ada = Username::new("ada").unwrap();
        let from = |n: u8| AddressKey::from(IpAddr::from([192, 0, 2, n]));
        for n in 0..10 {
            limits.sign_in(Some(&ada), from(n), 0).unwrap();
        }
        let refusal = limits.sign_in(Some(&ada), from(10), 0).unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::RateLimited, Some(6_000)));
        limits.sign_in(Some(&Username::new("bob").unwrap()), from(10), 0).unwrap();
    }

    #[test]
    fn an_address_is_limited_over_all_accounts() {
        let limits = Limits::new(&LimitSettings::default());
        let from = AddressKey::from(IpAddr::from([192, 0, 2, 1]));
        for n in 0..60 {
            limits.sign_in(Some(&Username::new(&format!("user-{n}")).unwrap()), from, 0).unwrap();
        }
        assert_eq!(limits.sign_in(None, from, 0).unwrap_err().retry_after_ms, Some(1_000));
    }

    proptest! {
        /// In any stretch of time a key gets at most its burst and what that time allows; and waiting as told
        /// is enough.
        #[test]
        fn nobody_gets_more_than_the_rate(
            steps in prop::collection::vec((0u8..4, 0u64..3_000), 1..200),
        ) {
            let mut buckets = Buckets::new(rate(), 3);
            let mut now = 0;
            let mut given: HashMap<u8, Vec<u64>> = HashMap::new();
            for (key, pause) in steps {
                now += pause;
                match buckets.take(key, now) {
                    Ok(()) => given.entry(key).or_default().push(now),
                    Err(wait_ms) => {
                        prop_assert!(wait_ms > 0 && wait_ms <= 1_000);
                        now += wait_ms;
                        prop_assert_eq!(buckets.take(key, now), Ok(()));
                        given.entry(key).or_default().push(now);
                    }
                }
                prop_assert_eq!(buckets.full_at.len(), buckets.fullest.len());
                prop_assert!(buckets.full_at.len() <= 3);
            }
            // Three keys never exceed the bound of three, so nothing of theirs is forgotten early.
            if given.len() <= 3 {
                for times in given.values() {
                    for (i, from) in times.iter().enumerate() {
                        for (j, to) in times.iter().enumerate().skip(i) {
                            let allowed = 3 + (to - from) / 1_000;
                            prop_assert!((j - i + 1) as u64 <= allowed);
                        }
                    }
                }
            }
        }
    }
}
