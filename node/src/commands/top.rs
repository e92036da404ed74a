//! `enfilade top`: the cluster as it is right now, time and again: its nodes, the rooms in which most is going on, and the connections
//! that lag the most.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::operate::{Operators, address_of, figures};

#[derive(Args, Debug)]
pub(super) struct Top {
    #[command(flatten)]
    operators: Operators,
    /// Seconds between two looks
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    every: f64,
    /// Rooms that are shown
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Connections that are shown
    #[arg(long, default_value_t = 5)]
    connections: usize,
    /// Look once and end
    #[arg(long)]
    once: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    if (0.1..=3_600.0).contains(&seconds) { Ok(seconds) } else { Err("between 0.1 and 3600".to_owned()) }
}

impl Top {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let live = !self.once && std::io::stdout().is_terminal();
        let mut before = self.look().await?;
        loop {
            tokio::time::sleep(Duration::from_secs_f64(self.every)).await;
            let now = self.look().await?;
            let shown = show(&before, &now, self.every, self.rooms, self.connections);
            let mut out = std::io::stdout().lock();
            // From the top of the screen, and nothing of the last time below.
            let drawn = if live { write!(out, "\x1b[H\x1b[2J{shown}") } else { writeln!(out, "{shown}") };
            // Whoever read this has gone.
            if drawn.and_then(|()| out.flush()).is_err() || self.once {
                return Ok(());
            }
            before = now;
        }
    }

    async fn look(&self) -> anyhow::Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for node in self.operators.nodes().await? {
            if node["expired"] == true || node["state"] == "dead" {
                continue;
            }
            let address = address_of(&node).unwrap_or_default().to_owned();
            let told = async {
                let metrics = self.operators.text(&address, "/metrics").await?;
                let rooms =
                    self.operators.json(&address, &format!("/admin/rooms?limit={}", self.rooms)).await?;
                let slowest = format!("/admin/connections?limit={}", self.connections);
                let connections = self.operators.json(&address, &slowest).await;
                // A node of the version before knows nothing of them.
                anyhow::Ok(Told {
                    figures: figures(&metrics),
                    rooms,
                    connections: connections.unwrap_or_default(),
                })
            };
            seen.push(Seen { told: told.await.map_err(|error| format!("{error:#}")), node });
        }
        Ok(seen)
    }
}

/// A node at one look.
#[derive(Debug)]
struct Seen {
    /// As others see it.
    node: Value,
    told: Result<Told, String>,
}

/// What a node tells itself.
#[derive(Debug)]
struct Told {
    /// By name.
    figures: BTreeMap<String, f64>,
    rooms: Value,
    connections: Value,
}

const COLUMNS: [&str; 11] = [
    "NODE",
    "STATE",
    "SHARDS",
    "ROOMS",
    "PEOPLE",
    "OPS/S",
    "SIGNALS/S",
    "DELIVERIES/S",
    "SENT",
    "CPU",
    "MEMORY",
];

fn show(before: &[Seen], now: &[Seen], seconds: f64, most_rooms: usize, most_connections: usize) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
    let mut troubles = Vec::new();
    for seen in now {
        let name = seen.node["name"].as_str().unwrap_or("?").to_owned();
        let state = seen.node["state"].as_str().unwrap_or("?").to_owned();
        let mut row = vec![name.clone(), state, seen.node["shards"].to_string()];
        match &seen.told {
            Ok(Told { figures, rooms, .. }) => {
                let earlier = before
                    .iter()
                    .find(|earlier| earlier.node["incarnation"] == seen.node["incarnation"])
                    .and_then(|earlier| earlier.told.as_ref().ok());
                let figure = |name: &str| figures.get(name).copied().unwrap_or(0.0);
                let rate = |name: &str| {
                    let earlier = earlier.and_then(|told| told.figures.get(name)).copied();
                    earlier.map_or(0.0, |earlier| (figure(name) - earlier).max(0.0) / seconds)
                };
                row.extend([
                    rooms["awake"].to_string(),
                    figure("enfilade_connections").to_string(),
                    format!("{:.0}", rate("enfilade_ops_committed_total")),
                    format!("{:.0}", rate("enfilade_signals_total")),
                    format!("{:.0}", rate("enfilade_deliveries_total")),
                    format!("{}/s", bytes(rate("enfilade_sent_bytes_total"))),
                    format!("{:.0} %", 100.0 * rate("enfilade_cpu_seconds")),
                    bytes(figure("process_resident_memory_bytes")),
                ]);
            }
            Err(trouble) => troubles.push(format!("{name} tells nothing: {trouble}")),
        }
        rows.push(row);
    }
    let mut shown = table(&rows);
    for trouble in troubles {
        let _ = writeln!(shown, "{trouble}");
    }
    shown + "\n" + &table(&hottest(now, most_rooms)) + "\n" + &table(&slowest(now, most_connections))
}

