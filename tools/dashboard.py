"""The Grafana dashboard: its rows follow a request from the edge to the database and back."""

import json

RELEASE = 'namespace=~"$namespace",release=~"$release"'
NODES = f'{RELEASE},pod=~"$pod"'


def rate(metric, by="pod", more=""):
    return f"sum by ({by}) (rate({metric}{{{NODES}{more}}}[$__rate_interval]))"


def quantiles(metric):
    return [
        (f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{NODES}}}[$__rate_interval])))", name)
        for q, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
    ]


def gauge(metric, more=""):
    return f"{metric}{{{NODES}{more}}}"


# Row, and its panels: title, unit, queries (expression, legend), what it says.
ROWS = [
    ("How it is", [
        ("Nodes", "short", [(f"max by (state) (enfilade_nodes{{{RELEASE}}})", "{{state}}")],
         "As the nodes see each other: the largest number that one of them tells."),
        ("Connections", "short", [(f"sum({gauge('enfilade_connections')})", "people")], "Everybody who said hello."),
        ("Ops seen within 250 ms", "percentunit",
         [(f'sum(rate(enfilade_op_visible_seconds_bucket{{{NODES},le="0.25"}}[$__rate_interval])) / sum(rate(enfilade_op_visible_seconds_count{{{NODES}}}[$__rate_interval]))', "in time")],
         "The objective is 99 %."),
        ("Shards owned", "short", [(f"sum by (namespace, release) (enfilade_shards_owned{{{RELEASE}}})", "{{namespace}} {{release}}")],
         "4,096, but for moments of a handover. Fewer: rooms without an owner. More: an owner that does not know that it was replaced."),
    ]),
    ("People come in", [
        ("Connections, by node", "short", [(gauge("enfilade_connections"), "{{pod}}"), (f"max({gauge('enfilade_connections_limit')})", "limit of one")], ""),
        ("Hellos and joins", "ops", [(f"sum({rate('enfilade_hellos_total')})", "hellos"), (f"sum({rate('enfilade_joins_total')})", "joins")],
         "A crowd that comes back shows here first."),
        ("Turned away", "ops", [(rate("enfilade_handshakes_refused_total", "reason"), "handshake: {{reason}}"), (rate("enfilade_greetings_refused_total", "reason"), "hello: {{reason}}")], ""),
        ("Closed by the nodes", "ops", [(rate("enfilade_closed_total", "reason"), "{{reason}}")], ""),
    ]),
    ("What they send", [
        ("Ops answered", "ops", [(rate("enfilade_ops_total", "outcome"), "{{outcome}}")], ""),
        ("Op → on disk and acknowledged", "s", quantiles("enfilade_op_ack_seconds"), "Seen from the edge: the way to the owner and back is in it."),
        ("Op → seen", "s", quantiles("enfilade_op_visible_seconds"), "The same, until that edge has also written it to those in the room. The dots are traced ops."),
        ("Signals", "ops", [(f"sum({rate('enfilade_signals_total')})", "sent on"), (f"sum({rate('enfilade_signals_conflated_total')})", "replaced by a newer one"), (f"sum({rate('enfilade_signals_dropped_total')})", "no room")], ""),
        ("Refused, by code", "ops", [(rate("enfilade_refusals_total", "code"), "{{code}}")], ""),
    ]),
    ("Owners", [
        ("Rooms awake", "short", [(gauge("enfilade_rooms_awake"), "{{pod}}")], ""),
        ("Shards owned, by node", "short", [(gauge("enfilade_shards_owned"), "{{pod}}")], ""),
        ("Shards that change hands", "ops", [(f"sum({rate('enfilade_shards_claimed_total')})", "claimed"), (f"sum({rate('enfilade_shards_handed_over_total')})", "handed over"), (f"sum({rate('enfilade_fences_total')})", "batches fenced")], ""),
        ("Handover: how long rooms stand still", "s", quantiles("enfilade_handover_seconds"), ""),
        ("Rooms and checkpoints that failed", "short", [(f"sum(increase(enfilade_room_crashes_total{{{NODES}}}[$__rate_interval]))", "rooms started anew"), (f"sum(increase(enfilade_checkpoints_total{{{NODES},outcome=\"error\"}}[$__rate_interval]))", "checkpoints"), (f"sum(increase(enfilade_rooms_quarantined_total{{{NODES}}}[$__rate_interval]))", "set aside")], ""),
        ("Checkpoints", "s", quantiles("enfilade_checkpoint_seconds"), ""),
    ]),
    ("The database", [
        ("It answers", "short", [(gauge("enfilade_database_up"), "{{pod}}")], "Asked every 5 seconds."),
        ("The smallest question", "s", quantiles("enfilade_database_seconds"), ""),
        ("Commits", "s", quantiles("enfilade_commit_seconds"), ""),
        ("Commits per second", "ops", [(rate("enfilade_commits_total", "outcome"), "{{outcome}}")], ""),
        ("Ops and rooms per commit", "short", [(f"sum({rate('enfilade_ops_committed_total')}) / sum({rate('enfilade_commits_total')})", "ops"), (f"sum({rate('enfilade_commit_batches_sum')}) / sum({rate('enfilade_commit_batches_count')})", "rooms")],
         "The busier, the fuller: commits carry whatever came while the last one ran."),
        ("The commit under way", "s", [(f"max by (pod) ({gauge('enfilade_commit_under_way_seconds')})", "{{pod}}")], "How long it has been. Seconds: the disk stands still."),
        ("Rooms that wait for a commit", "short", [(f"sum by (pod) ({gauge('enfilade_commits_waiting')})", "{{pod}}")], "At 4,096 ops are refused."),
        ("Room on the disk (SQLite)", "bytes", [(gauge("enfilade_disk_free_bytes"), "{{pod}}")], ""),
    ]),
    ("Back to the members", [
        ("Room → written by every edge", "s", quantiles("enfilade_op_delivered_seconds"), "From when the owner took an op, on all edges with members. As true as the clocks of the nodes are alike."),
        ("Ops and signals told", "ops", [(f"sum({rate('enfilade_ops_sent_total')})", "ops"), (f"sum({rate('enfilade_signals_sent_total')})", "signals")], "Each as often as it went to somebody."),
        ("Deliveries", "ops", [(rate("enfilade_deliveries_total"), "{{pod}}")], "One write to one member, with everything that came in a tick."),
        ("Bytes", "Bps", [(f"sum({rate('enfilade_sent_bytes_total')})", "to people"), (f"sum({rate('enfilade_received_bytes_total')})", "from people")], ""),
        ("Those who read too slowly", "ops", [(rate("enfilade_slow_total", "step"), "{{step}}")], "The ladder: signals are dropped, ops caught up from the log, the room started over, the connection closed."),
        ("Mirrors that noticed a loss", "ops", [(f"sum({rate('enfilade_mirror_recoveries_total')})", "recoveries"), (f"sum({rate('enfilade_hub_restarts_total')})", "hubs replaced")], ""),
    ]),
    ("Between nodes", [
        ("Lines to NATS", "short", [(gauge("enfilade_bus_connected"), "{{pod}} {{line}}")], ""),
        ("Messages and frames", "ops", [(rate("enfilade_bus_messages_total", "direction"), "messages {{direction}}"), (rate("enfilade_bus_frames_total", "direction"), "frames {{direction}}")], ""),
        ("Bytes between nodes", "Bps", [(rate("enfilade_bus_bytes_total", "direction"), "{{direction}}")], ""),
        ("Lost", "ops", [(f"sum({rate('enfilade_bus_gaps_total')})", "frames missed"), (rate("enfilade_bus_dropped_total", "reason"), "given up: {{reason}}"), (f"sum({rate('enfilade_bus_reconnects_total')})", "reconnects")], ""),
    ]),
    ("Queues", [
        ("Ops that wait for rooms", "bytes", [(gauge("enfilade_rooms_waiting_bytes"), "{{pod}}"), (f"max({gauge('enfilade_rooms_waiting_largest_bytes')})", "one room")], "Until they are answered. Beyond 4 MiB a room's ops are refused, beyond 128 MiB a node's."),
        ("Answers that wait for sockets", "bytes", [(gauge("enfilade_sockets_waiting_bytes"), "{{pod}}"), (f"max({gauge('enfilade_sockets_waiting_largest_bytes')})", "one connection")], ""),
        ("Sockets that take nothing", "short", [(gauge("enfilade_sockets_blocked"), "{{pod}}")], ""),
        ("Waiting for NATS", "bytes", [(gauge("enfilade_bus_waiting_bytes"), "{{pod}}")], "Beyond 64 MiB messages are dropped, which costs time."),
        ("NATS, there and back", "s", quantiles("enfilade_bus_round_trip_seconds"), "Behind what is on its way."),
        ("Waiting for a connection to PostgreSQL", "short", [(f"sum by (pool) ({gauge('enfilade_database_waiting')})", "{{pool}}")], ""),
    ]),
    ("The processes", [
        ("CPU", "short", [(rate("process_cpu_seconds_total"), "{{pod}}")], "Cores."),
        ("Memory", "bytes", [(gauge("process_resident_memory_bytes"), "{{pod}}"), (f"min({gauge('enfilade_memory_limit_bytes')})", "limit")], ""),
        ("Open files", "short", [(gauge("process_open_fds"), "{{pod}}"), (f"min({gauge('process_max_fds')})", "limit")], ""),
        ("How late tasks run", "s", quantiles("enfilade_runtime_delay_seconds"), "What everything on the node waits besides."),
        ("Ready and leaving", "short", [(gauge("enfilade_ready"), "{{pod}} ready"), (gauge("enfilade_draining"), "{{pod}} leaving")], ""),
        ("Versions", "short", [(f"count by (version) (enfilade_build_info{{{RELEASE}}})", "{{version}}")], ""),
    ]),
]

