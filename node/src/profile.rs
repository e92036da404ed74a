//! Where the CPU and the memory of the process go, for operators: profiles as `pprof` and its kin read them.

use std::time::Duration;

use jemalloc_pprof::PROF_CTL;
use pprof::ProfilerGuardBuilder;
use pprof::protos::Message as _;

/// Looks a second at every running thread. Not a round number, so that what happens every 10 ms is not always or never seen.
const FREQUENCY: i32 = 99;
/// Their code must not be walked through by a signal that came in the middle of it.
const NOT_LOOKED_AT: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("somebody else looks at the CPU right now")]
    Busy,
    #[error("the heap is not sampled: PATCH /admin/telemetry {{\"heap_profile\": true}}, and wait a while")]
    NotSampled,
    #[error("no profile: {0}")]
    Failed(String),
}

/// Where the CPU goes for a while, as an uncompressed `pprof` protobuf.
///
/// # Errors
/// When another one is being made, or there is no place for temporary files.
pub(crate) async fn cpu(duration: Duration) -> Result<Vec<u8>, ProfileError> {
    let guard = ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&NOT_LOOKED_AT).build();
    let guard = guard.map_err(|error| match error {
        pprof::Error::Running => ProfileError::Busy,
        other => ProfileError::Failed(other.to_string()),
    })?;
    tokio::time::sleep(duration).await;
    // Names are looked up in the binary, which takes a moment.
    let named = tokio::task::spawn_blocking(move || guard.report().build()?.pprof());
    let profile = named.await.map_err(|error| ProfileError::Failed(error.to_string()))?;
    Ok(profile.map_err(|error| ProfileError::Failed(error.to_string()))?.encode_to_vec())
}

/// Begins to note one in so many allocations (one each 512 KiB), or ends that and forgets them.
///
/// # Errors
/// When the allocator cannot.
pub(crate) async fn sample_heap(on: bool) -> Result<(), ProfileError> {
    let Some(heap) = PROF_CTL.as_ref() else {
        return Err(ProfileError::Failed("the allocator was built without".to_owned()));
    };
    let mut heap = heap.lock().await;
    let changed = if on == heap.activated() {
        Ok(())
    } else if on {
        heap.activate()
    } else {
        heap.deactivate()
    };
    changed.map_err(|error| ProfileError::Failed(error.to_string()))
}

pub(crate) async fn heap_is_sampled() -> bool {
    match PROF_CTL.as_ref() {
        Some(heap) => heap.lock().await.activated(),
        None => false,
    }
}

/// What was allocated since the sampling began and is still held, as a compressed `pprof` protobuf.
///
/// # Errors
/// When the heap is not sampled, or there is no place for temporary files.
pub(crate) async fn heap() -> Result<Vec<u8>, ProfileError> {
    if !heap_is_sampled().await {
        return Err(ProfileError::NotSampled);
    }
    let Some(heap) = PROF_CTL.clone() else { return Err(ProfileError::NotSampled) };
    let mut heap = heap.lock_owned().await;
    let dumped = tokio::task::spawn_blocking(move || heap.dump_pprof());
    let dumped = dumped.await.map_err(|error| ProfileError::Failed(error.to_string()))?;
    dumped.map_err(|error| ProfileError::Failed(format!("{error:#}")))
}
