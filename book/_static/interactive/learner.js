// Learned supermasks as dltlib.supermasks has them (section 5 of the paper): scores m, a Bernoulli
// mask of probability sigmoid(m) at every step, the gradient straight through the sample, SGD with
// momentum. tests/test_interactive.py holds one update, and the masks, to the Python.
"use strict";

dlt.learner = (() => {
  const MOMENTUM = 0.9;
  const SAMPLES = 10;
  const CLASSES = 10;

  // --- draws: dltlib.randomness, bit for bit ------------------------------------------------------

  /** The 32-bit finaliser "lowbias32". */
  function mix(bits) {
    let mixed = bits ^ (bits >>> 16);
    mixed = Math.imul(mixed, 0x7feb352d);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x846ca68b);
    return mixed ^ (mixed >>> 16);
  }

  /** The key of each of `count` weights, from the layer's own. */
  function stream(count, key) {
    return Int32Array.from({ length: count }, (_, index) => mix(mix(index) ^ key));
  }

  /** A uniform draw in [0, 1) for a weight's key and a step. */
  const uniformAt = (key, mixedStep) => (mix(key ^ mixedStep) >>> 8) / (1 << 24);

  const sigmoid = (score) => Math.fround(1 / (1 + Math.exp(-score)));

  // --- layers ---------------------------------------------------------------------------------

  /** A learner at its start: scores 0. `layers` are { inputs, outputs, key, values }, the frozen
   * weights `[in, out]` row by row. */
  function start(layers, rescaled) {
    return {
      step: 0,
      rescaled,
      layers: layers.map(({ inputs, outputs, key, values }) => ({
        inputs, outputs, values,
        keys: stream(inputs * outputs, key),
        scores: new Float32Array(inputs * outputs),
        momentum: new Float32Array(inputs * outputs),
        masked: new Float32Array(inputs * outputs),
        gradient: new Float32Array(inputs * outputs),
        factor: 1,
      })),
    };
  }

  /** The signed constants that may take the place of initial weights. */
  const constants = (initial, deviation) =>
    Float32Array.from(initial, (value) => (value < 0 || Object.is(value, -0) ? -1 : 1) * deviation);

  /** Draw the masks of a step, and lay them over the values: `masked` and `factor` of each layer. */
  function sample(learner, step) {
    const mixedStep = mix(step);
    for (const layer of learner.layers) {
      let ones = 0;
      for (let index = 0; index < layer.scores.length; index += 1) {
        const kept = uniformAt(layer.keys[index], mixedStep) < sigmoid(layer.scores[index]);
        layer.masked[index] = kept ? layer.values[index] : 0;
        ones += kept ? 1 : 0;
      }
      layer.factor = learner.rescaled && ones > 0 ? Math.fround(layer.scores.length / ones) : 1;
      if (layer.factor !== 1) {
        for (let index = 0; index < layer.masked.length; index += 1) {
          layer.masked[index] *= layer.factor;
        }
      }
    }
  }

  /** rows x inputs times inputs x outputs; what is zero (dark pixels, silent units) costs nothing. */
  function product(left, rows, inputs, right, outputs) {
    const result = new Float32Array(rows * outputs);
    for (let row = 0; row < rows; row += 1) {
      const target = row * outputs;
      for (let input = 0; input < inputs; input += 1) {
        const value = left[row * inputs + input];
        if (value === 0) continue;
        const source = input * outputs;
        for (let output = 0; output < outputs; output += 1) {
          result[target + output] += value * right[source + output];
        }
      }
    }
    return result;
  }

  /** Activities of every layer, the images first and the logits last; biases are zero. */
  function forward(learner, images, count) {
    const activities = [images];
    learner.layers.forEach((layer, number) => {
      const result = product(activities.at(-1), count, layer.inputs, layer.masked, layer.outputs);
      if (number < learner.layers.length - 1) {
        for (let index = 0; index < result.length; index += 1) {
          if (result[index] < 0) result[index] = 0;
        }
      }
      activities.push(result);
    });
    return activities;
  }

  /** Softmax of each row, in place of its logits. */
  function softmax(logits) {
    for (let first = 0; first < logits.length; first += CLASSES) {
      const row = logits.subarray(first, first + CLASSES);
      const most = Math.max(...row);
      let sum = 0;
      row.forEach((value, index) => { sum += row[index] = Math.exp(value - most); });
      row.forEach((value, index) => { row[index] = value / sum; });
    }
    return logits;
  }

  /** One update on a batch (pixels in [0, 1]); returns the mean loss. */
  function update(learner, images, labels, rate) {
    const count = labels.length;
    sample(learner, learner.step);
    learner.step += 1;
    const activities = forward(learner, images, count);
    const shares = softmax(activities.at(-1));
    let loss = 0;
    for (let row = 0; row < count; row += 1) {
      loss -= Math.log(shares[row * CLASSES + labels[row]]) / count;
      shares[row * CLASSES + labels[row]] -= 1;
    }
    let errors = shares.map((share) => share / count); // of the logits
    for (let number = learner.layers.length - 1; number >= 0; number -= 1) {
      const layer = learner.layers[number];
      const before = activities[number];
      gradients(layer, before, errors, count);
      if (number > 0) errors = backward(layer, before, errors, count);
      descend(layer, rate);
    }
    return loss;
  }

  function gradients(layer, before, errors, count) {
    const { inputs, outputs, gradient } = layer;
    gradient.fill(0);
    for (let row = 0; row < count; row += 1) {
      const source = row * outputs;
      for (let input = 0; input < inputs; input += 1) {
        const value = before[row * inputs + input];
        if (value === 0) continue;
        const target = input * outputs;
        for (let output = 0; output < outputs; output += 1) {
          gradient[target + output] += value * errors[source + output];
        }
      }
    }
  }

  /** Errors of the layer below: nothing goes back through a unit that was silent. */
  function backward(layer, before, errors, count) {
    const { inputs, outputs, masked } = layer;
    const result = new Float32Array(count * inputs);
    for (let row = 0; row < count; row += 1) {
      for (let input = 0; input < inputs; input += 1) {
        if (before[row * inputs + input] === 0) continue;
        let sum = 0;
        for (let output = 0; output < outputs; output += 1) {
          sum += masked[input * outputs + output] * errors[row * outputs + output];
        }
        result[row * inputs + input] = sum;
      }
    }
    return result;
  }

  /** Straight through: d w' / d sigmoid(m) = value times factor, then the sigmoid's own slope. */
  function descend(layer, rate) {
    const { scores, momentum, gradient, values, factor } = layer;
    for (let index = 0; index < scores.length; index += 1) {
      const probability = sigmoid(scores[index]);
      const slope = gradient[index] * values[index] * factor * probability * (1 - probability);
      momentum[index] = MOMENTUM * momentum[index] + slope;
      scores[index] -= rate * momentum[index];
    }
  }

  /** Shares of the ten classes for each image, averaged over the masks of steps -1, -2, ... */
  function read(learner, images, count) {
    const mean = new Float32Array(count * CLASSES);
    for (let draw = 0; draw < SAMPLES; draw += 1) {
      sample(learner, -1 - draw);
      softmax(forward(learner, images, count).at(-1)).forEach((share, index) => {
        mean[index] += share / SAMPLES;
      });
    }
    return mean;
  }

  /** Share of right answers under one mask, that of step -1 - draw; an accuracy is the mean over
   * `SAMPLES` of them. */
  function accuracyOf(learner, images, labels, draw) {
    sample(learner, -1 - draw);
    const logits = forward(learner, images, labels.length).at(-1);
    let right = 0;
    labels.forEach((label, row) => {
      let best = 0;
      for (let one = 1; one < CLASSES; one += 1) {
        if (logits[row * CLASSES + one] > logits[row * CLASSES + best]) best = one;
      }
      right += best === label ? 1 : 0;
    });
    return right / labels.length;
  }

  return { SAMPLES, CLASSES, mix, stream, uniformAt, sigmoid, constants, start, sample, update, read,
    accuracyOf };
})();
