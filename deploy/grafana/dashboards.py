#!/usr/bin/env python3
"""Writes the dashboards beside this file: parlance-users.json and parlance-operators.json.

A dashboard is said here as rows of panels; ids, places and what all panels have in common are filled in,
so that a change of a query is one line and the files can be compared. `--check` writes nothing and fails
when a file is not what would be written. Metrics are in docs/metrics.md; every query is tried against
running processes by tests/tests/observed.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Of one deployment, and of some of its processes.
DEPLOYMENT = 'namespace=~"$namespace"'
PROCESS = 'namespace=~"$namespace",instance=~"$instance"'
SENDS = 'action=~"send_message|edit_message|delete_message"'


def rate(metric, labels="", by="", of=DEPLOYMENT):
    """The sum of a counter's rates; `by` names the labels that are kept."""
    selector = ",".join(part for part in (of, labels) if part)
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(part, metric, of=DEPLOYMENT, by=""):
    """A quantile of a histogram."""
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({part}, {rate(metric + '_bucket', by=kept, of=of)})"


def quantiles(metric, parts=("0.5", "0.99"), of=DEPLOYMENT):
    """Several quantiles of a histogram, each with its name."""
    return [(f"p{float(part) * 100:g}", quantile(part, metric, of)) for part in parts]


def per_process(function, metric, labels=""):
    """A metric of each process."""
    selector = ",".join(part for part in (PROCESS, labels) if part)
    return f"{function} by (instance) ({metric}{{{selector}}})"


