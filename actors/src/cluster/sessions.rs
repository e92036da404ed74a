//! Sessions across nodes: edges report devices to the owners, owners tell edges of logins that were ended.

use std::collections::BTreeMap;
use std::time::Duration;

use enfilade_proto::{LoginId, UserId};
use enfilade_store::{Incarnation, Shard};

use super::{Cluster, Inner};
use crate::bus::{ClusterEvent, DeviceReport, Message, Question, Refused, Told};
use crate::host::Host;

/// Reports in one message.
const REPORTS: usize = 1_000;
/// How often it is asked whether an ended login still has connections, and for how long: an access token does not live longer.
const ASK: Duration = Duration::from_millis(200);
const ASK_FOR: Duration = Duration::from_secs(600);

impl Cluster {
    /// Tells the owners of sessions how devices are connected to this edge.
    pub fn report(&self, reports: Vec<DeviceReport>) {
        let mut by_owner: BTreeMap<Incarnation, Vec<DeviceReport>> = BTreeMap::new();
        {
            let state = self.0.lock();
            for report in reports {
                if let Some(owner) = state.routes.owner(Shard::of_user(report.user)) {
                    by_owner.entry(owner).or_default().push(report);
                }
            }
        }
        for (owner, reports) in by_owner {
            if owner == self.me() {
                self.0.take_reports(owner, reports);
            } else {
                for some in reports.chunks(REPORTS) {
                    self.0.bus.send(owner, Message::Devices(some.to_vec()));
                }
            }
        }
    }

    /// Sees to it that a login that was ended has no connection anywhere any more. Whoever owns the session tells the edges that
    /// have one, each time it is asked, until they have confirmed; so no single message has to arrive.
    pub async fn end_login(&self, user: UserId, login: LoginId) {
        let asked = async {
            loop {
                match self.0.question(&Question::EndLogin { user, login }).await {
                    Ok(Told::Ending(0)) => return,
                    Ok(_) | Err(Refused::No(_)) => {}
                    Err(Refused::NotOwner | Refused::Gone) => self.0.look.notify_one(),
                }
                tokio::time::sleep(ASK).await;
            }
        };
        if tokio::time::timeout(ASK_FOR, asked).await.is_err() {
            tracing::warn!(%user, %login, "nobody confirmed that the connections of an ended login were closed");
        }
    }
}

impl Inner {
    // ---- as the owner -----------------------------------------------------------------------------------------

    pub(super) fn take_reports(&self, from: Incarnation, reports: Vec<DeviceReport>) {
        let Some(host) = &self.host else { return };
        for (user, login) in host.report(from, reports) {
            self.sign_out(from, user, login);
        }
    }

    pub(super) fn take_ended(&self, host: &Host, user: UserId, login: LoginId) -> Result<Told, Refused> {
        let edges = host.end_login(user, login)?;
        edges.iter().for_each(|edge| self.sign_out(*edge, user, login));
        Ok(Told::Ending(u32::try_from(edges.len()).unwrap_or(u32::MAX)))
    }

    fn sign_out(&self, edge: Incarnation, user: UserId, login: LoginId) {
        if edge == self.me() {
            self.signed_out(edge, user, login);
        } else {
            self.bus.send(edge, Message::SignedOut { user, login });
        }
    }

    // ---- as an edge -------------------------------------------------------------------------------------------

    /// Closes the connections of a login, and tells the owner so.
    pub(super) fn signed_out(&self, owner: Incarnation, user: UserId, login: LoginId) {
        if let Some(edge) = self.edge() {
            edge.cluster_event(ClusterEvent::LoginEnded(login));
        }
        // What the edge was told it does: that it was told is what the owner has to know.
        let confirmed = vec![DeviceReport { user, login, connected: None }];
        if owner == self.me() {
            self.take_reports(owner, confirmed);
        } else {
            self.bus.send(owner, Message::Devices(confirmed));
        }
    }
}
