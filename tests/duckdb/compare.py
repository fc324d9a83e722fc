#!/usr/bin/env python3
"""A second opinion on what SQL means: DuckDB answers the golden cases of the engine, and must give their rows.

    "$(tests/duckdb/python)" tests/duckdb/compare.py [--all]     --all names every case

A case that DuckDB cannot be asked (a refusal, a cooldown, MATCH_RECOGNIZE, ...) is counted with its reason.
Every other case must agree, unless `cases.json` says why the two differ by right; there also stands how many cases of each file
must agree at least, so that none drops out unnoticed. Exit code 1 where something is wrong.
"""

import json
import sys
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb

import functions
import golden
import translate

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MACROS = ROOT / "docs" / "macros.duckdb.sql"
EPOCH = datetime(1970, 1, 1)
# What `CREATE STREAM` takes where it says nothing.
LATENESS = "30 seconds"


class NotAsked(Exception):
    """Why a case turns out to be one that DuckDB cannot be asked."""


class Database:
    """The streams, views and tables of a case in DuckDB."""

    def __init__(self, connection, case):
        self.connection = connection
        self.relations = []
        self._drop_all()
        sees_late_rows = translate.keeps_rows_apart(case.sql)
        for statement in translate.statements(case.streams):
            self._create(case, statement, sees_late_rows)
        if case.beside:
            self._alerts(case)

    def _drop_all(self):
        listed = "SELECT '{0}', {0}_name FROM duckdb_{0}s() WHERE NOT internal"
        for kind in ("view", "table"):
            for kind, name in self.connection.execute(listed.format(kind)).fetchall():
                self.connection.execute(f'DROP {kind} "{name}"')

    def _create(self, case, statement, sees_late_rows):
        _, kind, name = statement.split(None, 3)[:3]
        name = name.split("(")[0]
        if kind.upper() == "VIEW":
            self.relations.append(name)
            self.connection.execute(translate.query(statement))
            return
        columns = translate.columns(statement)
        if kind.upper() == "TABLE":
            rows = case.tables.get(name, [])
        else:
            self.relations.append(name)
            rows = self._events(case, name, statement, sees_late_rows)
            if "unmapped" in case.sql:
                columns += ", unmapped VARCHAR"
        self.connection.execute(f"CREATE TABLE {name} ({columns})")
        self._insert(name, rows)

    def _events(self, case, name, statement, sees_late_rows):
        """The records of a stream, without those that are late where that matters."""
        event_time = translate.option(statement, "event_time")
        lateness = self.micros_of(translate.option(statement, "lateness") or LATENESS)
        lateness += self.micros_of(case.allowed_lateness)
        greatest, kept = {}, []
        for event in (event for event in case.events if event.stream == name):
            time = micros(event.record[event_time])
            is_late = time < greatest.get(event.partition, time) - lateness
            greatest[event.partition] = max(time, greatest.get(event.partition, time))
            if not is_late or sees_late_rows:
                kept.append(event.record)
        return kept

    def micros_of(self, duration):
        return self.connection.execute(f"SELECT epoch_us(INTERVAL '{duration}')").fetchone()[0]

    def _insert(self, name, rows):
        table = self.connection.table(name)
        fields = list(zip(table.columns, table.types))
        declared = {column for column, _ in fields}
        for row in rows:
            rest = {key: value for key, value in row.items() if key not in declared}
            values = {**row, "unmapped": json.dumps(rest) if rest else None}
            marks = ", ".join("?" for _ in fields)
            self.connection.execute(
                f"INSERT INTO {name} VALUES ({marks})", [typed(values.get(column), kind) for column, kind in fields]
            )

    def _alerts(self, case):
        """The alerts of the queries beside, once for each cause."""
        self.connection.execute('CREATE TABLE alerts (time TIMESTAMP, uid VARCHAR, detection VARCHAR, "user" VARCHAR)')
        for detection, sql in case.beside.items():
            timed = translate.with_alert_time(translate.query(sql), self.relations)
            if not timed:
                raise NotAsked("the time of the alerts beside is not a matter of SQL")
            alerts = f"SELECT DISTINCT alert_time, md5(concat(alert_time, who)), '{detection}', who FROM ({timed[0]})"
            self.connection.execute(f"INSERT INTO alerts {alerts}")
        self.relations.append("alerts")

    def rows(self, sql):
        """The answer to a query as (time of the alert or None, text of the columns)."""
        sql = translate.query(sql)
        for timed in translate.with_alert_time(sql, self.relations):
            try:
                return [(cell(row[0]), shown(row[1:])) for row in self.connection.execute(timed).fetchall()]
            except duckdb.BinderException:
                continue
        return [(None, shown(row)) for row in self.connection.execute(sql).fetchall()]


