//! A simulated cluster: nodes, clients, what befalls them, and the end, when everything is healed and has to come right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use enfilade_proto::{Epoch, RoomId, UserId};
use enfilade_store::{Incarnation, Shard};
use uuid::Uuid;

use super::chance::Chance;
use super::client::Client;
use super::database;
use super::network;
use super::node::SimNode;
use super::settings::Settings;
use super::store::short;
use super::torment::{self, Fault};
use super::verdict::{self, Evidence};
use super::world::World;

/// How far nodes run at a time. Nothing gets from one to another sooner.
const STEP_MS: u64 = 4;
/// After it was healed, the cluster has this long to let everybody in and answer everything.
const RECOVER_MS: u64 = 15_000;
/// From then on ops are answered within this time.
const ANSWER_MS: u64 = 6_000;
/// And who is there is known this long after healing.
const PRESENCE_MS: u64 = 20_000;

type Owners = BTreeMap<Shard, (Incarnation, Epoch)>;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) violations: Vec<String>,
    pub(super) hash: u64,
    pub(super) acknowledged: usize,
    pub(super) lines: Vec<String>,
}

struct Place {
    node: SimNode,
    /// When it is started again, if it is gone.
    start_at_ms: Option<u64>,
}

pub(super) struct Simulation {
    settings: Settings,
    world: World,
    /// Chance of what drives the cluster: apart from that of the world, so that the plan does not depend on what happens.
    chance: Chance,
    places: Vec<Place>,
    clients: Vec<Client>,
    /// What the owners were, about every half second.
    past: VecDeque<(u64, Owners)>,
    /// What ends by itself: by when.
    healing: BTreeMap<(u64, usize), Heal>,
    set_back: bool,
    violations: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Heal {
    Mend(Incarnation, Incarnation),
    OnBus(Incarnation),
    BusBack,
    OnDatabase(Incarnation),
    NearDatabase(Incarnation),
}

impl Simulation {
    pub(super) fn new(seed: u64, settings: Settings, verbose: bool) -> Self {
        let world = World::new(seed, settings.clone(), verbose);
        let mut chance = Chance::new(seed ^ 0x5eed);
        let rooms: Vec<RoomId> =
            (0..settings.rooms).map(|n| RoomId(Uuid::from_u128(0xb0a2d + n as u128))).collect();
        rooms.iter().for_each(|room| world.lock().database.create_room(*room));
        let clients =
            (0..settings.clients).map(|index| Client::new(&world, index, rooms[index % rooms.len()]));
        let clients = clients.collect();
        let places = (0..settings.nodes).map(|index| start(&world, &mut chance, index)).collect();
        Self {
            settings,
            world,
            chance,
            places,
            clients,
            past: VecDeque::new(),
            healing: BTreeMap::new(),
            set_back: false,
            violations: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Finding {
        let mut faults = VecDeque::from(torment::draw(&mut self.chance, &self.settings));
        while self.elapsed_ms() < self.settings.torment_ms {
            while let Some((_, fault)) = faults.pop_front_if(|(at_ms, _)| *at_ms <= self.elapsed_ms()) {
                self.befall(fault);
            }
            self.live(true);
            self.step();
        }
        self.heal();
        self.pass(RECOVER_MS);
        self.require_everybody_in();
        self.clients.iter().for_each(|client| client.lock().write());
        self.pass(ANSWER_MS);
        self.require_answers();
        self.pass(PRESENCE_MS.saturating_sub(RECOVER_MS + ANSWER_MS));
        self.require_presence();
        self.require_roles();
        self.judge()
    }

    fn now_ms(&self) -> u64 {
        self.world.lock().now_ms
    }

    fn elapsed_ms(&self) -> u64 {
        self.now_ms() - self.settings.start_ms
    }

    fn pass(&mut self, for_ms: u64) {
        let until_ms = self.now_ms() + for_ms;
        while self.now_ms() < until_ms {
            self.live(false);
            self.step();
        }
    }

    // ---- time -------------------------------------------------------------------------------------------------

    fn step(&mut self) {
        self.world.advance(STEP_MS);
        let now_ms = self.now_ms();
        while let Some(((_, _), heal)) = self
            .healing
            .first_key_value()
            .map(|(at, heal)| (*at, *heal))
            .filter(|((at_ms, _), _)| *at_ms <= now_ms)
        {
            self.healing.pop_first();
            self.mend(heal);
        }
        for index in 0..self.places.len() {
            self.look_after(index, now_ms);
        }
        let mut order: Vec<usize> = (0..self.places.len()).collect();
        self.world.lock().chance.shuffle(&mut order);
        for index in order {
            let node = &mut self.places[index].node;
            if node.paused_until_ms.is_none() {
                node.run_until(now_ms);
            }
        }
        if self.past.back().is_none_or(|(at_ms, _)| now_ms >= at_ms + 500) {
            self.past.push_back((now_ms, self.world.lock().database.owners().clone()));
            if self.past.len() > 20 {
                self.past.pop_front();
            }
        }
    }

    /// Wakes, buries and starts nodes whose time has come.
    fn look_after(&mut self, index: usize, now_ms: u64) {
        let node = &mut self.places[index].node;
        if node.paused_until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            node.awake(now_ms);
            let incarnation = node.incarnation;
            let mut state = self.world.lock();
            state.processes.started(incarnation);
            state.note("goes on", [index as u64, 0, 0], || format!("node-{index} {}", short(incarnation)));
        }
        if self.places[index].node.is_running() && self.places[index].node.has_ended() {
            let after_ms = self.chance.between(50, 1_500);
            self.end(index, now_ms + after_ms);
        }
        if self.places[index].start_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.places[index] = start(&self.world, &mut self.chance, index);
        }
    }

