//! The way back to whoever asked, wherever that is. Whoever drops it unanswered has answered [`Refused::Gone`]: so nobody waits
//! for an actor that crashed with a question in its mailbox.

use std::fmt;

use crate::bus::Refused;

type Back<T> = Box<dyn FnOnce(Result<T, Refused>) + Send>;

pub struct Reply<T>(Option<Back<T>>);

impl<T> Reply<T> {
    pub fn new(back: impl FnOnce(Result<T, Refused>) + Send + 'static) -> Self {
        Self(Some(Box::new(back)))
    }

    pub fn send(mut self, result: Result<T, Refused>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<T, Refused>) {
        if let Some(back) = self.0.take() {
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
