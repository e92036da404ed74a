//! Who somebody is, once their credentials were found good.

use enfilade_proto::{LoginId, User, UserId};
use enfilade_store::LinkHash;

/// A person whose credentials hold: signed in, or a guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// `guest` is set exactly when `signed_in` is not.
    pub user: User,
    pub signed_in: Option<SignedIn>,
}

/// What a signed-in person's connection hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedIn {
    pub login: LoginId,
    /// When the access token runs out.
    pub expires_ms: u64,
}

impl Principal {
    /// How this person enters rooms, with the link that they brought, if any.
    #[must_use]
    pub fn visitor(&self, link: Option<LinkHash>) -> Visitor {
        Visitor { member: self.signed_in.map(|_| self.user.id), link }
    }
}

/// With what somebody enters rooms: a membership (only signed-in people have any), a link, both or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Visitor {
    pub member: Option<UserId>,
    pub link: Option<LinkHash>,
}
