//! A text that is edited here and there: a buffer with its gap where the last edit was.

/// Characters are code points.
#[derive(Debug, Default)]
pub(super) struct Text {
    before: Vec<char>,
    /// Those after the gap, the nearest last.
    after: Vec<char>,
}

impl Text {
    pub(super) fn new(text: &str) -> Self {
        Self { before: text.chars().collect(), after: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// False, and nothing done, if there is no such place.
    pub(super) fn splice(&mut self, at: usize, delete: usize, insert: &str) -> bool {
        if at.checked_add(delete).is_none_or(|end| end > self.len()) {
            return false;
        }
        while self.before.len() > at {
            self.after.extend(self.before.pop());
        }
        while self.before.len() < at {
            self.before.extend(self.after.pop());
        }
        self.after.truncate(self.after.len() - delete);
        self.before.extend(insert.chars());
        true
    }

    pub(super) fn chars(&self) -> impl Iterator<Item = char> {
        self.before.iter().chain(self.after.iter().rev()).copied()
    }
}

/// The first character in which they differ, if they do.
pub(super) fn difference(made: impl Iterator<Item = char>, said: &str) -> Option<usize> {
    let mut said = said.chars();
    let mut count = 0;
    for made in made {
        if said.next() != Some(made) {
            return Some(count);
        }
        count += 1;
    }
    said.next().map(|_| count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_splicing_a_list_makes(
            edits in prop::collection::vec((0..30usize, 0..6usize, "[aä€𝄞]{0,4}"), 0..60),
        ) {
            let (mut text, mut list) = (Text::new("begin"), "begin".chars().collect::<Vec<_>>());
            for (at, delete, insert) in edits {
                let fits = at + delete <= list.len();
                prop_assert_eq!(text.splice(at, delete, &insert), fits);
                if fits {
                    list.splice(at..at + delete, insert.chars());
                }
                prop_assert_eq!(text.len(), list.len());
            }
            let all: String = list.iter().collect();
            prop_assert_eq!(difference(text.chars(), &all), None);
            prop_assert_eq!(difference(text.chars(), &format!("{all}x")), Some(list.len()));
        }
    }

    #[test]
    fn places_that_overflow_are_none() {
        assert!(!Text::new("abc").splice(usize::MAX, 1, ""));
        assert_eq!(difference("abc".chars(), "abd"), Some(2));
        assert_eq!(difference("abc".chars(), "ab"), Some(2));
    }
}
