//! `enfilade probe`: the question of a health check, for places that have neither a kubelet nor a shell.

use clap::{Args, ValueEnum};

use super::operate::Operators;

#[derive(Args)]
pub(super) struct Probe {
    /// What the node is asked
    #[arg(value_enum, default_value_t = Question::Ready)]
    question: Question,
    #[command(flatten)]
    operators: Operators,
}

#[derive(Clone, Copy, ValueEnum)]
enum Question {
    /// Whether its port is open and its schema there
    Started,
    /// Whether it may be given people
    Ready,
    /// Whether the process goes on
    Live,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Started => "/startupz",
            Self::Ready => "/readyz",
            Self::Live => "/livez",
        }
    }
}

impl Probe {
    /// Fails unless the node says yes.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        print!("{}", self.operators.text(self.operators.address(), self.question.path()).await?);
        Ok(())
    }
}
