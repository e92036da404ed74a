//! A crowd comes into one room: what it costs the room's owner and an edge, in work and in memory.
//!
//! Work is counted as bytes allocated and as time on the processor, which a busy machine does not stretch; both are compared with
//! a crowd of another size.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use enfilade_actors::bus::{Connected, Notice, RoomEvent, Writer};
use enfilade_actors::presence::{GRACE_MS, Here};
use enfilade_actors::room::{Effect, Input, Room, RoomSettings, Token};
use enfilade_actors::session::Session;
use enfilade_proto::{ClientId, DisplayName, Epoch, LoginId, Member, Role, RoomId, RoomKind, UserId};
use enfilade_store::Incarnation;
use uuid::Uuid;

/// Counts what the thread has allocated, in all and not freed yet.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator is unsafe by nature; this one only counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|all| all.set(all.get() + layout.size()));
        let _ = HELD.try_with(|held| held.set(held.get() + layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(layout.size())));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const EDGES: [Incarnation; 3] =
    [Incarnation(Uuid::from_u128(1)), Incarnation(Uuid::from_u128(2)), Incarnation(Uuid::from_u128(3))];

/// Ids as they are in life: in no order.
fn user(n: usize) -> UserId {
    let mixed = (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    UserId(Uuid::from_u128(mixed))
}

fn member(n: usize) -> Member {
    Member { id: user(n), name: DisplayName::new(&format!("Visitor {n}")).unwrap(), role: Role::Editor }
}

/// The owner's side.
struct Owner {
    room: Room,
    now_ms: u64,
    digests: usize,
    listed: usize,
}

impl Owner {
    fn new() -> Self {
        let (id, settings) = (RoomId(Uuid::from_u128(7)), RoomSettings::default());
        let room = Room::load(id, RoomKind::Board, Epoch(1), settings, None, &[], 0).unwrap();
        let mut owner = Self { room, now_ms: 0, digests: 0, listed: 0 };
        for edge in EDGES {
            owner.feed(Input::Attach { token: Token(1), edge: Some(edge), contents: true });
            owner.feed(Input::Committed);
        }
        owner
    }

    fn feed(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.room.handle(self.now_ms, input, &mut effects);
        let _ = self.room.next_deadline();
        for effect in effects {
            if let Effect::Publish { event: RoomEvent::Presence(presence), .. } = effect {
                self.digests += 1;
                self.listed +=
                    presence.members.map_or(0, |it| it.len()) + presence.joined.map_or(0, |it| it.len());
            }
        }
    }

    fn hear(&mut self, edge: Incarnation, notice: Notice) {
        self.feed(Input::Notice { from: edge, notice });
    }
}

/// A crowd comes, is drawn for a while, loses its connections, and is gone after the grace.
fn crowd_at_the_owner(people: usize) -> Owner {
    let mut owner = Owner::new();
    let edge = |n: usize| EDGES[n % EDGES.len()];
    let writer = |n: usize| Writer { author: user(n), client: ClientId(user(n).0) };
    for n in 0..people {
        owner.now_ms = n as u64 * 1_000 / people as u64;
        owner.hear(edge(n), Notice::Arrived(vec![member(n)]));
    }
    for n in 0..people {
        owner.hear(edge(n), Notice::WriterGone { writer: writer(n), left: false });
        owner.hear(edge(n), Notice::Departed(vec![user(n)]));
    }
    owner.now_ms += GRACE_MS + 2_000;
    owner.feed(Input::Tick);
    owner
}

/// The same at an edge, which tells the owner once in a while.
fn crowd_at_an_edge(people: usize) {
    let mut here = Here::default();
    let mut told = 0;
    for n in 0..people {
        here.arrive(member(n));
        told += here.report_at_once().len();
    }
    told += here.report().len();
    for n in 0..people {
        here.depart(user(n));
        told += here.report_at_once().len();
    }
    told += here.report().len();
    assert!(here.is_deserted() && told <= 500, "{told} messages to the owner");
}

/// Bytes allocated by the work, and nanoseconds of the processor: the least of some tries.
fn cost(work: impl Fn()) -> (usize, u64) {
    let mut least = (usize::MAX, u64::MAX);
    for _ in 0..3 {
        let (bytes, time) = (ALLOCATED.get(), on_processor());
        work();
        least = (least.0.min(ALLOCATED.get() - bytes), least.1.min(on_processor() - time));
    }
    least
}

fn on_processor() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

/// A crowd costs about what eight crowds of an eighth cost; if everybody had to do with everybody, it would be eight times that.
fn assert_linear(work: impl Fn(usize)) {
    let (apart, together) = (cost(|| (0..8).for_each(|_| work(1_250))), cost(|| work(10_000)));
    assert!(together.0 <= apart.0 * 2, "{} bytes apart, {} together", apart.0, together.0);
    // The kernel counts in ticks of some milliseconds.
    let tick_ns = 10_000_000;
    assert!(together.1 <= apart.1 * 3 + tick_ns, "{} ns apart, {} together", apart.1, together.1);
}

#[test]
fn a_crowd_costs_the_owner_what_its_people_cost() {
    assert_linear(|people| drop(crowd_at_the_owner(people)));
    let owner = crowd_at_the_owner(10_000);
    assert_eq!((owner.room.inspect().people, owner.room.inspect().pending_ops), (0, 0));
    assert!(owner.digests <= 250 && owner.listed <= 500, "{} digests, {} names", owner.digests, owner.listed);
}

#[test]
fn a_crowd_costs_an_edge_what_its_people_cost() {
    assert_linear(crowd_at_an_edge);
}

/// Bytes that `build` leaves behind, for each of the people.
fn held_each<T>(people: usize, build: impl FnOnce() -> T) -> usize {
    let before = HELD.get();
    let built = build();
    let held = HELD.get() - before;
    drop(built);
    held / people
}

#[test]
fn a_person_is_small() {
    const PEOPLE: usize = 20_000;
    let crowd: Vec<Member> = (0..PEOPLE).map(member).collect();
    // The name belongs to the connection, which is there anyway.
    let at_edge = held_each(PEOPLE, || {
        let mut here = Here::default();
        crowd.iter().cloned().for_each(|member| here.arrive(member));
        let _ = here.report();
        here
    });
    // Here it came over the bus.
    let at_owner = held_each(PEOPLE, || {
        let mut owner = Owner::new();
        for n in 0..PEOPLE {
            owner.now_ms = n as u64;
            owner.hear(EDGES[0], Notice::Arrived(vec![member(n)]));
        }
        owner.now_ms += 2_000;
        owner.feed(Input::Tick);
        owner
    });
    let session = held_each(1, || {
        let mut session = Session::default();
        let connected = Some(Connected { since_ms: 1, active: true });
        session.report(EDGES[0], LoginId(Uuid::from_u128(1)), connected, 1);
        session
    });
    println!(
        "a person takes {at_edge} bytes at an edge, {at_owner} at the owner; a session {session} besides itself"
    );
    assert!(at_edge <= 100 && at_owner <= 150 && session <= 64, "{at_edge}, {at_owner}, {session}");
}
