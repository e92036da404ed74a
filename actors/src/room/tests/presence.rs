//! Who is in a room, as its edges hear of it: across owners, edges that die and farewells that are lost.

use enfilade_proto::Presence as Digest;
use enfilade_proto::limits::ROSTER;

use super::*;
use crate::bus::{Standing, Watching};
use crate::fingerprint::Fingerprint;
use crate::presence::GRACE_MS;
use crate::room::edges::SETTLED_MS;

fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(1_000 + n))
}

fn people(numbers: std::ops::Range<u128>) -> Vec<Member> {
    let name = DisplayName::new("Ada").unwrap();
    numbers.map(|n| Member { id: user(n), name: name.clone(), role: Role::Editor }).collect()
}

impl Scene {
    /// An edge with nobody there yet.
    fn settled_attach(&mut self, edge: Incarnation) {
        self.attach_from(edge);
        self.settle();
    }

    /// Attaches as an edge does that was with the owner before: it has a mirror, and says who is there.
    fn come_over(&mut self, edge: Incarnation, members: Vec<Member>) {
        self.tokens += 1;
        self.feed(Input::Attach { token: Token(self.tokens), edge: Some(edge), contents: false });
        self.settle();
        self.notice_from(edge, Notice::Present(members));
    }

    /// Lets time pass while these edges say every few seconds that they are there.
    fn wait_with(&mut self, edges: &[Incarnation], ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.wait(2_000.min(end - self.now_ms));
            edges.iter().for_each(|edge| self.stand(*edge));
        }
    }

    fn digests(&self) -> Vec<(u64, Digest)> {
        let digest = |(at, _, event): &(u64, Audience, RoomEvent)| match event {
            RoomEvent::Presence(presence) => Some((*at, presence.clone())),
            _ => None,
        };
        self.told.iter().filter_map(digest).collect()
    }

    /// What a member sees who was there before the first digest and had this list.
    fn folded(&self, mut list: BTreeMap<UserId, Member>) -> Vec<Vec<UserId>> {
        let mut seen = Vec::new();
        for (_, digest) in self.digests() {
            if let Some(members) = digest.members {
                list = members.into_iter().map(|member| (member.id, member)).collect();
            }
            list.extend(digest.joined.into_iter().flatten().map(|member| (member.id, member)));
            digest.left.into_iter().flatten().for_each(|id| drop(list.remove(&id)));
            assert_eq!(digest.count, list.len() as u64);
            seen.push(list.keys().copied().collect());
        }
        seen
    }
}

#[test]
fn a_new_owner_does_not_make_people_seem_to_leave() {
    let mut scene = Scene::new();
    let everybody = people(0..6);
    let before: BTreeMap<UserId, Member> =
        everybody.iter().map(|member| (member.id, member.clone())).collect();
    scene.wait(20);
    scene.come_over(EDGE, everybody[..2].to_vec());
    scene.wait(700);
    scene.come_over(FAR, everybody[2..5].to_vec());
    // Somebody who was with neither comes in meanwhile.
    scene.notice_from(FAR, Notice::Arrived(everybody[5..].to_vec()));
    assert_eq!(scene.digests(), [], "nothing is told before all have reported");
    scene.wait(SETTLED_MS);
    assert_eq!(scene.folded(before), [(0..6).map(user).collect::<Vec<_>>()]);
    assert_eq!(scene.digests()[0].0, SETTLED_MS);
}

#[test]
fn an_edge_that_reports_late_is_taken_in_all_the_same() {
    let mut scene = Scene::new();
    scene.come_over(EDGE, people(0..2));
    scene.wait_with(&[EDGE], SETTLED_MS + 1_000);
    scene.come_over(FAR, people(2..4));
    scene.wait(100);
    let (_, last) = scene.digests().pop().unwrap();
    assert_eq!((last.count, last.members.unwrap()), (4, people(0..4)));
}