def panel(kind, title, says, unit, queries, width, height=8, **more):
    """What panels have in common. `queries` are (legend, query); a lone one needs no legend."""
    if isinstance(queries, str):
        queries = [(title, queries)]
    targets = [
        {"refId": chr(ord("A") + number), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
        for number, (legend, query) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": says,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {"unit": unit, **more.pop("defaults", {})}, "overrides": []},
        "options": more.pop("options", {}),
        "targets": targets,
        "gridPos": {"w": width, "h": height},
    }


def graph(title, says, unit, queries, width=8, stacked=False, most=None):
    """Lines over time."""
    custom = {"lineWidth": 1, "fillOpacity": 20 if stacked else 8, "showPoints": "never"}
    if stacked:
        custom["stacking"] = {"mode": "normal"}
    defaults = {"min": 0, "custom": custom}
    if most is not None:
        defaults["max"] = most
    options = {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, says, unit, queries, width, defaults=defaults, options=options)


def figure(title, says, unit, query, good=None, bad=None):
    """One number. Green up to `good` and red from `bad` on, or the other way round."""
    steps = [{"color": "blue", "value": None}]
    if bad is not None and good is not None:
        rising = [("green", None), ("orange", good), ("red", bad)]
        falling = [("red", None), ("orange", bad), ("green", good)]
        chosen = rising if good < bad else falling
        steps = [{"color": color, "value": value} for color, value in chosen]
    defaults = {"thresholds": {"mode": "absolute", "steps": steps}}
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return panel("stat", title, says, unit, query, 4, 5, defaults=defaults, options=options)


USERS = {
    "At a glance": [
        figure("Connections", "Members of conversations, over all gateways.", "short",
               f"sum (parlance_connections{{{DEPLOYMENT}}})"),
        figure("Messages", "Messages, edits and deletions that were acknowledged.", "ops",
               rate("parlance_actions_total", f'{SENDS},outcome="ok"')),
        figure("Failed sends", "The part of sends that was answered unavailable or internal. The objective is 0.1 %.",
               "percentunit",
               rate("parlance_actions_total", f'{SENDS},outcome=~"unavailable|internal"') + " / "
               + rate("parlance_actions_total", f'{SENDS},outcome=~"ok|unavailable|internal"'),
               0.001, 0.01),
        figure("Slow sends", "How long one in a hundred messages waits for the log, or longer.", "s",
               quantile("0.99", "parlance_append_duration_seconds"), 0.1, 0.5),
        figure("Deliveries", "Frames written to devices. A message to a conversation of ten is ten.", "ops",
               rate("parlance_frames_sent_total")),
        figure("Gateways ready", "Gateways that a load balancer may send clients to.", "short",
               f"sum (parlance_ready{{{DEPLOYMENT}}} and parlance_connections)", 2, 1),
    ],
    "Sends": [
        graph("Sends by outcome", "Messages, edits and deletions, by how they were answered.", "ops",
              [("{{outcome}}", rate("parlance_actions_total", SENDS, "outcome"))], stacked=True),
        graph("Error budget burn",
              "How fast the budget of 0.1 % failed sends in 30 days is used: at 1 it lasts exactly 30 days. "
              "The recording rules have to be loaded.", "none",
              [(window, f"namespace:parlance_sends_failed:ratio_rate{window}{{{DEPLOYMENT}}} / 0.001")
               for window in ("5m", "1h", "6h", "3d")]),
        graph("Time until a message is durable", "From handing an event to the log until it has it.", "s",
              quantiles("parlance_append_duration_seconds", ("0.5", "0.9", "0.99"))),
        graph("Actions", "Everything that clients ask for, by kind.", "ops",
              [("{{action}}", rate("parlance_actions_total", by="action"))], stacked=True),
        graph("Refused actions", "What was answered with an error, by its code.", "ops",
              [("{{outcome}}", rate("parlance_actions_total", 'outcome!="ok"', "outcome"))], stacked=True),
        graph("Limits that were hit", "Refusals because of a limit, by which.", "ops",
              [("{{limit}}", rate("parlance_rate_limited_total", by="limit"))], stacked=True),
    ],
    "Delivery": [
        graph("Deliveries", "Frames written to devices.", "ops",
              [("frames", rate("parlance_frames_sent_total")), ("writes", rate("parlance_writes_total"))]),
        graph("Frames per write", "How many frames one write to a socket takes. Grows under load.", "none",
              rate("parlance_frames_sent_total") + " / " + rate("parlance_writes_total")),
        graph("Traffic", "Bytes on WebSockets, framing included.", "Bps",
              [("to clients", rate("parlance_sent_bytes_total")),
               ("from clients", rate("parlance_received_bytes_total"))]),
        graph("Slow readers", "The part of members that have more to be written than their socket takes.", "percentunit",
              f"sum (parlance_lagging_connections{{{DEPLOYMENT}}}) / sum (parlance_connections{{{DEPLOYMENT}}})"),
        graph("Too slow for recent memory", "Times that a slow member needed what recent memory had let go of.", "ops",
              rate("parlance_ring_misses_total")),
        graph("Healed gaps", "Live events that were not next in line, so that the log was read before going on.", "ops",
              rate("parlance_gaps_healed_total")),
    ],
    "Coming and going": [
        graph("Connections", "Members of conversations, over all gateways.", "short",
              f"sum (parlance_connections{{{DEPLOYMENT}}})"),
        graph("Who comes", "Accepted connections, by what became of them.", "ops",
              [("{{outcome}}", rate("parlance_accepts_total", by="outcome"))], stacked=True),
        graph("Who goes", "Ended connections, by close code and who ended them. 1006 is a lost connection, "
              "1012 a gateway that leaves.", "ops",
              [("{{code}} by {{initiator}}", rate("parlance_closes_total", by="code, initiator"))], stacked=True),
        graph("Resumes", "Connections that asked for what they missed, by where it came from.", "ops",
              [("{{source}}", rate("parlance_resumes_total", by="source"))], stacked=True),
        graph("Refused tokens", "Tokens that were refused, by why.", "ops",
              [("{{reason}}", rate("parlance_auth_failures_total", by="reason"))], stacked=True),
        graph("HTTP answers", "Answers of the public listener; 101 is an upgrade.", "ops",
              [("{{status}}", rate("parlance_http_responses_total", by="status"))], stacked=True),
    ],
    "History": [
        graph("Time until a message is stored", "From an append until its commit is answered: the worst case of each batch.",
              "s", quantiles("parlance_persister_stored_duration_seconds")),
        graph("Questions to the store", "Pages and replays that the log does not have any more, by how they were answered.",
              "ops", [("{{outcome}}", rate("parlance_store_reads_total", by="outcome"))], stacked=True),
        graph("Time of a question", "From asking the store to its answer, all pages included.", "s",
              quantiles("parlance_store_read_duration_seconds")),
    ],
}

OPERATORS = {
    "At a glance": [
        figure("Processes up", "Gateways and persisters that answer a scrape.", "short",
               f"count (parlance_build_info{{{DEPLOYMENT}}})"),
        figure("Not ready", "Processes that answer no on /readyz, those that leave included.", "short",
               f"sum (1 - parlance_ready{{{DEPLOYMENT}}})", 0.5, 1),
        figure("Leaving", "Gateways that are being drained.", "short",
               f"sum (parlance_draining{{{DEPLOYMENT}}})"),
        figure("Redis memory", "The fullest master, as a part of what it may use before messages are refused.",
               "percentunit", f"max (parlance_redis_memory_ratio{{{DEPLOYMENT}}})", 0.8, 0.95),
        figure("Behind", "Age of the oldest message that waits for the store.", "s",
               f"max (parlance_persister_lag_seconds{{{DEPLOYMENT}}})", 30, 120),
        figure("Partitions owned", "Partitions that a persister has; all are 256.", "short",
               f"sum (parlance_persister_partitions{{{DEPLOYMENT}}})", 256, 255),
    ],
    "Processes": [
        graph("Ready", "1 while /readyz says yes.", "short",
              [("{{instance}}", per_process("max", "parlance_ready"))], most=1),
        graph("Connections", "Members on each gateway.", "short",
              [("{{instance}}", per_process("sum", "parlance_connections"))]),
        graph("Room for connections", "The part of limits.connections that is used.", "percentunit",
              [("{{instance}}", f"{per_process('sum', 'parlance_connections')} / "
                f"({per_process('sum', 'parlance_connections_limit')} > 0)")]),
        graph("Conversations", "What each gateway keeps in memory.", "short",
              [("{{instance}}", per_process("sum", "parlance_rooms"))]),
        graph("Deliveries", "Frames written by each gateway.", "ops",
              [("{{instance}}", rate("parlance_frames_sent_total", by="instance", of=PROCESS))]),
        graph("Spread", "Connections of the fullest gateway over the mean. Above 1.15 something is uneven.", "none",
              f"max (parlance_connections{{{DEPLOYMENT}}}) / avg (parlance_connections{{{DEPLOYMENT}}})"),
        graph("Processor", "Cores that each process uses.", "none",
              [("{{instance}}", f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval]) "
                "and on (namespace, job, instance) parlance_build_info")]),
        graph("Memory", "What is resident of each process.", "bytes",
              [("{{instance}}", f"process_resident_memory_bytes{{{PROCESS}}} "
                "and on (namespace, job, instance) parlance_build_info")]),
        graph("File descriptors", "The part of the limit that is open.", "percentunit",
              [("{{instance}}", f"process_open_fds{{{PROCESS}}} / process_max_fds "
                "and on (namespace, job, instance) parlance_build_info")]),
        graph("Threads", "Threads of each process.", "short",
              [("{{instance}}", f"process_threads{{{PROCESS}}} "
                "and on (namespace, job, instance) parlance_build_info")]),
        graph("Age", "Time since each process started.", "s",
              [("{{instance}}", f"time() - process_start_time_seconds{{{PROCESS}}} "
                "and on (namespace, job, instance) parlance_build_info")]),
        graph("Builds", "Processes of each version. More than one line is a deployment that is under way.", "short",
              [("{{version}} {{revision}}", f"count by (version, revision) (parlance_build_info{{{PROCESS}}})")]),
    ],
    "Drains and rebalances": [
        graph("Left on leaving gateways", "Members that a leaving gateway still has.", "short",
              [("{{instance}}", f"parlance_connections{{{PROCESS}}} * parlance_draining")]),
        graph("Sent away", "Members that were asked to go, and those that were closed, because their gateway leaves or has "
              "more than its share. One that was asked and did not go counts twice.", "ops",
              [("{{reason}}, {{how}}", rate("parlance_sent_away_total", by="reason, how", of=PROCESS))], stacked=True),
        graph("Sent away by gateway", "The same, by who sent them.", "ops",
              [("{{instance}}, {{reason}}", rate("parlance_sent_away_total", by="instance, reason", of=PROCESS))]),
        graph("Taken in", "Clients that become members on each gateway.", "ops",
              [("{{instance}}", rate("parlance_accepts_total", 'outcome="joined"', "instance", PROCESS))]),
        graph("Budget", "Members that each gateway was granted to send away, and what it was told that the others take. The "
              "latter stays as it was at its last question.", "ops",
              [("{{instance}} granted", rate("parlance_away_granted_total", by="instance", of=PROCESS)),
               ("{{instance}} may", per_process("max", "parlance_away_rate"))]),
        graph("Closed with 1012", "Connections that were told to come back elsewhere, by who closed them.", "ops",
              [("{{instance}}", rate("parlance_closes_total", 'code="1012",initiator="server"', "instance", PROCESS))]),
        graph("Share", "Connections of each gateway over the mean that it knows. Above 1.15 it sends some away.", "none",
              [("{{instance}}", f"parlance_connections{{{PROCESS}}} / (parlance_mean_connections > 0)")]),
        graph("Rebalances", "1 while a gateway sends members away because it has more than its share.", "short",
              [("{{instance}}", per_process("max", "parlance_shedding"))], most=1),
        graph("Gateways seen", "Ready gateways as each one sees them, itself included, and as there are. 0 while it is not "
              "ready itself, and without Redis.", "short",
              [("{{instance}}", per_process("max", "parlance_ready_gateways")),
               ("there are", f"sum (parlance_ready{{{DEPLOYMENT}}} and parlance_connections)")]),
    ],
    "Redis": [
        graph("Masters", "Masters that each process has to reach, and those whose last probe was heard in time.", "short",
              [("{{instance}} all", per_process("max", "parlance_redis_nodes")),
               ("{{instance}} up", per_process("max", "parlance_redis_nodes_up"))]),
        graph("Probes", "From publishing a probe to hearing it.", "s",
              quantiles("parlance_redis_probe_duration_seconds", of=PROCESS)),
        graph("Memory against the limit", "The fullest master, as a part of what it may use before messages are refused. "
              "0 where nothing limits it.", "percentunit",
              f"max (parlance_redis_memory_ratio{{{DEPLOYMENT}}})"),
        graph("Memory", "What all masters use together.", "bytes",
              f"max (parlance_redis_memory_used_bytes{{{DEPLOYMENT}}})"),
        graph("Appends under way", "Appends that Redis has been given and has not answered.", "short",
              [("{{instance}}", per_process("sum", "parlance_redis_appends_in_flight"))]),
        graph("Time of an append", "From handing an event to the log until it is durable: one in a hundred, by gateway.", "s",
              [("{{instance}}", quantile("0.99", "parlance_append_duration_seconds", PROCESS, "instance"))]),
        graph("Doubts", "Times that something may have been missed, so that conversations read the log again.", "ops",
              [("{{reason}}", rate("parlance_redis_doubts_total", by="reason", of=PROCESS))], stacked=True),
        graph("Reconnects", "Connections to Redis that were made anew.", "ops",
              [("{{connection}}", rate("parlance_redis_reconnects_total", by="connection", of=PROCESS))], stacked=True),
        graph("Epochs and drops", "Epochs that were opened, and presence, typing and receipts that were dropped.", "ops",
              [("epochs", rate("parlance_redis_epochs_opened_total", of=PROCESS)),
               ("dropped", rate("parlance_redis_ephemeral_dropped_total", of=PROCESS))]),
    ],
    "Persister": [
        graph("Behind", "Age of the oldest entry that was read and is not committed.", "s",
              [("{{instance}}", per_process("max", "parlance_persister_lag_seconds"))]),
        graph("Waiting", "Entries that are not stored yet. Each takes about 620 bytes of Redis.", "short",
              [("{{instance}}", per_process("sum", "parlance_persister_backlog"))], stacked=True),
        graph("Partitions", "Partitions of each persister. All together are 256.", "short",
              [("{{instance}}", per_process("sum", "parlance_persister_partitions"))], stacked=True),
        graph("Stored", "Durable events, and cursors of receipts.", "ops",
              [("events", rate("parlance_persister_events_total", of=PROCESS)),
               ("cursors", rate("parlance_persister_cursors_total", of=PROCESS))]),
        graph("Events in a batch", "How many events one commit takes.", "short",
              rate("parlance_persister_batch_events_sum", of=PROCESS) + " / "
              + rate("parlance_persister_batches_total", of=PROCESS)),
        graph("Time until stored", "From an append until its commit is answered: the worst case of each batch.", "s",
              quantiles("parlance_persister_stored_duration_seconds", of=PROCESS)),
        graph("Retries", "Steps that are done again, because Redis or the store did not answer.", "ops",
              [("{{step}}", rate("parlance_persister_retries_total", by="step", of=PROCESS))], stacked=True),
        graph("Taken over", "Partitions that a persister took from another one, or from nobody.", "ops",
              [("{{instance}}", rate("parlance_persister_take_overs_total", by="instance", of=PROCESS))]),
        graph("Dead letters", "What the store refuses or nobody can read, since the processes started.", "short",
              [("{{kind}}", f"sum by (kind) (parlance_persister_dead_letters_total{{{PROCESS}}})")], stacked=True),
    ],
    "Store": [
        graph("Reached", "1 while the store can be read.", "short",
              [("{{instance}}", per_process("min", "parlance_store_up"))], most=1),
        graph("Breakers", "1 while reads are refused at once, because the last ones were not answered.", "short",
              [("{{instance}}", per_process("max", "parlance_store_breaker_open"))], most=1),
        graph("Sessions made anew", "Sessions that took the place of one that reached nothing.", "ops",
              [("{{instance}}", rate("parlance_store_sessions_total", by="instance", of=PROCESS))]),
        graph("Reads", "Questions, by how they were answered, and callers that shared the question of another one.", "ops",
              [("{{outcome}}", rate("parlance_store_reads_total", by="outcome", of=PROCESS)),
               ("shared", rate("parlance_store_shared_reads_total", of=PROCESS))]),
        graph("Time of a read", "From asking to the answer, all pages included.", "s",
              quantiles("parlance_store_read_duration_seconds", of=PROCESS)),
        graph("Writes", "Batches, by how they were answered.", "ops",
              [("{{outcome}}", rate("parlance_store_writes_total", by="outcome", of=PROCESS))], stacked=True),
        graph("Time of a write", "From sending a batch to the answer.", "s",
              quantiles("parlance_store_write_duration_seconds", of=PROCESS)),
        graph("Key files", "Changes that were noticed, and files that cannot be used.", "short",
              [("{{outcome}}", f"sum by (outcome) (parlance_key_reloads_total{{{PROCESS}}})"),
               ("unusable now", f"sum (parlance_key_files_unusable{{{PROCESS}}})")]),
        graph("Refused tokens", "By gateway and reason.", "ops",
              [("{{instance}} {{reason}}",
                rate("parlance_auth_failures_total", by="instance, reason", of=PROCESS))], stacked=True),
    ],
}


