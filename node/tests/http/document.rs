//! The document tells the truth about the router, and the page works without any other site.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use axum::http::{Method, StatusCode};
use enfilade_node::api::document;
use enfilade_proto::ErrorCode;
use serde_json::Value;

use crate::world::World;

/// Paths that are about the document, or there to say that nothing is there.
const UNDOCUMENTED: [&str; 9] = [
    "/api",
    "/api/",
    "/api/{*rest}",
    "/api/openapi.json",
    "/swagger",
    "/swagger/",
    "/swagger/{*rest}",
    // The router's own marks for "nothing matched".
    "/",
    "/{*__private__axum_fallback}",
];

fn documented() -> Value {
    serde_json::to_value(document()).unwrap()
}

/// The paths of the router, out of its debug output: it offers no better way.
fn routed(router: &axum::Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let quoted = text.split('"').skip(1).step_by(2).filter(|it| it.starts_with('/'));
    quoted.map(str::to_owned).filter(|path| !UNDOCUMENTED.contains(&&**path)).collect()
}

#[test]
fn the_document_changes_only_on_purpose() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi.json");
    let text = serde_json::to_string_pretty(&documented()).unwrap() + "\n";
    if env::var_os("BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == text, "the document differs from {}; BLESS=1 rewrites it", file.display());
}

#[tokio::test]
async fn every_route_is_in_the_document_and_every_operation_is_routed() {
    let world = World::new().await;
    let document = documented();
    let paths: BTreeMap<&String, &Value> = document["paths"].as_object().unwrap().iter().collect();
    let names: BTreeSet<String> = paths.keys().map(|path| (*path).clone()).collect();
    assert_eq!(routed(&world.router), names);

    for (path, item) in paths {
        let concrete = path.replace("{id}", "x").replace("{link}", "x").replace("{user}", "x");
        let answer = world.guest().send_bytes(Method::TRACE, &concrete, Vec::new().into()).await;
        answer.refused(405, "method_not_allowed");
        let allowed = answer.headers["allow"].to_str().unwrap().to_lowercase();
        let allowed: BTreeSet<&str> = allowed.split(',').filter(|&method| method != "head").collect();
        let documented: BTreeSet<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

#[test]
fn every_operation_says_what_it_is_for() {
    let document = documented();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{method} {path}");
            let problem = &operation["responses"]["default"]["$ref"];
            assert_eq!(problem, "#/components/responses/Problem", "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let described = response["description"].is_string() || response["$ref"].is_string();
                assert!(described, "{method} {path} does not describe {status}");
            }
            let mut parameters = BTreeSet::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                parameters.insert(parameter["name"].as_str().unwrap().to_owned());
            }
            for part in path.split('{').skip(1).filter_map(|part| part.split('}').next()) {
                assert!(parameters.contains(part), "{method} {path} does not describe {part}");
            }
            let repeatable = method == "post" && !path.starts_with("/api/v1/auth/");
            assert_eq!(parameters.contains("Idempotency-Key"), repeatable, "{method} {path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = documented();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn the_document_is_served_as_it_is() {
    let world = World::new().await;
    let answer = world.guest().get("/api/openapi.json").await;
    assert_eq!(answer.expect(StatusCode::OK).body, documented());
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn the_page_needs_no_other_site() {
    let world = World::new().await;
    let page = world.guest().get("/swagger/").await;
    page.expect(StatusCode::OK);
    let html = str::from_utf8(&page.bytes).unwrap().to_owned();
    let mut files = vec!["swagger-initializer.js".to_owned()];
    for attribute in ["src=\"", "href=\""] {
        files.extend(html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(files.len() >= 5, "{files:?}");
    for file in &files {
        assert!(!file.contains("//"), "the page loads {file}");
        let path = format!("/swagger/{}", file.trim_start_matches("./"));
        let answer = world.guest().get(&path).await;
        answer.expect(StatusCode::OK);
        assert!(!answer.bytes.is_empty());
        if file.ends_with(".css") {
            let css = String::from_utf8_lossy(&answer.bytes).into_owned();
            assert!(!css.contains("url(http") && !css.contains("@import"), "{file}");
        }
    }
    let start = world.guest().get("/swagger/swagger-initializer.js").await;
    let start = str::from_utf8(&start.bytes).unwrap();
    assert!(start.contains("/api/openapi.json"), "{start}");
    assert!(start.contains("\"validatorUrl\": \"none\""), "{start}");
    assert!(!start.contains("http://") && !start.contains("https://"), "{start}");
    let redirect = world.guest().get("/swagger").await;
    assert_eq!(redirect.headers["location"], "/swagger/");
}

#[test]
fn every_code_has_a_status_and_a_meaning() {
    for code in ErrorCode::ALL {
        assert!((400..600).contains(&code.http_status()), "{code}");
        assert!(!code.meaning().is_empty(), "{code}");
    }
}