    /// The process is gone, and with it all connections to it.
    fn end(&mut self, index: usize, back_at_ms: u64) {
        let place = &mut self.places[index];
        if !place.node.is_running() {
            return;
        }
        place.node.crash(&self.world);
        place.start_at_ms = Some(back_at_ms);
        let incarnation = place.node.incarnation;
        self.world
            .lock()
            .note("gone", [index as u64, 0, 0], || format!("node-{index} {}", short(incarnation)));
        for client in &self.clients {
            let mut client = client.lock();
            if client.node() == Some(index) {
                client.hang_up(false, self.chance.below(1_000));
            }
        }
    }

    // ---- clients ----------------------------------------------------------------------------------------------

    /// What the clients do of their own accord.
    fn live(&mut self, restless: bool) {
        let now_ms = self.now_ms();
        let ready: Vec<usize> =
            (0..self.places.len()).filter(|index| self.places[*index].node.is_ready()).collect();
        for client in self.clients.clone() {
            let mut state = client.lock();
            if state.node().is_some_and(|node| !self.places[node].node.is_ready()) {
                state.hang_up(false, self.chance.below(400));
            }
            if restless {
                if self.chance.per_mille(self.settings.moves) {
                    state.hang_up(self.chance.one_in(2), self.chance.below(3_000));
                }
                if self.chance.per_mille(self.settings.writes) {
                    state.write();
                }
                if self.chance.per_mille(5) {
                    state.signal();
                }
            }
            state.lose_patience(now_ms);
            state.send(now_ms);
            let connects = state.wants_to_connect(now_ms);
            drop(state);
            if connects && let Some(node) = self.chance.pick(&ready).copied() {
                let node_parts = self.places[node].node.parts();
                if let Some(parts) = node_parts {
                    let connection = client.connect(node, parts.edge);
                    self.places[node].node.spawn(connection);
                }
            }
        }
    }

    // ---- faults -----------------------------------------------------------------------------------------------