def placed(rows):
    """The panels of all rows with ids and places: from left to right, then further down."""
    panels, x, y, next_y = [], 0, 0, 0
    for title, row in rows.items():
        y = next_y
        heading = {"type": "row", "title": title, "collapsed": False, "panels": []}
        panels.append({**heading, "id": len(panels) + 1, "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}})
        x, y, next_y = 0, y + 1, y + 1
        for one in row:
            place = one["gridPos"]
            if x + place["w"] > COLUMNS:
                x, y = 0, next_y
            panels.append({**one, "id": len(panels) + 1, "gridPos": {"x": x, "y": y, **place}})
            x, next_y = x + place["w"], max(next_y, y + place["h"])
    return panels


def variable(name, label, query):
    """A choice that is made above the dashboard. All of them is also who has no such label."""
    return {
        "type": "query", "name": name, "label": label, "datasource": DATASOURCE,
        "query": {"query": query, "refId": name}, "definition": query,
        "includeAll": True, "allValue": ".*", "multi": True, "refresh": 2, "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard(uid, title, says, rows, variables):
    """Of Grafana's schema 39, which newer ones take over by themselves."""
    datasource = {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
                  "current": {}}
    return {
        "uid": uid, "title": title, "description": says, "tags": ["parlance"],
        "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1,
        "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "links": [{"type": "dashboards", "title": "parlance", "tags": ["parlance"], "asDropdown": False,
                   "includeVars": True, "keepTime": True}],
        "templating": {"list": [datasource, *variables]},
        "annotations": {"list": []},
        "panels": placed(rows),
    }


def dashboards():
    """(file, dashboard) of each."""
    deployments = variable("namespace", "Deployment", "label_values(parlance_build_info, namespace)")
    processes = variable("instance", "Process",
                         'label_values(parlance_build_info{namespace=~"$namespace"}, instance)')
    yield "parlance-users.json", dashboard(
        "parlance-users", "parlance: users", "What users feel: sends, deliveries, connections, history.",
        USERS, [deployments])
    yield "parlance-operators.json", dashboard(
        "parlance-operators", "parlance: operators", "Processes, drains, Redis, persisters, the store.",
        OPERATORS, [deployments, processes])


def main():
    for name, content in dashboards():
        path, text = HERE / name, json.dumps(content, indent=1) + "\n"
        if sys.argv[1:] == ["--check"]:
            if path.read_text() != text:
                sys.exit(f"{path} is out of date: run {__file__}")
        else:
            path.write_text(text)


main()
