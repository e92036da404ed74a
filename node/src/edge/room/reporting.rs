//! What the owner is told of who is here: of a small room at once, of a crowd and of an audience once a second.

use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::bus::Notice;

use super::{EdgeRoom, State};

/// How often the owner is told of a crowd.
const REPORT: Duration = Duration::from_secs(1);

impl EdgeRoom {
    /// Tells the owner who came and who went: of a small room at once, of a crowd and of an audience once in a while.
    pub(super) fn report(self: &Arc<Self>, state: &mut State) {
        let Some(mirror) = state.mirror.as_mut() else { return };
        self.notify_all(mirror.here.report_at_once());
        if mirror.here.has_something_to_report() && !state.reporting {
            state.reporting = true;
            self.report_now(state);
            self.report_again();
        }
    }

    /// Tells the owner what came together meanwhile, as long as there is something.
    fn report_again(self: &Arc<Self>) {
        let room = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REPORT).await;
                let mut state = room.lock();
                state.reporting = !state.closed
                    && state.mirror.as_ref().is_some_and(|mirror| mirror.here.has_something_to_report());
                if !state.reporting {
                    return;
                }
                room.report_now(&mut state);
            }
        });
    }

    pub(super) fn report_now(&self, state: &mut State) {
        if let Some(mirror) = state.mirror.as_mut() {
            self.notify_all(mirror.here.report());
        }
    }

    pub(super) fn notify_all(&self, notices: Vec<Notice>) {
        notices.into_iter().for_each(|notice| self.ends.cluster.notify(self.id, notice));
    }
}
