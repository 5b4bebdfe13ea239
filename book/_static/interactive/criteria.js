// The mask criteria that are functions of (w_i, w_f), and what their masks have in common: as
// dltlib.criteria, dltlib.pruning and dltlib.figures.regions have it, to which
// tests/test_interactive.py holds this file.
"use strict";

dlt.criteria = (() => {
  const negative = (value) => value < 0 || Object.is(value, -0);
  const sameSign = (initial, final) => negative(initial) === negative(final);

  // Scores of one weight: the highest are kept.
  const SCORES = {
    large_final: (initial, final) => Math.abs(final),
    small_final: (initial, final) => -Math.abs(final),
    large_init: (initial) => Math.abs(initial),
    small_init: (initial) => -Math.abs(initial),
    magnitude_increase: (initial, final) => Math.abs(final) - Math.abs(initial),
    movement: (initial, final) => Math.abs(final - initial),
    large_final_same_sign: (initial, final) => (sameSign(initial, final) ? Math.abs(final) : 0),
    large_final_diff_sign: (initial, final) => (sameSign(initial, final) ? 0 : Math.abs(final)),
    magnitude_increase_same_sign: (initial, final) =>
      (sameSign(initial, final) ? Math.abs(final) - Math.abs(initial) : -Infinity),
  };
  // These two cut both magnitudes at the same share: the score is the smaller of two ranks.
  const JOINT = {
    large_init_large_final: ["large_init", "large_final"],
    small_init_small_final: ["small_init", "small_final"],
  };

  /** Rank of each value, 0 the smallest; ties by position. */
  function ranks(values) {
    const found = new Float64Array(values.length);
    Array.from(values.keys()).sort((one, other) => values[one] - values[other] || one - other)
      .forEach((place, rank) => { found[place] = rank; });
    return found;
  }

  const scored = (name, initial, final) =>
    Float64Array.from(initial, (value, index) => SCORES[name](value, final[index]));

  /** The score of every weight. `random` draws from the hash of the place: the same every time. */
  function scores(name, initial, final) {
    if (name === "random") return Float64Array.from(initial, (_, index) => chance(index));
    if (!(name in JOINT)) return scored(name, initial, final);
    const [one, other] = JOINT[name].map((part) => ranks(scored(part, initial, final)));
    return one.map((rank, index) => Math.min(rank, other[index]));
  }

  function chance(index) {
    let bits = Math.imul(index + 1, 0x9e3779b9);
    bits = Math.imul(bits ^ (bits >>> 16), 0x7feb352d);
    bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
    return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32;
  }

  /** How many of `total` weights stay: at least one, halves rounded to even as Python does. */
  function keptCount(total, share) {
    const exact = total * share;
    const below = Math.floor(exact);
    const rest = exact - below;
    const up = rest > 0.5 || (rest === 0.5 && below % 2 === 1);
    return Math.max(1, below + (up ? 1 : 0));
  }

  /** The mask that keeps the best share: 1 or 0 for each weight, of equal scores the earlier. */
  function keep(score, share) {
    const mask = new Uint8Array(score.length);
    Array.from(score.keys()).sort((one, other) =>
      (score[other] === score[one] ? one - other : score[other] - score[one]))
      .slice(0, keptCount(score.length, share)).forEach((place) => { mask[place] = 1; });
    return mask;
  }

  /** A function of (w_i, w_f) that says whether the criterion would keep a weight there; null for
   * random, which has no region. `score` and `mask` are those of the weights given. */
  function region(name, initial, final, score, mask) {
    if (name === "random") return null;
    const threshold = score.reduce((least, value, index) =>
      (mask[index] && value < least ? value : least), Infinity);
    if (!(name in JOINT)) {
      const of = SCORES[name];
      // As a difference: where nothing but -Infinity is left to keep, chance decides, not a region.
      return (one, other) => of(one, other) - threshold >= 0;
    }
    // The threshold is a rank, hence a value of each part.
    const bounds = JOINT[name].map((part) =>
      [SCORES[part], scored(part, initial, final).sort()[Math.ceil(threshold)]]);
    return (one, other) => bounds.every(([of, bound]) => of(one, other) >= bound);
  }

  /** Shares, of all weights, of those kept and of those pruned: sign flipped, moved to zero. */
  function facts(initial, final, mask) {
    const count = { all: 0, kept: 0, pruned: 0 };
    const flipped = { all: 0, kept: 0, pruned: 0 };
    const shrunk = { all: 0, kept: 0, pruned: 0 };
    initial.forEach((value, index) => {
      for (const part of ["all", mask[index] ? "kept" : "pruned"]) {
        count[part] += 1;
        flipped[part] += sameSign(value, final[index]) ? 0 : 1;
        shrunk[part] += Math.abs(final[index]) < Math.abs(value) ? 1 : 0;
      }
    });
    const shares = (found) => Object.fromEntries(Object.entries(found)
      .map(([part, value]) => [part, count[part] ? value / count[part] : NaN]));
    return { flipped: shares(flipped), shrunk: shares(shrunk) };
  }

  /** Of the weights that one mask keeps, the share that the other keeps too. */
  function overlap(mask, other) {
    let kept = 0;
    let both = 0;
    mask.forEach((value, index) => {
      kept += value;
      both += value & other[index];
    });
    return both / kept;
  }

  return { NAMES: [...Object.keys(SCORES), ...Object.keys(JOINT), "random"], ranks, scores,
    keptCount, keep, region, facts, overlap };
})();
