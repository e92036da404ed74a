//! What a room hears from its owner and from other edges, and what it tells them of that.

use std::sync::Arc;

use enfilade_actors::bus::{Notice, RoomEvent};
use enfilade_proto::{Epoch, SignalOut, TraceParent};
use enfilade_store::Incarnation;

use super::{BUFFERED, EdgeRoom, State};
use crate::edge::mirror::{Taken, Traced};

impl EdgeRoom {
    /// False if the room was given up here.
    pub(crate) fn take(self: &Arc<Self>, epoch: Epoch, event: RoomEvent) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        if !state.live {
            if state.waiting.len() < BUFFERED {
                state.waiting.push((epoch, event));
            } else {
                state.overflown = true;
            }
            return true;
        }
        match self.take_live(&mut state, epoch, event) {
            Taken::News => self.tell_hubs(&mut state),
            Taken::Nothing => {}
            Taken::Gap => self.lost(state),
        }
        true
    }

    pub(super) fn take_live(&self, state: &mut State, epoch: Epoch, event: RoomEvent) -> Taken {
        let Some(mirror) = state.mirror.as_mut() else { return Taken::Gap };
        // Said by an owner that was replaced.
        if epoch < mirror.position().epoch {
            return Taken::Nothing;
        }
        match event {
            RoomEvent::Ops { first, ops, traces } => {
                mirror.take_traced_ops(epoch, first, &ops, self.traced(traces))
            }
            RoomEvent::Presence(presence) => {
                mirror.take_presence(presence);
                Taken::News
            }
            RoomEvent::Edges { edges, multicast } => {
                self.set_edges(state, edges, multicast);
                Taken::Nothing
            }
            RoomEvent::Head(seq) if seq <= mirror.position().seq => Taken::Nothing,
            RoomEvent::Head(_) | RoomEvent::OwnerLost => Taken::Gap,
        }
    }

    fn traced(&self, steps: Vec<TraceParent>) -> Option<Box<Traced>> {
        let came = if steps.is_empty() { None } else { self.ends.sampling.tracer.now() };
        came.map(|came| Box::new(Traced { steps, came }))
    }

    pub(super) fn set_edges(&self, state: &mut State, edges: Vec<Incarnation>, multicast: bool) {
        state.edges = edges;
        if multicast != state.multicast {
            state.multicast = multicast;
            self.ends.cluster.listen(self.id, multicast);
        }
    }

    /// The room has an owner in this epoch. If that is not the one that this edge is attached to, it attaches again.
    pub(crate) fn moved(self: &Arc<Self>, epoch: Epoch) {
        let state = self.lock();
        let known = state.mirror.as_ref().map(|mirror| mirror.position().epoch);
        if state.live && known.is_some_and(|known| known != epoch) {
            self.lost(state);
        }
    }

    /// Tells the owner what this edge knows, which shows what was lost on the way.
    pub(crate) fn compare_notes(&self) {
        let standing = {
            let mut state = self.lock();
            if !state.live || state.closed {
                return;
            }
            self.report_now(&mut state);
            let edges = state.edges.iter().map(|edge| edge.0).collect();
            state.mirror.as_ref().map(|mirror| mirror.standing(edges))
        };
        // Not under the lock: a host that does not have the room says so at once.
        if let Some(standing) = standing {
            self.ends.cluster.notify(self.id, Notice::Standing(standing));
        }
    }

    pub(crate) fn forget_past(&self) {
        if let Some(mirror) = self.lock().mirror.as_mut() {
            mirror.forget_past();
        }
    }

    /// Brings signals from here to everybody in the room.
    pub(crate) fn send_signals(&self, signals: Vec<SignalOut>) {
        let (edges, multicast) = {
            let state = self.lock();
            (state.edges.clone(), state.multicast)
        };
        self.ends.cluster.signal(self.id, &edges, multicast, &signals);
        self.take_signals(signals);
    }

    pub(crate) fn take_signals(&self, signals: Vec<SignalOut>) {
        let mut state = self.lock();
        if let Some(mirror) = state.mirror.as_mut() {
            mirror.take_signals(signals);
            self.tell_hubs(&mut state);
        }
    }

    pub(super) fn tell_hubs(&self, state: &mut State) {
        for (interest, hub) in state.hubs.iter_mut().zip(&self.ends.hubs) {
            if interest.members > 0 && !interest.told {
                interest.told = true;
                hub.has_news(self.id);
            }
        }
    }
}
