//! Measures what the service is good for: every row of one table, again and again in turns with the least that a server
//! can do on the same machine, and writes it down beside what others reach.
//!
//! Pure: [`catalogue`] says what is measured and what has to come out, in [`row`]s with [`load`]s as data; [`book`] keeps
//! what came out; [`judge`] makes medians and verdicts of it, [`report`] a page; [`histogram`] reads percentiles that a
//! node counted. The thin shell: [`stage`] starts servers and load testers, [`play`] takes a row through one round.

pub mod book;
pub mod catalogue;
pub mod histogram;
pub mod judge;
pub mod load;
pub mod play;
pub mod report;
pub mod row;
pub mod stage;
