//! How long a request may take.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use enfilade_proto::ErrorCode;

use crate::api::{Problem, trace};

/// Its body included.
const REQUEST: Duration = Duration::from_secs(30);

/// Refuses what takes too long.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    let trace = trace::asked(request.headers());
    match tokio::time::timeout(REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("the request took longer than {} s", REQUEST.as_secs());
            let late = Problem::new(ErrorCode::Busy, message);
            late.tell(Some(StatusCode::REQUEST_TIMEOUT), trace).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_refused_by_name() {
        let slow = || tokio::time::sleep(REQUEST * 2);
        let router = Router::new().route("/", get(slow)).layer(from_fn(in_time));
        let request = Request::get("/")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&"busy".into(), &408.into()));
        assert_eq!(problem["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    }
}
