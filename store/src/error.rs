//! What can go wrong, named by what the caller does next.

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was changed; the same call may succeed later.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A write may or may not have happened: look before anything is acknowledged.
    #[error("the database did not say whether it wrote")]
    UnknownOutcome(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read is not what was written.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    /// Something of that name exists.
    #[error("it exists already")]
    Exists,
    /// What it should belong to (the room, the person, the link) does not exist, or no longer.
    #[error("what it belongs to does not exist")]
    Missing,
    /// Another process works on this database file.
    #[error("the database is in use by another process")]
    InUse,
    /// The schema is not the one this version works with.
    #[error("the schema is at version {found}, this program needs {needed}: {}", remedy(*.found, *.needed))]
    Schema { found: i64, needed: i64 },
}

fn remedy(found: i64, needed: i64) -> &'static str {
    if found < needed {
        "run `enfilade migrate up`"
    } else {
        "use the newer program, or migrate down with it"
    }
}
