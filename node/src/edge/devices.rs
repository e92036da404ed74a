//! The signed-in devices that are connected to this edge, for the sessions of their people.
//!
//! A device is a login; it may have several connections (tabs), and is one device all the same.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError, Weak};
use std::time::Duration;

use enfilade_actors::bus::{Connected, DeviceReport};
use enfilade_actors::session::REPORT_MS;
use enfilade_proto::{LoginId, UserId};

use super::Ends;

/// Whose device, and which.
pub(super) type Who = (UserId, LoginId);

#[derive(Debug, Default)]
pub(super) struct Devices(BTreeMap<Who, Device>);

#[derive(Debug)]
struct Device {
    connections: u32,
    /// Those in which somebody is active.
    active: u32,
    since_ms: u64,
}

/// What happens to a device's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// There is one more, in use.
    Opened,
    /// One is gone, which was in use or not.
    Closed { active: bool },
    /// One that was not in use is, or the other way around.
    Active(bool),
}

impl Devices {
    /// Takes a change in. Returns what is to be reported, if others can see it.
    fn change(&mut self, who: Who, change: Change, now_ms: u64) -> Option<DeviceReport> {
        let before = self.0.get(&who).map(Device::connected);
        let device = self.0.entry(who).or_insert(Device { connections: 0, active: 0, since_ms: now_ms });
        match change {
            Change::Opened => {
                device.connections += 1;
                device.active += 1;
            }
            Change::Closed { active } => {
                device.connections = device.connections.saturating_sub(1);
                device.active = device.active.saturating_sub(u32::from(active));
            }
            Change::Active(true) => device.active += 1,
            Change::Active(false) => device.active = device.active.saturating_sub(1),
        }
        if device.connections == 0 {
            self.0.remove(&who);
        }
        let after = self.0.get(&who).map(Device::connected);
        (before != after).then(|| report(who, after))
    }

    fn all(&self, which: impl Fn(UserId) -> bool) -> Vec<DeviceReport> {
        let wanted = self.0.iter().filter(|((user, _), _)| which(*user));
        wanted.map(|(who, device)| report(*who, Some(device.connected()))).collect()
    }
}

impl Device {
    fn connected(&self) -> Connected {
        Connected { since_ms: self.since_ms, active: self.active > 0 }
    }
}

fn report((user, login): Who, connected: Option<Connected>) -> DeviceReport {
    DeviceReport { user, login, connected }
}

/// Reports all devices time and again, until the edge is gone. What was lost on the way is made good by this.
pub(super) async fn report_all(ends: Weak<Ends>) {
    loop {
        tokio::time::sleep(Duration::from_millis(REPORT_MS)).await;
        let Some(ends) = ends.upgrade() else { return };
        ends.report_devices(|_| true);
    }
}

impl Ends {
    fn devices(&self) -> MutexGuard<'_, Devices> {
        // Nothing under this lock can fail half-way.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn device(&self, who: Who, change: Change) {
        // Reported under the lock, so that reports go out in the order of what they say.
        let mut devices = self.devices();
        if let Some(report) = devices.change(who, change, self.clock.now_ms()) {
            self.cluster.report(vec![report]);
        }
    }

    /// Reports the devices of these people.
    pub(super) fn report_devices(&self, which: impl Fn(UserId) -> bool) {
        let devices = self.devices();
        self.cluster.report(devices.all(which));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ADA: Who = (UserId(Uuid::from_u128(1)), LoginId(Uuid::from_u128(2)));

    fn connected(report: Option<DeviceReport>) -> Option<Option<bool>> {
        report.map(|report| report.connected.map(|connected| connected.active))
    }

    #[test]
    fn only_what_others_can_see_is_reported() {
        let mut devices = Devices::default();
        let mut change = |it, now_ms| connected(devices.change(ADA, it, now_ms));
        assert_eq!(change(Change::Opened, 5), Some(Some(true)));
        assert_eq!(change(Change::Opened, 6), None, "another tab");
        assert_eq!(change(Change::Active(false), 7), None, "one of two");
        assert_eq!(change(Change::Active(false), 8), Some(Some(false)));
        assert_eq!(change(Change::Closed { active: false }, 9), None);
        assert_eq!(change(Change::Active(true), 10), Some(Some(true)));
        assert_eq!(change(Change::Closed { active: true }, 11), Some(None));
        assert_eq!(devices.all(|_| true), []);
    }

    #[test]
    fn a_device_is_there_since_its_first_connection() {
        let mut devices = Devices::default();
        devices.change(ADA, Change::Opened, 5);
        devices.change(ADA, Change::Opened, 6);
        devices.change(ADA, Change::Closed { active: true }, 7);
        let since = |report: &DeviceReport| report.connected.map(|connected| connected.since_ms);
        assert_eq!(devices.all(|_| true).iter().map(since).collect::<Vec<_>>(), [Some(5)]);
        assert_eq!(devices.all(|user| user != ADA.0), []);
    }
}
