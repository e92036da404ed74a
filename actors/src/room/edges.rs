//! The edges of a room: what they report, and what each of them has to be told.

use enfilade_store::Incarnation;

use super::{ABANDONED_MS, Audience, EDGES_APART, Effect, Room};
use crate::bus::{Notice, RoomEvent, Standing, Writer};

/// An edge that has not said for this long where it stands is not there any more; its farewell was lost.
pub(super) const EDGE_SILENT_MS: u64 = 30_000;

/// For so long after it was woken a room hears from edges that were with its previous owner,
const SETTLING_MS: u64 = 5_000;
/// and after so long it tells who is there.
pub(super) const SETTLED_MS: u64 = 1_500;

impl Room {
    pub(super) fn detach(&mut self, now_ms: u64, edge: Incarnation, effects: &mut Vec<Effect>) {
        self.presence.forget_edge(edge, now_ms);
        if self.edges.remove(&edge).is_some() {
            self.tell_edges(effects);
        }
    }

    /// Tells the edges of each other, because signals go between them. One that is alone knows.
    pub(super) fn tell_edges(&self, effects: &mut Vec<Effect>) {
        if !self.edges.is_empty() {
            // Whoever does not listen yet must hear of this.
            let to = Audience::Edges(self.edges.keys().copied().collect());
            effects.push(Effect::Publish { to, event: self.edges_event() });
        }
    }

    /// The edges are telling a new owner, one after the other, who is there.
    pub(super) fn settle(&mut self, now_ms: u64) {
        if now_ms < self.woken_ms + SETTLING_MS {
            self.presence.settle_until((self.woken_ms + SETTLED_MS).max(now_ms));
        }
    }

    pub(super) fn edges_event(&self) -> RoomEvent {
        let edges = self.edges.keys().copied().collect();
        RoomEvent::Edges { edges, multicast: self.edges.len() > EDGES_APART }
    }

    pub(super) fn notice(
        &mut self,
        now_ms: u64,
        edge: Incarnation,
        notice: Notice,
        effects: &mut Vec<Effect>,
    ) {
        match notice {
            // Whom an edge has that is not attached, it tells when it is. Until then nobody would notice if it died.
            Notice::Arrived(_) | Notice::Departed(_) | Notice::Present(_) | Notice::Audience(_)
                if !self.edges.contains_key(&edge) => {}
            Notice::Arrived(members) => {
                members.into_iter().for_each(|member| self.presence.arrive(edge, member));
            }
            Notice::Departed(users) => {
                users.into_iter().for_each(|user| self.presence.depart(edge, user, now_ms));
            }
            Notice::Present(members) => {
                self.presence.replace(edge, members, now_ms);
                self.settle(now_ms);
            }
            Notice::Audience(count) => self.presence.watch(edge, count),
            Notice::WriterBack(writer) => self.gone.back(writer),
            Notice::WriterGone { writer, left } => {
                self.gone.lost(writer, if left { now_ms } else { now_ms + ABANDONED_MS });
            }
            Notice::Signal(signal) => {
                let writer = Writer { author: signal.author, client: signal.client };
                // Whoever signals is there, also if an older connection of theirs was found dead just now.
                self.gone.back(writer);
                self.state.notice(writer, &signal.key, &signal.body);
            }
            Notice::Standing(standing) => self.standing(now_ms, edge, standing, effects),
            Notice::Detached => self.detach(now_ms, edge, effects),
        }
        self.close_abandoned(now_ms);
    }

    /// An edge says what it knows. What was lost on the way to it, or from it, shows here.
    pub(super) fn standing(
        &mut self,
        now_ms: u64,
        edge: Incarnation,
        standing: Standing,
        effects: &mut Vec<Effect>,
    ) {
        let mut tell = |event| effects.push(Effect::Publish { to: Audience::Edges(vec![edge]), event });
        let known = self.edges.get_mut(&edge).map(|heard_ms| *heard_ms = now_ms).is_some();
        let Standing { position, here, people, edges, audience } = standing;
        if !known || position.epoch != self.epoch || here != self.presence.on_edge(edge) {
            return tell(RoomEvent::OwnerLost);
        }
        if position.seq < self.committed {
            tell(RoomEvent::Head(self.committed));
        }
        if edges != self.edges.keys().map(|edge| edge.0).collect() {
            tell(self.edges_event());
        }
        if let Some(audience) = audience {
            self.presence.watch(edge, audience.here);
        }
        let knows = people == self.presence.roster()
            && audience.is_none_or(|audience| audience.everywhere == self.presence.audience());
        if self.presence.is_told() && !knows {
            tell(RoomEvent::Presence(self.presence.full()));
        }
    }

    pub(super) fn drop_silent_edges(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let silent =
            |(edge, heard_ms): (&Incarnation, &u64)| (now_ms >= heard_ms + EDGE_SILENT_MS).then_some(*edge);
        let silent: Vec<Incarnation> = self.edges.iter().filter_map(silent).collect();
        silent.into_iter().for_each(|edge| self.detach(now_ms, edge, effects));
    }
}
