"""Runs `weir replay --parallelism 1` and DuckDB on one thread over the same file, checks that both say the same, and
prints the ratio of their times.

    python3 compare.py --weir PATH --events FILE [--rounds 5] [NAME...]

The answer is checked before anything is timed. A time is the best of the rounds, whole process, wall clock; both sides
take turns in one run. Needs the `duckdb` package.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import duckdb
except ModuleNotFoundError:
    sys.exit("compare.py needs the duckdb package: python3 -m venv VENV && VENV/bin/pip install duckdb, then VENV/bin/python")

HERE = Path(__file__).parent
COLUMNS = (
    "{time: 'TIMESTAMP', user_name: 'VARCHAR', src_ip: 'VARCHAR', app: 'VARCHAR', status: 'VARCHAR', "
    "country: 'VARCHAR', user_agent: 'VARCHAR'}"
)
WINDOWED = (
    "SELECT user_name, window_start, window_start + INTERVAL '5 minutes' AS window_end, count(*) AS failures "
    "FROM ({}) GROUP BY user_name, window_start HAVING count(*) >= 4"
)
QUERIES = {
    "filter": "SELECT time, user_name, src_ip FROM signin WHERE country = 'KP' AND status = 'Failure'",
    "tumble": WINDOWED.format(
        "SELECT user_name, time_bucket(INTERVAL '5 minutes', time) AS window_start FROM signin WHERE status = 'Failure'"
    ),
    "hop": WINDOWED.format(
        "SELECT user_name, time_bucket(INTERVAL '30 seconds', time) - i * INTERVAL '30 seconds' AS window_start "
        "FROM signin, range(10) r(i) WHERE status = 'Failure'"
    ),
    "sliding": (
        "SELECT time, user_name, src_ip, count(*) OVER (PARTITION BY user_name ORDER BY time "
        "RANGE INTERVAL '5 minutes' PRECEDING) AS failures FROM signin WHERE status = 'Failure' QUALIFY failures >= 4"
    ),
    "join": (
        "SELECT ok.time, ok.user_name, failed.time AS failed_at, failed.src_ip FROM (SELECT * FROM signin) ok "
        "JOIN (SELECT * FROM signin) failed ON failed.user_name = ok.user_name "
        "AND failed.time BETWEEN ok.time - INTERVAL '20 seconds' AND ok.time "
        "WHERE ok.status = 'Success' AND ok.app = 'payroll' AND failed.status = 'Failure'"
    ),
    "absence": (
        "SELECT failed.time, failed.user_name, failed.src_ip FROM (SELECT * FROM signin) failed "
        "WHERE failed.status = 'Failure' AND failed.app = 'payroll' AND NOT EXISTS (SELECT 1 FROM (SELECT * FROM signin) ok "
        "WHERE ok.user_name = failed.user_name AND ok.status = 'Success' "
        "AND ok.time BETWEEN failed.time AND failed.time + INTERVAL '10 minutes')"
    ),
    "session": (
        "SELECT user_name, min(time) AS window_start, max(time) + INTERVAL '1 minute' AS window_end, count(*) AS signins "
        "FROM (SELECT user_name, time, sum(breaks) OVER (PARTITION BY user_name ORDER BY time) AS session FROM ("
        "SELECT user_name, time, CASE WHEN time - lag(time) OVER (PARTITION BY user_name ORDER BY time) "
        "< INTERVAL '1 minute' THEN 0 ELSE 1 END AS breaks FROM signin)) GROUP BY user_name, session HAVING count(*) >= 6"
    ),
}
# DuckDB in a process of its own, so that both sides pay for their start.
DUCKDB = """
import duckdb, sys
db = duckdb.connect()
db.execute("SET threads = 1")
db.execute("SET TimeZone = 'UTC'")
print(db.execute("SELECT count(*) FROM (" + sys.argv[1] + ")").fetchone()[0])
"""


def duckdb_sql(name, events):
    source = f"read_json('{events}', format = 'newline_delimited', columns = {COLUMNS})"
    return QUERIES[name].replace("FROM signin", f"FROM {source} signin")


def rows_of_duckdb(name, events):
    cursor = duckdb.connect().execute(duckdb_sql(name, events))
    names = [column[0] for column in cursor.description]
    return sorted(tuple(text(value) for value in row) for row in cursor.fetchall()), names


def rows_of_weir(alerts, names):
    last = {}
    for line in alerts.open(encoding="utf-8"):
        alert = json.loads(line)
        last[alert["finding_info"]["uid"]] = alert
    rows = []
    for alert in last.values():
        data = alert["evidences"][0]["data"]
        rows += [tuple(text(data[name]) for name in names)] * alert.get("count", 1)
    return sorted(rows)


def text(value):
    """Instants of both sides in one form."""
    if hasattr(value, "isoformat"):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, str) and value.endswith("Z") and "T" in value:
        whole, _, fraction = value[:-1].partition(".")
        return f"{whole}.{fraction[:3]:0<3}"
    return value


def timed(command):
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weir", required=True)
    parser.add_argument("--events", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("names", nargs="*", default=list(QUERIES))
    asked = parser.parse_args()
    size = os.path.getsize(asked.events)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; DuckDB {duckdb.__version__}; {size / 1e6:.0f} MB")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        alerts = Path(folder) / "alerts.ndjson"
        for name in asked.names:
            weir = [
                asked.weir, "-C", str(HERE / "project"), "replay", "--input", f"signin={asked.events}",
                "--detections", str(HERE / "project" / "detections" / f"{name}.sql"),
                "--alerts", str(alerts), "--parallelism", "1",
            ]  # fmt: skip
            ran = subprocess.run(weir, capture_output=True, text=True, check=False)
            if ran.returncode != 0:
                print(f"{name:8} does not run: {ran.stderr.strip().splitlines()[:1]}")
                failed = True
                continue
            expected, names = rows_of_duckdb(name, asked.events)
            got = rows_of_weir(alerts, names)
            if got != expected:
                print(f"{name:8} DIFFERS: {len(got)} rows, DuckDB has {len(expected)}")
                print("  only Weir  ", sorted(set(got) - set(expected))[:2])
                print("  only DuckDB", sorted(set(expected) - set(got))[:2])
                failed = True
                continue
            other = [sys.executable, "-c", DUCKDB, duckdb_sql(name, asked.events)]
            times = [(timed(weir), timed(other)) for _ in range(asked.rounds)]
            ours, theirs = (min(side) for side in zip(*times))
            print(f"{name:8} {len(got):7} rows agree   Weir {ours:5.2f} s   DuckDB {theirs:5.2f} s   ratio {ours / theirs:.2f}")
    sys.exit(failed)


main()
