//! When something was broken and when it was mended, as a file that the checker reads beside the clients' journal.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use enfilade_loadtest::clock::Micros;
use enfilade_loadtest::journal::{Fault, Phase};

#[derive(Debug)]
pub struct Marks {
    path: PathBuf,
    file: File,
    /// All of them, in order.
    marks: Vec<Fault>,
}

impl Marks {
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::create(path)?, marks: Vec::new() })
    }

    /// It is broken from now on; rooms may stand still so long.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn inject(&mut self, fault: &str, limit: Duration) -> io::Result<()> {
        self.mark(fault, Phase::Inject, Some(limit.as_secs_f64() * 1e3))
    }

    /// It is mended.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn heal(&mut self, fault: &str) -> io::Result<()> {
        self.mark(fault, Phase::Heal, None)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn all(&self) -> &[Fault] {
        &self.marks
    }

    /// When the first mark from one on was made and when the last, in microseconds since 1970.
    #[must_use]
    pub fn span(&self, first: usize) -> (Micros, Micros) {
        let at = |mark: Option<&Fault>| mark.map_or(0, |mark| (mark.at * 1e3) as Micros);
        (at(self.marks.get(first)), at(self.marks.last()))
    }

    fn mark(&mut self, fault: &str, phase: Phase, limit_ms: Option<f64>) -> io::Result<()> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3;
        let mark = Fault { at, fault: fault.to_owned(), phase, limit_ms };
        writeln!(self.file, "{}", serde_json::to_string(&mark)?)?;
        self.marks.push(mark);
        Ok(())
    }
}