#[test]
fn an_edge_that_dies_takes_its_people_after_the_grace() {
    let mut scene = Scene::new();
    scene.settled_attach(EDGE);
    scene.settled_attach(FAR);
    scene.notice_from(EDGE, Notice::Arrived(people(0..2)));
    scene.notice_from(FAR, Notice::Arrived(people(1..4)));
    scene.wait(100);
    scene.feed(Input::EdgeGone(FAR));
    scene.wait_with(&[EDGE], GRACE_MS - 1);
    assert_eq!(scene.room.presence.count(), 4, "they may come back on another edge");
    scene.notice_from(EDGE, Notice::Arrived(people(3..4)));
    scene.wait_with(&[EDGE], 1_000);
    let (_, last) = scene.digests().pop().unwrap();
    assert_eq!((last.count, last.left), (3, Some(vec![user(2)])), "one is on both edges, one came back");
    let (_, _, edges) = scene.told.iter().rfind(|(_, _, it)| matches!(it, RoomEvent::Edges { .. })).unwrap();
    assert_eq!(*edges, RoomEvent::Edges { edges: vec![EDGE], multicast: false });
}

#[test]
fn an_edge_whose_farewell_was_lost_is_dropped_when_it_was_silent_for_long() {
    let mut scene = Scene::new();
    scene.settled_attach(EDGE);
    scene.settled_attach(FAR);
    scene.notice_from(FAR, Notice::Arrived(people(0..1)));
    scene.wait_with(&[EDGE], EDGE_SILENT_MS - 1);
    assert_eq!((scene.room.inspect().edges, scene.room.inspect().people), (2, 1));
    scene.wait_with(&[EDGE], 1);
    assert_eq!((scene.room.inspect().edges, scene.room.inspect().people), (1, 1));
    scene.wait_with(&[EDGE], GRACE_MS);
    assert_eq!(scene.room.inspect().people, 0);
    // If it lives after all, it is told so, and comes again with everybody.
    scene.told.clear();
    scene.stand(FAR);
    assert_eq!(scene.told.pop(), Some((scene.now_ms, Audience::Edges(vec![FAR]), RoomEvent::OwnerLost)));
    scene.come_over(FAR, people(0..1));
    assert_eq!((scene.room.inspect().edges, scene.room.inspect().people), (2, 1));
}

#[test]
fn whom_an_edge_names_that_is_not_attached_is_no_ghost() {
    let mut scene = Scene::new();
    scene.notice_from(FAR, Notice::Arrived(people(0..1)));
    scene.notice_from(FAR, Notice::Present(people(0..2)));
    assert_eq!(scene.room.inspect().people, 0);
}

#[test]
fn an_edge_that_lacks_something_is_told() {
    let mut scene = Scene::new();
    scene.settled_attach(EDGE);
    scene.submit(PEN, 1, "a");
    scene.notice(Notice::Arrived(people(0..2)));
    scene.settle();
    let standing = scene.standing(EDGE);
    let told = |scene: &mut Scene, standing: Standing| -> Vec<RoomEvent> {
        scene.told.clear();
        scene.notice(Notice::Standing(standing));
        scene.told.iter().map(|(_, _, event)| event.clone()).collect()
    };
    assert_eq!(told(&mut scene, standing), []);
    let position = Position { seq: Seq(0), ..standing.position };
    assert_eq!(told(&mut scene, Standing { position, ..standing }), [RoomEvent::Head(Seq(1))]);
    let position = Position { epoch: Epoch(7), seq: Seq(1) };
    assert_eq!(told(&mut scene, Standing { position, ..standing }), [RoomEvent::OwnerLost]);
    // It lacks who is there, or another edge.
    let events = told(&mut scene, Standing { people: Fingerprint::default(), ..standing });
    let [RoomEvent::Presence(presence)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((presence.count, presence.members.as_ref().map(Vec::len)), (2, Some(2)));
    let events = told(&mut scene, Standing { edges: Fingerprint::default(), ..standing });
    assert_eq!(events, [RoomEvent::Edges { edges: vec![EDGE], multicast: false }]);
    // Somebody left there, and that was lost: it attaches again and says who is there.
    let here = people(0..1).iter().map(|member| member.id.0).collect();
    assert_eq!(told(&mut scene, Standing { here, ..standing }), [RoomEvent::OwnerLost]);
}

#[test]
fn a_crowd_is_told_of_once_a_second_by_number_and_listed_by_pages() {
    let mut scene = Scene::new();
    let edges = [EDGE, FAR];
    edges.iter().for_each(|edge| scene.settled_attach(*edge));
    // A thousand come within five seconds, by ones, on two edges.
    for (n, member) in people(0..1_000).into_iter().enumerate() {
        scene.notice_from(edges[n % 2], Notice::Arrived(vec![member]));
        scene.wait(5);
    }
    scene.wait_with(&edges, 2_000);
    let digests = scene.digests();
    let named = digests.iter().filter(|(_, digest)| digest.joined.is_some()).count();
    let crowded: Vec<&(u64, Digest)> =
        digests.iter().filter(|(_, digest)| digest.count > ROSTER as u64).collect();
    assert!(named <= ROSTER, "{named}");
    assert!(crowded.len() <= 6, "{}", crowded.len());
    assert!(crowded.windows(2).all(|pair| pair[1].0 >= pair[0].0 + 1_000));
    assert!(crowded.iter().all(|(_, it)| it.members.is_none() && it.joined.is_none() && it.left.is_none()));
    assert_eq!(crowded.last().unwrap().1.count, 1_000);

    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = scene.room.people(after, 300);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        assert!(page.len() <= 300);
        listed.extend(page);
    }
    assert_eq!(listed, people(0..1_000));

    // An edge dies with its half of the crowd.
    scene.feed(Input::EdgeGone(FAR));
    scene.wait_with(&[EDGE], GRACE_MS + 1_000);
    assert_eq!(scene.digests().last().unwrap().1.count, 500);
    assert_eq!(scene.room.people(None, 1_000).len(), 500);
}

