"""For every alert: what nodes tell when it has to come, when it is there, and on whom. Values are promtool's: `0+5x40` is 0, 5, 10, …"""

RELEASE = {"namespace": "n", "release": "r"}
POD = {**RELEASE, "pod": "node-1"}


def labelled(release, pod):
    return f'namespace="n",release="{release}",pod="{pod}"'


NODE, OTHER = labelled("r", "node-1"), labelled("r", "node-2")


def case(at, labels, *series):
    return {"at": at, "labels": labels, "series": series}


CASES = {
    "EnfiladeMetricsAbsent": case("10m", RELEASE, ('up{job="something else"}', "1x40")),
    "EnfiladeNodeDown": case("5m", {**POD, "job": "enfilade"}, (f'up{{job="enfilade",{NODE}}}', "1x4 0x30")),
    "EnfiladeNodeNotReady": case("8m", POD, (f"enfilade_ready{{{NODE}}}", "1x4 0x40"), (f"enfilade_draining{{{NODE}}}", "0x50")),
    "EnfiladeNodeRestarting": case("30m", {**POD, "job": "enfilade"}, (f'process_start_time_seconds{{job="enfilade",{NODE}}}', "0x20 100x20 200x20 300x60")),
    "EnfiladeDrainStuck": case("5m", POD, (f"enfilade_draining{{{NODE}}}", "0x10 1x20"), (f"enfilade_shards_owned{{{NODE}}}", "1365x30")),
    "EnfiladeDrainForgotten": case("15m", POD, (f"enfilade_draining{{{NODE}}}", "0x4 1x80")),
    "EnfiladeMembershipFlapping": case("10m", {**POD, "state": "alive"}, (f'enfilade_nodes{{state="alive",{NODE}}}', "3 2 3 2 3 2 3 2 3 2 3 2 3x40")),
    "EnfiladeVersionSkew": case(
        "75m", RELEASE,
        (f'enfilade_build_info{{version="0.1.0",{NODE}}}', "1x320"), (f'enfilade_build_info{{version="0.2.0",{OTHER}}}', "1x320"),
    ),
    "EnfiladeMemoryNearLimit": case("8m", POD, (f'process_resident_memory_bytes{{job="enfilade",{NODE}}}', "95x40"), (f"enfilade_memory_limit_bytes{{{NODE}}}", "100x40")),
    "EnfiladeFilesNearLimit": case("8m", {**POD, "job": "enfilade"}, (f'process_open_fds{{job="enfilade",{NODE}}}', "90x40"), (f'process_max_fds{{job="enfilade",{NODE}}}', "100x40")),
    "EnfiladeNodeBusy": case(
        "20m", POD,
        (f'enfilade_runtime_delay_seconds_bucket{{le="0.1",{NODE}}}', "0+1x90"), (f'enfilade_runtime_delay_seconds_bucket{{le="0.25",{NODE}}}', "0+15x90"), (f'enfilade_runtime_delay_seconds_bucket{{le="+Inf",{NODE}}}', "0+15x90"),
    ),
    "EnfiladeCertificateExpires": case("20m", POD, (f"enfilade_tls_certificate_expires_seconds{{{NODE}}}", "600000x100")),
    "EnfiladeNearConnectionLimit": case("8m", POD, (f"enfilade_connections{{{NODE}}}", "900x40"), (f"enfilade_connections_limit{{{NODE}}}", "1000x40")),
    "EnfiladePeopleTurnedAway": case("10m", {**POD, "reason": "full"}, (f'enfilade_handshakes_refused_total{{reason="full",{NODE}}}', "0+5x60")),
    "EnfiladeReconnectStorm": case("80m", RELEASE, (f"enfilade_hellos_total{{{NODE}}}", "0+15x300 10000+1500x60")),
    "EnfiladeSlowReadersClosed": case("30m", POD, (f'enfilade_slow_total{{step="closed",{NODE}}}', "0+10x140")),
    "EnfiladeHubRestarted": case("10m", POD, (f"enfilade_hub_restarts_total{{{NODE}}}", "0x20 1x40")),
    "EnfiladeOpsSlowFastBurn": case("70m", RELEASE, (f'enfilade_op_visible_seconds_bucket{{le="0.25",{NODE}}}', "0+80x300"), (f"enfilade_op_visible_seconds_count{{{NODE}}}", "0+100x300")),
    "EnfiladeOpsSlowSlowBurn": case("420m", RELEASE, (f'enfilade_op_visible_seconds_bucket{{le="0.25",{NODE}}}', "0+92x1800"), (f"enfilade_op_visible_seconds_count{{{NODE}}}", "0+100x1800")),
    "EnfiladeOpsRefused": case("15m", RELEASE, (f'enfilade_ops_total{{outcome="refused",{NODE}}}', "0+10x80"), (f'enfilade_ops_total{{outcome="accepted",{NODE}}}', "0+90x80")),
    "EnfiladeCommitsFailing": case("8m", POD, (f'enfilade_commits_total{{outcome="error",{NODE}}}', "0+1x40")),
    "EnfiladeCommitStuck": case("2m", POD, (f"enfilade_commit_under_way_seconds{{{NODE}}}", "0x2 30x20")),
    "EnfiladeCommitsSlow": case(
        "20m", POD,
        (f'enfilade_commit_seconds_bucket{{le="0.1",{NODE}}}', "0+90x90"), (f'enfilade_commit_seconds_bucket{{le="0.25",{NODE}}}', "0+100x90"), (f'enfilade_commit_seconds_bucket{{le="+Inf",{NODE}}}', "0+100x90"),
    ),
    "EnfiladeCommitBacklog": case("5m", {**POD, "committer": "0"}, (f'enfilade_commits_waiting{{committer="0",{NODE}}}', "2000x40")),
    "EnfiladeCheckpointsFailing": case("40m", POD, (f'enfilade_checkpoints_total{{outcome="error",{NODE}}}', "0+1x180")),
    "EnfiladeRoomsCrashing": case("15m", POD, (f"enfilade_room_crashes_total{{{NODE}}}", "0+1x80")),
    "EnfiladeRoomQuarantined": case("10m", POD, (f"enfilade_rooms_quarantined_total{{{NODE}}}", "0x20 1x40")),
    "EnfiladeShardsUnowned": case("5m", RELEASE, (f"enfilade_shards_owned{{{NODE}}}", "2000x40"), (f"enfilade_shards_owned{{{OTHER}}}", "2000x40")),
    "EnfiladeShardsOwnedTwice": case("5m", RELEASE, (f"enfilade_shards_owned{{{NODE}}}", "4096x40"), (f"enfilade_shards_owned{{{OTHER}}}", "1x40")),
    "EnfiladeFenced": case("25m", POD, (f"enfilade_fences_total{{{NODE}}}", "0+1x120")),
    "EnfiladeDatabaseDown": case("3m", POD, (f"enfilade_database_up{{{NODE}}}", "1x4 0x20")),
    "EnfiladeBusDisconnected": case("4m", {**POD, "line": "urgent"}, (f'enfilade_bus_connected{{line="urgent",{NODE}}}', "1x4 0x20")),
    "EnfiladeBusLosing": case("20m", POD, (f"enfilade_bus_gaps_total{{{NODE}}}", "0+5x100")),
    "EnfiladeDiskNearlyFull": case("8m", POD, (f"enfilade_disk_free_bytes{{{NODE}}}", "5x40"), (f"enfilade_disk_bytes{{{NODE}}}", "100x40")),
    "EnfiladeDiskWillFill": case("400m", POD, (f"enfilade_disk_free_bytes{{{NODE}}}", "100000-50x1700"), (f"enfilade_disk_bytes{{{NODE}}}", "100000x1700")),
}


