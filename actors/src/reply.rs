//! The way back to whoever asked, wherever that is. Whoever drops it unanswered has answered [`Refused::Gone`]: so nobody waits
//! for an actor that crashed with a question in its mailbox.

use std::fmt;

use crate::bus::Refused;
use crate::trace::Span;

type Back<T> = Box<dyn FnOnce(Result<T, Refused>) + Send>;

pub struct Reply<T> {
    back: Option<Back<T>>,
    /// The step in which the question is, if it is traced. It comes to nothing if the answer is no.
    step: Option<Span>,
}

impl<T> Reply<T> {
    pub fn new(back: impl FnOnce(Result<T, Refused>) + Send + 'static) -> Self {
        Self { back: Some(Box::new(back)), step: None }
    }

    /// The question is in this step from now on.
    pub(crate) fn during(mut self, step: Option<Span>) -> Self {
        self.step = step;
        self
    }

    /// The question has got through this step.
    pub(crate) fn take_step(&mut self) -> Option<Span> {
        self.step.take()
    }

    pub fn send(mut self, result: Result<T, Refused>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<T, Refused>) {
        if let (Some(step), Err(refused)) = (self.step.take(), &result) {
            drop(step.failed(refused.as_str()));
        }
        if let Some(back) = self.back.take() {
            back(result);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.answer(Err(Refused::Gone));
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;
    use crate::trace::{Kept, Side};

    #[test]
    fn a_step_with_a_question_that_is_refused_has_failed() {
        let kept = Kept::default();
        let asked = || Reply::<()>::new(drop).during(kept.tracer().root("asked", Side::Internal));
        asked().send(Ok(()));
        asked().send(Err(Refused::NotOwner));
        asked().send(Err(Refusal::busy("later", 1).into()));
        drop(asked());
        let mut got_through = asked();
        drop(got_through.take_step());
        got_through.send(Err(Refused::Gone));
        let failures: Vec<_> = kept.spans().into_iter().map(|span| span.failure).collect();
        let failures: Vec<_> = failures.iter().map(Option::as_deref).collect();
        assert_eq!(failures, [None, Some("not_owner"), Some("busy"), Some("gone"), None]);
    }
}
