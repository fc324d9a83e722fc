"""Weir's SQL as DuckDB understands it: small rewrites of the text. The window functions are macros (`docs/macros.duckdb.sql`)."""

import re

# Why DuckDB cannot say what a query means, by what stands in it.
BEYOND_DUCKDB = [
    (r"\bMATCH_RECOGNIZE\b", "DuckDB has no MATCH_RECOGNIZE"),
    (r"\bfirst_seen\s*\(", "first_seen is a function of Weir's that remembers"),
    (r"\b(late_events|actions|cases|coverage)\b", "a stream of Weir's own"),
    (r"\bregistered_domain\s*\(", "the public suffix list is not at hand"),
]

WINDOWS = ["TUMBLE", "HOP", "CUMULATE", "SESSION"]

# What stands between parentheses, with one more level of them.
_INNER = r"((?:[^()]|\([^()]*\))*)"
_TOKEN = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"[^\"]*\"|\w+|\s+|.", re.DOTALL)


def why_not(sql):
    """Why a query cannot be asked of DuckDB, or None."""
    return next((why for pattern, why in BEYOND_DUCKDB if re.search(pattern, sql, re.IGNORECASE)), None)


def query(sql):
    """A `SELECT` of Weir's for DuckDB."""
    sql = sql.replace("$n", "3")
    # A reserved word in DuckDB, and a view in the golden files.
    sql = re.sub(r"\bboth\b", '"both"', sql)
    sql = re.sub(r"\bnamed_struct\(\s*'(\w+)'\s*,", r"struct_pack(\1 :=", sql)
    sql = _named_subquery(_flink_windows(sql))
    sql = re.sub(r"(?<!TRY_)\bCAST\s*\(", "TRY_CAST(", sql, flags=re.IGNORECASE)
    sql = _in_order(_exact(sql))
    sql = re.sub(r"\bIS UNKNOWN\b", "IS NULL", sql, flags=re.IGNORECASE)
    # A backslash escapes in a pattern of LIKE without being asked to.
    sql = re.sub(r"(I?LIKE\s+'[^']*\\[^']*')", r"\1 ESCAPE '\\'", sql, flags=re.IGNORECASE)
    return _regular_expressions(sql)


def _flink_windows(sql):
    """`TABLE(TUMBLE(TABLE s, DESCRIPTOR(time), ...))` without the words around the names."""
    window = rf"(?:{'|'.join(WINDOWS)})\s*\({_INNER}\)"
    sql = re.sub(rf"\bTABLE\s*\(\s*({window})\s*\)", r"\1", sql, flags=re.IGNORECASE)
    # The keys of a session stand behind the stream there, and last in its macro.
    sql = re.sub(
        r"\bSESSION\s*\(\s*TABLE\s+(\w+)\s+PARTITION\s+BY\s+(\w+|\([^()]*\))\s*,(.*?'\s*\w+)\s*\)",
        r"SESSION(\1,\3, \2)", sql, flags=re.IGNORECASE | re.DOTALL,
    )
    sql = re.sub(r"\((\s*)TABLE\s+(\w+)", r"(\1\2", sql, flags=re.IGNORECASE)
    return re.sub(r"\bDESCRIPTOR\s*\(\s*(\w+)\s*\)", r"\1", sql, flags=re.IGNORECASE)


def _named_subquery(sql):
    """`TUMBLE((SELECT ...), ...)` with the subquery in front, since a macro takes names alone."""
    found = re.search(rf"\b(?:{'|'.join(WINDOWS)})\s*\(\s*(?=\(\s*SELECT\b)", sql, re.IGNORECASE)
    if not found:
        return sql
    end = _closing(sql, found.end())
    subquery, sql = sql[found.end() : end], f"{sql[: found.end()]}windowed{sql[end:]}"
    others = re.match(r"\s*WITH\b(.*)", sql, re.IGNORECASE | re.DOTALL)
    return f"WITH windowed AS {subquery}, {others.group(1)}" if others else f"WITH windowed AS {subquery} {sql}"


def _closing(sql, opening):
    """The place behind the parenthesis that closes the one at `opening`."""
    depth = 0
    for found in _TOKEN.finditer(sql, opening):
        depth += {"(": 1, ")": -1}.get(found.group(), 0)
        if depth == 0:
            return found.end()
    raise ValueError(f"an open parenthesis in {sql}")


def _exact(sql):
    """The exact answer is one of those that are about right; Weir's percentiles are values by their nearest rank."""
    sql = re.sub(r"\bapprox_distinct\s*\(", "count(DISTINCT ", sql, flags=re.IGNORECASE)
    sql = re.sub(r"\bapprox_median\(([^(),]*)\)", r"quantile_disc(\1, 0.5)", sql, flags=re.IGNORECASE)
    percentile = r"\bapprox_percentile_cont\(([\d.]+)\) WITHIN GROUP \(ORDER BY ([^()]*)\)"
    sql = re.sub(percentile, r"quantile_disc(\2, \1)", sql, flags=re.IGNORECASE)
    return re.sub(r"\bapprox_percentile_cont\(", "quantile_disc(", sql, flags=re.IGNORECASE)


