//! Whether the history of a concurrent trace is one: every transaction knows its past, and nobody contradicts
//! themselves.

use super::{Trace, TraceError};

/// Of each transaction: how many of each agent's transactions it contains, itself included.
pub(super) type Versions = Vec<Box<[u32]>>;

/// Numbers that all versions together may have: a trace of this size is none that anybody typed.
const MOST: usize = 50_000_000;

/// The rules that traces keep. `children` is what the trace says of how many follow each transaction, if it does.
pub(super) fn check(trace: &Trace, children: &[Option<usize>]) -> Result<Versions, TraceError> {
    let agents = trace.agents as usize;
    if trace.transactions.len().saturating_mul(agents) > MOST {
        return Err(TraceError::NotATrace("there are too many agents and transactions".into()));
    }
    let mut history = History { versions: Vec::new(), own: Vec::new(), totals: vec![0; agents], trace };
    let mut followers = vec![0; trace.transactions.len()];
    for txn in 0..trace.transactions.len() {
        history.add(txn).map_err(|problem| TraceError::Transaction { txn, problem })?;
        trace.transactions[txn].parents.iter().for_each(|parent| followers[*parent] += 1);
    }
    if let Some(txn) =
        (0..followers.len()).find(|txn| children[*txn].is_some_and(|said| said != followers[*txn]))
    {
        let problem = format!("it has {} children, not as many as it says", followers[txn]);
        return Err(TraceError::Transaction { txn, problem });
    }
    if history.versions.last().is_some_and(|last| **last != *history.totals) {
        let txn = trace.transactions.len() - 1;
        return Err(TraceError::Transaction {
            txn,
            problem: "the last one does not follow all others".into(),
        });
    }
    Ok(history.versions)
}

struct History<'a> {
    trace: &'a Trace,
    versions: Versions,
    /// Which of its agent's transactions each one is, from 1.
    own: Vec<u32>,
    totals: Vec<u32>,
}

impl History<'_> {
    fn add(&mut self, txn: usize) -> Result<(), String> {
        let transaction = &self.trace.transactions[txn];
        let (agent, parents) = (transaction.agent as usize, &transaction.parents);
        if agent >= self.totals.len() {
            return Err(format!("agent {agent} of {}; they count from 0", self.totals.len()));
        }
        if let Some(parent) = parents.iter().find(|parent| **parent >= txn) {
            return Err(format!("its parent {parent} does not come before it"));
        }
        if parents.is_empty() != (txn == 0) {
            return Err("the first one has no parents, and no other".into());
        }
        if transaction.patches.is_empty() && txn + 1 < self.trace.transactions.len() {
            return Err("it has no patches".into());
        }
        let concurrent = |a: usize, b: usize| !self.contains(a, b) && !self.contains(b, a);
        for (i, a) in parents.iter().enumerate() {
            if let Some(b) = parents[..i].iter().find(|b| !concurrent(*a, **b)) {
                return Err(format!("of its parents {b} and {a} one follows the other"));
            }
        }
        let mut version = vec![0; self.totals.len()].into_boxed_slice();
        for parent in parents {
            version
                .iter_mut()
                .zip(&self.versions[*parent])
                .for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
        }
        if version[agent] != self.totals[agent] {
            return Err(format!("agent {agent} does not know what they did before"));
        }
        version[agent] += 1;
        self.totals[agent] += 1;
        self.own.push(version[agent]);
        self.versions.push(version);
        Ok(())
    }

    /// Whether `later` follows `earlier`, or is it.
    fn contains(&self, later: usize, earlier: usize) -> bool {
        let agent = self.trace.transactions[earlier].agent as usize;
        self.versions[later][agent] >= self.own[earlier]
    }
}