fn slowest(now: &[Seen], most: usize) -> Vec<Vec<String>> {
    let mut connections: Vec<(&str, &Value)> = Vec::new();
    for seen in now {
        let Ok(told) = &seen.told else { continue };
        let name = seen.node["name"].as_str().unwrap_or("?");
        let all = told.connections["connections"].as_array().into_iter().flatten();
        connections.extend(all.map(|connection| (name, connection)));
    }
    let lag = |connection: &Value| {
        ["stalled_ms", "waiting_bytes", "late_rooms", "round_trip_ms"]
            .map(|name| connection[name].as_u64().unwrap_or(0))
    };
    connections.sort_by_key(|(_, connection)| std::cmp::Reverse(lag(connection)));
    let mut rows = vec![
        ["SLOWEST", "EDGE", "STALLED", "WAITING", "LATE", "PING", "ROOMS", "CLIENT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (edge, connection) in connections.into_iter().take(most) {
        let [stalled_ms, waiting, late, _] = lag(connection);
        rows.push(vec![
            connection["name"].as_str().unwrap_or("(audience)").to_owned(),
            edge.to_owned(),
            format!("{:.1} s", stalled_ms as f64 / 1_000.0),
            bytes(waiting as f64),
            late.to_string(),
            connection["round_trip_ms"].as_u64().map_or("-".to_owned(), |ms| format!("{ms} ms")),
            connection["rooms"].as_array().map_or(0, Vec::len).to_string(),
            connection["client"].as_str().unwrap_or("?").to_owned(),
        ]);
    }
    rows
}

fn hottest(now: &[Seen], most: usize) -> Vec<Vec<String>> {
    let mut rooms: Vec<(f64, &str, &Value)> = Vec::new();
    for seen in now {
        let Ok(told) = &seen.told else { continue };
        let name = seen.node["name"].as_str().unwrap_or("?");
        for room in told.rooms["rooms"].as_array().into_iter().flatten() {
            rooms.push((room["ops_per_second"].as_f64().unwrap_or(0.0), name, &room["room"]));
        }
    }
    rooms.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    let mut rows = vec![
        ["ROOM", "KIND", "OWNER", "OPS/S", "PEOPLE", "AUDIENCE", "EDGES", "OPS", "PENDING"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (ops_per_second, owner, room) in rooms.into_iter().take(most) {
        let text = |name: &str| room[name].as_str().map_or_else(|| room[name].to_string(), str::to_owned);
        rows.push(vec![
            text("room"),
            text("kind"),
            owner.to_owned(),
            format!("{ops_per_second:.1}"),
            text("people"),
            text("audience"),
            text("edges"),
            text("head"),
            text("pending_ops"),
        ]);
    }
    rows
}

/// Columns as wide as what is in them; names to the left, numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_name = |column: usize| {
        rows.iter()
            .skip(1)
            .filter_map(|row| row.get(column))
            .any(|it| it.starts_with(|c: char| !c.is_ascii_digit()))
    };
    let names: Vec<bool> = (0..columns).map(|column| column == 0 || is_name(column)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), name) in row.iter().zip(&widths).zip(&names) {
            let _ = if *name { write!(line, "{cell:width$}  ") } else { write!(line, "{cell:>width$}  ") };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn bytes(count: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut scaled = count;
    let mut unit = 0;
    while scaled >= 1_000.0 && unit + 1 < UNITS.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    if unit == 0 || scaled >= 100.0 {
        format!("{scaled:.0} {}", UNITS[unit])
    } else {
        format!("{scaled:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(ops: f64) -> Seen {
        let metrics = format!(
            "# TYPE enfilade_connections gauge\nenfilade_connections 3\nenfilade_ops_committed_total {ops}\n\
             enfilade_closed_total{{reason=\"a b\"}} 1\nenfilade_closed_total{{reason=\"c\"}} 2\nprocess_resident_memory_bytes 12345678\n"
        );
        let rooms = json!({ "awake": 2, "rooms": [
            { "ops_per_second": 1.5, "room": { "room": "cold", "kind": "board", "people": 1 } },
            { "ops_per_second": 9.25, "room": { "room": "hot", "kind": "board", "people": 2 } },
        ] });
        let connections = json!({ "connections": [
            { "name": "Ada", "client": "quick", "stalled_ms": 0, "waiting_bytes": 0, "late_rooms": 0, "round_trip_ms": 20, "rooms": ["r"] },
            { "name": null, "client": "stuck", "stalled_ms": 2_500, "waiting_bytes": 1_000, "late_rooms": 1, "round_trip_ms": null, "rooms": ["r"] },
        ] });
        let node = json!({ "name": "node-1", "incarnation": "x", "state": "alive", "shards": 4096 });
        Seen { node, told: Ok(Told { figures: figures(&metrics), rooms, connections }) }
    }

    #[test]
    fn nodes_have_rates_and_the_hottest_room_is_first() {
        let shown = show(&[seen(100.0)], &[seen(150.0)], 2.0, 10, 5);
        let lines: Vec<&str> = shown.lines().collect();
        let node: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(node[..6], ["node-1", "alive", "4096", "2", "3", "25"], "{shown}");
        assert!(lines[1].contains("12.3 MB"));
        assert!(
            lines[4].starts_with("hot") && lines[4].contains("9.2") && lines[5].starts_with("cold"),
            "{shown}"
        );
        let slowest: Vec<&str> = lines[8].split_whitespace().collect();
        assert_eq!(
            slowest,
            ["(audience)", "node-1", "2.5", "s", "1.0", "KB", "1", "-", "1", "stuck"],
            "{shown}"
        );
        assert!(lines[9].starts_with("Ada") && lines[9].contains("20 ms"), "{shown}");
        assert_eq!(
            show(&[], &[seen(150.0)], 2.0, 1, 1).lines().count(),
            8,
            "one room, one connection, and no rate without an earlier look"
        );
    }

    #[test]
    fn a_node_that_tells_nothing_is_named() {
        let silent = Seen { told: Err("connection refused".into()), ..seen(0.0) };
        assert!(show(&[], &[silent], 1.0, 5, 5).contains("node-1 tells nothing: connection refused"));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [0.0, 999.0, 1_000.0, 123_456.0, 1.5e12].map(bytes),
            ["0 B", "999 B", "1.0 KB", "123 KB", "1.5 TB"]
        );
    }
}