def _in_order(sql):
    """Aggregates by the order of events, which stands in none of Weir's; different values come in their own order."""

    def call(found):
        name, value, filtered, condition, ignores_nulls = found.groups()
        value = re.sub(r"\s+ORDER BY time\s*$", "", value, flags=re.IGNORECASE)
        conditions = ([condition] if filtered else []) + ([f"{value} IS NOT NULL"] if ignores_nulls else [])
        behind = f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
        if name.lower() == "nth_value":
            value, place = value.rsplit(",", 1)
            return f"(array_agg({value} ORDER BY time){behind})[{place}]"
        if name.lower() == "array_agg":
            distinct = re.match(r"DISTINCT\s+(.*)", value, re.IGNORECASE)
            return f"array_agg({value} ORDER BY {distinct.group(1) if distinct else 'time'}){behind}"
        return f"{name.lower().removesuffix('_value')}({value} ORDER BY time){behind}"

    aggregate = rf"\b(first_value|last_value|nth_value|array_agg)\({_INNER}\)"
    behind = rf"(\s+FILTER\s*\(WHERE\s+{_INNER}\))?(\s+IGNORE NULLS)?"
    return re.sub(aggregate + behind + r"(?!\s*(?:FILTER|IGNORE|RESPECT|OVER)\b)", call, sql, flags=re.IGNORECASE)


def _regular_expressions(sql):
    """DuckDB's `~` wants the whole text to match; in Weir, as in PostgreSQL, a part is enough."""

    def call(found):
        text, operator, pattern = found.groups()
        flags = ", 'i'" if operator.endswith("*") else ""
        is_not = "NOT " if operator.startswith("!") else ""
        return f"{is_not}regexp_matches({text}, {pattern}{flags})"

    return re.sub(r"([\w.]+)\s*(!?~\*?)\s*('[^']*')", call, sql)


def tokens(sql):
    """What stands outside of all parentheses, as (place, upper-case word)."""
    depth = 0
    for found in _TOKEN.finditer(sql):
        token = found.group()
        depth -= token == ")"
        if depth == 0 and not token.isspace():
            yield found.start(), token.upper()
        depth += token == "("


def with_alert_time(sql, streams):
    """The query with the time of its alerts as a first column, `alert_time`, in the ways to say that; none where SQL cannot.

    A window's alert has the window's end, a row's alert the row's own time. Where a query reads streams twice, its alert's time
    depends on which event comes last, and is left out here.
    """
    before = rf"(?:\b(?:FROM|JOIN)\s+|\b(?:{'|'.join(WINDOWS)})\()"
    mentions = list(re.finditer(rf"{before}(?:{'|'.join(streams)})\b", sql, re.IGNORECASE))
    places = {word: place for place, word in reversed(list(tokens(sql)))}
    if "UNION" in places or len(mentions) != 1:
        return []
    outer = places["SELECT"]
    inner = [found.start() for found in re.finditer(r"\bSELECT\b", sql[: mentions[0].start()], re.IGNORECASE)][-1]
    ways = [_selecting(sql, outer, _time_of_group(sql[places["GROUP"] :]) if "GROUP" in places else "time")]
    if inner != outer:
        # What a subquery or WITH selects is carried out of it.
        ways.append(_carried(sql, outer, inner, _time_of_group(sql[mentions[0].start() :])))
    return ways


def _selecting(sql, select, expression):
    behind = select + len("SELECT")
    return f"{sql[:behind]} {expression} AS alert_time,{sql[behind:]}"


def _carried(sql, outer, inner, time):
    places = sorted([(outer, "alert_time"), (inner, time)], reverse=True)
    for place, expression in places:
        sql = _selecting(sql, place, expression)
    return sql


def _time_of_group(sql):
    group_by = re.search(r"\bGROUP\s+BY\b.*", sql, re.IGNORECASE | re.DOTALL)
    if not group_by:
        return "time"
    binned = re.search(r"date_bin\s*\(\s*(INTERVAL '[^']*')\s*,\s*[^()]*\)", group_by.group(), re.IGNORECASE)
    return f"max({binned.group()}) + {binned.group(1)}" if binned else "max(window_end)"


def keeps_rows_apart(sql):
    """Whether every row is judged for itself, so that late ones are seen as well."""
    return not re.search(r"\b(GROUP\s+BY|OVER|JOIN|EXISTS|IN\s*\(\s*SELECT)\b", sql, re.IGNORECASE)


def statements(text):
    """The statements of a text, by the semicolons outside of parentheses."""
    ends = [place for place, word in tokens(text) if word == ";"]
    starts = [0, *(end + 1 for end in ends)]
    parts = [text[start:end].strip() for start, end in zip(starts, [*ends, len(text)])]
    return [part for part in parts if part]


def columns(statement):
    """The column list of a `CREATE STREAM` or `CREATE TABLE`, with DuckDB's types."""
    opening = statement.index("(")
    return statement[opening + 1 : _closing(statement, opening) - 1].replace("<", "(").replace(">", ")")


def option(statement, name):
    """A `name = 'value'` of its `WITH`, or None."""
    found = re.search(rf"\b{name}\s*=\s*'([^']*)'", statement)
    return found.group(1) if found else None
