//! Who calls: the person of the access token, if there is one, and the link that they bring.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use enfilade_proto::{ErrorCode, UserId};
use enfilade_store::LinkHash;

use super::Api;
use super::peer::{client_address, peer_of};
use super::problem::Problem;
use crate::people::{Principal, Refusal, SignedIn, Visitor, Whence, link_hash};

/// The header that carries the secret of a share link.
pub(super) const LINK_HEADER: &str = "enfilade-link";

/// Somebody signed in, or a guest who has no more than a link and an address.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) principal: Option<Principal>,
    pub(super) link: Option<LinkHash>,
    pub(super) address: IpAddr,
}

impl Caller {
    pub(super) fn visitor(&self) -> Visitor {
        match &self.principal {
            Some(principal) => principal.visitor(self.link),
            None => Visitor { member: None, link: self.link },
        }
    }

    pub(super) fn user(&self) -> Option<UserId> {
        self.principal.as_ref().map(|principal| principal.user.id)
    }

    /// # Errors
    /// `unauthenticated` for guests.
    pub(super) fn signed_in(&self) -> Result<(UserId, SignedIn), Refusal> {
        let principal = self.principal.as_ref();
        principal
            .and_then(|it| it.signed_in.map(|signed_in| (it.user.id, signed_in)))
            .ok_or_else(|| Refusal::new(ErrorCode::Unauthenticated, "this is for people who are signed in"))
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Ok(Self::of(parts, api)?)
    }
}

impl Caller {
    pub(super) fn of(parts: &Parts, api: &Api) -> Result<Self, Refusal> {
        let principal = bearer(&parts.headers)?.map(|token| api.people.principal(token)).transpose()?;
        let link = parts.headers.get(LINK_HEADER);
        Ok(Self {
            principal,
            link: link.map(|link| link_hash(&String::from_utf8_lossy(link.as_bytes()))),
            address: address(parts, api)?,
        })
    }
}

/// Where a sign-in comes from.
impl FromRequestParts<Api> for Whence {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let agent = parts.headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        Ok(Self { address: address(parts, api)?, device: agent.unwrap_or_default().into_owned() })
    }
}

/// The access token of a request.
///
/// # Errors
/// `unauthenticated` when somebody authenticates in another way.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let words = value.to_str().ok().and_then(|value| value.split_once(' '));
    match words {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Refusal::new(ErrorCode::Unauthenticated, "the Authorization header has to be `Bearer …`")),
    }
}

fn address(parts: &Parts, api: &Api) -> Result<IpAddr, Refusal> {
    let peer = peer_of(&parts.extensions).ok_or_else(|| Refusal::internal("a request without PeerAddr"))?;
    Ok(client_address(peer, &parts.headers, &api.site.trusted_proxies))
}
