//! What a connection says, and the answers it waits for.

use std::collections::VecDeque;

use enfilade_proto::{OpId, Request, Signal, Submit};

use super::{Connection, Lost, Phase};
use crate::clock::Micros;
use crate::swarm::clock;
use crate::swarm::ears::Ears;
use crate::swarm::mark::Mark;
use crate::swarm::times::Class;
use crate::swarm::wire::{Job, Speech};

/// What those who speak remember.
#[derive(Debug, Default)]
pub(in crate::swarm) struct Speaker {
    pub(in crate::swarm) sent: u32,
    /// Ops without an answer, in order.
    pub(super) unanswered: VecDeque<(u32, Micros)>,
}

impl Connection {
    /// Says the next message.
    pub(in crate::swarm) fn speak(
        &mut self,
        job: &Job,
        ears: &mut Ears,
        planned: Micros,
    ) -> Result<(), Lost> {
        let Some(speaker) = self.speaker.as_mut().filter(|_| self.phase == Phase::Inside) else {
            ears.book.counts.unsent += 1;
            return Ok(());
        };
        speaker.sent += 1;
        let number = speaker.sent;
        let now = clock::now();
        let measured = planned >= ears.book.measured;
        ears.book.counts.sent += 1;
        ears.book.counts.sent_measured += u64::from(measured);
        if measured {
            ears.book.times.record(Class::Lag, now.saturating_sub(planned));
        }
        if job.speech == Speech::Ops {
            speaker.unanswered.push_back((number, planned));
            return self.submit(job, ears, number, planned);
        }
        let mark = Mark { number, planned, sent: now };
        let room = ears.plan.rooms[self.place.room as usize].id;
        let signal = Signal { room, key: mark.key(), body: mark.body(job.payload) };
        let bytes = ears.codec.encode_request(None, &Request::Signal(signal));
        self.send_request(ears, &bytes)
    }

    fn submit(&mut self, job: &Job, ears: &mut Ears, number: u32, planned: Micros) -> Result<(), Lost> {
        let mark = Mark { number, planned, sent: clock::now() };
        let Some(op) = mark.op(&ears.plan.element(self.place), job.payload) else {
            return Err(Lost::Malformed);
        };
        let room = ears.plan.rooms[self.place.room as usize].id;
        let submit = Submit { room, op_id: OpId(number.into()), op };
        let bytes = ears.codec.encode_request(Some(number), &Request::Submit(submit));
        self.send_request(ears, &bytes)
    }

    /// Sends the ops again that have no answer.
    pub(in crate::swarm) fn submit_again(&mut self, job: &Job, ears: &mut Ears) -> Result<(), Lost> {
        let Some(speaker) = self.speaker.as_ref().filter(|_| self.phase == Phase::Inside) else {
            return Ok(());
        };
        let unanswered: Vec<(u32, Micros)> = speaker.unanswered.iter().copied().collect();
        unanswered.into_iter().try_for_each(|(number, planned)| self.submit(job, ears, number, planned))
    }

    /// One of its ops was accepted.
    pub(super) fn accepted(&mut self, id: u32, ears: &mut Ears, now: Micros) {
        let unanswered = self.speaker.as_mut().map(|speaker| &mut speaker.unanswered);
        let found = unanswered.and_then(|unanswered| {
            let index = unanswered.iter().position(|(number, _)| *number == id)?;
            unanswered.remove(index)
        });
        match found {
            Some((_, planned)) => {
                ears.book.counts.ops_accepted += 1;
                if planned >= ears.book.measured {
                    ears.book.times.record(Class::Ack, now.saturating_sub(planned));
                }
            }
            None => ears.book.tally.unaccounted(|| format!("an answer to {id}, which waits for none")),
        }
    }
}
