//! A request that changes something is carried to its end, even if the one who asked has left.
//!
//! The server drops a handler when its connection closes. Between a commit and its announcement that would
//! leave sockets open that should close, and an `Idempotency-Key` without its answer.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::problem::Problem;
use crate::people::Refusal;

pub(super) async fn carry(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let carried = tokio::spawn(next.run(request).in_current_span());
    carried.await.unwrap_or_else(|error| Problem::from(Refusal::internal(error)).into_response())
}
