//! People: who they are, their devices, their rooms and the links to them.
//!
//! [`People`] is what sockets and HTTP both ask; it knows neither. The parts below it are pure where they
//! decide: a refresh token is judged in `login`, tries are counted in `limit`, ended logins are remembered in
//! `revoked`.
//!
//! Whoever calls a method that changes something carries it to its end: a future that is dropped between the
//! commit and the announcement leaves sockets open that should close.

mod changes;
mod clock;
mod limit;
mod links;
mod login;
mod mac;
mod password;
mod principal;
mod refusal;
mod resume;
mod revoked;
mod rooms;
mod signing;
mod snapshot_key;
mod token;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use enfilade_proto::{ClientId, DisplayName, ErrorCode, LoginId, Position, RoomId, User, UserId};
use enfilade_store::{Directory, StoreError};
use hmac::{Hmac, Mac};
use jsonwebtoken::jwk::JwkSet;
use sha2::Sha256;
use uuid::Uuid;

pub use changes::AccessChanges;
pub use clock::{Clock, SystemClock};
pub use limit::LimitSettings;
pub use links::{LinkSecret, hash as link_hash};
pub use password::Hashing;
pub(crate) use password::Passwords;
pub use principal::{Principal, SignedIn, Visitor};
pub use refusal::{FieldError, Refusal};
pub use rooms::{Admission, MadeRoom, NewRoomRequest};
pub use signing::{Profile, Session, SignUp, Whence};
pub use token::ACCESS_LIFE_MS;

use limit::{Limits, Maker};
use resume::ResumeTokens;
use revoked::Revoked;
use snapshot_key::SnapshotKeys;
use token::{AccessTokens, TokenError};

/// How people are dealt with. The same on all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `iss` of the access tokens: the service's URL or name.
    pub issuer: String,
    pub hashing: Hashing,
    pub limits: LimitSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self { issuer: "enfilade".to_owned(), hashing: Hashing::default(), limits: LimitSettings::default() }
    }
}

