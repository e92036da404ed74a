//! A look inside a running cluster, through the operators' ports of its nodes: `enfilade room`, `enfilade shard`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use enfilade_proto::RoomId;
use enfilade_store::Shard;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::secret::Secret;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes that an answer may have.
const ANSWER: usize = 64 << 20;

/// Whom to ask.
#[derive(Args, Clone, Debug)]
pub(super) struct Operators {
    /// The operators' port of any node, as host:port
    #[arg(long, default_value = "127.0.0.1:9090", env = "ENFILADE_ADMIN")]
    admin: String,
    /// The admin_token of the nodes; @FILE reads it from a file
    #[arg(long, default_value = "", env = "ENFILADE_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Secret,
}

impl Operators {
    pub(super) fn address(&self) -> &str {
        &self.admin
    }

    /// What a node tells at a path.
    pub(super) async fn text(&self, node: &str, path: &str) -> anyhow::Result<String> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(node, path));
        asked
            .await
            .unwrap_or_else(|_| bail!("no answer in {} s", PATIENCE.as_secs()))
            .with_context(|| node.to_owned())
    }

    pub(super) async fn json(&self, node: &str, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.text(node, path).await?)?)
    }

    async fn ask(&self, node: &str, path: &str) -> anyhow::Result<String> {
        let token = self.admin_token.clone().read().context("read the file of admin_token")?;
        let mut request = Request::get(path).header("host", node);
        if !token.is_none() {
            request = request.header("authorization", token.bearer());
        }
        let request = request.body(Full::new(Bytes::new()))?;
        let (status, text) = converse(TcpStream::connect(node).await?, request).await?;
        if status.is_success() {
            return Ok(text);
        }
        let message =
            serde_json::from_str::<Value>(&text).ok().and_then(|it| Some(it["message"].as_str()?.to_owned()));
        bail!("{status}: {}", message.unwrap_or(text))
    }

    /// All nodes as one of them sees them, those included that are gone.
    pub(super) async fn nodes(&self) -> anyhow::Result<Vec<Value>> {
        let cluster = self.json(&self.admin, "/admin/cluster").await?;
        Ok(cluster["nodes"].as_array().cloned().unwrap_or_default())
    }
}

/// Sends a request over a connection of its own.
pub(super) async fn converse<S>(
    socket: S,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, String)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("read the answer: {error}"))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The sums of all series of each metric, in the text format of Prometheus.
pub(super) fn figures(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        if let Ok(value) = value.parse::<f64>() {
            *sums.entry(name.to_owned()).or_default() += value;
        }
    }
    sums
}

/// The address of a node as told by another; a loopback address has its machine's name behind it.
pub(super) fn address_of(node: &Value) -> Option<&str> {
    node["address"].as_str()?.split('@').next()
}

/// Shows a room as its owner has it.
pub(super) async fn room(operators: &Operators, id: Uuid) -> anyhow::Result<()> {
    let shard = Shard::of(RoomId(id));
    let found = operators.json(operators.address(), &format!("/admin/shards/{shard}")).await?;
    let owner = &found["owner"];
    let Some(address) = address_of(owner) else {
        bail!("shard {shard}, which the room is in, has no owner right now")
    };
    println!("owner   {} at {address}, shard {shard}", owner["name"].as_str().unwrap_or("?"));
    let inspected = operators.json(address, &format!("/admin/rooms/{id}")).await;
    match inspected {
        Ok(room) => print(&room),
        Err(error) if format!("{error:#}").contains("404") => println!("the room is asleep: nobody is in it"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Shows who owns a shard, and its rooms that are awake.
pub(super) async fn shard(operators: &Operators, number: u16) -> anyhow::Result<()> {
    let path = format!("/admin/shards/{number}");
    let found = operators.json(operators.address(), &path).await?;
    let owner = &found["owner"];
    let Some(address) = address_of(owner) else { bail!("the shard has no owner right now") };
    print(owner);
    let there = operators.json(address, &path).await?;
    let rooms = there["awake_here"].as_array().cloned().unwrap_or_default();
    println!("rooms awake  {}", rooms.len());
    rooms.iter().filter_map(Value::as_str).for_each(|room| println!("  {room}"));
    Ok(())
}

fn print(object: &Value) {
    let fields: Vec<_> = object.as_object().into_iter().flatten().collect();
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("{name:width$}  {value}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn series_of_a_metric_are_summed() {
        let told = figures(
            "# TYPE a gauge\na 3\nb_total{reason=\"a b\"} 1\nb_total{reason=\"c\"} 2\nc nonsense\n\n",
        );
        assert_eq!(told, BTreeMap::from([("a".to_owned(), 3.0), ("b_total".to_owned(), 3.0)]));
    }

    #[test]
    fn a_node_is_reached_where_it_says() {
        assert_eq!(address_of(&json!({ "address": "10.0.0.7:9090" })), Some("10.0.0.7:9090"));
        assert_eq!(address_of(&json!({ "address": "127.0.0.1:9090@my-machine" })), Some("127.0.0.1:9090"));
        assert_eq!(address_of(&Value::Null), None);
    }
}
