//! Where servers are, and whom to believe that they are them.

use std::path::PathBuf;

use clap::Args;
use enfilade_loadtest::door::{Address, DoorError, Trust};
use enfilade_loadtest::target::Target;

use super::Failure;

/// What servers that speak TLS need.
#[derive(Debug, Args)]
pub(super) struct DoorArgs {
    /// A PEM file with the authority to trust, for servers at https:// or wss://
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    ca: Option<PathBuf>,
    /// What their certificate is for, if that is not the host of the URL
    #[arg(long, value_name = "NAME", requires = "ca", help_heading = "TLS")]
    tls_name: Option<String>,
}

impl DoorArgs {
    pub(super) async fn open(&self, addresses: &[Address]) -> Result<Vec<Target>, Failure> {
        let trust = self.ca.as_ref().map(|file| Trust::read(file, self.tls_name.as_deref())).transpose()?;
        let mut targets = Vec::new();
        for address in addresses {
            let opened = address.clone().open(trust.as_ref()).await;
            targets.push(opened.map_err(|error| match error {
                DoorError::Unreachable(..) => Failure::unreachable(error),
                DoorError::NobodyTrusted => anyhow::anyhow!("--ca is needed for https:// and wss://").into(),
                _ => error.into(),
            })?);
        }
        Ok(targets)
    }
}