def micros(seconds):
    return round(seconds * 1_000_000)


def typed(value, kind):
    """A value of JSON in the type of its column; what does not fit is NULL."""
    if value is None:
        return None
    if kind.id == "struct":
        return {name: typed(value.get(name), inner) for name, inner in kind.children} if isinstance(value, dict) else None
    if kind.id == "list":
        return [typed(item, kind.children[0][1]) for item in value] if isinstance(value, list) else None
    if kind.id == "varchar":
        return value if isinstance(value, str) else json.dumps(value)
    if kind.id == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind.id == "timestamp":
        return EPOCH + timedelta(microseconds=micros(value))
    return float(value) if kind.id == "double" else value if isinstance(value, int) else None


def shown(row):
    return " | ".join(cell(value) for value in row)


def cell(value):
    """A value as the golden files write it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return number(Decimal((value - EPOCH) // timedelta(microseconds=1)) / 1_000_000)
    if isinstance(value, float):
        return number(Decimal(f"{value:.11e}"))
    if isinstance(value, list):
        return f"[{', '.join(cell(item) for item in value)}]"
    return str(value) if value != "" else "''"


def number(value):
    return f"{value.normalize():f}"


class Opinions:
    """What came of each case."""

    def __init__(self):
        self.agreed = Counter()
        self.timed = 0
        self.differing = {}
        self.reasons = Counter()

    def judge(self, connection, case):
        """Asks DuckDB, and says in a word what came of it."""
        try:
            check_askable(case)
            got = Database(connection, case).rows(case.sql)
            found = difference(case, got)
        except NotAsked as why:
            self.reasons[str(why)] += 1
            return f"not asked, {why}"
        except duckdb.Error as error:
            found = f"  DuckDB refuses it: {error}"
        if found:
            self.differing[case.place] = found
            return "differs"
        self.agreed[case.file] += 1
        self.timed += any(time is not None for time, _ in got)
        return "agrees"

    def faults(self, known):
        """What must not be, by `cases.json`."""
        by_right, least = known["differs"], known["agreed_min"]
        faults = [f"{place}\n{found}" for place, found in self.differing.items() if place not in by_right]
        faults += [
            f"{place}: cases.json says that it differs, and it does not"
            for place in by_right.keys() - self.differing.keys()
        ]
        return faults + [
            f"{file}: {self.agreed[file]} cases agree, and cases.json wants {count}"
            for file, count in least.items()
            if self.agreed[file] < count
        ]


def check_askable(case):
    """Raises `NotAsked` where DuckDB cannot be asked."""
    if case.refused:
        raise NotAsked("Weir refuses it, because a stream has no end")
    if case.cooldown:
        raise NotAsked("cooldown is not SQL")
    for sql in (case.sql, *case.beside.values()):
        if why := translate.why_not(sql):
            raise NotAsked(why)


def difference(case, got):
    """What DuckDB says otherwise, or None."""
    is_timed = all(time is not None for time, _ in got)
    expected = Counter()
    for record in case.expect:
        expected[record.time if is_timed else None, record.cells] += record.count
    lines = [f"  Weir alone:   {row}" for row in (expected - Counter(got)).elements()]
    lines += [f"  DuckDB alone: {row}" for row in (Counter(got) - expected).elements()]
    return "\n".join(lines) or None


def main():
    unknown = [argument for argument in sys.argv[1:] if argument != "--all"]
    if unknown:
        sys.exit(f"compare.py: unknown argument {unknown[0]}; it takes --all and nothing else")
    # One connection for all, because to open one takes longer than a case.
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(MACROS.read_text(encoding="utf-8"))
    functions.define(connection)
    known = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
    opinions = Opinions()
    for case in golden.cases(ROOT / "engine" / "golden"):
        verdict = opinions.judge(connection, case)
        if "--all" in sys.argv:
            print(f"{case.place}: {verdict}")
    for place, why in known["differs"].items():
        print(f"differs by right: {place}: {why}")
    for why, count in opinions.reasons.most_common():
        print(f"not asked: {count}: {why}")
    agreed, unasked = sum(opinions.agreed.values()), sum(opinions.reasons.values())
    print(
        f"{agreed + len(opinions.differing) + unasked} cases: {agreed} agree ({opinions.timed} in the alert's time too), "
        f"{len(opinions.differing)} differ, {unasked} not asked"
    )
    faults = opinions.faults(known)
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