    fn befall(&mut self, fault: Fault) {
        self.world.lock().note("fault", [0; 3], || format!("{fault:?}"));
        let now_ms = self.now_ms();
        let incarnation = |node: usize| self.places[node].node.incarnation;
        match fault {
            Fault::Crash { node, back_after_ms } => self.end(node, now_ms + back_after_ms),
            Fault::Pause { node, for_ms } => {
                let incarnation = incarnation(node);
                let place = &mut self.places[node];
                if place.node.is_running() && place.node.paused_until_ms.is_none() {
                    place.node.paused_until_ms = Some(now_ms + for_ms);
                    self.world.lock().processes.paused(incarnation);
                }
            }
            Fault::Drain { node } => {
                let others =
                    self.places.iter().enumerate().any(|(it, place)| it != node && place.node.is_ready());
                if others && self.places[node].node.paused_until_ms.is_none() {
                    self.places[node].node.drain();
                }
            }
            Fault::Cut { one, other, for_ms } => {
                let (one, other) = (incarnation(one), incarnation(other));
                self.world.lock().network.cut(one, other);
                self.later(now_ms + for_ms, Heal::Mend(one, other));
            }
            Fault::OffBus { node, for_ms } => {
                let node = incarnation(node);
                self.world.lock().take_off_bus(node);
                self.later(now_ms + for_ms, Heal::OnBus(node));
            }
            Fault::BusAway { for_ms } => {
                let nodes = self.world.lock().network.nodes();
                nodes.into_iter().for_each(|node| self.world.lock().take_off_bus(node));
                self.later(now_ms + for_ms, Heal::BusBack);
            }
            Fault::DatabaseRestart { for_ms } => self.world.lock().database.restart(now_ms + for_ms),
            Fault::OffDatabase { node, for_ms } => {
                let node = incarnation(node);
                self.world.lock().database.cut.insert(node);
                self.later(now_ms + for_ms, Heal::OnDatabase(node));
            }
            Fault::FarDatabase { node, by_ms, for_ms } => {
                let node = incarnation(node);
                self.world.lock().database.far_ms.insert(node, by_ms);
                self.later(now_ms + for_ms, Heal::NearDatabase(node));
            }
            Fault::FarAway { node, by_ms, for_ms } => {
                self.befall(Fault::FarDatabase { node, by_ms, for_ms });
                self.befall(Fault::OffBus { node, for_ms });
            }
            Fault::ClockSet { by_ms } => self.world.lock().database.set_clock(by_ms),
            Fault::OwnersSetBack { by_ms } => {
                let then = self.past.iter().rev().find(|(at_ms, _)| at_ms + by_ms <= now_ms);
                if let Some((_, owners)) = then {
                    self.set_back = true;
                    self.world.lock().database.set_back(owners.clone());
                }
            }
            Fault::Prune => {
                self.world.lock().database.prune();
            }
            Fault::Weather { unavailable, unknown, slow, lost, late, wrong_hints } => {
                let mut state = self.world.lock();
                state.database.faults = database::Faults { unavailable, unknown, slow };
                state.network.faults = network::Faults { lost, late, wrong_hints };
            }
        }
    }

    fn later(&mut self, at_ms: u64, heal: Heal) {
        self.healing.insert((at_ms, self.healing.len()), heal);
    }

    fn mend(&mut self, heal: Heal) {
        let mut state = self.world.lock();
        state.note("mend", [0; 3], || format!("{heal:?}"));
        match heal {
            Heal::Mend(one, other) => state.network.mend(one, other),
            Heal::OnBus(node) => state.put_on_bus(node),
            Heal::BusBack => state.network.nodes().into_iter().for_each(|node| state.put_on_bus(node)),
            Heal::OnDatabase(node) => _ = state.database.cut.remove(&node),
            Heal::NearDatabase(node) => _ = state.database.far_ms.remove(&node),
        }
    }

