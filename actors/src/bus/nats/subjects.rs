//! The subjects of a cluster. Everything is below one prefix, so that clusters can share a NATS and permissions are one line.

use enfilade_store::Incarnation;
use uuid::Uuid;

use super::outgoing::Destination;

#[derive(Clone, Debug)]
pub(super) struct Subjects {
    prefix: String,
    me: Incarnation,
}

impl Subjects {
    pub(super) fn new(cluster: &str, me: Incarnation) -> Self {
        Self { prefix: format!("enfilade.{cluster}"), me }
    }

    pub(super) fn of(&self, to: Destination) -> String {
        match to {
            Destination::Node(node) => format!("{}.n.{node}", self.prefix),
            Destination::Everybody => format!("{}.all", self.prefix),
            Destination::Listeners(room) => format!("{}.m.{}", self.prefix, room.0.simple()),
        }
    }

    /// Where a node takes pieces of bulky messages.
    pub(super) fn bulk(&self, node: Incarnation) -> String {
        format!("{}.b.{node}", self.prefix)
    }

    /// Where the server says that nobody took a frame to this node.
    pub(super) fn nobody(&self, node: Incarnation) -> String {
        format!("{}.x.{}.{node}", self.prefix, self.me)
    }

    /// All of what [`Self::nobody`] gives.
    pub(super) fn nobodies(&self) -> String {
        format!("{}.x.{}.*", self.prefix, self.me)
    }

    /// The node of a subject that [`Self::nobody`] gave.
    pub(super) fn node(subject: &str) -> Option<Incarnation> {
        let (_, node) = subject.rsplit_once('.')?;
        Uuid::try_parse(node).ok().map(Incarnation)
    }

    /// Where answers to requests come.
    pub(super) fn inbox(&self) -> String {
        format!("{}.i.{}", self.prefix, self.me)
    }

    /// A subject to which nobody listens: the server itself answers.
    pub(super) fn void(&self) -> String {
        format!("{}.v.{}", self.prefix, self.me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_that_nobody_is_there_tells_who_is_meant() {
        let [me, other] = [1, 2].map(|number| Incarnation(Uuid::from_u128(number)));
        let subjects = Subjects::new("test", me);
        assert_eq!(Subjects::node(&subjects.nobody(other)), Some(other));
        assert_eq!(Subjects::node("enfilade.test.x.1.stranger"), None);
    }
}
