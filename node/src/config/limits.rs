//! `[limits]`: how often people, addresses and connections may do what. Which of them is whose, and what comes of one that is
//! exceeded, is in `docs/security.md`.

use anyhow::ensure;
use clap::{ArgMatches, Args};
use serde::{Deserialize, Serialize};

use super::{Config, Line, Partial, origin, toml_value};
use crate::edge::{Allowance, Allowances};
use crate::people::LimitSettings;
use crate::rate::{COUNTS, Rate};

/// Limits that stood outside of the table before there was one, and may go on to.
pub(super) const ALSO: [&str; 3] = ["max_connections", "hellos_per_second", "rooms_per_hour"];

settings! {
    PartialLimits => Limits;
    also max_connections: usize, hellos_per_second: u32, rooms_per_hour: u32;
    /// Attempts to sign in to one account [default: 10/minute]
    sign_ins_per_account: Rate = LimitSettings::default().sign_in_per_account, "ENFILADE_SIGN_INS_PER_ACCOUNT";
    /// Attempts to sign in from one address [default: 60/minute]
    sign_ins_per_address: Rate = LimitSettings::default().sign_in_per_address, "ENFILADE_SIGN_INS_PER_ADDRESS";
    /// Sign-ups from one address. A school or an office may be one [default: 6/minute burst 60]
    sign_ups_per_address: Rate = LimitSettings::default().sign_up_per_address, "ENFILADE_SIGN_UPS_PER_ADDRESS";
    /// Refreshes of tokens from one address [default: 10/second burst 600]
    refreshes_per_address: Rate = LimitSettings::default().refresh_per_address, "ENFILADE_REFRESHES_PER_ADDRESS";
    /// Snapshots read over HTTP by one address [default: 20/second burst 600]
    snapshots_per_address: Rate = LimitSettings::default().snapshots_per_address, "ENFILADE_SNAPSHOTS_PER_ADDRESS";
    /// Requests with an Idempotency-Key of one person, or of the guests of one address; each is remembered for a day
    /// [default: 1/second burst 1000]
    idempotency_keys_per_person: Rate = LimitSettings::default().keys_per_person, "ENFILADE_IDEMPOTENCY_KEYS_PER_PERSON";
    /// Ops of one connection. Clients are told how many a second, and keep to it [default: 100/second burst 400]
    ops_per_connection: Rate = Allowances::default().ops.into(), "ENFILADE_OPS_PER_CONNECTION";
    /// Signals of one connection, likewise [default: 100/second burst 200]
    signals_per_connection: Rate = Allowances::default().signals.into(), "ENFILADE_SIGNALS_PER_CONNECTION";
    /// Joins of one connection [default: 20/second burst 256]
    joins_per_connection: Rate = Allowances::default().joins.into(), "ENFILADE_JOINS_PER_CONNECTION";
}

impl Partial {
    /// Puts those where they belong that the file has in the table.
    pub(super) fn take_out_of_limits(&mut self) -> anyhow::Result<()> {
        let limits = &mut self.limits;
        self.max_connections = once(ALSO[0], self.max_connections, limits.max_connections.take())?;
        self.hellos_per_second = once(ALSO[1], self.hellos_per_second, limits.hellos_per_second.take())?;
        self.rooms_per_hour = once(ALSO[2], self.rooms_per_hour, limits.rooms_per_hour.take())?;
        Ok(())
    }
}

fn once<T>(name: &str, outside: Option<T>, inside: Option<T>) -> anyhow::Result<Option<T>> {
    ensure!(outside.is_none() || inside.is_none(), "{name} is there twice: in [limits] and outside of it");
    Ok(outside.or(inside))
}

