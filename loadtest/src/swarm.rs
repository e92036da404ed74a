//! The swarm: very many connections, few threads, and every delivery judged.
//!
//! A [`worker`] holds up to 19,000 connections on one thread and listens for all of them. It knows a frame again that
//! another member got before ([`known`](crate::known)), so that judging a delivery costs about as much as comparing its bytes; what
//! a member heard is judged exactly ([`listener`]). Several workers are led by one process ([`lead`]) and speak with it
//! in lines of JSON ([`wire`]).
//!
//! The pure parts: [`websocket`], [`plan`], [`mark`], [`said`], [`listener`], [`tally`], [`times`],
//! [`spread`], [`schedule`], [`rounds`], `settling`. The shell around them: `connection`, [`worker`], [`lead`].

pub mod clock;
mod connection;
mod ears;
pub mod following;
pub mod lead;
pub mod listener;
pub mod mark;
pub mod metrics;
pub mod outcome;
pub mod people;
pub mod plan;
pub mod rounds;
pub mod run;
pub mod said;
pub mod schedule;
mod settling;
pub mod spread;
pub mod tally;
pub mod times;
pub mod websocket;
pub mod wire;
pub mod worker;
