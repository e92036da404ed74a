//! Sessions, for the HTTP API: where a person is connected, with the names of nodes.

use std::collections::HashMap;

use async_trait::async_trait;
use enfilade_actors::cluster::Cluster;
use enfilade_proto::UserId;
use enfilade_store::Incarnation;

use crate::api::{Connection, Session, Sessions};
use crate::people::Refusal;

#[derive(Debug)]
pub(crate) struct ClusterSessions(pub(crate) Cluster);

#[async_trait]
impl Sessions for ClusterSessions {
    async fn session(&self, user: UserId) -> Result<Session, Refusal> {
        let session = self.0.session(user).await?;
        let names: HashMap<Incarnation, String> =
            self.0.nodes().into_iter().map(|(row, _)| (row.node.incarnation, row.node.name)).collect();
        let connections = session.devices.into_iter().map(|device| Connection {
            login: device.login,
            node: names.get(&device.node).cloned().unwrap_or_else(|| device.node.to_string()),
            since_ms: device.connected.since_ms,
            active: device.connected.active,
        });
        Ok(Session { presence: session.presence, connections: connections.collect() })
    }
}
