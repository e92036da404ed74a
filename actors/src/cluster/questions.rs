//! Questions to the owners of rooms and sessions, wherever they are.

use std::time::Duration;

use enfilade_proto::{Member, RoomId, UserId};
use enfilade_store::{Incarnation, Shard};
use tokio::sync::oneshot;

use super::{ATTACH, Cluster, Inner, unreachable_owner};
use crate::bus::{Message, Question, Refused, SessionView, Told};
use crate::refusal::Refusal;
use crate::reply::Reply;

/// How long one owner is waited for. They answer out of memory.
const ANSWER: Duration = Duration::from_millis(400);
/// Between attempts: doubled each time, up to the latter.
const RETRY: Duration = Duration::from_millis(10);
const RETRY_MOST: Duration = Duration::from_millis(500);

impl Cluster {
    /// Who is in a room: at most `limit` of them, by id, after the one given.
    ///
    /// # Errors
    /// `busy` when its owner cannot be reached.
    pub async fn people(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Member>, Refusal> {
        let question = Question::People { room, after, limit };
        match self.0.persist(ATTACH, || self.0.question(&question)).await? {
            Told::People(people) => Ok(people),
            _ => Err(unreachable_owner()),
        }
    }

    /// On which devices a person is connected, wherever that is.
    ///
    /// # Errors
    /// `busy` when the owner of their session cannot be reached.
    pub async fn session(&self, user: UserId) -> Result<SessionView, Refusal> {
        let question = Question::Session(user);
        match self.0.persist(ATTACH, || self.0.question(&question)).await? {
            Told::Session(session) => Ok(session),
            _ => Err(unreachable_owner()),
        }
    }
}

impl Inner {
    /// Asks an owner, whoever that is by then, until there is an answer.
    pub(super) async fn persist<T, F>(
        &self,
        patience: Duration,
        attempt: impl Fn() -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refused>>,
    {
        let attempts = async {
            let mut wait = RETRY;
            loop {
                let moved = self.moved.notified();
                match attempt().await {
                    Ok(answer) => return Ok(answer),
                    Err(Refused::No(refusal)) => return Err(refusal),
                    Err(Refused::NotOwner | Refused::Gone) => self.look.notify_one(),
                }
                let _ = tokio::time::timeout(wait, moved).await;
                wait = (wait * 2).min(RETRY_MOST);
            }
        };
        tokio::time::timeout(patience, attempts).await.unwrap_or_else(|_| Err(unreachable_owner()))
    }

    /// Asks once, whoever is the owner now.
    pub(super) async fn question(&self, question: &Question) -> Result<Told, Refused> {
        let owner = self.owner_of(question.shard()).ok_or(Refused::NotOwner)?;
        let answer = if owner == self.me() {
            let (back, answer) = oneshot::channel();
            self.take_question(question.clone(), Reply::new(|result| drop(back.send(result))));
            answer
        } else {
            let (ticket, answer) = self.lock().questions.ask(owner);
            self.bus.send(owner, Message::Ask { ticket, question: question.clone() });
            answer
        };
        self.answer_of(owner, question.shard(), ANSWER, answer).await
    }

    /// Waits for an answer as long as whoever was asked can give it.
    pub(super) async fn answer_of<T>(
        &self,
        owner: Incarnation,
        shard: Shard,
        patience: Duration,
        mut answer: oneshot::Receiver<Result<T, Refused>>,
    ) -> Result<T, Refused> {
        let waiting = async {
            loop {
                let moved = self.moved.notified();
                if !self.is_owner(owner, shard) {
                    return Err(Refused::NotOwner);
                }
                tokio::select! {
                    biased;
                    result = &mut answer => return result.unwrap_or(Err(Refused::Gone)),
                    () = moved => {}
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.unwrap_or(Err(Refused::Gone))
    }

    pub(super) fn take_question(&self, question: Question, reply: Reply<Told>) {
        let Some(host) = &self.host else { return reply.send(Err(Refused::NotOwner)) };
        match question {
            Question::People { room, after, limit } => {
                let reply = Reply::new(|people: Result<_, _>| reply.send(people.map(Told::People)));
                host.people(room, after, limit as usize, reply);
            }
            Question::Session(user) => reply.send(host.session(user).map(Told::Session)),
            Question::EndLogin { user, login } => reply.send(self.take_ended(host, user, login)),
        }
    }
}
