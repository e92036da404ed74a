//! Records drawing sessions, replays them as many people at once, and proves that every one of them saw every op.
//!
//! The pure parts: [`session`] (the file), [`import`] (other data made into sessions), [`probe`] (one that measures
//! standstills), [`mix`], [`score`], [`ensemble`], [`clones`] and [`crowd`] (who plays what, where and when, and how they
//! come and go), [`client`] (what one person says, and makes of the answers), [`oracle`] and [`replica`] (what the
//! server should have done), [`latency`]; [`result`], which every run ends with, [`threshold`], which judges it, and
//! [`report`] and [`compare`], which show it, [`display`], for as long as it lasts; [`checker`], which judges a whole cluster afterwards, on its log
//! ([`export`]) and on what its clients wrote down ([`journal`]). The thin shell around them: [`target`], [`door`] and
//! [`http`], [`connection`], [`replay`] and [`record`]. [`swarm`] brings more connections than clones can be, in a [`scenario`],
//! and [`floor`] is what servers are measured against.
//!
//! Beside these, for audiences of thousands: [`swarm`], what it is measured against ([`floor`]), what it does
//! ([`scenario`]) and how much of it holds ([`search`]). [`capacity`] says what so many need, and is held against what runs measured.
//!
//! Invariant: nothing here shares code with the server but `enfilade-proto`, and the WebSocket client is another
//! implementation than the server's. What the two agree on is the protocol, not a mistake.

pub mod capacity;
pub mod checker;
pub mod client;
pub mod clock;
pub mod clones;
pub mod compare;
pub mod connection;
pub mod crowd;
pub mod digest;
pub mod display;
pub mod door;
pub mod ensemble;
pub mod export;
pub mod floor;
pub mod frames;
pub mod http;
pub mod import;
pub mod journal;
pub mod known;
pub mod latency;
pub mod median;
pub mod mix;
pub mod oracle;
pub mod probe;
pub mod record;
pub mod replay;
pub mod replica;
pub mod report;
pub mod result;
pub mod room;
pub mod scenario;
pub mod score;
pub mod search;
pub mod session;
pub mod stall;
pub mod swarm;
pub mod target;
pub mod threshold;
pub mod time;
pub mod usage;
