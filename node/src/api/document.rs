//! The description of the API (OpenAPI) and the page on which to try it (Swagger UI, from our own binary).

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, body::Bytes};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, Info, InfoBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem;

const PATH: &str = "/api/openapi.json";

/// Everything that the API can do.
#[must_use]
pub fn document() -> OpenApi {
    complete(super::routes().into_openapi())
}

/// Adds to the routes' own descriptions what is true of all of them.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    document.info = info();
    document.tags = Some(
        [
            ("people", "Accounts, devices and profiles"),
            ("rooms", "Rooms and who may enter them"),
            ("content", "What is in a room; the socket of PROTOCOL.md does the same live"),
        ]
        .map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build())
        .into(),
    );
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        for (status, response) in &mut operation.responses.responses {
            describe(status, response);
        }
        let problem = RefOr::Ref(Ref::from_response_name("Problem"));
        operation.responses.responses.insert("default".to_owned(), problem);
    }
    add_components(document.components.get_or_insert_with(Components::new));
    document
}

/// The document and the page.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(document: &OpenApi) -> Router<S> {
    let json = Bytes::from(enfilade_proto::Codec::Json.encode_value(document));
    let serve = async move || {
        ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], json.clone()).into_response()
    };
    // The page would otherwise ask a foreign server whether our document is valid.
    let config = Config::from(PATH).validator_url("none").try_it_out_enabled(true);
    Router::from(SwaggerUi::new("/swagger").config(config)).route(PATH, get(serve))
}

fn info() -> Info {
    InfoBuilder::new()
        .title("Enfilade")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Rooms that people draw, write and talk in together. Everything that the socket can do to durable \
             state, this can do too. Times are milliseconds since 1970. Send the access token as \
             `Authorization: Bearer …`; without one you are a guest. Send the secret of a share link as \
             `Enfilade-Link: …`. Skip fields that you do not know: there will be more.",
        ))
        .build()
}

fn add_components(components: &mut Components) {
    components.schemas.extend(problem::schemas());
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("Why the request was refused")
        .content("application/problem+json", content)
        .build();
    components.responses.insert("Problem".to_owned(), problem.into());
    components.add_security_scheme("access_token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme(
        "refresh_cookie",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-enfilade"))),
    );
}

/// A description is required, and the summary has said it all.
fn describe(status: &str, response: &mut RefOr<Response>) {
    if let RefOr::T(response) = response
        && response.description.is_empty()
    {
        let text = match status {
            "201" => "It was made",
            "204" => "It was done",
            _ => "What was asked for",
        };
        text.clone_into(&mut response.description);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}
