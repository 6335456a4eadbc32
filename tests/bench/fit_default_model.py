#!/usr/bin/env python3
"""Fits all of the shipped score model but the churn risk from labelled daily usage and prints it as a model file.

    fit_default_model.py EVENTS LABELS > base.model
    uptake fit --events EVENTS --labels LABELS --base base.model --at 5,10,10,15,15,15,20,20,25,25,30,30,30,30 --ridge 5000 \
        --keep gone_odds,seat_use --no-segments --version NAME --output aggregate/score/default.model

EVENTS: course, enrollment, day, one count per feature; LABELS: course, enrollment, churned; both with a header line,
.gz or not. An account is an enrollment; a course is a cohort of accounts that start in the same 30 days; churned means
no event in the 10 days after day 30. What is fitted, and to what, stands in the comments of the file it writes; figures
go to standard error. Needs numpy.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import gzip
import math
import sys
from pathlib import Path

import numpy as np

DAYS = 30
EVALUATED = (10, 15, 20, 25, 30)
PERIODS = {"daily": 1, "weekly": 7, "monthly": 28}
PARTS = ("frequency_10d", "frequency_21d", "volume_21d", "breadth", "features_ever")
WEIGHTS = {"frequency_10d": 0.2, "frequency_21d": 0.1, "volume_21d": 0.2, "breadth": 0.15, "features_ever": 0.05,
           "return_probability": 0.3}
RETURN_DAYS = 10
BLOCKS, BLOCKS_LEAST, SHARE = 8, 3, 0.7
SLACK = 1  # an active week may come a day late
SCALE = {"daily": 1.0, "weekly": 3.0, "monthly": 12.0}
GAP_WEIGHT, GAP_DECAY = 1.0, 0.95
# Given: fitted freely the log of the days would weigh 0.63 and own_silence 0.25, and accounts that come once a week would
# be alarms in an ordinary week. Log loss .4186 instead of .4179.
DAYS_SILENT_WEIGHT = 0.4
COUNT_MOST, SPREAD_MOST = 20.0, 0.9
GAPS_LEAST, GAPS_LEAST_DAYS, GAPS_REGULAR = 1.25, 5.0, 0.6
LOGISTIC_SCALE = math.sqrt(3) / math.pi
# Features of the risk: least and most value, and the weight if it is not fitted but given; the file's head says why.
# Limits are those of what 30 days can show: beyond them a feature counts as at the limit (volume: the p80 of those that
# stayed, so that it cannot buy a low risk).
RISK = {"gone_odds": (-8, 8, 0.1), "days_silent": (0, 6), "own_silence": (0, 8), "silence_x_gap": (0, 12),
        "gap_mean": (0, 3.4), "gap_spread": (0, 1.5), "tenure_days": (0, 1.9), "tenure_weeks": (1.9, 3.4),
        "active_2d": (-2.31, 1.3), "frequency_10d": (-2.31, 2.7), "frequency_21d": (-2.31, 3.2), "active_weeks": (0, 5),
        "active_days": (0, 3.4), "volume_2d": (0, 5), "volume_21d": (0, 5.4), "day_volume": (0, 5), "breadth": (0, 20),
        "seat_use": (0, 1, -1.0)}


class Data:
    def __init__(self, events_file: Path, labels_file: Path):
        events = self.rows(events_file)
        labels = self.rows(labels_file)
        first: dict[str, int] = {}
        for row in events:
            first[row[0]] = min(first.get(row[0], 1 << 30), self.day(row[2]))
        keys = sorted((row[0], row[1]) for row in labels)
        index = {key: i for i, key in enumerate(keys)}
        self.counts = np.zeros((len(keys), DAYS + 1, len(events[0]) - 3))
        for row in events:
            day = self.day(row[2]) - first[row[0]] + 1
            if day <= DAYS and (row[0], row[1]) in index:
                self.counts[index[row[0], row[1]], day] += [float(v) for v in row[3:]]
        self.churned = np.zeros(len(keys), int)
        for row in labels:
            self.churned[index[row[0], row[1]]] = int(row[2])
        self.course = np.array([key[0] for key in keys])
        # Monday = 0; of day 0 of each account's course
        self.weekday0 = np.array([(first[key[0]] - 1 + 6) % 7 for key in keys])
        self.active = self.counts.sum(2) > 0
        self.size = len(keys)

    @staticmethod
    def rows(path: Path) -> list[list[str]]:
        opened = gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="")
        with opened as file:
            return list(csv.reader(file))[1:]

    @staticmethod
    def day(text: str) -> int:
        return datetime.date.fromisoformat(text).toordinal()


def auc(risk: np.ndarray, label: np.ndarray) -> float:
    _, inverse, count = np.unique(risk, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    rank = ((last - count + 1 + last) / 2)[inverse]
    ones = int(label.sum())
    return (rank[label == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(label) - ones))


def minimise(function, start, steps=600):
    """Nelder and Mead."""
    n = len(start)
    points = [np.array(start, float)] + [np.array(start, float) + 0.5 * row for row in np.eye(n)]
    values = [function(p) for p in points]
    for _ in range(steps):
        order = np.argsort(values)
        points, values = [points[i] for i in order], [values[i] for i in order]
        if values[-1] - values[0] < 1e-9 * abs(values[0]):
            break
        middle = np.mean(points[:-1], 0)
        reflected = 2 * middle - points[-1]
        at_reflected = function(reflected)
        if at_reflected < values[0]:
            further = 3 * middle - 2 * points[-1]
            at_further = function(further)
            points[-1], values[-1] = (further, at_further) if at_further < at_reflected else (reflected, at_reflected)
        elif at_reflected < values[-2]:
            points[-1], values[-1] = reflected, at_reflected
        else:
            nearer = (middle + points[-1]) / 2
            at_nearer = function(nearer)
            if at_nearer < values[-1]:
                points[-1], values[-1] = nearer, at_nearer
            else:
                points = [points[0]] + [(points[0] + p) / 2 for p in points[1:]]
                values = [values[0]] + [function(p) for p in points[1:]]
    return points[int(np.argmin(values))]


# ---- BG/BB ----


def sums(par, x, tx, k):
    """F(k), r(k), s(k) of the room's README."""
    alpha, beta, gamma, delta = par
    f, r, s = np.zeros(len(x)), np.ones(len(x)), np.ones(len(x))
    for i in range(int(k.max()) if len(k) else 0):
        on = i < k
        left = gamma + delta + tx + i
        f = np.where(on, f + r * s * gamma / left, f)
        r = np.where(on, r * (beta + tx - x + i) / (alpha + beta + tx + i), r)
        s = np.where(on, s * (delta + tx + i) / left, s)
    return f + r * s, r, s


