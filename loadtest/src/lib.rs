//! Records drawing sessions, replays them as many people at once, and proves that every one of them saw every op.
//!
//! The pure parts: [`session`] (the file), [`quickdraw`] (real drawings made into a session),
//! [`probe`] (one that measures standstills), [`score`] and [`clones`]
//! (who plays what, where and when), [`client`] (what one person says, and makes of the answers), [`oracle`] and
//! [`replica`] (what the server should have done), [`latency`] and [`report`]; [`checker`], which judges a whole
//! cluster afterwards, on its log ([`export`]) and on what its clients wrote down ([`journal`]). The thin shell around
//! them: [`target`] and [`http`], [`connection`], [`replay`] and [`record`].
//!
//! Invariant: nothing here shares code with the server but `enfilade-proto`, and the WebSocket client is another
//! implementation than the server's. What the two agree on is the protocol, not a mistake.

pub mod checker;
pub mod client;
pub mod clock;
pub mod clones;
pub mod connection;
pub mod digest;
pub mod export;
pub mod frames;
pub mod http;
pub mod journal;
pub mod latency;
pub mod oracle;
pub mod probe;
pub mod quickdraw;
pub mod record;
pub mod replay;
pub mod replica;
pub mod report;
pub mod room;
pub mod score;
pub mod session;
pub mod stall;
pub mod target;
pub mod time;
