//! One node after another leaves in good order and comes back before the next one goes: the same again, or as another version.

use std::path::Path;
use std::time::Duration;

use enfilade_loadtest::clock::Micros;

use super::catalogue::HANDOVER;
use super::inject::{InjectError, Tormentor};

/// How long a node may take to leave, the time that it gives its clients included.
const LEAVE: Duration = Duration::from_secs(20);
/// For the load balancer to see that a node is back.
const NOTICED: Duration = Duration::from_millis(1_500);

/// Once through all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    pub name: &'static str,
    /// Microseconds since 1970.
    pub from: Micros,
    pub to: Micros,
}

impl Tormentor<'_> {
    pub(super) async fn restart_each(&mut self) -> Result<(), InjectError> {
        self.go_through("drain", None).await
    }

    /// From the release before this one, which all nodes are, to this one, and back again.
    pub(super) async fn upgrade_each_and_back(&mut self) -> Result<(), InjectError> {
        let stage = self.stage;
        let previous = stage.previous.as_ref().ok_or(InjectError::NoPrevious)?;
        self.go_through("upgrade", Some(&stage.binary)).await?;
        self.until_ready().await?;
        self.go_through("back", Some(previous)).await
    }

    async fn go_through(&mut self, name: &'static str, program: Option<&Path>) -> Result<(), InjectError> {
        let first = self.marks.all().len();
        for i in self.all() {
            let node = self.cluster.nodes[i].name().to_owned();
            let mark = format!("{name} {node}");
            self.done.struck.insert(node.clone());
            self.marks.inject(&mark, HANDOVER.mul_f64(self.stage.patience))?;
            let patience = LEAVE.mul_f64(self.stage.patience);
            if !self.cluster.nodes[i].stop(patience).await {
                return Err(InjectError::StaysOn(node, patience.as_secs()));
            }
            if let Some(program) = program {
                self.cluster.nodes[i].install(program);
            }
            self.cluster.nodes[i].start().await?;
            tokio::time::sleep(NOTICED).await;
            self.marks.heal(&mark)?;
        }
        let (from, to) = self.marks.span(first);
        self.done.legs.push(Leg { name, from, to });
        Ok(())
    }
}
