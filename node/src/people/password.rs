//! Passwords: which ones are accepted, and hashing them without letting it take the node down.
//!
//! A hash takes 19 MiB and some 40 ms on purpose, so only as many run at once as there are cores, a bounded
//! number waits, and whoever comes after that is told to come back. An unknown user costs the same work as a
//! wrong password.

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use enfilade_proto::{ErrorCode, Username};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

pub(super) const FEWEST_CHARS: usize = 8;
pub(super) const MOST_CHARS: usize = 128;

/// The passwords that are tried first, in lower case, one a line.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// How to hash, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashing {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    /// Hashes at once.
    pub workers: usize,
    /// Requests that may wait for a worker.
    pub waiting: usize,
}

/// The floor of OWASP's Password Storage sheet. Thirty in the queue of each core wait for about a second.
impl Default for Hashing {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self { memory_kib: 19 * 1_024, passes: 2, lanes: 1, workers: cores, waiting: 30 * cores }
    }
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Wrong,
    Right,
    /// Right, but hashed with other parameters than today's: store this instead.
    Outdated(String),
}

/// The bounded pool.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    /// The hash of nothing that anybody knows, checked for users that do not exist.
    dummy: Arc<str>,
    /// Who works or waits.
    admitted: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl Passwords {
    /// Hashes once, which takes a moment.
    ///
    /// # Errors
    /// When Argon2 does not work with such parameters.
    pub(crate) fn new(hashing: &Hashing) -> Result<Self, HashError> {
        let params = Params::new(hashing.memory_kib, hashing.passes, hashing.lanes, None)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let workers = hashing.workers.max(1);
        Ok(Self {
            dummy: hash(&argon2, &rand::random::<u128>().to_string())?.into(),
            argon2,
            admitted: Arc::new(Semaphore::new(workers + hashing.waiting)),
            workers: Arc::new(Semaphore::new(workers)),
        })
    }

    /// A new password as a PHC string.
    ///
    /// # Errors
    /// `busy` when too many wait already.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, Refusal> {
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.run(move || hash(&argon2, &password)).await
    }

    /// Checks a password against the stored hash, or against nothing for a user that does not exist.
    ///
    /// # Errors
    /// `busy` when too many wait already, `internal` when what is stored is no hash.
    pub(super) async fn check(&self, password: &str, stored: Option<&str>) -> Result<Checked, Refusal> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.dummy).to_owned();
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.run(move || check(&argon2, &password, &stored))
            .await
            .map(|checked| if known { checked } else { Checked::Wrong })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permits = self.queue().await?;
        let outcome = tokio::task::spawn_blocking(move || {
            // Held here, because the work goes on when the one who asked has left.
            let _permits = permits;
            work()
        });
        outcome.await.map_err(Refusal::internal)?.map_err(Refusal::internal)
    }

    async fn queue(&self) -> Result<[OwnedSemaphorePermit; 2], Refusal> {
        let busy = || Refusal::new(ErrorCode::Busy, "too many people are signing in right now").after(1_000);
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| busy())?;
        // Never closed.
        let worker = self.workers.clone().acquire_owned().await.map_err(|_| busy())?;
        Ok([worker, admitted])
    }
}