def calm(release, looks, version="0.1.0"):
    """What a cluster of one tells that has nothing to complain about."""
    node = labelled(release, "calm-1")
    return (
        (f'up{{job="enfilade",{node}}}', f"1x{looks}"),
        (f'enfilade_build_info{{version="{version}",{node}}}', f"1x{looks}"),
        (f"enfilade_ready{{{node}}}", f"1x{looks}"),
        (f"enfilade_draining{{{node}}}", f"0x{looks}"),
        (f'enfilade_nodes{{state="alive",{node}}}', f"1x{looks}"),
        (f"enfilade_connections{{{node}}}", f"500x{looks}"),
        (f"enfilade_connections_limit{{{node}}}", f"1000x{looks}"),
        (f"enfilade_tls_certificate_expires_seconds{{{node}}}", f"1000000x{looks}"),
        (f"enfilade_hellos_total{{{node}}}", f"0+300x{looks}"),
        (f'enfilade_handshakes_refused_total{{reason="full",{node}}}', f"0x{looks}"),
        (f'enfilade_slow_total{{step="closed",{node}}}', f"0x{looks}"),
        (f'enfilade_op_visible_seconds_bucket{{le="0.25",{node}}}', f"0+995x{looks}"),
        (f"enfilade_op_visible_seconds_count{{{node}}}", f"0+1000x{looks}"),
        (f'enfilade_ops_total{{outcome="accepted",{node}}}', f"0+999x{looks}"),
        (f'enfilade_ops_total{{outcome="refused",{node}}}', f"0+1x{looks}"),
        (f'enfilade_commits_total{{outcome="error",{node}}}', f"0x{looks}"),
        (f'enfilade_commit_seconds_bucket{{le="0.1",{node}}}', f"0+1000x{looks}"),
        (f'enfilade_commit_seconds_bucket{{le="+Inf",{node}}}', f"0+1000x{looks}"),
        (f"enfilade_commit_under_way_seconds{{{node}}}", f"0x{looks}"),
        (f'enfilade_commits_waiting{{committer="0",{node}}}', f"3x{looks}"),
        (f"enfilade_shards_owned{{{node}}}", f"4096x{looks}"),
        (f"enfilade_fences_total{{{node}}}", f"0x{looks}"),
        (f"enfilade_database_up{{{node}}}", f"1x{looks}"),
        (f'enfilade_bus_connected{{line="urgent",{node}}}', f"1x{looks}"),
        (f'process_resident_memory_bytes{{job="enfilade",{node}}}', f"50x{looks}"),
        (f"enfilade_memory_limit_bytes{{{node}}}", f"100x{looks}"),
        (f'process_open_fds{{job="enfilade",{node}}}', f"50x{looks}"),
        (f'process_max_fds{{job="enfilade",{node}}}', f"100x{looks}"),
        (f'process_start_time_seconds{{job="enfilade",{node}}}', f"1x{looks}"),
        (f"enfilade_disk_free_bytes{{{node}}}", f"90x{looks}"),
        (f"enfilade_disk_bytes{{{node}}}", f"100x{looks}"),
    )
