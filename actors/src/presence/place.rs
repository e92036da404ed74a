//! Where a person is: on which edges, or about to leave.

use enfilade_store::Incarnation;

/// Nearly everybody is on one edge, which then costs no memory of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    On(Incarnation),
    OnSeveral(Vec<Incarnation>),
    /// Without a connection, and gone at this time.
    Leaving(u64),
}

impl Place {
    /// They have a connection at this edge. Returns whether they had none there before.
    pub(super) fn arrive(&mut self, edge: Incarnation) -> bool {
        match self {
            Self::On(known) if *known == edge => return false,
            Self::On(known) => *self = Self::OnSeveral(vec![*known, edge]),
            Self::OnSeveral(edges) if edges.contains(&edge) => return false,
            Self::OnSeveral(edges) => edges.push(edge),
            Self::Leaving(_) => *self = Self::On(edge),
        }
        true
    }

    /// They have no connection at this edge any more; if it was the last, they are leaving. Returns whether they had one.
    pub(super) fn depart(&mut self, edge: Incarnation, leaves_at: u64) -> bool {
        match self {
            Self::On(known) if *known == edge => *self = Self::Leaving(leaves_at),
            Self::OnSeveral(edges) => {
                let Some(place) = edges.iter().position(|known| *known == edge) else { return false };
                edges.swap_remove(place);
                if let [last] = edges[..] {
                    *self = Self::On(last);
                }
            }
            Self::On(_) | Self::Leaving(_) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const EDGES: [Incarnation; 3] =
        [Incarnation(Uuid::from_u128(1)), Incarnation(Uuid::from_u128(2)), Incarnation(Uuid::from_u128(3))];

    #[test]
    fn whoever_leaves_the_last_edge_leaves() {
        let [one, two, three] = EDGES;
        let mut place = Place::On(one);
        assert!(!place.arrive(one) && place.arrive(two) && place.arrive(three) && !place.arrive(three));
        assert!(place.depart(one, 5) && !place.depart(one, 6));
        assert!(place.depart(three, 7));
        assert_eq!(place, Place::On(two));
        assert!(!place.depart(three, 8) && place.depart(two, 9));
        assert_eq!(place, Place::Leaving(9));
        assert!(!place.depart(two, 10) && place.arrive(three));
        assert_eq!(place, Place::On(three));
    }
}
