//! Breaks a cluster while people draw in it, and judges what that did: inject, heal, wait for quiet, audit, write it down.
//!
//! [`catalogue`] says what there is to break; [`trial`] does it to a cluster under [`load`] with the hands of [`inject`];
//! [`measure`] reads in the clients' journal what they felt; [`report`] writes the table.

pub mod catalogue;
pub mod compare;
pub mod failover;
pub mod inject;
pub mod journal;
pub mod load;
pub mod marks;
pub mod measure;
pub mod oversight;
pub mod repeat;
pub mod report;
pub mod rolling;
pub mod setup;
pub mod starve;
pub mod trial;
