//! Ops on their way from this edge to the owners of their rooms, wherever those are, until each is answered.

use std::sync::Weak;
use std::time::Duration;

use enfilade_proto::{RoomId, Seq};
use enfilade_store::Incarnation;
use tokio::sync::oneshot;

use super::courier::Outgoing;
use super::{Cluster, Inner, unreachable_owner};
use crate::bus::{Message, Refused, Submission, Ticket};
use crate::refusal::Refusal;
use crate::reply::Reply;

/// How often it is looked whether ops are overdue.
const ROUND: Duration = Duration::from_millis(250);

/// What will become of a submitted op.
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<Result<Seq, Refusal>>);

impl Answer {
    /// The seq of the op, once it is durable.
    ///
    /// # Errors
    /// What the room refuses; `busy` when its owner could not be reached in time. The op may be applied all the same: the same
    /// op under the same id gets its seq.
    pub async fn wait(self) -> Result<Seq, Refusal> {
        self.0.await.unwrap_or_else(|_| Err(unreachable_owner()))
    }
}

impl Cluster {
    /// Sends an op to the owner of its room, wherever that is. Ops of a room that are sent from here one after the other arrive
    /// in that order; their answers may come in any.
    ///
    /// # Errors
    /// `busy` if too many are on their way.
    pub fn submit(&self, room: RoomId, submission: Submission) -> Result<Answer, Refusal> {
        let answer = self.0.lock().post.take(self.0.now_ms(), room, submission)?;
        self.0.send_ops(room);
        Ok(Answer(answer))
    }
}

/// Sends ops again that were turned away or lost, until the cluster is gone.
pub(super) async fn resend(cluster: Weak<Inner>) {
    loop {
        let wait = {
            let Some(cluster) = cluster.upgrade() else { return };
            let next = cluster.lock().post.next_deadline();
            next.map_or(ROUND, |at_ms| {
                ROUND.min(Duration::from_millis(at_ms.saturating_sub(cluster.now_ms())))
            })
        };
        // Half a millisecond at least, should a deadline stand still.
        let nap = tokio::time::sleep(wait.max(Duration::from_micros(500)));
        {
            let Some(cluster) = cluster.upgrade() else { return };
            tokio::select! {
                biased;
                () = nap => {}
                () = cluster.resend.notified() => {}
            }
        }
        let Some(cluster) = cluster.upgrade() else { return };
        let (expired, due) = cluster.lock().post.tick(cluster.now_ms());
        for back in expired {
            let _ = back.send(Err(unreachable_owner()));
        }
        due.into_iter().for_each(|room| cluster.send_ops(room));
    }
}

impl Inner {
    /// Sends what waits for a room, in order. No lock is held: an owner on this node may answer at once.
    pub(super) fn send_ops(&self, room: RoomId) {
        let mut outgoing = self.lock().post.begin(self.now_ms(), room);
        while !outgoing.is_empty() {
            match self.owner(room) {
                Some(owner) => outgoing.into_iter().for_each(|op| self.send_op(owner, room, op)),
                None => {
                    self.lock().post.pause(self.now_ms(), |it| it == room);
                    self.look.notify_one();
                    self.resend.notify_one();
                }
            }
            outgoing = self.lock().post.go_on(self.now_ms(), room);
        }
    }

    fn send_op(&self, owner: Incarnation, room: RoomId, op: Outgoing) {
        let Outgoing { ticket, after, submission } = op;
        if owner != self.me() {
            return self.bus.send(owner, Message::Submit { room, ticket, after, submission });
        }
        let cluster = self.this.clone();
        let reply = Reply::new(move |result| {
            if let Some(cluster) = cluster.upgrade() {
                cluster.op_answered(room, ticket, result);
            }
        });
        self.take_op(owner, room, (ticket, after), submission, reply);
    }

    pub(super) fn op_answered(&self, room: RoomId, ticket: Ticket, result: Result<Seq, Refused>) {
        let again = matches!(result, Err(Refused::NotOwner | Refused::Gone));
        if matches!(result, Err(Refused::NotOwner)) {
            self.look.notify_one();
        }
        let answered = self.lock().post.answered(self.now_ms(), room, ticket, result);
        if let Some(answered) = answered {
            let _ = answered.reply.send(answered.result);
        } else if again {
            self.resend.notify_one();
        }
    }
}
