//! Where and on what it was measured, for the head of the report.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// What a result depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// As it can be typed again.
    pub command: String,
    pub day: String,
    pub machine: String,
    /// Name and version of each program.
    pub versions: Vec<String>,
}

impl Setup {
    /// Asks the machine and the programs.
    #[must_use]
    pub fn of_this_machine(command: String, binary: &Path) -> Self {
        let postgres = crate::postgres_program("postgres");
        let nats = crate::program::find("NATS_SERVER", "nats-server", &[crate::nats::TOOLS]);
        let haproxy = crate::haproxy::program();
        let commit = first_line("git", &["describe", "--always", "--dirty"]);
        let mut versions = vec![format!("{}{}", version(binary, "--version"), profile(binary))];
        versions.extend(commit.map(|commit| format!("commit {commit}")));
        let programs = [(postgres, "--version"), (nats, "--version"), (haproxy, "-v")];
        versions.extend(programs.into_iter().filter_map(|(program, flag)| Some(version(&program?, flag))));
        Self {
            command,
            day: first_line("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
            machine: machine(),
            versions,
        }
    }

    /// The release before this one is part of what is told of.
    #[must_use]
    pub fn beside(mut self, previous: Option<&Path>) -> Self {
        let before = |program| format!("before it {}{}", version(program, "--version"), profile(program));
        let place = self.versions.len().min(1);
        self.versions.splice(place..place, previous.map(before));
        self
    }
}

fn profile(binary: &Path) -> &'static str {
    let is_in = |name: &str| binary.components().any(|part| part.as_os_str() == name);
    match (is_in("debug"), is_in("release")) {
        (true, _) => " (debug build)",
        (_, true) => " (release build)",
        _ => "",
    }
}

fn version(program: &Path, flag: &str) -> String {
    first_line(&program.display().to_string(), &[flag])
        .unwrap_or_else(|| format!("{} of unknown version", program.display()))
        // A distribution's remarks and a project's address say nothing more.
        .split(" - ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let field = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = field("/proc/meminfo", "MemTotal");
    let kilobytes = memory.and_then(|memory| memory.split_whitespace().next()?.parse::<f64>().ok());
    let kernel = first_line("uname", &["-sr"]).unwrap_or_default();
    format!("{cores} cores ({processor}), {:.0} GB, {kernel}", kilobytes.unwrap_or_default() / 1e6)
}
