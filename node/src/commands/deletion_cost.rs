//! `enfilade deletion-cost`: tells Kubernetes how many people each node serves, so that it takes the emptiest pods when it scales in.
//!
//! It runs beside the nodes and not in them: what serves the internet has no token for the API of its Kubernetes. The annotation is
//! described at <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost>.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::operate::{converse, figures};

const ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";
/// How long the API or a node may take to answer,
const PATIENCE: Duration = Duration::from_secs(10);
/// and how long all nodes together. Whoever was not heard of by then is left out this time.
const ALL: Duration = Duration::from_secs(30);
/// Nodes that are asked at the same time.
const AT_ONCE: usize = 64;

#[derive(Args, Debug)]
pub(super) struct DeletionCost {
    /// The pods of the nodes, as a label selector
    #[arg(long)]
    selector: String,
    /// The port of the pods for operators
    #[arg(long, default_value_t = 9090)]
    admin_port: u16,
    /// Seconds between two looks
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
    /// Look once and end
    #[arg(long)]
    once: bool,
    /// The folder with the account's token, ca.crt and namespace
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    account: PathBuf,
    /// The API, as https://host:port [default: where Kubernetes tells its pods that it is]
    #[arg(long, env = "ENFILADE_KUBERNETES_API")]
    api: Option<Uri>,
}

/// A pod as the API tells of it.
#[derive(Clone, Debug, PartialEq)]
struct Pod {
    name: String,
    address: IpAddr,
    cost: i32,
}

/// Those that run and have an address.
fn running(list: &Value) -> Vec<Pod> {
    let pod = |item: &Value| {
        let running = item["status"]["phase"] == "Running" && item["metadata"]["deletionTimestamp"].is_null();
        let cost = item["metadata"]["annotations"][ANNOTATION].as_str().and_then(|cost| cost.parse().ok());
        let pod = Pod {
            name: item["metadata"]["name"].as_str()?.to_owned(),
            address: item["status"]["podIP"].as_str()?.parse().ok()?,
            cost: cost.unwrap_or(0),
        };
        running.then_some(pod)
    };
    list["items"].as_array().into_iter().flatten().filter_map(pod).collect()
}

/// What a pod's cost should be said to be now. Nothing while it is nearly right: everybody who watches pods hears of every change.
fn new_cost(said: i32, connections: u32) -> Option<i32> {
    let cost = i32::try_from(connections).unwrap_or(i32::MAX);
    let differs = cost.abs_diff(said);
    (differs > 0 && (cost == 0 || differs > cost.unsigned_abs() / 10)).then_some(cost)
}

/// The API of Kubernetes.
struct Api {
    uri: Uri,
    tls: TlsConnector,
    token: PathBuf,
    namespace: String,
}

impl Api {
    fn open(account: &DeletionCost) -> anyhow::Result<Self> {
        let uri = match &account.api {
            Some(uri) => uri.clone(),
            None => in_cluster()?,
        };
        let file = |name: &str| account.account.join(name);
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file("ca.crt"));
        for certificate in certificates.with_context(|| format!("read {}", file("ca.crt").display()))? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let namespace = std::fs::read_to_string(file("namespace"))
            .with_context(|| format!("read {}", file("namespace").display()))?;
        let namespace = namespace.trim().to_owned();
        Ok(Self { uri, tls: TlsConnector::from(Arc::new(config)), token: file("token"), namespace })
    }

    async fn ask(&self, method: Method, path: &str, patch: Option<Value>) -> anyhow::Result<String> {
        let host = self.uri.host().context("the API has no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())?;
        let socket = TcpStream::connect((bare, self.uri.port_u16().unwrap_or(443))).await?;
        let socket = self.tls.connect(name, socket).await?;
        // Kubernetes writes it anew every hour or so.
        let token =
            std::fs::read_to_string(&self.token).with_context(|| format!("read {}", self.token.display()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("accept", "application/json")
            .header("authorization", format!("Bearer {}", token.trim()))
            .header("content-type", "application/merge-patch+json")
            .body(Full::new(Bytes::from(patch.map(|patch| patch.to_string()).unwrap_or_default())))?;
        let (status, body) = converse(socket, request).await?;
        if status.is_success() { Ok(body) } else { bail!("{status}: {body}") }
    }

    async fn pods(&self, selector: &str) -> anyhow::Result<Vec<Pod>> {
        let selector = utf8_percent_encode(selector, NON_ALPHANUMERIC);
        let path = format!("/api/v1/namespaces/{}/pods?labelSelector={selector}", self.namespace);
        let list = self.ask(Method::GET, &path, None).await.context("list the pods")?;
        Ok(running(&serde_json::from_str(&list)?))
    }

    async fn set_cost(&self, pod: &str, cost: i32) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}", self.namespace);
        let patch = json!({ "metadata": { "annotations": { ANNOTATION: cost.to_string() } } });
        self.ask(Method::PATCH, &path, Some(patch)).await.with_context(|| format!("annotate {pod}"))?;
        Ok(())
    }
}

