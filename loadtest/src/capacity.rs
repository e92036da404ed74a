//! The capacity model: what so many connections, rooms and ops need, and where it breaks first.
//!
//! Pure. [`Demand`] says what is asked for, [`Constants`] what one of each costs as it was measured, [`Needs`] what follows from the two.
//! [`Plan`] finds how many nodes of a size bear it and which [`limits`] are met first; [`check`] holds the model against what runs
//! measured. `docs/capacity.md` is written from [`page`].
//!
//! Invariant: the model only adds and multiplies what was measured. What it knows of how the service works is the way of a room's
//! events: over which nodes its members are spread, and how many events travel in one write.

pub mod check;
mod constants;
mod demand;
pub mod limits;
mod needs;
pub mod page;
mod plan;
#[cfg(test)]
mod tests;
pub mod text;
mod traffic;

pub use self::constants::{Constant, Constants};
pub use self::demand::{Database, Demand, InvalidDemand};
pub use self::limits::{Limits, Load, NodeSize, Resource};
pub use self::needs::Needs;
pub use self::plan::{Plan, PlanError};
