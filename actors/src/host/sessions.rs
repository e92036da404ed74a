//! The sessions of the people whose shards a host owns: a table behind a lock. Nothing in a session waits or can fail, so an
//! actor each would be a mailbox without a use.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use enfilade_proto::{LoginId, UserId};
use enfilade_store::{Incarnation, Shard};

use super::{Host, Inner};
use crate::bus::{DeviceReport, Refused, SessionView, UserPresence};
use crate::session::{REPORT_MS, Session};

/// When a shard comes to another owner, its edges report to that one at once. Until they have had time to, nobody is asked
/// who is there.
const SETTLED_MS: u64 = 1_500;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    people: BTreeMap<UserId, Session>,
    swept_ms: u64,
}

impl Sessions {
    /// Returns those devices that were signed out.
    fn report(
        &mut self,
        edge: Incarnation,
        reports: Vec<DeviceReport>,
        now_ms: u64,
    ) -> Vec<(UserId, LoginId)> {
        self.sweep(now_ms);
        let mut ended = Vec::new();
        for DeviceReport { user, login, connected } in reports {
            let session = match connected {
                Some(_) => self.people.entry(user).or_default(),
                None => match self.people.get_mut(&user) {
                    Some(session) => session,
                    None => continue,
                },
            };
            if !session.report(edge, login, connected, now_ms) {
                ended.push((user, login));
            }
        }
        ended
    }

    /// What nobody reports any more goes: also what came for a shard that was given up since.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms >= self.swept_ms + REPORT_MS {
            self.swept_ms = now_ms;
            self.people.retain(|_, session| {
                session.tick(now_ms);
                !session.is_over()
            });
        }
    }

    fn look(&mut self, user: UserId, now_ms: u64) -> SessionView {
        match self.people.get_mut(&user) {
            Some(session) => {
                session.tick(now_ms);
                session.look()
            }
            None => SessionView { presence: UserPresence::Offline, devices: Vec::new() },
        }
    }
}

impl Host {
    /// An edge reports devices. Returns those that were signed out: the edge is to be told.
    pub fn report(&self, edge: Incarnation, mut reports: Vec<DeviceReport>) -> Vec<(UserId, LoginId)> {
        {
            let rooms = self.0.lock();
            reports.retain(|report| rooms.shards.open_epoch(Shard::of_user(report.user)).is_some());
        }
        self.0.sessions().report(edge, reports, self.0.deps.clock.now_ms())
    }

    /// On which devices a person is connected.
    ///
    /// # Errors
    /// `NotOwner`; `Gone` while edges are still to report to this owner.
    pub fn session(&self, user: UserId) -> Result<SessionView, Refused> {
        let (now_ms, shard) = (self.0.deps.clock.now_ms(), Shard::of_user(user));
        let since_ms = self.0.lock().shards.moved_here_ms(shard).ok_or(Refused::NotOwner)?;
        if since_ms.is_some_and(|since_ms| now_ms < since_ms + SETTLED_MS) {
            return Err(Refused::Gone);
        }
        Ok(self.0.sessions().look(user, now_ms))
    }

    /// A login was ended. Returns the edges that still have connections of it: they are to be told.
    ///
    /// # Errors
    /// `NotOwner`.
    pub fn end_login(&self, user: UserId, login: LoginId) -> Result<Vec<Incarnation>, Refused> {
        let shard = Shard::of_user(user);
        self.0.lock().shards.open_epoch(shard).ok_or(Refused::NotOwner)?;
        let now_ms = self.0.deps.clock.now_ms();
        Ok(self.0.sessions().people.entry(user).or_default().end(login, now_ms))
    }
}

impl Inner {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Nothing under this lock can fail half-way.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sessions_lose(&self, edge: Incarnation) {
        let now_ms = self.deps.clock.now_ms();
        self.sessions().people.values_mut().for_each(|session| session.edge_gone(edge, now_ms));
    }
}