/// Where Kubernetes tells its pods that the API is.
fn in_cluster() -> anyhow::Result<Uri> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set, nor --api"));
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{port}").parse()?)
}

impl DeletionCost {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let api = Api::open(&self)?;
        loop {
            let looked = self.look(&api).await;
            if self.once {
                return looked;
            }
            if let Err(error) = looked {
                tracing::warn!("the costs stay as they are: {error:#}");
            }
            sleep(Duration::from_secs(self.every)).await;
        }
    }

    async fn look(&self, api: &Api) -> anyhow::Result<()> {
        let pods = timeout(PATIENCE, api.pods(&self.selector)).await;
        for (pod, connections) in self.ask(pods.context("the API does not answer")??).await {
            if let Some(cost) = new_cost(pod.cost, connections) {
                let set = timeout(PATIENCE, api.set_cost(&pod.name, cost)).await;
                match set.context("the API does not answer")? {
                    Ok(()) => tracing::info!(pod = pod.name, cost, "annotated"),
                    // It may be gone by now; the others are not.
                    Err(error) => tracing::warn!(pod = pod.name, "keeps its cost: {error:#}"),
                }
            }
        }
        Ok(())
    }

    /// How many connections each has. Of those that do not say, nothing is known, so nothing will be said.
    async fn ask(&self, pods: Vec<Pod>) -> Vec<(Pod, u32)> {
        let asked = stream::iter(pods).map(async |pod| {
            let told = timeout(PATIENCE, self.connections(&pod)).await.map_err(anyhow::Error::from).flatten();
            let told = told.inspect_err(|error| tracing::debug!(pod = pod.name, "tells nothing: {error:#}"));
            told.ok().map(|connections| (pod, connections))
        });
        let told: Vec<_> = asked.buffer_unordered(AT_ONCE).take_until(sleep(ALL)).collect().await;
        told.into_iter().flatten().collect()
    }

    async fn connections(&self, pod: &Pod) -> anyhow::Result<u32> {
        let socket = TcpStream::connect((pod.address, self.admin_port)).await?;
        let request = Request::get("/metrics").header("host", &pod.name).body(Full::new(Bytes::new()))?;
        let (status, metrics) = converse(socket, request).await?;
        if !status.is_success() {
            bail!("{status}");
        }
        let connections = figures(&metrics).get("enfilade_connections").copied();
        Ok(connections.context("no enfilade_connections among the metrics")? as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_running_pods_count() {
        let pod = |name: &str, phase: &str, cost: Value| {
            json!({
                "metadata": { "name": name, "annotations": { ANNOTATION: cost } },
                "status": { "phase": phase, "podIP": "10.0.0.1" },
            })
        };
        let mut leaving = pod("leaving", "Running", json!("3"));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let young = json!({ "metadata": { "name": "young" }, "status": { "phase": "Running" } });
        let list = json!({ "items": [
            pod("a", "Running", json!("12")),
            pod("b", "Pending", json!("1")),
            pod("c", "Running", json!("nonsense")),
            leaving,
            young,
        ] });
        let address = "10.0.0.1".parse().unwrap();
        let named = |name: &str, cost| Pod { name: name.to_owned(), address, cost };
        assert_eq!(running(&list), [named("a", 12), named("c", 0)]);
        assert_eq!(running(&Value::Null), []);
    }

    #[test]
    fn what_is_nearly_right_stays() {
        assert_eq!(new_cost(0, 0), None);
        assert_eq!(new_cost(0, 1), Some(1));
        assert_eq!(new_cost(1_000, 1_050), None);
        assert_eq!(new_cost(1_000, 1_200), Some(1_200));
        assert_eq!(new_cost(5, 0), Some(0));
        assert_eq!(new_cost(-7, u32::MAX), Some(i32::MAX));
    }

    proptest! {
        #[test]
        fn a_cost_that_was_set_is_not_set_again(said: i32, connections: u32) {
            if let Some(cost) = new_cost(said, connections) {
                prop_assert_eq!(new_cost(cost, connections), None);
            }
        }
    }
}
