// Intervals and verdicts as dltlib.claims has them. tests/test_interactive.py holds the two
// together: a change to the rule there has its place here.
"use strict";

dlt.verdict = (() => {
  const REPRODUCED = "reproduced";
  const NOT_REPRODUCED = "not reproduced";
  const UNDECIDED = "undecided";
  const NOT_MEASURED = "not measured";

  /** ln Gamma(x) for x > 0 (Lanczos, g = 7, nine terms). */
  function logGamma(x) {
    const terms = [0.99999999999980993, 676.5203681218851, -1259.1392167224028,
      771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012,
      9.9843695780195716e-6, 1.5056327351493116e-7];
    const shifted = x - 1;
    const sum = terms.reduce((total, term, index) =>
      (index === 0 ? term : total + term / (shifted + index)), 0);
    const base = shifted + 7.5;
    return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(base) - base + Math.log(sum);
  }

  /** The regularised incomplete beta function, by its continued fraction (modified Lentz). */
  function incompleteBeta(x, a, b) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b)
      + a * Math.log(x) + b * Math.log1p(-x)) / a;
    const away = (value) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
    let numerator = 1;
    let denominator = 1 / away(1 - (a + b) * x / (a + 1));
    let fraction = denominator;
    for (let m = 1; m < 500; m += 1) {
      const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      denominator = 1 / away(1 + even * denominator);
      numerator = away(1 + even / numerator);
      fraction *= numerator * denominator;
      const odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
      denominator = 1 / away(1 + odd * denominator);
      numerator = away(1 + odd / numerator);
      const change = numerator * denominator;
      fraction *= change;
      if (Math.abs(change - 1) < 1e-15) break;
    }
    return front * fraction;
  }

  /** The t above which lie (1 - share) of Student's distribution, for a share above one half. */
  function studentQuantile(share, freedom) {
    // P(|T| > t) falls from 1 to 0 as x = freedom / (freedom + t^2) does: bisect in x.
    const outside = 2 * (1 - share);
    let low = 0;
    let high = 1;
    for (let index = 0; index < 200 && high - low > 1e-17 * high; index += 1) {
      const middle = (low + high) / 2;
      if (incompleteBeta(middle, freedom / 2, 0.5) < outside) low = middle;
      else high = middle;
    }
    const x = (low + high) / 2;
    return Math.sqrt(freedom * (1 - x) / x);
  }

  const quantiles = new Map();

  /** Mean and Student's interval of independent values; the ends are NaN for fewer than three. */
  function interval(values, confidence = 0.95) {
    const count = values.length;
    if (count === 0) return { mean: NaN, low: NaN, high: NaN };
    const mean = values.reduce((sum, value) => sum + value, 0) / count;
    if (count < 3) return { mean, low: NaN, high: NaN };
    const key = `${confidence}/${count}`;
    if (!quantiles.has(key)) quantiles.set(key, studentQuantile((1 + confidence) / 2, count - 1));
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    const reach = quantiles.get(key) * Math.sqrt(squares / (count - 1) / count);
    return { mean, low: mean - reach, high: mean + reach };
  }

  /** A bar as a number: a margin [share of the error, most points] depends on the reference. */
  function barOf(bar, level) {
    if (!Array.isArray(bar)) return bar;
    if (level === null || level === undefined) return NaN;
    return 0 - Math.min(bar[0] * (100 - level), bar[1]);
  }

  /** The entry of a comparison for a window [low, high] of densities (null: as it is stated). */
  function entryOf(comparison, window) {
    const { densities, entries, stated } = comparison;
    if (!window || densities.length === 0) return stated;
    const first = densities.findIndex((density) => density >= window[0]);
    const last = densities.findLastIndex((density) => density <= window[1]);
    if (first < 0 || last < first) {
      return { reason: "no round of the record has a density in this window" };
    }
    // Pairs (i, j) with i <= j, row by row.
    const before = first * densities.length - (first * (first - 1)) / 2;
    return entries[before + last - first];
  }

  /** One comparison judged: effect, interval, bar, verdict and reason. */
  function judge(entry, bar, limits) {
    const values = entry.values ?? [];
    const { mean, low, high } = interval(values, limits.confidence);
    const part = { effect: mean, low, high, bar: barOf(bar, entry.level), seeds: values.length };
    if (values.length < limits.least_seeds) {
      part.verdict = UNDECIDED;
      part.reason = `needs at least ${limits.least_seeds} seeds, has ${values.length}`;
    } else if (low > part.bar) {
      part.verdict = REPRODUCED;
    } else if (high < part.bar) {
      part.verdict = NOT_REPRODUCED;
    } else {
      part.verdict = UNDECIDED;
      part.reason = "the interval spans the threshold";
    }
    return { ...part, reason: entry.reason ?? part.reason ?? "" };
  }

  /** The interval to be shown: a share stays within 0 to 100 %, though Student's may not. */
  function ends({ effect, low, high }, unit) {
    return unit !== "%" || effect < 0 ? [low, high] : [Math.max(low, 0), Math.min(high, 100)];
  }

  /** The verdict on a claim by those on its comparisons. */
  function combine(parts) {
    const verdicts = parts.map((part) => part.verdict);
    return [NOT_REPRODUCED, UNDECIDED, REPRODUCED].find((verdict) => verdicts.includes(verdict));
  }

  /** A verdict for people, on a claim or a comparison with these parts: where those that decide it
      have no number, it is not even undecided. */
  function outcome(word, parts) {
    const open = parts.filter((part) => part.verdict === word);
    return word === UNDECIDED && open.every((part) => !Number.isFinite(part.effect))
      ? NOT_MEASURED : word;
  }

  return { REPRODUCED, NOT_REPRODUCED, UNDECIDED, studentQuantile, interval, barOf, entryOf, judge,
    ends, combine, outcome };
})();
