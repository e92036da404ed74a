//! Next answers: those who ask while somebody is asking share the answers to the next question.
//!
//! Unlike a cache this never tells anybody what was known before they asked, and yet a crowd that asks all at once costs a few
//! questions: one who asks alone is answered at once, those of a crowd gather for a moment.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Between the beginnings of two questions while there is a crowd: each wakes several threads.
const PACE: Duration = Duration::from_millis(2);

/// Answers of type `A` to questions about things `K`.
#[derive(Debug)]
pub(crate) struct NextAnswers<K, A>(Mutex<Asking<K, A>>);

#[derive(Debug)]
struct Asking<K, A> {
    /// Somebody asks, and goes on as long as others wait.
    busy: bool,
    /// Those who ask about the same thing share an answer. There are no more than connections.
    waiting: HashMap<K, Vec<oneshot::Sender<A>>>,
}

impl<K, A> Default for NextAnswers<K, A> {
    fn default() -> Self {
        Self(Mutex::new(Asking::new()))
    }
}

impl<K, A> Asking<K, A> {
    fn new() -> Self {
        Self { busy: false, waiting: HashMap::new() }
    }
}

impl<K, A> NextAnswers<K, A>
where
    K: Clone + Eq + Hash + Send + 'static,
    A: Clone + Send + 'static,
{
    /// The answer about one thing to a question that is asked on `runtime` after this was called. A question is about `most` things
    /// at most; its answers are in their order. None if it broke off.
    pub(crate) async fn ask<F>(
        self: &Arc<Self>,
        about: K,
        most: usize,
        runtime: &Handle,
        question: impl Fn(Vec<K>) -> F + Send + 'static,
    ) -> Option<A>
    where
        F: Future<Output = Vec<A>> + Send,
    {
        let (answered, answer) = oneshot::channel();
        let begin = {
            let mut asking = self.lock();
            asking.waiting.entry(about).or_default().push(answered);
            !std::mem::replace(&mut asking.busy, true)
        };
        if begin {
            let this = BrokenOff(self.clone());
            runtime.spawn(async move {
                loop {
                    let next = Instant::now() + PACE;
                    let (things, waiting): (Vec<K>, Vec<_>) = this.0.take_some(most).into_iter().unzip();
                    if things.is_empty() {
                        return;
                    }
                    for (answer, waiting) in question(things).await.into_iter().zip(waiting) {
                        waiting.into_iter().for_each(|it| drop(it.send(answer.clone())));
                    }
                    if this.0.is_awaited() {
                        tokio::time::sleep_until(next).await;
                    }
                }
            });
        }
        answer.await.ok()
    }

    /// What others wait for. If that is nothing, nobody asks any more.
    fn take_some(&self, most: usize) -> Vec<(K, Vec<oneshot::Sender<A>>)> {
        let mut asking = self.lock();
        asking.busy = !asking.waiting.is_empty();
        if asking.waiting.len() <= most {
            return std::mem::take(&mut asking.waiting).into_iter().collect();
        }
        let some: Vec<K> = asking.waiting.keys().take(most).cloned().collect();
        some.into_iter().filter_map(|thing| asking.waiting.remove_entry(&thing)).collect()
    }
}

impl<K, A> NextAnswers<K, A> {
    fn is_awaited(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Asking<K, A>> {
        // Nothing under this lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// If a question panics, those who wait are sent away, and the next one asks anew.
struct BrokenOff<K, A>(Arc<NextAnswers<K, A>>);

impl<K, A> Drop for BrokenOff<K, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.lock() = Asking::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    #[tokio::test]
    async fn a_crowd_shares_the_next_question_and_nobody_is_told_what_was_known_before() {
        let next = Arc::new(NextAnswers::default());
        let (asked, mut questions) = mpsc::unbounded_channel();
        let open = Arc::new(Semaphore::new(0));
        let ask = |about: u32| {
            let (next, asked, open) = (next.clone(), asked.clone(), open.clone());
            tokio::spawn(async move {
                let question = move |mut things: Vec<u32>| {
                    let answers = things.iter().map(|thing| thing * 10).collect();
                    things.sort_unstable();
                    asked.send(things).unwrap();
                    let open = open.clone();
                    async move {
                        open.acquire().await.unwrap().forget();
                        answers
                    }
                };
                next.ask(about, 3, &Handle::current(), question).await
            })
        };
        let first = ask(1);
        assert_eq!(questions.recv().await, Some(vec![1]));
        let crowd: Vec<_> = (0..100).map(|n| (n % 3, ask(n % 3))).collect();
        while next.lock().waiting.values().map(Vec::len).sum::<usize>() < crowd.len() {
            tokio::task::yield_now().await;
        }
        open.add_permits(2);
        assert_eq!(first.await.unwrap(), Some(10));
        for (about, one) in crowd {
            assert_eq!(one.await.unwrap(), Some(about * 10));
        }
        assert_eq!(questions.recv().await, Some(vec![0, 1, 2]));
        open.add_permits(1);
        assert_eq!(ask(7).await.unwrap(), Some(70));
        assert!(questions.recv().await == Some(vec![7]) && questions.is_empty());
    }

    #[tokio::test]
    async fn a_question_is_about_so_many_things_at_most() {
        let next = Arc::new(NextAnswers::default());
        let waiting = |next: &NextAnswers<u32, u32>| next.lock().waiting.len();
        for thing in 0..10 {
            next.lock().waiting.insert(thing, Vec::new());
        }
        let parts: Vec<usize> =
            std::iter::from_fn(|| Some(next.take_some(4).len()).filter(|n| *n > 0)).collect();
        assert_eq!((parts, waiting(&next)), (vec![4, 4, 2], 0));
        assert!(!next.lock().busy);
    }

    #[tokio::test]
    async fn a_question_that_breaks_off_leaves_nobody_waiting() {
        let next = Arc::new(NextAnswers::<(), u32>::default());
        let here = Handle::current();
        assert_eq!(next.ask((), 1, &here, |_| async { panic!("as intended") }).await, None);
        assert_eq!(next.ask((), 1, &here, |_| async { vec![7] }).await, Some(7));
    }
}