WIDTH, HEIGHT = 6, 7


def panels():
    number, y = 0, 0
    for title, row in ROWS:
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}
        y += 1
        # As many to a line as fill it evenly.
        width = 24 // min(len(row), 4) if len(row) != 6 else 8
        for index, (name, unit, queries, description) in enumerate(row):
            number += 1
            column, line = index % (24 // width), index // (24 // width)
            yield {
                "id": number,
                "type": "timeseries",
                "title": name,
                "description": description,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"x": column * width, "y": y + line * HEIGHT, "w": width, "h": HEIGHT},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}}, "overrides": []},
                "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                "targets": [
                    # Traced ops are dots on the panels of quantiles, once each.
                    {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, **({"exemplar": True} if legend == "p99" else {})}
                    for place, (expression, legend) in enumerate(queries)
                ],
            }
        y += HEIGHT * -(-len(row) // (24 // width))


def variable(name, label, query):
    return {
        "name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
        "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }


def dashboard():
    return json.dumps({
        "title": "Enfilade",
        "uid": "enfilade",
        "description": "From the socket to the database and back.",
        "tags": ["enfilade"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "templating": {"list": [
            {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus", "current": {}},
            variable("namespace", "Namespace", "label_values(enfilade_build_info, namespace)"),
            variable("release", "Release", 'label_values(enfilade_build_info{namespace=~"$namespace"}, release)'),
            variable("pod", "Node", f"label_values(enfilade_build_info{{{RELEASE}}}, pod)"),
        ]},
        "annotations": {"list": [{
            "name": "Nodes that leave", "enable": True, "iconColor": "orange",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "expr": f"enfilade_draining{{{RELEASE}}} == 1", "titleFormat": "{{pod}} leaves",
        }]},
        "panels": list(panels()),
    }, indent=1, ensure_ascii=False) + "\n"