impl Config {
    /// # Errors
    /// When a limit makes no sense.
    pub(super) fn check_limits(&self) -> anyhow::Result<()> {
        let counts = [self.max_connections, self.hellos_per_second as usize, self.rooms_per_hour as usize];
        for (name, count) in ALSO.into_iter().zip(counts) {
            let fits = u32::try_from(count).is_ok_and(|count| COUNTS.contains(&count));
            ensure!(fits, "{name} is {count}, and has to be from {} to {}", COUNTS.start(), COUNTS.end());
        }
        self.limits.allowances()?;
        Ok(())
    }
}

/// A limit of connections that they cannot be told.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "{name} is {rate}, and has to come to a whole number a second and a burst of at least as many, like 100/second burst 400"
)]
pub struct InvalidLimit {
    name: &'static str,
    rate: Rate,
}

impl Limits {
    /// What one connection may send.
    ///
    /// # Errors
    /// When a rate is none that clients can be told: they know whole numbers, and send a second's worth at once.
    pub(crate) fn allowances(&self) -> Result<Allowances, InvalidLimit> {
        let allowance = |name, rate: Rate| {
            let per_second = rate.each_second().filter(|per_second| *per_second <= rate.burst());
            let per_second = per_second.ok_or(InvalidLimit { name, rate })?;
            Ok(Allowance { per_second, burst: rate.burst() })
        };
        Ok(Allowances {
            ops: allowance("ops_per_connection", self.ops_per_connection)?,
            signals: allowance("signals_per_connection", self.signals_per_connection)?,
            joins: allowance("joins_per_connection", self.joins_per_connection)?,
        })
    }

    /// How often people and addresses may try what.
    pub(crate) fn of_people(&self, rooms_per_hour: u32) -> LimitSettings {
        LimitSettings {
            sign_in_per_account: self.sign_ins_per_account,
            sign_in_per_address: self.sign_ins_per_address,
            sign_up_per_address: self.sign_ups_per_address,
            refresh_per_address: self.refreshes_per_address,
            snapshots_per_address: self.snapshots_per_address,
            rooms_per_person: Rate::per_hour(rooms_per_hour).with_burst(rooms_per_hour.div_ceil(3)),
            keys_per_person: self.idempotency_keys_per_person,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> anyhow::Result<Config> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(&file, toml)?;
        Ok(Config::load(Partial::default(), Some(file.path()))?.0)
    }

    #[test]
    fn limits_are_in_a_table_of_the_file() {
        let config =
            load("[limits]\nsign_ups_per_address = \"60/minute burst 500\"\nmax_connections = 7").unwrap();
        assert_eq!(config.limits.sign_ups_per_address, Rate::per_minute(60).with_burst(500));
        assert_eq!(config.limits.sign_ins_per_account, Rate::per_minute(10), "as it was");
        assert_eq!(config.max_connections, 7);
        assert_eq!(load("max_connections = 8").unwrap().max_connections, 8);
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused_by_its_name() {
        let cases = [
            ("sign_ups_per_address = \"often\"", "sign_ups_per_address"),
            ("sign_ups_per_address = 60", "sign_ups_per_address"),
            ("ops_per_connection = \"90/minute burst 90\"", "ops_per_connection is 90/minute"),
            ("signals_per_connection = \"30/minute\"", "signals_per_connection is 30/minute"),
            ("joins_per_connection = \"20/second burst 10\"", "joins_per_connection is 20/second burst 10"),
            ("hellos_per_second = 0", "hellos_per_second is 0"),
            ("max_connections = 2000000", "max_connections is 2000000"),
            ("rooms_per_hour = 0", "rooms_per_hour is 0"),
            ("sign_up = \"6/minute\"", "sign_up"),
        ];
        for (line, named) in cases {
            let refused = format!("{:#}", load(&format!("[limits]\n{line}")).unwrap_err());
            assert!(refused.contains(named), "{line}: {refused}");
        }
        let twice = load("max_connections = 8\n[limits]\nmax_connections = 7").unwrap_err().to_string();
        assert!(twice.contains("max_connections is there twice"), "{twice}");
    }
}
