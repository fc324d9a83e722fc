"""Writes sign-in events as NDJSON: seven columns, about 220 bytes each, always the same for one count.

    python3 generate.py FILE [COUNT] [USERS]

Times run forward by 10 ms per event with a disorder of up to two seconds, so that nothing is late for a lateness of five.
"""

import argparse
import random
from datetime import datetime, timedelta, timezone

BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)
APPS = ["portal", "mail", "vpn", "payroll", "source-control", "wiki"]
COUNTRIES = ["DE", "FR", "US", "GB", "PL", "BR", "IN", "JP"]
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/2010 Fx"


def events(count, users):
    dice = random.Random(20260301)
    for at in range(count):
        time = BEGIN + timedelta(milliseconds=at * 10 - dice.randrange(2000))
        user = dice.randrange(users)
        # A few users fail most of the time, the others rarely.
        fails = dice.random() < (0.9 if user % 1000 == 7 else 0.05)
        country = "KP" if dice.random() < 0.0005 else COUNTRIES[dice.randrange(len(COUNTRIES))]
        yield (
            f'{{"time":"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"'
            f',"user_name":"user{user:07d}@example.com"'
            f',"src_ip":"10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)}"'
            f',"app":"{APPS[dice.randrange(len(APPS))]}","status":"{"Failure" if fails else "Success"}"'
            f',"country":"{country}","user_agent":"{AGENT}"}}\n'
        )


def main():
    parser = argparse.ArgumentParser(description="Writes sign-in events as NDJSON.")
    parser.add_argument("file")
    parser.add_argument("count", nargs="?", type=int, default=2_000_000)
    parser.add_argument("users", nargs="?", type=int, default=20_000)
    asked = parser.parse_args()
    with open(asked.file, "w", encoding="ascii") as file:
        file.writelines(events(asked.count, asked.users))


main()
