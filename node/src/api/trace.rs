//! The trace that a request belongs to: that of its client, if it came with a `traceparent`, or that of the op in it.
//!
//! Innermost of the layers: what is carried to its end runs in a task of its own.

use std::cell::Cell;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use enfilade_actors::trace::Span;
use enfilade_proto::TraceParent;

use crate::edge::Sampling;

/// A header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Cell<Option<TraceParent>>;
}

/// The trace of the request that is being worked on, and the last step of it.
pub(crate) fn current() -> Option<TraceParent> {
    CURRENT.try_with(Cell::get).ok().flatten()
}

/// What goes wrong with the request from now on bears the id of this trace.
pub(crate) fn go_on(step: TraceParent) {
    // Outside of a request there is nobody to be told of errors.
    let _ = CURRENT.try_with(|current| current.set(Some(step)));
}

/// Makes a request a step of its client's trace, if that is recorded, and errors bear the trace's id in any case.
pub(super) async fn follow(request: Request, next: Next) -> Response {
    let asked = asked(request.headers());
    let sampling = request.extensions().get::<Arc<Sampling>>();
    let span = asked.zip(sampling).and_then(|(parent, sampling)| sampling.request(parent)).map(|span| {
        let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let method = request.method().to_string();
        span.with("http.request.method", method).with("http.route", path.to_owned())
    });
    let unrecorded = asked.map(|parent| TraceParent { sampled: false, ..parent });
    let current = span.as_ref().map(Span::context).or(unrecorded);
    let response = CURRENT.scope(Cell::new(current), next.run(request)).await;
    if let Some(mut span) = span {
        let status = response.status();
        span.note("http.response.status_code", u64::from(status.as_u16()));
        if status.is_server_error() {
            span.fail(status.to_string());
        }
    }
    response
}

/// What makes no sense is ignored, as the recommendation wants it.
pub(crate) fn asked(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()?.parse().ok()
}
