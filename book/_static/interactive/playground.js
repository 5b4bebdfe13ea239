// A supermask learned in the browser (learner.js does the arithmetic), and rounds of pruning.
"use strict";

dlt.start("#dlt-supermask", async (root) => {
  const { html, refill, button, fixed } = dlt;
  const { SAMPLES, CLASSES } = dlt.learner;
  const FRAME = 14; // milliseconds of learning before the page may do something else
  const REDRAW = 120; // milliseconds between pictures of the probabilities
  const SIDE = 8;
  const PAD = 32; // the digits were scanned at 32 x 32 and counted in blocks of 4 x 4

  const data = await dlt.load("playground/supermask");
  const layers = data.layers.map((layer) => ({ ...layer, initial: dlt.unpack(layer.initial) }));
  const orders = dlt.unpack(data.orders);
  const [epochs, perEpoch] = data.orders.shape;
  const length = perEpoch / data.batch_size; // updates in an epoch
  const [train, test] = ["train", "test"].map((part) => {
    const { images, labels } = data.splits[part];
    return { images: Float32Array.from(dlt.unpack(images), (pixel) => pixel / 255),
      labels: dlt.unpack(labels) };
  });
  const pixels = SIDE * SIDE;

  let constant = false;
  let rescaled = true;
  let learner = null;
  let running = false;
  let moved = 0; // when the pictures were last drawn
  let testing = -1; // masks tried of the accuracy that is being measured; -1: none is
  let sum = 0;
  let loss = { now: NaN, total: 0 };
  let shown = { kind: "test", place: 0 }; // what is read: a test digit, or what was drawn
  const runs = new Map(); // accuracy by epoch, of each variant tried
  const ink = new Uint8Array(PAD * PAD);

  const armName = () => `learned/${constant ? "constant" : "initial"}/${rescaled ? "rescaled" : "plain"}`;
  const armLabel = (name) => `${name.includes("constant") ? "signed constants" : "initial weights"}, `
    + `${name.includes("rescaled") ? "rescaled" : "plain"}`;
  const COLORS = { "learned/initial/plain": "#CC79A7", "learned/initial/rescaled": "#a03070",
    "learned/constant/plain": "#009E73", "learned/constant/rescaled": "#0072B2" };

  // --- learning ---------------------------------------------------------------------------------

  function reset() {
    running = false;
    learner = dlt.learner.start(layers.map((layer) => ({ ...layer, values: constant
      ? dlt.learner.constants(layer.initial, layer.deviation) : layer.initial })), rescaled);
    loss = { now: NaN, total: 0 };
    runs.set(armName(), []);
    testing = 0;
    sum = 0;
    finishTest();
  }

  /** One update, on the batch whose turn it is by dltlib's order for this seed. */
  function step() {
    const epoch = Math.floor(learner.step / length) % epochs;
    const first = epoch * perEpoch + (learner.step % length) * data.batch_size;
    const rows = orders.subarray(first, first + data.batch_size);
    const images = new Float32Array(rows.length * pixels);
    rows.forEach((row, place) =>
      images.set(train.images.subarray(row * pixels, (row + 1) * pixels), place * pixels));
    const labels = Uint8Array.from(rows, (row) => train.labels[row]);
    loss.now = dlt.learner.update(learner, images, labels, data.rate);
    if (learner.step % length === 0) { // an epoch is over: measure
      testing = 0;
      sum = 0;
    }
  }

  /** Test accuracy is the mean over some masks; one of them a call, so that the page stays quick. */
  function testOnce() {
    sum += dlt.learner.accuracyOf(learner, test.images, test.labels, testing);
    testing += 1;
    if (testing < SAMPLES) return;
    testing = -1;
    runs.get(armName()).push(sum / SAMPLES);
  }

  function finishTest() {
    while (testing >= 0) testOnce();
    drawAll();
  }

  function frame() {
    if (!running) return;
    const end = performance.now() + FRAME;
    const before = runs.get(armName()).length;
    while (performance.now() < end) {
      if (testing >= 0) testOnce();
      else step();
    }
    // Drawing takes time from learning; and who wants it calm sees pictures change once an epoch.
    if (runs.get(armName()).length > before) drawAll();
    else if (!dlt.calm() && end - moved > REDRAW) {
      moved = end;
      drawMoving();
    }
    window.requestAnimationFrame(frame);
  }

  function play() {
    running = !running;
    drawControls();
    if (running) window.requestAnimationFrame(frame);
  }

  // --- the page -----------------------------------------------------------------------------

  const panel = (title, ...children) =>
    html("div", { class: "dlt-panel" }, html("p", {}, title), ...children);
  const square = (attributes) => html("canvas", { class: "dlt-square", width: SIDE, height: SIDE,
    role: "img", ...attributes });

  const controls = html("div", { class: "dlt-buttons" });
  const status = html("p", { class: "dlt-status", "aria-live": "polite" });
  const numbers = html("p", { class: "dlt-muted" });
  const curve = html("div", { class: "dlt-chart" });
  const tiles = html("canvas", { role: "img", "aria-label":
    "Probabilities of the first layer's weights: a tile of 8 by 8 pixels for each hidden unit." });
  const second = html("canvas", { role: "img", "aria-label":
    "Probabilities of the second layer's weights: a row for each unit it leads to." });
  const output = html("canvas", { role: "img", "aria-label":
    "Probabilities of the output layer's weights: a row for each digit." });
  const looked = square({ "aria-label": "How much weight the expected mask leaves to each pixel." });
  const histogram = html("div", { class: "dlt-histogram" });
  const pad = html("canvas", { class: "dlt-square dlt-pad", width: PAD, height: PAD, tabindex: 0,
    role: "application", "data-key": "pad", "aria-label": "Drawing pad. Draw with mouse or finger; by "
      + "keyboard, arrow keys move the pen and the space bar puts it down or lifts it." });
  const seen = square({ "aria-label": "The 8 by 8 picture that the network reads." });
  const answer = html("div", { class: "dlt-digit-bars", "aria-live": "polite" });
  const choice = html("div", { class: "dlt-buttons" });

  refill(root, controls, status, html("div", { class: "dlt-board" },
    html("div", { class: "dlt-panel is-wide" }, curve, numbers),
    panel("Draw a digit", html("div", { class: "dlt-pair" }, pad, seen), choice),
    panel("What the masked network reads", answer),
    panel("Pixels it looks at", looked, html("p", { class: "dlt-muted" },
      "Sum over the hidden units of probability times size of weight. Pixels that are dark in every "
      + "digit are never learned about.")),
    html("div", { class: "dlt-panel is-wide" }, html("p", {}, "First layer: a tile for each of "
      + `${layers[0].outputs} hidden units, a pixel for each of its ${layers[0].inputs} weights`),
    tiles),
    panel("Probabilities of the mask", histogram, key()),
    panel(`Second layer, ${layers[1].inputs} by ${layers[1].outputs}`, second),
    panel(`Output layer, ${layers[2].inputs} by ${layers[2].outputs}`, output)));

  function key() {
    return html("div", { class: "dlt-key" }, html("span", {}, "0"), html("span", { style:
      `background:linear-gradient(to right,${[0, 0.5, 1].map((share) =>
        `rgb(${shade(share).join(",")})`).join(",")})` }), html("span", {}, "1"),
    html("span", {}, "probability of being kept"));
  }

  function drawControls() {
    const toggle = (label, value, change) => html("label", { class: "dlt-switch" },
      html("input", { type: "checkbox", checked: value, "data-key": label, onchange: () => {
        change();
        reset();
      } }), label);
    refill(controls,
      html("button", { type: "button", class: "dlt-button is-main", "data-key": "play",
        onclick: play }, running ? "Pause" : "Start"),
      button("Step", () => { step(); finishTest(); }, { disabled: running, title: "one update" }),
      button("Epoch", () => {
        do step(); while (learner.step % length);
        finishTest();
      }, { disabled: running, title: `${length} updates` }),
      button("Reset", reset),
      toggle("Signed constants", constant, () => { constant = !constant; }),
      toggle("Dynamic weight rescaling", rescaled, () => { rescaled = !rescaled; }));
  }

  function drawAll() {
    drawControls();
    drawMoving();
    drawCurve();
    drawReading();
  }

  function drawMoving() {
    const [epoch, left] = [Math.floor(learner.step / length), learner.step % length];
    const accuracies = runs.get(armName());
    numbers.textContent = `Epoch ${epoch}, update ${left} of ${length}; loss of the last batch `
      + `${Number.isFinite(loss.now) ? fixed(loss.now, 3) : "not yet known"}; expected share of weights kept `
      + `${fixed(100 * meanProbability(), 1)} %. No weight has changed.`;
    if (accuracies.length) {
      const words = `Test accuracy after epoch ${accuracies.length - 1}: `
        + `${fixed(100 * accuracies.at(-1), 1)} % (${armLabel(armName())}).`;
      if (status.textContent !== words) status.textContent = words;
    }
    drawProbabilities();
  }

  function meanProbability() {
    let total = 0;
    let count = 0;
    for (const { scores } of learner.layers) {
      for (const score of scores) total += dlt.learner.sigmoid(score);
      count += scores.length;
    }
    return total / count;
  }

  // --- pictures -----------------------------------------------------------------------------

  /** Blue below one half, red above, paper in between. */
  function shade(share) {
    // One half is no colour, but stands out from the page: a mask that knows nothing yet is there.
    const paper = dlt.isDark() ? [58, 63, 71] : [224, 227, 231];
    const ends = dlt.isDark() ? [[86, 180, 233], [240, 120, 130]] : [[0, 90, 160], [190, 30, 50]];
    const [end, amount] = share < 0.5 ? [ends[0], 1 - 2 * share] : [ends[1], 2 * share - 1];
    return paper.map((channel, index) => Math.round(channel + amount * (end[index] - channel)));
  }

  function grey(share) {
    const level = Math.round(dlt.isDark() ? 20 + 230 * share : 255 - 235 * share);
    return [level, level, level];
  }

  /** Fill a canvas pixel by pixel. */
  function paint(canvas, width, height, colorOf) {
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        const color = colorOf(row, column);
        if (!color) continue;
        const place = 4 * (row * width + column);
        [image.data[place], image.data[place + 1], image.data[place + 2]] = color;
        image.data[place + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  const SHADES = 101;

  function drawProbabilities() {
    const palette = Array.from({ length: SHADES }, (_, index) => shade(index / (SHADES - 1)));
    const probability = learner.layers.map(({ scores }) => Float32Array.from(scores, dlt.learner.sigmoid));
    const color = (share) => palette[Math.round(share * (SHADES - 1))];
    const units = layers[0].outputs;
    const across = root.clientWidth < 600 ? 15 : 30;
    const pitch = SIDE + 1;
    paint(tiles, across * pitch - 1, Math.ceil(units / across) * pitch - 1, (row, column) => {
      const unit = Math.floor(row / pitch) * across + Math.floor(column / pitch);
      const [top, left] = [row % pitch, column % pitch];
      if (top === SIDE || left === SIDE || unit >= units) return null;
      return color(probability[0][(top * SIDE + left) * units + unit]);
    });
    for (const [canvas, number] of [[second, 1], [output, 2]]) {
      const { inputs, outputs } = layers[number];
      paint(canvas, inputs, outputs, (row, column) =>
        color(probability[number][column * outputs + row]));
    }
    const sums = new Float32Array(pixels);
    probability[0].forEach((share, index) => {
      sums[Math.floor(index / units)] += share * Math.abs(learner.layers[0].values[index]);
    });
    const [least, most] = [Math.min(...sums), Math.max(...sums)];
    paint(looked, SIDE, SIDE, (row, column) =>
      grey(most > least ? (sums[row * SIDE + column] - least) / (most - least) : 0));
    drawHistogram(probability);
  }

  function drawHistogram(probability) {
    const bins = new Array(20).fill(0);
    let count = 0;
    for (const layer of probability) {
      for (const share of layer) bins[Math.min(19, Math.floor(share * 20))] += 1;
      count += layer.length;
    }
    const [width, height] = [300, 110];
    const most = Math.max(...bins);
    refill(histogram, dlt.svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Histogram of the probabilities: ${fixed(100 * bins.slice(0, 5)
        .reduce((total, bin) => total + bin, 0) / count, 0)} % below one quarter, `
        + `${fixed(100 * bins.slice(15).reduce((total, bin) => total + bin, 0) / count, 0)} % above `
        + "three quarters." },
    ...bins.map((bin, index) => dlt.svg("rect", { x: index * 15 + 1, width: 13,
      y: 90 * (1 - bin / most), height: 90 * bin / most, fill: "var(--dlt-accent)" })),
    dlt.svg("line", { class: "dlt-zero", x1: 0, x2: width, y1: 90, y2: 90 }),
    ...[0, 0.5, 1].map((share) => dlt.svg("text", { class: "dlt-tick", x: 4 + share * 292, y: 106,
      "text-anchor": "middle" }, String(share)))));
  }

  function drawCurve() {
    const line = (name, label, values, dashes) => ({ key: label, label, color: COLORS[name], dashes,
      points: values.map(([epoch, value]) => ({ x: epoch, name: `Epoch ${epoch}`, mean: 100 * value,
        low: NaN, high: NaN, seeds: [[data.seed, 100 * value]] })) });
    const series = [...runs].filter(([, values]) => values.length)
      .map(([name, values]) => line(name, armLabel(name), [...values.entries()], []));
    const recorded = data.record.curves[armName()];
    if (recorded) series.push(line(armName(), "the book's record", recorded, [1.2, 1.6]));
    dlt.chart.draw(curve, {
      title: "Test accuracy by epoch, here and in the book's record.",
      series,
      x: { kind: "linear", label: "Epochs", format: String },
      y: { label: "Test accuracy, %", decimals: 1, domain: [0, 100] },
      legend: true,
    });
  }

  // --- reading a digit ------------------------------------------------------------------------

  /** The drawing as the data set has its digits: fitted into the box, counted in blocks of 4 x 4. */
  function counted() {
    const inked = [...ink.keys()].filter((place) => ink[place]);
    const image = new Float32Array(pixels);
    if (inked.length === 0) return image;
    const rows = inked.map((place) => Math.floor(place / PAD));
    const columns = inked.map((place) => place % PAD);
    const [top, bottom] = [Math.min(...rows), Math.max(...rows) + 1];
    const [left, right] = [Math.min(...columns), Math.max(...columns) + 1];
    // As high as the box, and not stretched: the digits of the set are narrower than high.
    const zoom = PAD / Math.max(bottom - top, right - left);
    const block = PAD / SIDE;
    for (let row = 0; row < PAD; row += 1) {
      for (let column = 0; column < PAD; column += 1) {
        const y = Math.floor((top + bottom) / 2 + (row + 0.5 - PAD / 2) / zoom);
        const x = Math.floor((left + right) / 2 + (column + 0.5 - PAD / 2) / zoom);
        if (y < 0 || x < 0 || y >= PAD || x >= PAD || !ink[y * PAD + x]) continue;
        image[Math.floor(row / block) * SIDE + Math.floor(column / block)] += 1 / block ** 2;
      }
    }
    return image;
  }

  function drawReading() {
    const drawn = shown.kind === "drawn";
    const image = drawn ? counted()
      : test.images.subarray(shown.place * pixels, (shown.place + 1) * pixels);
    paint(seen, SIDE, SIDE, (row, column) => grey(image[row * SIDE + column]));
    drawPad();
    if (drawn && !image.some((value) => value > 0)) {
      refill(answer, html("p", { class: "dlt-muted" }, "Nothing is drawn yet."));
    } else {
      const shares = dlt.learner.read(learner, image, 1);
      const best = shares.indexOf(Math.max(...shares));
      refill(answer,
        html("p", {}, "It reads ", html("strong", {}, String(best)), drawn ? "."
          : `; the test digit is ${test.labels[shown.place]}.`),
        Array.from({ length: CLASSES }, (_, digit) => html("div", { class: "dlt-bar" },
          html("span", {}, String(digit)),
          html("span", { class: "dlt-bar-track" }, html("span", { style:
            `width:${100 * shares[digit]}%;background:${digit === best
              ? "var(--dlt-accent)" : "var(--dlt-muted)"}` })),
          html("span", { class: "dlt-bar-number" }, `${fixed(100 * shares[digit], 0)} %`))),
        html("p", { class: "dlt-muted" }, `Mean over ${SAMPLES} sampled masks.`));
    }
    const go = (by) => {
      const place = shown.kind === "test" ? shown.place + by : 0;
      ink.fill(0);
      shown = { kind: "test", place: (place + test.labels.length) % test.labels.length };
      drawReading();
    };
    refill(choice, button("Clear", () => {
      ink.fill(0);
      shown = { kind: "drawn" };
      drawReading();
    }), button("Previous test digit", () => go(-1)), button("Next test digit", () => go(1)));
  }

  const pen = { row: 16, column: 16, down: false, visible: false };

  function drawPad() {
    paint(pad, PAD, PAD, (row, column) => {
      if (pen.visible && Math.max(Math.abs(row - pen.row), Math.abs(column - pen.column)) === 2) {
        return pen.down ? [209, 73, 91] : [86, 150, 200];
      }
      return grey(ink[row * PAD + column]);
    });
  }

  /** A stroke from one place of the pad to another, three pixels thick. */
  function stroke(fromRow, fromColumn, row, column) {
    const steps = Math.max(1, Math.ceil(Math.hypot(row - fromRow, column - fromColumn)));
    for (let index = 0; index <= steps; index += 1) {
      const y = Math.round(fromRow + (row - fromRow) * index / steps);
      const x = Math.round(fromColumn + (column - fromColumn) * index / steps);
      for (let dy = -1; dy <= 1; dy += 1) {
        for (let dx = -1; dx <= 1; dx += 1) {
          if (y + dy >= 0 && y + dy < PAD && x + dx >= 0 && x + dx < PAD) {
            ink[(y + dy) * PAD + x + dx] = 1;
          }
        }
      }
    }
    shown = { kind: "drawn" };
    drawReading();
  }

  function placeOf(event) {
    const frame = pad.getBoundingClientRect();
    return [(event.clientY - frame.top) * PAD / frame.height - 0.5,
      (event.clientX - frame.left) * PAD / frame.width - 0.5];
  }

  let last = null;
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    pen.visible = false;
    last = placeOf(event);
    stroke(...last, ...last);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = placeOf(event);
    stroke(...last, ...next);
    last = next;
  });
  for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { last = null; });
  pad.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key !== " " && !(event.key in moves)) return;
    event.preventDefault();
    pen.visible = true;
    const before = [pen.row, pen.column];
    if (event.key === " ") {
      pen.down = !pen.down;
    } else {
      pen.row = Math.min(PAD - 2, Math.max(1, pen.row + moves[event.key][0]));
      pen.column = Math.min(PAD - 2, Math.max(1, pen.column + moves[event.key][1]));
    }
    if (pen.down) stroke(...before, pen.row, pen.column);
    else drawPad();
  });
  pad.addEventListener("blur", () => {
    pen.visible = false;
    pen.down = false;
    drawPad();
  });

  dlt.onTheme(drawAll);
  let width = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    drawAll();
  }).observe(root);
  reset();
});

dlt.start("#dlt-tickets", async (root) => {
  const { html, refill, select, svg, fixed, readable } = dlt;
  const SIDE = 8;
  const CELL = 46;
  const data = await dlt.load("playground/tickets");
  let arm = data.arms[0].name;
  let round = 0;
  let timer = null;

  const controls = html("div", { class: "dlt-choice" });
  const slider = html("div", {});
  const picture = html("div", {});
  const facts = html("div", { "aria-live": "polite" });
  const curve = html("div", { class: "dlt-chart" });
  refill(root, controls, slider, html("div", { class: "dlt-plane-body" }, picture,
    html("div", {}, facts, curve)),
  html("p", { class: "dlt-muted" }, `Trained when this site was built: ${data.scale}. Remake: `,
    html("code", {}, data.command)));

  const last = data.frames[arm].length - 1;

  function drawControls() {
    refill(controls,
      select("Pruned by", data.arms.map((one) => [one.name, one.label]), arm, (name) => {
        arm = name;
        draw();
      }),
      html("button", { type: "button", class: "dlt-button", "data-key": "play", onclick: play },
        timer ? "Pause" : "Play the rounds"));
    refill(slider, html("label", { class: "dlt-field" }, html("span", {}, "Round"),
      html("input", { type: "range", min: 0, max: last, step: 1, value: round, "data-key": "round",
        oninput: (event) => {
          round = Number(event.target.value);
          draw();
        } })));
  }

  function play() {
    if (timer) {
      window.clearInterval(timer);
      timer = null;
    } else {
      if (round === last) round = 0;
      timer = window.setInterval(() => {
        round += 1;
        if (round >= last) {
          round = last;
          play();
        }
        slider.querySelector("input").value = round;
        draw();
      }, dlt.calm() ? 1500 : 450);
    }
    drawControls();
  }

  function draw() {
    const one = data.arms.find((other) => other.name === arm);
    const frame = data.frames[arm][round];
    const most = Math.max(...frame.weights);
    const color = readable(one.color);
    const seen = frame.seen.reduce((sum, value) => sum + value, 0);
    const size = SIDE * CELL;
    refill(picture, svg("svg", { width: size, height: size, viewBox: `0 0 ${size} ${size}`,
      role: "img", "aria-label": `Of ${frame.weights.length} input pixels, ${seen} still lead to the output.` },
    frame.weights.flatMap((count, place) => {
      const [left, top] = [(place % SIDE) * CELL, Math.floor(place / SIDE) * CELL];
      const side = (CELL - 6) * Math.sqrt(count / most);
      const middle = [left + CELL / 2, top + CELL / 2];
      return [
        svg("rect", { class: "dlt-cell", x: left + 1, y: top + 1, width: CELL - 2, height: CELL - 2 }),
        frame.seen[place]
          ? svg("rect", { x: middle[0] - side / 2, y: middle[1] - side / 2, width: side,
            height: side, fill: color })
          : svg("path", { class: "dlt-cross", d: `M${middle[0] - 4},${middle[1] - 4}l8,8m0,-8l-8,8` }),
      ];
    })));
    refill(facts,
      html("p", {}, html("strong", {}, `Round ${round}: `),
        `${dlt.percent(frame.density)} % of the weights left, test accuracy `
        + `${fixed(100 * frame.test_accuracy, 1)} %.`),
      html("p", {}, `It looks at ${seen} of ${frame.weights.length} pixels, with `
        + `${frame.weights.reduce((sum, value) => sum + value, 0).toLocaleString("en")} weights; `
        + `${frame.units[0]} of the first and ${frame.units[1]} of the second layer's units pass `
        + "something on."),
      html("p", { class: "dlt-muted" }, "A square's area goes with the weights that the pixel has "
        + `left (${most} in the largest); a cross marks a pixel from which no chain of weights leads `
        + "to the output."));
    dlt.chart.draw(curve, {
      title: "Pixels that each ticket looks at, round by round.",
      series: data.arms.map((other) => ({ key: other.name, label: other.label, color: other.color,
        dashes: other.name === arm ? [] : [1.2, 1.6],
        points: data.frames[other.name].map((its) => {
          const count = its.seen.reduce((sum, value) => sum + value, 0);
          return { x: its.density, name: `${dlt.percent(its.density)} % of the weights left`,
            mean: count, low: NaN, high: NaN, seeds: [[0, count]] };
        }) })),
      x: { kind: "log", label: "Weights left, % (log scale)", format: dlt.percent },
      mark: frame.density,
      y: { label: "Pixels looked at", decimals: 0, domain: [0, SIDE * SIDE] },
      legend: true,
    });
  }

  dlt.onTheme(draw);
  let width = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    draw();
  }).observe(root);
  drawControls();
  draw();
});
