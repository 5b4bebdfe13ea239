// The plane of w_i and w_f: a criterion as a region over weights that were really trained.
//
// In a chapter:  <div class="dlt-app dlt-plane" data-criterion="movement" data-keep="20"></div>
// On a page of its own data-address keeps the choices behind # of the address. Further attributes:
// data-other (another criterion), data-record, data-layer.
"use strict";

dlt.start(".dlt-plane", async (root) => {
  const { html, svg, refill, select, readable, fixed } = dlt;
  const criteria = dlt.criteria;
  const NONE = "none";
  const FIGURE_POINTS = 2000;

  const index = await dlt.load("plane/index");
  if (Object.keys(index.records).length === 0) throw new Error("There is no record of criteria in this book.");
  const own = "address" in root.dataset;
  const fallback = { record: "criteria-fc-cpu", layer: "", criterion: "large_final",
    other: "magnitude_increase", keep: "20", ...root.dataset };
  let state = { ...fallback, ...(own ? dlt.readAddress() : {}) };

  const parts = {
    choice: html("div", { class: "dlt-choice" }),
    slider: html("div", { class: "dlt-slider" }),
    picture: html("div", { class: "dlt-plane-picture" }),
    facts: html("div", { class: "dlt-plane-facts" }),
    foot: html("div", { class: "dlt-foot" }),
  };
  refill(root, parts.choice, parts.slider,
    html("div", { class: "dlt-plane-body" }, parts.picture, parts.facts), parts.foot);

  let sample = null; // { initial, final, reach } of the layer chosen
  let record = null;

  const first = (found, wanted) => (found.includes(wanted) ? wanted : found[0]);

  async function settle() {
    state.record = first(Object.keys(index.records), state.record);
    record = await dlt.load(`plane/${state.record}`);
    state.layer = first(Object.keys(record.layers), state.layer);
    state.criterion = first(criteria.NAMES, state.criterion);
    if (!criteria.NAMES.includes(state.other)) state.other = NONE;
    const keep = Number(state.keep);
    state.keep = String(Number.isFinite(keep) ? Math.min(99, Math.max(1, Math.round(keep))) : 20);
    const both = dlt.unpack(record.layers[state.layer]);
    const half = both.length / 2;
    const [initial, final] = [both.slice(0, half), both.slice(half)];
    const size = (values) => Array.from(values, Math.abs).sort((one, other) => one - other);
    sample = { initial, final,
      reach: 1.05 * Math.max(size(initial).at(-1), dlt.quantile(size(final), 0.998)) };
  }

  async function change(changes) {
    state = { ...state, ...changes };
    await settle();
    drawChoice();
    drawAll();
  }

  function drawChoice() {
    const names = criteria.NAMES.map((name) => [name, name]);
    refill(parts.choice,
      select("Criterion", names, state.criterion, (criterion) => change({ criterion })),
      select("Compare with", [[NONE, NONE], ...names], state.other, (other) => change({ other })),
      select("Weights of", Object.entries(index.records),
        state.record, (name) => change({ record: name })),
      select("Layer", Object.keys(record.layers).map((name) => [name, name]), state.layer,
        (layer) => change({ layer })));
    const shown = html("output", {}, `${state.keep} %`);
    refill(parts.slider, html("label", { class: "dlt-field" },
      html("span", {}, "Share kept: ", shown),
      html("input", { type: "range", min: 1, max: 99, step: 1, value: state.keep,
        "data-key": "keep", oninput: (event) => {
          state.keep = event.target.value;
          shown.textContent = `${state.keep} %`;
          drawAll();
        } })));
  }

  function drawAll() {
    const { initial, final } = sample;
    const share = Number(state.keep) / 100;
    const made = (name) => {
      const score = criteria.scores(name, initial, final);
      const mask = criteria.keep(score, share);
      return { name, mask, inside: criteria.region(name, initial, final, score, mask) };
    };
    const main = made(state.criterion);
    const other = state.other === NONE ? null : made(state.other);
    drawPicture(main, other);
    drawFacts(main, other, share);
    drawFoot();
    if (own) {
      dlt.writeAddress(Object.fromEntries(["criterion", "other", "keep", "record", "layer"]
        .map((name) => [name, state[name]])));
    }
  }

  const colorOf = (name) => index.colors[name] ?? "#1a1a1a";
  // Two criteria may share a colour (opposites do): the second is then drawn in this one.
  const otherColor = (main, other) => (colorOf(main) === colorOf(other) ? "#a0522d" : colorOf(other));

  function drawPicture(main, other) {
    const width = Math.max(240, Math.min(520, parts.picture.clientWidth || 400));
    const margin = 42;
    const size = width - margin - 8;
    const ratio = window.devicePixelRatio || 1;
    const canvas = html("canvas", { width: Math.round(size * ratio), height: Math.round(size * ratio),
      style: `left:${margin}px;top:8px;width:${size}px;height:${size}px`, role: "img",
      "aria-label": `Weights of ${state.layer} in the plane of initial weight (across) and final `
        + `weight (up). ${main.name} keeps ${state.keep} % of them, drawn in colour within its region.` });
    paint(canvas, main, other);
    const { reach } = sample;
    const x = (value) => margin + size * (value + reach) / (2 * reach);
    const y = (value) => 8 + size * (reach - value) / (2 * reach);
    const marks = dlt.ticks(-reach, reach, 5);
    const frame = svg("svg", { width, height: size + 52, viewBox: `0 0 ${width} ${size + 52}`,
      "aria-hidden": "true" },
    ...marks.values.flatMap((value) => [
      svg("text", { class: "dlt-tick", x: x(value), y: size + 24, "text-anchor": "middle" },
        fixed(value, marks.decimals)),
      svg("text", { class: "dlt-tick", x: margin - 5, y: y(value) + 4, "text-anchor": "end" },
        fixed(value, marks.decimals)),
    ]),
    svg("text", { class: "dlt-axis", x: margin + size / 2, y: size + 45, "text-anchor": "middle" },
      "initial weight w", svg("tspan", { dy: 3, "font-size": 9 }, "i")),
    svg("text", { class: "dlt-axis", transform: `translate(11,${8 + size / 2}) rotate(-90)`,
      "text-anchor": "middle" }, "final weight w", svg("tspan", { dy: 3, "font-size": 9 }, "f")));
    refill(parts.picture, frame, canvas);
  }

  const rgb = (color) => (color.startsWith("rgb") ? color.match(/\d+/g).map(Number)
    : [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16)));

  function paint(canvas, main, other) {
    const context = canvas.getContext("2d");
    const size = canvas.width;
    const { initial, final, reach } = sample;
    const value = (pixel) => reach * (2 * (pixel + 0.5) / size - 1);
    const paper = dlt.isDark() ? [18, 18, 18] : [255, 255, 255];
    const first = rgb(readable(colorOf(main.name)));
    const second = other && rgb(readable(otherColor(main.name, other.name)));
    // Regions: filled faintly, and edged where a pixel and its neighbour differ.
    const image = context.createImageData(size, size);
    const within = ({ inside }) => {
      const found = new Uint8Array(size * size);
      for (let row = 0; inside && row < size; row += 1) {
        for (let column = 0; column < size; column += 1) {
          found[row * size + column] = inside(value(column), -value(row)) ? 1 : 0;
        }
      }
      return found;
    };
    const last = size - 1;
    const edge = (found, place) =>
      (place % size < last && found[place] !== found[place + 1])
      || (place < last * size && found[place] !== found[place + size]);
    const mix = (color, tint) =>
      color.map((channel, index) => Math.round(channel + 0.2 * (tint[index] - channel)));
    const colors = [paper, mix(paper, first)];
    if (second) colors.push(mix(paper, second), mix(mix(paper, first), second));
    const [one, two] = [within(main), other ? within(other) : null];
    for (let place = 0; place < size * size; place += 1) {
      let color = colors[one[place] + (two ? 2 * two[place] : 0)];
      if (edge(one, place)) color = first;
      if (two && edge(two, place)) color = second;
      image.data[4 * place] = color[0];
      image.data[4 * place + 1] = color[1];
      image.data[4 * place + 2] = color[2];
      image.data[4 * place + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    // The axes, the diagonals between which |w_f| < |w_i|, and the weights.
    context.scale(size / (2 * reach), -size / (2 * reach));
    context.translate(reach, -reach);
    context.lineWidth = 2 * reach / size;
    context.strokeStyle = dlt.isDark() ? "#8a94a3" : "#7a7a7a";
    for (const [dash, lines] of [[[], [[1, 0], [0, 1]]], [[4, 4], [[1, 1], [1, -1]]]]) {
      context.setLineDash(dash.map((length) => length * context.lineWidth * 1.5));
      for (const [right, up] of lines) {
        context.beginPath();
        context.moveTo(-reach * right, -reach * up);
        context.lineTo(reach * right, reach * up);
        context.stroke();
      }
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    const ratio = window.devicePixelRatio || 1;
    const dot = (which, style, radius) => {
      context.fillStyle = style;
      for (let index = 0; index < Math.min(FIGURE_POINTS, initial.length); index += 1) {
        if (!which(index)) continue;
        context.beginPath();
        context.arc(size * (initial[index] + reach) / (2 * reach),
          size * (reach - final[index]) / (2 * reach), radius * ratio, 0, 2 * Math.PI);
        context.fill();
      }
    };
    dot((index) => !main.mask[index], dlt.isDark() ? "#8d8d8d" : "#8a8a8a", 1.1);
    dot((index) => main.mask[index], `rgb(${first.join(",")})`, 1.9);
  }

  /** A name that may be broken after its underscores. */
  const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, html("wbr")]);
  const subscript = (name) => ["|w", html("sub", {}, name), "|"];

  /** A property of the weights as three bars: of all, kept and pruned. */
  function bars(title, shares, color) {
    return html("div", { class: "dlt-bars" }, html("p", {}, ...title),
      Object.entries(shares).map(([part, share]) => html("div", { class: "dlt-bar" },
        html("span", {}, breakable(part)),
        html("span", { class: "dlt-bar-track" }, html("span", { style:
          `width:${100 * share}%;background:${part === "kept" ? color : "var(--dlt-muted)"}` })),
        html("span", { class: "dlt-bar-number" },
          Number.isFinite(share) ? `${fixed(100 * share, 1)} %` : "none"))));
  }

  function drawFacts(main, other, share) {
    const { initial, final } = sample;
    const { flipped, shrunk } = criteria.facts(initial, final, main.mask);
    const kept = main.mask.reduce((sum, value) => sum + value, 0);
    const color = readable(colorOf(main.name));
    refill(parts.facts,
      html("p", {}, html("strong", { style: `color:${readable(colorOf(main.name), 4.6)}` }, main.name),
        ` keeps ${kept.toLocaleString("en")} of ${initial.length.toLocaleString("en")} weights drawn `
        + `from ${state.layer}.`),
      other ? bars(["In common with the other criterion"], {
        [other.name]: criteria.overlap(main.mask, other.mask), "by chance": share }, color) : null,
      bars(["Sign flipped by training"], flipped, color),
      bars(["Moved towards zero by training, ", subscript("f"), " < ", subscript("i")].flat(), shrunk,
        color),
      main.name === "random" ? html("p", { class: "dlt-muted" },
        "Chance has no region: what it keeps lies anywhere.") : null);
  }

  function drawFoot() {
    refill(parts.foot, html("p", { class: "dlt-muted" },
      "Drawn: a random sample of the layer's weights, seed 0, before and after the dense training. ",
      record.provenance, " Remake: ", html("code", {}, record.command)));
  }

  dlt.onTheme(() => { if (sample) drawAll(); });
  let width = 0;
  new ResizeObserver(() => {
    if (!sample || root.clientWidth === width) return;
    width = root.clientWidth;
    drawAll();
  }).observe(root);
  if (own) window.addEventListener("hashchange", () => change(dlt.readAddress()));
  await change({});
});
