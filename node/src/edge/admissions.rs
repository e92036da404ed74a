//! Admissions: who may enter which room, asked of the database for all who come at a time.

use enfilade_proto::{ErrorCode, RoomId};
use enfilade_store::{VISITS, Visit};

use super::Ends;
use super::next_answer::NextAnswers;
use crate::people::{Admission, Refusal, Visitor};

pub(crate) type Admissions = NextAnswers<Visit, Result<Admission, Refusal>>;

impl Ends {
    /// What a visitor may do in a room, as true as if they had asked alone.
    ///
    /// # Errors
    /// As [`crate::people::People::access`].
    pub(super) async fn admission(&self, room: RoomId, visitor: Visitor) -> Result<Admission, Refusal> {
        let visit = Visit { room, user: visitor.member, link: visitor.link };
        let people = self.people.clone();
        let question = move |visits: Vec<Visit>| {
            let people = people.clone();
            async move { people.accesses(&visits).await }
        };
        let answer = self.admissions.ask(visit, VISITS, &self.runtime, question).await;
        answer.unwrap_or_else(|| Err(Refusal::new(ErrorCode::Internal, "something went wrong")))
    }
}