    /// Nothing is wrong any more.
    fn heal(&mut self) {
        self.world.lock().note("healed", [0; 3], String::new);
        let now_ms = self.now_ms();
        let healing = std::mem::take(&mut self.healing);
        healing.into_values().for_each(|heal| self.mend(heal));
        for place in &mut self.places {
            place.node.paused_until_ms = place.node.paused_until_ms.map(|_| now_ms);
            place.start_at_ms = place.start_at_ms.map(|_| now_ms);
        }
        let mut state = self.world.lock();
        state.database.faults = database::Faults::default();
        state.network.faults = network::Faults::default();
        state.database.down_until_ms = state.database.down_until_ms.min(now_ms);
    }

    // ---- the end ----------------------------------------------------------------------------------------------

    fn require_everybody_in(&mut self) {
        let outside = self.clients.iter().enumerate().filter(|(_, client)| !client.lock().is_in());
        let outside: Vec<usize> = outside.map(|(index, _)| index).collect();
        if !outside.is_empty() {
            self.violations.push(format!("liveness: clients {outside:?} did not get in"));
        }
    }

    fn require_answers(&mut self) {
        for (index, client) in self.clients.iter().enumerate() {
            let waiting = client.lock().unanswered();
            if waiting > 0 {
                self.violations.push(format!("liveness: client {index} has {waiting} ops without an answer"));
            }
        }
    }

    fn require_presence(&mut self) {
        let mut present: BTreeMap<RoomId, BTreeSet<UserId>> = BTreeMap::new();
        for client in &self.clients {
            let client = client.lock();
            present.entry(client.room()).or_default().extend(client.is_in().then(|| client.user()));
        }
        for (index, client) in self.clients.iter().enumerate() {
            let client = client.lock();
            let present = &present[&client.room()];
            if client.is_in() && client.roster() != present {
                let (told, true_) = (names(client.roster()), names(present));
                self.violations
                    .push(format!("presence: client {index} was told {told:?}, there are {true_:?}"));
            }
        }
    }

    fn require_roles(&mut self) {
        let owners = self.world.lock().database.owners().clone();
        for (index, place) in self.places.iter().enumerate() {
            let me = place.node.incarnation;
            let Some(parts) = place.node.parts() else {
                self.violations.push(format!("liveness: node-{index} is not up"));
                continue;
            };
            let by_table: Vec<(Shard, Epoch)> = owners
                .iter()
                .filter(|(_, (owner, _))| *owner == me)
                .map(|(shard, (_, epoch))| (*shard, *epoch))
                .collect();
            if by_table.is_empty() {
                self.violations.push(format!("liveness: node-{index} owns nothing"));
            }
            let held = parts.host.owned();
            if held != by_table {
                let (held, table) = (held.len(), by_table.len());
                self.violations
                    .push(format!("owners: node-{index} holds {held} shards, {table} by the table"));
            }
        }
        if owners.len() != usize::from(Shard::COUNT) {
            self.violations.push(format!("liveness: {} shards have an owner", owners.len()));
        }
    }

    fn judge(mut self) -> Finding {
        let state = self.world.lock();
        let contents = self.clients.iter().map(|client| client.lock().contents()).collect();
        let evidence = Evidence {
            entries: &state.journal.entries,
            rooms: state.database.rooms().collect(),
            contents,
            owners_set_back: self.set_back,
        };
        self.violations.extend(verdict::judge(&evidence));
        let acknowledged = verdict::acknowledged(&evidence);
        let (hash, lines) = (state.trace.hash(), state.trace.lines().cloned().collect());
        drop(state);
        for place in &mut self.places {
            place.node.crash(&self.world);
        }
        Finding { violations: self.violations, hash, acknowledged, lines }
    }
}

fn names(users: &BTreeSet<UserId>) -> Vec<u128> {
    users.iter().map(|user| user.0.as_u128() - 1).collect()
}

fn start(world: &World, chance: &mut Chance, index: usize) -> Place {
    let incarnation = chance.incarnation();
    {
        let mut state = world.lock();
        state.processes.started(incarnation);
        state.note("start", [index as u64, 0, 0], || format!("node-{index} {}", short(incarnation)));
    }
    Place { node: SimNode::start(world, incarnation, index), start_at_ms: None }
}
