//! `enfilade cluster`: what the database says of the cluster. Works while no node does.

use std::collections::BTreeMap;

use clap::Subcommand;
use enfilade_store::{DatabaseUrl, NodeState, OpenOptions, Shard, Store, View};

use super::Settings;

#[derive(Subcommand)]
pub(super) enum Cluster {
    /// List the nodes and how many shards each owns
    Status(Settings),
}

impl Cluster {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Status(settings) = self;
        let url: DatabaseUrl = settings.load()?.0.database_url.parse()?;
        let store = Store::open(&url, &OpenOptions::default()).await?;
        let view = store.ownership.view().await;
        store.close().await;
        print!("{}", table(&view?));
        Ok(())
    }
}

fn table(view: &View) -> String {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for (_, owner, _) in &view.owners {
        *counts.entry(*owner).or_default() += 1;
    }
    let mut lines =
        vec![["NODE", "INCARNATION", "ROLES", "STATE", "SHARDS", "VERSION", "ADDRESS"].map(str::to_owned)];
    for row in &view.nodes {
        let node = &row.node;
        let roles = [(node.edge, "edge"), (node.host, "host")];
        let roles: Vec<&str> = roles.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
        let state = match row.renewal.state {
            _ if row.expired => "expired",
            NodeState::Draining => "draining",
            NodeState::Dead => "dead",
            NodeState::Alive if !row.renewal.on_bus => "cut off",
            NodeState::Alive => "alive",
        };
        let shards = counts.remove(&node.incarnation).unwrap_or_default();
        lines.push([
            node.name.clone(),
            node.incarnation.to_string()[..8].to_owned(),
            roles.join(","),
            state.to_owned(),
            shards.to_string(),
            node.version.clone(),
            node.address.clone(),
        ]);
    }
    let orphaned: usize = counts.into_values().sum();
    let never = usize::from(Shard::COUNT) - view.owners.len();
    let widths: Vec<usize> =
        (0..7).map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text.push_str(&format!("\n{orphaned} shards belong to dead nodes, {never} never had an owner\n"));
    text
}

#[cfg(test)]
mod tests {
    use enfilade_proto::Epoch;
    use enfilade_store::{Incarnation, NewNode, NodeRow, Renewal};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn who_owns_what_is_a_table() {
        let incarnation = |n: u128| Incarnation(Uuid::from_u128(n << 96));
        let node = NewNode {
            incarnation: incarnation(1),
            name: "one".into(),
            address: "10.0.0.1:9090".into(),
            version: "0.1.0".into(),
            host: true,
            edge: false,
        };
        let renewal = Renewal { state: NodeState::Alive, on_bus: true };
        let owners = Shard::all().take(10).map(|shard| {
            let owner = if shard.number() < 7 { incarnation(1) } else { incarnation(2) };
            (shard, owner, Epoch(1))
        });
        let nodes = vec![NodeRow { node, renewal, expired: false }];
        let view = View { version: 1, nodes, owners: owners.collect() };
        let expected = "\
NODE  INCARNATION  ROLES  STATE  SHARDS  VERSION  ADDRESS
one   00000001     host   alive  7       0.1.0    10.0.0.1:9090

3 shards belong to dead nodes, 4086 never had an owner
";
        assert_eq!(table(&view), expected);
    }
}
