//! A session: on which devices a signed-in person is connected, and so whether they are there.
//!
//! It knows what edges report and nothing else, and every report is repeated every few seconds. So it needs no list to be
//! complete and no farewell to arrive: a device that nobody has reported for [`SILENT_MS`] is gone. It is never stored; a new
//! owner of its shard hears everything again.

use std::collections::BTreeMap;

use enfilade_proto::LoginId;
use enfilade_store::Incarnation;

use crate::bus::{Connected, ConnectedDevice, SessionView, UserPresence};

/// How long somebody is still there after their last device was lost: a reload is no farewell.
pub const GRACE_MS: u64 = crate::presence::GRACE_MS;

/// How often edges report, and after how long without a report a device is gone.
pub const REPORT_MS: u64 = 5_000;
pub const SILENT_MS: u64 = 3 * REPORT_MS;

/// How long it is remembered that a login was ended: as long as its last access token holds, and a minute.
const ENDED_MS: u64 = 11 * 60_000;
/// Ended logins that are remembered; a person has fewer devices.
const ENDED: usize = 128;

#[derive(Debug, Default)]
pub struct Session {
    /// In the order of their logins and edges. A person has few, and most people have one.
    devices: Vec<Device>,
    /// Logins that were ended, and when that may be forgotten. An edge that still has one is told.
    ended: BTreeMap<LoginId, u64>,
    /// Nobody is connected: what they seem to be, and until when.
    leaving: Option<(UserPresence, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Device {
    login: LoginId,
    edge: Incarnation,
    connected: Connected,
    heard_ms: u64,
}

impl Session {
    /// An edge says how a device is connected to it; None: not any more. False if the device was signed out, and the edge is
    /// to close its connections.
    pub fn report(
        &mut self,
        edge: Incarnation,
        login: LoginId,
        connected: Option<Connected>,
        now_ms: u64,
    ) -> bool {
        match connected {
            Some(connected) => {
                self.put(Device { login, edge, connected, heard_ms: now_ms });
                self.leaving = None;
                !self.ended.contains_key(&login)
            }
            None => {
                self.remove(now_ms, |it| it.login == login && it.edge == edge);
                true
            }
        }
    }

    /// A node is dead, and every connection to it.
    pub fn edge_gone(&mut self, edge: Incarnation, now_ms: u64) {
        self.remove(now_ms, |device| device.edge == edge);
    }

    /// Time has passed: forgets devices of which nothing is heard any more.
    pub fn tick(&mut self, now_ms: u64) {
        self.remove(now_ms, |device| now_ms >= device.heard_ms + SILENT_MS);
        self.leaving.take_if(|(_, until)| now_ms >= *until);
        self.ended.retain(|_, until| now_ms < *until);
    }

    /// A login was ended. Returns the edges that still have connections of it.
    pub fn end(&mut self, login: LoginId, now_ms: u64) -> Vec<Incarnation> {
        self.ended.insert(login, now_ms + ENDED_MS);
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.iter().min_by_key(|(_, until)| **until).map(|(login, _)| *login)
        {
            self.ended.remove(&oldest);
        }
        self.devices.iter().filter(|it| it.login == login).map(|it| it.edge).collect()
    }

    #[must_use]
    pub fn look(&self) -> SessionView {
        let device = |&Device { login, edge: node, connected, .. }: &Device| ConnectedDevice {
            login,
            node,
            connected,
        };
        SessionView { presence: self.presence(), devices: self.devices.iter().map(device).collect() }
    }

    /// Whether there is nothing left to remember.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.devices.is_empty() && self.leaving.is_none() && self.ended.is_empty()
    }

    fn presence(&self) -> UserPresence {
        match self.leaving {
            Some((seemed, _)) => seemed,
            None if self.devices.is_empty() => UserPresence::Offline,
            None if self.devices.iter().any(|device| device.connected.active) => UserPresence::Online,
            None => UserPresence::Away,
        }
    }

    fn put(&mut self, device: Device) {
        match self.devices.binary_search_by_key(&(device.login, device.edge), |it| (it.login, it.edge)) {
            Ok(place) => self.devices[place] = device,
            Err(place) => {
                // Not room for four at once: most never have a second.
                self.devices.reserve_exact(1);
                self.devices.insert(place, device);
            }
        }
    }

    fn remove(&mut self, now_ms: u64, gone: impl Fn(&Device) -> bool) {
        let before = self.presence();
        let mut lost = false;
        for device in self.devices.extract_if(.., |device| gone(device)) {
            // Who signs out leaves; who loses a connection may be back in a moment.
            lost |= !self.ended.contains_key(&device.login);
        }
        if lost && self.devices.is_empty() {
            self.leaving = Some((before, now_ms + GRACE_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HERE: Incarnation = Incarnation(Uuid::from_u128(1));
    const THERE: Incarnation = Incarnation(Uuid::from_u128(2));
    const PHONE: LoginId = LoginId(Uuid::from_u128(3));
    const DESK: LoginId = LoginId(Uuid::from_u128(4));
    const ACTIVE: Option<Connected> = Some(Connected { since_ms: 7, active: true });
    const IDLE: Option<Connected> = Some(Connected { since_ms: 7, active: false });

    fn presence(session: &Session) -> UserPresence {
        session.look().presence
    }

    #[test]
    fn somebody_is_online_while_any_device_is_active() {
        let mut session = Session::default();
        assert_eq!(presence(&session), UserPresence::Offline);
        session.report(HERE, PHONE, ACTIVE, 0);
        session.report(THERE, DESK, IDLE, 0);
        assert_eq!(presence(&session), UserPresence::Online);
        session.report(HERE, PHONE, IDLE, 10);
        assert_eq!(presence(&session), UserPresence::Away);
        session.report(THERE, DESK, ACTIVE, 20);
        assert_eq!(presence(&session), UserPresence::Online);
        let nodes: Vec<_> = session.look().devices.iter().map(|device| (device.login, device.node)).collect();
        assert_eq!(nodes, [(PHONE, HERE), (DESK, THERE)]);
    }

    #[test]
    fn a_reload_is_no_farewell() {
        let mut session = Session::default();
        session.report(HERE, PHONE, ACTIVE, 0);
        session.report(HERE, PHONE, None, 1_000);
        session.tick(1_000 + GRACE_MS - 1);
        assert_eq!(presence(&session), UserPresence::Online);
        assert_eq!(session.look().devices, []);
        session.report(THERE, PHONE, ACTIVE, 1_000 + GRACE_MS - 1);
        session.tick(1_000 + GRACE_MS);
        assert_eq!(presence(&session), UserPresence::Online);
        session.report(THERE, PHONE, None, 20_000);
        session.tick(20_000 + GRACE_MS);
        assert_eq!(presence(&session), UserPresence::Offline);
        assert!(session.is_over());
    }

    #[test]
    fn a_dead_edge_takes_its_devices_with_it() {
        let mut session = Session::default();
        session.report(HERE, PHONE, ACTIVE, 0);
        session.report(THERE, PHONE, IDLE, 0);
        session.edge_gone(HERE, 1_000);
        assert_eq!((presence(&session), session.look().devices.len()), (UserPresence::Away, 1));
        session.edge_gone(THERE, 2_000);
        session.tick(2_000 + GRACE_MS);
        assert_eq!(presence(&session), UserPresence::Offline);
    }

    #[test]
    fn a_device_whose_farewell_was_lost_is_gone_when_nobody_reports_it() {
        let mut session = Session::default();
        session.report(HERE, PHONE, ACTIVE, 0);
        session.report(THERE, DESK, ACTIVE, 0);
        session.report(THERE, DESK, ACTIVE, REPORT_MS);
        session.tick(SILENT_MS - 1);
        assert_eq!(session.look().devices.len(), 2);
        session.tick(SILENT_MS);
        assert_eq!(session.look().devices.len(), 1);
    }

    #[test]
    fn who_signs_out_everywhere_is_gone_at_once() {
        let mut session = Session::default();
        session.report(HERE, PHONE, ACTIVE, 0);
        assert_eq!(session.end(PHONE, 10), [HERE]);
        session.report(HERE, PHONE, None, 20);
        assert_eq!(presence(&session), UserPresence::Offline);
        assert!(!session.is_over(), "it is remembered");
        session.tick(10 + ENDED_MS);
        assert!(session.is_over());
    }

    #[test]
    fn an_edge_is_told_of_an_ended_login_until_it_does_not_have_it_any_more() {
        let mut session = Session::default();
        assert!(session.report(HERE, PHONE, ACTIVE, 0));
        session.report(THERE, PHONE, ACTIVE, 0);
        assert_eq!(session.end(PHONE, 10), [HERE, THERE]);
        session.report(THERE, PHONE, None, 20);
        assert_eq!(session.end(PHONE, 30), [HERE], "the other one has confirmed");
        assert!(!session.report(HERE, PHONE, ACTIVE, 40), "told again");
        session.report(HERE, PHONE, None, 50);
        assert_eq!(session.end(PHONE, 60), []);
        assert!(!session.report(THERE, PHONE, ACTIVE, 70), "a connection that was being made meanwhile");
        assert!(session.report(HERE, DESK, ACTIVE, 80));
    }

    #[test]
    fn hearing_the_same_again_changes_nothing() {
        let mut session = Session::default();
        for now_ms in 0..10 {
            session.report(HERE, PHONE, IDLE, now_ms);
            session.report(THERE, DESK, None, now_ms);
        }
        assert_eq!((presence(&session), session.look().devices.len()), (UserPresence::Away, 1));
        for n in 0..10 * ENDED as u128 {
            session.end(LoginId(Uuid::from_u128(100 + n)), n as u64);
        }
        assert_eq!(session.ended.len(), ENDED);
    }
}
