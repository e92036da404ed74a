//! What this node hears from others, and who of it that is for: the host as the owner of rooms, or the edge.

use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{Incarnation, Shard};

use super::{Inner, State};
use crate::bus::{Attached, ClusterEvent, Endpoint, Message, Notice, Refused, RoomEvent, Submission, Ticket};
use crate::host::Outlet;
use crate::reply::Reply;
use crate::room::Audience;

impl Endpoint for Inner {
    fn hear(&self, from: Incarnation, message: Message) {
        self.lock().members.heard(from, self.now_ms());
        match message {
            Message::Submit { room, ticket, after, submission } => {
                let bus = self.bus.clone();
                let reply =
                    Reply::new(move |result| bus.send(from, Message::Answer { room, ticket, result }));
                self.take_op(from, room, (ticket, after), submission, reply);
            }
            Message::Attach { room, ticket, stay, contents } => {
                let bus = self.bus.clone();
                let reply = Reply::new(move |result| bus.send(from, Message::Attached { ticket, result }));
                self.take_look(from, room, stay, contents, reply);
            }
            Message::Notice { room, notice } => self.take_notice(from, room, notice),
            Message::Answer { room, ticket, result } => self.op_answered(room, ticket, result),
            Message::Attached { ticket, result } => self.lock().calls.answered(ticket, result),
            Message::Ask { ticket, question } => {
                let bus = self.bus.clone();
                let reply = Reply::new(move |result| bus.send(from, Message::Told { ticket, result }));
                self.take_question(question, reply);
            }
            Message::Told { ticket, result } => self.lock().questions.answered(ticket, result),
            Message::Devices(reports) => self.take_reports(from, reports),
            Message::SignedOut { user, login } => self.signed_out(from, user, login),
            Message::Event { room, epoch, event } => self.take_event(from, room, epoch, event),
            Message::Signals { room, signals } => {
                if let Some(edge) = self.edge() {
                    edge.signals(room, signals);
                }
            }
            Message::Announced(event) => self.announced(event),
            Message::Moved { shards, to } => self.shards_moved(&shards, to),
            Message::Heartbeat => {}
        }
    }

    fn unreachable(&self, node: Incarnation) {
        let now_ms = self.now_ms();
        {
            let mut state = self.lock();
            state.calls.lost(node);
            state.questions.lost(node);
            let State { routes, post, .. } = &mut *state;
            post.pause(now_ms, |room| routes.owner(Shard::of(room)) == Some(node));
        }
        self.resend.notify_one();
        self.suspect(node);
    }

    fn disrupted(&self) {
        let (now_ms, me) = (self.now_ms(), self.me());
        {
            let mut state = self.lock();
            state.calls.all_lost();
            state.questions.all_lost();
            let State { routes, post, .. } = &mut *state;
            post.pause(now_ms, |room| routes.owner(Shard::of(room)) != Some(me));
        }
        self.resend.notify_one();
        self.look.notify_one();
        if let Some(edge) = self.edge() {
            edge.compare_notes();
        }
    }
}

impl Inner {
    pub(super) fn take_op(
        &self,
        from: Incarnation,
        room: RoomId,
        tickets: (Ticket, Option<Ticket>),
        submission: Submission,
        reply: Reply<Seq>,
    ) {
        match &self.host {
            Some(host) => host.submit(room, from, tickets, submission, reply),
            None => reply.send(Err(Refused::NotOwner)),
        }
    }

    pub(super) fn take_look(
        &self,
        from: Incarnation,
        room: RoomId,
        stay: bool,
        contents: bool,
        reply: Reply<Attached>,
    ) {
        match &self.host {
            Some(host) => host.attach(room, stay.then_some(from), contents, reply),
            None => reply.send(Err(Refused::NotOwner)),
        }
    }

    pub(super) fn take_notice(&self, from: Incarnation, room: RoomId, notice: Notice) {
        if let Some(host) = &self.host {
            host.notice(room, from, notice);
        } else if let Notice::Standing(standing) = notice {
            self.publish(room, standing.position.epoch, Audience::Edges(vec![from]), RoomEvent::OwnerLost);
        }
    }

    pub(super) fn announced(&self, event: ClusterEvent) {
        if let (ClusterEvent::RoomDeleted(room), Some(host)) = (&event, &self.host) {
            host.end(*room);
        }
        if let Some(edge) = self.edge() {
            edge.cluster_event(event);
        }
    }

    fn take_event(&self, from: Incarnation, room: RoomId, epoch: Epoch, event: RoomEvent) {
        let Some(edge) = self.edge() else { return };
        let last = matches!(event, RoomEvent::OwnerLost);
        if !edge.room_event(room, epoch, event) && !last {
            // Our farewell was lost.
            self.bus.send(from, Message::Notice { room, notice: Notice::Detached });
        }
    }
}