/// Why a node cannot deal with people.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the secrets of the cluster cannot be read")]
    Store(#[from] StoreError),
    #[error("the signing key of the cluster is damaged")]
    SigningKey(#[from] jsonwebtoken::errors::Error),
    #[error("Argon2 does not work with these parameters")]
    Hashing(#[from] argon2::password_hash::Error),
}

/// People, as one node knows them.
#[derive(Debug)]
pub struct People {
    directory: Arc<dyn Directory>,
    changes: Arc<dyn AccessChanges>,
    clock: Arc<dyn Clock>,
    passwords: Passwords,
    access_tokens: AccessTokens,
    resume_tokens: ResumeTokens,
    snapshot_keys: SnapshotKeys,
    /// Makes ids for guests that come without one.
    guest_mac: Hmac<Sha256>,
    revoked: Mutex<Revoked>,
    limits: Limits,
}

impl People {
    /// # Errors
    /// When the cluster's secrets cannot be read, or the settings make no sense.
    pub async fn open(
        directory: Arc<dyn Directory>,
        changes: Arc<dyn AccessChanges>,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Result<Self, OpenError> {
        let secret = async |name| directory.secret(name, &rand::random::<[u8; 32]>()).await;
        let access_tokens = AccessTokens::new(&secret("signing-key").await?, &settings.issuer)?;
        let resume_tokens = ResumeTokens::new(&secret("resume-key").await?);
        let snapshot_keys = SnapshotKeys::new(&secret("snapshot-key").await?);
        let guest_mac = mac::keyed(&secret("guest-key").await?);
        Ok(Self {
            directory,
            changes,
            clock,
            passwords: Passwords::new(&settings.hashing)?,
            access_tokens,
            resume_tokens,
            snapshot_keys,
            guest_mac,
            revoked: Mutex::default(),
            limits: Limits::new(&settings.limits),
        })
    }

    /// The person of an access token.
    ///
    /// # Errors
    /// `token_expired` when refreshing helps, `unauthenticated` when it does not.
    pub fn principal(&self, access_token: &str) -> Result<Principal, Refusal> {
        let bearer = self.access_tokens.verify(access_token, self.now_ms()).map_err(|error| match error {
            TokenError::Expired => Refusal::new(ErrorCode::TokenExpired, error.to_string()),
            TokenError::Invalid => Refusal::new(ErrorCode::Unauthenticated, error.to_string()),
        })?;
        if self.is_revoked(bearer.login) {
            return Err(Refusal::new(ErrorCode::Unauthenticated, "this device was signed out"));
        }
        let signed_in = SignedIn { login: bearer.login, expires_ms: bearer.expires_ms };
        Ok(Principal { user: bearer.user, signed_in: Some(signed_in) })
    }

    /// A guest with a new id.
    #[must_use]
    pub fn guest(&self, name: DisplayName) -> Principal {
        let user = User { id: UserId(Uuid::new_v4()), name, guest: true };
        Principal { user, signed_in: None }
    }

    /// The guest who speaks over HTTP without a name: one person for one client and one link, so that what is
    /// sent again has the same author.
    #[must_use]
    pub fn guest_of(&self, client: ClientId, visitor: &Visitor) -> User {
        let link = visitor.link.map_or([0; 32], |link| link.0);
        let mac = self.guest_mac.clone().chain_update(client.0.as_bytes()).chain_update(link);
        let mut id = [0; 16];
        id.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        User { id: UserId(uuid::Builder::from_custom_bytes(id).into_uuid()), name: guest_name(), guest: true }
    }

    /// The person of a resume token.
    ///
    /// # Errors
    /// `resume_expired` when it is too old, not ours, or of a device that was signed out since.
    pub fn resume(&self, resume_token: &str) -> Result<Principal, Refusal> {
        self.resume_tokens
            .open(resume_token, self.now_ms())
            .filter(|principal| !principal.signed_in.is_some_and(|it| self.is_revoked(it.login)))
            .ok_or_else(|| Refusal::new(ErrorCode::ResumeExpired, "the resume token no longer holds"))
    }

    /// A token with which this person says `hello` on another connection.
    #[must_use]
    pub fn resume_token(&self, principal: &Principal) -> String {
        self.resume_tokens.seal(principal, self.now_ms())
    }

    /// Somebody at this address wants a snapshot.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn reads_snapshot(&self, from: IpAddr) -> Result<(), Refusal> {
        self.limits.snapshot(from.into(), self.now_ms())
    }

    /// What opens one snapshot of one room, for whoever has it.
    #[must_use]
    pub fn snapshot_key(&self, room: RoomId, position: Position) -> String {
        self.snapshot_keys.seal(room, position)
    }

    #[must_use]
    pub fn snapshot_key_opens(&self, key: &str, room: RoomId, position: Position) -> bool {
        self.snapshot_keys.opens(key, room, position)
    }

    /// The keys with which others verify our access tokens.
    #[must_use]
    pub fn public_keys(&self) -> JwkSet {
        self.access_tokens.public_keys()
    }

    /// A login was ended on another node: its tokens are no good here either.
    pub fn forget_login(&self, login: LoginId) {
        let now_ms = self.now_ms();
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).insert(login, now_ms);
    }

    /// Counts a request under an `Idempotency-Key`: each is remembered for a day, so there must not be too
    /// many.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn count_key(&self, user: Option<UserId>, address: IpAddr) -> Result<(), Refusal> {
        self.limits.key(Maker::of(user, address), self.now_ms())
    }

    #[must_use]
    pub fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Whether a login was ended within the life of its access tokens.
    pub(crate) fn is_revoked(&self, login: LoginId) -> bool {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).contains(login)
    }
}

/// Whether a write has to be announced: it happened, or nobody knows.
fn may_have_happened<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Ok(_) | Err(StoreError::UnknownOutcome(_)))
}

fn guest_name() -> DisplayName {
    #[expect(clippy::expect_used, reason = "the name is a good one, tested below")]
    DisplayName::new("Guest").expect("a good name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_announced_as_well() {
        assert!(may_have_happened(&Ok(())));
        assert!(may_have_happened::<()>(&Err(StoreError::UnknownOutcome("lost".into()))));
        assert!(!may_have_happened::<()>(&Err(StoreError::Unavailable("down".into()))));
    }

    #[test]
    fn the_name_of_nameless_guests_is_a_good_one() {
        assert_eq!(guest_name().as_str(), "Guest");
    }
}