def none_active(par, x, tx, n, m):
    return sums(par, x, tx, n - tx + m)[0] / sums(par, x, tx, n - tx)[0]


def fit_bgbb(x, tx, n, gamma=None):
    unique, weight = np.unique(np.stack([x, tx, n], 1), axis=0, return_counts=True)
    x, tx, n = unique.T

    def log_beta(a, b):
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    def expand(p):
        return (math.exp(p[0]), math.exp(p[1]), gamma or math.exp(p[2]), math.exp(p[-1]))

    def loss(p):
        if max(abs(v) for v in p) > 9:
            return 1e18
        par = expand(p)
        alpha, beta, g, delta = par
        first = [log_beta(alpha + a, beta + t - a) - log_beta(alpha, beta) + log_beta(g, delta + t) - log_beta(g, delta)
                 for a, t in zip(x, tx)]
        return -float((weight * (np.array(first) + np.log(sums(par, x, tx, n - tx)[0]))).sum())

    return expand(minimise(loss, [0.0, 0.0, 2.0] if gamma else [0.0, 0.0, 0.0, 2.0]))


def to_monthly(weekly):
    """Nothing monthly can be seen in 30 days: four weeks of the weekly model, with its concentrations."""
    alpha, beta, gamma, delta = weekly
    idle = 1.0
    stays = 1.0
    for j in range(4):
        idle *= (beta + j) / (alpha + beta + j)
        stays *= (delta + j) / (gamma + delta + j)
    return ((alpha + beta) * (1 - idle), (alpha + beta) * idle, gamma, gamma * stays / (1 - stays))


