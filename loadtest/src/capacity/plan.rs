//! How many nodes bear a demand, and what breaks first when it grows.

use serde::Serialize;

use super::constants::Constants;
use super::demand::{Database, Demand, InvalidDemand};
use super::limits::{Limits, Load, Resource, loads};
use super::needs::Needs;

/// More nodes than these are not planned: each looks after all others.
const MOST_NODES: u32 = 1_000;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub demand: Demand,
    pub limits: Limits,
    /// All nodes, those that may be lost included.
    pub nodes: u32,
    /// What all of them need while none is lost.
    pub needs: Needs,
    /// While those are lost that may be: the fullest first.
    pub loads: Vec<Load>,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Demand(#[from] InvalidDemand),
    #[error("{0} has to be above 0")]
    Limit(&'static str),
    #[error("it does not fit on {MOST_NODES} nodes of this size: the first that is too small is the {0}")]
    TooMany(Resource),
}

impl Plan {
    /// # Errors
    /// When the demand is not possible, or no number of nodes bears it.
    pub fn new(demand: Demand, limits: Limits, constants: &Constants) -> Result<Self, PlanError> {
        demand.check()?;
        check(&limits)?;
        let carried_by =
            |carriers: u32, spare| loads(&demand, carriers + spare, carriers, &limits, constants);
        let fits = |nodes: &u32| {
            let too_full = |load: &Load| load.resource.more_nodes_help() && load.share() > limits.fill;
            !carried_by(*nodes, 0).iter().any(too_full)
        };
        let (carriers, spare) = match demand.database {
            Database::Sqlite => (1, 0),
            Database::Postgres => {
                let fewest = (1..=MOST_NODES).find(fits);
                (fewest.ok_or_else(|| PlanError::TooMany(fullest(&carried_by(MOST_NODES, 0))))?, limits.spare)
            }
        };
        let nodes = carriers + spare;
        let needs = Needs::of(&demand, nodes, constants);
        Ok(Self { loads: carried_by(carriers, spare), nodes, needs, demand, limits })
    }

    /// What is met first when everything grows alike and the nodes stay.
    #[must_use]
    pub fn breaks_first(&self) -> Option<&Load> {
        self.loads.first()
    }

    /// What is met first if nodes are added as they are needed.
    #[must_use]
    pub fn breaks_first_despite_nodes(&self) -> Option<&Load> {
        self.loads.iter().find(|load| !load.resource.more_nodes_help() && load.used > 0.0)
    }

    /// Whether nothing is fuller than it may be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.breaks_first().is_none_or(|load| load.share() <= self.limits.fill)
    }
}

fn fullest(loads: &[Load]) -> Resource {
    let of_nodes = loads.iter().find(|load| load.resource.more_nodes_help());
    of_nodes.map_or(Resource::Connections, |load| load.resource)
}

fn check(limits: &Limits) -> Result<(), PlanError> {
    let Limits { node, database_cores, bus_cores, fill, .. } = limits;
    for (name, number) in [
        ("max-connections", node.max_connections),
        ("node-memory", node.node_memory),
        ("node-cores", node.node_cores),
        ("node-files", node.node_files),
        ("node-bandwidth", node.node_bandwidth),
        ("database-cores", *database_cores),
        ("bus-cores", *bus_cores),
        ("fill", *fill),
    ] {
        if number.is_nan() || number <= 0.0 {
            return Err(PlanError::Limit(name));
        }
    }
    Ok(())
}