/// Whether somebody may choose this password: long enough, and not among the first that anybody would try.
///
/// # Errors
/// What is wrong with it.
pub(super) fn acceptable(password: &str, username: Option<&Username>) -> Result<(), &'static str> {
    let chars = password.chars().count();
    let folded = password.to_lowercase();
    if chars < FEWEST_CHARS {
        Err("a password has at least 8 characters")
    } else if chars > MOST_CHARS {
        Err("a password has at most 128 characters")
    } else if COMMON.contains(&*folded) || folded.chars().all(|c| folded.starts_with(c)) {
        Err("this password is one of the most common ones")
    } else if username.is_some_and(|username| username.as_str() == folded) {
        Err("a password is not the username")
    } else {
        Ok(())
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, HashError> {
    let hash: PasswordHash = argon2.hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

fn check(argon2: &Argon2<'_>, password: &str, stored: &str) -> Result<Checked, HashError> {
    let parsed = PasswordHash::new(stored)?;
    match argon2.verify_password(password.as_bytes(), &parsed) {
        Ok(()) if is_current(argon2, &parsed) => Ok(Checked::Right),
        Ok(()) => hash(argon2, password).map(Checked::Outdated),
        Err(HashError::PasswordInvalid) => Ok(Checked::Wrong),
        Err(error) => Err(error),
    }
}

fn is_current(argon2: &Argon2<'_>, stored: &PasswordHash) -> bool {
    let same_params = Params::try_from(stored).is_ok_and(|params| {
        let now = argon2.params();
        (params.m_cost(), params.t_cost(), params.p_cost()) == (now.m_cost(), now.t_cost(), now.p_cost())
    });
    same_params
        && stored.algorithm == Algorithm::Argon2id.ident()
        && stored.version == Some(Version::V0x13.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Hashing {
        Hashing { memory_kib: 64, passes: 1, lanes: 1, workers: 1, waiting: 1 }
    }

    fn passwords() -> Passwords {
        Passwords::new(&cheap()).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_stored_as_the_phc_string_of_argon2id() {
        let passwords = Passwords::new(&Hashing::default()).unwrap();
        let stored = passwords.hash("correct horse").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(passwords.check("correct horse", Some(&stored)).await.unwrap(), Checked::Right);
        assert_eq!(passwords.check("correct hors", Some(&stored)).await.unwrap(), Checked::Wrong);
        assert_ne!(passwords.hash("correct horse").await.unwrap(), stored, "the salt is random");
    }

    #[tokio::test]
    async fn an_unknown_user_has_no_right_password() {
        assert_eq!(passwords().check("whatever", None).await.unwrap(), Checked::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_other_days_is_renewed() {
        let old = passwords().hash("correct horse").await.unwrap();
        for hashing in [Hashing { passes: 2, ..cheap() }, Hashing { memory_kib: 128, ..cheap() }] {
            let today = Passwords::new(&hashing).unwrap();
            assert_eq!(today.check("wrong horse", Some(&old)).await.unwrap(), Checked::Wrong);
            let Checked::Outdated(renewed) = today.check("correct horse", Some(&old)).await.unwrap() else {
                panic!("the hash counts as current")
            };
            assert_eq!(today.check("correct horse", Some(&renewed)).await.unwrap(), Checked::Right);
        }
    }

    #[tokio::test]
    async fn a_damaged_hash_is_our_fault_and_not_a_wrong_password() {
        let refusal = passwords().check("correct horse", Some("plain text")).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Internal);
    }

    #[tokio::test]
    async fn whoever_does_not_fit_into_the_queue_is_sent_away() {
        let passwords = passwords();
        let worker = passwords.workers.clone().acquire_owned().await.unwrap();
        let working = passwords.admitted.clone().try_acquire_owned().unwrap();
        let waiting = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.hash("correct horse").await }
        });
        while passwords.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refusal = passwords.hash("correct horse").await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::Busy, Some(1_000)));

        drop((worker, working));
        assert!(waiting.await.unwrap().is_ok());
        assert!(passwords.hash("correct horse").await.is_ok());
    }

    #[test]
    fn a_password_has_8_to_128_characters_of_any_kind() {
        let ada = Username::new("ada-lovelace").unwrap();
        for good in ["gr8 x w;", "七個字符不夠的了", "   spaces   ", &"ab".repeat(64)] {
            assert_eq!(acceptable(good, Some(&ada)), Ok(()), "{good:?}");
        }
        for bad in ["", "1234567", "äöüäöüä", &"ab".repeat(65), "Password1", "QWERTYUIOP", "zzzzzzzzz"]
        {
            assert!(acceptable(bad, Some(&ada)).is_err(), "{bad:?}");
        }
        assert!(acceptable("Ada-Lovelace", Some(&ada)).is_err());
    }

    #[test]
    fn every_common_password_would_pass_otherwise() {
        assert!(COMMON.len() >= 200, "{}", COMMON.len());
        assert_eq!(COMMON.len(), include_str!("common_passwords.txt").lines().count(), "one is there twice");
        for password in COMMON.iter() {
            assert!((FEWEST_CHARS..=MOST_CHARS).contains(&password.chars().count()), "{password}");
            assert_eq!(password.to_lowercase(), **password);
        }
    }
}