# ---- what is known of each account at the end of day `day` ----


class View:
    def __init__(self, data: Data, day: int):
        self.day = day
        active = data.active[:, 1: day + 1]
        self.seen = active.any(1)
        self.first = np.where(self.seen, active.argmax(1), 0) + 1
        self.last = np.where(self.seen, day - active[:, ::-1].argmax(1), 0)
        self.hot = self.seen & (day - self.last < 3)
        self.days = active.sum(1)
        dates = np.arange(1, day + 1)
        age = day - dates
        self.weekly = self.seen & self.cadence_weekly(data, active, dates)
        a10, a21 = active @ 2.0 ** (-age / 10), active @ 2.0 ** (-age / 21)
        block10, block21 = np.zeros(data.size), np.zeros(data.size)
        for start in range(0, day, 7):
            on = active[:, (age >= start) & (age < start + 7 + SLACK)].any(1)
            block10 += on * 2.0 ** (-start / 10)
            block21 += on * 2.0 ** (-start / 21)
        uses = data.counts[:, 1: day + 1] > 0
        decayed = np.einsum("ntf,t->nf", uses, 2.0 ** (-age / 21)) * (1 - 2 ** (-1 / 21))
        self.value = {
            "frequency_10d": np.where(self.weekly, np.maximum(a10, SCALE["weekly"] * block10), a10),
            "frequency_21d": np.where(self.weekly, np.maximum(a21, SCALE["weekly"] * block21), a21),
            "volume_21d": np.log1p(data.counts[:, 1: day + 1].sum(2) @ 2.0 ** (-age / 21)),
            "breadth": (decayed > 0.05).sum(1) + decayed.sum(1) / 2,
            "features_ever": uses.any(1).sum(1).astype(float),
        }
        self.periods = {name: self.own_periods(active, dates, PERIODS[name]) for name in ("daily", "weekly")}
        self.gap_mean = self.gap_sd = None

    def cadence_weekly(self, data, active, dates):
        back = self.last[:, None] - dates[None, :]
        weekdays = ((data.weekday0[:, None] + dates[None, :]) % 7 < 5) & (back >= 0) & (dates >= self.first[:, None])
        order = np.cumsum(weekdays[:, ::-1], 1)[:, ::-1]
        judged = weekdays & (order <= BLOCKS)
        seen, on = judged.sum(1), (judged & active).sum(1)
        daily = (seen >= BLOCKS_LEAST) & (on >= SHARE * seen)
        blocks = np.minimum((self.last - self.first) // 7 + 1, BLOCKS)
        on = np.zeros(data.size)
        for k in range(BLOCKS):
            on += (active & (back // 7 == k) & (back >= 0)).any(1) & (k < blocks)
        return ~daily & (blocks >= BLOCKS_LEAST) & (on >= SHARE * blocks)

    def own_periods(self, active, dates, p):
        index = (dates[None, :] - self.first[:, None]) // p
        x = np.zeros(len(active), int)
        for k in range(self.day // p + 1):
            x += (active & (index == k)).any(1)
        tx = (self.last - self.first) // p
        n = np.maximum((self.day - self.first + 1) // p - 1, tx)
        return np.maximum(x - 1, 0), tx, n

    def by_cadence(self, function, bgbb, days):
        """function(par, x, tx, n, m) in each account's own cadence."""
        out = []
        for name in ("daily", "weekly"):
            m = 0 if days == 0 else max(1, (2 * days + PERIODS[name]) // (2 * PERIODS[name]))
            out.append(function(bgbb[name], *self.periods[name], m))
        return np.where(self.weekly, out[1], out[0])


def add_gaps(data, views, prior_mean, prior_variance):
    """Weighted mean and spread of log gaps, as of each day."""
    w, sx, sxx = np.zeros(data.size), np.zeros(data.size), np.zeros(data.size)
    previous = np.zeros(data.size, int)
    for t in range(1, DAYS + 1):
        gap = data.active[:, t] & (previous > 0)
        g = np.log(np.where(gap, t - previous, 1))
        w = np.where(gap, w * GAP_DECAY + 1, w)
        sx = np.where(gap, sx * GAP_DECAY + g, sx)
        sxx = np.where(gap, sxx * GAP_DECAY + g * g, sxx)
        previous = np.where(data.active[:, t], t, previous)
        if t in views:
            m = (sx + GAP_WEIGHT * prior_mean) / (w + GAP_WEIGHT)
            v = (sxx - 2 * m * sx + m * m * w + GAP_WEIGHT * prior_variance) / (w + GAP_WEIGHT)
            views[t].gap_mean, views[t].gap_sd = m, np.sqrt(np.maximum(v, 1e-4))


def gap_prior(data):
    gaps = np.concatenate([np.log(np.diff(np.flatnonzero(row))) for row in data.active])
    return float(gaps.mean()), float(gaps.var())


# ---- regressions ----


def logistic(x, y, sign, offset=0.0, ridge=1e-4):
    """Weights with given signs (0: free): those that come out wrong are left out, worst first."""
    mean, sd = x.mean(0), x.std(0)
    z = (x - mean) / sd
    free = list(range(x.shape[1]))
    while True:
        a = np.c_[np.ones(len(z)), z[:, free]]
        w = np.zeros(a.shape[1])
        penalty = ridge * len(y) * np.eye(len(w))
        penalty[0, 0] = 0
        for _ in range(50):
            p = 1 / (1 + np.exp(-a @ w - offset))
            step = np.linalg.solve((a * (p * (1 - p))[:, None]).T @ a + penalty, a.T @ (y - p) - penalty @ w)
            w += step
            if abs(step).max() < 1e-10:
                break
        wrong = [(w[1 + j] * sign[i], i) for j, i in enumerate(free) if w[1 + j] * sign[i] < 0]
        if not wrong:
            break
        free.remove(min(wrong)[1])
    weight = np.zeros(x.shape[1])
    weight[free] = w[1:] / sd[free]
    return w[0] - weight @ mean, weight


def fit_silence(data, prior_mean, prior_variance):
    views = {t: View(data, t) for t in range(1, DAYS + 1)}
    add_gaps(data, views, prior_mean, prior_variance)
    xs, ys, offsets = [], [], []
    for t, view in views.items():
        keep = view.seen & (view.days >= 5)
        z = (np.log(np.maximum(t - view.last, 0.5)) - view.gap_mean) / (view.gap_sd * LOGISTIC_SCALE)
        x = [np.logaddexp(0, z), np.log(np.clip(view.days, 1, COUNT_MOST)), np.minimum(view.gap_sd, SPREAD_MOST)]
        gone = ~data.active[:, t + 1:].any(1) & (data.churned == 1)
        xs.append(np.stack(x, 1)[keep])
        ys.append(gone[keep])
        offsets.append(DAYS_SILENT_WEIGHT * np.log1p(t - view.last)[keep])
    x, y = np.concatenate(xs), np.concatenate(ys).astype(float)
    offset = np.concatenate(offsets)
    intercept, weight = logistic(x, y, (1, 0, 0), offset)
    risk = intercept + x @ weight + offset
    loss = -np.log(1 / (1 + np.exp(np.where(y > 0, -risk, risk)))).mean()
    print(f"silence: {len(y)} account-days, gone {y.mean():.3f}, AUC {auc(risk, y.astype(int)):.3f}, "
          f"log loss {loss:.4f}", file=sys.stderr)
    return intercept, weight


# ---- health, as a percentile of the accounts that stayed ----


def cohort_rows(data, views):
    shares = np.linspace(0, 1, 41)
    columns = []
    for part in PARTS:
        pooled = np.concatenate([views[t].value[part][views[t].seen & (data.churned == 0)] for t in EVALUATED])
        columns.append(np.round(np.quantile(pooled, shares, method="inverted_cdf"), 6))
    return shares, np.stack(columns, 1)


def percentile(shares, quantile, v):
    below = np.searchsorted(quantile, v, "left")
    upto = np.searchsorted(quantile, v, "right")
    n = len(shares)
    tie = (shares[np.minimum(below, n - 1)] + shares[np.maximum(upto, 1) - 1]) / 2
    lo = np.clip(below - 1, 0, n - 2)
    width = np.where(quantile[lo + 1] > quantile[lo], quantile[lo + 1] - quantile[lo], 1)
    inside = shares[lo] + (shares[lo + 1] - shares[lo]) * (v - quantile[lo]) / width
    return np.where(upto > below, tie, np.where(below == 0, 0.0, np.where(below == n, 1.0, inside)))


def sub_scores(view, bgbb, rows):
    shares, table = rows
    out = {part: percentile(shares, table[:, i], np.round(view.value[part], 6)) for i, part in enumerate(PARTS)}
    out["return_probability"] = 1 - view.by_cadence(none_active, bgbb, RETURN_DAYS)
    return out


def fit_all(data, views, mask):
    """BG/BB and cohort table from the accounts of mask."""
    full = views[DAYS]
    keep = full.seen & mask
    daily = fit_bgbb(*(v[keep] for v in full.periods["daily"]))
    weeks = View(data, 28)
    keep = weeks.seen & mask
    weekly = fit_bgbb(*(v[keep] for v in weeks.periods["weekly"]), gamma=daily[2])
    return {"daily": daily, "weekly": weekly, "monthly": to_monthly(weekly)}


class Subset:
    def __init__(self, data, mask):
        self.churned = np.where(mask, data.churned, -1)


def show(name, data, views, scores):
    cells = []
    for t in EVALUATED:
        view = views[t]
        cells.append(f"{auc(scores[t][view.seen], data.churned[view.seen]):.3f}/"
                     f"{auc(scores[t][view.hot], data.churned[view.hot]):.3f}")
    print(f"{name:34s} {'  '.join(cells)}", file=sys.stderr)


def report(data, views):
    """AUC all/hot at days 10, 15, 20, 25, 30; fitted on four fifths of the courses, judged on the rest."""
    health = {t: np.zeros(data.size) for t in EVALUATED}
    courses = np.random.default_rng(1).permutation(np.unique(data.course))
    for fold in np.array_split(courses, 5):
        out = np.isin(data.course, fold)
        bgbb = fit_all(data, views, ~out)
        rows = cohort_rows(Subset(data, ~out), views)
        for t in EVALUATED:
            parts = sub_scores(views[t], bgbb, rows)
            health[t][out] = -sum(WEIGHTS[part] * parts[part] for part in WEIGHTS)[out]
    show("health, leave courses out", data, views, health)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--version", default="courses-2")
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    data = Data(options.events, options.labels)
    views = {t: View(data, t) for t in EVALUATED}
    gap_mean, gap_variance = gap_prior(data)
    add_gaps(data, views, gap_mean, gap_variance)
    if not options.no_report:
        report(data, views)
    everyone = np.ones(data.size, bool)
    bgbb = fit_all(data, views, everyone)
    rows = cohort_rows(data, views)
    silence = fit_silence(data, gap_mean, gap_variance)
    means = {part: [] for part in WEIGHTS}
    for t in EVALUATED:
        keep = views[t].seen & (data.churned == 0)
        for part, value in sub_scores(views[t], bgbb, rows).items():
            means[part].append(value[keep])
    write(options.version, data, bgbb, rows, {k: float(np.concatenate(v).mean()) for k, v in means.items()},
          silence, (gap_mean, gap_variance))


def write(version, data, bgbb, rows, means, silence, gaps):
    out = print
    out("uptake-model 1")
    out(f"version {version}")
    out(f"""
# [risk] and [segments] are written by `uptake fit`, and say above them from what. All else is the shipped model's, written by
# tests/bench/fit_default_model.py; formulas: aggregate/score/README.md. That, and the shipped risk, is fitted on public data:
# {data.size} enrollments in {len(set(data.course))} online courses, 30 days each, churned = nothing in the 10 days after ({data.churned.mean():.1%}).
# That is no business product: take scores and the order of risks from it, and fit probabilities to your own accounts with
# `uptake fit`.
# Of the risk not fitted but given: the weights of gone_odds (30 days of history cannot show what the odds are worth after a
# year; from 0 to 0.3 the fit is as good) and of seat_use, with the mean at which it adds nothing (no seats in this data).
# Nor are 60 and 90 days fitted: nothing is known of an account later than 40 days after its course began.

# BG/BB by the account's own period: activity ~ Beta(alpha, beta), leaving ~ Beta(gamma, delta).
# daily, weekly: maximum likelihood over all enrollments (weekly with daily's gamma: 4 weeks do not show two numbers).
# monthly: four weeks of the weekly model; nothing monthly can be seen in 30 days.
[bgbb]
#       alpha beta gamma delta""")
    for name in PERIODS:
        out(f"{name:8s}" + " ".join(f"{v:.6f}" for v in bgbb[name]))
    out(f"""
# The own period is the shortest of a day (Monday to Friday), 7 or 28 days of which a share was active, over at most
# `blocks` and at least `blocks_least` of them before the last active day. Chosen, not fitted.
[cadence]
blocks        {BLOCKS}
blocks_least  {BLOCKS_LEAST}
share         {SHARE}
# An active week (28 days) counts as so many active days.
scale_weekly  {SCALE['weekly']:g}
scale_monthly {SCALE['monthly']:g}

# Weights: fixed beforehand, not fitted. Means: over the accounts that stayed, at days 10 to 30.
[health]
#                  weight mean""")
    for part in WEIGHTS:
        out(f"{part:18s} {WEIGHTS[part]:.3f} {means[part]:.5f}")
    out(f"""return_days        {RETURN_DAYS}
confidence_half    4
confidence_floor   0.15
confidence_band    0.35

[bands]
critical_below 30
at_risk_below  50
watch_below    70
margin         5
evaluations    2
days           3

# Percentiles among the accounts that stayed, at days 10, 15, 20, 25 and 30 together.
[cohort]
# share frequency_10d frequency_21d volume_21d breadth features_ever""")
    for share, row in zip(*rows):
        out(f"{share:.3f} " + " ".join(f"{v:.6f}".rstrip("0").rstrip(".") for v in row))
    out("""
# Not fitted yet: `uptake fit` does that.
[risk]""")
    for days in (30, 60, 90):
        out(f"intercept_{days}d 0")
    out("segment_sd 0.3")
    for name, (least, most, *given) in RISK.items():
        origin = " unseen" if name == "seat_use" else " given" if given else ""
        out(f"{name:13s} {given[0] if given else 0:g} {(least + most) / 2:g} {least:g} {most:g}{origin}")
    out(f"""
# P(gone for good | silent so long): logistic regression over the days of enrollments with at least 5 active days.
# own_silence: log(1 + (days / typical gap)^(1/s)); days_silent: log(1 + days), its weight given; count: log of active
# days; spread: sd of the log gap.
[silence]
intercept    {silence[0]:.6f}
own_silence  {silence[1][0]:.6f}
days_silent  {DAYS_SILENT_WEIGHT:g}
count        {silence[1][1]:.6f}
spread       {silence[1][2]:.6f}
count_most   {COUNT_MOST:g}
spread_most  {SPREAD_MOST:g}
gap_mean     {gaps[0]:.6f}
gap_variance {gaps[1]:.6f}
gap_weight   {GAP_WEIGHT:g}
gap_decay    {GAP_DECAY:g}
# Never before so many of the account's own typical gaps; if these are irregular (spread of their logs at least
# gaps_regular), not before gaps_least_days if that is sooner, else it would be told late. Chosen, not fitted.
gaps_least   {GAPS_LEAST:g}
gaps_least_days {GAPS_LEAST_DAYS:g}
gaps_regular {GAPS_REGULAR:g}""")


if __name__ == "__main__":
    main()