#[test]
fn an_audience_is_counted_over_all_edges_and_told_once_a_second() {
    let mut scene = Scene::new();
    let edges = [EDGE, FAR];
    edges.iter().for_each(|edge| scene.settled_attach(*edge));
    scene.notice_from(EDGE, Notice::Arrived(people(0..1)));
    for n in 1..=400 {
        scene.notice_from(edges[n % 2], Notice::Audience(n as u64));
        scene.wait(10);
    }
    scene.wait_with(&edges, 2_000);
    let digests = scene.digests();
    let counts: Vec<u64> = digests.iter().map(|(_, digest)| digest.audience).collect();
    assert_eq!(*counts.last().unwrap(), 400 + 399);
    assert!(digests.len() <= 7 && counts.is_sorted(), "{counts:?}");
    assert!(digests.iter().all(|(_, digest)| digest.count == 1 && digest.joined.is_some()), "one is listed");
    assert_eq!(scene.room.people(None, 10).len(), 1);

    scene.feed(Input::EdgeGone(FAR));
    scene.wait_with(&[EDGE], 1_000);
    assert_eq!(scene.digests().last().unwrap().1.audience, 400);
}

#[test]
fn an_audience_that_was_not_heard_of_shows_when_notes_are_compared() {
    let mut scene = Scene::new();
    scene.settled_attach(EDGE);
    scene.settled_attach(FAR);
    let standing = scene.standing(EDGE);
    let watching = |here, everywhere| Standing { audience: Some(Watching { here, everywhere }), ..standing };
    // What it said was lost on the way.
    scene.notice(Notice::Standing(watching(7, 0)));
    scene.wait(1_000);
    assert_eq!(scene.digests().last().unwrap().1.audience, 7);
    // What it was told was.
    scene.told.clear();
    scene.notice(Notice::Standing(watching(7, 0)));
    let [(_, Audience::Edges(to), RoomEvent::Presence(presence))] = &scene.told[..] else {
        panic!("{:?}", scene.told)
    };
    assert_eq!((&to[..], presence.audience, &presence.members), (&[EDGE][..], 7, &Some(Vec::new())));
    scene.told.clear();
    scene.notice(Notice::Standing(watching(7, 7)));
    // An edge of an earlier version has no audience and knows of none.
    scene.notice_from(FAR, Notice::Standing(Standing { audience: None, ..scene.standing(FAR) }));
    assert_eq!(scene.told, []);
}

#[test]
fn nobody_watches_through_an_edge_that_is_not_attached() {
    let mut scene = Scene::new();
    scene.notice_from(FAR, Notice::Audience(5));
    assert_eq!(scene.room.inspect().audience, 0);
}
