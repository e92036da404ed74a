//! Violations, counted. Those of several workers add up.

use serde::{Deserialize, Serialize};

use super::said::Heard;

/// What was wrong with what was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Lost before anything else of their speaker came; between others; after all others.
    pub lost_prefix: u64,
    pub lost_middle: u64,
    pub lost_postfix: u64,
    /// Came twice.
    pub doubled: u64,
    /// Came after later ones of the same speaker.
    pub overtaken: u64,
    /// Nobody sent it.
    pub phantom: u64,
    /// Came to a member of another room.
    pub misplaced: u64,
    /// Ops that came without those before them.
    pub gaps: u64,
    /// Ops that were accepted and seen by nobody, or answered twice.
    pub unaccounted: u64,
    /// The first few of each worker, in words.
    pub examples: Vec<String>,
}

/// Examples kept.
const EXAMPLES: usize = 20;

impl Tally {
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_prefix + self.lost_middle + self.lost_postfix
    }

    /// All but losses: what no scenario allows.
    #[must_use]
    pub fn disorder(&self) -> u64 {
        self.doubled + self.overtaken + self.phantom + self.misplaced + self.gaps + self.unaccounted
    }

    #[must_use]
    pub fn violations(&self) -> u64 {
        self.lost() + self.disorder()
    }

    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("lost_prefix", self.lost_prefix),
            ("lost_middle", self.lost_middle),
            ("lost_postfix", self.lost_postfix),
            ("doubled", self.doubled),
            ("overtaken", self.overtaken),
            ("phantom", self.phantom),
            ("misplaced", self.misplaced),
            ("gaps", self.gaps),
            ("unaccounted", self.unaccounted),
        ]
    }

    pub fn add(&mut self, other: &Self) {
        self.lost_prefix += other.lost_prefix;
        self.lost_middle += other.lost_middle;
        self.lost_postfix += other.lost_postfix;
        self.doubled += other.doubled;
        self.overtaken += other.overtaken;
        self.phantom += other.phantom;
        self.misplaced += other.misplaced;
        self.gaps += other.gaps;
        self.unaccounted += other.unaccounted;
        for example in &other.examples {
            self.example("", || example.clone());
        }
    }

    pub(super) fn skipped(&mut self, at_the_beginning: bool, count: u32, what: impl FnOnce() -> String) {
        *(if at_the_beginning { &mut self.lost_prefix } else { &mut self.lost_middle }) += u64::from(count);
        self.example("lost", what);
    }

    /// Something that was counted as lost arrived.
    pub(super) fn found(&mut self, at_the_beginning: bool) {
        *(if at_the_beginning { &mut self.lost_prefix } else { &mut self.lost_middle }) -= 1;
    }

    pub(super) fn lost_at_the_end(&mut self, count: u32, what: impl FnOnce() -> String) {
        self.lost_postfix += u64::from(count);
        self.example("lost", what);
    }

    pub(super) fn doubled(&mut self, what: impl FnOnce() -> String) {
        self.doubled += 1;
        self.example("doubled", what);
    }

    pub(super) fn overtaken(&mut self, what: impl FnOnce() -> String) {
        self.overtaken += 1;
        self.example("overtaken", what);
    }

    pub(super) fn phantom(&mut self, heard: &Heard) {
        self.phantom += 1;
        self.example("phantom", || format!("{}: {}", heard.speaker, heard.mark.number));
    }

    pub(super) fn beyond(&mut self, what: impl FnOnce() -> String) {
        self.phantom += 1;
        self.example("phantom", what);
    }

    pub(super) fn misplaced(&mut self, what: impl FnOnce() -> String) {
        self.misplaced += 1;
        self.example("misplaced", what);
    }

    pub(super) fn gap(&mut self, what: impl FnOnce() -> String) {
        self.gaps += 1;
        self.example("gap", what);
    }

    pub(super) fn unaccounted(&mut self, what: impl FnOnce() -> String) {
        self.unaccounted += 1;
        self.example("unaccounted", what);
    }

    fn example(&mut self, kind: &str, what: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{kind} {}", what()).trim_start().to_owned());
        }
    }
}
