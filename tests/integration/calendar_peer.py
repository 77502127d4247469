"""What another implementation of cron says: random expressions, in random zones, with the slots that
python3-croniter finds.  calendar_peer.py SEED N → lines of zone, start, expression, slots; tabs between.

Not asked, because the two are known to differ, and why ours is as it is stands in base/cron.h:
  - steps of * in one of the days beside a restriction of the other: croniter takes either, Vixie's
    cron (and we) see the star and want both;
  - a list that has all weekdays, or all days: croniter takes it for a star;
  - days 29 to 31: where a month lacks one, croniter 1.3.5 leaves out the first of the next ("1,31" from
    February on: 31 March). test_cron.c has the ends of months;
  - slots near a change of the clock, where we do as cron(8) says: starts and slots are at least six
    hours from any change here; test_cron.c has the rest.

croniter is asked for the wall clock's times, without a zone, because with one it is an hour off when a
change lies between start and slot (1.3.8, "13 12 * 12 *" in New York from March on: 13:13).
"""
import random, sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import croniter

FAR = timedelta(hours=6)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo", "America/Santiago"]
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()


def item(r, low, high, names):
    kind = r.randrange(4)
    a, b = sorted((r.randint(low, high), r.randint(low, high)))
    if kind == 0:
        return f"{a}-{b}" if a < b else str(a)
    if kind == 1 and a < b:
        return f"{a}-{b}/{r.randint(1, max(1, b - a))}"
    if names and kind == 2:
        return r.choice(names)
    return str(a)


def field(r, low, high, stars, names=(), steps=True):
    if r.random() < stars:
        return f"*/{r.randint(1, high)}" if steps and r.random() < 0.3 else "*"
    return ",".join(item(r, low, high, names) for _ in range(r.choice((1, 1, 1, 2, 3))))


def expression(r):
    day = field(r, 1, 28, 0.6, steps=False)
    weekday = field(r, 0, 6, 0.6, DAYS, steps=day == "*")
    return " ".join((field(r, 0, 59, 0.3), field(r, 0, 23, 0.4), day, field(r, 1, 12, 0.6, MONTHS), weekday))


def is_far(zone, at):
    return len({(at + by).astimezone(zone).utcoffset() for by in (-FAR, timedelta(0), FAR)}) == 1


def slots(zone, start, text):
    found, it = [], croniter(text, start.astimezone(zone).replace(tzinfo=None))
    for _ in range(4):
        at = it.get_next(datetime).replace(tzinfo=zone).astimezone(timezone.utc)
        if not is_far(zone, at):
            break
        found.append(int(at.timestamp()))
    return found


def main(seed, n):
    r = random.Random(seed)
    while n > 0:
        zone = ZoneInfo(r.choice(ZONES))
        start = datetime.fromtimestamp(r.randint(1_600_000_000, 2_100_000_000) // 60 * 60, timezone.utc)
        text = expression(r)
        expanded = croniter.expand(text)[0]
        taken_for_stars = any(expanded[i] == ["*"] != [text.split()[i]] for i in (2, 4))
        if taken_for_stars or not is_far(zone, start):
            continue
        try:
            found = slots(zone, start, text)
        except Exception:  # such as 30 February: no date is found
            found = None
        if found == []:
            continue
        n -= 1
        print(zone.key, int(start.timestamp()), text, " ".join(map(str, found)) if found else "never", sep="\t")


main(int(sys.argv[1]), int(sys.argv[2]))
